"""One cluster, one repository and one daemon, with the fault library under every process of ours."""

import os
import pathlib
import random
import shutil
import signal
import time

import psycopg2

from board import Board
from harness.agent import BUILD, Agent, lsn_number
from harness.cluster import Cluster
from harness.restored import start_restored
from harness.scratch import give_to, make_folder, wait_for
from invariants import PATIENCE, Invariants
from losses import Losses

SEGMENT = 1 << 20


class World:
    def __init__(self, folder, programs, pki, seed):
        self.folder = make_folder(folder, 0o755)
        self.pki, self.chance = pki, random.Random(seed)
        self.board = Board(self.folder / "board", give_to)
        self.ledger = self.folder / "ledger"
        self.ledger.touch()
        self.ledger.chmod(0o666)
        library = shutil.copy(BUILD / "breaking" / "faults.so", programs / f"faults-{self.folder.name}.so")
        pathlib.Path(library).chmod(0o755)
        self.cluster = Cluster(self.folder / "server", pki, settings=(
            "synchronous_commit = local", "autovacuum = off", "checkpoint_timeout = 1h", "max_wal_size = 1GB",
            "shared_buffers = 16MB"))
        self.cluster.start().create_role()
        self.drop_templates()
        self.agent = Agent(self.folder / "agent", programs, pki)
        self.agent.environment = {
            "LD_PRELOAD": library, "PGCOFFER_BREAKING_BOARD": str(self.board.path), "PGCOFFER_BREAKING_LEDGER": str(self.ledger),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        self.agent.add_server("primary", self.cluster, retention_count=1)
        self.connection = None
        self.marks = 0
        self.targets = 0
        self.losses = None
        self.invariants = Invariants(self)
        self.sql("CREATE TABLE marks (n int, filler text)")
        self.sql("CREATE TABLE other AS SELECT n, md5(n::text) AS words FROM generate_series(1, 20000) AS n")
        self.begin_repository()

    # ---- PostgreSQL

    def drop_templates(self):
        """A base backup of 8 MB instead of 22."""
        self.cluster.sql("ALTER DATABASE template0 IS_TEMPLATE false")
        self.cluster.sql("ALTER DATABASE template1 IS_TEMPLATE false")
        self.cluster.sql("DROP DATABASE template0")
        self.cluster.sql("DROP DATABASE template1")

    def sql(self, text, *values):
        """On one connection that stays open."""
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    self.connection = self.cluster.connect()
                with self.connection.cursor() as cursor:
                    cursor.execute(text, values or None)
                    return (cursor.fetchone() or [None])[0] if cursor.description else None
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.connection = None
                if attempt == 2:
                    raise

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def mark(self, kilobytes=1):
        """Rows that every restore must have."""
        self.marks += 1
        self.sql("INSERT INTO marks SELECT %s, repeat(md5(random()::text), 31) FROM generate_series(1, %s)", self.marks, kilobytes)

    def lsn(self):
        """Everything before it is on the server's disk, so that it is sent."""
        return self.sql("SELECT pg_current_wal_flush_lsn()::text")

    def acknowledged(self):
        """What the server keeps nothing before, as a number: the flush position it was told last."""
        return lsn_number(self.sql("SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'pgcoffer'") or "0/0")

    def timeline(self):
        return int(self.sql("SELECT pg_walfile_name(pg_current_wal_flush_lsn())")[:8], 16)

    def wait_acknowledged(self, lsn):
        self.await_(lambda: self.acknowledged() >= lsn_number(lsn), f"{lsn} is acknowledged")

    def wait_streaming(self):
        self.await_(lambda: self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"), "it streams")

    def await_(self, condition, what):
        try:
            wait_for(condition, what, PATIENCE, 0.01)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.agent.cli('status').out}\n{self.agent.log_text()[-3000:]}") from None

    # ---- pgcoffer

    def begin_repository(self):
        """An empty repository with one backup."""
        self.board.clear()
        self.stop_daemon()
        shutil.rmtree(self.agent.base / "primary", ignore_errors=True)
        self.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        self.agent.start()
        self.wait_streaming()
        self.base_backup = self.agent.backup("primary")["id"]

    def stop_daemon(self, sig=signal.SIGKILL):
        """With all its workers."""
        process = self.agent.process
        if process is None:
            return
        workers = children_of(process.pid)
        if process.poll() is None:
            process.send_signal(sig)
        process.wait(PATIENCE)
        self.agent.process = None
        wait_for(lambda: not any(is_alive(pid) for pid in workers), "no worker is left", PATIENCE, 0.005)
        self.disconnect_walsenders()

    def disconnect_walsenders(self):
        """The server notices by itself that the peer is gone; it need not be waited for."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")

    def start_daemon(self):
        self.agent.start()

    def restart_daemon(self, sig=signal.SIGKILL):
        self.stop_daemon(sig)
        self.start_daemon()

    def wait_for_jobs(self):
        """The daemon completes by itself what was left over."""
        self.await_(lambda: not any(job["state"] == "running" for job in self.agent.json("jobs")["jobs"]), "nothing is running")

    def begin_losses(self, folder):
        self.losses = Losses(self.ledger, folder, self.chance)

    # ---- restoring

    def new_target(self):
        self.targets += 1
        target = self.folder / f"target-{self.targets}"
        shutil.rmtree(target, ignore_errors=True)
        return target

    def restore(self, target, *words):
        return self.agent.cli("restore", "primary", *words, "--target-directory", target, "--json", cwd="/")

    def prove_restore(self):
        """Restores the newest backup to the end of the WAL, starts it and counts the rows."""
        self.mark()
        self.wait_acknowledged(self.lsn())
        target = self.new_target()
        self.agent.ok("restore", "primary", "--target-directory", target, "--json")
        copy = start_restored(self.folder / f"copy-{self.targets}", self.pki, target)
        try:
            query = "SELECT n, count(*) FROM marks GROUP BY 1 ORDER BY 1"
            self.invariants.demand(copy.rows(query) == self.rows(query), "rows are missing in the restored cluster")
        finally:
            copy.close()
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(copy.folder, ignore_errors=True)

    def rows(self, text):
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def close(self):
        self.board.clear()
        self.disconnect()
        self.agent.close()
        self.cluster.close()


def children_of(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid):
    try:
        return ") Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def pause(seconds):
    time.sleep(seconds)
