#!/usr/bin/env python3
"""pgbench with pgcoffer as the synchronous standby against pg_receivewal --synchronous, side by side in one run.

    /usr/bin/python3 test/bench/synchronous.py [--rounds 5] [--slices 4] [--seconds 3] [--clients 1,8] [--keep]

Both receive over TLS with a client certificate from the same server, into the same file system, and the server waits for
whichever of them stands in synchronous_standby_names; the other one is stopped meanwhile. A disk that others use too
is four times as fast in one moment as in the next: so a round of each is the mean of several short slices, which
alternate. Medians of the rounds are printed, and their ratio (0.97 and more counts as equal).
"""

import re
import statistics
import subprocess

from side_by_side import compare, conninfo, options, scratch  # the harness is found by it

from harness.agent import Agent, install_binaries
from harness.certificates import Pki
from harness.cluster import PSQL_BIN, Cluster
from harness.scratch import as_user, make_folder, wait_for


def wait_sync(cluster, name):
    wait_for(lambda: cluster.sql("SELECT sync_state FROM pg_stat_replication WHERE application_name = %s", name) == "sync",
             f"{name} is waited for", 60)


def wait_alone(cluster):
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_replication") == 0, "nobody is connected", 30)


class Ours:
    name = "pgcoffer"

    def __init__(self, folder, cluster, pki):
        self.agent = Agent(folder / "agent", install_binaries(folder / "bin"), pki)
        self.agent.add_server("primary", cluster, synchronous="yes")

    def start(self):
        self.agent.start()

    def stop(self):
        self.agent.stop()


class Theirs:
    name = "pg_receivewal"

    def __init__(self, folder, cluster, pki):
        self.place = make_folder(folder / "theirs")
        connection = conninfo(cluster, pki, f"application_name={self.name}")
        self.command = as_user([PSQL_BIN / "pg_receivewal", "-d", connection, "-D", self.place, "--synchronous", "-S", "theirs"])
        cluster.sql("SELECT pg_create_physical_replication_slot('theirs', true)")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)  # as the daemon: the kernel shares the processor by sessions

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        self.process = None


def measure(cluster, side, clients, seconds):
    """Transactions per second, with `side` as the standby that commits wait for."""
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = ''")
    cluster.reload()
    side.start()
    try:
        cluster.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{side.name}'")
        cluster.reload()
        wait_sync(cluster, side.name)
        done = cluster.pgbench("-n", "-N", "-c", str(clients), "-j", "2", "-T", str(seconds))
        return float(re.search(r"tps = ([0-9.]+)", done.stdout)[1])
    finally:
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = ''")
        cluster.reload()
        side.stop()
        wait_alone(cluster)


def parse():
    words = options(__doc__)
    words.add_argument("--slices", type=int, default=4, help="of each side in a round")
    words.add_argument("--seconds", type=int, default=3, help="of each slice")
    words.add_argument("--clients", default="1,8", help="numbers of pgbench clients, separated by commas")
    return words.parse_args()


def main(words, folder):
    pki = Pki(folder / "pki")
    cluster = Cluster(folder / "server", pki, segment_size_mb=16, settings=("max_wal_size = 4GB", "fsync = on"))
    sides = []
    ratios = []
    try:
        cluster.start().create_role()
        cluster.pgbench("-i", "-q", "-s", "10")
        cluster.sql("CHECKPOINT")
        sides = [Ours(folder, cluster, pki), Theirs(folder, cluster, pki)]
        for clients in map(int, words.clients.split(",")):
            results = {side.name: [] for side in sides}
            for _ in range(words.rounds):
                seen = {side.name: [] for side in sides}
                for number in range(words.slices):
                    for side in (sides if number % 2 == 0 else sides[::-1]):
                        seen[side.name].append(measure(cluster, side, clients, words.seconds))
                for name, values in seen.items():
                    results[name].append(statistics.mean(values))
            ours, theirs = (results[side.name] for side in sides)
            ratios.append(compare(f"{clients} clients", ours, theirs, "pg_receivewal", "tps", 0))
        print(f"worst ratio {min(ratios):.2f} (0.97 and more counts as equal)")
    finally:
        for side in sides:
            side.stop()
        cluster.close()


if __name__ == "__main__":
    words = parse()
    with scratch(words.keep) as folder:
        main(words, folder)
