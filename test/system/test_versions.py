"""The main job on other PostgreSQL versions."""

import pytest

from harness.restored import restore, start_restored
from harness.scratch import make_folder, wait_for


@pytest.mark.parametrize("version", [13, 18, *(pytest.param(version, marks=pytest.mark.long) for version in (14, 15, 16, 17))])
def test_backup_stream_and_restore(version, make_cluster, make_agent, folder, pki):
    cluster = make_cluster(version=version).start().create_role()
    space = make_folder(folder / "space")
    cluster.sql(f"CREATE TABLESPACE aside LOCATION '{space}'")
    cluster.sql("CREATE TABLE rows TABLESPACE aside AS SELECT generate_series(1, 5000) AS n")
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    backup = agent.backup("primary")
    assert backup["state"] == "complete"
    cluster.sql("INSERT INTO rows SELECT generate_series(5001, 7000)")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
    cluster.stop()
    agent.ok("verify", "primary")
    restore(agent, folder / "target", "--tablespace-map", f"{space}={folder / 'moved'}")
    copy = start_restored(folder / "restored", pki, folder / "target", version=version)
    try:
        assert copy.sql("SELECT count(*) FROM rows") == 7000
    finally:
        copy.close()


def test_a_new_major_version_under_the_same_name_gets_a_place_of_its_own(make_cluster, make_agent, folder, pki):
    """As after pg_upgrade: another system identifier, a higher version. The old backups stay and restore."""
    old = make_cluster("old", version=13).start().create_role()
    old.sql("CREATE TABLE rows AS SELECT generate_series(1, 100) AS n")
    agent = make_agent().add_server("primary", old).start()
    agent.wait_streaming("primary")
    before = agent.backup("primary")
    old.sql("INSERT INTO rows SELECT generate_series(101, 200)")
    agent.wait_flushed("primary", old.sql("SELECT pg_current_wal_lsn()::text"))
    old.stop()

    new = make_cluster("new", version=15, port=old.port).start().create_role()
    new.sql("CREATE TABLE rows AS SELECT generate_series(1, 7) AS n")
    wait_for(lambda: agent.receiver("primary")["state"] == "streaming", "streaming from the new version")
    after = agent.backup("primary")
    assert before["system_identifier"] != after["system_identifier"]
    assert {row["id"] for row in agent.json("list", "primary")["servers"][0]["backups"]} == {before["id"], after["id"]}
    assert agent.json("show", "primary", "latest")["id"] == after["id"]
    agent.ok("verify", "primary")
    new.stop()

    for backup, version, rows in ((before, 13, 200), (after, 15, 7)):
        target = folder / f"target-{version}"
        restore(agent, target, backup["id"])
        copy = start_restored(folder / f"restored-{version}", pki, target, version=version)
        try:
            assert copy.sql("SELECT count(*) FROM rows") == rows
        finally:
            copy.close()
