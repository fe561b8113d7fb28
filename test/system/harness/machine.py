"""A whole machine with systemd as PID 1: systemd-nspawn on this host's /usr, with what `cmake --install` places laid over it."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

from .agent import BUILD, Result
from .cluster import PSQL_BIN
from .scratch import make_folder, wait_for

CACHE = dict(re.findall(r"^(\w+):\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)) if (BUILD / "CMakeCache.txt").exists() else {}
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
CONTRIB = pathlib.Path(__file__).parents[3] / "contrib" / "systemd"


def why_not():
    """What keeps this machine from booting another, or None."""
    if os.geteuid() != 0:
        return "only root may boot a machine in systemd-nspawn"
    for program in ("systemd-nspawn", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not on this machine (Debian's systemd-container and util-linux)"
    if CACHE.get("SANITIZE"):
        return "a sanitizer does not work below the system call filter of the units"
    if CACHE.get("CMAKE_INSTALL_PREFIX") != "/usr":
        return "the units are for the prefix /usr"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return "this root may not mount anything (a container?)"
    return None


class Machine:
    """/ is empty and forgotten at the end, but for /etc/pgcoffer, which is FOLDER/configuration, and `shared` folders."""

    def __init__(self, folder, *shared):
        self.folder = make_folder(folder, 0o755, None)
        self.configuration = make_folder(self.folder / "configuration", 0o755, None)
        self.console = self.folder / "console.log"
        self.root = make_folder(self.folder / "root", 0o755, None)
        self.installed = self.folder / "installed"
        self.shared = shared
        self.process = self.leader = None

    def install(self):
        done = subprocess.run(["cmake", "--install", BUILD], capture_output=True, text=True,
                              env={**os.environ, "DESTDIR": str(self.installed)})
        assert done.returncode == 0, done.stderr
        library = self.installed / "usr" / "lib"
        user = pwd.getpwnam("postgres")  # as on this host, which made the clusters
        (library / "sysusers.d" / "postgres.conf").write_text(f"g postgres {user.pw_gid}\nu postgres {user.pw_uid}:{user.pw_gid}\n")
        (library / "systemd" / "system-preset").mkdir()
        (library / "systemd" / "system-preset" / "00-nothing.preset").write_text("disable *\n")
        # Debian's own empties /tmp at the start, and what is shared is there.
        (library / "tmpfiles.d" / "tmp.conf").write_text("d /tmp 1777 root root -\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")

    def boot(self):
        self.install()
        (self.root / "usr").mkdir()
        binds = [f"--bind={path}" for path in self.shared]
        # The mounts are of the namespace, and gone with it.
        script = 'mount -t overlay -o "lowerdir=$1/usr:/usr" overlay "$2/usr"; shift; root=$1; shift; exec systemd-nspawn -D "$root" "$@"'
        with open(self.console, "w") as console:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script, "bash", self.installed, self.root, "--quiet",
                 "--volatile=yes", "--register=no",
                 # nspawn 252 knows them not yet, and would keep them from everybody.
                 "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self", "--keep-unit", "--private-network", "--settings=no", "--console=pipe",
                 f"--machine=pgcoffer-{os.getpid()}", f"--bind={self.configuration}:/etc/pgcoffer",
                 f"--bind-ro={self.folder}/hosts:/etc/hosts", *binds, "--boot", "systemd.unit=basic.target",
                 "systemd.firstboot=no", "systemd.mask=systemd-firstboot.service"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        return self.wait_booted()

    def wait_booted(self, seconds=60):
        self.leader = wait_for(self.find_leader, lambda: f"booted; {self.console.read_text(errors='replace')[-3000:]}")
        wait_for(lambda: self.run("systemctl", "is-system-running").out.strip() in ("running", "degraded"), "systemd has started", seconds)
        return self

    def find_leader(self):
        assert self.process.poll() is None, self.console.read_text(errors="replace")[-3000:]
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
            # Before it is systemd it is a nspawn that still prepares.
            if b"systemd-nspawn" not in words and pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return None

    def close(self):
        if self.process is None or self.process.poll() is not None:
            return
        if self.leader is not None:
            os.kill(self.leader, signal.SIGKILL)
        else:
            self.process.terminate()
        self.process.wait(20)

    # ---- inside ----

    def command(self, *words):
        return ["nsenter", "--target", str(self.leader), *NAMESPACES, "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8",
                *map(str, words)]

    def run(self, *words, timeout=120, **rest):
        return Result(subprocess.run(self.command(*words), capture_output=True, text=True, errors="replace", timeout=timeout,
                                     **({} if "input" in rest else {"stdin": subprocess.DEVNULL}), **rest))

    def ok(self, *words, **rest):
        result = self.run(*words, **rest)
        assert result.code == 0, f"{' '.join(map(str, words))}: {result}\n{self.journal()[-3000:]}"
        return result.out

    def journal(self, unit=None):
        return self.run("journalctl", "--no-pager", "-o", "cat", *(["-u", unit] if unit else [])).out

    def property(self, unit, name):
        return self.ok("systemctl", "show", "--value", "-p", name, unit).strip()

    def drop_in(self, unit, text, name="test.conf"):
        folder = f"/etc/systemd/system/{unit}.d"
        self.ok("mkdir", "-p", folder)
        self.write(f"{folder}/{name}", text)
        self.ok("systemctl", "daemon-reload")

    def write(self, path, text, mode="0644"):
        self.ok("sh", "-c", f'cat > "{path}" && chmod {mode} "{path}"', input=text)

    def postgres(self, cluster, *words):
        """pg_ctl as postgres, of a cluster in a shared folder."""
        options = f"-c port={cluster.port} -c unix_socket_directories={cluster.sockets}"
        return self.ok("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", PSQL_BIN / "pg_ctl", "-D", cluster.data, "-l",
                       cluster.log, "-o", options, "-w", *words)
