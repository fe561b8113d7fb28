"""Segments that are not compressed yet have only PostgreSQL's own checksums; compressed ones are known to the last bit."""

import random
import re
import subprocess

import pytest

from harness.scratch import give_to, wait_for


def flip(path, offset):
    """One bit; undone by a second call. The bit is not XLP_BKP_REMOVABLE, which means nothing to a recovery."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def segments(agent):
    return sorted(path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix != ".json")


def make_raw(path):
    """The state a segment has between its last byte and its compression."""
    raw = path.with_suffix("")
    subprocess.run(["zstd", "-dq", path, "-o", raw], check=True)
    raw.chmod(0o600)
    give_to(raw)
    path.unlink()
    return raw


def hold_wal(agent, cluster):
    """Load, switches and a checkpoint; then the daemon is stopped."""
    cluster.pgbench("-i", "-s", "1", "-q")
    cluster.pgbench("-c", "2", "-t", "300")
    cluster.sql("SELECT pg_switch_wal()")
    cluster.pgbench("-c", "2", "-t", "300")
    cluster.sql("SELECT pg_logical_emit_message(false, 'large', repeat(md5('x'), 80000))")  # over three segments
    cluster.sql("CHECKPOINT")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"))
    wait_for(lambda: not [path for path in segments(agent) if path.suffix == ""], "compressed")
    agent.stop()


def assert_found(agent, path, offset):
    flip(path, offset)
    result = agent.cli("--direct", "verify", "primary", "--wal-only", "--json")
    assert result.code == 7, f"{path.name} byte {offset}: {result}"
    # A record may lie in several segments: then the first and the last of them are named.
    names = re.findall("[0-9A-F]{24}", result.out)
    assert names and min(names) <= path.name[:24] <= max(names), f"{path.name} byte {offset} is not named: {result}"
    flip(path, offset)


def flip_in_notes(agent, chance, count):
    """Beside a segment that is not compressed a note is about nothing."""
    notes = [path.parent / f"{path.stem}.contents.json" for path in segments(agent) if path.suffix == ".zst"]
    for path in chance.sample(notes, count):
        assert_found(agent, path, chance.randrange(path.stat().st_size))


def flip_everywhere(agent, cluster, count):
    hold_wal(agent, cluster)
    chance = random.Random(cluster.version)
    compressed = [path for path in segments(agent) if path.suffix == ".zst"]
    for path in chance.sample(compressed[1:], min(6, len(compressed) - 1)):
        make_raw(path)
    agent.ok("--direct", "verify", "primary", "--wal-only")
    # What comes first was begun before the archive; what was received last may be an unfinished record.
    bare = [path for path in segments(agent)[1:] if path.suffix != ".zst"]
    assert len(bare) >= 4 and bare[-1].suffix == ".partial"
    for _ in range(count):
        path = chance.choice(bare)
        size = path.stat().st_size
        page = chance.randrange((size + 8191) // 8192) * 8192
        assert_found(agent, path, min(size - 1, page + chance.randrange(24)))
        assert_found(agent, path, chance.randrange(size))
    flip_in_notes(agent, chance, 5)
    agent.ok("--direct", "verify", "primary", "--wal-only")


def test_a_flipped_bit_of_an_uncompressed_segment_is_found(agent, cluster):
    flip_everywhere(agent, cluster, 25)


@pytest.mark.long
@pytest.mark.parametrize("version", [13, 14, 15, 16, 17, 18])
def test_many_flipped_bits_of_uncompressed_segments_are_found(version, make_cluster, make_agent):
    cluster = make_cluster(version=version).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    flip_everywhere(agent, cluster, 200)


def test_a_flipped_bit_of_a_compressed_segment_is_found_by_all_who_read_it(agent, cluster, folder):
    hold_wal(agent, cluster)
    path = [path for path in segments(agent) if path.suffix == ".zst"][1]
    size = path.stat().st_size
    whole = subprocess.run(["zstd", "-dqc", path], check=True, capture_output=True).stdout
    assert len(whole) == 1 << 20
    for offset in (5, size // 2, size - 44, size - 36, size - 1):
        assert_found(agent, path, offset)
        flip(path, offset)
        assert agent.cli("--direct", "wal-get", "primary", path.stem, folder / "out").code == 207, f"byte {offset}"
        assert not (folder / "out").exists()
        flip(path, offset)
    path.write_bytes(path.read_bytes()[:-44])
    assert agent.cli("--direct", "verify", "primary", "--wal-only").code == 7
    assert agent.cli("--direct", "wal-get", "primary", path.stem, folder / "out").code == 207
