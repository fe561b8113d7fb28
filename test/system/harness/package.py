"""The Debian package of this tree, and the Debian roots that it is installed in; made once for a build folder."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

from .agent import BUILD
from .debian import DebianMachine, debian_root
from .machine import CACHE

ROOT = pathlib.Path(__file__).parents[3]
WORK = BUILD / "package"
# What the programs are linked with and the package recommends, so that it is installed without a network.
LIBRARIES = ["libarchive13", "libevent-core-2.1-7", "libjansson4", "libpq5", "libsmartcols1", "libssl3", "libzstd1",
             "ca-certificates", "openssl", "zstd", "iproute2"]
MISSING = [program for program in ("debootstrap", "systemd-nspawn", "unshare", "dpkg-deb", "cpack") if shutil.which(program) is None]
# What takes a Debian root is long, too.
MARKS = [pytest.mark.skipif(os.geteuid() != 0, reason="only root makes Debian roots"),
         pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}"),
         pytest.mark.skipif(bool(CACHE.get("SANITIZE")), reason="the package has a build of its own: the plain tree tests it")]


def run(*command, **rest):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=3000, **rest)


def build(folder, *options):
    launcher = {"CMAKE_C_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
    done = run(ROOT / "contrib/packaging/build-deb.sh", *options, folder, env={**os.environ, **launcher})
    assert done.returncode == 0, done.stdout + done.stderr
    return next(pathlib.Path(line) for line in done.stdout.splitlines() if line.endswith(".deb"))


def bare():
    """Neither systemd nor PostgreSQL."""
    return debian_root(WORK / "bare", None, LIBRARIES)


@contextlib.contextmanager
def whole_machine(folder):
    """With both, as Debian installs them; not booted yet."""
    whole = debian_root(WORK / "whole", bare(), ["systemd-sysv", "postgresql-15", "logrotate", "procps"])
    root = folder / "machine"
    subprocess.run(["cp", "-a", whole, root], check=True)
    machine = DebianMachine(root)
    try:
        yield machine
    finally:
        machine.close()
        shutil.rmtree(root)
