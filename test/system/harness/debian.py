"""Debian roots of their own: made by debootstrap once for a build folder, copied for each test, used by chroot or booted."""

import os
import pathlib
import shutil
import subprocess

import pytest

from .machine import NAMESPACES, Machine

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}


def chroot(root, *command):
    """In processes, mounts and a network of its own: no other host can be reached, and nothing stays behind that runs."""
    inside = ["sh", "-ec", 'ip link set lo up; mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; exec chroot "$0" "$@"', str(root)]
    return subprocess.run(["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", *inside, *map(str, command)],
                          env=ENVIRONMENT, text=True, capture_output=True, timeout=600)


def debian_root(folder, base, packages):
    """A root of Debian 12 with these packages, made when there is none yet; `base` is another one, or None for debootstrap."""
    if folder.exists():
        return folder
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    denial = unfinished / "usr/sbin/policy-rc.d"  # the servers of packages are started by the boot, not by the installation
    steps = [["debootstrap", "--variant=minbase", "bookworm", unfinished] if base is None else ["cp", "-a", base, unfinished],
             ["cp", "/etc/resolv.conf", unfinished / "etc"],
             ["sh", "-c", r'printf "#!/bin/sh\nexit 101\n" >"$0" && chmod 755 "$0"', denial],
             ["chroot", unfinished, "apt-get", "update", "-qq"],
             ["chroot", unfinished, "apt-get", "install", "-qq", "--no-install-recommends", *packages],
             ["rm", denial]]
    for step in steps:
        done = subprocess.run([str(word) for word in step], env=ENVIRONMENT, text=True, capture_output=True, timeout=1200)
        if done.returncode != 0:
            pytest.skip(f"no Debian root could be made, which needs a mirror: {step[0]} says {(done.stdout + done.stderr)[-500:]}")
    unfinished.rename(folder)
    return folder


class DebianMachine(Machine):
    """Such a root, booted: everything of it is its own, and stays."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.console = self.root.with_suffix(".console")
        self.process = self.leader = None

    def boot(self):
        with self.console.open("w") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "-D", self.root, "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network",
                 "--settings=no", "--console=pipe", f"--machine=debian-{os.getpid()}"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        return self.wait_booted(180)

    def command(self, *words):
        """As root, in /root."""
        return ["nsenter", "--target", str(self.leader), *NAMESPACES, "--root", "--wd", "env", "-i",
                *(f"{name}={value}" for name, value in ENVIRONMENT.items()), "sh", "-c", 'cd /root && exec "$@"', "sh", *map(str, words)]

    def has(self, path):
        return os.path.lexists(self.root / path.lstrip("/"))
