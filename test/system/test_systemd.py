"""The units under a real systemd: PID 1 of a machine in systemd-nspawn, with a PostgreSQL in it. What needs no PID 1 is in test_project.py."""

import json
import re
import time

import pytest

from harness.cluster import Cluster
from harness.machine import CONTRIB, Machine, why_not
from harness.scratch import wait_for

pytestmark = [pytest.mark.long, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SERVER = """
[pgcoffer]
retention = 7, 4, 12, 5
{daemon}

[primary]
host = localhost
port = {port}
user = repl
tls_cert_file = /etc/pgcoffer/tls/repl.crt
tls_key_file = {key}
tls_ca_file = /etc/pgcoffer/tls/root.crt
restorers = postgres
"""
AT_ONCE = "[Timer]\nRandomizedDelaySec=0\nAccuracySec=10ms\n"


def configure(machine, cluster, key="/etc/pgcoffer/tls/repl.key", daemon=""):
    machine.write("/etc/pgcoffer/pgcoffer.conf", SERVER.format(port=cluster.port, key=key, daemon=daemon))


@pytest.fixture(scope="module")
def cluster(scratch, pki):
    cluster = Cluster(scratch / "systemd" / "server", pki, settings=("checkpoint_completion_target = 0",))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def machine(scratch, pki, cluster):
    """Booted, with a PostgreSQL that runs and a pgcofferd that streams from it, started by its own unit."""
    machine = Machine(scratch / "machine", cluster.folder)
    try:
        machine.boot()
        machine.postgres(cluster, "start")
        machine.ok("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", cluster.bin / "psql", "-h", cluster.sockets,
                   "-p", cluster.port, "-U", "postgres", "-Xqc", "CREATE ROLE repl LOGIN REPLICATION")
        machine.ok("install", "-d", "-m", "755", "/etc/pgcoffer/tls")
        for name, path, mode in (("repl.crt", pki.client.certificate, "0644"), ("repl.key", pki.client.key, "0600"),
                                 ("root.crt", pki.server_ca.certificate, "0644")):
            machine.write(f"/etc/pgcoffer/tls/{name}", path.read_text(), mode)
        machine.ok("chown", "pgcoffer:pgcoffer", "/etc/pgcoffer/tls/repl.key")
        configure(machine, cluster)
        machine.ok("systemctl", "start", "pgcofferd")
        wait_streaming(machine)
        yield machine
    finally:
        machine.close()


def pid(machine):
    return int(machine.property("pgcofferd", "MainPID"))


def receiver(machine):
    result = machine.run("pgcoffer", "status", "--json")
    return json.loads(result.out)["servers"][0]["receiver"] if result.code == 0 else {"state": str(result)}


def wait_streaming(machine, seconds=60):
    wait_for(lambda: receiver(machine)["state"] == "streaming", lambda: f"streaming; {receiver(machine)}\n{machine.journal('pgcofferd')[-3000:]}",
             seconds)


def receive_workers(machine):
    return machine.run("pgrep", "-f", "role=receive").out.split()


def backups(machine):
    return json.loads(machine.ok("pgcoffer", "list", "primary", "--json"))["servers"][0]["backups"]


def result_of(machine, unit):
    return machine.property(unit, "Result"), int(machine.property(unit, "ExecMainStatus"))


@pytest.fixture
def dropped(machine):
    """dropped(unit, text) puts a drop-in beside a unit until the test is over."""
    units = []

    def drop(unit, text):
        units.append(unit)
        machine.drop_in(unit, text)

    yield drop
    for unit in units:
        machine.ok("rm", "-f", f"/etc/systemd/system/{unit}.d/test.conf")
    machine.ok("systemctl", "daemon-reload")


# ---- the daemon ----

def test_the_daemon_runs_by_its_unit_as_its_own_user_and_tells_its_state(machine):
    assert machine.property("pgcofferd", "ActiveState") == "active"
    wait_for(lambda: machine.property("pgcofferd", "StatusText").startswith("streaming from 1 of 1 server; "), "the status sentence")
    assert machine.ok("stat", "-c", "%U %a", "/var/lib/pgcoffer", "/run/pgcoffer").split() == ["pgcoffer", "700", "pgcoffer", "755"]
    assert machine.ok("ps", "-o", "user=", "-p", pid(machine)).strip() == "pgcoffer"


def test_the_score_of_the_running_unit(machine):
    text = machine.ok("systemd-analyze", "security", "--no-pager", "pgcofferd.service")
    assert float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)[1]) <= 2.0, text


def test_a_reload_ends_when_the_new_settings_hold_and_fails_when_they_are_wrong(machine, cluster):
    before = pid(machine)
    machine.ok("sed", "-i", "s/^retention = .*/retention = 1, 1, 1, 1/", "/etc/pgcoffer/pgcoffer.conf")
    machine.ok("systemctl", "reload", "pgcofferd")
    assert "configuration reloaded" in machine.journal("pgcofferd")
    machine.ok("sed", "-i", "s/^retention = .*/retentoin = 1/", "/etc/pgcoffer/pgcoffer.conf")
    assert machine.run("systemctl", "reload", "pgcofferd").code != 0
    assert "retentoin" in machine.journal("pgcofferd")
    assert machine.property("pgcofferd", "ActiveState") == "active" and pid(machine) == before
    configure(machine, cluster)
    machine.ok("systemctl", "reload", "pgcofferd")
    machine.ok("systemctl", "kill", "--kill-whom=main", "-s", "HUP", "pgcofferd")
    wait_for(lambda: machine.journal("pgcofferd").count("asked by SIGHUP") == 1, "reloaded by the signal")
    wait_for(lambda: machine.property("pgcofferd", "ActiveState") == "active", "it is through with it")


def test_the_watchdog_restarts_a_daemon_that_hangs_and_spares_one_that_does_not(machine, dropped):
    dropped("pgcofferd.service", "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\nRestartSec=100ms\n")
    machine.ok("systemctl", "restart", "pgcofferd")
    wait_streaming(machine)
    before = pid(machine)
    time.sleep(7)  # three times the watchdog's patience, and nothing happens: this is what is measured
    assert pid(machine) == before and machine.property("pgcofferd", "NRestarts") == "0"
    workers = receive_workers(machine)
    machine.ok("kill", "-STOP", before)
    wait_for(lambda: machine.property("pgcofferd", "NRestarts") != "0" and pid(machine) not in (0, before), "started anew", 60)
    wait_streaming(machine)
    assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "-u", "pgcofferd").out
    assert not set(workers) & set(receive_workers(machine)), "a worker of the daemon that hung lives on"
    machine.ok("systemctl", "reset-failed", "pgcofferd")


def test_a_receiver_that_hangs_is_started_again_and_the_daemon_lives_on(machine, dropped):
    dropped("pgcofferd.service", "[Service]\nWatchdogSec=4s\n")
    machine.ok("systemctl", "restart", "pgcofferd")
    wait_streaming(machine)
    before, (worker,) = pid(machine), receive_workers(machine)
    machine.ok("kill", "-STOP", worker)
    wait_for(lambda: "gave no sign of life for 30 s" in machine.journal("pgcofferd"), "it is missed", 90)
    wait_for(lambda: receive_workers(machine) not in ([], [worker]), "another one runs")
    wait_streaming(machine)
    assert pid(machine) == before and machine.property("pgcofferd", "NRestarts") == "0"


METRICS = "metrics = 6604\nmetrics_cert_file = /etc/pgcoffer/tls/metrics.crt\nmetrics_key_file = credential:metrics.key"


def test_keys_and_a_password_may_be_credentials(machine, cluster, pki, dropped):
    machine.ok("install", "-d", "-m", "700", "/root/keys")
    machine.ok("install", "-m", "400", "-o", "root", "/etc/pgcoffer/tls/repl.key", "/root/keys/repl.key")
    machine.write("/root/keys/pgpass", "localhost:*:*:repl:secret\n", "0400")
    machine.write("/root/keys/metrics.key", pki.server.key.read_text(), "0400")
    machine.write("/etc/pgcoffer/tls/metrics.crt", pki.server.certificate.read_text())
    configure(machine, cluster, key="credential:repl.key\npassword_file = credential:pgpass", daemon=METRICS)
    machine.ok("chmod", "000", "/etc/pgcoffer/tls/repl.key")
    try:
        machine.ok("systemctl", "restart", "pgcofferd")
        wait_for(lambda: "only what systemd started with it has it" in str(receiver(machine)["error"]), lambda: str(receiver(machine)))
        assert 'Add LoadCredential=repl.key:FILE below [Service]' in str(receiver(machine)["error"])
        example = (CONTRIB / "credentials.conf").read_text().replace("/etc/pgcoffer/tls/", "/root/keys/").replace("#LoadCredential", "LoadCredential")
        dropped("pgcofferd.service", example + "LoadCredential=metrics.key:/root/keys/metrics.key\n")
        machine.ok("systemctl", "restart", "pgcofferd")
        wait_streaming(machine)
        # It is the daemon's alone: root's here, by an access list or as the owner's the daemon's to read, and nobody else's.
        modes = machine.ok("stat", "-c", "%a %U", "/run/credentials/pgcofferd.service/repl.key", "/run/credentials/pgcofferd.service/pgpass")
        assert set(modes.splitlines()) <= {"440 root", "400 pgcoffer"}, modes
        assert machine.run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "cat",
                           "/run/credentials/pgcofferd.service/repl.key").code != 0
        checks = {check["id"]: check for check in json.loads(machine.run("pgcoffer", "check", "primary", "--json").out)["checks"]}
        assert {checks[name]["state"] for name in ("file.key", "key.mode", "file.password", "replication.login")} == {"pass"}, checks
        fetch = ("curl", "-fsS", "--cacert", "/etc/pgcoffer/tls/root.crt", "https://localhost:6604/metrics")
        wait_for(lambda: 'pgcoffer_server_up{server="primary"} 1' in machine.run(*fetch).out, lambda: str(machine.run(*fetch)))
        # Only what systemd starts with it has it.
        machine.ok("systemctl", "stop", "pgcofferd")
        alone = machine.run("pgcoffer", "check", "primary", "--only", "file")
        assert alone.code == 1 and "LoadCredential=repl.key:FILE" in alone.out, alone
    finally:
        machine.ok("chmod", "600", "/etc/pgcoffer/tls/repl.key")
        configure(machine, cluster)
        machine.ok("rm", "-f", "/etc/systemd/system/pgcofferd.service.d/test.conf")
        machine.ok("systemctl", "daemon-reload")
        machine.ok("systemctl", "restart", "pgcofferd")
        wait_streaming(machine)


# ---- timers ----

def test_a_timer_takes_a_backup(machine, dropped):
    count = len(backups(machine))
    dropped("pgcoffer-backup@primary.timer", AT_ONCE + "OnCalendar=\nOnCalendar=*:*:0/3\n")
    machine.ok("systemctl", "start", "pgcoffer-backup@primary.timer")
    wait_for(lambda: len(backups(machine)) > count, lambda: f"a backup; {machine.journal('pgcoffer-backup@primary')}", 90)
    machine.ok("systemctl", "stop", "pgcoffer-backup@primary.timer")
    wait_for(lambda: machine.property("pgcoffer-backup@primary.service", "ActiveState") == "inactive", "it ends")
    assert result_of(machine, "pgcoffer-backup@primary.service") == ("success", 0)
    wait_for(lambda: backups(machine)[-1]["id"] in machine.property("pgcofferd", "StatusText"), "the status sentence names it")


@pytest.mark.parametrize("command", ["expire", "verify"])
def test_a_run_that_was_missed_is_made_up_for(machine, dropped, command):
    timer, service = f"pgcoffer-{command}@primary.timer", f"pgcoffer-{command}@primary.service"
    dropped(timer, AT_ONCE)
    machine.ok("mkdir", "-p", "/var/lib/systemd/timers")
    machine.ok("touch", "-d", "8 days ago", f"/var/lib/systemd/timers/stamp-{timer}")
    machine.ok("systemctl", "start", timer)
    wait_for(lambda: machine.property(service, "ExecMainExitTimestampMonotonic") not in ("", "0"), lambda: f"it has run; {machine.journal(service)}")
    wait_for(lambda: machine.property(service, "ActiveState") == "inactive", "it ends")
    assert result_of(machine, service) == ("success", 0), machine.journal(service)
    assert " 04:30:00" in machine.property(timer, "TimersCalendar") or " 05:00:00" in machine.property(timer, "TimersCalendar")
    machine.ok("systemctl", "stop", timer)


def test_a_timer_that_was_never_missed_waits_for_its_time(machine):
    machine.ok("systemctl", "start", "pgcoffer-verify.timer")
    assert machine.property("pgcoffer-verify.service", "ExecMainExitTimestampMonotonic") in ("", "0")
    machine.ok("systemctl", "stop", "pgcoffer-verify.timer")


# ---- failures ----

def install_on_failure(machine):
    for folder in ("pgcofferd.service.d", "pgcoffer-.service.d"):
        machine.ok("mkdir", "-p", f"/etc/systemd/system/{folder}")
        machine.write(f"/etc/systemd/system/{folder}/on-failure.conf", (CONTRIB / "on-failure.conf").read_text())
    machine.write("/etc/systemd/system/pgcoffer-failed@.service", (CONTRIB / "pgcoffer-failed@.service").read_text())
    machine.ok("systemctl", "daemon-reload")


def test_a_failure_is_told_with_the_exit_status_of_the_command(machine, cluster):
    install_on_failure(machine)
    assert machine.run("systemctl", "start", "pgcoffer-backup@nobody.service").code != 0
    told = "pgcoffer-backup@nobody.service failed on "
    wait_for(lambda: told in machine.journal(), "it is told")
    assert result_of(machine, "pgcoffer-backup@nobody.service") == ("exit-code", 2)
    assert re.search(told + r"\S+: exit-code, exited 2", machine.journal())
    machine.postgres(cluster, "-m", "fast", "stop")
    try:
        assert machine.run("systemctl", "start", "pgcoffer-backup@primary.service").code != 0
        assert result_of(machine, "pgcoffer-backup@primary.service") == ("exit-code", 5)
    finally:
        machine.postgres(cluster, "start")
        wait_streaming(machine)


def test_a_daemon_that_cannot_start_is_heard_of_by_itself_and_by_the_backups(machine, cluster, dropped):
    install_on_failure(machine)
    dropped("pgcofferd.service", "[Service]\nRestartSec=10ms\n")
    machine.ok("systemctl", "stop", "pgcofferd")
    machine.write("/etc/pgcoffer/pgcoffer.conf", "nonsense\n")
    machine.run("systemctl", "start", "pgcofferd")
    wait_for(lambda: re.search(r"pgcofferd.service failed on \S+: exit-code, exited 3", machine.journal()), "it is told", 120)
    assert 90 < int(machine.property("pgcofferd", "NRestarts")) < 110
    assert machine.run("systemctl", "start", "pgcoffer-backup@primary.service").code != 0
    assert result_of(machine, "pgcoffer-backup@primary.service") == ("exit-code", 4)
    wait_for(lambda: re.search(r"pgcoffer-backup@primary.service failed on \S+: exit-code, exited 4", machine.journal()), "it is told")
    configure(machine, cluster)
    machine.run("systemctl", "reset-failed", "pgcofferd")
    machine.ok("systemctl", "restart", "pgcofferd")
    wait_streaming(machine)


def test_what_tells_of_failures_tells_nothing_of_its_own(machine):
    """Its name begins as the others': were it to call itself for its own failure, it would go on for ever."""
    install_on_failure(machine)
    assert machine.property("pgcoffer-failed@x.service", "OnFailure") in ("", "pgcoffer-failed@pgcoffer-failed@x.service.service")
    machine.drop_in("pgcoffer-failed@.service", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    before = machine.journal().count("Tell that")
    machine.run("systemctl", "start", "pgcoffer-failed@x.service")
    wait_for(lambda: machine.property("pgcoffer-failed@x.service", "ActiveState") == "failed", "it has failed")
    machine.run("systemctl", "is-system-running")
    assert machine.journal().count("Tell that") - before < 20
    machine.ok("rm", "-r", "/etc/systemd/system/pgcoffer-failed@.service.d")
    machine.ok("systemctl", "daemon-reload")


# ---- hardening ----

def status_of(machine, process):
    return dict(re.findall(r"^(\w+):\s+(.*)$", machine.run("cat", f"/proc/{process}/status").out, re.M))


def processes_of(machine, unit):
    return re.findall(r"^/proc/(\d+)/", machine.run("sh", "-c", f"grep -l '/{unit}$' /proc/[0-9]*/cgroup").out, re.M)


def assert_confined(machine, unit, least):
    seen = {process: status_of(machine, process) for process in processes_of(machine, unit)}
    # Some have ended meanwhile, and one whose name stands in brackets is systemd's still, on its way to the program.
    seen = {process: status for process, status in seen.items() if status.get("CapEff") and not status["Name"].startswith("(")}
    for status in seen.values():
        assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0, status
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1"), status
        assert status["Uid"].split()[0] != "0", status
    return len(seen) >= least


def test_the_hardening_holds_while_a_backup_is_taken_and_restored(machine, cluster):
    def sql(text):
        machine.ok("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", cluster.bin / "psql", "-h", cluster.sockets, "-p",
                   cluster.port, "-U", "postgres", "-Xqc", text)

    sql("CREATE TABLE rows AS SELECT n, md5(n::text) FROM generate_series(1, 300000) n")
    count = len(backups(machine))
    machine.ok("systemctl", "start", "--no-block", "pgcoffer-backup@primary.service")
    wait_for(lambda: machine.run("pgrep", "-f", "role=backup").code == 0, "the backup runs", pause=0.01)
    assert assert_confined(machine, "pgcofferd.service", 2)
    wait_for(lambda: machine.property("pgcoffer-backup@primary.service", "ActiveState") == "inactive", "the backup ends", 120)
    assert result_of(machine, "pgcoffer-backup@primary.service") == ("success", 0), machine.journal()
    assert len(backups(machine)) == count + 1
    seen = []
    machine.ok("systemctl", "start", "--no-block", "pgcoffer-drill@primary.service")
    wait_for(lambda: seen.append(assert_confined(machine, "pgcoffer-drill@primary.service", 4)) or
             machine.property("pgcoffer-drill@primary.service", "ActiveState") in ("inactive", "failed"), "the drill ends", 180, 0.02)
    assert result_of(machine, "pgcoffer-drill@primary.service") == ("success", 0), machine.journal("pgcoffer-drill@primary")
    assert "is proven: PostgreSQL 15" in machine.journal("pgcoffer-drill@primary")
    assert any(seen), "its PostgreSQL was never seen"
    assert machine.ok("sh", "-c", "ls -A /var/cache/pgcoffer-drill") == ""
    assert backups(machine)[-1]["drill"]["good"] is True


# Its version, or what is below the kernel's own: workers, and what a drill starts, are confined with it.
LANDLOCK = "import ctypes; print('landlock', ctypes.CDLL(None).syscall(444, None, 0, 1))"
REFUSED = ["/usr/pgcoffer-test", "/etc/pgcoffer-test", "/pgcoffer-test", "/var/pgcoffer-test", "/var/lib/pgcoffer-test", "/run/pgcoffer-test",
           "/etc/pgcoffer/pgcoffer-test"]


@pytest.mark.parametrize("unit, written", [("pgcofferd.service", "/var/lib/pgcoffer/test"), ("pgcoffer-drill@.service", "/var/cache/pgcoffer-drill/test"),
                                           ("pgcoffer-backup@.service", "/tmp/test")])
def test_what_a_unit_starts_writes_nowhere_else(machine, unit, written):
    """A shell in the place of the program, with all else as the unit says."""
    name = unit.replace("@", "@primary")
    words = "; ".join(f'touch {path} 2>/dev/null && echo written {path}' for path in REFUSED)
    machine.write("/etc/pgcoffer/try", f"""#!/bin/sh
{words}
touch {written} && echo has its own && rm {written}
ls /home/* /root/* >/dev/null 2>&1 && echo sees homes
[ -e /proc/1/status ] && echo sees others
mount -t tmpfs none /tmp 2>/dev/null && echo mounts
unshare --user true 2>/dev/null && echo makes namespaces
[ -e /dev/kmsg ] && echo has devices
python3 -c "{LANDLOCK}"
exit 0
""", "0755")
    machine.ok("mkdir", "-p", "/home/somebody", "/run/systemd/system/" + f"try-{unit}.d")
    shown = machine.ok("systemctl", "cat", name)
    lines, section = [], ""
    for line in shown.splitlines():
        if line.startswith("["):
            section = line
        if section == "[Service]" and not re.match(r"(#|Exec|Type=|Restart|Watchdog|OnFailure|TimeoutStart)", line):
            lines.append(line)
    machine.write("/run/systemd/system/try.service", "\n".join(["[Service]", *lines[1:], "Type=oneshot", "ExecStart=/etc/pgcoffer/try"]) + "\n")
    machine.ok("systemctl", "daemon-reload")
    mark = len(machine.journal("try"))
    machine.ok("systemctl", "start", "try")
    machine.ok("journalctl", "--sync")
    said = machine.journal("try")[mark:]
    told = [line for line in said.splitlines() if line.startswith(("written", "has its own", "sees", "mounts", "makes", "has devices"))]
    assert told == ["has its own"], said
    if unit != "pgcoffer-backup@.service":
        assert re.findall("^landlock .*$", said, re.M) == [machine.ok("python3", "-c", LANDLOCK).strip()]


def test_the_end_of_the_daemon_is_told_and_soon(machine):
    began = time.monotonic()
    machine.ok("systemctl", "stop", "pgcofferd")
    assert time.monotonic() - began < 10
    assert result_of(machine, "pgcofferd") == ("success", 0)
    assert machine.run("pgrep", "-x", "pgcofferd").code == 1
    machine.ok("systemctl", "start", "pgcofferd")
    wait_streaming(machine)


# ---- the tutorial ----

def test_the_tutorial_by_the_clock(machine, cluster):
    configure(machine, cluster)
    text = (CONTRIB.parents[1] / "doc" / "tutorial" / "10-systemd-timers.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.S | re.M))
    printed = machine.ok("bash", "-euo", "pipefail", "-c", script, timeout=300)
    assert "streaming from 1 of 1 server" in printed and re.search("is proven: PostgreSQL 15", printed), printed
    assert "pgcoffer-backup@no-such-server.service failed" in printed
    assert float(re.findall(r"Overall exposure level for \S+: ([0-9.]+)", printed)[-1]) <= 2.0
    listed = machine.ok("systemctl", "list-timers", "--no-pager", "pgcoffer-*")
    assert all(f"pgcoffer-{command}@primary.timer" in listed for command in ("backup", "expire", "verify", "drill")), listed
    assert "22:15" in machine.property("pgcoffer-backup@primary.timer", "TimersCalendar")
    assert machine.run("pgcoffer", "check", "primary", "--passive").code == 0
