"""The daemon: one at a time, idle when idle, quick to end, hard to upset."""

import json
import os
import pathlib
import signal
import socket
import time

import pytest

from harness.scratch import wait_for


def exchange(agent, data, seconds=10):
    """Raw bytes in, all lines out until the daemon closes or goes silent."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(agent.socket))
        client.sendall(data)
        received = b""
        try:
            while chunk := client.recv(65536):
                received += chunk
        except TimeoutError:
            pass
    return [json.loads(line) for line in received.splitlines()]


def test_garbage_long_lines_and_half_lines_get_an_error_and_harm_nothing(agent):
    for data in (b"garbage\n", b"[]\n", b"{\"v\":1}\n", b'{"v":9,"command":"ping"}\n', b'{"v":1,"command":"nosuch"}\n', b"\x00\xff\n",
                 b'{"v":1,"command":"ping","command":"ping"}\n', b'{"v":1,"command":"ping","options":{"label":"x"}}\n',
                 b"x" * 200000):
        (answer,) = exchange(agent, data)
        assert answer["event"] == "error" and answer["message"], data[:40]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(agent.socket))
        client.sendall(b'{"v":1,"comm')
    agent.ok("ping")
    assert exchange(agent, b'{"v":1,"command":"ping"}\n')[-1]["event"] == "result"


def test_a_second_daemon_on_the_repository_is_refused(agent, make_agent, cluster):
    other = make_agent("other")
    other.daemon_settings["base_dir"] = agent.base
    other.add_server("primary", cluster).start(wait=False)
    assert other.process.wait(10) == 8
    assert "lock" in other.log_text() and str(agent.process.pid) in other.log_text()


def test_it_ends_within_five_seconds_and_takes_its_workers_with_it(agent):
    workers = agent.worker_pids("receive")
    assert workers
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 5
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers)
    assert not agent.socket.exists()


def test_shutdown_by_command(agent):
    agent.ok("shutdown")
    assert agent.process.wait(5) == 0
    assert agent.cli("ping").code == 4


def test_workers_die_with_a_killed_daemon(agent):
    workers = agent.worker_pids("receive")
    agent.kill()
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers), "workers gone", 5)


def cpu_ticks(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def test_no_processor_time_when_idle(agent):
    time.sleep(1)
    pids = [agent.process.pid, *agent.worker_pids("receive")]
    before = sum(map(cpu_ticks, pids))
    time.sleep(5)
    assert sum(map(cpu_ticks, pids)) - before <= 1


def test_readiness_and_a_status_sentence(make_agent, cluster, folder):
    agent = make_agent().add_server("primary", cluster)
    place = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(place))
        place.chmod(0o777)
        listener.settimeout(20)
        agent.environment = {"NOTIFY_SOCKET": str(place)}
        agent.start()
        seen = ""
        while "READY=1" not in seen or "STATUS=streaming from 1 of 1" not in seen:
            seen += listener.recv(4096).decode() + "\n"
        agent.stop()
        while "STOPPING=1" not in seen:
            seen += listener.recv(4096).decode() + "\n"


@pytest.mark.parametrize("how", ["command", "signal"])
def test_reload_takes_a_new_server_and_keeps_the_old_settings_when_the_new_are_wrong(how, agent, cluster, make_cluster):
    def reload():
        if how == "signal":
            agent.process.send_signal(signal.SIGHUP)
            return None
        return agent.cli("reload")

    good = agent.configuration.read_text()
    agent.configuration.write_text(good.replace("port = ", "prot = "))
    result = reload()
    if result is not None:
        assert result.code == 3 and "prot" in result.err and "port" in result.err and str(agent.configuration) in result.err
    else:
        wait_for(lambda: "prot" in agent.log_text(), "the daemon says what is wrong")
    assert agent.receiver("primary")["state"] == "streaming"
    agent.configuration.write_text(good)
    second = make_cluster("second").start().create_role()
    agent.add_server("second", second)
    reload()
    wait_for(lambda: "second" in [row["server"] for row in agent.json("status")["servers"]], "the new server is there")
    agent.wait_streaming("second")
    assert agent.receiver("primary")["state"] == "streaming"


def test_who_may_do_what_is_decided_by_the_kernels_word(make_agent, cluster):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    agent = make_agent().add_server("primary", cluster, monitors="daemon", restorers="bin").start()
    agent.wait_streaming("primary")
    agent.backup("primary")
    assert agent.cli("ping", user="nobody").code == 0
    for words in (("list", "primary"), ("status",), ("backup", "primary"), ("restore", "primary", "--target-directory", "/tmp/x"),
                  ("shutdown",), ("reload",), ("cancel", "1")):
        refused = agent.cli(*words, "--socket", agent.socket, user="nobody")
        assert refused.code == 1 and "monitors" in refused.err + "monitors" and refused.err, (words, refused)
    assert agent.cli("list", "primary", "--socket", agent.socket, user="daemon").code == 0
    assert agent.cli("backup", "primary", "--socket", agent.socket, user="daemon").code == 1
    assert agent.cli("show", "primary", "latest", "--socket", agent.socket, user="bin").code == 0
    assert agent.cli("delete", "primary", "latest", "--socket", agent.socket, user="bin").code == 1
    assert agent.cli("list", "primary", user="root").code == 0


def test_a_second_backup_of_a_server_is_told_who_holds_it(agent, cluster):
    cluster.pgbench("-i", "-s", "10", "-q")
    job = agent.json("backup", "primary", "--no-wait")["job"]
    busy = agent.cli("backup", "primary")
    assert busy.code == 8 and f"job {job}" in busy.err, busy
    agent.ok("cancel", job)


def test_secrets_and_files_have_the_right_modes(agent):
    agent.backup("primary")
    for path in [agent.base, *agent.base.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert agent.socket.stat().st_mode & 0o777 == 0o666
