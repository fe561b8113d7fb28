#!/usr/bin/env python3
"""The gateway against the local socket: restore, wal-get, and its memory, in one run.

    /usr/bin/python3 test/bench/gateway.py [--rounds 5] [--scale 70] [--noise-mb 500] [--segments 64] [--only restore|wal-get] [--keep]

Restore: four connections over mutual TLS through the gateway, and the same by the Unix socket, of tables of pgbench and random
bytes (as backup.py has them); --scale 0 is the worst that can be, where every byte restored is one that went through TLS. Memory:
resident size of the gateway's process, sampled every 20 ms, while 100 MB and all of it are restored. wal-get: a shell in a data directory runs the restore_command for one segment of 16 MB after the
other, as PostgreSQL does, with no replay between them; the first call leaves the process that fetches ahead. Rounds alternate, the
order changes with each; medians are printed.
"""

import os
import pathlib
import re
import shlex
import shutil
import threading

from side_by_side import compare, options, scratch, timed  # the harness is found by it
from wal_get import Recovery, write_load

from harness.agent import Agent, install_binaries
from harness.certificates import Pki
from harness.cluster import Cluster
from harness.scratch import free_port, give_to, make_folder, wait_for

JOBS = 4
NOISE_FILE_MB = 50
SMALL_MB = 100


class Sampler(threading.Thread):
    """Peak of a process's resident size, in MB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.peak, self.over = pathlib.Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, int(re.search(r"VmRSS:\s+(\d+)", self.path.read_text())[1]) / 1024)

    def end(self):
        self.over.set()
        self.join()
        return self.peak


def add_noise(cluster, first_mb, end_mb):
    """Random bytes beside the tables; a base backup has them, too."""
    folder = make_folder(cluster.data / "noise")
    for start in range(first_mb, end_mb, NOISE_FILE_MB):
        path = folder / f"noise{start}"
        path.write_bytes(os.urandom(min(NOISE_FILE_MB, end_mb - start) * 1_000_000))
        give_to(path)


def megabytes(backup):
    return f"{backup['size_bytes'] / 1e6:.0f} MB (stored {backup['stored_bytes'] / 1e6:.0f} MB)"


def alternate(rounds, runs):
    """Seconds of every run, by its name."""
    times = {name: [] for name in runs}
    for number in range(rounds):
        for name in sorted(runs, reverse=number % 2 == 1):
            times[name].append(runs[name]())
    return times


def connection(agent, pki):
    return ["--connect", f"localhost:{agent.daemon_settings['management']}", "--tls-cert-file", pki.client.certificate,
            "--tls-key-file", pki.client.key, "--tls-ca-file", f"{pki.server_ca.certificate}"]


def restore(agent, backup, *words):
    target = agent.folder / "restored"
    took = timed(agent.command(*words, "restore", "primary", backup, "--target-directory", target, "--jobs", JOBS, "--quiet"))
    shutil.rmtree(target)
    os.sync()  # what one has left to be written is not the next one's
    return took


def bench_restore(words, cluster, agent, pki):
    over_tls = connection(agent, pki)
    (gateway,) = agent.worker_pids("gateway")
    add_noise(cluster, 0, SMALL_MB)
    small = agent.backup("primary")
    if words.scale > 0:
        cluster.pgbench("-i", "-q", "-s", str(words.scale))
    add_noise(cluster, SMALL_MB, words.noise_mb)
    large = agent.backup("primary")
    peaks = []
    for backup in (small, large):
        sampler = Sampler(gateway)
        restore(agent, backup["id"], *over_tls)
        peaks.append(sampler.end())
        print(f"resident size of the gateway while {megabytes(backup)} are restored: {peaks[-1]:.1f} MB", flush=True)
    print(f"the larger restore takes {peaks[1] / peaks[0]:.2f} times the memory of the smaller", flush=True)
    times = alternate(words.rounds, {"tls": lambda: restore(agent, large["id"], *over_tls), "local": lambda: restore(agent, large["id"])})
    compare(f"restore of {megabytes(large)} with {JOBS} connections over TLS", times["tls"], times["local"], "local socket")


def bench_wal_get(words, cluster, agent, pki, folder):
    names = write_load(cluster, agent, words.segments)
    recovery = Recovery(folder / "data", cluster)
    plain = make_folder(folder / "plain")
    for name in names:
        agent.ok("--direct", "wal-get", "primary", name, plain / name)
    system = agent.system_folder("primary").name

    def run(*more, check="-"):
        command = shlex.join(map(str, (agent.binaries / "pgcoffer", *more, "wal-get", "--system-id", system, "primary", "%f", "%p")))
        took = recovery.run(command, names, check)
        wait_for(lambda: not list(recovery.data.glob("pg_wal/pgcoffer.ahead.*")), "the process that fetches ahead has ended")
        return took

    runs = {"tls": lambda **rest: run(*connection(agent, pki), **rest), "local": lambda **rest: run("-c", agent.configuration, **rest)}
    for one in runs.values():
        one(check=plain)
    times = alternate(words.rounds, runs)
    compare(f"wal-get of {words.segments} segments over TLS", times["tls"], times["local"], "local socket")


def parse():
    words = options(__doc__)
    words.add_argument("--scale", type=int, default=70, help="pgbench scale; 70 is about 1 GB")
    words.add_argument("--noise-mb", type=int, default=500)
    words.add_argument("--segments", type=int, default=64)
    words.add_argument("--only", choices=("restore", "wal-get"))
    return words.parse_args()


def main(words, folder):
    pki = Pki(folder / "pki")
    cluster = Cluster(folder / "server", pki, segment_size_mb=16, settings=("max_wal_size = 1GB", "synchronous_commit = off"))
    agent = Agent(folder / "agent", install_binaries(folder / "bin"), pki)
    agent.daemon_settings.update(management=free_port(), host="127.0.0.1", tls_cert_file=pki.server.certificate,
                                 tls_key_file=pki.server.key, tls_ca_file=pki.client_ca.certificate)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster, restorers="cert:repl").start()
        agent.wait_streaming("primary")
        if words.only != "wal-get":
            bench_restore(words, cluster, agent, pki)
        if words.only != "restore":
            bench_wal_get(words, cluster, agent, pki, folder)
    finally:
        agent.stop()
        cluster.close()


if __name__ == "__main__":
    words = parse()
    with scratch(words.keep) as folder:
        main(words, folder)
