"""The receiver as a synchronous standby: what was acknowledged comes back, and no commit waits for nothing."""

import pathlib
import random
import shutil
import threading
import time

import psycopg2
import pytest

from harness.restored import restore, start_restored
from harness.scratch import wait_for

NAMES = "synchronous_standby_names = '{}'"


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_flush_lsn()::text")


@pytest.fixture
def standby(make_agent, cluster):
    """A receiver that commits of `cluster` wait for, by its default name."""
    agent = make_agent().add_server("primary", cluster, synchronous="yes").start()
    agent.wait_streaming("primary")
    set_names(cluster, "pgcoffer")
    return agent


def set_names(cluster, names, state="sync"):
    cluster.configure(NAMES.format(names))
    cluster.reload()
    wait_for(lambda: cluster.sql("SELECT sync_state FROM pg_stat_replication WHERE application_name = 'pgcoffer'") == state,
             f"the server calls the receiver {state}")


def sync_of(agent):
    return agent.receiver("primary")["sync"]


def warning_of(agent, words):
    """Until `status` warns with these words."""
    return wait_for(lambda: (lambda it: it if it and words in it["message"] else None)(agent.receiver("primary")["warning"]),
                    f"a warning with \"{words}\"; {agent.receiver('primary')}")


class Committer(threading.Thread):
    """Inserts one row a commit and notes what was acknowledged."""

    def __init__(self, cluster, first, step):
        super().__init__(daemon=True)
        self.connection, self.first, self.step, self.acknowledged = cluster.connect(), first, step, []

    def run(self):
        number = self.first
        try:
            with self.connection.cursor() as cursor:
                while True:
                    cursor.execute("INSERT INTO rows VALUES (%s)", (number,))
                    self.acknowledged.append(number)
                    number += self.step
        except psycopg2.Error:
            pass  # the server was killed


def lose_the_primary(agent, cluster, folder, pki, rows, seed):
    chance = random.Random(seed)
    print(f"seed {seed}")
    cluster.sql("CREATE TABLE rows (n int)")
    agent.backup("primary")
    writers = [Committer(cluster, first, 2) for first in range(2)]
    for writer in writers:
        writer.start()
    more = chance.randrange(100)
    wait_for(lambda: sum(len(writer.acknowledged) for writer in writers) >= rows + more, f"{rows} commits", 120, 0.002)
    cluster.stop("immediate")
    shutil.rmtree(cluster.data)
    for writer in writers:
        writer.join(30)
    acknowledged = {number for writer in writers for number in writer.acknowledged}
    assert len(acknowledged) >= rows
    restore(agent, folder / "target")
    copy = start_restored(folder / "copy", pki, folder / "target")
    held = {row[0] for row in copy.rows("SELECT n FROM rows")}
    copy.close()
    assert acknowledged <= held, f"seed {seed}: lost {sorted(acknowledged - held)[:10]}"


def test_a_thousand_acknowledged_commits_survive_the_loss_of_the_primary(standby, cluster, folder, pki):
    lose_the_primary(standby, cluster, folder, pki, 1000, random.randrange(1 << 30))


@pytest.mark.long
@pytest.mark.parametrize("turn", range(10))
def test_ten_times_none_is_lost(turn, standby, cluster, folder, pki):
    lose_the_primary(standby, cluster, folder, pki, 1000, random.randrange(1 << 30))


def test_a_commit_never_hangs_because_nobody_knew_that_it_waits(agent, cluster):
    """The names change on the running server; nobody told the receiver, and it says so once it has asked again."""
    assert sync_of(agent) == {"wanted": False, "state": "async", "names": ""}
    cluster.sql("CREATE TABLE rows (n int)")
    set_names(cluster, "PgCoffer")
    started = time.monotonic()
    for number in range(20):
        cluster.sql("INSERT INTO rows VALUES (%s)", number)
    assert time.monotonic() - started < 15
    agent.ok("reload")
    warning = warning_of(agent, "by accident")
    assert "\"pgcoffer\"" in warning["message"] and "synchronous = yes" in warning["hint"], warning
    assert warning["check"] == "replication.sync_name" and sync_of(agent)["state"] == "sync"
    assert agent.receiver("primary")["reconnects"] == 0
    set_names(cluster, "*")
    agent.ok("reload")
    assert "\"*\"" in warning_of(agent, "takes every standby")["message"]
    set_names(cluster, "", "async")
    agent.ok("reload")
    wait_for(lambda: agent.receiver("primary")["warning"] is None, "no warning")


def test_a_synchronous_receiver_that_nobody_waits_for_is_warned_of(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster, synchronous="yes", application_name="second copy").start()
    agent.wait_streaming("primary")
    warning = warning_of(agent, "waits for nobody named")
    assert "second copy" in warning["message"] and "ALTER SYSTEM" in warning["hint"]
    cluster.configure(NAMES.format('ANY 1 (x, "Second Copy")'))
    cluster.reload()
    wait_for(lambda: cluster.sql("SELECT sync_state FROM pg_stat_replication") == "quorum", "quorum")
    agent.ok("reload")
    wait_for(lambda: agent.receiver("primary")["warning"] is None, "no warning")
    assert sync_of(agent) == {"wanted": True, "state": "quorum", "names": 'ANY 1 (x, "Second Copy")'}
    assert 'quorum' in agent.ok("status").out


def test_remote_apply_is_warned_of_and_mended_by_what_the_hint_says(standby, cluster):
    cluster.sql("CREATE TABLE rows (n int)")
    cluster.configure("synchronous_commit = remote_apply")
    cluster.reload()
    standby.ok("reload")
    warning = warning_of(standby, "remote_apply")
    assert warning["check"] == "replication.synchronous"
    writer = Committer(cluster, 0, 1)
    writer.start()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1, "a commit hangs")
    assert "SET synchronous_commit = on" in warning["hint"]
    cluster.rows("SET synchronous_commit = on; INSERT INTO rows VALUES (1000)")
    cluster.sql("ALTER SYSTEM SET synchronous_commit = 'on'")
    cluster.reload()
    cluster.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    standby.ok("reload")
    wait_for(lambda: standby.receiver("primary")["warning"] is None, "no warning")
    cluster.sql("INSERT INTO rows VALUES (2000)")


def test_a_fast_shutdown_does_not_wait_for_the_synchronous_receiver(standby, cluster):
    cluster.pgbench("-i", "-s", "1", "-q")
    load = cluster.pgbench("-c", "4", "-T", "60", wait=False)
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pgbench_history") > 100, "load")
    started = time.monotonic()
    cluster.stop("fast")
    took = time.monotonic() - started
    load.wait(30)
    assert took < 8, f"{took:.1f} s"
    assert "terminating walsender" not in cluster.log_text()
    cluster.start()
    standby.wait_streaming("primary")
    standby.wait_flushed("primary", lsn(cluster))


def test_compression_steps_back_behind_the_stream_that_commits_wait_for(standby, cluster):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n")
    cluster.sql("SELECT pg_switch_wal()")
    wait_for(lambda: list(standby.system_folder("primary").glob("wal/*/*/*.zst")), "a segment is compressed")
    (pid,) = standby.worker_pids("receive")
    niceness = {int(path.name): int((path / "stat").read_text().rsplit(")", 1)[1].split()[16])
                for path in pathlib.Path(f"/proc/{pid}/task").iterdir()}
    assert niceness[pid] == 0 and list(niceness.values()).count(10) == 1, niceness


def checks_of(agent, *ids):
    """The rows of these checks of replication."""
    result = agent.cli("check", "primary", "--only", "replication", "--json")
    rows = {row["id"]: row for row in result.json["checks"]}
    return [rows[f"replication.{name}"] for name in ids]


def test_check_shows_what_the_server_sees_and_names_each_misfit(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    name, commit, state = checks_of(agent, "sync_name", "synchronous", "sync_state")
    assert [row["state"] for row in (name, commit, state)] == ["pass"] * 3 and "async" in state["seen"]
    set_names(cluster, "*")
    name, commit, state = checks_of(agent, "sync_name", "synchronous", "sync_state")
    assert name["state"] == "warn" and "\"*\"" in name["cause"] and "synchronous = yes" in name["fix"], name
    assert state["state"] == "skip" and "GRANT pg_read_all_stats" in state["seen"] and '"sync"' in state["seen"], state
    cluster.sql("GRANT pg_read_all_stats TO repl")
    (state,) = checks_of(agent, "sync_state")
    assert state["state"] == "pass" and "sync_state = sync" in state["seen"], state
    cluster.configure("synchronous_commit = remote_apply")
    set_names(cluster, "pgcoffer")
    (commit,) = checks_of(agent, "synchronous")
    assert commit["state"] == "fail" and "hang" in commit["cause"] and "SET synchronous_commit = on" in commit["fix"], commit
    cluster.configure("synchronous_commit = on")
    cluster.reload()
    cluster.rows("SET synchronous_commit = local; ALTER DATABASE postgres SET synchronous_commit = remote_apply")
    (commit,) = checks_of(agent, "synchronous")
    assert commit["state"] == "warn" and "DATABASE postgres" in commit["cause"], commit
    cluster.rows('SET synchronous_commit = local; CREATE ROLE "My App"; ALTER ROLE ALL SET synchronous_commit = remote_apply; '
                 'ALTER ROLE "My App" IN DATABASE postgres SET synchronous_commit = remote_apply')
    for _ in range(3):
        (commit,) = checks_of(agent, "synchronous")
        assert commit["state"] == "warn", commit
        cluster.rows("SET synchronous_commit = local; " + commit["fix"].removeprefix("Type on the server: "))
    assert checks_of(agent, "synchronous")[0]["state"] == "pass"
    agent.servers["primary"]["application_name"] = "other"
    agent.servers["primary"]["synchronous"] = "yes"
    agent.write_configuration()
    name, state = checks_of(agent, "sync_name", "sync_state")
    assert name["state"] == "warn" and "nobody named \"other\"" in name["cause"], name
    set_names(cluster, "other", "async")
    (state,) = checks_of(agent, "sync_state")
    assert state["state"] == "fail" and "commits hang" in state["cause"], state
    agent.ok("reload")
    wait_for(lambda: checks_of(agent, "sync_state")[0]["state"] == "pass", "the receiver came under its new name")
