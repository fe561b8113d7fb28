"""The main job on other PostgreSQL versions."""

import os

import pytest

from harness.restored import restore, start_restored
from harness.scratch import make_folder

SHORT = (13, 18)
ALL = (13, 14, 15, 16, 17, 18)


@pytest.mark.parametrize("version", [int(word) for word in os.environ.get("PGCOFFER_TEST_VERSIONS", "13 18").split()])
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
