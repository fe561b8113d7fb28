#!/usr/bin/env python3
"""What a scrape of the metrics costs, by the number of servers configured.

    /usr/bin/python3 test/bench/scrape.py [--scrapes 100] [--servers 1,10,100]

One server is real and streams; of the others nobody answers, and they are told all the same. For each number: the time a scrape
takes (median, 99th percentile), the processor time of the supervisor and of the exporter for one, the bytes of an answer, and the
files that both opened meanwhile, counted by strace where it is installed: a scrape opens none. Scrapes are a tenth of a second
apart: the supervisor answers no more than twenty a second, and those that come together share an answer.
"""

import argparse
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "system")]

from harness.agent import Agent, install_binaries  # noqa: E402
from harness.certificates import Pki  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.scrape import scrape  # noqa: E402
from harness.scratch import free_port, wait_for  # noqa: E402

APART_SECONDS = 0.1
TICK = os.sysconf("SC_CLK_TCK")
OPENS = "open,openat,openat2,creat"


def cpu_seconds(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


class Opens:
    """Files that these processes open while it is there; None without strace."""

    def __init__(self, pids, folder):
        self.file = folder / "strace"
        self.process = None
        if shutil.which("strace"):
            words = ["strace", "-f", "-q", "-e", f"trace={OPENS}", "-o", self.file]
            for pid in pids:
                words += ["-p", str(pid)]
            self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
            wait_for(lambda: all("TracerPid:\t0" not in pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids),
                     "strace is attached")

    def stop(self):
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        return [line for line in self.file.read_text().splitlines() if "open" in line or "creat" in line]


def measure(agent, port, count, folder):
    (exporter,) = agent.worker_pids("exporter")
    pids = {"supervisor": agent.process.pid, "exporter": exporter}
    answer = scrape(port)
    before, walls = {name: cpu_seconds(pid) for name, pid in pids.items()}, []
    for _ in range(count):
        time.sleep(APART_SECONDS)
        started = time.monotonic()
        scrape(port)
        walls.append(time.monotonic() - started)
    costs = {name: (cpu_seconds(pid) - before[name]) / count * 1e3 for name, pid in pids.items()}
    opens = Opens(pids.values(), folder)
    for _ in range(20):
        scrape(port)
    found = opens.stop()
    walls.sort()
    print(f"  {len(agent.servers):4} servers  {statistics.median(walls) * 1e3:7.2f} ms  {walls[int(len(walls) * 0.99)] * 1e3:7.2f} ms  "
          f"supervisor {costs['supervisor']:6.2f} ms  exporter {costs['exporter']:6.2f} ms  {len(answer.text) / 1024:7.1f} KiB  "
          f"files opened: {'not counted, no strace' if found is None else len(found)}")
    for line in found or []:
        print("   ", line)
    return found


def run(folder, pki, programs, cluster, servers, count):
    agent = Agent(folder, programs, pki)
    port = free_port()
    agent.daemon_settings["metrics"] = port
    nobody = free_port()
    try:
        for number in range(servers):
            agent.add_server(f"server{number}", cluster, **({} if number == 0 else {"port": nobody}))
        agent.start()
        agent.wait_streaming("server0")
        wait_for(lambda: sum(row["receiver"]["state"] == "waiting" for row in agent.json("status")["servers"]) == servers - 1,
                 "nobody answers the others")
        return measure(agent, port, count, folder)
    finally:
        agent.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapes", type=int, default=100)
    parser.add_argument("--servers", default="1,10,100")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgcoffer-bench-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        os.environ["PGCOFFER_TEST_SCRATCH"] = name
        pki, programs = Pki(folder / "pki"), install_binaries(folder / "bin")
        cluster = Cluster(folder / "server", pki).start().create_role()
        print(f"{options.scrapes} scrapes each; wall time of one (median, 99th percentile), processor time of one:")
        try:
            opened = [run(folder / f"agent{count}", pki, programs, cluster, int(count), options.scrapes)
                      for count in options.servers.split(",")]
        finally:
            cluster.close()
    sys.exit(any(opened))


if __name__ == "__main__":
    main()
