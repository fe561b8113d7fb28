"""What is noted about a backup after it was taken: pins, annotations, verifications, drills."""

import contextlib
import datetime
import fcntl
import json
import os
import re
import signal
import time

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.scratch import run, wait_for

PLAIN_NOTES = {"pinned": False, "pin": None, "annotations": {}, "drill": None}


class Stored:
    """One cluster, one daemon, two backups: tests put back what they change."""

    def __init__(self, folder, pki, programs):
        folder.mkdir(mode=0o755)
        self.cluster = Cluster(folder / "server", pki).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki).add_server("primary", self.cluster, restorers="bin")
        self.agent.start().wait_streaming("primary")
        self.older, self.newer = (self.agent.backup("primary", "--label", label)["id"] for label in ("older", "newer"))
        self.cluster.sql("CREATE TABLE rows (n int)")
        self.fill_segments(3)

    def fill_segments(self, count):
        """One commit in each; the names of the segments."""
        names = []
        for _ in range(count):
            self.cluster.sql("INSERT INTO rows VALUES (1)")
            names.append(self.cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())"))
            self.cluster.sql("SELECT pg_switch_wal()")
        self.cluster.sql("INSERT INTO rows VALUES (1)")
        self.agent.wait_flushed("primary", self.cluster.sql("SELECT pg_current_wal_lsn()::text"))
        wait_for(lambda: not [path for path in self.agent.system_folder("primary").glob("wal/*/*/*") if path.suffix == ""],
                 "compressed")
        return names

    def close(self):
        self.agent.close()
        self.cluster.close()

    def row(self, backup):
        (server,) = self.agent.json("list", "primary")["servers"]
        return next(row for row in server["backups"] if row["id"] == backup)

    def file(self, backup, name):
        return self.agent.backup_folder("primary", backup) / name

    def flip(self, backup):
        self.flip_file(self.file(backup, "base.tar.zst"))

    def flip_file(self, path):
        offset = min(1000, path.stat().st_size // 2)
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))


@pytest.fixture(scope="module")
def stored(scratch, pki, programs):
    stored = Stored(scratch / "notes", pki, programs)
    yield stored
    stored.close()


def test_a_pin_is_shown_and_keeps_the_backup(stored):
    agent, older = stored.agent, stored.older
    assert {key: stored.row(older)[key] for key in PLAIN_NOTES} == PLAIN_NOTES
    day = agent.json("pin", "primary", "older", "--until", "2100-01-31")["pin"]["until"]
    before, behind = (agent.json("pin", "primary", "older", "--until", text)["pin"]["until"]
                      for text in ("2100-01-31 23:59:00", "2100-02-01 00:00:00"))
    assert before < day < behind  # a day alone is all of that day
    pinned = agent.json("pin", "primary", "older", "--reason", "before the move", "--until", "2100-01-31 00:00:00+00")
    assert pinned["backup"] == older and pinned["pin"]["until"] == "2100-01-31T00:00:00Z"
    row = stored.row(older)
    assert row["pinned"] and row["pin"]["reason"] == "before the move"
    assert "until 2100-01-31" in agent.ok("list", "primary").out
    assert "until 2100-01-31T00:00:00Z: before the move" in agent.ok("show", "primary", older).out
    assert re.search(r"^reach +[0-9A-F]+/[0-9A-F]+ on timeline 1$", agent.ok("show", "primary", older).out, re.M)
    assert "it is pinned: --force would be needed" in agent.ok("delete", "primary", older, "--dry-run").out
    refused = agent.cli("delete", "primary", older)
    assert refused.code == 1 and "pinned until 2100-01-31T00:00:00Z: before the move" in refused.err, refused
    assert "not pinned any more" in agent.ok("unpin", "primary", older).out
    assert "was not pinned" in agent.ok("unpin", "primary", older).out
    assert not stored.row(older)["pinned"]


def test_a_pin_whose_day_has_passed_holds_no_more(stored):
    agent = stored.agent
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    agent.ok("pin", "primary", stored.older, "--until", soon.isoformat(sep=" "))
    wait_for(lambda: not stored.row(stored.older)["pinned"], "the pin has ended")
    assert stored.row(stored.older)["pin"]["until"] is not None
    agent.ok("unpin", "primary", stored.older)


REFUSED = [
    (("pin", "primary", "20200101T000000Z"), 2, "there is no backup"),
    (("pin", "primary", "latest", "--until", "2020-01-01"), 2, "has passed already"),
    (("pin", "primary", "latest", "--until", "2100-02-31"), 2, "is not a time"),
    (("pin", "primary", "latest", "--reason", "x" * 256), 2, "more than 255 bytes"),
    (("pin", "primary", "latest", "--reason", "a\nb"), 2, "control character"),
    (("annotate", "primary", "latest", "ticket"), 2, "is not KEY=VALUE"),
    (("annotate", "primary", "latest", "a=1", "a=2"), 2, "given twice"),
    (("annotate", "primary", "latest", "a b=1"), 2, "the key of an annotation"),
    (("annotate", "primary", "latest", "a=\x1b[2J"), 2, "control characters"),
    (("annotate", "primary", "latest", "a=\u009b2J"), 2, "control characters"),
    (("annotate", "primary", "latest", "a=\udcff"), 2, "not UTF-8"),
    (("annotate", "primary", "latest", "a=" + "x" * 1025), 2, "longer than 1024"),
    (("annotate", "primary", "latest"), 2, "KEY=VALUE"),
    (("annotate", "primary", "latest", *(f"k{n}={'x' * 300}" for n in range(60))), 2, "at most 16384 bytes"),
    (("unpin", "nosuch", "latest"), 2, "nosuch"),
]


def test_bad_notes_are_refused_and_nothing_is_written(stored):
    for words, code, message in REFUSED:
        result = stored.agent.cli(*words)
        assert result.code == code and message in result.err, result
    assert {key: stored.row(stored.newer)[key] for key in PLAIN_NOTES} == PLAIN_NOTES


def test_annotations_are_added_replaced_and_removed(stored):
    agent = stored.agent
    agent.ok("annotate", "primary", stored.newer, "ticket=OPS-1", "by=müller \"dba\"")
    agent.ok("annotate", "primary", stored.newer, "ticket=OPS-2", "by=")
    assert stored.row(stored.newer)["annotations"] == {"ticket": "OPS-2"}
    assert "newer [ticket=OPS-2]" in agent.ok("list", "primary").out
    stored.file(stored.newer, "annotations.json").write_text("{")
    listed = agent.cli("list", "primary")
    assert listed.code == 0 and "annotations.json\" is damaged" in listed.err, listed
    assert agent.cli("annotate", "primary", stored.newer, "a=1").code == 7
    assert agent.cli("verify", "primary", stored.newer).code == 7
    stored.file(stored.newer, "annotations.json").unlink()
    assert stored.row(stored.newer)["annotations"] == {}


TALK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect(sys.argv[1])
    channel.sendall(sys.argv[2].encode() + b"\\n")
    while line := channel.makefile().readline():
        print(line, end="", flush=True)
        if '"event":"result"' in line or '"event":"error"' in line:
            break
"""


def tell_drill(stored, user, backup, **result):
    """The last line of the daemon's answer."""
    told = {"good": True, "milliseconds": 61000, "words": "", "phases": {"restore": 50000, "query": 7}, "target": "", "rows": 3,
            "server_version": 150018, **result}
    request = {"v": 1, "command": "drill-result", "server": "primary", "backup": backup, "options": {"result": json.dumps(told)}}
    answer = run(["/usr/bin/python3", "-c", TALK, stored.agent.socket, json.dumps(request)], user=user)
    return json.loads(answer.stdout.splitlines()[-1])


def test_a_restorer_tells_what_a_drill_found_and_writes_nothing_else(stored):
    agent, newer = stored.agent, stored.newer
    before = {path: path.stat().st_mtime_ns for path in agent.base.rglob("*") if path.is_file() and path.suffix == ".json"}
    answer = tell_drill(stored, "bin", newer)
    assert answer["event"] == "result" and answer["data"]["drill"]["seconds"] == 61, answer
    drill = stored.row(newer)["drill"]
    assert drill["good"] and drill["rows"] == 3 and drill["phases"] == {"restore": 50.0, "query": 0.007}, drill
    assert f"{drill['at'][:10]} 1m01s" in agent.ok("list", "primary").out
    assert stored.row(stored.older)["drill"] is None
    assert json.loads((agent.base / "primary" / "drill.json").read_text())["backup"] == newer
    for user, backup, result, kind, words in (
            ("bin", newer, {"words": "a\nb"}, "usage", "control characters"),
            ("bin", newer, {"milliseconds": -1}, "usage", "milliseconds"),
            ("bin", "../../x", {}, "usage", "there is no backup"),
            ("games", newer, {}, "denied", "may not ask")):
        answer = tell_drill(stored, user, backup, **result)
        assert answer["event"] == "error" and answer["kind"] == kind and words in answer["message"], answer
    assert tell_drill(stored, "bin", newer, good=False, words="frame 3 is damaged")["event"] == "result"
    assert "FAILED: frame 3 is damaged" in agent.ok("show", "primary", newer).out
    after = {path for path in agent.base.rglob("*.json") if before.get(path) != path.stat().st_mtime_ns}
    written = {agent.base / "primary" / "drill.json", agent.base / "primary" / "drill-good.json", stored.file(newer, "drill.json")}
    assert {path for path in after if "wal" not in path.parts} == written
    good = json.loads((agent.base / "primary" / "drill-good.json").read_text())
    assert good["good"] and good["milliseconds"] == 61000  # one that failed does not replace it
    proofs = agent.json("status", "primary")["servers"][0]["survey"]["proofs"]
    assert not proofs["drill"]["good"] and proofs["drill_success"]["seconds"] == 61, proofs
    for path in written:
        path.unlink()


def test_only_admins_write_notes(stored):
    agent = stored.agent
    for words in (("pin", "primary", "latest"), ("annotate", "primary", "latest", "a=1")):
        refused = agent.cli(*words, user="bin")
        assert refused.code == 1 and "admin" in refused.err, refused
    assert {key: stored.row(stored.newer)[key] for key in PLAIN_NOTES} == PLAIN_NOTES


def test_what_verify_found_is_remembered_and_a_damaged_backup_is_not_the_latest(stored):
    agent, older, newer = stored.agent, stored.older, stored.newer
    agent.ok("verify", "primary")
    assert stored.row(newer)["verified"]["good"] and stored.row(older)["verified"]["seconds"] > 0
    stored.flip(newer)
    assert agent.cli("--direct", "verify", "primary", newer).code == 7  # it may be anybody's: nothing is recorded
    assert stored.row(newer)["verified"]["good"]
    assert agent.cli("verify", "primary", newer).code == 7
    found = stored.row(newer)["verified"]
    assert not found["good"] and "base.tar.zst, frame 0" in found["words"], found
    assert "FAILED 20" in agent.ok("list", "primary").out
    assert agent.json("show", "primary", "latest")["id"] == older
    plan = agent.json("restore", "primary", "--dry-run", "--target-directory", "/tmp/nowhere")
    assert plan["backup"] == older and any(newer in words for words in plan["warnings"]), plan
    named = agent.json("restore", "primary", newer, "--dry-run", "--target-directory", "/tmp/nowhere")
    assert named["backup"] == newer and any("found damaged" in words for words in named["warnings"]), named
    refused = agent.cli("delete", "primary", older)  # the last that can be relied on
    assert refused.code == 1 and "last usable" in refused.err, refused
    stored.flip(newer)
    agent.ok("verify", "primary", newer)
    assert agent.json("show", "primary", "latest")["id"] == newer


def test_the_last_backup_is_not_deleted_by_one_who_has_not_heard_of_its_pin_nor_by_two_at_once(stored):
    agent, older, newer = stored.agent, stored.older, stored.newer
    stored.flip(newer)
    assert agent.cli("verify", "primary", newer).code == 7
    agent.ok("pin", "primary", older, "--reason", "the audit")
    refused = agent.cli("delete", "primary", older)
    assert refused.code == 1 and "pinned: the audit" in refused.err, refused
    agent.ok("unpin", "primary", older)
    assert "last usable" in agent.cli("delete", "primary", older).err
    assert "it is the last usable backup: --force would be needed" in agent.ok("delete", "primary", older, "--dry-run").out
    path = agent.base / "primary" / "expire.lock"
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        busy = agent.cli("delete", "primary", newer)
        assert busy.code == 8 and "being removed already" in busy.err, busy
    assert stored.row(newer) and stored.row(older)
    stored.flip(newer)
    agent.ok("verify", "primary", newer)


def test_a_damaged_segment_leaves_a_gap_in_time_that_list_names_until_it_is_sound_again(stored):
    agent = stored.agent
    _, name, _ = stored.fill_segments(3)

    def told():
        (server,) = agent.json("list", "primary")["servers"]
        return server["restorable"], {row["id"]: row["reach"]["gap"] for row in server["backups"]}
    whole, gaps = told()
    assert whole["gaps"] == [] and set(gaps.values()) == {None}
    (segment,) = agent.system_folder("primary").glob(f"wal/*/*/{name}.zst")
    stored.cluster.stop()  # the receiver would fetch it again
    try:
        stored.flip_file(segment)
        refused = agent.cli("verify", "primary")
        assert refused.code == 7 and segment.name in refused.err, refused
        cut, gaps = told()
        (gap,) = cut["gaps"]
        assert "damaged" in gap["words"] and cut["windows"][-1]["until"] == gap["from"], cut
        assert gap["from"] < whole["windows"][-1]["until"]
        assert all(gaps.values()), gaps
        line = next(line for line in agent.ok("list").out.splitlines() if line.startswith("primary: every moment"))
        assert f"to {gap['from']} can be restored" in line and "damaged" in line, line
        stored.flip_file(segment)
        agent.ok("verify", "primary")
        again, gaps = told()
        assert again["gaps"] == [] and set(gaps.values()) == {None}
        assert again["windows"][-1]["until"] >= whole["windows"][-1]["until"]
    finally:
        stored.cluster.start()
        agent.wait_streaming("primary")


def test_what_was_verified_lately_is_left_out_but_never_what_is_damaged(stored):
    agent = stored.agent
    agent.ok("verify", "primary")
    (server,) = agent.json("verify", "primary", "--since", "1h")["servers"]
    assert [row["state"] for row in server["backups"]] == ["recent", "recent"]
    assert server["wal"]["recent"] >= 3 and server["wal"]["segments"] <= 1, server["wal"]  # the one being received
    (server,) = agent.json("verify", "primary", "--since", datetime.datetime.now().isoformat(sep=" "))["servers"]
    assert [row["state"] for row in server["backups"]] == ["ok", "ok"] and server["wal"]["recent"] == 0
    stored.flip(stored.newer)
    assert agent.cli("verify", "primary", stored.newer).code == 7
    assert agent.cli("verify", "primary", "--since", "1h").code == 7
    stored.flip(stored.newer)
    agent.ok("verify", "primary", "--since", "1h")
    for words in ("tomorrow", "2100-01-01", "5"):
        assert agent.cli("verify", "primary", "--since", words).code == 2, words
    stored.file(stored.newer, "verified.json").write_text("{}")
    (server,) = agent.json("verify", "primary", "--since", "1h")["servers"]
    assert [row["state"] for row in server["backups"]] == ["recent", "ok"]


def test_a_run_of_limited_time_begins_with_the_oldest(stored):
    agent = stored.agent
    agent.ok("verify", "primary")
    stored.file(stored.newer, "verified.json").unlink()
    (server,) = agent.json("verify", "--oldest-first", "--max-duration", "1h")["servers"]
    assert [row["id"] for row in server["backups"]] == [stored.newer, stored.older]
    assert server["wal"]["left"] == 0 and server["wal"]["segments"] >= 4
    assert stored.row(stored.newer)["verified"]["good"]
    refused = agent.cli("verify", "primary", "--max-duration", "forever")
    assert refused.code == 2 and "is not a duration" in refused.err and "wal_retention" not in refused.err, refused


def test_a_verification_killed_at_any_moment_leaves_what_was_noted_whole(stored):
    agent = stored.agent
    for path in agent.base.rglob("verified.json"):
        path.unlink()
    for pause in (0, 0.05, 0.1):
        agent.ok("verify", "primary", "--no-wait")
        pids = wait_for(lambda: agent.worker_pids("verify"), "a verify worker", pause=0.01)
        time.sleep(pause)  # not waiting for anything: another moment each time
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not agent.worker_pids("verify"), "it is gone")
        for path in agent.base.rglob("verified.json"):
            assert json.loads(path.read_text())["format"] == 1
        agent.ok("verify", "primary", "--since", "1h")
    assert [row["state"] for row in agent.json("verify", "primary", "--since", "1h")["servers"][0]["backups"]] == ["recent"] * 2
