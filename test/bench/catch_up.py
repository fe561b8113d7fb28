#!/usr/bin/env python3
"""Catching up a stretch of WAL over TLS, side by side with what a user would pick instead, in one run.

    /usr/bin/python3 test/bench/catch_up.py [--rounds 5] [--scale 75] [--keep]

The daemon, from its start until every segment is durable *and* compressed (zstd), against `pg_receivewal --compress=lz4`
over the same TLS, from the same position (a slot a round holds it) to the same end. Rounds alternate; medians are printed.
"""

import pathlib
import resource
import shutil
import subprocess
import time

from side_by_side import compare, conninfo, options, scratch  # the harness is found by it

from harness.agent import Agent, install_binaries, lsn_number
from harness.certificates import Pki
from harness.cluster import PSQL_BIN, Cluster
from harness.scratch import as_user, make_folder

SEGMENT = 16 << 20


def segment_names(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def catch_up(agent, end):
    """Until what lies before `end` is durable and nothing of it waits for its compression; the daemon's whole time."""
    last = (lsn_number(end) - 1) // SEGMENT
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    agent.start(wait=False)
    while True:
        names = segment_names(agent.base) if agent.base.exists() else set()
        numbers = [int(name[8:16], 16) * 256 + int(name[16:24], 16) for name in names if name.endswith(".zst")]
        if numbers and max(numbers) >= last and not [name for name in names if len(name) == 24]:
            break
        if time.monotonic() - started > 300:
            raise SystemExit(f"not caught up in 300 s\n{agent.log_text()[-2000:]}")
        time.sleep(0.05)  # a look costs processor time that the other side does not have to share
    took = time.monotonic() - started
    agent.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def receive(connection, slot, folder, end):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run(as_user([PSQL_BIN / "pg_receivewal", "-d", connection, "-D", folder, "-S", slot, "-E", end, "--compress=lz4", "-n"]),
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stored_bytes(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file() and ".partial" not in path.name)


def parse():
    words = options(__doc__)
    words.add_argument("--scale", type=int, default=75, help="pgbench scale; 75 makes about 1 GB of WAL")
    return words.parse_args()


def main(words, folder):
    pki = Pki(folder / "pki")
    programs = install_binaries(folder / "bin")
    cluster = Cluster(folder / "server", pki, segment_size_mb=16,
                      settings=("max_wal_size = 8GB", "shared_buffers = 512MB", "wal_keep_size = 8GB", "max_replication_slots = 40"))
    agents = []
    try:
        cluster.start().create_role()
        slots = [f"round_{number}_{side}" for number in range(words.rounds) for side in ("ours", "theirs")]
        for slot in slots:
            cluster.sql("SELECT pg_create_physical_replication_slot(%s, true)", slot)
        start = cluster.sql("SELECT pg_current_wal_lsn()::text")
        # Half loading, half transactions, as an outage leaves behind; full-page images on, as everybody has them.
        cluster.pgbench("-i", "-q", "-s", str(words.scale // 2))
        cluster.sql("CHECKPOINT")
        while lsn_number(cluster.sql("SELECT pg_current_wal_lsn()::text")) - lsn_number(start) < words.scale / 75 * (1 << 30):
            cluster.pgbench("-n", "-c", "4", "-j", "2", "-t", "2000")
        cluster.sql("SELECT pg_switch_wal()")
        end = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        end = int(end[8:16], 16) << 32 | int(end[16:24], 16) * SEGMENT
        end = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"
        print(f"{(lsn_number(end) - lsn_number(start)) / 2**30:.2f} GB of WAL", flush=True)
        ours, theirs, sizes = [], [], {}
        for number in range(words.rounds):
            agent = Agent(folder / f"agent-{number}", programs, pki)
            agents.append(agent)
            agent.add_server("primary", cluster, wal_slot=f"round_{number}_ours")
            ours.append(catch_up(agent, end))
            sizes["ours"] = stored_bytes(agent.system_folder("primary") / "wal")
            other = make_folder(folder / "other")
            theirs.append(receive(conninfo(cluster, pki), f"round_{number}_theirs", other, end))
            sizes["theirs"] = stored_bytes(other)
            shutil.rmtree(other)
            shutil.rmtree(agent.base)
        for number, what in enumerate(("catching up", "processor time of the receiver")):
            compare(what, [pair[number] for pair in ours], [pair[number] for pair in theirs], "pg_receivewal")
        print(f"size: pgcoffer {sizes['ours']} bytes, pg_receivewal {sizes['theirs']} bytes, "
              f"ratio {sizes['ours'] / sizes['theirs']:.3f}")
    finally:
        for agent in agents:
            agent.close()
        cluster.close()


if __name__ == "__main__":
    words = parse()
    with scratch(words.keep) as folder:
        main(words, folder)
