"""What is installed: places by the FHS, units, users and folders for systemd, manual pages, hardened programs."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness.agent import BUILD

ROOT = pathlib.Path(__file__).parents[2]
CACHE = dict(re.findall(r"^(\w+):\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M))


UNITS = sorted(path.name for path in (ROOT / "conf" / "systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]
TIMERS = [name for name in UNITS if name.endswith(".timer")]


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on this machine")


def run(*command, **environment):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", timeout=120,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **environment})


def install(folder):
    done = run("cmake", "--install", BUILD, DESTDIR=str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(scratch):
    return install(scratch / "installed")


@pytest.fixture
def units(folder, programs):
    """The units, with paths of programs that exist here."""
    for source in [*(ROOT / "conf" / "systemd").iterdir(), ROOT / "contrib" / "systemd" / "pgcoffer-failed@.service"]:
        text = source.read_text().replace("/usr/sbin/", f"{programs}/").replace("/usr/bin/", f"{programs}/")
        (folder / source.name).write_text(text)
    return folder


def test_everything_is_installed_where_the_fhs_puts_it(installed):
    prefix = installed / CACHE["CMAKE_INSTALL_PREFIX"].lstrip("/")
    configuration = installed / "etc/pgcoffer/pgcoffer.conf"
    for path in ("bin/pgcoffer", "sbin/pgcofferd", "lib/systemd/system/pgcofferd.service",
                 *(f"lib/systemd/system/{name}" for name in UNITS), "share/doc/pgcoffer/examples/systemd/credentials.conf",
                 "lib/sysusers.d/pgcoffer.conf", "lib/tmpfiles.d/pgcoffer.conf", "share/man/man1/pgcoffer.1.gz",
                 "share/man/man5/pgcoffer.conf.5.gz", "share/man/man7/pgcoffer-metrics.7.gz",
                 "share/man/man8/pgcofferd.8.gz", "share/doc/pgcoffer/README.md",
                 "share/doc/pgcoffer/repository-format.md", "share/bash-completion/completions/pgcoffer",
                 "share/zsh/vendor-completions/_pgcoffer"):
        assert (prefix / path).is_file(), path
    assert configuration.read_bytes() == (ROOT / "conf/pgcoffer.conf").read_bytes()
    assert os.access(prefix / "bin/pgcoffer", os.X_OK) and os.access(prefix / "sbin/pgcofferd", os.X_OK)
    placed = {path.relative_to(installed).parts[0] for path in installed.rglob("*") if path.is_file()}
    assert placed <= {"etc", CACHE["CMAKE_INSTALL_PREFIX"].strip("/").split("/")[0]}


def test_an_administrators_configuration_is_never_overwritten(folder):
    configuration = install(folder) / "etc/pgcoffer/pgcoffer.conf"
    configuration.write_text("# mine\n")
    install(folder)
    assert configuration.read_text() == "# mine\n"


def test_the_units_start_the_programs_that_are_installed(installed):
    if CACHE["CMAKE_INSTALL_PREFIX"] != "/usr":
        pytest.skip("the units are for the prefix /usr")
    started = set()
    for unit in (installed / "usr/lib/systemd/system").glob("*.service"):
        started |= set(re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.M))
    assert started == {"/usr/sbin/pgcofferd", "/usr/bin/pgcoffer"}
    assert all((installed / path.lstrip("/")).is_file() for path in started)


def instance(unit):
    return unit.replace("@.", "@primary.")


@needs("systemd-analyze")
def test_the_units_are_clean(units):
    """All at once, which is quicker; a misspelt key is a word on stderr and no more."""
    names = [instance(unit) for unit in (*UNITS, "pgcoffer-failed@.service")]
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *names, SYSTEMD_UNIT_PATH=f"{units}:")
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot verify here: {done.stderr}")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs("systemd-analyze")
def test_a_misspelt_key_of_a_unit_would_be_seen(units):
    unit = units / "pgcofferd.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSeconds="))
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit.name, SYSTEMD_UNIT_PATH=f"{units}:")
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot verify here: {done.stderr}")
    assert "WatchdogSeconds" in done.stderr


@needs("systemd-analyze")
def test_the_units_leave_little_to_attack(units):
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", *(units / unit for unit in SERVICES))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze has no --offline")
    scores = [float(score) for score in re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)]
    assert len(scores) == len(SERVICES) and max(scores) <= 2.0, done.stdout


@needs("systemd-analyze")
def test_every_timer_has_a_next_time_and_makes_up_for_a_missed_one():
    for timer in TIMERS:
        text = (ROOT / "conf" / "systemd" / timer).read_text()
        (when,) = re.findall(r"^OnCalendar=(.+)$", text, re.M)
        done = run("systemd-analyze", "calendar", when)
        assert done.returncode == 0 and "Next elapse" in done.stdout, done
        for line in ("Persistent=true", "RandomizedDelaySec=20m", "FixedRandomDelay=true", "WantedBy=timers.target"):
            assert re.search(f"^{line}$", text, re.M), f"{timer}: {line}"
        assert timer.replace(".timer", ".service") in SERVICES


def test_the_units_of_commands_differ_in_their_commands_alone():
    """systemd has no way to write it once that a package may use."""
    def confinement(unit):
        return (ROOT / "conf" / "systemd" / unit).read_text().split("\nNoNewPrivileges=", 1)[1]

    commands = [unit for unit in SERVICES if unit not in ("pgcofferd.service", "pgcoffer-drill@.service")]
    assert len({confinement(unit) for unit in commands}) == 1 and len(commands) == 4
    # It would remove the shared memory of every PostgreSQL of that user.
    assert not re.search("^RemoveIPC=", confinement("pgcoffer-drill@.service"), re.M)


@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users and gives folders away")
def test_the_user_and_the_folders_come_from_systemds_files(folder):
    for name in ("passwd", "group"):
        (folder / "etc").mkdir(exist_ok=True)
        (folder / "etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    done = run("systemd-sysusers", f"--root={folder}", ROOT / "conf/sysusers.d/pgcoffer.conf")
    assert done.returncode == 0, done.stderr
    entry = next(line for line in (folder / "etc/passwd").read_text().splitlines() if line.startswith("pgcoffer:")).split(":")
    assert entry[5] == "/var/lib/pgcoffer" and entry[6].endswith("nologin")

    done = run("systemd-tmpfiles", f"--root={folder}", "--create", ROOT / "conf/tmpfiles.d/pgcoffer.conf")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for path, mode in (("run/pgcoffer", 0o755), ("var/lib/pgcoffer", 0o700)):
        status = (folder / path).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, int(entry[2]), int(entry[3])), path


def manual_pages(installed):
    return sorted((installed / CACHE["CMAKE_INSTALL_PREFIX"].lstrip("/") / "share/man").rglob("*.gz"))


@needs("man")
def test_the_manual_pages_render_without_a_warning(installed):
    pages = manual_pages(installed)
    assert len(pages) >= 3
    for page in pages:
        done = run("man", "--warnings", "-Tutf8", "-l", page, MANWIDTH="80")
        assert (done.returncode, done.stderr) == (0, ""), page
        assert "NAME" in re.sub(".\x08", "", done.stdout)  # bold is printed twice over itself


def test_the_manual_pages_have_their_parts(installed):
    for page in manual_pages(installed):
        text = gzip.decompress(page.read_bytes()).decode()
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
            if heading == "SYNOPSIS" and page.name.endswith(".7.gz"):
                continue  # there is nothing to type
            assert re.search(rf'^\.SH "?{heading}"?$', text, re.M), f"{page.name}: {heading}"


@needs("readelf")
@pytest.mark.parametrize("name", ["pgcoffer", "pgcofferd"])
def test_the_programs_are_hardened(name):
    program = BUILD / "bin" / name
    header, segments, dynamic, symbols = (run("readelf", "-W", option, program).stdout for option in ("-h", "-l", "-d", "--dyn-syms"))
    assert re.search(r"Type:\s+DYN", header), "not position independent"
    assert "GNU_RELRO" in segments and re.search(r"FLAGS_1.*NOW", dynamic), "relocations stay writable"
    assert re.search(r"FLAGS_1.*PIE", dynamic)
    assert re.search(r"GNU_STACK.* RW +0x", segments), "the stack may be executed"
    assert not re.search(r"\((RPATH|RUNPATH)\)", dynamic), "libraries are looked for in a folder of the build"
    assert "__stack_chk_fail" in symbols
    if CACHE.get("CMAKE_BUILD_TYPE") != "Debug" and not CACHE.get("SANITIZE"):
        assert re.search(r"__(vsn|sn)printf_chk", symbols), "not fortified"


@needs("readelf")
def test_a_recovery_does_not_load_what_only_check_needs():
    needed = run("readelf", "-W", "-d", BUILD / "bin" / "pgcoffer").stdout
    assert "libpq" not in needed and "libarchive" not in needed


def test_check_is_done_by_the_other_program_wherever_both_are_installed(installed, tmp_path):
    pgcoffer = installed / "usr" / "bin" / "pgcoffer"
    assert "protocol.mode" in run(pgcoffer, "check", "--list").stdout
    link = tmp_path / "backup-tool"
    link.symlink_to(pgcoffer)
    assert "protocol.mode" in run(link, "check", "--list").stdout
    alone = shutil.copy(pgcoffer, tmp_path)
    done = run(alone, "check", "--list")
    assert done.returncode == 1 and f'neither in "{tmp_path}"' in done.stderr and "together" in done.stderr, done
    nagios = run(alone, "check", "--nagios")
    assert nagios.returncode == 3 and nagios.stdout.startswith("PGCOFFER UNKNOWN"), nagios
