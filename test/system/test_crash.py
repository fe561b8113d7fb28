"""kill -9 of anything at any moment: a new start needs no hand, no WAL is missing, what is listed verifies."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from harness.restored import restore, start_restored
from harness.scratch import OS_USER, wait_for
from harness.waldump import assert_wal_reads


def kill_rounds(agent, cluster, folder, pki, rounds):
    chance = random.Random(20261122)
    cluster.pgbench("-i", "-s", "5", "-q")
    agent.backup("primary")
    load = cluster.pgbench("-c", "2", "-T", "600", wait=False)
    try:
        for number in range(rounds):
            victim = ("daemon", "receive", "backup")[number % 3]
            backup = subprocess.Popen(agent.command("backup", "primary", "--fast-checkpoint", "--quiet"),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if victim == "backup":
                pids = wait_for(lambda: agent.worker_pids("backup") or (backup.poll() is not None and [0]), "a backup worker")
            time.sleep(chance.uniform(0, 0.8))
            if victim == "daemon":
                children = agent.worker_pids("receive") + agent.worker_pids("backup")
                agent.kill()
                wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "workers die with the daemon", 5)
            else:
                for pid in agent.worker_pids(victim):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            backup.wait(60)
            if victim == "daemon":
                agent.start()
            agent.wait_streaming("primary")
    finally:
        load.terminate()
        load.wait()
    end = cluster.sql("SELECT pg_current_wal_flush_lsn()::text")
    agent.wait_flushed("primary", end)
    assert agent.json("wal", "status", "primary")["gaps"] == []
    agent.ok("verify", "primary", timeout=600)
    backup = agent.backup("primary")
    assert backup["state"] == "complete"
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"))
    rows = cluster.sql("SELECT count(*) FROM pgbench_history")
    assert_wal_reads(agent, "primary", folder / "wal", end=end)
    folders = {path.name for path in (agent.system_folder("primary") / "backup").iterdir()}
    listed = {row["id"] for row in agent.json("list", "primary")["servers"][0]["backups"]}
    assert folders == listed, "leftovers of killed backups are swept"
    restore(agent, folder / "target")
    copy = start_restored(folder / "copy", pki, folder / "target")
    assert copy.sql("SELECT count(*) FROM pgbench_history") == rows
    copy.close()


def test_killed_daemon_receiver_and_backup_worker(agent, cluster, folder, pki):
    kill_rounds(agent, cluster, folder, pki, 3)


@pytest.mark.long
def test_killed_ten_times_each(agent, cluster, folder, pki):
    kill_rounds(agent, cluster, folder, pki, 30)


def test_a_client_that_leaves_does_not_end_the_backup(agent, cluster):
    cluster.pgbench("-i", "-s", "5", "-q")
    client = subprocess.Popen(agent.command("backup", "primary", "--fast-checkpoint"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_for(lambda: agent.worker_pids("backup"), "a backup worker")
    client.kill()
    client.wait()
    job = wait_for(lambda: [row for row in agent.json("jobs")["jobs"] if row["command"] == "backup"], "the job is listed")[0]
    result = agent.cli("follow", job["job"], timeout=120)
    assert result.code == 0, result
    assert [row["state"] for row in agent.json("list", "primary")["servers"][0]["backups"]] == ["complete"]


def test_postgresql_stopped_in_mid_backup(agent, cluster):
    cluster.pgbench("-i", "-s", "10", "-q")
    client = subprocess.Popen(agent.command("backup", "primary", "--fast-checkpoint", "--quiet"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'streaming%'"), "it streams",
             pause=0.01)
    cluster.stop("immediate")
    _, words = client.communicate(timeout=60)
    assert client.returncode == 5, words
    assert agent.json("list", "primary")["servers"][0]["backups"] == []
    cluster.start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"


def test_a_cancelled_backup_leaves_nothing(agent, cluster):
    cluster.pgbench("-i", "-s", "10", "-q")
    job = agent.json("backup", "primary", "--no-wait")["job"]
    agent.ok("cancel", job)
    assert agent.cli("follow", job).code == 1
    assert agent.json("list", "primary")["servers"][0]["backups"] == []
    assert list((agent.system_folder("primary") / "backup").iterdir()) == []


def test_a_kill_between_any_two_files_of_a_restore_never_leaves_a_directory_that_starts(agent, cluster, folder):
    cluster.pgbench("-i", "-s", "5", "-q")
    agent.backup("primary")
    chance = random.Random(7)
    interrupted = 0
    for number in range(12):
        target = folder / f"target{number}"
        process = subprocess.Popen(agent.command("restore", "primary", "--target-directory", target, "--quiet"),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: target.exists() or process.poll() is not None, "it begins", pause=0.002)
        time.sleep(chance.uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not (target / "global" / "pg_control").exists():
            interrupted += 1
            assert list(target.glob("*incomplete*")) or list(target.glob("global/*incomplete*")) or not list(target.iterdir())
    assert interrupted >= 3, "no kill met a restore at work"


needs_strace = pytest.mark.skipif(OS_USER is None or shutil.which("strace") is None, reason="needs root and strace")


def restore_killed_at(agent, target, call, number):
    """A restore that is killed where one of its threads makes its number-th `call`; False when it came to its end."""
    words = agent.command("restore", "primary", "--direct", "--target-directory", target, "--quiet")
    start = words.index("--") + 1
    traced = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}", *words[start:]]
    done = subprocess.run([*words[:start], *traced], capture_output=True, stdin=subprocess.DEVNULL, cwd="/",
                          env={**os.environ, "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=0"})
    return done.returncode != 0


def assert_marked(target, step):
    """What a killed restore left does not start, and says so; after its very last rename it is a whole data directory."""
    if not target.exists() or not any(target.iterdir()) or (target / "global" / "pg_control").exists():
        return
    assert list(target.glob("*incomplete*")) or list(target.glob("global/*incomplete*")), (step, list(target.iterdir()))


@needs_strace
def test_a_restore_killed_at_a_step_of_its_own_is_marked_and_does_not_start(agent, cluster, folder):
    agent.backup("primary")
    for call, number in (("mkdirat", 3), ("openat", 500), ("pwrite64", 1), ("pwrite64", 400), ("fsync", 1), ("unlinkat", 1),
                         ("unlinkat", 2), ("renameat", 1)):
        target = folder / f"{call}{number}"
        assert restore_killed_at(agent, target, call, number), (call, number)
        assert_marked(target, (call, number))


@pytest.mark.long
@needs_strace
def test_a_restore_killed_at_any_step_is_marked_and_does_not_start(agent, cluster, folder):
    agent.backup("primary")
    for call in ("mkdirat", "fchmod", "openat", "openat2", "pwrite64", "write", "fsync", "unlinkat", "renameat", "close"):
        number = 1
        while restore_killed_at(agent, folder / "target", call, number):
            assert_marked(folder / "target", (call, number))
            shutil.rmtree(folder / "target", ignore_errors=True)
            number += 1 if number < 30 else 25
        assert (folder / "target" / "global" / "pg_control").exists()
        assert not list(folder.glob("target/**/*incomplete*"))
        shutil.rmtree(folder / "target")
