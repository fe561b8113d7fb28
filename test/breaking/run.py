#!/usr/bin/env python3
"""The breaking machine: every call of a backup, a segment's end, a timeline switch, a restore fails once, and afterwards nothing
may be lost. See README.md.

    PGCOFFER_BUILD=build/release /usr/bin/python3 test/breaking/run.py [--seconds 60] [--seed 7] [--scenario backup]...
    PGCOFFER_BUILD=build/release /usr/bin/python3 test/breaking/run.py --only segment:sync:3:power --seed 7
"""

import argparse
import collections
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "system"))

from board import FAULTS_OF  # noqa: E402
from harness.agent import install_binaries  # noqa: E402
from harness.certificates import Pki  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.scratch import make_folder  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from storms import STORMS  # noqa: E402
from world import World  # noqa: E402

SHORT_SECONDS = 120  # less are not enough for each world to see every scenario
LEAST_CASES = 4  # of a scenario, however slow the machine is
STORM_CHECK_SECONDS = 3
PROOF_SECONDS = 5  # kept back for the last proof: a restore that is started and asked for its rows

Case = collections.namedtuple("Case", "scenario call_class number fault")
Report = collections.namedtuple("Report", "injected missed checked cases planned broken")


def spread(count, most, chance):
    """All numbers up to count, or `most` of them: the first and last ones, and any between."""
    if count <= most:
        return list(range(1, count + 1))
    ends = set(range(1, most // 4 + 1)) | set(range(count - most // 4 + 1, count + 1))
    return sorted(ends | set(chance.sample([number for number in range(1, count + 1) if number not in ends], most - len(ends))))


def plan(scenario, counts, most, chance):
    cases = [Case(scenario, call_class, number, fault) for call_class, count in counts.items()
             for number in spread(count, most, chance) for fault in FAULTS_OF[call_class]]
    chance.shuffle(cases)
    return cases


class Machine:
    """One world and its share of the cases."""

    def __init__(self, arguments, folder, programs, pki, share):
        self.arguments, self.share = arguments, share
        self.world = World(folder / f"world-{share}", programs, pki, f"{arguments.seed}/{share}")
        self.injected = self.missed = self.cases = self.planned = 0
        self.is_short = arguments.seconds < SHORT_SECONDS and arguments.jobs > 1
        self.broken = []

    def say(self, text):
        print(text, flush=True)

    def run_case(self, scenario, case):
        name = ":".join(map(str, case))
        self.world.chance = random.Random(f"{self.arguments.seed}/{name}")
        began = time.monotonic()
        try:
            is_hit = scenario.run(case.call_class, case.number, case.fault)
        except Exception as problem:  # whatever it is, the run goes on
            self.tell_broken(name, problem)
            return
        finally:
            self.cases += 1
        self.injected += is_hit
        self.missed += not is_hit
        if self.arguments.verbose:
            self.say(f"{name}: {self.world.board.where()}, {time.monotonic() - began:.1f} s")

    def tell_broken(self, name, problem):
        log = "".join(f"    | {line}\n" for line in self.last_log_lines())
        self.broken.append(name)
        self.say(f"BROKEN {name} (--seed {self.arguments.seed}): {self.world.board.where()}\n  {problem}\n"
                 + ("" if isinstance(problem, AssertionError) else "".join(traceback.format_exception(problem))) + log)
        if self.arguments.stop:
            sys.exit(1)
        self.begin_again()

    def last_log_lines(self):
        most = self.arguments.log_lines
        return self.world.agent.log_text().splitlines()[-most:] if most > 0 else []

    def begin_again(self):
        self.world.board.clear()
        if not self.world.cluster.is_running():
            self.world.cluster.start()
        self.world.begin_repository()

    def cases_of(self, scenario):
        """Counted in one run without a fault."""
        counts = scenario.count()
        self.say(f"{scenario.name}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
        chance = random.Random(f"{self.arguments.seed}/{scenario.name}")
        cases = plan(scenario.name, counts, self.arguments.most, chance)
        return cases if self.is_short else cases[self.share::self.arguments.jobs]

    def run_scenario(self, kind, deadline, only=None):
        scenario = kind(self.world)
        try:
            scenario.begin()
            cases = [only] if only is not None else self.cases_of(scenario)
        except Exception as problem:
            self.tell_broken(f"{kind.name}:count", problem)
            return
        self.planned += len(cases)
        for done, case in enumerate(cases):
            if done >= LEAST_CASES and time.monotonic() > deadline:
                break
            if done and done % scenario.CASES_A_REPOSITORY == 0:
                self.prove(kind.name)
                self.world.begin_repository()
                scenario.begin()
            before = len(self.broken)
            self.run_case(scenario, case)
            if len(self.broken) > before:
                scenario.begin()

    def run_storm(self, kind, deadline):
        """Spoiled connections count as faults."""
        name = f"{kind.name}:{self.share}"
        storm = kind(self.world, f"{self.arguments.seed}/{name}")
        self.planned += 1
        self.cases += 1
        try:
            self.injected += storm.run(max(3, deadline - time.monotonic() - STORM_CHECK_SECONDS))
            self.say(f"{name}: {storm.rounds} rounds, " + ", ".join(f"{count} {deed}" for deed, count in storm.proxy.deeds.items()))
        except Exception as problem:
            self.tell_broken(name, problem)
        finally:
            storm.end()

    def prove(self, name):
        try:
            self.world.invariants.verified()
            self.world.prove_restore()
        except Exception as problem:
            self.tell_broken(f"{name}:proof", problem)

    def run_all(self):
        names = self.arguments.scenario[self.share::self.arguments.jobs] if self.is_short else self.arguments.scenario
        for done, name in enumerate(names):
            time_left = self.arguments.until - PROOF_SECONDS - time.monotonic()
            deadline = time.monotonic() + time_left / (len(names) - done)
            if name in STORMS:
                self.run_storm(STORMS[name], deadline)
            else:
                self.run_scenario(SCENARIOS[name], deadline)
            if done + 1 == len(names) or not self.is_short:
                self.prove(name)

    def run(self):
        if self.arguments.only:
            scenario, call_class, number, fault = self.arguments.only.split(":")
            self.run_scenario(SCENARIOS[scenario], float("inf"), Case(scenario, call_class, int(number), fault))
            self.prove(scenario)
        else:
            self.run_all()
        return Report(self.injected, self.missed, self.world.invariants.checked, self.cases, self.planned, self.broken)


def run_share(arguments, folder, programs, pki, share, results):
    try:
        machine = Machine(arguments, folder, programs, pki, share)
        try:
            results.put(machine.run())
        finally:
            machine.world.close()
    except BaseException:
        traceback.print_exc()
        results.put(Report(0, 0, 0, 0, 0, [f"share {share}"]))


def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long all of it may take (default: 60)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10 ** 6), help="for all that is left to chance")
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS, *STORMS],
                        help="this one, may be repeated (default: all)")
    parser.add_argument("--only", metavar="SCENARIO:CLASS:NUMBER:FAULT", help="one case")
    parser.add_argument("--most", type=int, default=60, help="calls of a class that are tried when there are more (default: 60)")
    parser.add_argument("--jobs", type=int, default=2, help="worlds side by side (default: 2)")
    parser.add_argument("--stop", action="store_true", help="at the first broken case")
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    parser.add_argument("--log-lines", type=int, default=12, help="of the daemon's log with a broken case")
    arguments = parser.parse_args(words)
    arguments.scenario = arguments.scenario or [*SCENARIOS, *STORMS]
    arguments.jobs = 1 if arguments.only else arguments.jobs
    began = time.monotonic()
    arguments.until = began + arguments.seconds
    arguments.seconds_taken = lambda: time.monotonic() - began
    return arguments


def run(words):
    """Gives the sum of all reports."""
    arguments = parse_arguments(words)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgcoffer-breaking-"))
    folder.chmod(0o755)
    os.environ["PGCOFFER_TEST_SCRATCH"] = str(folder)
    print(f"seed {arguments.seed}", flush=True)
    try:
        programs, pki = install_binaries(folder / "bin"), Pki(folder / "pki")
        make_folder(folder / "template", 0o755)
        Cluster(folder / "template" / "server", pki)  # one initdb for all
        results = multiprocessing.Queue()
        shares = [multiprocessing.Process(target=run_share, args=(arguments, folder, programs, pki, share, results))
                  for share in range(arguments.jobs)]
        for process in shares:
            process.start()
        reports = [results.get() for _ in shares]
        for process in shares:
            process.join()
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    total = Report(*(sum((report[index] for report in reports), [] if index == 5 else 0) for index in range(len(Report._fields))))
    print(f"seed {arguments.seed}: {total.injected} faults injected in {total.cases} of {total.planned} cases "
          f"({total.missed} met no call), {total.checked} invariants checked, {len(total.broken)} broken, "
          f"{arguments.seconds_taken():.0f} s", flush=True)
    for name in total.broken:
        print(f"broken: {name}", flush=True)
    return total


if __name__ == "__main__":
    sys.exit(1 if run(sys.argv[1:]).broken else 0)
