#!/usr/bin/env python3
"""How long `pgcoffer check` takes on a healthy server, beside what a user would type instead, in one run.

    /usr/bin/python3 test/bench/check.py [--rounds 5]

The whole check, the passive one, and as the usual way to look by hand: one login with psql and one handshake with
`openssl s_client`, which tell a small part of it. Rounds alternate; medians are printed.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / folder) for folder in ("system", "certificates")]

from authority import Papers  # noqa: E402
from harness.agent import install_binaries  # noqa: E402
from harness.certificates import Pki  # noqa: E402
from harness.cluster import PSQL_BIN  # noqa: E402
from harness.scratch import as_user  # noqa: E402
from lab import Lab  # noqa: E402


def timed(command):
    started = time.monotonic()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL)
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="pgcoffer-bench-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        lab = Lab(folder / "lab", Pki(folder / "pki"), Papers(folder / "papers"), install_binaries(folder / "bin"))
        try:
            measure(lab.reset().apply(), rounds)
        finally:
            lab.close()


def measure(lab, rounds):
    options = lab.options
    login = as_user([PSQL_BIN / "psql", f"host={options['host']} port={options['port']} user=repl dbname=postgres replication=1 "
                     f"sslmode=verify-full sslrootcert={options['tls-ca-file']} sslcert={options['tls-cert-file']} "
                     f"sslkey={options['tls-key-file']}", "-Atc", "IDENTIFY_SYSTEM"])
    handshake = ["openssl", "s_client", "-starttls", "postgres", "-connect", f"localhost:{options['port']}", "-CAfile",
                 options["tls-ca-file"], "-verify_return_error"]
    ways = {"check": [lab.command()], "check --passive": [lab.command("--passive")], "psql + s_client": [login, handshake]}
    times = {way: [] for way in ways}
    for _ in range(rounds):
        for way, commands in ways.items():
            times[way].append(sum(timed(command) for command in commands))
    checks = lab.check()
    print(f"{sum(each['state'] == 'pass' for each in checks)} of {len(checks)} checks pass; medians of {rounds} rounds:")
    by_hand = statistics.median(times["psql + s_client"])
    for way, seconds in times.items():
        median = statistics.median(seconds)
        print(f"  {way:16} {median:6.3f} s  ({median / by_hand:.1f} times psql + s_client)")


if __name__ == "__main__":
    main()
