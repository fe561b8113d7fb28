"""Retention on a real server: what is removed is gone, what is kept restores."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.restored import restore, start_restored
from harness.scratch import give_to, make_folder, wait_for

SEGMENT = 1 << 20


class Stored:
    """One cluster, six backups with WAL between them, and a daemon that keeps the two newest."""

    def __init__(self, folder, pki, programs):
        make_folder(folder, 0o755)
        self.folder, self.pki = folder, pki
        self.cluster = Cluster(folder / "server", pki).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki).add_server("primary", self.cluster, retention_count=2,
                                                                       pg_bin_dir=self.cluster.bin)
        self.agent.start().wait_streaming("primary")
        self.cluster.sql("CREATE TABLE marks (n int)")
        self.backups = []
        for number in range(6):
            self.backups.append(self.agent.backup("primary", "--label", f"b{number}")["id"])
            self.cluster.sql(f"INSERT INTO marks VALUES ({number})")
            for _ in range(2):
                self.cluster.sql("SELECT pg_switch_wal()")
                self.cluster.sql(f"INSERT INTO marks VALUES ({number})")
        self.settle()

    def add_backups(self, count):
        """With WAL behind each; what older tests leased is released."""
        for lease in self.leases():
            lease.unlink()
        added = []
        for _ in range(count):
            added.append(self.agent.backup("primary")["id"])
            for _ in range(2):
                self.cluster.sql("INSERT INTO marks VALUES (7)")
                self.cluster.sql("SELECT pg_switch_wal()")
        self.settle()
        return added

    def assert_held_from(self, lease, before):
        """Of the segments of `before` those that hold the position in the lease's name, or lie behind it."""
        start = int(lease.name[9:25], 16)
        wanted = {path.name[:24] for path in before if (int(path.name[8:16], 16) << 32) + (int(path.name[16:24], 16) + 1) * SEGMENT > start}
        assert wanted and wanted <= {path.name[:24] for path in self.segments()}

    @contextlib.contextmanager
    def expiring(self):
        """Retention's worker, stopped when the backups are gone and before the WAL goes: it waits to read expired.json."""
        path = self.agent.system_folder("primary") / "wal" / "expired.json"
        kept = path.with_suffix(".kept")
        doomed = [self.agent.backup_folder("primary", row["id"]) for row in self.expire("--dry-run")["backups"] if not row["kept"]]
        assert doomed
        path.rename(kept)
        os.mkfifo(path, 0o600)
        give_to(path)
        writer = None
        running = subprocess.Popen(self.agent.command("expire", "primary"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)

        def is_in_the_middle():
            nonlocal writer
            is_late = not any(folder.exists() for folder in doomed)
            try:
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as problem:
                assert problem.errno == errno.ENXIO
                return False
            if not is_late:  # who reads it earlier gets it
                os.write(writer, kept.read_bytes())
                os.close(writer)
                writer = None
            return is_late
        try:
            wait_for(is_in_the_middle, "the worker is in the middle", 60, 0.002)
            yield running
        finally:
            kept.rename(path)
            if writer is not None:
                os.close(writer)
            running.communicate(timeout=60)

    def settle(self):
        self.agent.wait_flushed("primary", self.cluster.sql("SELECT pg_current_wal_flush_lsn()::text"))
        wait_for(lambda: not [path for path in self.segments() if path.suffix == ""], "compressed")

    def segments(self):
        return sorted(path for path in self.agent.system_folder("primary").glob("wal/*/*/*") if path.suffix != ".json")

    def files(self):
        """Everything but what the daemon writes at any time."""
        return sorted(str(path) for path in self.agent.system_folder("primary").rglob("*") if path.suffix in (".zst", ".json"))

    def leases(self, kind=""):
        """Of restores; of backups and drills by the name of the kind."""
        pattern = "?" * 34 + (f".{kind}-*" if kind else "")
        return sorted((self.agent.system_folder("primary") / "lease").glob(pattern))

    def listed(self):
        (server,) = self.agent.json("list", "primary")["servers"]
        return [row["id"] for row in server["backups"]]

    def expire(self, *words):
        (server,) = self.agent.json("expire", "primary", *words)["servers"]
        return server

    def assert_sound(self):
        self.agent.ok("verify", "primary")
        assert self.agent.json("wal", "status", "primary")["gaps"] == []
        assert not list(self.agent.system_folder("primary").rglob("*.deleted"))

    def assert_restores(self, backup, marks, *words):
        target = self.folder / f"restored-{backup}-{marks}"
        restore(self.agent, target, backup, "--with-wal", *words)
        cluster = start_restored(self.folder / f"server-{backup}-{marks}", self.pki, target)
        assert int(cluster.sql("SELECT coalesce(max(n), -1) FROM marks")) == marks
        cluster.close()

    def close(self):
        self.agent.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def stored(scratch, pki, programs):
    stored = Stored(scratch / "expire", pki, programs)
    yield stored
    stored.close()


def verdicts(server):
    return {row["id"]: (row["kept"], row["rule"]) for row in server["backups"]}


def test_an_explanation_has_a_line_for_each_backup_and_changes_nothing(stored):
    before = stored.files()
    lines = stored.agent.ok("expire", "primary", "--explain").out.splitlines()
    for number, backup in enumerate(stored.backups):
        (line,) = [line for line in lines if f"backup {backup}:" in line]
        assert ("keep (count)" in line) == (number >= 4), line
        assert ("remove (surplus)" in line) == (number < 4), line
    assert any("remove (unneeded)" in line for line in lines) and any("keep (reachable)" in line for line in lines)
    assert lines[-1].startswith("primary: 4 backups and ") and "would be removed" in lines[-1]
    shorter = stored.agent.ok("expire", "primary", "--dry-run").out
    assert "keep" not in shorter and shorter.count("remove (surplus)") == 4
    other = stored.expire("--dry-run", "--retention", "7, 4, 12, 5")
    assert other["removed_backups"] == 0 and other["policy"]["retention"] == "7, 4, 12, 5"
    assert set(verdicts(other).values()) == {(True, "days")}
    assert stored.files() == before


def test_what_is_wrong_with_a_question_is_said(stored):
    for words in (["--retention", "1"], ["--retention-count", "1"], ["--retention", "0", "--explain"],
                  ["--retention", "-", "--dry-run"], ["--wal-retention", "7", "--dry-run"], ["--retention-count", "0", "--explain"],
                  ["--retention", "1", "--retention-count", "1", "--explain"]):
        assert stored.agent.cli("expire", "primary", *words).code == 2, words
    assert stored.agent.cli("expire", "nobody").code == 2


def test_two_at_once_exclude_each_other(stored):
    path = stored.agent.base / "primary" / "expire.lock"
    with open(path, "a") as file:
        path.chmod(0o666)
        fcntl.flock(file, fcntl.LOCK_EX)
        result = stored.agent.cli("expire", "primary")
        assert result.code == 8 and "expire" in result.err, result
        assert stored.agent.cli("expire").code == 8  # of all servers, too
        assert stored.listed() == stored.backups
    assert stored.expire("--dry-run")["removed_backups"] == 4


def test_what_is_removed_is_gone_and_what_is_kept_restores(stored):
    agent, (oldest, pinned, read, *_, last) = stored.agent, stored.backups
    agent.ok("pin", "primary", pinned)
    preview, segments = stored.expire("--dry-run"), stored.segments()
    with open(agent.backup_folder("primary", read) / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        done = stored.expire()
    kept = {pinned: (True, "pinned"), read: (True, "in-use"), stored.backups[4]: (True, "count"), last: (True, "count")}
    assert {backup: verdict for backup, verdict in verdicts(done).items() if verdict[0]} == kept
    assert done["removed_backups"] == 2 == preview["removed_backups"] - 1 and done["freed_bytes"] > 0
    assert any(read in warning for warning in done["warnings"]), done["warnings"]
    assert stored.listed() == [pinned, read, stored.backups[4], last]
    stored.assert_sound()
    again = stored.expire()
    assert again["removed_backups"] == 1 and stored.listed() == [pinned, stored.backups[4], last]
    assert len(stored.segments()) == len(segments) - done["removed_segments"] - again["removed_segments"] < len(segments)
    assert again["removed_segments"] > 0
    # The same code decides: what the preview named for all went in the two runs together.
    assert {row["id"] for row in preview["backups"] if not row["kept"]} == {oldest, read, stored.backups[3]}
    assert preview["removed_segments"] == done["removed_segments"] + again["removed_segments"]
    third = stored.expire()
    assert (third["removed_backups"], third["removed_segments"], third["freed_bytes"]) == (0, 0, 0)
    stored.assert_sound()

    stored.assert_restores(pinned, 0, "--target-immediate", "--target-action", "promote")
    stored.assert_restores(stored.backups[4], 5)
    refused = restore(agent, stored.folder / "refused", pinned, code=2)
    error = json.loads(refused.out)["error"]
    assert "was removed by retention" in error["message"] and "--target-immediate" in error["hint"], refused
    assert not (stored.folder / "refused").exists()


def test_the_receiver_goes_on_and_what_was_removed_is_not_fetched_again(stored):
    before = {path.name[:24] for path in stored.segments()}
    stored.agent.kill()
    stored.agent.start().wait_streaming("primary")
    for _ in range(2):
        stored.cluster.sql("INSERT INTO marks VALUES (6)")
        stored.cluster.sql("SELECT pg_switch_wal()")
    stored.settle()
    after = {path.name[:24] for path in stored.segments()}
    assert before <= after and min(after) == min(before) and min(after - before) > max(before)
    stored.assert_sound()


def test_all_servers_without_a_name(stored):
    servers = stored.agent.json("expire")["servers"]
    assert [server["server"] for server in servers] == ["primary"] and servers[0]["error"] is None


def test_what_a_restored_server_may_still_replay_stays_for_a_week(stored):
    agent, restored = stored.agent, stored.backups[4]
    for former in stored.leases():
        former.unlink()
    result = json.loads(restore(agent, stored.folder / "leased", restored).out)
    assert result["lease_days"] == 7 and result["warnings"] == []
    (lease,) = stored.leases()
    assert lease.name.startswith("00000001-") and lease.name.endswith("-00000001")
    assert json.loads(restore(agent, stored.folder / "dry", restored, "--dry-run").out)["lease_days"] == 0
    for _ in range(2):
        agent.backup("primary")
        stored.cluster.sql("INSERT INTO marks VALUES (7)")
        stored.cluster.sql("SELECT pg_switch_wal()")
    stored.settle()
    before = stored.segments()
    done = stored.expire()
    assert restored not in stored.listed() and done["removed_backups"] == 2
    assert [row for row in done["wal"] if row["rule"] == "lease" and row["kept"]]
    assert stored.segments() == before
    stored.assert_sound()
    os.utime(lease, (0, time.time() - 8 * 86400))
    assert stored.expire()["removed_segments"] > 0
    assert not lease.exists() and len(stored.segments()) < len(before)
    stored.assert_sound()


def test_a_second_one_is_refused_and_a_killed_one_is_ended_by_the_next(stored):
    agent = stored.agent
    first, *kept = stored.add_backups(3)
    before = stored.segments()
    with stored.expiring() as running:
        second = agent.cli("expire", "primary")
        assert second.code == 8 and "retention is applied" in second.err, second
        assert agent.cli("delete", "primary", "oldest").code == 8
        (worker,) = agent.worker_pids("expire")
        os.kill(worker, signal.SIGKILL)
        running.wait(60)
    assert running.returncode not in (0, 8)
    assert stored.listed() == [stored.backups[1], *kept] and stored.segments() == before  # the first is pinned
    stored.assert_sound()
    done = stored.expire()
    assert done["removed_backups"] == 0 and done["removed_segments"] > 0
    assert len(stored.segments()) == len(before) - done["removed_segments"]
    stored.assert_sound()


def test_a_backup_that_is_being_restored_stays_with_all_wal_behind_it(stored):
    agent = stored.agent
    doomed, *_ = stored.add_backups(3)
    before = stored.segments()
    target = stored.folder / "slow"
    restoring = subprocess.Popen(agent.command("restore", "primary", doomed, "--target-directory", target, "--with-wal", "--json"),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: stored.leases() or restoring.poll() is not None, "it has its lease", 60, 0.001)
    client = pathlib.Path(f"/proc/{restoring.pid}")
    pids = [restoring.pid, *map(int, (client / "task" / str(restoring.pid) / "children").read_text().split())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert restoring.poll() is None and agent.worker_pids("serve")
    (lease,) = stored.leases()
    lease.unlink()  # the session alone is what keeps it
    done = stored.expire()
    assert verdicts(done)[doomed] == (True, "in-use") and any(doomed in warning for warning in done["warnings"])
    assert doomed in agent.cli("expire", "primary", "--explain").out
    assert [row["rule"] for row in done["wal"] if row["kept"] and row["rule"] == "in-use"]
    stored.assert_held_from(lease, before)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    out, err = restoring.communicate(timeout=120)
    assert restoring.returncode == 0, err
    cluster = start_restored(stored.folder / "server-slow", stored.pki, target)
    assert int(cluster.sql("SELECT max(n) FROM marks")) == 7
    cluster.close()
    held = stored.segments()
    again = stored.expire()
    assert again["removed_backups"] == 1 and again["removed_segments"] > 0 and len(stored.segments()) < len(held)
    stored.assert_sound()


def test_a_drill_keeps_its_wal_as_long_as_it_runs(stored):
    agent = stored.agent
    doomed, *_ = stored.add_backups(1)
    scratch = make_folder(stored.folder / "scratch")

    def queries():
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "cwd").startswith(str(scratch)) and b"SELECT" in (entry / "cmdline").read_bytes():
                    return True
        return drilling.poll() is not None
    drilling = subprocess.Popen(agent.command("drill", "primary", doomed, "--scratch", scratch, "--query", "SELECT pg_sleep(600)"),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(queries, "the query runs", 120)
        assert drilling.poll() is None, drilling.communicate()
        (lease,) = stored.leases("drill")
        assert not stored.leases()
        stored.add_backups(2)
        held = stored.segments()
        done = stored.expire()
        assert doomed not in stored.listed() and [row for row in done["wal"] if row["rule"] == "lease" and row["kept"]]
        stored.assert_held_from(lease, held)
    finally:
        drilling.terminate()
        drilling.communicate(timeout=60)
    assert not stored.leases("drill")
    assert stored.expire()["removed_segments"] > 0
    stored.assert_sound()


def test_a_backup_has_a_lease_and_one_that_fails_takes_it_away(stored):
    agent = stored.agent
    (lease,) = stored.leases("backup")
    stored.add_backups(1)
    (newer,) = stored.leases("backup")
    assert newer.name != lease.name
    taking = subprocess.Popen(agent.command("backup", "primary", "--fast-checkpoint"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: stored.leases("backup") not in ([], [newer]), "it has its lease", 60, 0.001)
    (worker,) = agent.worker_pids("backup")
    os.kill(worker, signal.SIGTERM)
    _, err = taking.communicate(timeout=60)
    assert taking.returncode != 0, err
    assert stored.leases("backup") == []
