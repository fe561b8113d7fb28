"""Back up, stream, restore: every row comes back, at every moment asked for."""

import subprocess
import time

import pytest

from harness.agent import lsn_number
from harness.cluster import PSQL_BIN
from harness.restored import restore, start_restored
from harness.scratch import make_folder, run, wait_for


@pytest.fixture
def restored(folder, pki):
    """restored(target, ...) starts PostgreSQL there and stops it at the end of the test."""
    started = []

    def start(target, **options):
        started.append(start_restored(folder / f"restored-{len(started)}", pki, target, **options))
        return started[-1]

    yield start
    for cluster in started:
        cluster.close()


def fill(cluster, first, last):
    cluster.sql("CREATE TABLE IF NOT EXISTS rows (n int PRIMARY KEY, padding text DEFAULT repeat('x', 100))")
    cluster.sql("INSERT INTO rows SELECT generate_series(%s, %s)", first, last)
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def test_rows_written_after_the_backup_come_back_from_the_unfinished_segment(agent, cluster, folder, restored):
    fill(cluster, 1, 1000)
    backup = agent.backup("primary", "--label", "first")
    assert backup["state"] == "complete" and backup["label"] == "first"
    end = fill(cluster, 1001, 1500)
    agent.wait_flushed("primary", end)
    assert list(agent.system_folder("primary").glob("wal/*/*/*.partial")), "the last row lies in an unfinished segment"
    cluster.stop("immediate")

    restore(agent, folder / "target")
    assert restored(folder / "target").sql("SELECT count(*) FROM rows") == 1500


def test_recovery_to_a_time_an_lsn_an_xid_and_a_name_gives_exactly_that_moment(agent, cluster, folder, restored):
    fill(cluster, 1, 100)
    agent.backup("primary")
    fill(cluster, 101, 200)
    time.sleep(0.05)
    moment = cluster.sql("SELECT clock_timestamp()::text")
    time.sleep(0.05)
    (xid, _), = cluster.rows("WITH added AS (INSERT INTO rows SELECT generate_series(201, 300) RETURNING 1)"
                             " SELECT txid_current()::text, count(*) FROM added")
    lsn = cluster.sql("SELECT pg_current_wal_lsn()::text")
    fill(cluster, 301, 400)
    cluster.sql("SELECT pg_create_restore_point('before the mistake')")
    cluster.sql("DELETE FROM rows")
    end = cluster.sql("SELECT pg_current_wal_lsn()::text")
    agent.wait_flushed("primary", end)

    for words, expected in ((("--target-time", moment), 200), (("--target-lsn", lsn), 300), (("--target-xid", xid), 300),
                            (("--target-xid", xid, "--target-exclusive"), 200),
                            (("--target-name", "before the mistake"), 400), (("--target-immediate",), 100), ((), 0)):
        target = folder / f"target{expected}{len(words)}{words[:1]}"
        restore(agent, target, *words, *(("--target-action", "promote") if words else ()))
        copy = restored(target)
        assert copy.sql("SELECT count(*) FROM rows") == expected, words
        copy.close()


def test_tar_zstd_and_cp_alone_restore_a_backup(agent, cluster, folder, restored, pki):
    """No lock-in: no pgcoffer program is used after the backup."""
    fill(cluster, 1, 1000)
    backup = agent.backup("primary")
    end = fill(cluster, 1001, 2000)
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", end)
    agent.stop()

    target, wal = make_folder(folder / "target"), make_folder(folder / "wal")
    run(["tar", "--zstd", "-xf", agent.backup_folder("primary", backup["id"]) / "base.tar.zst", "-C", target])
    for path in sorted(agent.system_folder("primary").glob("wal/*/*/*")):
        if path.suffix == ".zst":
            run(["zstd", "-dq", path, "-o", wal / path.stem])
        elif path.suffix == "":
            run(["cp", path, wal])
    run(["touch", target / "recovery.signal"])
    copy = restored(target, settings=(f"restore_command = 'cp {wal}/%f %p'",))
    assert copy.sql("SELECT count(*) FROM rows") == 2000


def test_pg_verifybackup_accepts_a_restored_directory_before_its_start(agent, cluster, folder):
    fill(cluster, 1, 1000)
    agent.backup("primary")
    restore(agent, folder / "target", "--with-wal")
    done = run([PSQL_BIN / "pg_verifybackup", folder / "target"])
    assert "successfully verified" in done.stdout


def test_a_copy_with_its_wal_starts_without_the_archive(agent, cluster, folder, restored):
    fill(cluster, 1, 1000)
    agent.backup("primary")
    end = fill(cluster, 1001, 1200)
    agent.wait_flushed("primary", end)
    restore(agent, folder / "target", "--with-wal")
    agent.stop()
    assert restored(folder / "target").sql("SELECT count(*) FROM rows") == 1200


def test_tablespaces_follow_their_map(agent, cluster, folder, restored):
    space = make_folder(folder / "space")
    cluster.sql(f"CREATE TABLESPACE aside LOCATION '{space}'")
    cluster.sql("CREATE TABLE in_space (n int) TABLESPACE aside")
    cluster.sql("INSERT INTO in_space SELECT generate_series(1, 5000)")
    agent.backup("primary")
    end = fill(cluster, 1, 10)
    agent.wait_flushed("primary", end)

    refused = restore(agent, folder / "without", code=2)
    assert "--tablespace-map" in refused.err and str(space) in refused.err
    assert not (folder / "without").exists()
    refused = restore(agent, folder / "original", "--original-tablespaces", code=2)
    assert str(space) in refused.err and not (folder / "original").exists()

    restore(agent, folder / "target", "--tablespace-map", f"{space}={folder / 'moved'}")
    copy = restored(folder / "target")
    assert copy.sql("SELECT count(*) FROM in_space") == 5000
    assert copy.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'aside'") == str(folder / "moved")


def test_backup_and_stream_use_tls_13_with_the_client_certificate(agent, cluster):
    question = ("SELECT DISTINCT ssl, s.version, client_dn FROM pg_stat_ssl s JOIN pg_stat_replication r USING (pid)"
                " WHERE r.application_name LIKE %s")
    assert cluster.rows(question, "pgcoffer") == [(True, "TLSv1.3", "/CN=repl")]
    cluster.sql("CREATE TABLE big AS SELECT repeat(md5(n::text), 50) FROM generate_series(1, 40000) n")
    process = subprocess.Popen(agent.command("backup", "primary", "--quiet", "--fast-checkpoint"))
    seen = set()
    while process.poll() is None:
        seen.update(cluster.rows(question, "pgcoffer backup"))
    assert process.returncode == 0
    assert seen == {(True, "TLSv1.3", "/CN=repl")}


def test_lz4_on_the_wire_gives_the_same_archive(make_agent, cluster, folder, restored):
    agent = make_agent().add_server("primary", cluster, wire_compression="lz4").start()
    agent.wait_streaming("primary")
    fill(cluster, 1, 1000)
    agent.backup("primary")
    assert "COMPRESSION 'lz4'" in cluster.log_text()
    agent.ok("verify", "primary")
    restore(agent, folder / "target")
    assert restored(folder / "target").sql("SELECT count(*) FROM rows") == 1000


def test_a_server_without_tls_gets_nothing(make_agent, make_cluster):
    cluster = make_cluster().start().create_role()
    cluster.configure("ssl = off")
    cluster.restart()
    agent = make_agent().add_server("primary", cluster).start()
    result = agent.cli("backup", "primary", timeout=90)
    assert result.code == 6, result
    assert "TLS" in result.err and "ssl = on" in result.err
    assert "user=repl" not in cluster.log_text(), "not even the name of the role was sent"


def test_a_promoted_standby_takes_over_and_the_dead_branch_is_never_restored(agent, cluster, make_cluster, folder, restored):
    """The standby gets the primary's address, as a failover by host name does."""
    fill(cluster, 1, 100)
    agent.backup("primary")
    run([PSQL_BIN / "pg_basebackup", "-h", cluster.sockets, "-p", cluster.port, "-U", "postgres", "-D", folder / "standby-data",
         "-R", "-X", "stream", "-c", "fast"])
    standby = make_cluster("standby", data=folder / "standby-data")
    standby.start()
    end = fill(cluster, 101, 200)
    agent.wait_flushed("primary", end)
    while lsn_number(standby.sql("SELECT pg_last_wal_replay_lsn()::text")) < lsn_number(end):
        time.sleep(0.05)
    standby.stop()
    dead_end = fill(cluster, 901, 1000)
    agent.wait_flushed("primary", dead_end)
    cluster.stop("immediate")

    standby.port = cluster.port
    standby.configure("primary_conninfo = ''")
    standby.start()
    standby.promote()
    standby.wait_until_promoted()
    end = fill(standby, 201, 300)
    agent.wait_streaming("primary")
    agent.wait_flushed("primary", end)
    restore(agent, folder / "target")
    copy = restored(folder / "target")
    assert copy.rows("SELECT count(*), max(n) FROM rows") == [(300, 300)]
    agent.backup("primary")


def test_a_standby_restored_from_the_archive_streams_on_over_tls(agent, cluster, folder, restored):
    fill(cluster, 1, 100)
    agent.backup("primary")
    result = restore(agent, folder / "target", "--standby")
    written = (folder / "target" / "postgresql.auto.conf").read_text()
    assert "primary_conninfo" in written and "password" not in written.replace("passfile", "")
    assert "sslmode=verify-full" in written.replace("'", "")
    copy = restored(folder / "target", promoted=False)
    end = fill(cluster, 101, 150)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and lsn_number(copy.sql("SELECT pg_last_wal_replay_lsn()::text")) < lsn_number(end):
        time.sleep(0.05)
    assert copy.sql("SELECT count(*) FROM rows") == 150
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'pgcoffer'") == 1,
             f"what the archive had not is streamed; {result}; {copy.log_text()[-2000:]}")
