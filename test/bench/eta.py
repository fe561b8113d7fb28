#!/usr/bin/env python3
"""How far the time left was off, from the middle on, for backup, restore, verify and drill.

    /usr/bin/python3 test/bench/eta.py [--megabytes 1000] [--rate 40] [--keep]

A cluster of that size is backed up, verified, restored and drilled, each through a proxy or a daemon whose bytes come
at --rate MB a second in gusts (a fifth of the time twice as fast, then slower; 0: as they come). `follow --json` notes
each event with the time at which it came. For each phase that has a total, printed is |ETA - truth| in % of what was
left then, median and worst, of the events between its middle and the last second, and the same in % of the whole phase; "?" counts events
without an ETA behind the first second. The truth is the end of the phase, which is what the ETA is of.
"""

import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import threading
import time

from side_by_side import options, scratch  # the harness is found by it

from harness.agent import Agent, install_binaries
from harness.certificates import Pki
from harness.cluster import Cluster
from harness.scratch import give_to, make_folder, wait_for

GUST = 5.0  # seconds


def allowed(rate, begun, now):
    """Bytes that may have passed by `now`: of each gust's time a fifth at twice the rate, the rest a little slower."""
    whole, rest = divmod(now - begun, GUST)
    fast = min(rest, GUST / 5)
    return rate * (whole * GUST + 2 * fast + 0.75 * (rest - fast))


class Throttle(threading.Thread):
    """Connections to (`family`, `target`), whose answers come at that rate in all."""

    def __init__(self, listener, connect, rate):
        super().__init__(daemon=True)
        self.listener, self.connect, self.rate = listener, connect, rate
        self.begun, self.passed, self.lock = None, 0, threading.Lock()
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            server = self.connect()
            threading.Thread(target=self.carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, client, True), daemon=True).start()

    def pace(self, size):
        with self.lock:
            now = time.monotonic()
            if self.begun is None or now - self.last > 2:
                self.begun, self.passed = now, 0  # another one has begun
            self.last = now
            self.passed += size
            passed = self.passed
        while self.rate and allowed(self.rate, self.begun, time.monotonic()) < passed:
            time.sleep(0.01)

    def carry(self, one, other, is_paced):
        try:
            while piece := one.recv(65536):
                if is_paced:
                    self.pace(len(piece))
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()
            other.close()


def unix(path):
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(path))
    return made


def watch(agent, command):
    """Runs the command and gives (seconds, event) of its job as another client sees it."""
    before = {job["job"] for job in agent.json("jobs")["jobs"]}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/")
    job = wait_for(lambda: next((job["job"] for job in agent.json("jobs")["jobs"] if job["job"] not in before), None), "its job")
    follower = subprocess.Popen(agent.command("follow", job, "--json"), stdout=subprocess.PIPE, text=True, cwd="/")
    events = [(time.monotonic(), json.loads(line)) for line in follower.stdout]
    assert process.wait() == 0, process.stderr.read()
    return events


def deviations(events):
    """phase -> (seconds, [(|eta - truth|, truth)], unknown), of those phases that have a total."""
    found = {}
    for phase in dict.fromkeys(event["phase"] for _, event in events if event.get("event") == "progress"):
        times = [at for at, event in events if event.get("phase") == phase]
        after = [at for at, _ in events if at > times[-1]]
        begun, ended = times[0], after[0] if after else times[-1]
        of_phase = [(at, event) for at, event in events if event.get("phase") == phase]
        if not any(event["total_bytes"] for _, event in of_phase):
            found[phase] = (ended - begun, None, 0)
            continue
        middle = [(at, event) for at, event in of_phase if at >= (begun + ended) / 2 and ended - at > 1]
        known = [(abs(event["eta_seconds"] - (ended - at)), ended - at) for at, event in middle if event["eta_seconds"] >= 0]
        found[phase] = (ended - begun, known, len(middle) - len(known))
    return found


def report(name, events):
    for phase, (seconds, known, unknown) in deviations(events).items():
        what = f"{name:8} {phase:10} {seconds:7.1f} s"
        if known is None:
            print(f"{what}   no total")
        elif not known:
            print(f"{what}   too short to tell")
        else:
            of_rest = [100 * off / truth for off, truth in known]
            of_whole = [100 * off / seconds for off, _ in known]
            print(f"{what}   off by {statistics.median(of_rest):5.1f} % of what was left (worst {max(of_rest):5.1f} %), "
                  f"{statistics.median(of_whole):4.1f} % of the whole ({max(of_whole):4.1f} %); {len(known)} events, {unknown} ?")


def main():
    parser = options(__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=40)
    given = parser.parse_args()
    rate = given.rate * 1000000
    with scratch(given.keep) as folder, contextlib.ExitStack() as ends:
        binaries, pki = install_binaries(folder / "bin"), Pki(folder / "pki")
        cluster = ends.enter_context(contextlib.closing(Cluster(folder / "server", pki)))
        cluster.start().create_role()
        slow_server = Throttle(socket.create_server(("127.0.0.1", 0)), lambda: socket.create_connection(("127.0.0.1", cluster.port)), rate)
        agent = Agent(folder / "agent", binaries, pki).add_server("primary", cluster, port=slow_server.listener.getsockname()[1])
        ends.enter_context(contextlib.closing(agent))
        agent.start()
        agent.wait_streaming("primary")
        cluster.sql(f"CREATE UNLOGGED TABLE load AS SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n * 7)::text) AS t "
                    f"FROM generate_series(1, {given.megabytes * 7000}) n")
        cluster.sql("ALTER TABLE load SET LOGGED")
        agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"), 600)
        report("backup", watch(agent, agent.command("backup", "primary", "--fast-checkpoint")))
        cluster.pgbench("-i", "-q", "-s", "20")
        cluster.pgbench("-n", "-c", "4", "-t", "5000")
        cluster.sql("SELECT pg_switch_wal()")
        agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"), 600)
        report("verify", watch(agent, agent.command("verify", "primary")))
        room = make_folder(folder / "room")
        listener = socket.socket(socket.AF_UNIX)
        door = make_folder(folder / "door", 0o755) / "pgcoffer.sock"
        listener.bind(str(door))
        give_to(door)
        listener.listen(64)
        Throttle(listener, lambda: unix(agent.socket), rate // 2)
        report("restore", watch(agent, agent.command("--socket", door, "restore", "primary", "--with-wal", "--jobs", "2",
                                                     "--target-directory", room / "restored")))
        shutil.rmtree(room / "restored")
        report("drill", watch(agent, agent.command("--socket", door, "drill", "primary", "--jobs", "2", "--amcheck", "--scratch", room)))


if __name__ == "__main__":
    main()
