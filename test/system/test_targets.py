"""What a recovery can be told to stop at is known before anything is written: by PostgreSQL's own word."""

import datetime
import json
import os
import re
import subprocess

import pytest

from harness.agent import Agent, lsn_number
from harness.cluster import PSQL_BIN, Cluster
from harness.restored import restore, start_restored
from harness.scratch import as_user, make_folder, wait_for
from harness.standby import make_standby
from harness.waldump import unpack


def moment(text):
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d+)?(Z|\+00)$", lambda it: f"{(it[1] or '.')[:7]:0<7}+00:00", text))


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def clock(cluster):
    return cluster.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')") + "+00"


def add_row(cluster, number):
    """In a transaction of its own; gives its id and commit time."""
    (xid, _), = cluster.rows("WITH added AS (INSERT INTO rows VALUES (%s) RETURNING 1)"
                             " SELECT txid_current()::text, count(*) FROM added", number)
    return xid, cluster.sql("SELECT to_char(pg_xact_commit_timestamp(%s::text::xid) AT TIME ZONE 'UTC',"
                                 " 'YYYY-MM-DD HH24:MI:SS.US')", xid) + "+00"


def prepare(cluster, number, name):
    """As add_row(), in two phases, with more subtransactions and dropped tables than 8 kB of a record tell."""
    connection = cluster.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("SELECT txid_current()::text")
        (xid,) = cursor.fetchone()
        cursor.execute("INSERT INTO rows VALUES (%s)", (number,))
        cursor.execute("DO $$ BEGIN FOR i IN 1..2500 LOOP BEGIN INSERT INTO aside VALUES (i);"
                       " EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$")
        cursor.execute(f"DROP TABLE dropped_by_{name}; CREATE TABLE made_by_{name} (n int)")
        cursor.execute(f"PREPARE TRANSACTION '{name}'")
    connection.close()
    return xid


class Scene:
    """Three backups, with something to stop at before, between and behind them."""

    def __init__(self, agent, cluster):
        self.agent, self.cluster = agent, cluster
        cluster.sql("CREATE TABLE aside (n int)")
        cluster.sql("CREATE TABLE dropped_by_two (n int)")
        cluster.sql("CREATE TABLE rows (n int)")
        self.too_early = clock(cluster)
        self.early_xid, _ = add_row(cluster, 1)
        cluster.sql("SELECT pg_create_restore_point('too early')")
        self.first = agent.backup("primary")["id"]
        self.second_row = add_row(cluster, 2)
        cluster.sql("SELECT pg_create_restore_point('after two')")
        self.second = agent.backup("primary")["id"]
        self.prepared_xid = prepare(cluster, 3, "two")
        add_row(cluster, 4)
        cluster.sql("COMMIT PREPARED 'two'")
        cluster.sql("SELECT pg_create_restore_point('again')")
        self.third = agent.backup("primary")["id"]
        self.before_five = clock(cluster)
        self.fifth_row = add_row(cluster, 5)
        cluster.sql("SELECT pg_create_restore_point('again')")
        self.last_row = add_row(cluster, 6)
        self.end = lsn(cluster)
        agent.wait_flushed("primary", self.end)
        self.idle = clock(cluster)

    def plan(self, *words, code=0):
        return restore(self.agent, "/nonexistent/target", *words, "--dry-run", code=code) if code else \
            restore(self.agent, self.agent.folder / "planned", *words, "--dry-run").json


@pytest.fixture(scope="module")
def scene(scratch, pki, programs):
    """One for all tests; the last of them adds a row."""
    folder = make_folder(scratch / "targets", 0o1777)
    cluster = Cluster(folder / "server", pki, settings=("max_prepared_transactions = 10", "track_commit_timestamp = on",
                                                        "wal_sender_timeout = '6s'", "autovacuum = off"))
    agent = Agent(folder / "agent", programs, pki)
    try:
        agent.add_server("primary", cluster.start().create_role()).start()
        agent.wait_streaming("primary")
        yield Scene(agent, cluster)
    finally:
        agent.close()
        cluster.close()


@pytest.fixture
def replay(scene, folder, pki):
    """replay(name, words...) restores, starts PostgreSQL and gives the rows it has."""
    started = []

    def run(name, *words):
        result = restore(scene.agent, folder / name, *words, "--target-action", "promote").json
        copy = start_restored(folder / f"started-{name}", pki, folder / name)
        started.append(copy)
        rows = [row for (row,) in copy.rows("SELECT n FROM rows ORDER BY n")]
        copy.close()
        return result, rows, copy.log_text()

    yield run
    for copy in started:
        copy.close()


def test_the_right_backup_is_chosen_and_what_cannot_be_reached_is_refused_before_anything_is_written(scene):
    rows = ((("--target-xid", scene.second_row[0]), scene.first, scene.second_row[1]),
            (("--target-name", "after two"), scene.first, None),
            (("--target-time", scene.second_row[1], "--target-exclusive"), scene.first, scene.second_row[1]),
            (("--target-xid", scene.prepared_xid), scene.second, None),
            (("--target-xid", scene.fifth_row[0]), scene.third, scene.fifth_row[1]),
            (("--target-time", scene.before_five), scene.third, scene.fifth_row[1]),
            (("--target-name", "again"), scene.third, None))
    for words, backup, at in rows:
        plan = scene.plan(*words)
        assert (plan["backup"], plan["replay_to"]) == (backup, None), (words, plan)
        assert at is None or moment(plan["stop"]["at"]) == moment(at), (words, plan)
        assert plan["stop"]["timeline"] == 1 and lsn_number(plan["stop"]["lsn"]) < lsn_number(scene.end)
    assert any("there are 2 of restore point again" in text for text in scene.plan("--target-name", "again")["warnings"])
    assert scene.plan("--target-xid", str((7 << 32) + int(scene.fifth_row[0])))["stop"]["at"] is not None

    for words, message in (
            (("--target-xid", "4000000"), "transaction 4000000 did not end"),
            (("--target-xid", scene.early_xid), f"transaction {scene.early_xid} did not end"),
            (("--target-name", "after tow"), "There are: after two, again."),
            (("--target-name", "too early"), "There are: again, after two."),
            (("--target-time", scene.too_early), f"The oldest one, {scene.first}, ended at"),
            (("--target-time", "2099-01-01 00:00:00+00"), "The last transaction in it ended at"),
            ((scene.third, "--target-xid", scene.second_row[0]), "did not end"),
            ((scene.second, "--target-time", scene.second_row[1]), "Leave out the backup")):
        refused = scene.agent.cli("restore", "primary", *words, "--target-directory", scene.agent.folder / "refused")
        assert refused.code == 2 and message in refused.err, (words, refused)
    assert not (scene.agent.folder / "refused").exists()


def test_postgresql_stops_where_the_plan_says(scene, replay):
    between = replay("between", "--target-time", scene.second_row[1])
    assert between[0]["backup"] == scene.first and between[1] == [1, 2]
    prepared = replay("prepared", "--target-xid", scene.prepared_xid)
    assert prepared[1] == [1, 2, 3, 4]
    assert "recovery stopping after commit of transaction " + scene.prepared_xid in prepared[2]
    assert replay("exclusive", "--target-xid", scene.prepared_xid, "--target-exclusive")[1] == [1, 2, 4]
    named = replay("named", scene.second, "--target-name", "again")
    assert named[0]["backup"] == scene.second and named[1] == [1, 2, 3, 4]


def test_an_idle_server_moves_the_end_of_what_can_be_reached(scene, folder):
    """No transaction, no WAL: that it came so far is known by what the server says in between."""
    words = ("restore", "primary", "--target-directory", folder / "plan", "--target-time", scene.idle, "--dry-run", "--json")
    plan = wait_for(lambda: (lambda done: done.json if done.code == 0 else None)(scene.agent.cli(*words)), "the moment counts")
    assert plan["stop"] is None and plan["replay_to"] and plan["backup"] == scene.third
    (stretch,) = scene.agent.json("wal", "status", "primary")["moments"]
    (server,) = scene.agent.json("list", "primary")["servers"]
    assert [moment["backup"] for moment in server["moments"]] == [stretch["backup"]] == [scene.first]
    assert moment(stretch["last_commit_at"]) == moment(scene.last_row[1]) < moment(scene.idle) <= moment(stretch["until"])
    assert "every moment from" in scene.agent.ok("list", "primary").out
    assert "can be restored" in scene.agent.ok("wal", "status", "primary").out


def test_a_time_behind_the_last_transaction_gives_everything_up_to_then_and_nothing_that_came_later(scene, folder, pki):
    result = restore(scene.agent, folder / "all", "--target-time", scene.last_row[1], "--target-action", "promote").json
    assert result["stop"] is None and result["replay_to"] is not None
    assert any("no transaction ended after" in text for text in result["warnings"])
    settings = (folder / "all" / "postgresql.auto.conf").read_text()
    assert "recovery_target_lsn" in settings and not re.search("recovery_target_time = '.+'", settings)
    add_row(scene.cluster, 7)
    scene.agent.wait_flushed("primary", lsn(scene.cluster))
    copy = start_restored(folder / "started", pki, folder / "all")
    try:
        assert [row for (row,) in copy.rows("SELECT n FROM rows ORDER BY n")] == [1, 2, 3, 4, 5, 6]
        assert "recovery stopping after WAL location" in copy.log_text()
    finally:
        copy.close()


def complete(agent, timeline):
    path = agent.system_folder("primary") / "wal" / f"{timeline:08X}" / "complete.json"
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("version", [13, 15])
def test_neither_a_standby_nor_the_time_of_receipt_tells_up_to_when_the_wal_is_complete(
        version, make_cluster, make_agent, folder):
    cluster = make_cluster(version=version, settings=("wal_sender_timeout = '6s'", "autovacuum = off")).start().create_role()
    standby = make_standby(make_cluster, cluster, "standby")
    standby.sql("SELECT 1")
    agent = make_agent().add_server("primary", standby).start()
    agent.wait_streaming("primary")
    agent.backup("primary")
    cluster.sql("CREATE TABLE rows (n int)")
    agent.wait_flushed("primary", lsn(cluster))
    cluster.stop()
    alone = clock(standby)
    wait_for(lambda: standby.sql("SELECT bool_or(reply_time > %s::timestamptz + interval '3 s') FROM pg_stat_replication",
                                 alone), "the standby was asked for a while")
    for path in agent.system_folder("primary").glob("wal/*/*/*"):
        os.utime(path)
    words = ("restore", "primary", "--target-directory", folder / "plan", "--dry-run", "--json", "--target-time")
    refused = agent.cli(*words, alone)
    assert refused.code == 2 and "is known to be complete until" in refused.err, refused
    latest = re.search('--target-time "([^"]+)" is the latest', refused.err)[1]
    assert agent.json(*words[:-2], words[-1], latest)["replay_to"]

    standby.promote()
    standby.wait_until_promoted()
    standby.sql("CREATE TABLE more (n int)")
    known = wait_for(lambda: (lambda note: note if note and moment(note["at"]) > moment(alone) else None)(complete(agent, 2)),
                     "the promoted standby is believed")
    assert complete(agent, 1) is None
    assert agent.json(*words[:-2], words[-1], known["at"])["timeline"] == 2


# ---- what is noted beside the segments, on every version ----


def make_records(cluster):
    """Transactions of every kind; gives their ids with their commit times, and the restore points."""
    ended = {}
    for name in ("one", "two"):
        cluster.sql(f"CREATE TABLE dropped_by_{name} (n int)")
    cluster.sql("CREATE TABLE aside (n int); CREATE TABLE rows (n int)")
    for number in range(20):
        xid, at = add_row(cluster, number)
        ended[xid] = at
    for name, end in (("one", "COMMIT"), ("two", "ROLLBACK")):
        xid = prepare(cluster, 100, name)
        cluster.sql(f"{end} PREPARED '{name}'")
        ended[xid] = cluster.sql("SELECT to_char(pg_xact_commit_timestamp(%s::text::xid) AT TIME ZONE 'UTC',"
                                 " 'YYYY-MM-DD HH24:MI:SS.US')", xid) if end == "COMMIT" else None
        if ended[xid]:
            ended[xid] += "+00"
    points = {name: cluster.sql("SELECT pg_create_restore_point(%s)::text", name) for name in ("a", "é 'quoted'", "z" * 63)}
    return ended, points


def notes(agent):
    return [json.loads(path.read_text()) for path in sorted(agent.system_folder("primary").glob("wal/*/*/*.contents.json"))]


def noted_segments(agent, cluster):
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    return wait_for(lambda: (lambda files, found: found if files and len(files) == len(found) else None)(
        list(agent.system_folder("primary").glob("wal/*/*/*[0-9A-F].zst")) +
        [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""], notes(agent)),
        "every finished segment is noted")


@pytest.mark.parametrize("version", [13, 15, 18, *(pytest.param(version, marks=pytest.mark.long) for version in (14, 16, 17))])
def test_what_segments_hold_is_noted_as_the_server_tells_it(version, make_cluster, make_agent, folder):
    cluster = make_cluster(version=version, settings=("max_prepared_transactions = 10", "track_commit_timestamp = on",
                                                      f"wal_level = {'logical' if version % 2 else 'replica'}"))
    agent = make_agent().add_server("primary", cluster.start().create_role()).start()
    agent.wait_streaming("primary")
    agent.backup("primary")
    ended, points = make_records(cluster)
    found = noted_segments(agent, cluster)

    assert {point["name"] for note in found for point in note["restore_points"]} == set(points)
    assert all(note["unread"] == 0 and note["more_restore_points"] is False for note in found)
    times = [moment(at) for at in ended.values() if at]
    assert max(moment(note["last_commit_at"]) for note in found if note["commits"]) >= max(times)
    for xid, at in [*list(ended.items())[:1], *list(ended.items())[-3:]]:
        stop = restore(agent, folder / "target", "--target-xid", xid, "--dry-run").json["stop"]
        assert at is None or moment(stop["at"]) == moment(at), (xid, stop)
    for name, end in points.items():
        stop = restore(agent, folder / "target", "--target-name", name, "--dry-run").json["stop"]
        assert 0 < lsn_number(end) - lsn_number(stop["lsn"]) < 200, (name, end, stop)
    agent.ok("verify", "primary", "--wal-only")
    listed = [row["contents"] for row in agent.json("wal", "list", "primary")["files"] if row.get("contents")]
    assert [row["commits"] for row in listed] == [note["commits"] for note in found]
    assert {point["name"] for row in listed for point in row["restore_points"]} == set(points)
    if version == 15:
        compare_with_pg_waldump(agent, folder, found)


def test_a_wrong_note_is_damage_and_misleads_nobody(make_cluster, make_agent, folder):
    cluster = make_cluster(settings=("track_commit_timestamp = on", "autovacuum = off")).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    agent.backup("primary")
    cluster.sql("CREATE TABLE rows (n int)")
    xid, at = add_row(cluster, 1)
    cluster.sql("SELECT pg_create_restore_point('here')")
    found = noted_segments(agent, cluster)
    (name,) = [note["segment"] for note in found if note["restore_points"]]
    (path,) = agent.system_folder("primary").glob(f"wal/*/*/{name}.contents.json")
    right = path.read_text()
    for wrong in (right.replace('"sha256":"', '"sha256":"0')[:-1], right.replace(right[:9], "{"), "not JSON"):
        path.write_text(wrong)
        assert restore(agent, folder / "plan", "--target-xid", xid, "--dry-run").json["segments_read"] > 0
        assert restore(agent, folder / "plan", "--target-name", "here", "--dry-run").json["stop"]
        assert f"{name}.contents.json" in agent.cli("verify", "primary", "--wal-only").err
    path.write_text(re.sub('"commits":\\d+', '"commits":12345', right))
    wrong = agent.cli("verify", "primary", "--wal-only")
    assert wrong.code == 7 and "its checksum is wrong" in wrong.out + wrong.err, wrong
    path.unlink()
    agent.ok("verify", "primary", "--wal-only")
    assert moment(restore(agent, folder / "plan", "--target-xid", xid, "--dry-run").json["stop"]["at"]) == moment(at)


def compare_with_pg_waldump(agent, folder, found):
    """The sums of all notes, and every end of a transaction by its own id."""
    unpack(agent, "primary", folder / "wal")
    names = [note["segment"] for note in found]
    done = subprocess.run(as_user([PSQL_BIN / "pg_waldump", "-p", folder / "wal", "-r", "Transaction", names[0], names[-1]]),
                          capture_output=True, text=True)
    ends = [(line.split("desc: ")[1].split()[0], moment(re.search(r"(\d{4}-\d\d-\d\d \S+) UTC", line)[1] + "+00"))
            for line in done.stdout.splitlines() if re.search("desc: (COMMIT|ABORT)", line)]
    assert len(ends) > 25, done.stderr
    for word, total in (("COMMIT", "commits"), ("ABORT", "aborts")):
        assert sum(note[total] for note in found) == sum(kind.startswith(word) for kind, _ in ends)
    assert min(moment(note["first_end_at"]) for note in found if "first_end_at" in note) == min(at for _, at in ends)
    assert max(moment(note["last_end_at"]) for note in found if "last_end_at" in note) == max(at for _, at in ends)
