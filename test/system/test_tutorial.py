"""Every command of the tutorials, as it is printed there, each chapter from a bare cluster."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness.cluster import binaries
from harness.scratch import as_user, free_port, make_folder

PROJECT = pathlib.Path(__file__).parents[2]
TUTORIALS = PROJECT / "doc" / "tutorial"
CHAPTERS = sorted(path.stem for path in TUTORIALS.glob("[0-9]*.md"))
TWO_HOSTS = "08-disaster-on-the-database-host"  # typed by test_disaster.py
BY_THE_CLOCK = "10-systemd-timers"  # typed by test_systemd.py
CHECK = re.compile(r"^(pgcoffer -c pgcoffer.conf check primary)$", re.M)
# What a chapter starts and does not stop, when it fails half-way.
STOP = """trap 'for pid in ~/practice/*/postmaster.pid; do
    [ ! -e $pid ] || pg_ctl -D $(dirname $pid) -m immediate stop
done; kill $(jobs -p) 2>/dev/null || true' EXIT
"""


def commands(chapter):
    """Its sh blocks, with ports of their own; each whole check is also told as JSON, one line each in ~/checks."""
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", (TUTORIALS / f"{chapter}.md").read_text(), re.S | re.M))
    ports = {}
    script = script.replace("/usr/share/pgcoffer", str(PROJECT / "contrib"))
    script = re.sub(r"/usr/lib/postgresql/(1[0-46-9])/bin", lambda found: str(binaries(int(found[1]))), script)
    script = re.sub(r"\b(543[0-9]|6604|9190)\b", lambda found: ports.setdefault(found[0], str(free_port())), script)
    return CHECK.sub(r"\1\n\1 --json | tr -d '\\n' >> ~/checks; echo >> ~/checks", script)


@pytest.fixture
def follow(folder, programs):
    """follow(chapter) runs it as somebody who types all of it into one shell; gives what was printed, and the folder."""
    def run(chapter):
        home = make_folder(folder / "home", 0o755)
        tools = make_folder(folder / "bin", 0o755)
        shutil.copy(PROJECT / "contrib" / "certbot" / "pgcoffer-postgresql-deploy.sh", tools)
        done = subprocess.run(as_user(["bash", "-euo", "pipefail", "-c", STOP + commands(chapter)]), capture_output=True,
                              text=True, timeout=240, stdin=subprocess.DEVNULL, cwd=home,
                              env={**os.environ, "HOME": str(home), "PATH": f"{programs}:{tools}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
        log = home / "practice" / "pgcofferd.log"
        assert done.returncode == 0, (done.stdout[-6000:] + done.stderr[-3000:]
                                      + (log.read_text()[-2000:] if log.exists() else ""))
        return done.stdout, home / "practice"
    return run


def test_first_backup(follow):
    printed, practice = follow("01-first-backup")
    assert (practice / "counted").read_text() == "12345\n"
    assert (practice / "counted-by-hand").read_text() == "12345\n"
    assert "TLSv1.3" in printed and "/CN=repl" in printed


PROVED = {"replication.login", "identity.accepted", "hba.plaintext", "server.tls_files", "backup.newest", "receiver.streaming"}
# Where the role may read the rules of the server.
PROVED_BY_RULES = {"03-client-certificates": {"hba.rules", "hba.looser"}, "04-own-ca-and-maps": {"hba.looser", "hba.maps"}}
# What a chapter promises of the answers it puts into files.
ANSWERS = {"09-care": {"explained": r"\A(.*: keep \(days\): .*\n){3}.*: remove \(unneeded\)", "expired": "(?s)monday.*to their own end only",
                       "proven": "recovered in", "failed": "the query's answer is f", "copied": r"\A10000\n\Z"},
           "12-restore-and-pitr": {"newest": r"\A1500\n\Z", "before-the-drop": r"\A1500\n\Z", "rescued": r"\A1500\|1\n\Z",
                                   "gone-back": r"\A1500\|t\n\Z"},
           "13-moving-to-a-new-host": {"counted": r"\A1200\n\Z", "moved": "without a gap"},
           "14-upgrading-postgresql": {"upgraded": r"\A1000\|15\n\Z", "told": "a new backup is needed", "went-back": r"\A1000\|14\n\Z",
                                       "both": "(?s)usual.*before-upgrade.*version-15"},
           "15-troubleshooting": {"damaged": r"base\.tar\.zst, frame \d+: .*backups that suffer"},
           "11-metrics-and-page": {"told.txt": '(?m)^pgcoffer_server_up.server="primary". 1$', "refused.txt": "alert|reset|SSL",
                                   "up.txt": r'"job":"pgcoffer".*"1"', "page.html": "<title>", "status.json": '"primary"'}}
LONG = {"12-restore-and-pitr", "13-moving-to-a-new-host", "14-upgrading-postgresql", "15-troubleshooting"}
VERSIONS = {"14-upgrading-postgresql": 14}  # of PostgreSQL, beside 15
PROGRAMS = {"11-metrics-and-page": ("curl", "prometheus", "promtool", "certutil", "pk12util")}


def parameters(chapter):
    """A chapter that needs other programs than PostgreSQL's, or takes long, is left to the long run, where they are installed."""
    missing = [program for program in PROGRAMS.get(chapter, ()) if shutil.which(program) is None]
    marks = [pytest.mark.long, pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")]
    return pytest.param(chapter, marks=marks if chapter in PROGRAMS else [pytest.mark.long] if chapter in LONG else [])


@pytest.mark.parametrize("chapter", [parameters(chapter) for chapter in CHAPTERS if chapter not in ("01-first-backup", TWO_HOSTS, BY_THE_CLOCK)])
def test_chapter_ends_with_a_backup_and_nothing_to_complain_about(follow, chapter):
    version = VERSIONS.get(chapter, 15)
    if binaries(version) is None:
        pytest.skip(f"PostgreSQL {version} is not on this machine (test/support/fetch-postgres.py {version})")
    _, practice = follow(chapter)
    checks = [json.loads(line)["checks"] for line in (practice.parent / "checks").read_text().splitlines()]
    assert checks
    for results in checks:
        assert [result for result in results if result["state"] not in ("pass", "skip")] == []
        assert [result for result in results if result["state"] == "skip" and not result["seen"]] == []
        passed = {result["id"] for result in results if result["state"] == "pass"}
        assert passed >= PROVED | PROVED_BY_RULES.get(chapter, set())
    for name, pattern in ANSWERS.get(chapter, {}).items():
        answer = (practice / name).read_text()
        assert re.search(pattern, answer), f"{name}: {answer}"


def test_every_public_tutorial_and_every_chapter_has_its_row():
    page = (TUTORIALS / "README.md").read_text()
    assert set(re.findall(r"\((\d\d-[a-z-]+)\.md\)", page)) == set(CHAPTERS)


def test_chapters_name_only_pages_that_exist():
    for page in TUTORIALS.glob("*.md"):
        for name in re.findall(r"\b\d\d-[a-z-]+\.md", page.read_text()):
            assert (TUTORIALS / name).exists(), f"{page.name}: {name}"
