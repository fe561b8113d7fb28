"""One set of numbers of what runs, wherever it is looked at: the bar, `follow`, `jobs` and `status`."""

import json
import os
import pathlib
import pty
import re
import shlex
import signal
import subprocess
import threading

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.gate import Gate
from harness.scratch import free_port, make_folder, wait_for


class Stage:
    """A backup large enough that half of it can be held back."""

    def __init__(self, folder, pki, programs):
        make_folder(folder, 0o755)
        self.folder, self.pki = folder, pki
        self.cluster = Cluster(folder / "server", pki).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki).add_server("primary", self.cluster, restorers="cert:repl")
        self.port = free_port()
        self.agent.daemon_settings.update({"management": self.port, "host": "127.0.0.1", "tls_cert_file": pki.server.certificate,
                                           "tls_key_file": pki.server.key, "tls_ca_file": pki.client_ca.certificate})
        self.agent.write_configuration()
        self.agent.start()
        self.agent.wait_streaming("primary")
        self.backup = self.agent.backup("primary")["id"]

    def gate(self, name, most):
        return Gate(make_folder(self.folder / name, 0o755), self.agent.socket, most)

    def running(self, command):
        """The job of that command, once it runs and has told something."""
        def find():
            for job in self.agent.json("jobs")["jobs"]:
                if job["command"] == command and job["state"] == "running" and job["progress"]:
                    return job
            return None
        return wait_for(find, lambda: f"a running {command}: {self.agent.json('jobs')}")

    def job(self, number):
        (found,) = [job for job in self.agent.json("jobs")["jobs"] if job["job"] == number]
        return found

    def close(self):
        self.agent.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def stage(scratch, pki, programs):
    stage = Stage(scratch / "progress", pki, programs)
    yield stage
    stage.close()


class OnTerminal:
    """A command whose stderr is a terminal: what the bar showed."""

    def __init__(self, command):
        mine, its = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its, cwd="/")
        os.close(its)
        self.reader = threading.Thread(target=self.read, args=(mine,), daemon=True)
        self.reader.start()

    def read(self, terminal):
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                return
            self.shown += piece

    def lines(self):
        return [line.strip() for line in re.split(r"\r(?:\x1b\[K)?", self.shown.decode()) if line.strip()]

    def end(self):
        code = self.process.wait(60)
        self.reader.join(10)
        return code


def follow(stage, job, *words):
    return subprocess.Popen(stage.agent.command("follow", job, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, cwd="/")


def seen_alike(stage, job):
    """Its progress and who follows it, once `jobs`, `follow` and `status` tell the same; None: it still moves, or has nothing yet."""
    progress = stage.job(job)["progress"]
    follower = follow(stage, job, "--json")
    first = json.loads(follower.stdout.readline())
    (shown,) = stage.agent.json("status")["jobs"]
    told = {"schema": 1, "event": "progress", **progress}
    if progress["done_bytes"] > 0 and {**first, "schema": 1} == told and (shown["job"], shown["progress"]) == (job, progress):
        return progress, follower
    follower.kill()
    follower.communicate()
    return None


def test_a_restore_is_followed_by_somebody_else_with_the_numbers_of_its_bar(stage):
    gate = stage.gate("gate", 2 << 20)
    target = stage.folder / "restored"
    bar = OnTerminal(stage.agent.command("--socket", gate.path, "restore", "primary", "--target-directory", target, "--jobs", "1",
                                         "--with-wal"))
    assert gate.held.wait(60)
    job = stage.running("restore")
    progress, follower = wait_for(lambda: seen_alike(stage, job["job"]), "a restore that stands still, seen the same everywhere")
    assert progress["phase"] == "restore" and 0 < progress["done_bytes"] < progress["total_bytes"]
    share = 100 * progress["done_bytes"] // progress["total_bytes"]
    wait_for(lambda: any(re.match(rf"restoring .* {share}%  ", line) for line in bar.lines()), lambda: f"{share}% in {bar.lines()}")
    gate.open()
    assert bar.end() == 0, bar.lines()
    *events, last = [json.loads(line) for line in follower.communicate(timeout=60)[0].splitlines()]
    assert last["event"] == "result"
    assert (last["data"]["command"], last["data"]["backup"]) == ("restore", stage.backup)
    phases = [event["phase"] for event in events]
    assert {"sync", "wal"} <= set(phases)
    (done,) = [line for line in bar.lines() if "100%" in line and line.startswith("restoring")][-1:]
    whole = [event for event in events if event["phase"] == "restore"][-1]
    assert whole["done_bytes"] == whole["total_bytes"] == progress["total_bytes"]
    assert stage.job(job["job"])["state"] == "done"
    words = stage.agent.ok("follow", job["job"]).out
    assert re.fullmatch(rf"restore of primary is done: backup {stage.backup}, .*, in .*\n", words)
    assert f'job {job["job"]} (restore of "primary") done in' in stage.agent.log_text()


def test_who_may_cancels_it_and_it_ends_as_by_ctrl_c(stage):
    gate = stage.gate("gate-cancelled", 2 << 20)
    target = stage.folder / "cancelled"
    restore = subprocess.Popen(stage.agent.command("--socket", gate.path, "restore", "primary", "--target-directory", target,
                                                   "--jobs", "1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
    assert gate.held.wait(60)
    job = stage.running("restore")["job"]
    cancel = subprocess.Popen(stage.agent.command("cancel", job), stdout=subprocess.PIPE, text=True, cwd="/")
    wait_for(lambda: f'job {job} (restore of "primary") is cancelled by' in stage.agent.log_text(), "the cancel has come")
    # It hears of it when it tells the next of its progress: what is left comes slowly enough for many.
    wait_for(lambda: restore.poll() is not None or gate.let(128 << 10), "the cancelled restore ends")
    assert restore.wait(1) == 1
    words = restore.stderr.read()
    assert re.search(rf"job {job} was cancelled by \S.*: .*the restore was interrupted", words), words
    assert cancel.communicate(timeout=30)[0] == f"job {job} is cancelled\n"
    assert stage.job(job)["state"] == "cancelled"
    assert (target / "pgcoffer.restore-incomplete").exists()


def test_one_that_is_killed_is_gone_and_an_export_through_the_gateway_is_seen_too(stage):
    reading, writing = os.pipe()
    client = stage.pki.client
    export = subprocess.Popen(stage.agent.command(
        "--connect", f"localhost:{stage.port}", "--tls-cert-file", client.certificate, "--tls-key-file", client.key,
        "--tls-ca-file", stage.pki.server_ca.certificate, "export", "primary", stage.backup, "--output", "-", "--jobs", "1"),
        stdout=writing, stderr=subprocess.DEVNULL, cwd="/")
    os.close(writing)
    assert os.read(reading, 65536)  # and no more: it stands still with the pipe full
    job = stage.running("export")
    assert job["caller"].startswith("cert:repl")
    export.send_signal(signal.SIGKILL)
    export.wait(10)
    os.close(reading)
    ended = wait_for(lambda: (lambda now: now if now["state"] != "running" else None)(stage.job(job["job"])), "its end is seen")
    assert ended["state"] == "gone" and "went away without telling how it ended" in ended["error"]["message"]
    result = stage.agent.cli("follow", job["job"])
    assert result.code == 1 and "went away" in result.err


def test_with_direct_nobody_is_told_and_a_refused_one_is_no_job(stage):
    before = stage.agent.json("jobs")["jobs"]
    stage.agent.ok("--direct", "restore", "primary", "--target-directory", stage.folder / "direct")
    assert stage.agent.cli("restore", "primary", "20010101T000000Z", "--target-directory", stage.folder / "refused").code != 0
    assert stage.agent.cli("restore", "primary", "--dry-run", "--target-directory", stage.folder / "dry").code == 0
    assert [job["job"] for job in stage.agent.json("jobs")["jobs"]] == [job["job"] for job in before]


COPY = "/var/lib/postgresql/15/copy"


def shape(line):
    """What is the same in every run: no digits, no units, no widths of columns."""
    line = re.sub(r"\d[\dA-F.:/TZm-]*h?(?: ?(?:[kMG]?B(?:/s)?|s|ms)\b)?", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def test_the_recording_in_the_readme_is_what_the_commands_print(stage):
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    recording = re.search(r"^```console\n(\$ pgcoffer backup .*?)^```$", readme, re.S | re.M)[1]
    stage.agent.ok("delete", "primary", stage.backup, "--force")
    for part in re.findall(r"^\$ (.*\n(?:(?!\$ ).*\n?)*)", recording, re.M):
        command, *printed = part.rstrip("\n").split("\n")
        program, *words = shlex.split(command)
        if program == "psql":
            stage.cluster.sql(words[-1])
            stage.agent.wait_flushed("primary", stage.cluster.sql("SELECT pg_current_wal_insert_lsn()::text"))
            continue
        given = [str(stage.folder / "recorded") if word == COPY else word for word in words]
        shown = stage.agent.ok(*given).out.replace(str(stage.folder / "recorded"), COPY)
        assert [shape(line) for line in shown.splitlines()] == [shape(line) for line in printed], shown
