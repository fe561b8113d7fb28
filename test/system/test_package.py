"""The Debian package: what lies where, and its life on a Debian of its own, from the README's five commands to the purge."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness.agent import BUILD
from harness.debian import chroot
from harness.machine import CACHE
from harness.package import MARKS, ROOT, WORK, build, run, whole_machine
from harness.package import bare as bare_debian
from harness.scratch import wait_for

GOLDEN = pathlib.Path(__file__).with_name("installed.txt")
NEWER = "0.2.0"
LOG_FILE = "log_file = /var/log/pgcoffer/pgcofferd.log"


# In every run: what is installed

def placed(folder):
    """A line for each file and folder, with its mode; of documents the kinds, as there are more of them every month."""
    lines = set()
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        name = re.sub(r"(share/doc/pgcoffer(?:/tutorial|/images)?)/[^/]+\.(md|png)$", r"\1/*.\2", name)
        kind = "d" if path.is_dir() else "-"
        lines.add(f"{name}  {kind} {path.stat().st_mode & 0o7777:04o}\n")
    return sorted(lines)


def test_what_is_installed_is_what_is_listed(tmp_path):
    if CACHE["CMAKE_INSTALL_PREFIX"] != "/usr":
        pytest.skip("the list is that of the prefix /usr")
    # The system's folders are there on a machine; our own must not depend on root's umask.
    for path in ("etc/logrotate.d", "usr/bin", "usr/sbin", *(f"usr/lib/{name}.d" for name in ("sysusers", "tmpfiles")), "usr/lib/systemd/system",
                 "usr/share/doc", "usr/share/bash-completion/completions", "usr/share/zsh/vendor-completions",
                 *(f"usr/share/man/man{section}" for section in (1, 5, 7, 8))):
        (tmp_path / path).mkdir(parents=True)
    done = run("sh", "-c", 'umask 077; exec cmake --install "$0"', BUILD, env={**os.environ, "DESTDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = placed(tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text("".join(found))
    assert found == GOLDEN.read_text().splitlines(keepends=True), "UPDATE_GOLDEN=1 writes the list anew"


# The package itself

def for_the_package(test):
    for mark in (pytest.mark.long, *MARKS):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def package():
    return build(WORK / "build")


@pytest.fixture(scope="module")
def newer_package():
    return build(WORK / "build-newer", "--version", NEWER)


@pytest.fixture
def bare(tmp_path):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", bare_debian(), root], check=True)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def machine(scratch):
    with whole_machine(scratch) as machine:
        yield machine


@for_the_package
def test_lintian_has_nothing_to_say(package):
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not on this machine")
    done = run("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", package)
    assert (done.returncode, done.stdout) == (0, ""), done


@for_the_package
def test_the_same_sources_give_the_same_bytes(package, tmp_path):
    again = build(tmp_path / "another" / "place")
    assert again.read_bytes() == package.read_bytes()


@for_the_package
def test_nothing_of_the_machine_that_builds_is_in_it(package, tmp_path):
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    for program in ("usr/bin/pgcoffer", "usr/sbin/pgcofferd"):
        content = (tmp_path / program).read_bytes()
        assert str(ROOT).encode() not in content and b".debug_info" not in content, program
        assert "Build ID" in run("readelf", "-n", tmp_path / program).stdout
    owners = set(re.findall(r"^\S+ (\S+)", run("dpkg-deb", "-c", package).stdout, re.M))
    assert owners == {"root/root"}
    depends = run("dpkg-deb", "-f", package, "Depends").stdout
    assert "libpq5" in depends and "postgresql" not in depends
    fields = run("dpkg-deb", "-I", package.with_name(package.name.replace("pgcoffer_", "pgcoffer-dbgsym_").replace(".deb", ".ddeb"))).stdout
    assert "Build-Ids:" in fields, fields


@for_the_package
def test_it_lives_without_systemd(bare, package):
    shutil.copy(package, bare / "package.deb")
    (bare / "life").write_text(r"""set -e
dpkg -i /package.deb
stat -c '%n %a %U:%G' /var/lib/pgcoffer /var/log/pgcoffer /run/pgcoffer /etc/pgcoffer/conf.d /etc/pgcoffer/pgcoffer.conf
getent passwd pgcoffer | cut -d: -f6,7
setpriv --reuid=pgcoffer --regid=pgcoffer --init-groups pgcofferd 2>/log &
tries=300
until pgcoffer ping --quiet 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { cat /log >&2; exit 1; }
    sleep 0.1
done
pgcoffer check --list | grep -c protocol.mode
# What logrotate runs here tells the daemon without systemd, with a log file and without one.
sed -n '/postrotate/,/endscript/{//d;p}' /etc/logrotate.d/pgcoffer >/rotated
sh -e /rotated
pgcoffer ping --quiet
sed -i 's|^\[pgcoffer\]$|&\nlog_file = /var/log/pgcoffer/pgcofferd.log|' /etc/pgcoffer/pgcoffer.conf
pgcoffer reload --quiet
mv /var/log/pgcoffer/pgcofferd.log /var/log/pgcoffer/pgcofferd.log.1
sh -e /rotated
until [ -e /var/log/pgcoffer/pgcofferd.log ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { cat /var/log/pgcoffer/* >&2; exit 1; }
    sleep 0.1
done
dpkg -i /package.deb
pgcoffer ping --quiet
touch /var/lib/pgcoffer/precious
dpkg -r pgcoffer
wait
grep -c 'pgcofferd ended' /var/log/pgcoffer/pgcofferd.log
mkdir -p /var/log/pgcoffer/main /var/cache/pgcoffer-drill
touch /var/log/pgcoffer/main/precious
dpkg -P pgcoffer
ls -A /var/lib/pgcoffer /etc/pgcoffer /var/log/pgcoffer /run/pgcoffer 2>&1 | cat
rm -r /var/lib/pgcoffer/precious /var/log/pgcoffer/main
dpkg -i /package.deb
dpkg -P pgcoffer
ls -d /var/lib/pgcoffer /var/log/pgcoffer /var/cache/pgcoffer-drill 2>&1 | cat
""")
    done = chroot(bare, "sh", "/life")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("/var/lib/pgcoffer 700 pgcoffer:pgcoffer", "/var/log/pgcoffer 750 pgcoffer:pgcoffer", "/run/pgcoffer 755 pgcoffer:pgcoffer",
                 "/etc/pgcoffer/conf.d 755 root:root", "/etc/pgcoffer/pgcoffer.conf 644 root:root", "/var/lib/pgcoffer:/usr/sbin/nologin",
                 "precious"):
        assert f"{line}\n" in done.stdout, (line, done.stdout, done.stderr)
    assert "/var/lib/pgcoffer is not empty and stays" in done.stderr and "/var/log/pgcoffer is not empty and stays" in done.stderr
    assert "/var/log/pgcoffer:\nmain\n" in done.stdout and "pgcofferd.log" not in done.stdout, done.stdout
    for path in ("/etc/pgcoffer", "/var/log/pgcoffer", "/run/pgcoffer", "/var/lib/pgcoffer", "/var/cache/pgcoffer-drill"):
        assert f"cannot access '{path}': No such file" in done.stdout, (path, done.stdout)


@for_the_package
def test_what_an_administrator_gave_to_a_group_stays_so(machine, package):
    """Neither the unit nor the boot sets back the group that may read the repository, or the log."""
    machine.boot()
    install(machine, package)
    machine.ok("sh", "-ec", r"""usermod -a -G backup pgcoffer
sed -i 's/^\[pgcoffer\]$/&\nrepository_group = backup/' /etc/pgcoffer/pgcoffer.conf
chgrp backup /var/lib/pgcoffer
chmod 0750 /var/lib/pgcoffer
chgrp adm /var/log/pgcoffer
install -d -o pgcoffer -g backup -m 0750 /var/lib/pgcoffer/main
install -o pgcoffer -g backup -m 0640 /dev/null /var/lib/pgcoffer/main/file
install -o pgcoffer -g adm -m 0640 /dev/null /var/log/pgcoffer/pgcofferd.log""")
    expected = ["/var/lib/pgcoffer 750 backup", "/var/lib/pgcoffer/main 750 backup", "/var/lib/pgcoffer/main/file 640 backup",
                "/var/log/pgcoffer 750 adm", "/var/log/pgcoffer/pgcofferd.log 640 adm"]
    for command in ("systemctl start pgcofferd", "systemctl restart pgcofferd", "systemd-tmpfiles --create pgcoffer.conf"):
        machine.ok("sh", "-c", command)
        found = machine.ok("stat", "-c", "%n %a %G", *(line.split()[0] for line in expected)).splitlines()
        assert found == expected, command
    machine.ok("systemctl", "stop", "pgcofferd")
    machine.ok("rm", "-r", "/var/lib/pgcoffer", "/var/log/pgcoffer")
    machine.ok("systemd-tmpfiles", "--create", "pgcoffer.conf")
    machine.ok("systemctl", "start", "pgcofferd")
    assert machine.ok("stat", "-c", "%a %U:%G", "/var/lib/pgcoffer", "/var/log/pgcoffer") == "700 pgcoffer:pgcoffer\n750 pgcoffer:pgcoffer\n"


# From the README to the purge

def five_commands():
    section = re.search(r"^## From the package to the first backup\n(.*?)^## ", (ROOT / "README.md").read_text(), re.S | re.M)[1]
    block = re.search(r"(?:^    .*\n)+", section, re.M)[0]
    return [line.strip() for line in block.splitlines()]


def said(machine, *words):
    result = machine.run(*words, timeout=300)
    assert result.code == 0, result
    return result.out + result.err


def install(machine, package):
    shutil.copy(package, machine.root / "root" / package.name)
    return said(machine, "apt-get", "install", "-y", "-qq", f"./{package.name}")


def sql(machine, statement):
    return machine.ok("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "psql", "-XAtqc", statement, "postgres").strip()


def backups(machine, *options):
    listed = json.loads(machine.ok("pgcoffer", "list", "main", "--json", *options))
    return [backup["id"] for backup in listed["servers"][0]["backups"] if backup["state"] == "complete"]


def daemon(machine):
    """Its pid, "0" when it does not run."""
    return machine.ok("systemctl", "show", "--property=MainPID", "--value", "pgcofferd.service").strip()


def state_of_cluster(machine):
    return (machine.ok("sh", "-c", "find /etc/postgresql -type f | sort | xargs sha256sum"),
            sql(machine, "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles"), sql(machine, "SHOW ssl_cert_file"))


def nothing_is_half_done(machine):
    before = state_of_cluster(machine)
    shown = machine.ok("pgcoffer-add-cluster", "--dry-run", "15", "main")
    assert "hostssl    replication  repl" in shown and "Nothing was changed" in shown
    assert state_of_cluster(machine) == before

    # The last step fails: everything before it is taken back.
    (machine.root / "etc/pgcoffer/conf.d/broken.conf").write_text("[broken]\nno_such_key = 1\n")
    failed = machine.run("pgcoffer-add-cluster", "15", "main")
    assert failed.code != 0 and "taking back" in failed.err, failed
    assert state_of_cluster(machine) == before
    assert not machine.has("/root/pgcoffer-main") and not machine.has("/etc/pgcoffer/conf.d/main.conf")
    (machine.root / "etc/pgcoffer/conf.d/broken.conf").unlink()

    for words, reason in ((("15", "other"), "there is no cluster 15 other"), (("15", "main", "a/b"), "cannot be the name of a server")):
        refused = machine.run("pgcoffer-add-cluster", *words)
        assert refused.code == 1 and reason in refused.err, refused


def the_five_commands_lead_to_a_backup(machine, package):
    commands = five_commands()
    assert len(commands) == 5
    named = re.search(r"pgcoffer_\S+\.deb", commands[0])[0]
    shutil.copy(package, machine.root / "root" / re.sub(r"_[a-z0-9]+\.deb", "_amd64.deb", package.name))
    assert machine.has(f"/root/{named}"), f"the README names {named}"
    for number, command in enumerate(commands):
        printed = machine.ok("sh", "-c", command.replace("apt install", "apt install -y"))
        if number == 0:
            assert daemon(machine) == "0"
            assert machine.run("systemctl", "is-enabled", "pgcofferd").out == "disabled\n"
            nothing_is_half_done(machine)
    assert re.search(r"^main +\d{8}T\d{6}Z +complete", printed, re.M), printed
    for words in (("15", "main"), ("15", "main", "another")):
        again = machine.run("pgcoffer-add-cluster", *words)
        assert again.code == 1 and "the cluster 15 main was added before" in again.err, again
    machine.ok("mv", "/etc/postgresql/15/main/pgcoffer", "/etc/postgresql/15/main/aside")
    its_own = machine.run("pgcoffer-add-cluster", "15", "main", "another")
    machine.ok("mv", "/etc/postgresql/15/main/aside", "/etc/postgresql/15/main/pgcoffer")
    assert its_own.code == 1 and "checks client certificates already" in its_own.err and "tls init" in its_own.err, its_own
    checks = json.loads(machine.ok("pgcoffer", "check", "main", "--json"))["checks"]
    assert [check for check in checks if check["state"] not in ("pass", "skip")] == []
    return backups(machine)


def an_upgrade_starts_the_daemon_anew(machine, newer, kept):
    before = daemon(machine)
    install(machine, newer)
    assert daemon(machine) not in ("0", before)
    assert NEWER in machine.ok("pgcoffer", "ping")
    assert f"\n{LOG_FILE}\n" in (machine.root / "etc/pgcoffer/pgcoffer.conf").read_text()
    assert backups(machine) == kept
    machine.ok("pgcoffer", "verify", "main", "--no-progress")


def unit_says(machine, setting):
    machine.drop_in("pgcofferd.service", f"[Service]\n{setting}\n")
    machine.ok("systemctl", "restart", "pgcofferd")


def an_upgrade_leaves_a_daemon_that_does_not_answer(machine, newer):
    """It may be in the midst of a backup. When it goes on, its workers are the program that it is, though the file is gone."""
    unit_says(machine, "WatchdogSec=600")
    before = daemon(machine)
    machine.ok("kill", "-STOP", before)
    told = install_again(machine, newer)
    machine.ok("kill", "-CONT", before)
    assert "cannot be asked whether jobs are running" in told, told
    assert daemon(machine) == before and "(deleted)" in machine.ok("readlink", f"/proc/{before}/exe")
    held = len(backups(machine))
    machine.ok("pgcoffer", "backup", "main", "--fast-checkpoint", "--no-progress")
    assert len(backups(machine)) == held + 1


def a_new_daemon_that_does_not_start_is_told(machine, newer):
    unit_says(machine, "ExecStartPre=/usr/bin/test ! -e /etc/broken")
    machine.ok("touch", "/etc/broken")
    assert "the new pgcofferd did not start" in install_again(machine, newer)
    assert "ii  pgcoffer " in machine.ok("dpkg", "-l", "pgcoffer")
    machine.ok("rm", "/etc/broken")
    machine.run("systemctl", "reset-failed", "pgcofferd")
    unit_says(machine, "WatchdogSec=60")


def begin_a_long_backup(machine, table):
    """One whose checkpoint is spread takes as long as there are pages to write: minutes, until somebody asks for it at once."""
    sql(machine, f"CREATE TABLE {table} AS SELECT repeat('x', 2000) FROM generate_series(1, 12000)")
    machine.ok("pgcoffer", "backup", "main", "--no-wait")


def an_upgrade_lets_a_backup_end(machine, newer):
    before, held = daemon(machine), backups(machine)
    begin_a_long_backup(machine, "filled")
    told = install_again(machine, newer)
    assert "goes on as the version before" in told and "systemctl restart pgcofferd" in told
    assert daemon(machine) == before
    assert backups(machine) == held, "the backup ended too early to prove anything"
    sql(machine, "CHECKPOINT")
    wait_for(lambda: len(backups(machine)) == len(held) + 1, "the backup is complete", 120)


def install_again(machine, package):
    """The same version once more, which dpkg calls an upgrade; gives what was said."""
    return said(machine, "dpkg", "-i", f"/root/{package.name}")


def the_log_is_rotated(machine):
    """By the file that the package brings, as cron would do it."""
    assert "error" not in said(machine, "logrotate", "-d", "/etc/logrotate.d/pgcoffer")
    configuration = machine.root / "etc/pgcoffer/pgcoffer.conf"
    configuration.write_text(configuration.read_text().replace("[pgcoffer]\n", f"[pgcoffer]\n{LOG_FILE}\n", 1))
    machine.ok("pgcoffer", "reload")
    log = machine.root / "var/log/pgcoffer/pgcofferd.log"
    wait_for(log.exists, "the log is in the file")
    rotated = log.with_name("pgcofferd.log.1")
    machine.ok("logrotate", "-f", "/etc/logrotate.d/pgcoffer")
    wait_for(lambda: rotated.exists() and log.exists(), lambda: f"both are there: {machine.journal()}")
    old = rotated.read_text()
    machine.ok("pgcoffer", "reload")
    wait_for(lambda: log.read_text() != "", "the new file has lines")
    assert rotated.read_text() == old


def a_removal_keeps_what_cannot_be_made_again(machine, kept):
    machine.ok("systemctl", "enable", "--now", "pgcoffer-backup@main.timer")
    begin_a_long_backup(machine, "filled_again")
    assert "these jobs end with the daemon" in said(machine, "apt-get", "remove", "-y", "-qq", "pgcoffer")
    assert daemon(machine) == "0" and machine.run("pgrep", "pgcofferd").out == ""
    assert "pgcoffer" not in machine.ok("systemctl", "list-units", "--no-legend", "pgcoffer*.timer", "pgcoffer*.service")
    assert machine.has("/etc/pgcoffer/pgcoffer.conf") and machine.has("/etc/pgcoffer/conf.d/main.conf")
    assert stored(machine) == kept


def stored(machine):
    """The backups, without any program of ours."""
    return sorted(path.parent.name for path in (machine.root / "var/lib/pgcoffer").glob("main/*/backup/*/backup.json"))


def an_installation_finds_them_again(machine, package, kept):
    told = install(machine, package)
    assert daemon(machine) == "0"
    if machine.has("/etc/systemd/system/multi-user.target.wants/pgcofferd.service"):
        assert "is enabled and does not run: systemctl start pgcofferd" in told
    machine.ok("systemctl", "start", "pgcofferd")
    assert sorted(backups(machine)) == kept


def a_purge_never_removes_a_backup(machine, kept):
    told = said(machine, "apt-get", "purge", "-y", "-qq", "pgcoffer")
    for path in ("/etc/pgcoffer/pgcoffer.conf", "/etc/logrotate.d/pgcoffer", "/var/log/pgcoffer", "/run/pgcoffer/pgcoffer.sock",
                 "/etc/systemd/system/multi-user.target.wants/pgcofferd.service",
                 "/etc/systemd/system/timers.target.wants/pgcoffer-backup@main.timer"):
        assert not machine.has(path), path
    assert "/var/lib/pgcoffer is not empty and stays" in told and "/etc/pgcoffer is not empty and stays" in told
    assert machine.has("/etc/pgcoffer/conf.d/main.conf") and machine.has("/etc/pgcoffer/tls/main/repl.key")
    assert stored(machine) == kept


@for_the_package
def test_its_life_from_the_first_backup_to_the_purge(machine, package, newer_package):
    machine.boot()
    wait_for(lambda: "online" in machine.ok("pg_lsclusters"), "the cluster runs")
    kept = the_five_commands_lead_to_a_backup(machine, package)
    assert "protocol.mode" in machine.ok("pgcoffer", "check", "--list")  # done by pgcofferd, found from /usr/bin
    the_log_is_rotated(machine)
    an_upgrade_starts_the_daemon_anew(machine, newer_package, kept)
    an_upgrade_lets_a_backup_end(machine, newer_package)
    an_upgrade_leaves_a_daemon_that_does_not_answer(machine, newer_package)
    a_new_daemon_that_does_not_start_is_told(machine, newer_package)
    before = daemon(machine)
    assert "goes on as" not in install_again(machine, newer_package)
    assert daemon(machine) not in ("0", before)
    kept = stored(machine)
    assert len(kept) == 3
    for version in (package, newer_package):  # back, and forth again
        install_again(machine, version)
        assert version.name.split("_")[1] in machine.ok("pgcoffer", "ping") and sorted(backups(machine)) == kept
    a_removal_keeps_what_cannot_be_made_again(machine, kept)
    an_installation_finds_them_again(machine, newer_package, kept)
    a_purge_never_removes_a_backup(machine, kept)
    an_installation_finds_them_again(machine, newer_package, kept)
