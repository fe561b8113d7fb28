"""The breaking machine of test/breaking: every call of what we do fails once, and nothing is lost."""

import pathlib
import subprocess
import sys

import pytest

from harness.agent import BUILD

MACHINE = pathlib.Path(__file__).parents[1] / "breaking" / "run.py"


def run(sanitizer_reports, *words, timeout):
    done = subprocess.run([sys.executable, "-B", str(MACHINE), *map(str, words)], capture_output=True, text=True, timeout=timeout)
    print(done.stdout[-20000:])
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-5000:]
    return done.stdout


def counts(text):
    """The last line of a run: faults injected, invariants checked."""
    (line,) = [line for line in text.splitlines() if " faults injected " in line]
    words = line.split()
    return int(words[words.index("faults") - 1]), int(words[words.index("invariants") - 1])


needs_library = pytest.mark.skipif(not (BUILD / "breaking" / "faults.so").exists(), reason="the fault library was not built")


@needs_library
def test_a_short_round_breaks_nothing(sanitizer_reports):
    injected, checked = counts(run(sanitizer_reports, "--seed", 20261122, "--seconds", 30, timeout=600))
    assert injected > 10 and checked > injected


@needs_library
@pytest.mark.long
def test_the_long_round_breaks_nothing(sanitizer_reports):
    """Every call there is, or as many as 45 minutes take."""
    injected, checked = counts(run(sanitizer_reports, "--seed", 4, "--seconds", 2700, "--most", 400, timeout=4500))
    assert injected > 500 and checked > injected
