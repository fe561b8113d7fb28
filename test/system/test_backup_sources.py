"""Backups from other sources than a busy primary, and what is finished, deleted or verified afterwards."""

import hashlib
import json

from harness.cluster import PSQL_BIN
from harness.restored import restore, start_restored
from harness.scratch import give_to, run, wait_for


def test_an_idle_standby_is_backed_up_and_its_restore_is_a_server_of_its_own(make_agent, cluster, make_cluster, folder, pki):
    cluster.sql("CREATE TABLE rows AS SELECT n FROM generate_series(1, 1000) n")
    run([PSQL_BIN / "pg_basebackup", "-h", cluster.sockets, "-p", cluster.port, "-U", "postgres",
         "-D", folder / "standby-data", "-R", "-X", "stream", "-c", "fast"])
    standby = make_cluster("standby", data=folder / "standby-data")
    standby.start()
    agent = make_agent().add_server("primary", standby).start()
    agent.wait_streaming("primary")
    for _ in range(2):  # nothing happens on the primary meanwhile
        backup = agent.backup("primary")
        assert backup["state"] == "complete" and backup["from_standby"]
    agent.ok("verify", "primary")
    restore(agent, folder / "target")
    assert not (folder / "target" / "standby.signal").exists()
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert copy.sql("SELECT count(*) FROM rows") == 1000
    copy.close()


def make_copied(folder):
    """What a daemon leaves behind that was killed between the last byte of the copy and the WAL it waits for."""
    meta = json.loads((folder / "backup.json").read_text())
    del meta["sha256"]
    meta["state"] = "copied"
    spelling = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    meta["sha256"] = hashlib.sha256(json.dumps(meta, **spelling).encode()).hexdigest()
    (folder / "copied.json").write_text(json.dumps(meta, **spelling) + "\n")
    give_to(folder / "copied.json")
    (folder / "backup.json").unlink()


def test_a_backup_that_waited_for_wal_is_completed_after_a_restart(agent, cluster):
    backup = agent.backup("primary")
    folder = agent.backup_folder("primary", backup["id"])
    agent.stop()
    make_copied(folder)
    listed = agent.cli("--direct", "list", "primary", "--json").json["servers"][0]["backups"]
    assert [row["state"] for row in listed] == ["copied"]
    refused = agent.cli("--direct", "restore", "primary", backup["id"], "--target-directory", agent.folder / "x")
    assert refused.code == 2 and "waits for the WAL" in refused.err, refused
    agent.start()
    wait_for(lambda: (folder / "backup.json").exists() and not (folder / "copied.json").exists(), "completed")
    agent.ok("verify", "primary")


def test_the_last_complete_backup_is_deleted_by_force_only(agent, cluster):
    agent.backup("primary", "--label", "one")
    agent.backup("primary", "--label", "two")
    assert agent.cli("delete", "primary", "nosuch").code == 2
    assert agent.cli("delete", "primary", "one").code == 0
    refused = agent.cli("delete", "primary", "two")
    assert refused.code == 1 and "--force" in refused.err, refused
    assert agent.cli("delete", "primary", "two", "--force").code == 0
    assert agent.json("list", "primary")["servers"][0]["backups"] == []


def test_an_altered_history_contradicts_the_wal(agent, cluster):
    """Only the words behind the position, which nobody reads, may differ."""
    agent.backup("primary")
    cluster.stop("fast")
    (cluster.data / "standby.signal").touch()
    give_to(cluster.data / "standby.signal")
    cluster.start()
    cluster.promote()
    cluster.wait_until_promoted()
    cluster.sql("CREATE TABLE y AS SELECT 1")
    history = agent.system_folder("primary") / "wal" / "00000002.history"
    wait_for(history.exists, "the switch is followed")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
    agent.ok("verify", "primary")
    agent.stop()
    text = history.read_bytes()
    for offset in range(text.rindex(b"\t")):
        for bit in (0x01, 0x10):
            history.write_bytes(text[:offset] + bytes([text[offset] ^ bit]) + text[offset + 1:])
            result = agent.cli("--direct", "verify", "primary", "--json")
            assert result.code == 7 and history.name in result.out + result.err, (offset, bit, result)
    history.write_bytes(text)
    assert agent.cli("--direct", "verify", "primary").code == 0
