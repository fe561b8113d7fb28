"""What can be restored, as list and status say it: every moment they claim is planned, none in a gap is, and what was proven and what room is taken stand beside it."""

import datetime
import json

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.scratch import make_folder, wait_for
from test_repository_format import crc32c

MICROSECOND = datetime.timedelta(microseconds=1)


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def insert(cluster, number):
    """When the row was committed, by the server's clock."""
    cluster.sql(f"INSERT INTO rows VALUES ({number})")
    return cluster.sql(f"SELECT pg_xact_commit_timestamp(xmin) FROM rows WHERE n = {number}")


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def flush(agent, cluster):
    cluster.sql("SELECT pg_switch_wal()")
    insert(cluster, 0)
    agent.wait_flushed("primary", lsn(cluster))


def restorable(agent, command="list"):
    (server,) = agent.json(command, "primary")["servers"]
    return server["restorable"] if command == "list" else server["survey"]["restorable"]


def is_planned(scene, time):
    done = scene.agent.cli("restore", "primary", "--target-time", time.isoformat(), "--target-directory",
                           scene.agent.folder / "planned", "--dry-run", "--json")
    assert done.code in (0, 2, 7), done
    return done.code == 0


class Scene:
    """Two backups, and a segment between them that is lost: what came behind row 2 and before the second cannot be reached."""

    def __init__(self, agent, cluster):
        self.agent, self.cluster = agent, cluster
        cluster.sql("CREATE TABLE rows (n int)")
        self.empty = agent.ok("status").out
        self.early = insert(cluster, 1)
        self.first = agent.backup("primary")["id"]
        self.reached = insert(cluster, 2)
        flush(agent, cluster)
        self.lost = insert(cluster, 3)
        name = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        flush(agent, cluster)
        self.second = agent.backup("primary")["id"]
        self.last = insert(cluster, 4)
        agent.wait_flushed("primary", lsn(cluster))
        self.whole = restorable(agent)
        agent.stop()
        for path in agent.system_folder("primary").glob(f"wal/00000001/????????/{name}*"):
            path.unlink()
        agent.start()
        agent.wait_streaming("primary")


@pytest.fixture(scope="module")
def scene(scratch, programs, pki):
    folder = make_folder(scratch / "windows")
    cluster = Cluster(folder / "server", pki, settings=("track_commit_timestamp = on", "wal_sender_timeout = '6s'", "autovacuum = off"))
    agent = Agent(folder / "agent", programs, pki)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster).start().wait_streaming("primary")
        yield Scene(agent, cluster)
    finally:
        agent.close()
        cluster.close()


def test_before_the_first_backup_nothing_can_be_restored(scene):
    assert "primary: nothing can be restored: there is no complete backup" in scene.empty
    assert "never proven by a drill" in scene.empty and "no backup was ever verified" in scene.empty


def test_without_a_gap_it_is_one_window(scene):
    (window,) = scene.whole["windows"]
    assert scene.whole["gaps"] == [] and (window["backup"], window["last_backup"]) == (scene.first, scene.second)
    assert window["open"] and scene.early < moment(window["from"]) < scene.lost < moment(window["until"])


def test_a_gap_is_named_with_its_times_and_no_moment_in_it_is_planned_while_all_that_are_claimed_are(scene):
    told = restorable(scene.agent)
    first, second = told["windows"]
    (gap,) = told["gaps"]
    assert (first["backup"], second["backup"]) == (scene.first, scene.second)
    assert (gap["from"], gap["until"]) == (first["until"], second["from"]) and gap["wal"]["segments"] == 1
    assert moment(gap["from"]) < scene.lost < moment(gap["until"]) and "WAL is missing from" in gap["words"]
    assert moment(first["from"]) <= scene.reached <= moment(first["until"])
    assert scene.last <= moment(second["until"])
    assert not first["open"] and second["open"]

    for window in (first, second):
        begin, end = moment(window["from"]), moment(window["until"])
        for time in (begin, begin + (end - begin) / 2, end):
            assert is_planned(scene, time), (time, told)
        assert not is_planned(scene, begin - MICROSECOND), told
    for time in (moment(first["until"]) + MICROSECOND, scene.lost, moment(second["from"]) - MICROSECOND, scene.early):
        assert not is_planned(scene, time), (time, told)

    line = next(line for line in scene.agent.ok("list").out.splitlines() if line.startswith("primary: every moment"))
    assert f"from {first['from']} to " in line and f"after {gap['from']} and before {gap['until']} (WAL is missing" in line


def test_status_says_the_same_and_the_newer_end_moves_without_a_new_look(scene):
    wait_for(lambda: len(restorable(scene.agent, "status")["windows"]) == 2, "the gap is in status")
    first_told = {}

    def moved():
        (now,) = scene.agent.json("status")["servers"]
        until = moment(now["survey"]["restorable"]["windows"][-1]["until"])
        return until if until > first_told.setdefault(now["survey"]["at"], until) else None
    assert is_planned(scene, wait_for(moved, "the end moves", 90))
    assert "every moment from" in scene.agent.ok("status").out


def test_status_tells_what_is_stored_and_what_was_proven(scene):
    def survey():
        return scene.agent.json("status")["servers"][0]["survey"]
    room = survey()["room"]
    assert room["disk"] == scene.agent.json("status")["servers"][0]["receiver"]["room"]["disk"]
    folder = scene.agent.system_folder("primary")
    wal = sum(path.stat().st_size for path in folder.glob("wal/*/*/*") if path.suffix != ".json")
    assert room["backups"] == 2 and room["backup_bytes"] > 1_000_000 and room["segments"] > 2
    assert room["wal_bytes"] > wal / 2 and room["free"] > 0 and room["days_until_full"] is None
    assert moment(room["wal_since"]) < moment(survey()["at"])
    assert survey()["proofs"]["verify"] is None
    assert survey()["backups"]["count"] == 2 and [row["verified"] for row in survey()["backups"]["newest"]] == [None, None]
    scene.agent.ok("pin", "primary", scene.first)
    scene.agent.cli("verify", "primary", scene.second)  # which tells the gap, too
    verified = survey()["proofs"]
    assert verified["verify"]["good"] and verified["verify"]["backup"] == scene.second and verified["failed_count"] == 0
    (archive,) = folder.glob(f"backup/{scene.first}/base.tar.zst")
    with open(archive, "r+b") as file:
        file.seek(archive.stat().st_size // 2)
        file.write(b"broken")
    assert scene.agent.cli("verify", "primary", scene.first).code == 7
    assert survey()["proofs"]["failed"] == [scene.first]
    assert not survey()["proofs"]["verify"]["good"] and survey()["proofs"]["verify_success"]["backup"] == scene.second
    assert survey()["backups"]["last_success"]["id"] == scene.second and survey()["backups"]["states"]["complete"] == 2
    assert [(row["id"], row["state"], row["pinned"], row["verified"], row["drilled"]) for row in survey()["backups"]["newest"]] == [
        (scene.first, "complete", True, False, None), (scene.second, "complete", False, True, None)]
    scene.agent.ok("unpin", "primary", scene.first)
    assert "1 BACKUP FOUND DAMAGED BY VERIFY: " + scene.first in scene.agent.ok("status").out


def test_a_drill_proves_the_present_cluster_alone_and_one_that_cannot_be_read_is_not_called_none(scene):
    path = scene.agent.system_folder("primary").parent / "drill.json"

    def told(system, good):
        noted = {"format": 1, "backup": scene.second, "system_identifier": system, "at": "2026-11-22T01:30:00Z", "good": good,
                 "milliseconds": 1500, "words": "" if good else "torn", "phases": {}, "target": "", "rows": 0, "server_version": 0}
        line = {**noted, "checksum": bytes.fromhex(crc32c(spell(noted)))[::-1].hex()}
        path.write_bytes(spell(line) + b"\n")
        return look()

    def spell(noted):
        return json.dumps(noted, sort_keys=True, separators=(",", ":")).encode()

    def look():
        scene.agent.cli("annotate", "primary", scene.second, "looked=again")  # what is stored has changed
        return scene.agent.json("status")["servers"][0]["survey"]["proofs"], scene.agent.ok("status").out

    system = scene.agent.system_folder("primary").name
    proofs, words = told(system, True)
    assert proofs["drill_success"] == {"backup": scene.second, "at": "2026-11-22T01:30:00Z", "seconds": 1.5}
    assert proofs["drill"]["good"] and not proofs["drill_former"] and "primary: proven by a drill at 2026" in words
    proofs, words = told("1" + system[1:][::-1], True)
    assert proofs["drill_success"] is None
    assert proofs["drill_former"] and f"primary: never proven by a drill (pgcoffer drill primary): the last one, at 2026-11-22T01:30:00Z, was with backup {scene.second} of the cluster that it was before" in words
    proofs, words = told("1" + system[1:][::-1], False)
    assert f"THE LAST PROOF FAILED: drill at 2026-11-22T01:30:00Z with backup {scene.second} of the cluster that it was before: torn" in words
    path.write_text("{}")
    proofs, words = look()
    assert proofs["drill"] is None and "drill.json" in proofs["unreadable"] and "never proven" not in words
    assert "primary: whether it was proven by a drill cannot be told" in words and "warning: not every proof can be read" in words
    path.unlink()
    assert "primary: never proven by a drill (pgcoffer drill primary)" in look()[1]
