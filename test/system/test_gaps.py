"""Gaps: WAL that the server has removed is recorded, told everywhere, never restored across, and filled when it turns up."""

import json

import pytest

from harness.agent import lsn_number
from harness.restored import restore, start_restored
from harness.scratch import give_to, wait_for
from harness.standby import make_standby


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def insert(cluster, first, last):
    cluster.sql(f"INSERT INTO rows SELECT generate_series({first}, {last})")


def move_on(cluster, segments=4, standby=None):
    """Segments that nobody keeps, until the server has removed the first of them; its name. A standby has them all before."""
    start = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    cluster.sql("CREATE TABLE IF NOT EXISTS filler (t text)")
    for _ in range(segments):
        cluster.sql("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 20)")
        cluster.sql("SELECT pg_switch_wal()")
    if standby:
        end = lsn_number(lsn(cluster))
        wait_for(lambda: lsn_number(standby.sql("SELECT pg_last_wal_receive_lsn()::text") or "0/0") >= end, "the standby follows")
    cluster.sql("CHECKPOINT")
    cluster.sql("CHECKPOINT")
    wait_for(lambda: not (cluster.data / "pg_wal" / start).exists(), f"{start} is removed")
    return start


def wait_compressed(agent, name):
    """The file of that segment, once it is as it will stay."""
    def look():
        (folder,) = agent.system_folder("primary").glob("wal/00000001/????????")
        return (folder / f"{name}.zst").exists() and not (folder / name).exists() and folder / f"{name}.zst"
    return wait_for(look, f"{name} is compressed")


def lose_wal(agent, cluster, segments=4):
    """The slot is dropped while nobody receives, and the server moves on."""
    agent.stop()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, "the slot is free")
    cluster.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    insert(cluster, 201, 300)
    move_on(cluster, segments)


def record(agent):
    return agent.system_folder("primary") / "wal" / "gaps.json"


def wait_gaps(agent, count=1):
    def look():
        gaps = agent.receiver("primary").get("gaps")
        return gaps if gaps and gaps["count"] == count and (count == 0 or gaps["newest"]["end"]) else None
    return wait_for(look, lambda: f"{count} gaps in status; {agent.receiver('primary')}; {agent.log_text()[-3000:]}")


@pytest.fixture
def lossy(agent, cluster):
    """Rows 1 to 100 in the backup, 101 to 200 behind it, 201 to 300 lost, 301 to 400 behind the gap."""
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    before = agent.backup("primary")
    insert(cluster, 101, 200)
    point = lsn(cluster)
    cluster.sql("SELECT pg_switch_wal()")
    insert(cluster, 1000, 1001)
    agent.wait_flushed("primary", lsn(cluster))
    lose_wal(agent, cluster)
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 301, 400)
    agent.wait_flushed("primary", lsn(cluster))
    wait_gaps(agent)
    return {"before": before["id"], "point": point}


def test_a_gap_is_told_by_every_command_and_no_restore_crosses_it(lossy, agent, cluster, folder, pki):
    status = agent.json("wal", "status", "primary")
    (gap,) = status["gaps"]
    assert gap["reason"] == "removed" and gap["segments"] >= 4 and gap["noticed_at"]
    assert "has already been removed" in gap["words"]
    assert lsn_number(gap["start"]) > lsn_number(lossy["point"])
    text = agent.ok("wal", "status", "primary").out
    assert "removed by the server" in text and gap["start"] in text and "WITH GAPS" in text
    assert agent.receiver("primary")["state"] == "streaming"
    assert agent.receiver("primary")["gaps"]["newest"]["start"] == gap["start"]
    assert "1 gap in the WAL" in agent.ok("status").out
    (backup,) = agent.json("list", "primary")["servers"][0]["backups"]
    assert backup["reach"]["lsn"] == gap["start"] and backup["reach"]["gap"]["reason"] == "removed"
    assert "(gap behind it)" in agent.ok("list", "primary").out
    assert agent.json("show", "primary", "latest")["reach"]["gap"]["start"] == gap["start"]
    check = agent.cli("check", "primary", "--only", "wal", "--json", "--passive")
    (row,) = [row for row in check.json["checks"] if row["id"] == "wal.continuity"]
    assert row["state"] == "fail" and "removed by the server" in row["cause"], row

    # Nothing is written for a target that lies behind it.
    target = folder / "target"
    for words in ((), ("--target-lsn", lsn(cluster)), ("--target-time", cluster.sql("SELECT now()::text"))):
        refused = agent.cli("restore", "primary", "--target-directory", target, *words)
        assert refused.code == 7 and "is missing from the archive" in refused.err, refused
        assert "removed by the server" in refused.err and not target.exists()
    hint = agent.cli("restore", "primary", "--target-directory", target).err
    assert "--target-lsn " in hint and "pgcoffer backup primary" in hint, hint
    everything = hint.split("--target-lsn ")[1].split()[0]

    # Before it everything is there: what the hint offers, and a moment of one's own.
    restore(agent, target, "--target-lsn", everything, "--target-action", "promote")
    copy = start_restored(folder / "copy", pki, target)
    assert copy.sql("SELECT count(*) FROM rows WHERE n <= 200") == 200
    assert copy.sql("SELECT count(*) FROM rows WHERE n BETWEEN 201 AND 999") == 0
    copy.close()
    restore(agent, folder / "second", "--target-lsn", lossy["point"], "--target-action", "promote")

    # PostgreSQL stops at a gap, it does not promote.
    lost = agent.cli("wal-get", "primary", gap["last_segment"], folder / "wal-file")
    assert lost.code == 207 and not (folder / "wal-file").exists(), lost

    # A new backup is whole, the old one told to be of no use for what is behind.
    after = agent.backup("primary")
    insert(cluster, 401, 500)
    agent.wait_flushed("primary", lsn(cluster))
    named = agent.cli("restore", "primary", lossy["before"], "--target-directory", folder / "third", "--target-lsn", lsn(cluster))
    assert named.code == 7 and after["id"] in named.err and not (folder / "third").exists(), named
    restore(agent, folder / "third")
    copy = start_restored(folder / "copy-third", pki, folder / "third")
    assert copy.sql("SELECT count(*) FROM rows WHERE n <= 500") == 500
    copy.close()
    check = agent.cli("check", "primary", "--only", "wal", "--json", "--passive")
    (row,) = [row for row in check.json["checks"] if row["id"] == "wal.continuity"]
    assert row["state"] != "fail", row
    assert agent.receiver("primary")["gaps"]["count"] == 1, "told for as long as it is there"


def test_a_gap_is_recorded_before_the_stream_goes_on(agent, cluster):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.wait_flushed("primary", lsn(cluster))
    agent.stop()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, "the slot is free")
    cluster.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    move_on(cluster)
    agent.start(wait=False)
    wait_for(lambda: record(agent).exists(), "the loss is recorded")
    agent.kill()
    (gap,) = json.loads(record(agent).read_text())["gaps"]
    assert gap["reason"] == "removed"
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 101, 200)
    agent.wait_flushed("primary", lsn(cluster))
    wait_gaps(agent)
    (known,) = agent.json("wal", "status", "primary")["gaps"]
    assert known["start"] == gap["start"] and known["noticed_at"] == gap["noticed_at"]


def test_of_a_gap_is_fetched_what_the_server_still_has(make_cluster, make_agent):
    cluster = make_cluster(settings=["wal_keep_size = '3MB'"]).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.wait_flushed("primary", lsn(cluster))
    lose_wal(agent, cluster, 10)
    oldest = cluster.sql("SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
    before = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    assert oldest < before
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 301, 400)
    agent.wait_flushed("primary", lsn(cluster))

    def look():
        gaps = agent.json("wal", "status", "primary")["gaps"]
        return len(gaps) == 1 and gaps[0]["last_segment"] < oldest and gaps
    (gap,) = wait_for(look, lambda: f"the gap ends before {oldest}; {agent.json('wal', 'status', 'primary')['gaps']}; {agent.log_text()[-3000:]}")
    assert gap["reason"] == "removed" and gap["segments"] >= 4
    agent.ok("verify", "primary", "--wal-only")


def test_a_gap_is_filled_from_another_host_that_still_has_it(make_cluster, make_agent, folder, pki):
    cluster = make_cluster(settings=["wal_keep_size = 0"]).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    backup = agent.backup("primary")
    restore(agent, folder / "standby", "--standby", "--target-timeline", "1")
    standby = start_standby(folder, pki, cluster)
    # From now on it needs no archive: without a daemon its restore_command would end it.
    wait_for(lambda: standby.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 1, "it streams")
    insert(cluster, 101, 200)
    agent.wait_flushed("primary", lsn(cluster))
    agent.stop()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = 'pgcoffer'") == 0,
             "the slot is free")
    cluster.sql("SELECT pg_drop_replication_slot('pgcoffer')")
    insert(cluster, 201, 300)
    move_on(cluster, standby=standby)
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 301, 400)
    agent.wait_flushed("primary", lsn(cluster))
    wait_gaps(agent)
    refused = agent.cli("restore", "primary", "--target-directory", folder / "refused")
    assert refused.code == 7, refused

    agent.servers["primary"].update(host="localhost, localhost", port=f"{cluster.port}, {standby.port}")
    agent.write_configuration()
    agent.ok("reload")
    wait_gaps(agent, 0)
    status = agent.json("wal", "status", "primary")
    assert status["gaps"] == [] and status["filled"][0]["reason"] == "removed", status
    agent.ok("verify", "primary")
    agent.wait_streaming("primary")
    agent.wait_flushed("primary", lsn(cluster))
    restore(agent, folder / "target", backup["id"])
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert copy.sql("SELECT count(*) FROM rows") == 400
    copy.close()
    assert standby.sql("SELECT count(*) FROM pg_replication_slots") == 0
    standby.close()


@pytest.mark.long
def test_a_host_that_was_promoted_elsewhere_does_not_fill_a_gap(make_agent, cluster, make_cluster):
    """Two standbys were promoted to timeline 2; the one that is not followed still has segments of the missing names."""
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    followed, other = (make_standby(make_cluster, cluster, name) for name in ("followed", "other"))
    other.configure("wal_keep_size = '1GB'")
    other.stop("fast")
    agent = make_agent().add_server("primary", followed).start()
    agent.wait_streaming("primary")
    insert(cluster, 101, 200)
    end = lsn_number(lsn(cluster))
    wait_for(lambda: lsn_number(followed.sql("SELECT pg_last_wal_replay_lsn()::text")) >= end, "the standby follows")
    cluster.stop("fast")
    other.start()
    for one in (followed, other):
        one.promote()
        one.wait_until_promoted()
    agent.wait_flushed("primary", lsn(followed))
    lose_wal(agent, followed)
    agent.start()
    agent.wait_streaming("primary")
    insert(followed, 301, 400)
    agent.wait_flushed("primary", lsn(followed))
    end = lsn_number(wait_gaps(agent)["newest"]["end"])
    other.sql("CREATE TABLE filler (t text)")
    while lsn_number(lsn(other)) < end + (2 << 20):
        other.sql("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 20)")
        other.sql("SELECT pg_switch_wal()")
    agent.servers["primary"].update(host="localhost, localhost", port=f"{followed.port}, {other.port}")
    agent.write_configuration()
    agent.ok("reload")
    wait_for(lambda: any("cannot be fetched yet" in line and "they forked elsewhere" in line for line in agent.log_text().splitlines()),
             lambda: agent.log_text()[-3000:])
    wait_gaps(agent)
    agent.ok("verify", "primary", "--wal-only")


def start_standby(folder, pki, cluster):
    """A standby that keeps all WAL it has received."""
    from harness.cluster import Cluster
    data = folder / "standby"
    standby = Cluster(folder / "standby-server", pki, data=data)
    standby.configure("wal_keep_size = '1GB'")
    standby.write("standby.signal", "")
    standby.start()
    return standby


def warn_before_it_is_lost(agent, cluster):
    """The limit is passed, and no checkpoint has come yet."""
    cluster.sql("CREATE TABLE IF NOT EXISTS filler (t text)")
    for _ in range(4):
        cluster.sql("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 20)")
        cluster.sql("SELECT pg_switch_wal()")
    assert cluster.sql("SELECT wal_status FROM pg_replication_slots") == "unreserved"
    check = agent.cli("check", "primary", "--only", "replication", "--json")
    (row,) = [row for row in check.json["checks"] if row["id"] == "replication.slot"]
    assert row["state"] == "warn" and "max_slot_wal_keep_size" in row["cause"], row


@pytest.mark.parametrize("version", [13, 15, pytest.param(18, marks=pytest.mark.long)])
def test_a_slot_that_was_invalidated_is_replaced_and_its_gap_told(version, make_cluster, make_agent, folder, pki):
    cluster = make_cluster(version=version, settings=["max_slot_wal_keep_size = '2MB'"]).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.wait_flushed("primary", lsn(cluster))
    agent.stop()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, "the slot is free")
    if version == 15:
        warn_before_it_is_lost(agent, cluster)
    move_on(cluster, 8)
    assert cluster.sql("SELECT wal_status FROM pg_replication_slots") == "lost"
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 101, 200)
    agent.wait_flushed("primary", lsn(cluster))
    assert wait_gaps(agent)["newest"]["reason"] == "slot-lost"
    status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'pgcoffer' AND active"
    wait_for(lambda: cluster.sql(status) in ("reserved", "extended"), "the slot keeps WAL")
    agent.backup("primary")
    insert(cluster, 201, 300)
    agent.wait_flushed("primary", lsn(cluster))
    if version != 15:
        return
    restore(agent, folder / "target")
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert copy.sql("SELECT count(*) FROM rows") == 300
    copy.close()


@pytest.mark.parametrize("version", [16, pytest.param(17, marks=pytest.mark.long)])
def test_an_invalidated_slot_is_replaced_though_the_server_still_has_the_wal(version, make_cluster, make_agent):
    """16 and 17 stream from it all the same, and never keep anything for it again."""
    keeps = ["max_slot_wal_keep_size = '2MB'", "archive_mode = on", "archive_command = 'false'"]
    cluster = make_cluster(version=version, settings=keeps).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.wait_flushed("primary", lsn(cluster))
    agent.stop()
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, "the slot is free")
    for _ in range(8):
        insert(cluster, 1, 10)
        cluster.sql("SELECT pg_switch_wal()")
    cluster.sql("CHECKPOINT")
    assert cluster.sql("SELECT wal_status FROM pg_replication_slots") == "lost"
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 101, 200)
    agent.wait_flushed("primary", lsn(cluster))
    status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'pgcoffer' AND active"
    assert cluster.sql(status) in ("reserved", "extended")
    assert agent.json("wal", "status", "primary")["gaps"] == []


def test_damage_that_verify_finds_is_a_gap_and_fetched_again(agent, cluster, folder):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    cluster.configure("wal_keep_size = '1GB'")
    cluster.reload()
    agent.backup("primary")
    for first in (101, 201, 301):
        insert(cluster, first, first + 99)
        cluster.sql("SELECT pg_switch_wal()")
    insert(cluster, 401, 500)
    agent.wait_flushed("primary", lsn(cluster))
    victim = wait_for(lambda: sorted(agent.system_folder("primary").glob("wal/*/*/*.zst"))[1:2], "two segments are compressed")[0]
    good = victim.read_bytes()
    victim.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    found = agent.cli("verify", "primary", "--wal-only")
    assert found.code == 7 and victim.name in found.err + found.out, found
    wait_for(lambda: list(victim.parent.glob(victim.name + ".suspect-*")), "the damaged file is set aside")
    wait_gaps(agent, 0)
    agent.ok("verify", "primary", "--wal-only")
    assert agent.json("wal", "status", "primary")["filled"][-1]["reason"] == "damaged"


def test_damage_that_cannot_be_had_again_is_not_restored_across(agent, cluster, folder):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.backup("primary")
    for first in (101, 201, 301):
        insert(cluster, first, first + 99)
        cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    victim = wait_compressed(agent, move_on(cluster))
    agent.wait_flushed("primary", lsn(cluster))
    good = victim.read_bytes()
    victim.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    assert agent.cli("verify", "primary", "--wal-only").code == 7
    assert wait_gaps(agent)["newest"]["reason"] == "damaged"
    refused = agent.cli("restore", "primary", "--target-directory", folder / "target")
    assert refused.code == 7 and "damaged in the archive" in refused.err and not (folder / "target").exists(), refused
    victim.write_bytes(good)
    agent.ok("verify", "primary", "--wal-only")
    wait_gaps(agent, 0)
    agent.ok("restore", "primary", "--target-directory", folder / "target", "--dry-run")


def test_a_file_deleted_by_hand_is_a_gap(agent, cluster, folder):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent.backup("primary")
    for first in (101, 201, 301):
        insert(cluster, first, first + 99)
        cluster.sql("SELECT pg_switch_wal()")
    victim = wait_compressed(agent, move_on(cluster))
    agent.wait_flushed("primary", lsn(cluster))
    victim.unlink()
    assert agent.json("wal", "status", "primary")["gaps"][0]["reason"] == "missing"
    agent.ok("reload")
    assert wait_gaps(agent)["newest"]["reason"] == "missing"
    assert json.loads(record(agent).read_text())["gaps"][0]["noticed_at"]


def test_a_broken_record_is_told_and_begun_anew(lossy, agent, cluster, folder):
    agent.stop()
    record(agent).write_text("{\"format\":1,\"gaps\":[{")
    give_to(record(agent))
    for words in (("wal", "status", "primary"), ("restore", "primary", "--target-directory", folder / "target")):
        refused = agent.cli("--direct", *words)
        assert refused.code == 7 and "gaps.json\" is damaged" in refused.err and "rename it" in refused.err, refused
    (backup,) = agent.cli("--direct", "list", "primary", "--json").json["servers"][0]["backups"]
    assert backup["reach"]["gap"]["reason"] == "missing"
    agent.start()
    agent.wait_streaming("primary")
    wait_gaps(agent)
    assert agent.json("wal", "status", "primary")["gaps"][0]["reason"] == "missing"
    assert record(agent).with_name("gaps.json.suspect-1").exists()
    assert "gaps.json\" is damaged" in agent.log_text()


def test_a_segment_being_received_that_is_damaged_here_is_received_again(agent, cluster):
    cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n")
    agent.wait_flushed("primary", lsn(cluster))
    agent.stop()
    (partial,) = agent.system_folder("primary").glob("wal/*/*/*.partial")
    bytes_held = bytearray(partial.read_bytes())
    bytes_held[len(bytes_held) - 3000] ^= 1
    partial.write_bytes(bytes_held)
    agent.start()
    agent.wait_streaming("primary")
    insert(cluster, 1001, 1100)
    agent.wait_flushed("primary", lsn(cluster))
    assert partial.with_name(partial.name + ".suspect-1").read_bytes() == bytes_held
    assert "was damaged in the archive and is received again" in agent.log_text()
    agent.ok("verify", "primary", "--wal-only")
    wait_gaps(agent, 0)
