#!/usr/bin/env python3
"""wal-get in recovery order, side by side with what a user would pick instead, in one run.

    /usr/bin/python3 test/bench/wal_get.py [--rounds 5] [--segments 64] [--keep]

The same WAL of pgbench, 16 MB a segment, in both archives with zstd level 3. A shell in a data directory runs the
restore_command for one segment after the other, as PostgreSQL does, with no replay between them: `pgcoffer wal-get`
with the daemon and with --direct, `pgbackrest archive-get` synchronous and asynchronous. What came is compared with
what PostgreSQL wrote. Rounds alternate; medians are printed. Needs the package pgbackrest; nothing is installed.
"""

import shutil
import statistics
import subprocess
import time

from side_by_side import options, scratch, spread  # the harness is found by it

from harness.agent import Agent, install_binaries
from harness.certificates import Pki
from harness.cluster import Cluster
from harness.scratch import as_user, give_to, make_folder, wait_for

PGBACKREST_CONFIGURATION = """\
[global]
repo1-path={folder}/repository
lock-path={folder}/lock
log-path={folder}/log
spool-path={folder}/spool
log-level-console=warn
log-level-file=off
compress-type=zst
compress-level=3
archive-async={asynchronous}
archive-get-queue-max=256MiB
process-max={processes}
[main]
pg1-path={data}
"""


def write_load(cluster, agent, count):
    """At least `count` whole segments in the archive; gives the names of the last of them."""
    cluster.pgbench("-i", "-q", "-s", "20")
    while True:
        cluster.pgbench("-n", "-c", "4", "-t", "10000")
        cluster.sql("CHECKPOINT")
        held = [row for row in agent.json("wal", "list", "primary")["files"] if row["state"] == "compressed"]
        if len(held) > count + 1:
            break
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"), 120)
    wait_for(lambda: all(row["state"] != "raw" for row in agent.json("wal", "list", "primary")["files"]), "compressed", 60)
    held = [row["name"] for row in agent.json("wal", "list", "primary")["files"] if row["state"] == "compressed"]
    return held[-count:]


class Recovery:
    """A folder with what a restore_command may look at, and the loop PostgreSQL runs."""

    def __init__(self, folder, cluster):
        self.data = make_folder(folder)
        for name in ("global", "pg_wal"):
            make_folder(self.data / name)
        for name in ("global/pg_control", "PG_VERSION"):
            shutil.copy(cluster.data / name, self.data / name)
            give_to(self.data / name)
        (self.data / "recovery.signal").touch()
        give_to(self.data / "recovery.signal")
        self.script = folder.parent / "recover.sh"
        self.script.write_text("""\
set -e
command=$1; check=$2; shift 2
for name in "$@"; do
    rm -f pg_wal/RECOVERYXLOG
    sh -c "$(printf '%s' "$command" | sed "s!%f!$name!;s!%p!pg_wal/RECOVERYXLOG!")"
    case $check in -) test "$(stat -c %s pg_wal/RECOVERYXLOG)" = 16777216 ;; *) cmp pg_wal/RECOVERYXLOG "$check/$name" ;; esac
done
""")
        self.script.chmod(0o755)

    def run(self, command, names, check="-"):
        started = time.monotonic()
        subprocess.run(as_user(["sh", self.script, command, check, *names]), check=True, cwd=self.data,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return time.monotonic() - started


class PgBackRest:
    def __init__(self, folder, recovery):
        self.folder = make_folder(folder, 0o755)
        for name in ("repository", "lock", "log", "spool"):
            make_folder(self.folder / name)
        self.recovery = recovery

    def command(self, asynchronous, processes, *words):
        path = self.folder / f"pgbackrest-{asynchronous}-{processes}.conf"
        path.write_text(PGBACKREST_CONFIGURATION.format(folder=self.folder, data=self.recovery.data,
                                                        asynchronous=asynchronous, processes=processes))
        path.chmod(0o644)
        return ["pgbackrest", f"--config={path}", "--stanza=main", *words]

    def archive(self, segments):
        subprocess.run(as_user(self.command("n", 1, "--no-online", "stanza-create")), check=True)
        for path in segments:
            subprocess.run(as_user(self.command("n", 1, "archive-push", path)), check=True, cwd=self.recovery.data)

    def get(self, names, asynchronous, processes, check="-"):
        command = " ".join(map(str, self.command(asynchronous, processes, "archive-get", "%f", "%p")))
        took = self.recovery.run(command, names, check)
        # The asynchronous process goes on looking; the next round begins with an empty spool.
        subprocess.run(as_user(["pgbackrest", f"--lock-path={self.folder}/lock", "stop"]), check=False)
        subprocess.run(as_user(["pgbackrest", f"--lock-path={self.folder}/lock", "start"]), check=False)
        wait_for(lambda: not list((self.folder / "lock").glob("*.lock")), "pgbackrest ended")
        shutil.rmtree(self.folder / "spool")
        make_folder(self.folder / "spool")
        return took


def parse():
    words = options(__doc__)
    words.add_argument("--segments", type=int, default=64)
    return words.parse_args()


def main(words, folder):
    if shutil.which("pgbackrest") is None:
        raise SystemExit("pgbackrest is missing: apt-get install pgbackrest")

    pki = Pki(folder / "pki")
    cluster = Cluster(folder / "server", pki, segment_size_mb=16, settings=("max_wal_size = 1GB", "synchronous_commit = off"))
    agent = Agent(folder / "agent", install_binaries(folder / "bin"), pki)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster).start()
        agent.wait_streaming("primary")
        names = write_load(cluster, agent, words.segments)
        cluster.stop()
        recovery = Recovery(folder / "data", cluster)
        plain = make_folder(folder / "plain")
        for name in names:
            agent.ok("--direct", "wal-get", "primary", name, plain / name)
        other = PgBackRest(folder / "pgbackrest", recovery)
        other.archive([plain / name for name in names])
        stored = sum(path.stat().st_size for path in agent.system_folder("primary").glob("wal/*/*/*.zst"))
        print(f"{len(names)} segments; {stored / 1e6:.0f} MB in the archive", flush=True)

        system = agent.system_folder("primary").name
        command = f"{agent.binaries}/pgcoffer -c {agent.configuration} {{}}wal-get --system-id {system} primary %f %p"
        runs = {"pgcoffer, daemon": lambda check="-": recovery.run(command.format(""), names, check),
                "pgcoffer, --direct": lambda check="-": recovery.run(command.format("--direct "), names, check),
                "pgbackrest": lambda check="-": other.get(names, "n", 1, check),
                "pgbackrest, asynchronous": lambda check="-": other.get(names, "y", 1, check),
                "pgbackrest, asynchronous, two processes": lambda check="-": other.get(names, "y", 2, check)}
        for run in runs.values():
            run(plain)
        times = {name: [] for name in runs}
        for _ in range(words.rounds):
            for name, run in runs.items():
                times[name].append(run())
        reference = statistics.median(times["pgbackrest"])
        for name, values in times.items():
            print(f"{name}: {spread(values)}, {statistics.median(values) / reference:.2f} of pgbackrest's", flush=True)
        for name in list(times)[3:]:
            ratio = statistics.median(times["pgcoffer, daemon"]) / statistics.median(times[name])
            print(f"pgcoffer, daemon: {ratio:.2f} of {name}")
    finally:
        agent.stop()
        cluster.close()


if __name__ == "__main__":
    words = parse()
    with scratch(words.keep) as folder:
        main(words, folder)
