"""Every command of the tutorial, as it is printed there."""

import os
import pathlib
import re
import subprocess

from harness.scratch import as_user, free_port, make_folder

TUTORIALS = pathlib.Path(__file__).parents[2] / "doc" / "tutorial"


def commands(name):
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", (TUTORIALS / name).read_text(), re.S | re.M))


def test_first_backup(folder, programs):
    home = make_folder(folder / "home", 0o755)
    script = commands("01-first-backup.md").replace("5433", str(free_port())).replace("5434", str(free_port()))
    stop = ("trap 'for data in server by-hand; do [ ! -e ~/practice/$data/postmaster.pid ] || "
            "pg_ctl -D ~/practice/$data -m immediate stop; done; kill $(jobs -p) 2>/dev/null || true' EXIT\n")
    done = subprocess.run(as_user(["bash", "-euo", "pipefail", "-c", stop + script]), capture_output=True, text=True, timeout=240,
                          stdin=subprocess.DEVNULL, cwd=home,
                          env={**os.environ, "HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    log = home / "practice" / "pgcofferd.log"
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:] + (log.read_text()[-2000:] if log.exists() else "")
    assert (home / "practice" / "counted").read_text() == "12345\n"
    assert (home / "practice" / "counted-by-hand").read_text() == "12345\n"
    assert "TLSv1.3" in done.stdout and "/CN=repl" in done.stdout
