"""The form of `pgcoffer check`: who may ask it where, what it prints, how it ends. What it finds out is test_check_matrix.py's."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness.agent import Result
from harness.scratch import as_user, free_port, wait_for

STATES = ("pass", "warn", "fail", "skip")
GROUPS = {"file", "key", "chain", "name", "expiry", "protocol", "identity", "hba", "server", "replication", "repository", "daemon",
          "receiver", "backup", "wal"}
NAGIOS = re.compile(r"PGCOFFER (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]*( \| [^|\n]*)?\n")


def described(agent, cluster, *words, user="repl", **options):
    """check without daemon and configuration."""
    values = {"host": "localhost", "port": cluster.port, "user": user, "tls-cert-file": agent.pki.client.certificate,
              "tls-key-file": agent.pki.client.key, "tls-ca-file": agent.pki.server_ca.certificate}
    values.update({name.replace("_", "-"): value for name, value in options.items()})
    given = [f"--{name}={value}" for name, value in values.items() if value is not None]
    done = subprocess.run(as_user([agent.binaries / "pgcoffer", "check", *given, *words], agent.user), capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL, cwd="/")
    return Result(done)


def states(result):
    return {check["id"]: check["state"] for check in result.json["checks"]}


def check(agent, *words, code=0, **rest):
    result = agent.cli("check", *words, "--json", **rest)
    assert result.code == code, f"{result}\n--- daemon\n{agent.log_text()[-3000:]}"
    return {each["id"]: each for each in result.json["checks"]}


def nagios(agent, *words, **rest):
    """The word, the whole line; nothing else is printed."""
    result = agent.cli("check", *words, "--nagios", **rest)
    assert NAGIOS.fullmatch(result.out), result
    assert result.err == "", result
    word = NAGIOS.fullmatch(result.out)[1]
    assert result.code == ("OK", "WARNING", "CRITICAL", "UNKNOWN").index(word), result
    return word, result.out


def listed(agent):
    """The checks of a server: those of a gateway are told where there is one."""
    names = [line.split()[0] for line in agent.ok("check", "--list").out.splitlines()]
    return [name for name in names if name.split(".")[0] not in ("client", "gateway")]


# ---- names ----

def test_list_has_every_check_with_a_sentence_and_needs_nothing(make_agent):
    agent = make_agent()
    done = subprocess.run([agent.binaries / "pgcoffer", "check", "--list"], capture_output=True, text=True, env={})
    assert done.returncode == 0 and done.stderr == ""
    lines = [line.split(None, 1) for line in done.stdout.splitlines()]
    assert all(re.fullmatch(r"[a-z]+\.[a-z0-9_]+", name) and len(sentence) > 10 for name, sentence in lines)
    names = [name for name, _ in lines]
    assert len(names) == len(set(names)) >= 60
    assert {name.split(".")[0] for name in names} == GROUPS | {"client", "gateway"}
    assert {"expiry.server", "hba.plaintext", "backup.newest", "receiver.lag"} <= set(names)
    rows = agent.cli("check", "--list", "--json").json["checks"]
    assert [(row["id"], row["sentence"]) for row in rows] == [(name, sentence) for name, sentence in lines]
    assert all(set(row) == {"id", "group", "level", "negative", "sentence"} for row in rows)
    chosen = agent.ok("check", "--list", "--only", "hba").out.splitlines()
    assert chosen and all(line.startswith("hba.") for line in chosen)


@pytest.mark.parametrize("words, said", [
    (("--only", "expiri"), "expiry"), (("--only", "hba.plain"), "--list"), (("--warn-days", "soon"), "number of days"),
    (("--warn-days", "2", "--critical-days", "9"), "more than"), (("--list", "primary"), "exclude"), (("--list", "--passive"), "exclude"),
    (("--host", "localhost"), "--user repl"), (("--user", "repl"), "--host"),
    (("--host", "localhost", "--user", "repl", "--port", "99999"), "--port"),
    (("--host", "localhost", "--user", "repl", "--tls-mode", "prefer"), "verify-full"),
    (("--direct",), "--direct"), (("a", "b"), "[SERVER]"), (("nosuch",), "nosuch"), (("--tls-cert",), "tls-cert"),
])
def test_wrong_usage_is_told_with_what_would_be_right(make_agent, cluster, words, said):
    agent = make_agent().add_server("primary", cluster)
    result = agent.cli("check", *words)
    assert result.code == 2 and said in result.err and result.out == "", result
    word, line = nagios(agent, *words)
    assert word == "UNKNOWN", line


def test_a_configuration_that_is_wrong_or_missing_ends_with_three(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster, prot=5)
    assert agent.cli("check", "primary").code == 3
    assert "prot" in nagios(agent, "primary")[1]
    assert "exclude" in nagios(agent, "--json")[1]
    agent.configuration.unlink()
    assert agent.cli("check").code == 3
    assert nagios(agent)[0] == "UNKNOWN"


# ---- through the daemon ----

def test_a_healthy_set_up_is_all_green_through_the_daemon(agent):
    agent.backup("primary")
    result = agent.ok("check", "primary", "--json")
    assert set(result.json) == {"schema", "checks", "summary"} and result.json["schema"] == 1
    found = states(result)
    assert [each["id"] for each in result.json["checks"]] == [name for name in listed(agent) if name in found]
    assert set(found) == set(listed(agent))
    for each in result.json["checks"]:
        assert {"server", "id", "group", "level", "state", "seen", "cause", "fix"} <= set(each)
        assert each["server"] == "primary" and each["state"] in STATES and each["id"].startswith(each["group"] + ".")
        assert each["state"] in ("pass", "skip"), each
        assert each["seen"] or each["state"] == "pass", each
    assert found["daemon.running"] == found["receiver.streaming"] == found["wal.continuity"] == "pass"
    summary = result.json["summary"]
    assert all(summary[state] == list(found.values()).count(state) for state in STATES)
    assert summary["servers"][0]["server"] == "primary" and summary["servers"][0]["pass"] == summary["pass"]
    assert agent.json("jobs")["jobs"][0]["command"] == "backup", "a check is no job"
    assert not agent.worker_pids("check")


def test_people_get_groups_and_a_summary(agent):
    agent.backup("primary")
    result = agent.ok("check", "primary")
    assert re.search(r"^primary: \d+ passed, 0 warnings, 0 failed, \d+ skipped$", result.out, re.M), result
    headings = re.findall(r"^([a-z]+)$", result.out, re.M)
    assert set(headings[1:]) == GROUPS and len(headings) == len(set(headings)), headings
    assert re.search(r"^  pass  expiry\.server +\S", result.out, re.M)
    assert "cause:" not in result.out and "\033" not in result.out and result.err == ""
    assert "\033[32mpass" in agent.ok("check", "primary", "--color", "always").out
    quiet = agent.ok("check", "primary", "--quiet")
    assert quiet.out == "" and quiet.err == ""


def test_what_is_wrong_is_told_with_cause_and_fix_and_ends_with_one(agent, cluster):
    cluster.stop()
    result = agent.cli("check", "primary", timeout=120)
    assert result.code == 1 and result.err == "", result
    failed = re.search(r"^  fail  (\S+) .*\n +cause: \S.*\n +fix: \S", result.out, re.M)
    assert failed and failed[1] == "server.connect", result
    assert result.out.count("  fail  ") == 1, result
    quiet = agent.cli("check", "primary", "--quiet")
    assert quiet.code == 1 and quiet.out.startswith("primary: server.connect: ") and "fix:" in quiet.out, quiet
    word, line = nagios(agent, "primary")
    assert word == "CRITICAL" and line.startswith("PGCOFFER CRITICAL - primary: server.connect: "), line
    wait_for(lambda: agent.receiver("primary")["state"] != "streaming", "the receiver has noticed")
    found = check(agent, "primary", code=1)
    assert found["receiver.streaming"]["state"] == "skip" and "server.connect" in found["receiver.streaming"]["seen"]


def test_only_tells_what_was_asked_for(agent):
    assert set(check(agent, "primary", "--only", "key,expiry.client")) == {
        name for name in listed(agent) if name.startswith("key.") or name == "expiry.client"}
    assert set(check(agent, "primary", "--only", "receiver", "--only", "daemon.running")) == {
        "receiver.streaming", "receiver.lag", "daemon.running"}
    assert set(check(agent, "primary", "--only", "backup")) == {"backup.newest", "backup.intact"}


def test_passive_and_nagios_leave_no_attempt_that_must_be_refused_in_the_servers_log(agent, cluster):
    agent.backup("primary")
    before = len(cluster.log_text())
    found = check(agent, "primary", "--passive")
    assert found["hba.plaintext"]["state"] == found["identity.foreign"]["state"] == "skip"
    assert "--passive" in found["hba.plaintext"]["seen"]
    nagios(agent, "primary")
    assert "FATAL" not in cluster.log_text()[before:]
    assert check(agent, "primary")["hba.plaintext"]["state"] == "pass"
    assert "FATAL" in cluster.log_text()[before:]


def test_the_nagios_line_has_numbers_and_follows_the_days(agent):
    agent.backup("primary")
    word, line = nagios(agent, "primary")
    assert word == "OK" and re.match(r"PGCOFFER OK - primary: \d+ checks passed \| ", line), line
    numbers = dict(part.split("=") for part in line.split(" | ")[1].split())
    assert re.fullmatch(r"36[345];21:;3:", numbers["days_client"]) and re.fullmatch(r"36[345];21:;3:", numbers["days_server"]), line
    assert int(numbers["days_ca"].split(";")[0]) > 3000
    assert re.match(r"\d+B;", numbers["lag_bytes"]) and re.match(r"\d+s;691200;", numbers["backup_age"])
    assert numbers["failed"] == numbers["warnings"] == "0" and int(numbers["passed"]) > 30
    word, line = nagios(agent, "primary", "--warn-days", "400")
    assert word == "WARNING" and "expiry." in line and "days_client=36" in line and ";400:;3:" in line, line
    assert nagios(agent, "primary", "--warn-days", "500", "--critical-days", "400")[0] == "CRITICAL"
    agent.servers["primary"]["expiry_warn_days"] = 400
    agent.write_configuration()
    agent.ok("reload")
    agent.wait_streaming("primary")
    word, line = nagios(agent, "primary")
    assert word == "WARNING" and ";400:;3:" in line, line


def test_without_a_backup_there_is_a_warning_with_the_command(agent):
    found = check(agent, "primary")
    assert found["backup.newest"]["state"] == "warn" and found["backup.newest"]["fix"] == "pgcoffer backup primary"
    assert [name for name, each in found.items() if each["state"] in ("warn", "fail")] == ["backup.newest"]
    assert nagios(agent, "primary")[0] == "WARNING"


def test_several_servers_are_checked_when_none_is_named(agent, make_cluster):
    second = make_cluster("second").start().create_role()
    agent.add_server("second", second)
    found = agent.cli("check", "--json").json
    assert {each["server"] for each in found["checks"]} == {"primary", "second"}, "one of them is not known to the daemon yet"
    unknown = [each for each in found["checks"] if each["state"] == "fail"]
    assert [(each["server"], each["id"]) for each in unknown] == [("second", "daemon.configuration")]
    assert unknown[0]["fix"].startswith("pgcoffer reload")
    assert check(agent, "second", code=1)["daemon.configuration"]["state"] == "fail"
    agent.ok("reload")
    agent.wait_streaming("second")
    found = agent.json("check")
    assert [row["server"] for row in found["summary"]["servers"]] == ["primary", "second"]
    assert len(found["checks"]) == 2 * len(listed(agent))
    word, line = nagios(agent)
    assert "primary_days_client=" in line and "second_passed=" in line, line
    assert "unknown" not in line


def test_a_changed_configuration_is_what_is_proved_and_the_daemons_age_is_told(agent, pki):
    agent.servers["primary"]["tls_ca_file"] = pki.other_ca.certificate
    agent.write_configuration()
    found = check(agent, "primary", code=1)
    assert [name for name, each in found.items() if each["state"] == "fail"] == ["chain.server"]
    assert found["daemon.configuration"]["state"] == "warn" and "tls_ca_file" in found["daemon.configuration"]["seen"]
    assert found["receiver.streaming"]["state"] == "pass"
    agent.configuration.write_text(agent.configuration.read_text() + "prot = 5\n")
    found = check(agent, "primary", code=1)
    assert [name for name, each in found.items() if each["state"] == "fail"] == ["daemon.configuration"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_monitor_asks_the_daemon_and_needs_neither_key_nor_configuration(make_agent, cluster, make_cluster):
    second = make_cluster("second").start().create_role()
    agent = make_agent().add_server("primary", cluster, monitors="daemon").add_server("second", second).start()
    agent.wait_streaming("primary")
    agent.configuration.chmod(0o600)
    words = ("--socket", agent.socket)
    agent.backup("primary")
    word, line = nagios(agent, "primary", *words, user="daemon")
    assert word == "OK", line
    assert {each["server"] for each in agent.cli("check", "--json", *words, user="daemon").json["checks"]} == {"primary"}
    assert agent.cli("check", "second", *words, user="daemon").code == 1
    denied = agent.cli("check", "primary", *words, user="nobody")
    assert denied.code == 1 and "monitors" in denied.err, denied
    assert nagios(agent, "primary", *words, user="nobody")[0] == "UNKNOWN"
    agent.configuration.chmod(0o644)
    agent.stop()
    word, line = nagios(agent, "primary", user="daemon")
    assert word == "UNKNOWN" and "no" in line and "systemctl start pgcofferd" in line, line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_checks_of_other_servers_are_neither_in_a_monitors_way_nor_named_to_it(make_agent, cluster):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        agent = make_agent().add_server("primary", cluster, monitors="daemon")
        agent.add_server("hidden", cluster, port=silent.getsockname()[1], connect_timeout=30).start()
        agent.wait_streaming("primary")
        running = [subprocess.Popen(agent.command("check", "hidden"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for _ in range(2)]
        wait_for(lambda: len(agent.worker_pids("check")) == 2, "both run")
        done = agent.cli("check", "--json", "--passive", "--socket", agent.socket, user="daemon")
        assert "hidden" not in done.out + done.err and {each["server"] for each in done.json["checks"]} == {"primary"}, done
        for process in running:
            process.terminate()
            process.wait()


def test_two_checks_run_at_once_and_a_third_is_busy_and_all_end_with_their_clients(make_agent, pki, cluster):
    """A server that takes connections and never answers holds them for as long as connect_timeout says."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        agent = make_agent().add_server("primary", cluster, port=silent.getsockname()[1], connect_timeout=30).start()
        running = [subprocess.Popen(agent.command("check", "primary"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for _ in range(2)]
        wait_for(lambda: len(agent.worker_pids("check")) == 2, "both run")
        busy = agent.cli("check", "primary")
        assert busy.code == 8 and "check" in busy.err, busy
        agent.ok("ping")
        running[0].send_signal(signal.SIGINT)
        running[1].kill()
        wait_for(lambda: not agent.worker_pids("check"), "both workers have ended", 5)
        for process in running:
            process.wait(5)
        third = subprocess.Popen(agent.command("check", "primary"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: agent.worker_pids("check"), "a third runs")
        started = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - started < 5 and "killed" not in agent.log_text()
        assert third.wait(5) == 4


# ---- without a daemon ----

def test_without_a_daemon_the_caller_checks_and_is_told_so(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster)
    found = check(agent, "primary")
    assert found["daemon.running"]["state"] == "warn" and found["daemon.running"]["fix"].startswith("systemctl start pgcofferd")
    assert str(agent.socket) in found["daemon.running"]["cause"]
    assert found["receiver.streaming"]["state"] == "skip"
    assert {name for name, each in found.items() if each["state"] in ("warn", "fail")} == {"daemon.running", "backup.newest"}
    assert nagios(agent)[0] == "WARNING"
    assert [row["server"] for row in agent.json("check")["summary"]["servers"]] == ["primary"]


def test_a_repository_that_is_missing_or_open_to_others_is_told(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster)
    agent.base.chmod(0o777)
    found = check(agent, "primary", "--only", "repository", code=1)
    assert found["repository.folder"]["state"] == "fail" and "chmod 0700" in found["repository.folder"]["fix"]
    agent.base.rmdir()
    found = check(agent, "primary", "--only", "repository", code=1)
    assert found["repository.folder"]["state"] == "fail" and "install -d -m 0700" in found["repository.folder"]["fix"]
    assert found["repository.room"]["state"] == "skip"


def test_another_cluster_under_the_same_name_fails_that_check(agent, make_cluster):
    agent.backup("primary")
    agent.stop()
    other = make_cluster("other", is_stranger=True).start().create_role()
    agent.servers["primary"]["port"] = other.port
    agent.write_configuration()
    found = check(agent, "primary", code=1)
    assert [name for name, each in found.items() if each["state"] == "fail"] == ["repository.cluster"]
    assert "another cluster" in found["repository.cluster"]["cause"]


# ---- described by options ----

def test_a_server_can_be_described_without_any_configuration(make_agent, cluster, pki):
    agent = make_agent()
    result = described(agent, cluster)
    assert result.code == 0, result
    assert re.search(rf"^localhost port {cluster.port}: \d+ passed, 0 warnings, 0 failed, \d+ skipped$", result.out, re.M), result
    found = described(agent, cluster, "--json")
    assert all("server" not in each for each in found.json["checks"])
    assert all(each["state"] == "skip" for each in found.json["checks"] if each["group"] in ("daemon", "receiver", "repository", "backup", "wal"))
    wrong = described(agent, cluster, "--json", tls_ca_file=pki.other_ca.certificate)
    assert wrong.code == 1
    (fault,) = [each for each in wrong.json["checks"] if each["state"] == "fail"]
    assert fault["id"] == "chain.server" and str(pki.other_ca.certificate) in fault["fix"], fault
    assert NAGIOS.fullmatch(described(agent, cluster, "--nagios").out)


def test_paths_may_be_relative_and_values_cannot_smuggle(make_agent, cluster):
    agent = make_agent()
    folder, name = agent.pki.client.certificate.parent, agent.pki.client.certificate.name
    done = subprocess.run(as_user([agent.binaries / "pgcoffer", "check", "--json", "--host", "localhost", "--port", cluster.port,
                                   "--user", "repl", "--tls-cert-file", name, "--tls-key-file", agent.pki.client.key,
                                   "--tls-ca-file", agent.pki.server_ca.certificate], agent.user), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done
    result = described(agent, cluster, "--json", "--only", "hba", user='repl"\nallow_weak_password = yes\nhost = other')
    assert result.code == 1, result
    assert "connect" not in [each["id"].split(".")[1] for each in result.json["checks"] if each["state"] == "fail"]


def test_options_stand_in_for_a_servers_settings(agent, pki):
    """A new certificate is tried before it is put in place."""
    agent.backup("primary")
    found = check(agent, "primary", "--tls-ca-file", pki.other_ca.certificate, code=1)
    assert found["chain.server"]["state"] == "fail" and found["backup.newest"]["state"] == "pass"
    assert found["daemon.running"]["state"] == "skip"
    assert check(agent, "primary", "--tls-ca-file", pki.server_ca.certificate)["chain.server"]["state"] == "pass"


def test_nobody_there_is_a_failing_check_and_no_error(make_agent, cluster):
    result = described(make_agent(), cluster, "--json", port=free_port())
    assert result.code == 1 and result.err == "", result
    assert [each["id"] for each in result.json["checks"] if each["state"] == "fail"] == ["server.connect"]


def test_every_id_that_is_told_is_in_the_list(agent):
    names = listed(agent)
    for line in agent.cli("check", "primary").out.splitlines():
        if match := re.match(r"  (?:pass|warn|fail|skip)  (\S+) ", line):
            assert match[1] in names
    assert json.loads(agent.cli("check", "--list", "--json").out)["schema"] == 1
