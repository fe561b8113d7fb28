"""Folders, OS users and waiting."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

OS_USER = "postgres" if os.geteuid() == 0 else None


def as_user(command, user=OS_USER):
    """The command line that runs `command` as that OS user (only root can change)."""
    command = [str(part) for part in command]
    if user is None or os.geteuid() != 0:
        return command
    if user == "root":
        return command
    group = pwd.getpwnam(user).pw_gid
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--", *command]


def give_to(path, user=OS_USER):
    if user is not None and os.geteuid() == 0:
        shutil.chown(path, user, user)
    return pathlib.Path(path)


def make_folder(path, mode=0o700, user=OS_USER):
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return give_to(path, user)


def renew(source, path):
    """A file that only its owner reads takes the place of the one there, in one moment."""
    fresh = pathlib.Path(path).with_suffix(".new")
    shutil.copy(source, fresh)
    fresh.chmod(0o600)
    give_to(fresh)
    fresh.rename(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=60, pause=0.05):
    """Polls until condition() is true and gives its value; fails with `what` otherwise (called then, if it tells how things stand)."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what() if callable(what) else what}")
        time.sleep(pause)


def run(command, user=OS_USER, check=True, timeout=120, **rest):
    done = subprocess.run(as_user(command, user), text=True, capture_output=True, timeout=timeout, **rest)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
