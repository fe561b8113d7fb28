"""A disk that runs full: receiving pauses before the last byte and goes on by itself, backups leave WAL its room, and all is
said in time."""

import datetime
import os
import re
import subprocess
import threading
import time

import pytest

from harness.agent import lsn_number
from harness.restored import restore, start_restored
from harness.scratch import give_to, make_folder, wait_for
from harness.waldump import assert_wal_reads

MB = 1 << 20


class Disk:
    """A file system of its own, in memory."""

    def __init__(self, place, size_mb):
        self.place = make_folder(place)
        owner = place.stat()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}",
                               "tmpfs", place])
        if done.returncode != 0:
            pytest.skip("no mount here")

    def free(self):
        state = os.statvfs(self.place)
        return state.f_bavail * state.f_frsize

    def fill(self, left):
        """Until only so many bytes are free."""
        with open(self.place / "filler", "ab") as file:
            os.posix_fallocate(file.fileno(), 0, file.tell() + self.free() - left)
        give_to(self.place / "filler")

    def clear(self):
        (self.place / "filler").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.place], check=True)


@pytest.fixture
def cluster(make_cluster):
    """One that writes only the WAL it is told to."""
    return make_cluster(settings=("autovacuum = off",)).start().create_role()


@pytest.fixture
def make_disk(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = []

    def make(size_mb):
        made.append(Disk(folder / "disk", size_mb))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


@pytest.fixture
def start_agent(make_agent, cluster):
    def start(disk, **settings):
        agent = make_agent()
        agent.daemon_settings["base_dir"] = agent.base = disk.place
        agent.add_server("primary", cluster, **settings).start()
        agent.wait_streaming("primary")
        return agent
    return start


def write_noise(cluster, megabytes, table="noise"):
    """About so much WAL that hardly compresses."""
    cluster.sql(f"CREATE TABLE IF NOT EXISTS {table} (t bytea); ALTER TABLE {table} ALTER t SET STORAGE EXTERNAL")
    for _ in range(megabytes):
        cluster.sql(f"INSERT INTO {table} SELECT decode(string_agg(md5(random()::text), ''), 'hex') FROM "
                    "generate_series(1, 500 * 125) AS n GROUP BY n % 125")


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def held_size(text):
    """The bytes in "keeps 3.1 MB of WAL"."""
    number, unit = re.search(r"keeps ([0-9.]+) (bytes|kB|MB|GB) of WAL", text).groups()
    return float(number) * {"bytes": 1, "kB": 1024, "MB": MB, "GB": 1024 * MB}[unit]


def wait_paused(agent):
    return wait_for(lambda: (lambda row: row["error"] if row["state"] == "waiting" and "paused" in row["error"]["message"]
                             else None)(agent.receiver("primary")), f"receiving pauses; {agent.log_text()[-3000:]}")


def assert_nothing_is_lost(agent, cluster, folder):
    agent.wait_flushed("primary", lsn(cluster), 60)
    assert agent.json("wal", "status", "primary")["gaps"] == []
    agent.ok("verify")
    assert_wal_reads(agent, "primary", folder / "wal", end=None)


def test_a_full_disk_pauses_receiving_and_room_resumes_it(make_disk, start_agent, cluster, folder, pki):
    disk = make_disk(64)
    agent = start_agent(disk, wal_reserve=0)
    agent.backup("primary")
    cluster.sql("CREATE TABLE counted (n int)")
    disk.fill(6 * MB)
    write_noise(cluster, 12)
    error = wait_paused(agent)
    assert error["kind"] == "storage" and f'"{disk.place}" (tmpfs)' in error["message"] and " free" in error["message"], error
    assert f"df -h {disk.place}" in error["hint"] and "pgcoffer delete primary" in error["hint"], error
    assert disk.free() >= MB, "the last bytes are kept, to finish what is whole"

    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_replication") == 0, "the connection is closed")
    assert cluster.sql("SELECT active FROM pg_replication_slots") is False
    held = agent.receiver("primary")["flushed"]
    cluster.sql("INSERT INTO counted SELECT generate_series(1, 1000)")
    agent.stop()  # one that begins on a full disk pauses as well
    agent.start()
    grown = wait_for(lambda: (lambda text: text if "more than when receiving paused (at " in text else None)(
        wait_paused(agent)["detail"]), "the slot's growth is told")
    assert 'slot "pgcoffer"' in grown and held_size(grown) > 5 * MB, grown
    started = time.monotonic()
    cluster.stop("fast")
    assert time.monotonic() - started < 20, "the shutdown was held up"
    cluster.start()
    assert lsn_number(agent.receiver("primary")["flushed"] or "0/0") <= lsn_number(held)

    disk.clear()
    agent.wait_streaming("primary")
    assert "receiving goes on" in agent.log_text()
    assert_nothing_is_lost(agent, cluster, folder)
    restore(agent, folder / "target")
    restored = start_restored(folder / "restored", pki, folder / "target")
    try:
        assert restored.sql("SELECT count(*) FROM counted") == 1000
    finally:
        restored.close()


class LeastFree:
    """The least room there was at any time, seen from a thread."""

    def __init__(self, disk):
        self.disk, self.least, self.is_over = disk, disk.free(), False
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.is_over:
            self.least = min(self.least, self.disk.free())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()


def test_a_backup_ends_before_it_takes_room_that_belongs_to_wal(make_disk, start_agent, cluster):
    write_noise(cluster, 9)
    cluster.sql("VACUUM noise")  # the WAL of this is to be over before the backup begins
    cluster.sql("CHECKPOINT")
    disk = make_disk(48)
    agent = start_agent(disk, wal_reserve="40MB")
    with LeastFree(disk) as seen:
        refused = agent.cli("backup", "primary", "--fast-checkpoint")
    assert refused.code == 9, refused
    for word in ('backup of "primary"', f'"{disk.place}" (tmpfs)', "40.0 MB of it are kept for WAL (wal_reserve)", "df -h"):
        assert word in refused.err, refused
    assert 40 * MB - 2 * MB <= seen.least <= 44 * MB, (seen.least / MB, "it was being written, and the reserve was left to WAL")
    assert list((agent.system_folder("primary") / "backup").iterdir()) == []
    assert agent.json("list", "primary")["servers"][0]["backups"] == []

    write_noise(cluster, 4)  # WAL may use it
    agent.wait_flushed("primary", lsn(cluster))
    disk.fill(30 * MB)
    refused = agent.cli("backup", "primary", "--fast-checkpoint")
    assert refused.code == 9 and re.search("has (29|30).[0-9] MB free", refused.err), refused
    assert cluster.log_text().count("received replication command: BASE_BACKUP") == 1, "checked before the server is troubled"
    write_noise(cluster, 3)
    agent.wait_flushed("primary", lsn(cluster))
    warning = wait_for(lambda: agent.receiver("primary")["warning"], "it is warned")
    assert "less than wal_reserve (40.0 MB): no base backup is taken" in warning["message"], warning

    checks = {row["id"]: row for row in agent.cli("check", "primary", "--only", "repository", "--passive", "--json").json["checks"]}
    assert checks["repository.reserve"]["state"] == "fail" and checks["repository.room"]["state"] == "skip", checks

    disk.clear()
    subprocess.run(["mount", "-o", "remount,size=160m", disk.place], check=True)
    assert agent.backup("primary")["state"] == "complete"
    agent.ok("verify")


def test_compression_makes_the_room_that_wal_needs(make_disk, start_agent, cluster, folder):
    disk = make_disk(64)
    agent = start_agent(disk, wal_reserve=0)
    disk.fill(6 * MB)
    for number in range(10):  # 40 MB through 6 MB, if it is compressed at once
        cluster.sql(f"CREATE TABLE plain_{number} AS SELECT repeat('x', 100) FROM generate_series(1, 30000)")
    agent.wait_flushed("primary", lsn(cluster), 60)
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""],
             "all is compressed")
    assert disk.free() >= MB
    disk.clear()
    assert_nothing_is_lost(agent, cluster, folder)


def spread_over_hours(agent, hours):
    """The segments held came evenly in the last hours."""
    files = sorted(agent.system_folder("primary").glob("wal/*/*/*.zst"))
    now = time.time()
    for number, path in enumerate(files):
        at = now - hours * 3600 * (len(files) - 1 - number) / (len(files) - 1)
        os.utime(path, (at, at))
    return sum(path.stat().st_size for path in files[1:]) / hours


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_the_end_of_the_room_is_foretold(make_disk, start_agent, cluster):
    disk = make_disk(64)
    agent = start_agent(disk, wal_reserve="40MB")
    assert agent.receiver("primary")["room"]["rate"] is None, "a forecast from nothing"
    assert "too little WAL was seen" in agent.ok("status").out
    write_noise(cluster, 8)
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""],
             "all is compressed")
    assert agent.receiver("primary")["warning"] is None
    agent.stop()
    rate = spread_over_hours(agent, 5)
    agent.start()
    agent.wait_streaming("primary")
    row = wait_for(lambda: (lambda row: row if row["warning"] else None)(agent.receiver("primary")), "it is warned")
    room = row["room"]
    assert 0.8 * rate <= room["rate"] <= 1.2 * rate, (room, rate)
    assert room["reserve"] == 40 * MB and abs(room["free"] - disk.free()) < 4 * MB
    now = datetime.datetime.now(datetime.timezone.utc)
    for key, bytes_left in (("reserve_at", room["free"] - 40 * MB), ("full_at", room["free"] - MB)):
        hours = (when(room[key]) - now).total_seconds() / 3600
        assert abs(hours - bytes_left / room["rate"]) < 0.2, (key, hours, room)
    warning = row["warning"]
    assert warning["kind"] == "storage" and "wal_reserve (40.0 MB)" in warning["message"], warning
    assert room["reserve_at"][:16] in warning["message"] and "an hour" in warning["detail"], (warning, room)
    assert f"df -h {disk.place}" in warning["hint"], warning
    assert agent.log_text().count(warning["message"][:60]) == 1, "told once in the log"
    checks = {row["id"]: row for row in agent.json("check", "primary", "--only", "repository", "--passive")["checks"]}
    assert checks["repository.reserve"]["state"] == "pass", checks
    assert checks["repository.forecast"]["state"] == "warn" and "df -h" in checks["repository.forecast"]["fix"], checks
    foretold = re.search(r" at (20\S+Z)", checks["repository.forecast"]["cause"])[1]
    assert abs(when(foretold) - when(room["reserve_at"])) < datetime.timedelta(minutes=10), (checks, room)
    shown = re.search(r'primary: [0-9.]+ MB free on "(.*)" \(tmpfs\), 40.0 MB of it kept for WAL; WAL takes 1.[0-9] MB an hour: full at '
                      r"(20\S+Z)", agent.ok("status").out)
    assert shown[1] == str(disk.place) and abs(when(shown[2]) - when(room["full_at"])) < datetime.timedelta(minutes=10)
