"""doc/repository-format.md is true: a reader written from that page alone understands a repository, and its commands restore."""

import hashlib
import io
import json
import pathlib
import re
import struct
import subprocess
import tarfile

import pytest

from harness.restored import start_restored
from harness.scratch import give_to, make_folder, run, wait_for

PAGE = (pathlib.Path(__file__).parents[2] / "doc" / "repository-format.md").read_text()


def unpack(data):
    return subprocess.run(["zstd", "-dcq"], input=data, check=True, capture_output=True).stdout


def read_lines(data):
    return [json.loads(line) for line in unpack(data).splitlines()]


def read_seek_table(archive):
    count, flags, magic = struct.unpack("<IBI", archive[-9:])
    assert (flags, magic) == (0x80, 0x8F92EAB1)
    table = archive[-(8 + 12 * count + 9):]
    assert struct.unpack("<II", table[:8]) == (0x184D2A5E, len(table) - 8)
    return [struct.unpack("<III", table[at:at + 12]) for at in range(8, 8 + 12 * count, 12)]


def crc32c(data):
    """As the manifest prints it: the bytes of the number in memory order."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF).hex()


@pytest.fixture
def stored(agent, cluster, folder):
    """A folder of the repository with one backup, that has a tablespace and a relation of several frames."""
    space = make_folder(folder / "space")
    cluster.sql(f"CREATE TABLESPACE aside LOCATION '{space}'")
    cluster.sql("CREATE TABLE in_space (n int) TABLESPACE aside")
    cluster.sql("INSERT INTO in_space SELECT generate_series(1, 100)")
    cluster.sql("CREATE TABLE rows AS SELECT n, md5(n::text) AS padding FROM generate_series(1, 60000) n")
    backup = agent.backup("primary", "--label", "an \"odd\" label\\")
    return agent.backup_folder("primary", backup["id"])


def test_the_metadata_is_canonical_and_names_every_file(stored):
    text = (stored / "backup.json").read_text()
    meta = json.loads(text)
    assert text == json.dumps(meta, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    command = re.search(r"```sh\n(sed .*)\n```", PAGE)[1]
    digest = subprocess.run(["sh", "-c", command], cwd=stored, check=True, capture_output=True, text=True).stdout.split()[0]
    assert digest == meta["sha256"]
    assert meta["format"] == 1 and meta["state"] == "complete" and meta["id"] == stored.name
    assert {path.name for path in stored.iterdir()} == {entry["name"] for entry in meta["files"]} | {"backup.json", "lock"}
    for entry in meta["files"]:
        data = (stored / entry["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"]), entry["name"]
    assert meta["stored_bytes"] == sum(entry["size"] for entry in meta["files"])
    described = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| key | |"):PAGE.index("**Its own checksum.**")]))
    assert set(meta) <= described


def test_the_index_the_seek_tables_and_the_archives_say_the_same(stored):
    lines = read_lines((stored / "index.jsonl.zst").read_bytes())
    frames = [line for line in lines if "frame" in line]
    members = [line for line in lines if "member" in line]
    assert lines[0] == {"format": 1} and lines[-1] == {"end": True, "frames": len(frames), "members": len(members)}
    names = {line["member"] for line in members}
    assert names == {path.name.split(".")[0] for path in stored.glob("*.tar.zst")} and len(names) == 2
    total = 0
    for name in names:
        archive, plain = (stored / f"{name}.tar.zst").read_bytes(), b""
        own = [line for line in frames if line["frame"] == name]
        for frame, (stored_length, length, _) in zip(own, read_seek_table(archive), strict=True):
            assert (frame["offset"], frame["stored"], frame["length"]) == (len(plain), stored_length, length)
            content = unpack(archive[frame["at"]:frame["at"] + frame["stored"]])
            assert hashlib.sha256(content).hexdigest() == frame["sha256"] and len(content) == frame["length"] <= 2 << 20
            plain += content
        assert unpack(archive) == plain
        total += len(plain)
        check_members(plain, [line for line in members if line["member"] == name], {frame["offset"] for frame in own})
    assert total == json.loads((stored / "backup.json").read_text())["size_bytes"]


def check_members(plain, lines, frame_starts):
    """The index names the members of the tar in their order, and a large one begins its own frames."""
    with tarfile.open(fileobj=io.BytesIO(plain), format=tarfile.GNU_FORMAT) as tar:
        for member, line in zip(tar.getmembers(), lines, strict=True):
            assert (member.name, member.size, member.mode, member.offset_data) == \
                (line["path"], line["size"], line["mode"], line["data"])
            assert (member.isdir(), member.isfile()) == (line["type"] == "directory", line["type"] == "file")
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "postgres", "postgres")
            data = plain[line["data"]:line["data"] + line["size"]]
            if line["type"] == "file" and line["size"] < 9000:
                assert crc32c(data) == line["checksum"], line["path"]
            if line["size"] >= 1 << 20:
                assert set(range(line["data"], line["data"] + line["size"] + 1, 2 << 20)) <= frame_starts
                assert line["data"] + line["size"] in frame_starts


def test_the_manifest_is_the_servers_and_fits_the_index(stored):
    manifest = json.loads(unpack((stored / "backup_manifest.zst").read_bytes()))
    listed = {entry["Path"]: (entry["Size"], entry["Checksum"]) for entry in manifest["Files"]}
    found = {}
    for line in read_lines((stored / "index.jsonl.zst").read_bytes()):
        if line.get("type") == "file":
            place = "" if line["member"] == "base" else f"pg_tblspc/{line['member']}/"
            found[place + line["path"]] = (line["size"], line["checksum"])
    assert found == listed


def test_segments_are_whole_or_say_that_they_are_not(stored, agent, cluster):
    cluster.sql("SELECT pg_switch_wal()")
    cluster.sql("INSERT INTO in_space SELECT generate_series(1, 100)")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
    wal = agent.system_folder("primary") / "wal"
    size = json.loads((wal / "segment_size.json").read_text())["segment_size"]
    wait_for(lambda: all((path.parent / f"{path.stem}.contents.json").exists() for path in wal.glob("*/*/*.zst")), "notes")
    states = set()
    for path in wal.glob("*/*/*"):
        states.add(path.suffix)
        assert path.name[:8] == path.parts[-3] and path.name[8:16] == path.parts[-2]
        data = path.read_bytes()
        if path.suffix == ".json":
            note = json.loads(data)
            segment = path.parent / f"{note['segment']}.zst"
            assert path.name == f"{note['segment']}.contents.json" and segment.read_bytes()[-32:].hex() == note["sha256"]
            continue
        if path.suffix == ".zst":
            body, trailer = data[:-44], data[-44:]
            assert trailer == struct.pack("<II4s", 0x184D2A57, 36, b"PGCS") + hashlib.sha256(body).digest()
            assert unpack(body) == unpack(data)
            data = unpack(data)
        assert path.suffix == ".partial" or len(data) == size
    assert ".partial" in states and states <= {"", ".zst", ".partial", ".json"}
    assert json.loads((wal.parents[1] / "server.json").read_text())["system_identifier"] == wal.parent.name


def test_its_commands_restore_by_hand(stored, agent, cluster, folder, pki):
    cluster.sql("INSERT INTO rows SELECT n, '' FROM generate_series(60001, 61000) n")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
    agent.stop()
    cluster.stop("immediate")
    target, wal, space = folder / "by-hand", folder / "wal", make_folder(folder / "new-space")

    script = re.search(r"```sh\n(repository=.*?)\n```", PAGE, re.S)[1]
    for name, value in (("repository", stored.parents[1]), ("target", target), ("wal", wal)):
        script = re.sub(rf"^{name}=.*$", f"{name}={value}", script, flags=re.M)
    script = script.replace("20261122T013000Z", stored.name)
    give_to(folder)
    run(["sh", "-euc", script], cwd="/")
    (archive,) = [path for path in stored.glob("*.tar.zst") if path.name != "base.tar.zst"]
    run(["tar", "--zstd", "-xf", archive, "-C", space])
    manifest = unpack((stored / "backup_manifest.zst").read_bytes())
    (target / "tablespace_map").write_text(f"{archive.name.split('.')[0]} {space}\n")
    assert b"tablespace_map" in manifest

    copy = start_restored(folder / "restored", pki, target)
    try:
        assert copy.sql("SELECT count(*) FROM rows") == 61000
        assert copy.sql("SELECT count(*) FROM in_space") == 100
    finally:
        copy.close()
