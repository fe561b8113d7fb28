"""The main paths on every PostgreSQL version: 13 and 18 in the short run, the others in the long one."""

import pytest

from harness.agent import lsn_number
from harness.restored import restore, start_restored
from harness.scratch import make_folder, wait_for


SHORT, LONG = (13, 18), (14, 15, 16, 17)


@pytest.fixture
def start_copy(folder, pki):
    """start_copy(target, version, ...) starts PostgreSQL there and stops it at the end of the test."""
    started = []

    def start(target, version, **options):
        started.append(start_restored(folder / f"started-{target.name}", pki, target, version=version, **options))
        return started[-1]

    yield start
    for copy in started:
        copy.close()


def add_rows(cluster, first, last):
    cluster.sql("INSERT INTO rows SELECT generate_series(%s, %s)", first, last)
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def take_over(cluster, standby, replayed):
    """The standby is promoted and gets the primary's address, as a failover by host name does."""
    wait_for(lambda: lsn_number(standby.sql("SELECT pg_last_wal_replay_lsn()::text")) >= lsn_number(replayed), "replayed")
    cluster.stop()
    standby.stop()
    with open(standby.data / "postgresql.auto.conf", "a") as file:
        file.write("primary_conninfo = ''\n")
    standby.port = cluster.port
    standby.start()
    standby.promote()
    standby.wait_until_promoted()


@pytest.mark.parametrize("version", [*SHORT, *(pytest.param(version, marks=pytest.mark.long) for version in LONG)])
def test_the_main_paths(version, make_cluster, make_agent, folder, start_copy):
    """Backup, stream, tablespaces, a standby of the archive, its promotion, both timelines restored."""
    cluster = make_cluster(version=version).start().create_role()
    space = make_folder(folder / "space")
    cluster.sql(f"CREATE TABLESPACE aside LOCATION '{space}'")
    cluster.sql("CREATE TABLE rows TABLESPACE aside AS SELECT generate_series(1, 5000) AS n")
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"
    add_rows(cluster, 5001, 6000)
    moment = cluster.sql("SELECT clock_timestamp()::text")

    restore(agent, folder / "standby", "--standby", "--tablespace-map", f"{space}={folder / 'space-of-standby'}")
    standby = start_copy(folder / "standby", version, promoted=False)
    take_over(cluster, standby, add_rows(cluster, 6001, 7000))
    end = add_rows(standby, 7001, 8000)
    wait_for(lambda: agent.receiver("primary").get("timeline") == 2, "the receiver follows to timeline 2")
    agent.wait_flushed("primary", end)
    standby.stop()
    agent.ok("verify", "primary")

    for name, words, rows in (("newest", (), 8000),
                              ("moment", ("--target-time", moment, "--target-action", "promote"), 6000)):
        moved = folder / f"space-of-{name}"
        restore(agent, folder / name, *words, "--tablespace-map", f"{space}={moved}")
        copy = start_copy(folder / name, version)
        assert copy.sql("SELECT count(*) FROM rows") == rows, name
        assert copy.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'aside'") == str(moved)
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
