"""What must be true after every fault. Each check counts itself; a broken one raises Broken."""

import hashlib
import os
import re
import subprocess

from harness.agent import lsn_number
from harness.cluster import PSQL_BIN
from harness.scratch import as_user, run, wait_for

SEGMENT = 1 << 20
SEGMENTS_A_FILE = 0x100000000 // SEGMENT
MARKER = "*incomplete*"
PATIENCE = 60  # seconds for what should take one


class Broken(AssertionError):
    pass


class Invariants:
    def __init__(self, world):
        self.world, self.checked = world, 0

    def demand(self, is_true, what):
        self.checked += 1
        if not is_true:
            raise Broken(what)

    def demand_equal(self, found, expected, what):
        self.demand(found == expected, f"{what}: {found!r} instead of {expected!r}")

    # ---- the repository

    def system_folder(self):
        return self.world.agent.system_folder("primary")

    def temporary_files(self):
        return sorted(str(path.relative_to(self.world.agent.base)) for path in self.world.agent.base.rglob("*.tmp"))

    def no_leftovers(self):
        """A segment that is being compressed has one for a moment, and so has a document that is being written."""
        left = []

        def look():
            left[:] = self.temporary_files()
            return not left
        try:
            wait_for(look, "no temporary file", PATIENCE, 0.02)
        except AssertionError:
            pass
        self.demand_equal(left, [], "temporary files are left")

    def backups_are_whole(self):
        """Every folder is a listed, complete backup; gives their ids."""
        rows = self.world.agent.json("list", "primary")["servers"][0]["backups"]
        folders = sorted(path.name for path in (self.system_folder() / "backup").iterdir())
        self.demand_equal(sorted(row["id"] for row in rows), folders, "folders that are not listed")
        self.demand_equal({row["state"] for row in rows} - {"complete"}, set(), "backups that are not complete")
        left = [str(path) for path in (self.system_folder() / "backup").glob("*/copied.json")]
        self.demand_equal(left, [], "copied.json is left")
        return folders

    def verified(self, *words):
        done = self.world.agent.cli("verify", "primary", *words, timeout=600)
        self.demand(done.code == 0, f"verify {' '.join(words)}: {done}")

    def nothing_acknowledged_lost(self, acknowledged, what):
        """`acknowledged` was read before the look at the disk."""
        held = 0
        for _ in range(3):
            held = max(held, self.held_end())
            if held >= acknowledged:
                break
        self.demand(held >= acknowledged, f"{what}: {acknowledged:X} was acknowledged, and {held:X} is the end of what is held")

    def held_end(self):
        """Behind the last byte held of any timeline, without asking any program of ours."""
        end = 0
        for parent, _, names in os.walk(self.system_folder() / "wal"):
            for name in names:
                found = re.fullmatch(r"([0-9A-F]{24})(\.zst|\.partial|)", name)
                if not found:
                    continue
                start = segment_start(found[1])
                try:
                    size = os.stat(os.path.join(parent, name)).st_size if found[2] == ".partial" else SEGMENT
                except FileNotFoundError:
                    continue
                end = max(end, start + size)
        return end

    def wal_is_settled(self, seconds):
        """Finished segments are compressed; False when they wait for longer."""
        try:
            wait_for(lambda: not self.raw_segments(), "no raw segment", seconds, 0.02)
            return True
        except AssertionError:
            return False

    def raw_segments(self):
        return [path for path in (self.system_folder() / "wal").glob("*/*/*") if re.fullmatch("[0-9A-F]{24}", path.name)]

    def wal_has_no_gap(self):
        status = self.world.agent.json("wal", "status", "primary")
        self.demand_equal(status["gaps"], [], "gaps")

    def place_of(self, name):
        folder = self.system_folder() / "wal" / name[:8] / name[8:16]
        return next((path for path in (folder / (name + suffix) for suffix in (".zst", "", ".partial")) if path.exists()), None)

    def wal_reads(self, start, end, timeline):
        """By PostgreSQL's own reader, from the record that begins at `start` to `end`."""
        folder = self.world.folder / "wal"
        run(["rm", "-rf", folder])
        run(["mkdir", folder])
        first = lsn_number(start) // SEGMENT
        last = (lsn_number(end) - 1) // SEGMENT
        for number in range(first, last + 1):
            name = f"{timeline:08X}{number // SEGMENTS_A_FILE:08X}{number % SEGMENTS_A_FILE:08X}"
            place = self.place_of(name)
            self.demand(place is not None, f"segment {name} is missing")
            if place.suffix == ".zst":
                run(["zstd", "-dqf", place, "-o", folder / name])
            else:
                run(["cp", place, folder / name])
                run(["truncate", "-s", str(SEGMENT), folder / name])
        done = subprocess.run(as_user([PSQL_BIN / "pg_waldump", "-q", "-p", folder, "-t", str(timeline), "-s", start, "-e", end]),
                              capture_output=True, text=True)
        self.demand(done.returncode == 0, f"pg_waldump from {start} to {end} on timeline {timeline}: {done.stderr}")

    # ---- a restored folder

    def does_not_start(self, target):
        """A failed restore left nothing, or a folder that is marked and has no pg_control."""
        left = sorted(path.name for path in target.iterdir()) if target.exists() else []
        self.demand(not (target / "global" / "pg_control").exists(), f"a half restored folder has pg_control: {left}")
        is_marked = bool(list(target.glob(MARKER)) or list(target.glob("global/" + MARKER)))
        self.demand(not left or is_marked, f"a half restored folder is not marked: {left}")


def segment_start(name):
    return (int(name[8:16], 16) * SEGMENTS_A_FILE + int(name[16:], 16)) * SEGMENT


def tree_of(folder):
    """Names, modes and digests of a data directory, but for its WAL: see wal_digests()."""
    entries = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "pg_wal"]
        for name in ["", *names]:
            path = os.path.join(parent, name)
            digest = ""
            if name:
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
            entries[os.path.relpath(path, folder)] = (oct(os.lstat(path).st_mode), digest)
    return entries


def difference(found, expected):
    """A few names, in words."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    words = {name: "missing" if name not in found else "strange" if name not in expected else "other" for name in names[:5]}
    return ", ".join(f"{name} {word}" for name, word in words.items())


def wal_digests(folder):
    """The names and bytes of what lies in pg_wal."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "pg_wal").iterdir() if path.is_file()}
