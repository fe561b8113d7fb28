"""wal-get fetches the next segments ahead, and nobody ever sees a difference but for the time it takes."""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from harness.agent import Agent, lsn_number
from harness.cluster import PSQL_BIN, Cluster
from harness.restored import restore, start_restored
from harness.scratch import as_user, give_to, make_folder, run, wait_for

PREFIX = "pgcoffer.ahead."


def write_segments(cluster, count):
    """Each with words of its own."""
    for _ in range(count):
        cluster.sql("SELECT pg_logical_emit_message(false, 'x', (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 3000)))")
        cluster.sql("SELECT pg_switch_wal()")


def held(agent, timeline=1):
    """Names of the finished segments of the timeline."""
    return sorted(path.name[:24] for path in agent.system_folder("primary").glob("wal/*/*/*.zst")
                  if int(path.name[:8], 16) == timeline)


def wait_held(agent, cluster):
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"))
    wait_for(lambda: not [path for path in agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""], "compressed")
    return held(agent)


def is_dead(pid):
    """Whether or not somebody has asked for its exit status."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    try:
        states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return not tasks.exists()
    return set(states) <= {"Z", "X"}


class Recovery:
    """What wal-get sees of a data directory in recovery, and the calls PostgreSQL makes in it."""

    def __init__(self, folder, agent, cluster, *words):
        self.agent, self.words, self.data = agent, words, make_folder(folder)
        self.wal = make_folder(self.data / "pg_wal")
        make_folder(self.data / "global")
        for name in ("global/pg_control", "recovery.signal", "postmaster.pid"):
            if name == "global/pg_control":
                shutil.copy(cluster.data / name, self.data / name)
            (self.data / name).touch()
            give_to(self.data / name)
        self.path = self.wal / "RECOVERYXLOG"

    def call(self, name, *words):
        """(exit code, was it there already)"""
        self.path.unlink(missing_ok=True)
        done = self.agent.cli(*self.words, *words, "wal-get", "primary", name, "pg_wal/RECOVERYXLOG", "--json", cwd=self.data)
        assert self.path.exists() == (done.code == 0), done
        return done.code, done.code == 0 and done.json["prefetched"]

    def get(self, name):
        code, was_ahead = self.call(name)
        assert code == 0, (name, self.agent.log_text()[-2000:])
        assert self.path.read_bytes() == self.stored(name), name
        return was_ahead

    def stored(self, name):
        """The same segment without any spool."""
        place = make_folder(self.data.parent / "stored") / f"{name}.{self.data.name}"
        self.agent.ok("--direct", "wal-get", "primary", name, place)
        return place.read_bytes()

    def spools(self):
        return [path for path in self.wal.iterdir() if path.name.startswith(PREFIX)]

    def waiting(self):
        return sorted(path.name for spool in self.spools() for path in spool.iterdir() if re.fullmatch("[0-9A-F]{24}", path.name))

    def wait_waiting(self, names):
        wait_for(lambda: self.waiting() == sorted(names), lambda: f"in the spool: {names}; {self.spools()}")

    def left_behind(self):
        """Pids of the processes that run in the data directory."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.data) and \
                        b"wal-get" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def leader(self):
        """The one with threads."""
        (pid,) = [pid for pid in self.left_behind() if len(list(pathlib.Path(f"/proc/{pid}/task").iterdir())) > 1]
        return pid

    def kill_leader(self):
        """And waits until its last thread is gone: each keeps the locks of all."""
        leader = self.leader()
        os.kill(leader, signal.SIGKILL)
        wait_for(lambda: is_dead(leader), "the killed process is gone")

    def wait_gone(self):
        wait_for(lambda: not self.spools() and not self.left_behind(), lambda: f"nothing remains; {list(self.wal.iterdir())}")
        assert [path.name for path in self.wal.iterdir() if path != self.path] == []


@pytest.fixture
def make_recovery(folder, store):
    made = []

    def make(*words, name="recovery"):
        made.append(Recovery(folder / name, store[1], store[0], *words))
        return made[-1]

    yield make
    for recovery in made:
        for name in ("recovery.signal", "standby.signal"):
            (recovery.data / name).unlink(missing_ok=True)
        recovery.wait_gone()


@pytest.fixture(scope="module")
def store(scratch, pki, programs):
    """A cluster and a daemon with at least 24 finished segments."""
    cluster = Cluster(scratch / "wal-get" / "server", pki)
    agent = Agent(scratch / "wal-get" / "agent", programs, pki)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster).start()
        agent.wait_streaming("primary")
        write_segments(cluster, 24)
        wait_held(agent, cluster)
        yield cluster, agent
    finally:
        agent.close()
        cluster.close()


@pytest.fixture
def archive(store):
    """The names of the finished segments."""
    return held(store[1])


def test_a_call_that_gives_up_while_it_waits_leaves_the_file_of_the_one_it_waits_for(archive, store, folder):
    agent = store[1]
    place = make_folder(folder / "by-hand")
    temporary = place / "segment.tmp"
    with open(temporary, "wb") as other:
        give_to(temporary)
        fcntl.flock(other, fcntl.LOCK_EX)
        call = subprocess.Popen(agent.command("wal-get", "primary", archive[0], place / "segment"), stdin=subprocess.DEVNULL)
        inode = f":{temporary.stat().st_ino} "
        wait_for(lambda: [line for line in pathlib.Path("/proc/locks").read_text().splitlines() if "->" in line and inode in line],
                 "it waits")
        call.terminate()
        assert call.wait(60) > 200
        assert temporary.exists()


@pytest.mark.parametrize("words", [(), ("--direct",)], ids=["daemon", "direct"])
def test_every_segment_but_the_first_was_fetched_ahead_and_is_what_the_archive_holds(archive, store, make_recovery, words):
    cluster, agent = store
    recovery = make_recovery(*words)
    assert recovery.call("00000002.history") == (1, False)
    assert recovery.spools() == []
    assert recovery.get(archive[0]) is False
    recovery.wait_waiting(archive[1:17])
    if not words:
        agent.stop()
        assert recovery.call("00000002.history")[0] == 204, "only finished segments are fetched ahead"
        for name in archive[1:17]:
            assert recovery.call(name) == (0, True), name
        assert recovery.call(archive[17])[0] == 204
        agent.start()
        assert recovery.get(archive[17]) is False
    assert all([recovery.get(name) for name in archive[18 if not words else 1:]])
    recovery.wait_gone()
    assert recovery.call(archive[-1][:16] + "000000FF") == (1, False)
    assert recovery.get(archive[2]) is False, "PostgreSQL may go back"
    recovery.wait_waiting(archive[3:19])
    assert recovery.get(archive[10]) is True
    recovery.wait_waiting(archive[11:])
    (recovery.data / "recovery.signal").unlink()
    recovery.wait_gone()


def test_the_unfinished_segment_and_what_is_missing_are_asked_for_anew_each_time(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    recovery.get(archive[-2])
    assert recovery.get(archive[-1]) is True
    recovery.wait_gone()
    unfinished = wait_for(lambda: [path.name[:24] for path in agent.system_folder("primary").glob("wal/*/*/*.partial")], "partial")[0]
    cluster.sql("SELECT pg_logical_emit_message(false, 'x', 'the first words')")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_insert_lsn()::text"))
    assert recovery.get(unfinished) is False and b"the first words" in recovery.path.read_bytes()
    following = f"{unfinished[:16]}{int(unfinished[16:], 16) + 1:08X}"
    assert recovery.call(following) == (1, False)
    cluster.sql("SELECT pg_logical_emit_message(false, 'x', 'the second words')")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_insert_lsn()::text"))
    assert recovery.get(unfinished) is False and b"the second words" in recovery.path.read_bytes()
    write_segments(cluster, 2)
    wait_held(agent, cluster)
    assert recovery.get(unfinished) is False
    assert recovery.get(following) is True


def test_two_recoveries_at_once_and_calls_by_hand_are_in_nobodys_way(archive, store, folder, make_recovery):
    cluster, agent = store
    recoveries = [make_recovery(name=name) for name in ("first", "second")]
    results = {recovery: [recovery.get(archive[i]) for i in range(3)] for recovery in recoveries}
    assert list(results.values()) == [[False, True, True]] * 2
    place = make_folder(folder / "by-hand")
    same = [subprocess.Popen(agent.command("wal-get", "primary", name, place / target), stdin=subprocess.DEVNULL)
            for name in archive[:3] for target in (name, name, "the same")]
    assert [call.wait(60) for call in same] == [0] * 9
    for name in archive[:3]:
        assert (place / name).read_bytes() == recoveries[0].stored(name)
    assert (place / "the same").stat().st_size == 1 << 20
    assert sorted(path.name for path in place.iterdir()) == [*archive[:3], "the same"], "no folder, nothing half done"
    for i in range(3, 6):
        for recovery in recoveries:
            assert recovery.get(archive[i]) is True
    assert recoveries[0].call(archive[6], "--config", agent.configuration) == (0, True)
    run(["rm", "-rf", recoveries[0].data])
    wait_for(lambda: not recoveries[0].left_behind(), "nobody works for a data directory that is gone")
    make_folder(recoveries[0].data), make_folder(recoveries[0].wal)


def test_what_a_killed_process_or_another_archive_left_is_never_used(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    recovery.get(archive[0])
    recovery.wait_waiting(archive[1:17])
    (spool,) = recovery.spools()
    strangers = [make_folder(recovery.wal / name) for name in (
        f"{PREFIX}primary.77.00000000", f"{PREFIX}other.{agent.system_folder('primary').name}.00000000")]
    for stranger in strangers:
        shutil.copy(spool / archive[1], stranger / archive[1])
    recovery.kill_leader()
    # A first page as it should be, and the rest of another cluster.
    forged = bytearray((spool / archive[1]).read_bytes())
    forged[8192:] = bytes(len(forged) - 8192)
    (spool / archive[1]).write_bytes(forged)
    (spool / f"{archive[2]}.tmp").touch()
    assert recovery.get(archive[1]) is False
    recovery.wait_waiting(archive[2:18])
    wait_for(lambda: not [path for path in strangers if path.exists()], "the others' are swept")
    assert recovery.get(archive[2]) is True
    # A living one's file that is damaged is not handed over either.
    (spool / archive[3]).write_bytes(bytes(1 << 20))
    (spool / archive[4]).write_bytes((spool / archive[4]).read_bytes()[:-1])
    assert [recovery.get(name) for name in archive[3:6]] == [False, False, True]
    (recovery.wal / "RECOVERYXLOG.tmp").touch()  # of a call that was killed
    give_to(recovery.wal / "RECOVERYXLOG.tmp")
    os.kill(recovery.leader(), signal.SIGTERM)
    recovery.wait_gone()


def test_a_caller_waits_for_a_segment_on_its_way_and_not_for_a_dead_process(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    recovery.get(archive[0])
    recovery.wait_waiting(archive[1:17])
    leader = recovery.leader()
    os.kill(leader, signal.SIGSTOP)
    (spool,) = recovery.spools()
    (spool / archive[1]).unlink()
    temporary = spool / f"{archive[1]}.tmp"
    temporary.touch()
    give_to(temporary)
    writer = subprocess.Popen(as_user(["sh", "-c", 'exec 9>>"$0"; flock 9; echo; read word', temporary]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer.stdout.readline()
    call = subprocess.Popen(agent.command("wal-get", "primary", archive[1], "pg_wal/RECOVERYXLOG"), cwd=recovery.data)
    wait_for(lambda: "inotify" in [os.readlink(path).partition("anon_inode:")[2] for path in pathlib.Path(
        f"/proc/{call.pid}/fd").iterdir() if os.path.lexists(path)], "it watches")
    assert call.poll() is None
    writer.communicate(b"\n")
    assert call.wait(60) == 0
    assert recovery.path.read_bytes() == recovery.stored(archive[1])
    recovery.kill_leader()
    assert recovery.get(archive[2]) is False
    assert recovery.get(archive[3]) is True


def test_damage_in_the_archive_stops_the_recovery_where_it_lies(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    (damaged,) = agent.system_folder("primary").glob(f"wal/*/*/{archive[4]}.zst")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 16]) + whole[len(whole) // 2 + 1:])
    assert [recovery.get(name) for name in archive[:4]] == [False, True, True, True]
    assert recovery.call(archive[4]) == (207, False)
    assert recovery.call(archive[4]) == (207, False)
    recovery.wait_gone()
    damaged.write_bytes(whole)
    assert [recovery.get(name) for name in archive[4:6]] == [False, True]


def test_a_full_disk_costs_the_time_and_nothing_else(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=5m,mode=0700,uid={recovery.wal.stat().st_uid}", "tmpfs",
                       recovery.wal]).returncode != 0:
        pytest.skip("no mount here")
    try:
        recovery.get(archive[0])
        recovery.wait_waiting(archive[1:3])  # half of the 4 MB that are left
        recovery.path.unlink()
        with open(recovery.wal / "filler", "wb") as file:
            room = os.statvfs(recovery.wal)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
        # What waits is used; the process behind it finds no room for more, and gives back what it had.
        assert recovery.get(archive[1]) is True
        wait_for(lambda: not recovery.spools(), "the room is the server's again")
        assert [recovery.get(name) for name in archive[2:5]] == [False] * 3
        assert recovery.spools() == [], "there is too little room"
        (recovery.wal / "filler").unlink()
        assert [recovery.get(name) for name in archive[5:7]] == [False, True]
        (recovery.data / "recovery.signal").unlink()
        recovery.wait_gone()
    finally:
        subprocess.run(["umount", "-l", recovery.wal], check=True)


def test_without_a_place_or_a_recovery_nothing_is_left_behind(archive, store, make_recovery):
    cluster, agent = store
    recovery = make_recovery()
    assert recovery.call(archive[0], "--no-prefetch") == (0, False)
    assert recovery.spools() == [] and recovery.left_behind() == []
    (recovery.data / "recovery.signal").unlink()
    assert recovery.get(archive[0]) is False
    assert recovery.spools() == [] and recovery.left_behind() == []
    (recovery.data / "recovery.signal").touch()
    blocked = recovery.wal / f"{PREFIX}primary.{agent.system_folder('primary').name}"
    recovery.get(archive[0])
    (spool,) = recovery.spools()
    (recovery.data / "postmaster.pid").unlink()
    recovery.wait_gone()
    assert spool.name.startswith(blocked.name)
    spool.touch()  # a file where the folder would be
    assert [recovery.get(name) for name in archive[:2]] == [False, False]
    assert recovery.left_behind() == []
    spool.unlink()


def make_talkative(target):
    """restore_command tells PostgreSQL's log where each segment came from."""
    path = target / "postgresql.auto.conf"
    path.write_text(path.read_text().replace(" wal-get ", " --verbose wal-get "))


def recover_over_a_switch(agent, cluster, folder, pki):
    cluster.sql("CREATE TABLE rows (n int)")
    agent.backup("primary")
    cluster.sql("INSERT INTO rows SELECT generate_series(1, 1000)")
    write_segments(cluster, 8)
    wait_held(agent, cluster)
    cluster.stop()
    cluster.configure("restore_command = 'false'")
    run(["touch", cluster.data / "recovery.signal"])
    cluster.start()
    cluster.wait_until_promoted()
    agent.wait_streaming("primary")
    cluster.sql("INSERT INTO rows SELECT generate_series(1001, 2000)")
    write_segments(cluster, 8)
    cluster.sql("INSERT INTO rows SELECT generate_series(2001, 3000)")
    wait_held(agent, cluster)
    assert len(held(agent, 1)) >= 8 and len(held(agent, 2)) >= 8

    restore(agent, folder / "target")
    make_talkative(folder / "target")
    restored = start_restored(folder / "restored", pki, folder / "target", version=cluster.version)
    try:
        assert restored.sql("SELECT count(*) FROM rows") == 3000
        log = restored.log_text()
        wal = folder / "target" / "pg_wal"
        wait_for(lambda: not list(wal.glob("*ahead*")) + list(wal.glob("*.tmp")), lambda: f"nothing remains; {list(wal.iterdir())}")
        ahead = re.findall("([0-9A-F]{24}) is written, it was fetched ahead", log)
        assert len([name for name in ahead if name < "00000002"]) >= 6, log
        assert len([name for name in ahead if name > "00000002"]) >= 6, log
    finally:
        restored.close()


def test_a_recovery_over_a_timeline_switch_is_fed_from_the_spool_and_leaves_nothing(agent, cluster, folder, pki):
    recover_over_a_switch(agent, cluster, folder, pki)


@pytest.mark.long
@pytest.mark.parametrize("version", [13, 14, 16, 17, 18])
def test_a_recovery_is_fed_from_the_spool_on_every_version(version, make_cluster, make_agent, folder, pki):
    cluster = make_cluster(version=version).start().create_role()
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    recover_over_a_switch(agent, cluster, folder, pki)


def test_a_standby_follows_the_archive_and_a_base_backup_of_it_is_not_harmed(agent, cluster, folder, pki):
    cluster.sql("CREATE TABLE rows (n int)")
    agent.backup("primary")
    write_segments(cluster, 20)
    wait_held(agent, cluster)
    restore(agent, folder / "target")
    target = folder / "target"
    run(["mv", target / "recovery.signal", target / "standby.signal"])
    make_talkative(target)
    standby = start_restored(folder / "restored", pki, target, promoted=False, settings=("wal_retrieve_retry_interval = 100ms",
                                                                                      "hot_standby = on"))
    try:
        for number in (1, 2):
            cluster.sql("INSERT INTO rows VALUES (%s)", number)
            write_segments(cluster, 3)
            wait_for(lambda: standby.sql("SELECT count(*) FROM rows") == number, "it follows", 60)
            # Whatever is in the spool meanwhile stays out of a base backup.
            foreign = make_folder(target / "pg_wal" / f"{PREFIX}x")
            (foreign / "lock").touch()
            run([PSQL_BIN / "pg_basebackup", "-h", standby.sockets, "-p", standby.port, "-U", "postgres",
                 "-D", folder / f"copy-{number}", "-X", "fetch", "-c", "fast"])
            assert not [path for path in (folder / f"copy-{number}").rglob("*") if "pgcoffer.ahead" in path.name]
            shutil.rmtree(foreign, ignore_errors=True)
        standby.promote()
        standby.sql("INSERT INTO rows VALUES (3)")
        assert len(re.findall("it was fetched ahead", standby.log_text())) >= 15
        wait_for(lambda: not list((target / "pg_wal").glob("*ahead*")), "nothing remains")
    finally:
        standby.close()


def test_the_end_of_wal_on_a_segment_boundary_is_no_way_back_to_the_branch_that_died(agent, cluster, folder, pki):
    """Promoted where a segment begins, and not a byte of it came, while the old server went on in that segment."""
    cluster.sql("CREATE TABLE rows (n int)")
    agent.backup("primary")
    cluster.sql("INSERT INTO rows VALUES (1)")
    fork = cluster.rows("SELECT pg_switch_wal()")[0][0]
    number = (lsn_number(fork) >> 20) + 1
    cluster.sql("INSERT INTO rows VALUES (2)")
    wait_held(agent, cluster)
    cluster.stop()
    wal = agent.system_folder("primary") / "wal"
    dead = wal / f"00000001/{number >> 12:08X}/00000001{number >> 12:08X}{number & 0xfff:08X}.partial"
    assert dead.stat().st_size > 0
    first = wal / f"00000002/{number >> 12:08X}/00000002{dead.name[8:]}"
    make_folder(first.parents[1]), make_folder(first.parent)
    first.touch()
    history = wal / "00000002.history"
    history.write_text(f"1\t{number >> 12:X}/{(number & 0xfff) << 20:X}\tno recovery target specified\n")
    for path in (first, history):
        give_to(path)
    restore(agent, folder / "target")
    restored = start_restored(folder / "restored", pki, folder / "target")
    try:
        assert [row for (row,) in restored.rows("SELECT n FROM rows ORDER BY n")] == [1]
        assert restored.sql("SELECT timeline_id FROM pg_control_checkpoint()") >= 2
    finally:
        restored.close()
