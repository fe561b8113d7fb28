"""pgcoffer drill: a backup is proven, measured and recorded; nothing of the drill stays, however it ends."""

import hashlib
import os
import pathlib
import signal
import subprocess

import pytest

from harness.agent import Agent
from harness.cluster import Cluster, binaries
from harness.scratch import OS_USER, free_port, make_folder, wait_for

ROWS = 5000


class Stage:
    """A cluster that would do harm if a copy of it ran as it is, a backup of it, and WAL behind that."""

    def __init__(self, folder, pki, programs, version=15):
        make_folder(folder, 0o755)
        self.folder, self.version = folder, version
        self.archived = folder / "archived"
        self.cluster = Cluster(folder / "server", pki, version=version, settings=(
            "max_connections = 130", "max_prepared_transactions = 3", "shared_buffers = 16MB",
            "archive_mode = on", f"archive_command = 'touch {self.archived}'")).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki).add_server("primary", self.cluster,
                                                                        pg_bin_dir=self.cluster.bin, restorers="cert:repl")
        self.gateway = free_port()
        self.agent.daemon_settings.update({"management": self.gateway, "host": "127.0.0.1", "tls_cert_file": pki.server.certificate,
                                           "tls_key_file": pki.server.key, "tls_ca_file": pki.client_ca.certificate})
        self.agent.write_configuration()
        self.agent.start()
        self.agent.wait_streaming("primary")
        space = make_folder(folder / "space")
        self.cluster.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
        self.cluster.sql(f"CREATE TABLE rows TABLESPACE space AS SELECT n, md5(n::text) AS t FROM generate_series(1, {ROWS}) n")
        self.cluster.sql("CREATE INDEX ON rows (n)")
        self.cluster.sql("ALTER SYSTEM SET primary_conninfo = 'host=192.0.2.1'")
        self.backup = self.agent.backup("primary")["id"]
        self.cluster.sql("INSERT INTO rows VALUES (-1, 'before')")
        self.between = self.cluster.sql("SELECT pg_current_wal_lsn()::text")
        self.cluster.sql("BEGIN; INSERT INTO rows VALUES (-2, 'prepared'); PREPARE TRANSACTION 'one'")
        self.cluster.sql("INSERT INTO rows VALUES (-3, 'after')")
        self.cluster.sql("SELECT pg_switch_wal()")
        self.agent.wait_flushed("primary", self.cluster.sql("SELECT pg_current_wal_lsn()::text"))
        self.scratch = make_folder(folder / "scratch")

    def close(self):
        self.agent.close()
        self.cluster.close()

    def words(self, *words):
        return ("drill", "primary", *words, "--scratch", self.scratch)

    def drill(self, *words, code=0, before=(), **rest):
        result = self.agent.cli(*before, *self.words(*words), "--json", **rest)
        assert result.code == code, f"{result}\n--- daemon\n{self.agent.log_text()[-3000:]}"
        self.assert_nothing_is_left()
        return result

    def begin(self, *words):
        """The drill, while its query sleeps."""
        command = self.agent.command(*self.words(*words, "--query", "SELECT pg_sleep(600)"))
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: any(b"pg_sleep" in line or b"SELECT" in line for line in self.processes().values()) or running.poll() is not None,
                 "the query runs")
        assert running.poll() is None, running.communicate()
        return running

    def left(self):
        return [path.name for path in self.scratch.iterdir()]

    def processes(self):
        """Every process that has to do with the scratch folder, and its command line."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                place = os.readlink(entry / "cwd") if entry.name.isdigit() else ""
                line = (entry / "cmdline").read_bytes() if place else b""
            except OSError:
                continue
            if place.startswith(str(self.scratch)):
                found[int(entry.name)] = line
        return found

    def assert_nothing_is_left(self):
        assert self.processes() == {} and self.left() == []

    def listed(self):
        (row,) = [row for row in self.agent.json("list", "primary")["servers"][0]["backups"] if row["id"] == self.backup]
        return row


@pytest.fixture(scope="module")
def stage(scratch, pki, programs):
    stage = Stage(scratch / "drill", pki, programs)
    yield stage
    stage.close()


def test_a_drill_proves_a_backup_measures_it_and_leaves_nothing(stage):
    drilled = stage.drill("--query", "SELECT count(*) FROM rows", "--amcheck").json
    assert drilled["good"] and drilled["backup"] == stage.backup and drilled["error"] is None
    assert drilled["query"] == {"rows": 1, "answer": f"{ROWS + 2}\n", "is_cut": False}
    phases = drilled["phases"]
    assert all(phases[name] > 0 for name in ("restore", "start", "replay", "amcheck", "query")), phases
    assert abs(drilled["recovery_seconds"] - phases["restore"] - phases["start"] - phases["replay"]) < 0.01
    assert drilled["wal_files"] >= 1 and drilled["replayed_to"] and drilled["last_commit_at"]
    assert drilled["recorded"]
    noted = stage.listed()["drill"]
    assert noted["good"] and noted["seconds"] == pytest.approx(drilled["recovery_seconds"], abs=0.01)
    assert noted["rows"] == 1 and noted["server_version"] // 10000 == 15
    shown = stage.agent.ok(*stage.words("--query", "SELECT n, 'two\nlines' FROM rows WHERE n < 0 ORDER BY n DESC"))
    assert f"backup {stage.backup} of primary is proven: PostgreSQL 15" in shown.out, shown
    assert "the query gave 2 rows" in shown.out and "restore " in shown.out and "replay " in shown.out


def test_the_copy_is_cut_off_from_everything_and_has_the_limits_it_needs(stage):
    stage.archived.unlink(missing_ok=True)
    names = ("archive_mode", "listen_addresses", "primary_conninfo", "max_connections", "max_prepared_transactions", "ssl",
             "shared_preload_libraries")
    query = ("SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN "
             f"({', '.join(repr(name) for name in names)})")
    answer = stage.drill("--query", query + "; SELECT count(*) FROM pg_prepared_xacts").json["query"]["answer"]
    assert answer == ("archive_mode=off listen_addresses= max_connections=130 max_prepared_transactions=64 primary_conninfo= "
                      "shared_preload_libraries= ssl=off\n1\n")


def test_a_drill_to_a_target_stops_there(stage):
    drilled = stage.drill(stage.backup, "--target-lsn", stage.between, "--query", "SELECT n FROM rows WHERE n < 0").json
    assert drilled["query"]["answer"] == "-1\n" and drilled["target"]["value"] == stage.between
    beyond = stage.drill("--target-time", "2100-01-01T00:00:00Z", code=2)
    assert "2100" in beyond.err


@pytest.mark.parametrize("words, told", [
    (("--query", "SELECT count(*) < 0 FROM rows"), "answer is f"),
    (("--query", "SELECT nothing FROM nowhere"), "nowhere"),
    pytest.param(("--query", "SELECT pg_sleep(100)", "--query-timeout", "1"), "timeout", marks=pytest.mark.long),
    pytest.param(("--query", "SELECT 1", "--database", "absent"), "absent", marks=pytest.mark.long),
    pytest.param(("--query", "SELECT 1", "--user", "nobody"), "nobody", marks=pytest.mark.long),
])
def test_a_query_that_says_no_fails_the_drill_and_that_is_recorded(stage, words, told):
    refused = stage.drill(*words, code=1)
    assert told in refused.json["error"]["message"] and refused.json["good"] is False and refused.json["recorded"]
    assert f"backup {stage.backup} of primary is not proven: " in refused.json["error"]["message"]
    noted = stage.listed()["drill"]
    assert not noted["good"] and told in noted["words"]


def last_proof(stage):
    (server,) = stage.agent.json("status")["servers"]
    return server["survey"]["proofs"]["drill"]


def assert_everybody_says_that_the_last_proof_failed(stage, noted):
    proof = last_proof(stage)
    assert proof["backup"] == stage.backup and not proof["good"]
    assert (proof["at"], proof["words"]) == (noted["at"], noted["words"])
    loud = f"primary: WARNING: THE LAST PROOF FAILED: drill at {noted['at']} with backup {stage.backup}: {noted['words']}"
    assert loud in stage.agent.ok("status").out.splitlines()
    (row,) = [line for line in stage.agent.ok("list", "primary").out.splitlines() if f" {stage.backup} " in f" {line} "]
    assert f"FAILED {noted['at'][:10]}" in row, row
    shown = stage.agent.ok("show", "primary", stage.backup).out
    (line,) = [line for line in shown.splitlines() if line.startswith("drill")]
    assert "FAILED" in line and "frame" in line, shown
    assert stage.agent.json("show", "primary", stage.backup)["drill"] == noted


def test_a_damaged_frame_fails_the_drill_is_named_and_recorded(stage):
    path = stage.agent.backup_folder("primary", stage.backup) / "base.tar.zst"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1:])
    try:
        refused = stage.drill(code=7)
    finally:
        path.write_bytes(whole)
    assert "base.tar.zst" in refused.err and "frame" in refused.err and "rm -r" not in refused.err
    noted = stage.listed()["drill"]
    assert not noted["good"] and "base.tar.zst" in noted["words"] and "frame" in noted["words"]
    assert_everybody_says_that_the_last_proof_failed(stage, noted)
    drilled = stage.drill().json
    assert stage.listed()["drill"]["good"]
    proof = last_proof(stage)
    assert proof["good"] and proof["seconds"] == pytest.approx(drilled["recovery_seconds"], abs=0.01)
    told = stage.agent.ok("status").out
    assert "PROOF FAILED" not in told and f"primary: proven by a drill at {proof['at']} with backup {stage.backup}, recovered in" in told


def test_damaged_wal_fails_the_drill_and_direct_records_nothing(stage):
    noted = stage.listed()["drill"]
    segment = sorted(wait_for(lambda: list(stage.agent.system_folder("primary").glob("wal/*/*/*.zst")), "compressed"))[-1]
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-40] + bytes([whole[-40] ^ 0x10]) + whole[-39:])
    try:
        refused = stage.drill(before=("--direct",), code=7)
    finally:
        segment.write_bytes(whole)
    assert segment.name[:24] in refused.err, refused
    drilled = stage.drill(before=("--direct",)).json
    assert drilled["good"] and not drilled["recorded"]
    assert stage.listed()["drill"] == noted


@pytest.mark.long
def test_over_a_gateway_a_restorer_drills_and_the_result_is_recorded(stage, pki):
    there = ("--connect", f"localhost:{stage.gateway}", "--tls-cert-file", pki.client.certificate, "--tls-key-file", pki.client.key,
             "--tls-ca-file", pki.server_ca.certificate)
    drilled = stage.drill("--query", "SELECT count(*) FROM rows", before=there).json
    assert drilled["query"]["answer"] == f"{ROWS + 2}\n" and drilled["recorded"]
    assert stage.listed()["drill"]["seconds"] == pytest.approx(drilled["recovery_seconds"], abs=0.01)


def test_without_matching_binaries_a_clear_word_is_said_before_anything_is_written(stage):
    empty = make_folder(stage.folder / "empty", 0o755)
    fake = make_folder(stage.folder / "fake", 0o755)
    (fake / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.7 (Debian 14.7-1)'\n")
    (fake / "postgres").chmod(0o755)
    server = stage.agent.servers["primary"]
    before = server["pg_bin_dir"]
    try:
        for folder, told in ((empty, "has no postgres"), (fake, "is PostgreSQL 14.7")):
            server["pg_bin_dir"] = folder
            stage.agent.write_configuration()
            refused = stage.drill(code=3)
            assert told in refused.err and "PostgreSQL 15" in refused.err and "postgresql-15" in refused.err, refused
        del server["pg_bin_dir"]
        stage.agent.write_configuration()
        stage.drill()  # where Debian puts it
    finally:
        server["pg_bin_dir"] = before
        stage.agent.write_configuration()
    assert stage.listed()["drill"]["good"]  # none of them was about the backup


def test_bad_input_is_refused(stage):
    def refuse(code, *words, **rest):
        result = stage.agent.cli("drill", *words, **rest)
        assert result.code == code, result
        return result.err

    deep = make_folder(stage.folder / ("d" * 60))
    closed = make_folder(stage.folder / "closed", 0o755, "root" if OS_USER else None)
    assert "no backup" in refuse(2, "primary", "20200101T000000Z", "--scratch", stage.scratch)
    assert "nosuch" in refuse(2, "nosuch", "--scratch", stage.scratch)
    assert "--query-timeout" in refuse(2, "primary", "--query-timeout", "5")
    assert "nothing to ask" in refuse(2, "primary", "--query", " ")
    assert "too deep" in refuse(2, "primary", "--scratch", deep)
    assert "comma" in refuse(2, "primary", "--scratch", "/tmp/a,b")
    assert "absent" in refuse(9, "primary", "--scratch", stage.folder / "absent")
    assert "absent" in refuse(9, "primary", environment={"TMPDIR": str(stage.folder / "absent")})
    if OS_USER:
        assert "could not make a folder" in refuse(9, "primary", "--scratch", closed)
        assert "--owner" in refuse(2, "primary", "--scratch", stage.scratch, user="root")
        stage.drill("--owner", OS_USER, user="root")
    stage.assert_nothing_is_left()


def test_too_little_room_is_told_before_anything_is_written(stage):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    small = make_folder(stage.folder / "small", 0o755, None)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", small]).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        refused = stage.agent.cli("drill", "primary", "--scratch", small)
        assert refused.code == 9 and "too little room" in refused.err, refused
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_drill_that_is_ended_ends_in_order(stage):
    for number in (signal.SIGTERM, signal.SIGHUP):
        running = stage.begin()
        running.send_signal(number)
        _, words = running.communicate(timeout=60)
        assert running.returncode == 1 and "interrupted" in words, words
        stage.assert_nothing_is_left()


def test_of_a_drill_that_is_killed_nothing_runs_on_and_the_next_one_sweeps(stage):
    running = stage.begin()
    running.kill()
    running.communicate(timeout=60)
    wait_for(lambda: not stage.processes(), lambda: f"PostgreSQL ends by itself: {stage.processes()}")
    (left,) = stage.left()
    stranger = make_folder(stage.scratch / "pgcoffer-drill.strang", 0o755)  # not ours: nobody but the drill makes them 0700
    stage.agent.ok(*stage.words())
    assert stage.left() == [stranger.name], left
    stranger.rmdir()


@pytest.mark.parametrize("step", [pytest.param("data/base", marks=pytest.mark.long), "data/postmaster.pid",
                                  pytest.param("data/pg_wal/RECOVERYXLOG", marks=pytest.mark.long)])
def test_a_drill_that_is_killed_at_any_step_leaves_nothing_behind_the_next_one(stage, step):
    running = subprocess.Popen(stage.agent.command(*stage.words()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_for(lambda: list(stage.scratch.glob(f"*/{step}")) or running.poll() is not None, "that step", pause=0.001)
    running.kill()
    running.wait(60)
    wait_for(lambda: not stage.processes(), lambda: f"PostgreSQL ends by itself: {stage.processes()}")
    stage.drill()


@pytest.mark.long
def test_two_drills_at_once_do_not_disturb_each_other(stage):
    running = stage.begin()
    stage.agent.ok(*stage.words())
    assert running.poll() is None and len(stage.left()) == 1
    running.terminate()
    running.communicate(timeout=60)
    stage.assert_nothing_is_left()


def held_segments(stage):
    """Every whole segment that is held, in order, once all of them are compressed."""
    folder = stage.agent.system_folder("primary")
    wait_for(lambda: not [path for path in folder.glob("wal/*/*/*") if len(path.name) == 24], "compressed")
    return sorted(folder.glob("wal/*/*/*.zst"))


def test_a_recovery_that_ends_before_its_time_is_no_proof(stage):
    stage.agent.backup("primary")
    for number in range(2):
        stage.cluster.sql("SELECT pg_switch_wal()")
        stage.cluster.sql(f"CREATE TABLE later_{number} AS SELECT 1")
    stage.cluster.sql("SELECT pg_switch_wal()")
    stage.agent.wait_flushed("primary", stage.cluster.sql("SELECT pg_current_wal_lsn()::text"))
    segment = held_segments(stage)[-2]
    stored = segment.read_bytes()
    # Whole and sound for everybody but PostgreSQL, which takes this for the end of the WAL and opens.
    whole = subprocess.run(["zstd", "-dqc"], input=stored, capture_output=True, check=True).stdout
    emptied = whole[:8192] + bytes(len(whole) - 8192)
    frame = subprocess.run(["zstd", "-qc", f"--stream-size={len(emptied)}"], input=emptied, capture_output=True, check=True).stdout
    segment.write_bytes(frame + stored[-44:-32] + hashlib.sha256(frame).digest())
    try:
        refused = stage.drill(code=7)
    finally:
        segment.write_bytes(stored)
    assert "ended its recovery" in refused.err, refused
    assert refused.json["recorded"] and not refused.json["good"]


def test_a_tablespace_that_the_wal_makes_is_left_to_its_owner(stage):
    """A copy on the host of the original would write into the original's own folder, which its WAL names."""
    stage.agent.backup("primary")
    space = make_folder(stage.folder / "fresh")
    stage.cluster.sql(f"CREATE TABLESPACE fresh LOCATION '{space}'")
    stage.cluster.sql("CREATE TABLE first TABLESPACE fresh AS SELECT n FROM generate_series(1, 1000) n")
    stage.cluster.sql("CHECKPOINT")
    before = stage.cluster.sql("SELECT pg_current_wal_lsn()::text")
    stage.cluster.sql("CREATE TABLE second TABLESPACE fresh AS SELECT 1")
    stage.cluster.sql("SELECT pg_switch_wal()")
    stage.agent.wait_flushed("primary", stage.cluster.sql("SELECT pg_current_wal_lsn()::text"))

    def look():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in space.glob("**/*")}

    stage.cluster.sql("CHECKPOINT")
    seen, noted = look(), stage.listed()["drill"]
    refused = stage.drill("--target-lsn", before, code=5)
    assert "tablespace" in refused.err and str(space) in refused.err and look() == seen, refused
    assert stage.listed()["drill"] == noted  # which says nothing of the backup
    assert stage.cluster.sql("SELECT count(*) FROM first") == 1000
    stage.agent.backup("primary")  # which the next ones can drill


def test_triggers_of_the_original_do_not_fire(stage):
    """One that forbids what pg_amcheck has to install, or tells somebody."""
    stage.cluster.sql("CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'forbidden'; END$$")
    stage.cluster.sql("CREATE EVENT TRIGGER forbid ON ddl_command_start EXECUTE FUNCTION forbid()")
    stage.cluster.sql("ALTER DATABASE template1 SET session_preload_libraries = 'no_such_library'")
    try:
        stage.agent.backup("primary")
    finally:
        stage.cluster.sql("SET session_replication_role = replica; DROP EVENT TRIGGER forbid; "
                          "ALTER DATABASE template1 RESET session_preload_libraries")
    stage.drill("--target-immediate", "--amcheck")


def test_what_pg_amcheck_finds_fails_the_drill(stage):
    for text in ("CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
                 "CREATE TABLE bad AS SELECT n FROM generate_series(1, 100) n", "CREATE INDEX bad_index ON bad (f(n))",
                 "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1000'"):
        stage.cluster.sql(text)
    backup = stage.agent.backup("primary")["id"]
    stage.cluster.sql("DROP TABLE bad")
    refused = stage.drill(backup, "--target-immediate", "--amcheck", code=1)
    assert "pg_amcheck found corruption" in refused.err and "bad_index" in refused.err
    assert refused.json["phases"]["query"] is None and refused.json["recovery_seconds"] > 0


@pytest.mark.parametrize("version", [pytest.param(13, marks=pytest.mark.long), 18])
def test_other_versions_are_drilled_by_their_own_binaries(version, scratch, pki, programs):
    if binaries(version) is None:
        pytest.skip(f"PostgreSQL {version} is not on this machine")
    stage = Stage(scratch / f"drill-{version}", pki, programs, version)
    try:
        drilled = stage.drill("--query", "SELECT count(*) FROM rows").json
        assert drilled["query"]["answer"] == f"{ROWS + 2}\n" and drilled["postgresql"].startswith(str(version))
    finally:
        stage.close()


@pytest.mark.long
def test_a_gigabyte_is_drilled_its_time_is_in_status_and_damage_to_one_frame_is_the_last_word(stage):
    stage.cluster.sql("CREATE TABLE large AS SELECT n, repeat(md5(n::text), 30) AS t FROM generate_series(1, 1200000) n")
    backup = stage.agent.backup("primary")
    assert backup["size_bytes"] > 1 << 30
    stage.cluster.sql("INSERT INTO large SELECT n, 'later' FROM generate_series(1, 100000) n")
    stage.agent.wait_flushed("primary", stage.cluster.sql("SELECT pg_current_wal_lsn()::text"), 120)

    drilled = stage.drill("--query", "SELECT count(*) FROM large", "--amcheck", timeout=900).json
    assert drilled["backup"] == backup["id"] and drilled["query"]["answer"] == "1300000\n"
    print(f"drilled in {drilled['recovery_seconds']:.1f} s: {drilled['phases']}")
    noted = last_proof(stage)
    assert noted["good"] and noted["backup"] == backup["id"] and noted["seconds"] == pytest.approx(drilled["recovery_seconds"], abs=0.01)
    path = stage.agent.backup_folder("primary", backup["id"]) / "base.tar.zst"
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    refused = stage.drill(code=7, timeout=900)
    assert "base.tar.zst" in refused.err and "frame" in refused.err
    noted = last_proof(stage)
    assert not noted["good"] and noted["backup"] == backup["id"] and "base.tar.zst" in noted["words"] and "frame" in noted["words"]
