"""pgcoffer export: one ordinary tar or directory, that other programs read and that starts by itself with its WAL."""

import fcntl
import os
import shutil
import signal
import subprocess

import pytest

from harness.agent import Agent
from harness.cluster import Cluster, PSQL_BIN, binaries
from harness.restored import start_restored
from harness.scratch import OS_USER, free_port, make_folder, run, wait_for

ROWS = 3000


class Stage:
    def __init__(self, folder, pki, programs, version=15):
        make_folder(folder, 0o755)
        self.folder, self.pki, self.version = folder, pki, version
        self.cluster = Cluster(folder / "server", pki, version=version, settings=(
            "archive_mode = on", f"archive_command = 'touch {folder}/archived-%f'")).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki).add_server("primary", self.cluster, restorers="cert:repl")
        self.gateway = free_port()
        self.agent.daemon_settings.update({"management": self.gateway, "host": "127.0.0.1", "tls_cert_file": pki.server.certificate,
                                           "tls_key_file": pki.server.key, "tls_ca_file": pki.client_ca.certificate})
        self.agent.write_configuration()
        self.agent.start()
        self.agent.wait_streaming("primary")
        self.plain = self.take("plain")
        space = make_folder(folder / "space")
        self.cluster.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
        self.oid = self.cluster.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")
        self.cluster.sql(f"CREATE TABLE far TABLESPACE space AS SELECT n, md5(n::text) AS t FROM generate_series(1, {ROWS}) n")
        self.spaced = self.take("spaced")
        self.out = make_folder(folder / "out")

    def take(self, label):
        self.cluster.sql(f"CREATE TABLE {label} AS SELECT n, md5(n::text) AS t FROM generate_series(1, {ROWS}) n")
        return self.agent.backup("primary", "--label", label)["id"]

    def export(self, backup, output, *words, code=0, before=(), **rest):
        result = self.agent.cli(*before, "export", "primary", backup, "--output", output, *words, **rest)
        assert result.code == code, f"{result}\n--- daemon\n{self.agent.log_text()[-3000:]}"
        return result

    def start(self, data, count, table):
        cluster = start_restored(make_folder(self.folder / f"copy-{data.name}", 0o755), self.pki, data, self.version,
                                 promoted=False, settings=("archive_mode = off",))
        try:
            assert cluster.sql(f"SELECT count(*) FROM {table}") == count
            assert not cluster.sql("SELECT pg_is_in_recovery()")
            cluster.sql("CHECKPOINT")
        finally:
            cluster.close()

    def close(self):
        self.agent.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def stage(scratch, pki, programs):
    stage = Stage(scratch / "export", pki, programs)
    yield stage
    stage.close()


@pytest.fixture
def out(stage):
    yield stage.out
    for path in stage.out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def unpack(archive, folder, *words):
    make_folder(folder)
    run(["tar", *words, "-xf", archive, "-C", folder])
    return folder


@pytest.mark.parametrize("name, words", [("copy.tar", ()), ("copy.tar.zst", ("--zstd",))])
def test_a_tar_with_its_wal_starts_by_itself(stage, out, name, words):
    told = stage.export("latest", out / name, "--with-wal", "--json").json
    assert told["output"] == str(out / name) and told["tablespaces"] == 1 and told["wal_files"] >= 1 and told["with_wal"]
    assert (out / name).stat().st_mode & 0o7777 == 0o600
    listed = run(["tar", *words, "-tvf", out / name]).stdout
    assert f"pg_tblspc/{stage.oid}/" in listed and "tablespace_map" not in listed and "postgres/postgres" in listed
    assert "pg_wal/archive_status/" in listed and ".done" in listed
    data = unpack(out / name, out / "data", *words)
    stage.start(data, ROWS, "far")


def test_a_directory_is_what_pg_verifybackup_wants_and_starts_with_its_wal(stage, out):
    stage.export(stage.plain, out / "plain")
    run([PSQL_BIN / "pg_verifybackup", "--no-parse-wal", out / "plain"])
    assert not list((out / "plain" / "pg_wal").glob("0*")) and (out / "plain" / "backup_label").exists()
    (out / "whole").mkdir()  # an empty one is fine
    shutil.chown(out / "whole", OS_USER) if OS_USER else None
    stage.export(stage.plain, out / "whole", "--with-wal")
    run([PSQL_BIN / "pg_verifybackup", out / "whole"])  # and the WAL, by pg_waldump
    assert (out / "whole").stat().st_mode & 0o7777 == 0o700
    stage.start(out / "whole", ROWS, "plain")


def test_without_wal_everything_is_as_the_server_sent_it(stage, out):
    stage.export(stage.spaced, out / "spaced")
    assert f"{stage.oid} " in (out / "spaced" / "tablespace_map").read_text()
    assert list((out / "spaced" / "pg_tblspc" / str(stage.oid)).iterdir())
    run([PSQL_BIN / "pg_verifybackup", "--no-parse-wal", out / "spaced"])


def test_the_standard_output_takes_a_tar(stage, out):
    for words, flags in (((), ()), (("--format", "tar.zst"), ("--zstd",))):
        command = stage.agent.command("export", "primary", "plain", "--output", "-", *words)
        taken = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert taken.returncode == 0, taken.stderr
        names = subprocess.run(["tar", *flags, "-tf", "-"], input=taken.stdout, capture_output=True, check=True).stdout.decode()
        assert "backup_manifest\n" in names and "global/pg_control\n" in names
    # a reader that has enough
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.read(10)
    running.stdout.close()
    words = running.stderr.read().decode()
    assert running.wait(60) == 9 and "standard output" in words and "Broken pipe" in words
    full = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, timeout=60)
    assert full.returncode == 9 and b"No space left" in full.stderr


def test_without_a_daemon_and_over_a_gateway_the_same_is_exported(stage, out, pki):
    there = ("--connect", f"localhost:{stage.gateway}", "--tls-cert-file", pki.client.certificate, "--tls-key-file", pki.client.key,
             "--tls-ca-file", pki.server_ca.certificate)
    stage.export(stage.plain, out / "one", "--with-wal")
    for name, before in (("two", ("--direct",)), ("three", there)):
        stage.export(stage.plain, out / name, "--with-wal", before=before)
        run(["diff", "-r", out / "one", out / name])


def test_what_is_there_is_not_overwritten(stage, out):
    (out / "there.tar").write_text("mine")
    refused = stage.export(stage.plain, out / "there.tar", code=2)
    assert "--force" in refused.err and (out / "there.tar").read_text() == "mine"
    stage.export(stage.plain, out / "there.tar", "--force")
    run(["tar", "-tf", out / "there.tar"])
    make_folder(out / "full" / "inside")
    assert "not empty" in stage.export(stage.plain, out / "full", code=2).err
    assert "--force replaces a file" in stage.export(stage.plain, out / "full", "--force", code=2).err
    assert "no folder" in stage.export(stage.plain, out / "there.tar", "--format", "directory", code=2).err
    (out / "link").symlink_to(make_folder(out / "empty"))
    assert "no folder" in stage.export(stage.plain, out / "link", code=2).err  # and not when all of it is written
    (out / "link").unlink()
    (out / "empty").rmdir()
    assert "no file" in stage.export(stage.plain, out / "full", "--format", "tar", code=2).err
    assert sorted(path.name for path in out.iterdir()) == ["full", "there.tar"]
    running = out / "same.tar.tmp"
    running.write_text("of an export that runs")
    running.chmod(0o666)
    with open(running) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "is locked by" in stage.export(stage.plain, out / "same.tar", code=8).err
    assert running.read_text() == "of an export that runs"


def test_bad_input_is_refused(stage, out):
    missing = stage.agent.cli("export", "primary", "latest")
    assert missing.code == 2 and "--output" in missing.err
    assert "no backup" in stage.export("20200101T000000Z", out / "x.tar", code=2).err
    assert "--format" in stage.export("latest", out / "x.tar", "--format", "zip", code=2).err
    assert "directory" in stage.export("latest", "-", "--format", "directory", code=2).err
    assert "--json" in stage.export("latest", "-", "--json", code=2).err
    assert "absent" in stage.export("latest", out / "absent" / "x.tar", code=9).err
    assert "absent" in stage.export("latest", out / "absent" / "x", code=9).err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", ["broken.tar", "broken.tar.zst", "broken"])
def test_a_damaged_frame_is_named_and_leaves_nothing(stage, out, name):
    path = stage.agent.backup_folder("primary", stage.plain) / "base.tar.zst"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1:])
    try:
        refused = stage.export(stage.plain, out / name, code=7)
    finally:
        path.write_bytes(whole)
    assert "base.tar.zst" in refused.err and "frame" in refused.err and list(out.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(stage):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    small = make_folder(stage.folder / "small", 0o755, None)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0777", "tmpfs", small]).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        assert "mounted" in stage.export(stage.plain, small, code=2).err
        for name in ("copy.tar", "copy"):
            refused = stage.export(stage.plain, small / name, code=9)
            assert "No space left" in refused.err and list(small.iterdir()) == [], refused
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_export_that_is_ended_leaves_nothing_and_one_that_is_killed_stands_in_nobodys_way(stage, out):
    def begin(name):
        running = subprocess.Popen(stage.agent.command("export", "primary", stage.plain, "--output", out / name),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: list(out.glob(f"{name}*")) or running.poll() is not None, "the export begins")
        return running

    for name in ("ended.tar", "ended"):
        running = begin(name)
        running.send_signal(signal.SIGTERM)
        _, words = running.communicate(timeout=60)
        if running.returncode == 0:
            assert [path.name for path in out.iterdir()] == [name]  # it was quicker
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
        else:
            assert running.returncode == 1 and list(out.iterdir()) == [], words
    running = begin("killed.tar")
    running.kill()
    running.communicate(timeout=60)
    stage.export(stage.plain, out / "killed.tar", "--force")
    assert [path.name for path in out.iterdir()] == ["killed.tar"]
    running = begin("slain")
    running.kill()
    running.communicate(timeout=60)
    if not (out / "slain").exists():
        refused = stage.export(stage.plain, out / "slain", code=2)
        assert "rm -r" in refused.err and "slain.export-incomplete" in refused.err


@pytest.mark.parametrize("version", [pytest.param(13, marks=pytest.mark.long), 18])
def test_other_versions_start_by_themselves_too(version, scratch, pki, programs):
    if binaries(version) is None:
        pytest.skip(f"PostgreSQL {version} is not on this machine")
    stage = Stage(scratch / f"export-{version}", pki, programs, version)
    try:
        stage.export("latest", stage.out / "copy", "--with-wal")
        stage.start(stage.out / "copy", ROWS, "far")
    finally:
        stage.close()
