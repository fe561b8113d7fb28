#!/usr/bin/env python3
"""Backup and restore, side by side with what a user would pick instead, in one run.

    /usr/bin/python3 test/bench/backup.py [--rounds 5] [--scale 70] [--noise-mb 500] [--keep]

Backup: `pgcoffer backup` against `pg_basebackup -Ft -X none --compress=client-zstd:level=3` over the same TLS connection.
Restore: `pgcoffer restore` with one and with two jobs against `zstd -d | tar -x` of the same archive, plus fsync.
Memory: peak of the summed PSS of daemon and backup worker, sampled every 100 ms. Rounds alternate; medians are printed.
"""

import os
import pathlib
import shutil
import threading

from side_by_side import compare, conninfo, options, scratch, timed  # the harness is found by it

from harness.agent import Agent, install_binaries
from harness.certificates import Pki
from harness.cluster import PSQL_BIN, Cluster
from harness.scratch import as_user, make_folder


def pss_kb(pid):
    try:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class MemoryWatch(threading.Thread):
    """Peak of daemon and backup worker together, and of the daemon with all its workers."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.peak, self.peak_all, self.over = agent, 0, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            daemon = pss_kb(self.agent.process.pid)
            backup = sum(map(pss_kb, self.agent.worker_pids("backup")))
            receive = sum(map(pss_kb, self.agent.worker_pids("receive")))
            if backup:
                self.peak = max(self.peak, daemon + backup)
                self.peak_all = max(self.peak_all, daemon + backup + receive)


def drop_caches():
    """The files that were just written are read from memory by everybody: the same for both sides."""
    os.sync()


def folder_bytes(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


def parse():
    words = options(__doc__)
    words.add_argument("--scale", type=int, default=70, help="pgbench scale; 70 is about 1 GB")
    words.add_argument("--noise-mb", type=int, default=500)
    return words.parse_args()


def main(words, folder):
    pki = Pki(folder / "pki")
    cluster = Cluster(folder / "server", pki, segment_size_mb=16, settings=("max_wal_size = 4GB", "shared_buffers = 512MB"))
    agent = Agent(folder / "agent", install_binaries(folder / "bin"), pki)
    watch = MemoryWatch(agent)
    try:
        cluster.start().create_role()
        cluster.pgbench("-i", "-q", "-s", str(words.scale))
        cluster.sql("CREATE EXTENSION pgcrypto")
        cluster.sql("CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, %s)", words.noise_mb * 1000)
        cluster.sql("CHECKPOINT")
        agent.add_server("primary", cluster).start()
        agent.wait_streaming("primary")
        print(f"data directory {folder_bytes(cluster.data / 'base') / 1e9:.2f} GB", flush=True)

        ours, theirs, sizes, their_sizes = [], [], [], []
        watch.start()
        for number in range(words.rounds):
            ours.append(timed(agent.command("backup", "primary", "--fast-checkpoint", "--quiet")))
            other = make_folder(folder / "other")
            drop_caches()
            theirs.append(timed(as_user([PSQL_BIN / "pg_basebackup", "-d", conninfo(cluster, pki), "-D", other / "b", "-Ft", "-X", "none",
                                         "-c", "fast", "--compress=client-zstd:level=3"])))
            newest = agent.json("show", "primary", "latest")
            sizes.append(sum(file["size"] for file in newest["files"]))
            their_sizes.append(folder_bytes(other))
            shutil.rmtree(other)
            if number + 1 < words.rounds:
                agent.ok("delete", "primary", newest["id"], "--force")
            drop_caches()
        watch.over.set()
        compare("backup", ours, theirs, "pg_basebackup")
        print(f"size: pgcoffer {sizes[-1]} bytes, other {their_sizes[-1]} bytes, ratio {sizes[-1] / their_sizes[-1]:.4f}")
        print(f"memory, peak of summed PSS: daemon and backup worker {watch.peak / 1024:.1f} MB, with the receiver "
              f"{watch.peak_all / 1024:.1f} MB", flush=True)

        archive = agent.backup_folder("primary", agent.json("show", "primary", "latest")["id"]) / "base.tar.zst"
        results = {"one job": [], "two jobs": [], "tar": []}
        for _ in range(words.rounds):
            for jobs, name in ((1, "one job"), (2, "two jobs")):
                results[name].append(timed(agent.command("restore", "primary", "--target-directory", folder / "agent" / "restored",
                                                         "--jobs", str(jobs), "--quiet")))
                shutil.rmtree(folder / "agent" / "restored")
                drop_caches()
            place = make_folder(folder / "tar")
            results["tar"].append(timed(as_user(["bash", "-o", "pipefail", "-c", f"zstd -dcq {archive} | tar -x -C {place} && "
                                                  f"find {place} -type f -exec sync {{}} +"])))
            shutil.rmtree(place)
            drop_caches()
        compare("restore, one job", results["one job"], results["tar"], "zstd and tar")
        compare("restore, two jobs", results["two jobs"], results["tar"], "zstd and tar")
    finally:
        watch.over.set()
        agent.stop()
        cluster.close()


if __name__ == "__main__":
    words = parse()
    with scratch(words.keep) as folder:
        main(words, folder)
