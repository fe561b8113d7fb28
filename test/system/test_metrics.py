"""Metrics: what a scrape tells is what is so. One cluster and one daemon for all tests, which are told in the order of their story."""

import datetime
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.scrape import OPEN, check_open_metrics, scrape
from harness.scratch import free_port, wait_for
from test_gaps import lose_wal, lsn, wait_gaps

NAME = "primary"
STRANGER = "stranger"  # whose certificate another CA signed


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Scene:
    def __init__(self, folder, pki, programs):
        self.cluster = Cluster(folder / "server", pki).start().create_role()
        self.cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
        self.agent = Agent(folder / "agent", programs, pki)
        self.port = free_port()
        self.agent.daemon_settings["metrics"] = self.port
        self.agent.add_server(NAME, self.cluster)
        self.agent.add_server(STRANGER, self.cluster, tls_ca_file=pki.client_ca.certificate).start()
        self.agent.wait_streaming(NAME)

    def scrape(self, accept=None):
        return scrape(self.port, accept, NAME)

    def server(self):
        return self.agent.json("status")["servers"][0]

    def wait(self, condition, what, seconds=60):
        """Until a scrape meets the condition; that scrape."""
        last = []

        def look():
            last[:] = [self.scrape()]
            return condition(last[0]) and last[0]
        return wait_for(look, lambda: f"{what}; {last[0].text if last else ''}; {self.agent.log_text()[-2000:]}", seconds)

    def close(self):
        self.agent.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def scene(scratch, pki, programs):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="metrics-", dir=scratch))
    folder.chmod(0o1777)
    scene = Scene(folder, pki, programs)
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def backup(scene):
    """Taken once; what was known before it stands in scene.before."""
    scene.before = scene.wait(lambda now: now("pgcoffer_survey_timestamp_seconds"), "the first survey")
    return scene.agent.backup(NAME)


def test_a_backup_is_told_with_its_figures(scene, backup):
    before = scene.before
    assert before("pgcoffer_backup_last_success_timestamp_seconds") is None
    assert before("pgcoffer_backup_last_size_bytes", kind="plain") is None
    assert before("pgcoffer_backups", state="complete") == 0
    assert before("pgcoffer_backup_runs_total", result="done") == 0
    now = scene.wait(lambda now: now("pgcoffer_backups", state="complete") == 1, "a complete backup")
    (listed,) = scene.agent.json("list", NAME)["servers"][0]["backups"]
    assert now("pgcoffer_backup_last_success_timestamp_seconds") == pytest.approx(seconds(listed["stopped_at"]), abs=1e-5)
    assert now("pgcoffer_backup_last_duration_seconds") == pytest.approx(
        seconds(listed["stopped_at"]) - seconds(listed["started_at"]), abs=1e-4)
    assert now("pgcoffer_backup_last_size_bytes", kind="plain") == listed["size_bytes"]
    assert now("pgcoffer_backup_last_size_bytes", kind="stored") == listed["stored_bytes"]
    assert now("pgcoffer_backup_runs_total", result="done") == 1 == now("pgcoffer_job_runs_total", command="backup", result="done")
    assert now("pgcoffer_backup_runs_total", result="failed") == 0
    assert now("pgcoffer_jobs_running", command="backup") == 0


def test_the_state_of_the_stream_is_told(scene, backup):
    scene.cluster.sql("INSERT INTO rows SELECT generate_series(1, 20000)")
    scene.agent.wait_flushed(NAME, lsn(scene.cluster))
    now = scene.wait(lambda now: now("pgcoffer_wal_lag_bytes", stage="flushed") == 0, "all WAL is here")
    server = scene.server()
    receiver, survey = server["receiver"], server["survey"]
    assert now("pgcoffer_wal_lag_bytes", stage="received") == 0 and now("pgcoffer_wal_lag_seconds") == 0
    assert now("pgcoffer_server_up") == 1 and now("pgcoffer_wal_streaming") == 1
    assert now("pgcoffer_receiver_state", state="streaming") == 1 and now("pgcoffer_receiver_state", state="alarm") == 0
    assert now("pgcoffer_sync_state", state="async") == 1 and now("pgcoffer_sync_state", state="sync") == 0
    assert now("pgcoffer_wal_gaps") == 0
    assert 1 << 20 <= now("pgcoffer_wal_received_bytes_total") <= server["counts"]["received_bytes"]
    assert now("pgcoffer_tls_handshakes_total", endpoint="postgresql", result="ok") >= 1
    assert now("pgcoffer_tls_handshakes_total", endpoint="postgresql", result="refused") == 0
    ends = {"client": receiver["certificate"]["not_after"], "server": receiver["server_certificate"]["not_after"],
            "ca": receiver["authorities_not_after"]}
    for role, end in ends.items():
        assert now("pgcoffer_tls_certificate_not_after_timestamp_seconds", role=role) == seconds(end), role
    assert now("pgcoffer_repository_reserve_bytes") == receiver["room"]["reserve"]
    assert now("pgcoffer_repository_free_bytes") > 0
    assert now("pgcoffer_repository_size_bytes", kind="backups") == survey["room"]["backup_bytes"] > 0


def test_of_a_server_that_was_never_reached_nothing_is_made_up(scene):
    now = scene.wait(lambda now: now("pgcoffer_server_up", server=STRANGER) == 0, "the other server is refused")
    assert now("pgcoffer_tls_handshakes_total", server=STRANGER, result="refused") >= 1
    assert now("pgcoffer_tls_handshakes_total", server=STRANGER, result="ok") == 0
    assert now("pgcoffer_receiver_state", server=STRANGER, state="streaming") == 0
    for name in ("wal_lag_seconds", "wal_gaps", "backup_last_success_timestamp_seconds", "recovery_window_end_timestamp_seconds"):
        assert now(f"pgcoffer_{name}", server=STRANGER) is None
    assert now("pgcoffer_wal_lag_bytes", server=STRANGER, stage="flushed") is None
    assert now("pgcoffer_wal_received_bytes_total", server=STRANGER) == 0


def test_prometheus_own_tool_finds_nothing_to_say(scene, backup):
    plain, open_metrics = scene.scrape(), scene.scrape(OPEN)
    assert "# EOF" not in plain.text
    check_open_metrics(open_metrics.text)
    check_open_metrics((pathlib.Path(__file__).parents[1] / "jobs" / "metrics" / "state.openmetrics").read_text())
    assert "# TYPE pgcoffer_wal_received_bytes counter" in open_metrics.text
    assert plain("process_resident_memory_bytes") > 1 << 20 and plain("process_cpu_seconds_total") > 0
    assert plain("pgcoffer_config_last_reload_successful") == 1
    assert set(plain.samples) == set(open_metrics.samples)
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (package prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=plain.text, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_job_that_fails_is_counted_and_a_wrong_configuration_told(scene, backup):
    assert scene.agent.cli("verify", NAME, "20010101T000000Z").code != 0
    now = scene.scrape()
    assert now("pgcoffer_job_runs_total", command="verify", result="failed") == 1
    assert now("pgcoffer_job_runs_total", command="verify", result="done") == 0
    good = scene.agent.configuration.read_text()
    try:
        scene.agent.configuration.write_text(good + "nonsense = 1\n")
        assert scene.agent.cli("reload").code == 3
        wrong = scene.scrape()
    finally:
        scene.agent.configuration.write_text(good)
    assert wrong("pgcoffer_config_last_reload_successful") == 0
    read_at = wrong("pgcoffer_config_last_reload_timestamp_seconds")
    assert read_at == now("pgcoffer_config_last_reload_timestamp_seconds")
    scene.agent.ok("reload")
    again = scene.scrape()
    assert again("pgcoffer_config_last_reload_successful") == 1
    assert again("pgcoffer_config_last_reload_timestamp_seconds") > read_at


def test_verifications_are_proofs(scene, backup):
    started = scene.scrape()
    assert started("pgcoffer_verify_last_success_timestamp_seconds") is None
    assert started("pgcoffer_restore_drill_last_good") is None
    scene.agent.ok("verify", NAME, "latest")
    now = scene.wait(lambda now: now("pgcoffer_verify_last_success_timestamp_seconds"), "a verification")
    proof = scene.server()["survey"]["proofs"]["verify"]
    assert now("pgcoffer_verify_last_success_timestamp_seconds") == pytest.approx(seconds(proof["at"]), abs=1e-5)
    assert now("pgcoffer_verify_last_duration_seconds") == pytest.approx(proof["seconds"], abs=1e-5)
    assert now("pgcoffer_verify_failed_backups") == 0


COUNTERS = ("pgcoffer_wal_received_bytes_total", "pgcoffer_receiver_reconnects_total", "pgcoffer_tls_handshakes_total",
            "pgcoffer_job_runs_total", "pgcoffer_backup_runs_total", "process_cpu_seconds_total")


def test_no_counter_falls_when_the_receiver_dies(scene, backup):
    before = scene.scrape()
    for pid in scene.agent.worker_pids("receive"):
        os.kill(pid, signal.SIGKILL)
    scene.wait(lambda now: now("pgcoffer_wal_streaming") == 0, "the stream is over")
    scene.agent.wait_streaming(NAME)
    scene.cluster.sql("INSERT INTO rows SELECT generate_series(1, 5000)")
    scene.agent.wait_flushed(NAME, lsn(scene.cluster))
    after = scene.wait(lambda now: now("pgcoffer_wal_lag_bytes", stage="flushed") == 0, "all WAL is here")
    for name in COUNTERS:
        for labels, value in before.samples[name].items():
            assert after.samples[name][labels] >= value, (name, labels)
    received = "pgcoffer_wal_received_bytes_total"
    assert after(received) > before(received) > 0
    shaken = [each("pgcoffer_tls_handshakes_total", endpoint="postgresql", result="ok") for each in (before, after)]
    assert shaken[1] > shaken[0]
    assert after("process_start_time_seconds") == before("process_start_time_seconds")


CERTIFICATES = "pgcoffer_tls_certificate_not_after_timestamp_seconds"
LASTING = ("pgcoffer_wal_gaps", "pgcoffer_repository_free_bytes", "pgcoffer_backup_last_success_timestamp_seconds",
           "pgcoffer_recovery_window_open", "pgcoffer_verify_last_success_timestamp_seconds")


def check_what_a_restart_leaves(scene, before):
    """A daemon that begins while the server is away tells what it can know: an alert about it does not end by a restart."""
    scene.agent.stop()
    scene.agent.start()
    wait_for(lambda: scene.agent.json("status")["exporter"]["state"] == "listening", "the port is open again")
    now = scene.wait(lambda now: now("pgcoffer_server_up") == 0 and now("pgcoffer_wal_gaps") is not None and
                     now("pgcoffer_survey_timestamp_seconds") and now(CERTIFICATES, role="client"), "what is stored was looked at")
    for role in ("client", "server"):
        assert now(CERTIFICATES, role=role) == before(CERTIFICATES, role=role), role
    for name in LASTING:
        assert now(name) is not None or before(name) is None, name
    assert now("pgcoffer_wal_streaming") == 0 and now("pgcoffer_wal_lag_seconds") is None


def test_lag_grows_while_the_server_is_away(scene, backup):
    scene.cluster.stop()
    try:
        first = scene.wait(lambda now: now("pgcoffer_server_up") == 0, "the server is down")
        lag = first("pgcoffer_wal_lag_seconds")
        assert lag > 0 and first("pgcoffer_wal_streaming") == 0
        assert first("pgcoffer_wal_lag_bytes", stage="flushed") is None  # nobody knows what it has
        second = scene.wait(lambda now: now("pgcoffer_wal_lag_seconds") > lag + 0.2, "the lag grows")
        assert second("pgcoffer_wal_lag_seconds") < 600 and second("pgcoffer_receiver_reconnects_total") > 0
        check_what_a_restart_leaves(scene, second)
    finally:
        scene.cluster.start()
    scene.agent.wait_streaming(NAME)
    scene.cluster.sql("INSERT INTO rows VALUES (0)")  # a server without work says something every ten seconds only
    scene.wait(lambda now: now("pgcoffer_server_up") == 1 and now("pgcoffer_wal_lag_seconds") == 0, "all is here again")


def test_the_window_of_recovery_is_that_of_status(scene, backup):
    now = scene.wait(lambda now: now("pgcoffer_recovery_window_end_timestamp_seconds"), "a window")
    window = scene.server()["survey"]["restorable"]["windows"][-1]
    start, end = [now(f"pgcoffer_recovery_window_{side}_timestamp_seconds") for side in ("start", "end")]
    assert start == pytest.approx(seconds(window["from"]), abs=1e-5)
    assert start <= end <= seconds(window["until"]) + 1e-5


@pytest.mark.long
def test_a_gap_is_a_number_above_0(scene, backup):
    scene.cluster.sql("CREATE TABLE IF NOT EXISTS before_the_gap (n int)")
    scene.wait(lambda now: now("pgcoffer_recovery_window_open") == 1, "moments behind the backup", 150)
    lose_wal(scene.agent, scene.cluster)
    scene.agent.start()
    scene.agent.wait_streaming(NAME)
    wait_gaps(scene.agent)
    now = scene.wait(lambda now: now("pgcoffer_wal_gaps") == 1, "the gap")
    assert now("pgcoffer_wal_received_bytes_total") < 64 << 20 and now("pgcoffer_backup_runs_total", result="done") == 0
    scene.wait(lambda now: now("pgcoffer_recovery_window_open") == 0, "what comes in is of no use", 150)  # the survey that sees it may be a minute away
    scene.agent.backup(NAME)
    scene.cluster.sql("INSERT INTO rows VALUES (1)")
    scene.wait(lambda now: scene.server() and now("pgcoffer_recovery_window_open") == 1, "a backup behind the gap")
    behind = scene.scrape()
    assert behind("pgcoffer_wal_gaps") == 1  # until retention removes what is before it
