"""What is broken: a backup, the end of a segment, the switch to another timeline, a restore, a start after a crash, a deletion.

Each scenario is driven with the board armed, then brought to an end without faults, and then the invariants are checked.
"""

import shutil
import signal
import subprocess

from board import DEADLY, LASTING
from harness.scratch import give_to, make_folder
from invariants import PATIENCE, difference, tree_of, wal_digests
from world import pause

CUT_AFTERWARDS = 0.3  # how often the power goes once all is said to be well


class Scenario:
    name = role = None
    classes = ("write", "sync", "rename", "unlink", "create", "send", "receive")
    all_sockets = False
    CASES_A_REPOSITORY = 30

    def __init__(self, world):
        self.world, self.invariants = world, world.invariants

    def folder(self):
        return self.world.agent.base

    def begin(self):
        """Once, before the first case."""

    def prepare(self):
        """Before each case."""

    def act(self, fault):
        """With the board armed."""
        raise NotImplementedError

    def settle(self, outcome, fault, is_hit):
        """Without faults: until everything stands still."""
        raise NotImplementedError

    def check(self, outcome):
        raise NotImplementedError

    def count(self):
        """How many calls of each class there are."""
        self.prepare()
        self.world.begin_losses(self.folder())
        self.world.board.count(self.role, self.folder(), self.all_sockets)
        outcome = self.act(None)
        self.world.board.clear()
        counts = self.world.board.counts
        self.settle(outcome, None, False)
        self.check(outcome)
        return {name: counts[name] for name in self.classes}

    def run(self, call_class, number, fault):
        """One case; gives whether the fault met a call."""
        board = self.world.board
        self.prepare()
        self.world.begin_losses(self.folder())
        board.inject(self.role, self.folder(), call_class, number, fault, self.all_sockets)
        try:
            outcome = self.act(fault)
            is_hit = board.fired > 0
        finally:
            board.clear()
        self.settle(outcome, fault, is_hit)
        self.check(outcome)
        return is_hit

    def crash(self, is_power_cut):
        """The daemon and all its workers are gone, and with a power cut whatever nobody had synced; the archive has what was
        acknowledged. Then the daemon starts again."""
        world = self.world
        world.stop_daemon()
        acknowledged = world.acknowledged()
        put_zeros = world.losses.take() if is_power_cut else None
        self.invariants.nothing_acknowledged_lost(acknowledged, "after a power cut" if is_power_cut else "after a crash")
        if put_zeros is not None:
            put_zeros()
        world.start_daemon()


class OfTheReceiver(Scenario):
    """What is received in one case is read by pg_waldump afterwards."""
    role = "receive"

    def mark_and_wait(self, fault):
        """Until the server was told that all is safe, or the fault has ended the worker."""
        world = self.world
        self.start = world.lsn()
        self.produce()
        self.end = world.lsn()

        def is_over():
            if world.board.fired and fault in DEADLY:
                return True
            if world.board.fired and fault in LASTING:
                pause(0.3)
                world.board.clear()
            return world.acknowledged() >= lsn(self.end) and self.is_settled()
        world.await_(is_over, f"{self.end} is acknowledged")

    def is_settled(self):
        """Finished segments wait for a retry after a fault: that is looked at later."""
        return self.world.board.fired > 0 or not self.invariants.raw_segments()

    def produce(self):
        self.world.mark()
        self.world.sql("SELECT pg_switch_wal()")
        self.world.mark(700)
        self.world.mark(700)

    def settle(self, outcome, fault, is_hit):
        world, chance = self.world, self.world.chance
        if is_hit and fault in DEADLY:
            self.crash(fault == "power")
        self.wait_for_the_end()
        if chance.random() < CUT_AFTERWARDS:
            self.crash(True)
            self.wait_for_the_end()
        if not self.invariants.wal_is_settled(0.5) or self.invariants.temporary_files():
            world.restart_daemon(signal.SIGTERM)
            assert self.invariants.wal_is_settled(PATIENCE), f"segments are not compressed; {world.agent.log_text()[-3000:]}"

    def wait_for_the_end(self):
        self.world.wait_acknowledged(self.end)
        self.invariants.nothing_acknowledged_lost(self.world.acknowledged(), "at the end")

    def check(self, outcome):
        self.invariants.no_leftovers()
        self.invariants.wal_has_no_gap()
        self.invariants.wal_reads(self.start, self.end, self.world.timeline())
        self.invariants.verified("--wal-only")


class SegmentEnd(OfTheReceiver):
    name = "segment"

    def act(self, fault):
        self.mark_and_wait(fault)


class TimelineSwitch(OfTheReceiver):
    """The server is made a standby of nobody and is promoted while it streams."""
    name = "switch"
    CASES_A_REPOSITORY = 15

    def prepare(self):
        world = self.world
        world.wait_acknowledged(world.lsn())
        world.disconnect()
        world.cluster.stop("fast")
        give_to_file(world.cluster.data / "standby.signal")
        world.cluster.start()
        world.wait_streaming()

    def act(self, fault):
        self.world.sql("SELECT pg_promote()")
        self.mark_and_wait(fault)

    def produce(self):
        self.world.mark()
        self.world.sql("SELECT pg_switch_wal()")
        self.world.mark(300)


class Recovery(OfTheReceiver):
    """The receiver starts upon what a crash has left."""
    name = "recovery"

    def prepare(self):
        world = self.world
        world.mark()
        world.sql("SELECT pg_switch_wal()")
        world.mark()
        world.wait_acknowledged(world.lsn())
        assert self.invariants.wal_is_settled(PATIENCE)
        world.stop_daemon()
        segments = sorted((self.invariants.system_folder() / "wal").glob("*/*/*.zst"))
        subprocess.run(["zstd", "-dqf", segments[-1], "-o", segments[-1].with_suffix("")], check=True)
        half = (segments[-1].with_suffix(".zst.tmp"), world.agent.base / "primary" / "server.json.tmp")
        for path in (segments[-1].with_suffix(""), *half):
            path.touch()
            give_to(path)

    def act(self, fault):
        self.world.agent.start(wait=False)  # the fault may end it at once
        self.mark_and_wait(fault)


class Backup(Scenario):
    name = role = "backup"

    def begin(self):
        self.kept = self.invariants.backups_are_whole()

    def prepare(self):
        self.world.mark()

    def act(self, fault):
        return self.world.agent.cli("backup", "primary", "--fast-checkpoint", "--json")

    def settle(self, outcome, fault, is_hit):
        world = self.world
        if is_hit and fault in DEADLY:
            self.crash(fault == "power")
        elif world.chance.random() < CUT_AFTERWARDS:
            self.crash(True)
        elif self.invariants.temporary_files() or self.has_strange_folders():
            world.restart_daemon(signal.SIGTERM)
        world.wait_for_jobs()

    def has_strange_folders(self):
        return any(not (path / "backup.json").exists() or (path / "copied.json").exists()
                   for path in (self.invariants.system_folder() / "backup").iterdir())

    def check(self, outcome):
        invariants, world = self.invariants, self.world
        invariants.no_leftovers()
        backups = invariants.backups_are_whole()
        if outcome.code == 0:
            invariants.demand(outcome.json["id"] in backups, "a backup that was said to be complete is not there")
        for backup in backups:
            if backup == world.base_backup:
                continue
            invariants.verified(backup)
            target = world.new_target()
            done = world.restore(target, backup)
            invariants.demand(done.code == 0, f"a listed backup does not restore: {done}")
            invariants.demand((target / "global" / "pg_control").exists(), "a restore has ended without pg_control")
            shutil.rmtree(target)
            world.agent.ok("delete", "primary", backup)
        invariants.demand(world.base_backup in backups, "another backup is gone")


class Deletion(Scenario):
    name = role = "delete"
    classes = ("write", "sync", "rename", "unlink", "create")

    def prepare(self):
        self.backup = self.world.agent.backup("primary")["id"]

    def act(self, fault):
        return self.world.agent.cli("delete", "primary", self.backup, "--json")

    def settle(self, outcome, fault, is_hit):
        if is_hit and fault in DEADLY:
            self.crash(fault == "power")
        elif is_hit or self.world.chance.random() < CUT_AFTERWARDS:
            self.world.restart_daemon(signal.SIGTERM)
        self.world.wait_for_jobs()

    def check(self, outcome):
        invariants, world = self.invariants, self.world
        backups = invariants.backups_are_whole()
        invariants.no_leftovers()
        invariants.demand(outcome.code != 0 or self.backup not in backups, "a backup that was deleted is listed")
        invariants.demand(world.base_backup in backups, "another backup is gone")
        if self.backup in backups:
            invariants.verified(self.backup)
            world.agent.ok("delete", "primary", self.backup)


class Expiry(Scenario):
    """Of three backups the first is pinned and the second goes, and with it the WAL that nobody needs then."""

    name = role = "expire"
    classes = ("write", "sync", "rename", "unlink", "create")

    def prepare(self):
        world = self.world
        world.agent.ok("pin", "primary", world.base_backup)
        self.make_wal()
        self.doomed = world.agent.backup("primary")["id"]
        self.make_wal()
        self.kept = world.agent.backup("primary")["id"]
        world.wait_acknowledged(world.lsn())
        self.invariants.demand(self.invariants.wal_is_settled(PATIENCE), "raw segments wait")
        self.before = self.held()

    def make_wal(self):
        for _ in range(2):
            self.world.mark()
            self.world.sql("SELECT pg_switch_wal()")

    def held(self):
        return {path.name for path in (self.invariants.system_folder() / "wal").glob("*/*/*.zst")}

    def act(self, fault):
        return self.world.agent.cli("expire", "primary", "--json")

    def settle(self, outcome, fault, is_hit):
        if is_hit and fault in DEADLY:
            self.crash(fault == "power")
        elif is_hit or self.world.chance.random() < CUT_AFTERWARDS:
            self.world.restart_daemon(signal.SIGTERM)
        self.world.wait_for_jobs()

    def check(self, outcome):
        invariants, world = self.invariants, self.world
        backups = invariants.backups_are_whole()
        invariants.no_leftovers()
        invariants.demand({world.base_backup, self.kept} <= set(backups), "a backup that is to be kept is gone")
        invariants.demand(outcome.code != 0 or self.doomed not in backups, "a backup that was removed is listed")
        invariants.wal_has_no_gap()
        invariants.verified()
        world.agent.ok("expire", "primary")
        invariants.demand_equal(invariants.backups_are_whole(), [world.base_backup, self.kept], "after another run")
        invariants.demand(self.before - self.held(), "no WAL was removed")
        preview = world.agent.json("expire", "primary", "--dry-run")["servers"][0]
        invariants.demand_equal((preview["removed_backups"], preview["removed_segments"]), (0, 0), "what is left to be removed")
        invariants.wal_has_no_gap()
        invariants.verified()
        world.agent.ok("delete", "--force", "primary", world.base_backup)
        world.base_backup = self.kept  # from it every later moment is reached


class Restore(Scenario):
    name = "restore"
    role = "cli"
    all_sockets = True
    CASES_A_REPOSITORY = 10 ** 6

    def folder(self):
        return self.parent

    def begin(self):
        self.parent = make_folder(self.world.folder / "restored", 0o755)
        self.target = self.parent / "data"
        self.words = (self.world.base_backup, "--with-wal", "--jobs", "2")
        self.world.wait_acknowledged(self.world.lsn())
        shutil.rmtree(self.target, ignore_errors=True)
        done = self.world.restore(self.target, *self.words)
        assert done.code == 0, f"restore: {done}"
        self.reference = tree_of(self.target)
        segments = wal_digests(self.target)
        segments.pop(max(name for name in segments if "." not in name))  # it grows
        self.segments = segments

    def prepare(self):
        shutil.rmtree(self.target, ignore_errors=True)

    def act(self, fault):
        return self.world.restore(self.target, *self.words)

    def settle(self, outcome, fault, is_hit):
        if (is_hit and fault == "power") or self.world.chance.random() < CUT_AFTERWARDS:
            self.world.losses.take()

    def check(self, outcome):
        invariants = self.invariants
        if outcome.code == 0 or (self.target / "global" / "pg_control").exists():
            self.demand_whole(f"a restore that ended with {outcome.code} is startable and not whole")
        else:
            invariants.does_not_start(self.target)
            shutil.rmtree(self.target, ignore_errors=True)
            again = self.world.restore(self.target, *self.words)
            invariants.demand(again.code == 0, f"the second restore: {again}")
            self.demand_whole("the second restore is not whole")

    def demand_whole(self, what):
        self.invariants.demand(self.target.exists(), what)
        self.demand_same(tree_of(self.target), self.reference, what)
        segments = wal_digests(self.target)
        self.demand_same({name: digest for name, digest in segments.items() if name in self.segments}, self.segments, what)

    def demand_same(self, found, expected, what):
        self.invariants.demand(found == expected, f"{what}: {difference(found, expected)}")


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def give_to_file(path):
    path.touch()
    give_to(path)


SCENARIOS = {kind.name: kind for kind in (Backup, SegmentEnd, TimelineSwitch, Restore, Recovery, Deletion, Expiry)}
