"""Proof that the archive's WAL reads from its first to its last segment, by PostgreSQL's own pg_waldump (15)."""

import re
import subprocess

from .cluster import PSQL_BIN
from .scratch import as_user, make_folder, run, wait_for


def unpack_one(path, target, size):
    """False when the file has moved on meanwhile, to its next form."""
    compressed = path.with_name(path.name[:24] + ".zst")
    if compressed.exists():
        run(["zstd", "-dqf", compressed, "-o", target])
        return True
    return run(["cp", path, target], check=False).returncode == 0 and run(["truncate", "-s", str(size), target])


def unpack(agent, server, folder):
    """Every segment as PostgreSQL would get it, the unfinished one completed with zeros; gives the names."""
    make_folder(folder)
    wait_for(lambda: not [path for path in agent.system_folder(server).glob("wal/*/*/*") if path.suffix == ""],
             "finished segments are compressed")
    size = agent.json("wal", "list", server)["segment_size"]
    for path in sorted(agent.system_folder(server).glob("wal/*/*/*")):
        target = folder / path.name[:24]
        if path.suffix in (".zst", ".partial") and not target.exists():
            wait_for(lambda path=path, target=target: unpack_one(path, target, size), f"{path} is unpacked")
    return sorted(path.name for path in folder.iterdir() if re.fullmatch("[0-9A-F]{24}", path.name))


def assert_wal_reads(agent, server, folder, timeline=1, end=None):
    """pg_waldump from the first byte held on the timeline to `end`: no missing segment, no broken record."""
    names = [name for name in unpack(agent, server, folder) if int(name[:8], 16) == timeline]
    numbers = [int(name[8:16], 16) * (0x100000000 // (1 << 20)) + int(name[16:], 16) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"a segment is missing: {names}"
    words = [PSQL_BIN / "pg_waldump", "-q", "-p", folder, "-t", str(timeline), names[0]]
    if end is not None:
        first = numbers[0] << 20
        words = [PSQL_BIN / "pg_waldump", "-q", "-p", folder, "-t", str(timeline), "-s",
                 f"{first >> 32:X}/{first & 0xFFFFFFFF:X}", "-e", end]
    done = subprocess.run(as_user(words), capture_output=True, text=True)
    assert done.returncode == 0 or "invalid record length" in done.stderr, done.stderr
    assert end is None or done.returncode == 0, done.stderr
    return names
