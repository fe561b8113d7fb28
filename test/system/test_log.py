"""The log: as text and as JSON, in a file that is rotated under load, with a full disk, and never with a secret."""

import ctypes
import errno
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.scratch import as_user, give_to, make_folder, run, wait_for
from test_gateway import Gateway, gateway_pki  # noqa: F401

PASSWORD = "Open-Sesame-4711"
HBA = """local all postgres trust
hostssl replication repl 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl replication repl ::1/128 scram-sha-256 clientcert=verify-ca
"""
ROTATIONS = 4
REQUESTS = 40  # of each client


class Logged:
    """A daemon that streams with a password, has a gateway, and writes its log, with all details, into a file."""

    def __init__(self, folder, programs, pki, gateway_pki):
        self.cluster = Cluster(folder / "server", pki, hba=HBA).start()
        self.cluster.sql(f"SET password_encryption = 'scram-sha-256'; CREATE ROLE repl LOGIN REPLICATION PASSWORD '{PASSWORD}'")
        passwords = folder / "pgpass"
        passwords.write_text(f"localhost:{self.cluster.port}:*:repl:{PASSWORD}\n")
        give_to(passwords).chmod(0o600)
        self.agent = Agent(folder / "agent", programs, pki)
        self.gateway = Gateway(self.agent, gateway_pki)
        self.pair = gateway_pki.client("db1")
        self.folder = make_folder(self.agent.folder / "log", 0o755)
        self.path = self.folder / "log"
        self.agent.daemon_settings.update(log_file=self.path, log_format="text", log_level="debug")
        self.agent.add_server("primary", self.cluster, password_file=passwords, restorers="cert:db1")
        self.gateway.start()
        self.agent.wait_streaming("primary")

    def close(self):
        self.agent.close()
        self.cluster.close()

    def set(self, **settings):
        self.agent.daemon_settings.update(settings)
        self.agent.write_configuration()
        self.agent.ok("reload")

    def text(self, path=None):
        path = path or self.path
        return path.read_text() if path.exists() else ""

    def wait_log(self, pattern):
        return wait_for(lambda: re.search(pattern, self.text()), lambda: f"{pattern} in\n{self.text()[-3000:]}")

    def rotate(self, number):
        aside = self.folder / f"log.{number}"
        self.path.rename(aside)
        self.agent.process.send_signal(signal.SIGUSR1)
        wait_for(self.path.exists, "the log is opened again")
        return aside

    def send_requests(self, command):
        with self.gateway.connect(self.pair) as remote:
            for _ in range(REQUESTS):
                assert remote.ask(command, **({"server": "primary"} if command == "list" else {}))[-1]["event"] == "result"


@pytest.fixture(scope="module")
def logged(scratch, programs, pki, gateway_pki):  # noqa: F811
    made = Logged(make_folder(scratch / "logged", 0o755), programs, pki, gateway_pki)
    yield made
    made.close()


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_is_lost_or_torn_when_the_file_is_rotated_under_load(logged, form):
    """`list` is logged by the worker of the session, `status` by the supervisor."""
    logged.set(log_format=form)
    pattern = re.compile(r"cert:db1 from [\d.]+:\d+: (list of \W*primary\W*|status): done, \d+ bytes")
    before = len(pattern.findall(logged.text()))
    pieces = []
    with ThreadPoolExecutor() as clients:
        running = [clients.submit(logged.send_requests, command) for command in ("list", "status") * 2]
        for number in range(ROTATIONS):
            pieces.append(logged.rotate(f"{form}.{number}"))
        for client in running:
            client.result()

    def lines():
        return [line for path in (*pieces, logged.path) for line in logged.text(path).splitlines()]

    wait_for(lambda: sum(map(bool, map(pattern.search, lines()))) - before == 4 * REQUESTS,
             lambda: f"{len(list(filter(pattern.search, lines()))) - before} of {4 * REQUESTS} lines")
    if form == "json":
        told = [json.loads(line) for path in (*pieces[1:], logged.path) for line in logged.text(path).splitlines()]
        assert {"time", "level", "pid", "message"} <= set.intersection(*map(set, told))
        assert {line["pid"] for line in told} > {logged.agent.process.pid}  # workers' lines have their own
        assert all(line["server"] == "primary" for line in told if line.get("who") == "serve primary")


def test_workers_that_live_long_or_may_open_nothing_write_into_the_new_file(logged):
    logged.set(log_format="json")
    logged.rotate("workers")
    before = [logged.agent.worker_pids(role) for role in ("receive", "gateway")]
    for (worker,) in before:
        os.kill(worker, signal.SIGUSR1)  # as "systemctl kill" does, to all processes of the unit
    logged.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    with pytest.raises(OSError):
        logged.gateway.connect(None).ask("ping")
    logged.wait_log('"who":"receive primary","server":"primary","message":"streaming from')
    logged.wait_log('"who":"gateway"')
    assert before == [logged.agent.worker_pids(role) for role in ("receive", "gateway")]
    logged.agent.wait_streaming("primary")


def test_a_job_has_a_line_at_its_start_and_its_end_with_what_it_took(logged):
    logged.set(log_format="json")
    backup = logged.agent.backup("primary", "--label", 'with "quotes"')
    failed = logged.agent.cli("verify", "primary", "20010101T000000Z", "--json")
    assert failed.code != 0
    assert logged.agent.ok("verify", "primary") and logged.agent.ok("expire", "primary") and logged.agent.ok("expire", "primary", "--dry-run")
    logged.wait_log('"event":"job-end".*"command":"verify"|"command":"verify".*"event":"job-end"')
    told = [json.loads(line) for line in logged.text().splitlines() if line.startswith("{")]
    (start,) = [line for line in told if line.get("event") == "job-start" and line["command"] == "backup"]
    (end,) = [line for line in told if line.get("event") == "job-end" and line["command"] == "backup"]
    failure, verified = [line for line in told if line.get("event") == "job-end" and line["command"] == "verify"]
    expired = [line for line in told if line.get("event") == "job-end" and line["command"] == "expire"]
    assert verified["backups"] == 1 and verified["segments"] > 0 and ": 1 backup, " in verified["message"], verified
    removed, freed = expired[0]["removed_segments"], expired[0]["freed_bytes"]
    assert expired[0]["removed_backups"] == 0 and removed >= 0 and (freed > 0) == (removed > 0), expired
    assert re.search(rf"0 backups removed, {removed} segments? removed, [\d.]+ \w+ freed", expired[0]["message"]), expired
    assert all("freed_bytes" not in line for line in expired[1:]), expired
    assert start["server"] == end["server"] == "primary" and start["job"] == end["job"] and start["caller"]
    assert (end["state"], end["exit"], end["level"], end["backup"]) == ("done", 0, "info", backup["id"])
    assert end["bytes"] == backup["size_bytes"] and end["stored_bytes"] == backup["stored_bytes"]
    assert 0 < end["seconds"] < 300 and end["bytes_per_second"] > 0
    assert (failure["state"], failure["exit"], failure["level"]) == ("failed", failed.code, "error")
    assert failure["kind"] == failed.json["error"]["kind"] and "failed after" in failure["message"]


def test_every_key_of_a_line_is_in_the_manual(logged):
    """Of whatever was logged until now."""
    manual = (pathlib.Path(__file__).parents[2] / "doc" / "man" / "pgcofferd.8.scd").read_text()
    log = manual[manual.index("# LOG"):manual.index("# SYSTEMD")]
    told = [json.loads(line) for path in logged.folder.glob("log*") for line in logged.text(path).splitlines() if line[:1] == "{"]
    missing = {key for line in told for key in line if f"*{key}*" not in log}
    assert told and not missing, missing


def test_a_log_file_that_cannot_be_opened_is_told_and_the_old_one_stays(logged):
    missing = logged.folder / "none" / "log"
    logged.agent.daemon_settings["log_file"] = missing
    logged.agent.write_configuration()
    refused = logged.agent.cli("reload")
    assert refused.code == 9 and str(missing) in refused.err and "the old settings stay" in logged.text()
    logged.agent.daemon_settings["log_file"] = logged.path
    logged.agent.write_configuration()
    if os.geteuid() == 0:
        give_to(logged.folder, "root")
        logged.path.rename(logged.folder / "log.kept")
        logged.agent.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: "the log goes on in the file that is open: could not open" in logged.text(logged.folder / "log.kept"),
                 "the file that is open stays")
        give_to(logged.folder)
    logged.agent.ok("reload")


def test_a_full_disk_stops_nothing_and_what_is_missing_is_counted(logged):
    logged.set(log_file="/dev/full")
    logged.agent.backup("primary")
    logged.set(log_file=logged.path)
    assert re.search(r"([2-9]|[1-9]\d+) lines are missing here: they could not be written", logged.text())
    assert logged.agent.log_text().count("takes no line: No space left on device") == 1
    assert logged.agent.receiver("primary")["reconnects"] <= 1


@pytest.fixture
def small_disk(logged):
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    disk = make_folder(logged.folder / "small", 0o755)
    run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0777", "tmpfs", disk], user=None)
    yield disk
    logged.set(log_file=logged.path)
    run(["umount", disk], user=None)


@pytest.mark.long
def test_a_disk_that_fills_up_gets_whole_lines_only_and_the_log_goes_on_when_there_is_room(logged, small_disk):
    told = logged.agent.log_text().count("takes no line")
    logged.set(log_file=small_disk / "log", log_format="json")
    for _ in range(20):
        logged.send_requests("status")
        if logged.agent.log_text().count("takes no line") > told:
            break
    logged.agent.backup("primary")
    full = logged.text(small_disk / "log")
    assert full.endswith("\n") and len([json.loads(line) for line in full.splitlines()]) > 10
    (small_disk / "log").unlink()
    logged.agent.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: "missing here" in logged.text(small_disk / "log"), "how many are missing")
    assert "No space left on device" in logged.agent.log_text()[-4000:]


SYS_PIDFD_GETFD = 438


def socket_of(worker):
    """What the worker's stderr is: a copy of its descriptor."""
    if os.geteuid() != 0:
        pytest.skip("only root takes another process's descriptor")
    pidfd = os.pidfd_open(worker)
    fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, 2, 0)
    os.close(pidfd)
    if fd < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=fd)


def fill(log):
    """Until nothing more is taken; how many lines that were."""
    count = 0
    try:
        while True:
            log.send(b"a flood", socket.MSG_DONTWAIT)
            count += 1
    except BlockingIOError:
        return count


def test_commits_wait_for_no_log_that_is_not_read(logged):
    """The supervisor is stopped, its socket full, and the receiver has things to tell while commits wait for it."""
    (receiver,) = logged.agent.worker_pids("receive")
    logged.cluster.configure("synchronous_standby_names = 'pgcoffer'")
    logged.cluster.reload()
    logged.cluster.sql("CREATE TABLE waited_for (n int)")
    missing = logged.text().count("missing here")
    with socket_of(receiver) as log:
        logged.agent.process.send_signal(signal.SIGSTOP)
        try:
            flood = fill(log)
            logged.cluster.sql("SET synchronous_commit = local; SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            began = time.monotonic()
            logged.cluster.sql("INSERT INTO waited_for VALUES (1)")
            waited = time.monotonic() - began
        finally:
            logged.agent.process.send_signal(signal.SIGCONT)
    assert waited < 4, f"{waited} s"
    wait_for(lambda: logged.text().count("a flood") == flood, "what was said is written")
    logged.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    wait_for(lambda: logged.text().count("missing here") > missing, "what is missing is told")
    logged.cluster.configure("synchronous_standby_names = ''")
    logged.cluster.reload()
    assert logged.agent.worker_pids("receive") == [receiver]
    logged.agent.wait_streaming("primary")


def test_a_stderr_that_nobody_reads_hangs_nobody(make_agent):
    agent = make_agent()
    agent.write_configuration()
    reader, writer = os.pipe()
    agent.process = subprocess.Popen(as_user([agent.binaries / "pgcofferd", "-c", agent.configuration], agent.user),
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer, start_new_session=True)
    os.set_blocking(reader, False)
    wait_for(lambda: agent.cli("ping").code == 0, "the daemon answers")
    full = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(OSError) as refused:
        while True:
            os.write(full, b"x")
    assert refused.value.errno == errno.EAGAIN
    for _ in range(3):
        agent.ok("reload", timeout=20)
    assert b"configuration reloaded" not in os.read(reader, 65536)
    agent.ok("reload")
    said = os.read(reader, 65536).decode()
    assert int(re.search(r"(\d+) lines are missing here: they could not be written", said)[1]) >= 3, said
    assert "configuration reloaded" in said, said
    for fd in (full, writer, reader):
        os.close(fd)
    agent.ok("reload")  # not even when it is gone
    assert agent.stop() == 0


def test_no_secret_is_in_any_log(logged):
    """Everything until now, with all details, in both formats."""
    logged.set(log_format="text")
    logged.agent.backup("primary")
    said = "".join(path.read_text() for path in logged.folder.iterdir() if path.is_file()) + logged.agent.log_text()
    assert '"level":"debug"' in said and "Z debug " in said
    for secret in (PASSWORD, "PRIVATE KEY", "SCRAM-SHA-256$", "biws", "c=cD10bHM"):
        assert secret not in said, secret


def test_a_daemon_whose_log_cannot_be_opened_says_so_on_stderr_and_ends(make_agent, folder):
    agent = make_agent()
    agent.daemon_settings["log_file"] = folder / "nothing" / "log"
    agent.write_configuration()
    agent.start(wait=False)
    assert agent.process.wait(20) == 9
    assert str(folder / "nothing" / "log") in agent.log_text() and "Its directory must exist" in agent.log_text()
