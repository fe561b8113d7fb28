"""The receiver when nothing happens, when the network forgets it, and when the disk takes its time."""

import os
import pathlib
import signal
import time

import pytest

from harness.agent import BUILD
from harness.cluster import PG_HBA
from harness.proxy import Proxy
from harness.scratch import give_to, wait_for

SHORT_TIMEOUT = "wal_sender_timeout = 1s"
TIMED_OUT = "terminating walsender process due to replication timeout"


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_flush_lsn()::text")


def ticks(pid):
    """Processor time of a process with all its threads."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def pss_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError(f"no Pss of {pid}")


def settle(agent, cluster):
    """Until all that the start brought with it is over."""
    agent.wait_streaming("primary")
    agent.wait_flushed("primary", lsn(cluster))
    pids = [agent.process.pid, *agent.worker_pids("receive")]

    def is_quiet():
        before = sum(map(ticks, pids))
        time.sleep(1)
        return sum(map(ticks, pids)) == before

    wait_for(is_quiet, "nothing is done any more", 60)
    return pids


def assert_idle(agent, cluster, seconds, most_ticks):
    pids = settle(agent, cluster)
    before = sum(map(ticks, pids))
    time.sleep(seconds)  # this is what is measured
    used = sum(map(ticks, pids)) - before
    assert used <= most_ticks, f"{used} ticks in {seconds} s"
    assert agent.receiver("primary")["state"] == "streaming" and agent.receiver("primary")["reconnects"] == 0


def test_an_idle_receiver_uses_no_processor_time(agent, cluster):
    assert_idle(agent, cluster, 4, 1)


@pytest.mark.long
def test_an_idle_receiver_uses_no_processor_time_for_a_minute(agent, cluster):
    assert_idle(agent, cluster, 60, 2)


# ---- a server that waits for a second only ----

@pytest.fixture
def impatient(make_cluster):
    return make_cluster(settings=(SHORT_TIMEOUT,)).start().create_role()


def assert_never_lost(agent, cluster):
    row = agent.receiver("primary")
    assert row["reconnects"] == 0 and row["error"] is None, f"{row}\n{agent.log_text()[-2000:]}"
    assert TIMED_OUT not in cluster.log_text()
    agent.wait_flushed("primary", lsn(cluster))


def test_a_server_that_waits_for_a_second_only_keeps_an_idle_receiver(make_agent, impatient):
    agent = make_agent().add_server("primary", impatient).start()
    agent.wait_streaming("primary")
    replied = impatient.sql("SELECT reply_time FROM pg_stat_replication")
    wait_for(lambda: (impatient.sql("SELECT reply_time FROM pg_stat_replication") - replied).total_seconds() > 2, "2 s pass")
    assert_never_lost(agent, impatient)


def test_compression_at_its_highest_level_never_stalls_a_reply(make_agent, make_cluster):
    cluster = make_cluster(segment_size_mb=16, settings=(SHORT_TIMEOUT,)).start().create_role()
    agent = make_agent().add_server("primary", cluster, compression_level=19).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE noise AS SELECT md5(n::text) AS t, n FROM generate_series(1, 100000) n")
    cluster.sql("SELECT pg_switch_wal()")
    cluster.sql("CREATE TABLE after_it (n int)")
    agent.wait_flushed("primary", lsn(cluster), 60)
    replied = cluster.sql("SELECT reply_time FROM pg_stat_replication")
    wait_for(lambda: (cluster.sql("SELECT reply_time FROM pg_stat_replication") - replied).total_seconds() > 1, "it works on")
    assert_never_lost(agent, cluster)


@pytest.fixture
def slow_agent(make_agent, folder):
    """A daemon whose fdatasync takes 7 s while its `slow` file is there: longer than we let a server be silent."""
    agent = make_agent()
    agent.slow = folder / "slow"
    agent.environment = {"LD_PRELOAD": str(BUILD / "preload" / "slow_disk.so"), "SLOW_DISK_WHILE": str(agent.slow),
                         "SLOW_DISK_MILLISECONDS": "7000",
                         "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    return agent


def test_a_disk_slower_than_the_server_is_patient_loses_no_connection(slow_agent, impatient):
    agent = slow_agent.add_server("primary", impatient, synchronous="yes").start()
    agent.wait_streaming("primary")
    impatient.sql("CREATE TABLE rows (n int)")
    impatient.configure("synchronous_standby_names = 'pgcoffer'")
    impatient.reload()
    wait_for(lambda: impatient.sql("SELECT sync_state FROM pg_stat_replication") == "sync", "waited for")
    agent.slow.touch()
    give_to(agent.slow)
    started = time.monotonic()
    impatient.sql("INSERT INTO rows VALUES (1)")
    took = time.monotonic() - started
    agent.slow.unlink()
    assert took > 6, f"acknowledged after {took:.1f} s, before it was durable"
    assert_never_lost(agent, impatient)


# ---- a network that forgets, a server that falls silent ----

def flushed_again(agent, cluster):
    agent.wait_streaming("primary", 60)
    cluster.sql("CREATE TABLE IF NOT EXISTS again (n int); INSERT INTO again VALUES (1)")
    agent.wait_flushed("primary", lsn(cluster), 60)


def test_a_connection_that_is_half_open_is_noticed_and_made_anew(make_agent, impatient):
    proxy = Proxy(impatient.port)
    agent = make_agent().add_server("primary", impatient, port=proxy.port, connect_timeout=2).start()
    agent.wait_streaming("primary")
    proxy.fall_silent()
    row = wait_for(lambda: (lambda it: it if it["error"] else None)(agent.receiver("primary")), "the silence is noticed", 40)
    assert "silent for" in row["error"]["message"], row["error"]
    wait_for(lambda: TIMED_OUT in impatient.log_text(), "the server has noticed too")
    proxy.speak()
    flushed_again(agent, impatient)
    assert agent.receiver("primary")["reconnects"] == 1


def test_a_wal_sender_that_hangs_is_left_and_its_slot_waited_for(make_agent, impatient):
    agent = make_agent().add_server("primary", impatient).start()
    agent.wait_streaming("primary")
    sender = impatient.sql("SELECT active_pid FROM pg_replication_slots")
    os.kill(sender, signal.SIGSTOP)
    try:
        row = wait_for(lambda: (lambda it: it if it["error"] and "active" in it["error"]["message"] else None)(
            agent.receiver("primary")), f"the slot is held; {agent.receiver('primary')}", 40)
        assert str(sender) in row["error"]["message"], row["error"]
    finally:
        os.kill(sender, signal.SIGCONT)
    flushed_again(agent, impatient)


@pytest.mark.long
def test_a_server_that_falls_silent_after_the_login_is_left(make_agent, make_cluster):
    cluster = make_cluster(hba=PG_HBA + "hostnossl replication repl 127.0.0.1/32 trust\n").start().create_role()
    proxy = Proxy(cluster.port)
    proxy.silent_after = b"Z\x00\x00\x00\x05I"
    agent = make_agent().add_server("primary", cluster, port=proxy.port, host="127.0.0.1", connect_timeout=2,
                                    tls_mode="disable", allow_insecure="yes").start()
    row = wait_for(lambda: (lambda it: it if it["error"] else None)(agent.receiver("primary")), "it is left", 60)
    assert "timed out" in row["error"]["message"], row["error"]
    proxy.silent_after = None
    flushed_again(agent, cluster)


# ---- many ----

@pytest.mark.long
def test_a_hundred_receivers_stay_small_and_all_advance(make_agent, make_cluster):
    count, most_kb = 100, 8 * 1024
    cluster = make_cluster(segment_size_mb=16, settings=(f"max_wal_senders = {count + 10}",
                                                         f"max_replication_slots = {count + 10}")).start().create_role()
    agent = make_agent()
    for number in range(count):
        agent.servers[f"s{number}"] = {}
        agent.add_server(f"s{number}", cluster, wal_slot=f"s{number}", application_name=f"receiver {number}")
    agent.start()
    streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'receiver %'"
    wait_for(lambda: cluster.sql(streaming) == count, "all stream", 300, 0.5)
    largest = 0

    def all_flushed(end):
        nonlocal largest
        largest = max(largest, *map(pss_kb, agent.worker_pids("receive")))
        behind = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn IS NULL OR flush_lsn < %s"
        return cluster.sql(behind, end) == 0

    for turn in range(2):
        cluster.sql("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t SELECT generate_series(1, 20000)")
        cluster.sql("SELECT pg_switch_wal()")
        cluster.sql("INSERT INTO t VALUES (1)")
        end = lsn(cluster)
        wait_for(lambda: all_flushed(end), "all have received everything", 600, 0.5)
    assert largest <= most_kb, f"{largest} kB"
    rows = agent.json("status")["servers"]
    assert len(rows) == count and all(row["receiver"]["state"] == "streaming" for row in rows)
    print(f"largest PSS {largest} kB")
