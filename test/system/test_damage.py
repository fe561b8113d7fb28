"""One byte flipped anywhere: verify names it and exits 7, restore refuses."""

import random

import pytest

from harness.agent import lsn_number
from harness.restored import restore
from harness.scratch import wait_for


@pytest.fixture
def stored(agent, cluster):
    cluster.sql("CREATE TABLE rows AS SELECT n, md5(n::text) AS t FROM generate_series(1, 20000) n")
    backup = agent.backup("primary")
    for _ in range(2):
        cluster.sql("INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(1, 100) n")
        cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""], "compressed")
    agent.ok("verify", "primary")
    return agent.backup_folder("primary", backup["id"])


def flipped(path, offset):
    """Flips one bit there; undoes it when called again."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def places(path, count, chance):
    size = path.stat().st_size
    return sorted({0, size - 1, *(chance.randrange(size) for _ in range(count))})


def flip_everywhere(agent, stored, folder, count):
    chance = random.Random(1)
    files = [path for path in stored.iterdir() if path.name not in ("lock", "verified.json")]  # verify writes the latter anew
    assert {path.name for path in files} >= {"base.tar.zst", "index.jsonl.zst", "backup.json", "backup_manifest.zst"}
    for path in files:
        for offset in places(path, count, chance):
            flipped(path, offset)
            result = agent.cli("verify", "primary", "--json")
            assert result.code == 7, f"{path.name} byte {offset}: {result}"
            assert path.name in result.out + result.err, f"{path.name} byte {offset} is not named: {result}"
            flipped(path, offset)
    for path in sorted(agent.system_folder("primary").glob("wal/*/*/*.zst"))[:-1]:
        for offset in places(path, count, chance):
            flipped(path, offset)
            result = agent.cli("--direct", "verify", "primary", "--json")  # the daemon's would have it fetched again
            assert result.code == 7 and path.name[:24] in result.out + result.err, f"{path.name} byte {offset}: {result}"
            flipped(path, offset)
    agent.ok("verify", "primary")


def test_one_flipped_byte_anywhere_is_found_and_named(agent, stored, folder):
    flip_everywhere(agent, stored, folder, 3)


@pytest.mark.long
def test_many_flipped_bytes_are_found_and_named(agent, stored, folder):
    flip_everywhere(agent, stored, folder, 40)


@pytest.mark.parametrize("name", ["base.tar.zst", "index.jsonl.zst", "backup.json"])
def test_restore_refuses_a_damaged_backup(name, agent, stored, folder):
    path = stored / name
    flipped(path, path.stat().st_size // 2)
    refused = restore(agent, folder / "target", code=7)
    assert name in refused.err
    assert not (folder / "target" / "global" / "pg_control").exists()


def segments_held(agent):
    return sorted(agent.system_folder("primary").glob("wal/*/*/*.zst"))


def test_restore_refuses_when_wal_the_backup_needs_is_missing_or_damaged(agent, stored, folder):
    start = agent.json("show", "primary", "latest")["start_lsn"]
    needed = next(path for path in segments_held(agent) if int(path.name[16:24], 16) == lsn_number(start) >> 20)
    flipped(needed, needed.stat().st_size // 2)
    assert agent.cli("--direct", "verify", "primary").code == 7
    flipped(needed, needed.stat().st_size // 2)
    needed.rename(folder / "aside")
    result = agent.cli("--direct", "verify", "primary", "--json")
    assert result.code == 7 and needed.name[:24] in result.out + result.err and stored.name in result.out + result.err, result
    refused = restore(agent, folder / "target", code=7)
    assert needed.name[:24] in refused.err and not (folder / "target").exists()
    (folder / "aside").rename(needed)
    agent.ok("verify", "primary")


def test_a_gap_after_the_backup_is_named_and_no_target_beyond_it_is_accepted(agent, stored, folder, cluster):
    for _ in range(2):
        cluster.sql("INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(1, 100) n")
        cluster.sql("SELECT pg_switch_wal()")
    end = cluster.sql("SELECT pg_current_wal_lsn()::text")
    agent.wait_flushed("primary", end)
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""], "compressed")
    missing = segments_held(agent)[-2]
    missing.unlink()
    assert len(agent.json("wal", "status", "primary")["gaps"]) == 1
    result = agent.cli("--direct", "verify", "primary", "--json")
    assert result.code == 7 and missing.name[:24] in result.out + result.err, result
    last = segments_held(agent)[-1].name[:24]
    beyond = f"0/{(int(last[16:], 16) << 20) + 100:X}"
    refused = restore(agent, folder / "target", "--target-lsn", beyond, code=7)
    assert not (folder / "target").exists(), refused


def test_truncated_files_are_damage(agent, stored, folder):
    for name in ("base.tar.zst", "index.jsonl.zst", "backup.json"):
        path = stored / name
        whole = path.read_bytes()
        path.write_bytes(whole[:len(whole) // 2])
        result = agent.cli("verify", "primary")
        assert result.code == 7 and name in result.out + result.err, result
        path.write_bytes(whole)
    agent.ok("verify", "primary")


def test_metadata_of_a_newer_format_is_refused_clearly(agent, stored, folder):
    path = stored / "backup.json"
    text = path.read_text()
    path.write_text(text.replace('"format":1', '"format":2').replace('"format": 1', '"format": 2'))
    refused = restore(agent, folder / "target", stored.name, code=7)
    assert "format" in refused.err and "newer" in refused.err
    listed = agent.json("list", "primary")["servers"][0]["backups"]
    assert [row["state"] for row in listed] == ["unreadable"]


def test_wal_get_never_says_not_there_for_damage(agent, stored, cluster, folder):
    held = sorted(path.name[:24] for path in agent.system_folder("primary").glob("wal/*/*/*.zst"))
    path = folder / "out"
    path.mkdir()
    path.chmod(0o777)
    assert agent.cli("wal-get", "primary", held[0], path / "segment").code == 0
    assert (path / "segment").stat().st_size == 1 << 20
    beyond = held[-1][:16] + "000000F0"
    assert agent.cli("wal-get", "primary", beyond, path / "x").code == 1
    assert agent.cli("wal-get", "primary", "00000009" + held[0][8:], path / "x").code == 1
    assert agent.cli("wal-get", "primary", "00000002.history", path / "x").code == 1
    assert agent.cli("wal-get", "nosuch", held[0], path / "x").code == 202
    assert agent.cli("wal-get", "primary").code == 202
    (damaged,) = agent.system_folder("primary").glob(f"wal/*/*/{held[1]}.zst")
    flipped(damaged, damaged.stat().st_size // 2)
    assert agent.cli("wal-get", "primary", held[1], path / "y").code == 207
    assert not (path / "y").exists()
    damaged.unlink()
    assert agent.cli("wal-get", "primary", held[1], path / "y").code == 207, "a hole is not the end"
    agent.stop()
    assert agent.cli("wal-get", "primary", held[0], path / "z").code == 204
    assert agent.cli("wal-get", "--direct", "primary", held[0], path / "z").code == 0
    assert agent.cli("--config", "/nonexistent.conf", "wal-get", "primary", held[0], path / "z").code in (203, 204)
