"""pgcofferd and pgcoffer, as a DBA would run them."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from .scratch import OS_USER, as_user, make_folder, give_to, wait_for

BUILD = pathlib.Path(os.environ.get("PGCOFFER_BUILD", pathlib.Path(__file__).parents[3] / "build" / "release"))


def install_binaries(folder):
    """Copies the two programs to where every OS user may run them; a checkout may lie in a private folder."""
    folder = make_folder(folder, 0o755, None)
    for name in ("pgcoffer", "pgcofferd"):
        shutil.copy(BUILD / "bin" / name, folder / name)
    return folder


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Agent:
    """One configuration, one repository, one daemon."""

    def __init__(self, folder, binaries, pki, user=OS_USER):
        self.folder = make_folder(folder, 0o755, user)
        self.binaries, self.pki, self.user = binaries, pki, user
        self.base = make_folder(self.folder / "repository", 0o700, user)
        self.run_folder = make_folder(self.folder / "run", 0o755, user)
        self.socket = self.run_folder / "pgcoffer.sock"
        self.configuration = self.folder / "pgcoffer.conf"
        self.log = self.folder / "pgcofferd.log"
        self.daemon_settings = {"base_dir": self.base, "unix_socket_dir": self.run_folder}
        self.servers = {}
        self.process = None
        self.environment = {}

    def add_server(self, name, cluster, **settings):
        values = {"host": "localhost", "port": cluster.port, "user": "repl",
                  "tls_cert_file": self.pki.client.certificate, "tls_key_file": self.pki.client.key,
                  "tls_ca_file": self.pki.server_ca.certificate}
        values.update(settings)
        self.servers[name] = {key: value for key, value in values.items() if value is not None}
        self.write_configuration()
        return self

    def write_configuration(self):
        lines = ["[pgcoffer]", *[f"{key} = {value}" for key, value in self.daemon_settings.items()]]
        for name, values in self.servers.items():
            lines += ["", f"[{name}]", *[f"{key} = {value}" for key, value in values.items()]]
        self.configuration.write_text("\n".join(lines) + "\n")
        give_to(self.configuration, self.user)

    def start(self, wait=True):
        log = open(self.log, "a")
        self.process = subprocess.Popen(
            as_user([self.binaries / "pgcofferd", "-c", self.configuration], self.user), stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env={**os.environ, **self.environment}, start_new_session=True)
        log.close()
        if wait:
            wait_for(lambda: self.process.poll() is not None or self.cli("ping").code == 0, "the daemon answers")
            assert self.process.poll() is None, f"pgcofferd ended at once\n{self.log_text()}"
        return self

    def stop(self):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self.process = None
        return code

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait(10)
        self.process = None

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def command(self, *words, user=None):
        return as_user([self.binaries / "pgcoffer", "-c", self.configuration, *words], user or self.user)

    def cli(self, *words, user=None, timeout=120, environment=None, cwd="/"):
        done = subprocess.run(self.command(*words, user=user), capture_output=True, text=True, errors="replace",
                              timeout=timeout, stdin=subprocess.DEVNULL, cwd=cwd,
                              env={**os.environ, **self.environment, **(environment or {})})
        return Result(done)

    def ok(self, *words, **rest):
        result = self.cli(*words, **rest)
        assert result.code == 0, f"pgcoffer {' '.join(map(str, words))}: {result}\n--- daemon\n{self.log_text()[-4000:]}"
        return result

    def json(self, *words, **rest):
        return self.ok(*words, "--json", **rest).json

    def receiver(self, server):
        for row in self.json("status")["servers"]:
            if row["server"] == server:
                return row["receiver"]
        raise AssertionError(f"no server {server} in status")

    def wait_streaming(self, server, seconds=30):
        return wait_for(lambda: (lambda row: row if row and row["state"] == "streaming" else None)(self.receiver(server)),
                        f"streaming; {self.log_text()[-3000:]}", seconds)

    def wait_flushed(self, server, lsn, seconds=30):
        """Until the archive holds everything before `lsn`."""
        return wait_for(lambda: lsn_number(self.receiver(server).get("flushed") or "0/0") >= lsn_number(lsn),
                        f"flushed {lsn}; {self.receiver(server)}", seconds)

    def backup(self, server, *words):
        return self.json("backup", server, "--fast-checkpoint", *words)

    def system_folder(self, server):
        (folder,) = [path for path in (self.base / server).iterdir() if path.is_dir() and path.name.isdigit()]
        return folder

    def backup_folder(self, server, backup):
        return self.system_folder(server) / "backup" / backup

    def worker_pids(self, role):
        """Pids of this daemon's workers of that role."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int(re.search(r"PPid:\s+(\d+)", (entry / "status").read_text())[1])
            except (OSError, TypeError):
                continue
            if f"--role={role}".encode() in words and parent == self.process.pid:
                found.append(int(entry.name))
        return found


def resident_kilobytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def lsn_number(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
