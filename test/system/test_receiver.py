"""The WAL receiver: no fault ends it, nothing acknowledged is lost, and the server never waits for it."""

import os
import signal
import time

import pytest

from harness.agent import lsn_number
from harness.restored import restore, start_restored
from harness.scratch import wait_for
from harness.waldump import assert_wal_reads


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def test_flush_follows_within_a_second_on_an_idle_server(agent, cluster):
    cluster.sql("CREATE TABLE t (n int)")
    cluster.sql("INSERT INTO t VALUES (1)")
    end = lsn_number(lsn(cluster))
    started = time.monotonic()
    wait_for(lambda: lsn_number(cluster.sql("SELECT flush_lsn::text FROM pg_stat_replication") or "0/0") >= end, "flushed", 5,
             0.02)
    assert time.monotonic() - started < 1.5


def restart_under_load(agent, cluster, folder, times):
    cluster.pgbench("-i", "-s", "1", "-q")
    for number in range(times):
        load = cluster.pgbench("-c", "2", "-T", "30", wait=False)
        time.sleep(0.3)
        mode = ("fast", "immediate")[number % 2]
        started = time.monotonic()
        cluster.stop(mode)
        if mode == "fast":
            assert time.monotonic() - started < 10, "a fast shutdown waited for the receiver"
        load.wait(30)
        cluster.start()
        agent.wait_streaming("primary")
    agent.wait_flushed("primary", lsn(cluster))
    assert agent.json("wal", "status", "primary")["gaps"] == []
    cluster.stop("fast")
    assert_wal_reads(agent, "primary", folder / "wal")


def test_the_stream_is_back_after_restarts_and_a_fast_shutdown_is_never_delayed(agent, cluster, folder):
    restart_under_load(agent, cluster, folder, 4)


@pytest.mark.long
def test_the_stream_is_back_after_twenty_restarts(agent, cluster, folder):
    restart_under_load(agent, cluster, folder, 20)


def test_finished_segments_are_compressed_aside(agent, cluster):
    for _ in range(3):
        cluster.sql("CREATE TABLE IF NOT EXISTS t (n int)")
        cluster.sql("INSERT INTO t SELECT generate_series(1, 100)")
        cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""],
             "no raw segment is left")
    states = [row["state"] for row in agent.json("wal", "list", "primary")["files"] if row["state"] != "history"]
    assert states.count("partial") <= 1 and states.count("compressed") >= 3


def test_an_existing_slot_is_used_and_a_missing_one_created(make_agent, cluster):
    agent = make_agent().add_server("primary", cluster, wal_slot="kept", create_slot="no").start()
    row = wait_for(lambda: (lambda it: it if it["error"] else None)(agent.receiver("primary")), "an error is shown")
    assert "kept" in row["error"]["message"] and "slot create" in row["error"]["hint"]
    created = agent.json("slot", "create", "primary")
    assert created["created"] is True and created["exists"] is True
    agent.wait_streaming("primary")
    assert cluster.sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'kept'") is True
    assert agent.json("slot", "show", "primary")["exists"] is True
    dropped = agent.json("slot", "drop", "primary")
    assert dropped["dropped"] is True
    assert cluster.sql("SELECT count(*) FROM pg_replication_slots") == 0
    row = agent.receiver("primary")
    assert row["state"] == "stopped" and "was dropped by" in row["error"]["message"] and "slot create" in row["error"]["hint"]
    refused = agent.cli("backup", "primary")
    assert refused.code == 1 and "was dropped by" in refused.err, refused
    agent.ok("slot", "create", "primary")
    agent.wait_streaming("primary")
    agent.servers["primary"]["wal_slot"] = "other"
    agent.servers["primary"]["create_slot"] = "yes"
    agent.write_configuration()
    agent.ok("reload")
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'other' AND active") == 1,
             "the new slot is used")


def test_a_slot_that_somebody_else_holds_is_not_dropped_and_the_receiver_goes_on(make_agent, cluster, folder):
    agent = make_agent().add_server("primary", cluster, wal_slot="kept", create_slot="no").start()
    cluster.sql("SELECT pg_create_physical_replication_slot('kept', true)")
    agent.wait_streaming("primary")
    other = make_agent("other").add_server("primary", cluster, wal_slot="kept", create_slot="no").start()
    wait_for(lambda: other.receiver("primary")["error"], "the other one is told that the slot is in use")
    started = time.monotonic()
    busy = other.cli("slot", "drop", "primary")
    assert busy.code == 8 and "PID" in busy.err, busy
    assert 4 < time.monotonic() - started < 12
    assert agent.receiver("primary")["state"] == "streaming"
    wait_for(lambda: other.receiver("primary")["error"], "its receiver tries again")
    other.stop()
    agent.ok("slot", "drop", "primary")
    assert agent.receiver("primary")["state"] == "stopped"


def test_an_in_place_recovery_of_the_server_is_followed(agent, cluster, folder, pki):
    """The DBA rewinds the primary from our archive; streaming and the next backup go on unaided."""
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.backup("primary")
    point = lsn(cluster)
    cluster.sql("INSERT INTO rows SELECT generate_series(101, 200)")
    cluster.sql("SELECT pg_switch_wal()")
    cluster.sql("INSERT INTO rows SELECT generate_series(201, 300)")
    agent.wait_flushed("primary", lsn(cluster))
    cluster.stop("fast")
    cluster.data.rename(folder / "lost-data")
    restore(agent, cluster.data, "--target-lsn", point, "--target-action", "promote")
    cluster.start()
    cluster.wait_until_promoted()
    assert cluster.sql("SELECT count(*) FROM rows") == 100
    cluster.sql("INSERT INTO rows SELECT generate_series(1001, 1050)")
    wait_for(lambda: agent.receiver("primary")["timeline"] == 2 and agent.receiver("primary")["state"] == "streaming",
             f"streaming timeline 2; {agent.receiver('primary')}")
    agent.wait_flushed("primary", lsn(cluster))
    restore(agent, folder / "before-next")
    backup = agent.backup("primary")
    assert backup["start_timeline"] == 2
    cluster.sql("INSERT INTO rows SELECT generate_series(1051, 1060)")
    agent.wait_flushed("primary", lsn(cluster))
    restore(agent, folder / "target")
    for target in ("before-next", "target"):
        copy = start_restored(folder / f"copy-{target}", pki, folder / target)
        assert copy.sql("SELECT count(*) FROM rows") == (160 if target == "target" else copy.sql("SELECT count(*) FROM rows"))
        assert copy.sql("SELECT count(*) FROM rows WHERE n BETWEEN 101 AND 300") == 0, "rows of the abandoned branch"
        copy.close()
    # the abandoned branch stays reachable
    restore(agent, folder / "old-branch", "oldest", "--target-timeline", "1")
    copy = start_restored(folder / "copy-old", pki, folder / "old-branch")
    assert copy.sql("SELECT count(*) FROM rows") == 300
    copy.close()


def test_a_killed_walsender_that_still_holds_the_slot_is_waited_for(agent, cluster):
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    agent.wait_streaming("primary")
    os.kill(agent.worker_pids("receive")[0], signal.SIGSTOP)
    frozen = agent.worker_pids("receive")[0]
    os.kill(frozen, signal.SIGKILL)
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
    agent.wait_flushed("primary", lsn(cluster))


@pytest.mark.parametrize("megabytes", [16, 64])
def test_other_segment_sizes(megabytes, make_cluster, make_agent, folder, pki):
    cluster = make_cluster(segment_size_mb=megabytes).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n")
    agent.backup("primary")
    cluster.sql("INSERT INTO rows SELECT generate_series(1, 1000)")
    agent.wait_flushed("primary", lsn(cluster))
    restore(agent, folder / "target")
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert copy.sql("SELECT count(*) FROM rows") == 2000
    copy.close()


@pytest.mark.long
def test_segments_of_one_gigabyte(make_cluster, make_agent, folder, pki):
    test_other_segment_sizes(1024, make_cluster, make_agent, folder, pki)


def test_another_cluster_under_the_same_name_is_refused_and_nothing_is_lost(agent, cluster, make_cluster):
    agent.backup("primary")
    cluster.stop("fast")
    stranger = make_cluster("stranger", port=cluster.port, is_stranger=True).start().create_role()
    row = wait_for(lambda: (lambda it: it if it["state"] == "alarm" else None)(agent.receiver("primary")), "an alarm")
    assert "system identifier" in row["error"]["message"]
    started = time.monotonic()
    result = agent.cli("backup", "primary", "--fast-checkpoint")
    assert result.code == 7 and "system identifier" in result.err, result
    assert time.monotonic() - started < 10
    assert len(agent.json("list", "primary")["servers"][0]["backups"]) == 1
    agent.ok("verify", "primary")
    stranger.stop("fast")
    cluster.start()
    agent.wait_streaming("primary")
