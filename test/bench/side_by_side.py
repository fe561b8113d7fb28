"""What the benchmarks share: their options, a scratch folder, how the other side connects, and the line that compares."""

import argparse
import contextlib
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "system"))


def options(documentation):
    """A parser that knows what every benchmark has."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    return parser


@contextlib.contextmanager
def scratch(keep):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgcoffer-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def conninfo(cluster, pki, more=""):
    """With which PostgreSQL's own programs come as we do."""
    return (f"host=localhost port={cluster.port} user=repl sslmode=verify-full sslcert={pki.client.certificate} "
            f"sslkey={pki.client.key} sslrootcert='{pki.server_ca.certificate}' {more}")


def timed(command):
    """Seconds until it has ended well."""
    started = time.monotonic()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def spread(values, unit="s", digits=2):
    return f"{statistics.median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def compare(what, ours, theirs, their_name, unit="s", digits=2):
    """Prints the medians and gives their ratio."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{what}: pgcoffer {spread(ours, unit, digits)}, {their_name} {spread(theirs, unit, digits)}, ratio {ratio:.2f}", flush=True)
    return ratio
