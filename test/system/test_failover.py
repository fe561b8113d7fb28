"""Several hosts: the primary is found, a promotion is followed, and no wrong server is ever taken for the right one."""

import threading
import time

import psycopg2
import pytest

from harness.restored import restore, start_restored
from harness.scratch import wait_for
from harness.standby import follow, make_standby
from harness.waldump import assert_wal_reads


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def add_hosts(agent, *clusters, **settings):
    agent.add_server("primary", clusters[0], host=", ".join("localhost" for _ in clusters),
                     port=", ".join(str(cluster.port) for cluster in clusters), **settings)
    return agent


def wait_source(agent, cluster, seconds=30, timeline=None):
    """Until the stream comes from that cluster."""
    def row():
        it = agent.receiver("primary")
        is_there = it["state"] == "streaming" and it["port"] == cluster.port and timeline in (None, it["timeline"])
        return it if is_there else None
    return wait_for(row, lambda: f"streaming from port {cluster.port}; {agent.receiver('primary')}\n{agent.log_text()[-3000:]}", seconds)


class Load:
    """One client that inserts rows one by one and notes those that were acknowledged, and by whom."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.acknowledged = []  # (number, port)
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        number = 0
        connection = cluster = None
        while not self.ends.is_set():
            number += 1
            try:
                if connection is None or cluster is not self.cluster:
                    cluster = self.cluster
                    connection = cluster.connect()
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO rows VALUES (%s, repeat('x', 500))", (number,))
                self.acknowledged.append((number, cluster.port))
            except psycopg2.Error:
                connection = None
                time.sleep(0.05)

    def count(self, cluster):
        return sum(1 for _, port in list(self.acknowledged) if port == cluster.port)

    def stop(self):
        self.ends.set()
        self.thread.join(30)


def numbers(cluster):
    return {row[0] for row in cluster.rows("SELECT n FROM rows")}


def test_a_promotion_under_load_is_followed_and_every_row_comes_back(make_agent, cluster, make_cluster, folder, pki):
    cluster.sql("CREATE TABLE rows (n int, t text)")
    standby = make_standby(make_cluster, cluster, "standby")
    agent = add_hosts(make_agent(), standby, cluster).start()
    row = wait_source(agent, cluster)  # the second of the list: the first is a standby
    assert row["in_recovery"] is False and row["host"] == "localhost"
    assert [host["in_use"] for host in row["hosts"]] == [False, True]
    backup = agent.backup("primary")
    assert not backup["from_standby"]
    load = Load(cluster)
    try:
        wait_for(lambda: load.count(cluster) >= 50, "rows on the old primary")
        before = [number for number, _ in list(load.acknowledged)]
        moment = cluster.sql("SELECT now()::text")
        wait_for(lambda: load.count(cluster) >= 100, "more rows on the old primary")
        cluster.stop("immediate")
        standby.promote()
        started = time.monotonic()
        load.cluster = standby
        wait_source(agent, standby, 10, timeline=2)
        print(f"followed {time.monotonic() - started:.1f} s after the promotion")
        wait_for(lambda: load.count(standby) >= 100, "rows on the new primary")
    finally:
        load.stop()
    assert standby.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pgcoffer' AND active") == 1
    assert standby.sql("SELECT count(*) FROM pg_replication_slots") == 1, "a temporary slot was left"
    agent.wait_flushed("primary", lsn(standby))
    expected = numbers(standby)
    assert expected >= {number for number, port in load.acknowledged if port == standby.port}
    standby.stop("immediate")
    restore(agent, folder / "target")
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert numbers(copy) == expected
    copy.close()
    restore(agent, folder / "moment", "--target-time", moment)
    copy = start_restored(folder / "old", pki, folder / "moment", settings=("recovery_target_action = 'promote'",))
    found = numbers(copy)
    assert found >= set(before) - {before[-1]} and not found & {n for n, port in load.acknowledged if port == standby.port}
    copy.close()


def test_an_old_primary_that_comes_back_is_not_used_and_nothing_is_changed(make_agent, cluster, make_cluster, folder):
    cluster.sql("CREATE TABLE rows (n int)")
    standby = make_standby(make_cluster, cluster, "standby")
    agent = add_hosts(make_agent(), cluster, standby).start()
    wait_source(agent, cluster)
    cluster.stop("fast")
    standby.promote()
    wait_source(agent, standby, timeline=2)
    standby.sql("INSERT INTO rows VALUES (1)")
    agent.wait_flushed("primary", lsn(standby))
    cluster.start()
    cluster.sql("INSERT INTO rows SELECT generate_series(1, 1000)")  # on timeline 1, which nobody wants any more
    warning = wait_for(lambda: agent.receiver("primary")["warning"], "the old primary is told")
    assert f"port {cluster.port}" in warning["message"] and "timeline 1" in warning["message"], warning
    held = {path: path.read_bytes() for path in agent.system_folder("primary").glob("wal/00000001/*/*")}
    agent.stop()
    agent.start()  # now nobody remembers which one was good
    row = wait_source(agent, standby, timeline=2)
    old = row["hosts"][0]
    assert not old["in_use"] and "timeline 1" in old["problem"], row
    assert "host localhost port" in agent.log_text() and "is not used" in agent.log_text()
    standby.sql("INSERT INTO rows VALUES (2)")
    agent.wait_flushed("primary", lsn(standby))
    for path, content in held.items():
        assert path.read_bytes() == content, f"{path} was changed"
    backup = agent.backup("primary")
    assert backup["start_timeline"] == 2
    standby.stop("fast")
    row = wait_for(lambda: (lambda it: it if it["state"] == "alarm" else None)(agent.receiver("primary")), "an alarm")
    for cluster_of_list in (cluster, standby):
        assert f"port {cluster_of_list.port}" in row["error"]["message"], row
    standby.start()
    wait_source(agent, standby, timeline=2)
    assert agent.json("wal", "status", "primary")["gaps"] == []


def test_another_cluster_in_the_list_is_named_and_left_alone(make_agent, cluster, make_cluster):
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    stranger = make_cluster("stranger", is_stranger=True).start().create_role()
    add_hosts(agent, stranger, cluster)
    agent.ok("reload")
    row = wait_for(lambda: (lambda it: it if it["state"] == "streaming" and it["hosts"] else None)(agent.receiver("primary")),
                   "streaming with both in the list")
    assert row["port"] == cluster.port and "system identifier" in row["hosts"][0]["problem"], row
    assert "system identifier" in row["warning"]["message"] and f"port {stranger.port}" in row["warning"]["message"], row
    assert stranger.sql("SELECT count(*) FROM pg_replication_slots") == 0
    assert agent.backup("primary")["state"] == "complete"
    told = agent.cli("check", "primary", "--json", "--only", "repository.cluster,replication.login,server.connect")
    failed = [check for check in told.json["checks"] if check["state"] == "fail"]
    assert told.code == 1 and [check["id"] for check in failed] == ["repository.cluster"], told
    assert failed[0]["port"] == stranger.port and "system identifier" in failed[0]["cause"]
    cluster.sql("CREATE TABLE t (n int)")
    agent.wait_flushed("primary", lsn(cluster))
    cluster.stop("fast")
    row = wait_for(lambda: (lambda it: it if it["state"] == "alarm" else None)(agent.receiver("primary")), "an alarm")
    assert "system identifier" in row["error"]["message"] and f"port {cluster.port}" in row["error"]["message"], row
    result = agent.cli("backup", "primary", "--fast-checkpoint")
    assert result.code == 7 and "system" in result.err, result
    cluster.start()
    wait_source(agent, cluster)


def test_one_server_by_two_names_is_no_second_primary(make_agent, cluster):
    """host = vip, db1, db2: whoever streams by the first name finds the second one a primary too."""
    agent = make_agent().add_server("primary", cluster, host="localhost, 127.0.0.1", port=f"{cluster.port}, {cluster.port}")
    agent.start()
    wait_for(lambda: (agent.receiver("primary")["hosts"] or [{}, {}])[1].get("role") == "primary", "the other name is looked at")
    row = agent.receiver("primary")
    assert row["warning"] is None and row["hosts"][1]["problem"] is None, row
    slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name <> 'pgcoffer'"
    wait_for(lambda: cluster.sql(slots) == 0, "what it was asked with is gone")


def test_another_cluster_of_a_higher_version_does_not_take_over_while_the_right_one_is_down(make_agent, make_cluster):
    """Only when all hosts of the list tell of the new one it is an upgrade."""
    cluster = make_cluster(version=14).start().create_role()
    stranger = make_cluster("stranger", is_stranger=True).start().create_role()
    agent = add_hosts(make_agent(), cluster, stranger).start()
    wait_source(agent, cluster)
    stored = agent.system_folder("primary").parent / "server.json"
    before = stored.read_text()
    cluster.stop("fast")
    row = wait_for(lambda: (lambda it: it if it["state"] == "alarm" else None)(agent.receiver("primary")), "an alarm")
    for words in (f"port {cluster.port}", f"port {stranger.port}", "upgraded, or it is another cluster"):
        assert words in row["error"]["message"], row
    assert "pgcoffer reload" in row["error"]["hint"] and stored.read_text() == before
    cluster.start()
    wait_source(agent, cluster)
    assert stored.read_text() == before
    cluster.stop("fast")
    agent.servers["primary"].update(host="localhost, 127.0.0.1", port=f"{stranger.port}, {stranger.port}")
    agent.write_configuration()
    agent.ok("reload")
    wait_source(agent, stranger)
    assert stored.read_text() != before


def test_check_finds_what_the_next_failover_would_stumble_over(make_agent, cluster, make_cluster):
    standby = make_standby(make_cluster, cluster, "standby")
    agent = add_hosts(make_agent(), standby, cluster).start()
    wait_source(agent, cluster)
    agent.backup("primary")
    sound = agent.cli("check", "primary", "--json")
    assert sound.code == 0, sound
    assert {check.get("port") for check in sound.json["checks"]} == {None, standby.port}
    (login,) = [check for check in sound.json["checks"] if check["id"] == "replication.login" and "port" not in check]
    assert login["state"] == "pass"
    standby.write("pg_hba.conf", "local all postgres trust\nlocal replication postgres trust\n")
    standby.reload()
    told = wait_for(lambda: (lambda it: it if it.code == 1 else None)(agent.cli("check", "primary", "--json")), "the fault is told")
    failed = [check for check in told.json["checks"] if check["state"] == "fail"]
    assert [check["id"] for check in failed] == ["hba.replication"], told
    assert failed[0]["host"] == "localhost" and failed[0]["port"] == standby.port
    table = agent.cli("check", "primary")
    assert f"hba.replication        localhost port {standby.port}: " in table.out, table
    line = agent.cli("check", "primary", "--nagios")
    assert line.code == 2 and f"hba.replication: localhost port {standby.port}: " in line.out, line
    standby.stop("fast")
    told = agent.cli("check", "primary", "--json")
    failed = [check for check in told.json["checks"] if check["state"] == "fail"]
    assert [(check["id"], check["port"]) for check in failed] == [("server.connect", standby.port)], told
    assert agent.receiver("primary")["state"] == "streaming"


@pytest.mark.long
def test_a_standby_is_streamed_from_without_a_primary_and_its_change_of_timeline_is_followed(make_agent, cluster,
                                                                                           make_cluster, folder):
    """The list has two standbys, one behind the other; the primary is none of it."""
    cluster.sql("CREATE TABLE rows (n int)")
    first = make_standby(make_cluster, cluster, "first")
    second = make_standby(make_cluster, cluster, "second", upstream=first)
    agent = add_hosts(make_agent(), second).start()
    agent.wait_streaming("primary")
    agent.servers["primary"].update(host="localhost, localhost", port=f"{second.port}, {first.port}")
    agent.write_configuration()
    agent.ok("reload")
    row = wait_for(lambda: (lambda it: it if it["state"] == "streaming" and it["hosts"] else None)(agent.receiver("primary")),
                   "streaming from one of two standbys")
    assert row["in_recovery"] is True
    cluster.sql("INSERT INTO rows VALUES (1)")
    agent.wait_flushed("primary", lsn(cluster))
    cluster.stop("fast")
    first.promote()
    wait_source(agent, first, timeline=2)
    first.sql("INSERT INTO rows VALUES (2)")
    agent.wait_flushed("primary", lsn(first))
    first.sql("SELECT pg_switch_wal()")
    first.sql("INSERT INTO rows VALUES (3)")
    agent.wait_flushed("primary", lsn(first))
    names = second.rows("SELECT slot_name FROM pg_replication_slots WHERE slot_name <> 'pgcoffer'")
    assert names == [], f"left behind on a standby: {names}"
    assert_wal_reads(agent, "primary", folder / "wal", timeline=2, end=lsn(first))


@pytest.mark.long
def test_the_only_host_may_be_a_standby_whose_timeline_changes(make_agent, cluster, make_cluster):
    cluster.sql("CREATE TABLE rows (n int)")
    first = make_standby(make_cluster, cluster, "first")
    second = make_standby(make_cluster, cluster, "second", upstream=first)
    agent = make_agent().add_server("primary", second).start()
    row = agent.wait_streaming("primary")
    assert row["in_recovery"] is True and row["hosts"] is None and row["port"] == second.port
    cluster.stop("fast")
    first.promote()
    first.sql("INSERT INTO rows VALUES (2)")
    agent.wait_flushed("primary", lsn(first))
    assert agent.receiver("primary")["timeline"] == 2
    assert second.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pgcoffer' AND active") == 1


@pytest.mark.long
@pytest.mark.parametrize("version", [13, 18])
def test_the_primary_is_found_on_every_version(version, make_agent, make_cluster):
    cluster = make_cluster(version=version).start().create_role()
    cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on")  # which is no sign of a standby
    cluster.reload()
    standby = make_standby(make_cluster, cluster, "standby")
    agent = add_hosts(make_agent(), standby, cluster).start()
    assert wait_source(agent, cluster)["in_recovery"] is False
    cluster.stop("fast")
    assert wait_source(agent, standby)["in_recovery"] is True
    cluster.start()
    wait_source(agent, cluster)  # a primary is better than a standby
    cluster.stop("immediate")
    wait_source(agent, standby)
    standby.promote()
    assert wait_source(agent, standby, timeline=2)["in_recovery"] is False
    wait_for(lambda: standby.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pgcoffer' AND active") == 1,
             "the slot is on the new primary")
    # The old one comes back as a standby of the new one: the slot that was left there goes.
    follow(cluster, standby)
    cluster.start()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots") == 0, "the slot on the former primary is dropped")
    assert agent.receiver("primary")["port"] == standby.port
