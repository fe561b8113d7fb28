"""Completion, in a real bash and a real zsh: words of the tables, names of the daemon, and nothing that a name says is ever done."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.scratch import as_user, make_folder, wait_for

ROOT = pathlib.Path(__file__).parents[2]
COMPLETIONS = ROOT / "contrib" / "completion"
SHELLS = ("bash", "zsh")
EVIL = "$(touch pwned) `touch pwned`; touch 'pwned' & #\"x\" *"
EVIL_TYPED = "\\$\\(touch\\ p"  # as far as it is typed


class Terminal:
    """An interactive shell, as the user who may ask the daemon."""

    def __init__(self, shell, agent, folder):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not on this machine (contrib/dev/install-packages.sh test)")
        start = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
        environment = {**os.environ, "PATH": f"{agent.binaries}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder), "PS1": "$ "}
        self.text = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            command = as_user(start, agent.user)
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 2000, 0, 0))
        if shell == "bash":
            self.send(f"source {COMPLETIONS}/pgcoffer.bash; bind 'set bell-style none'\n")
            self.send("bind 'set completion-query-items 0'; bind 'set page-completions off'; bind 'set enable-bracketed-paste off'\n")
        else:
            self.send(f"PROMPT='$ '; LISTMAX=0; fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -D -u\n")
        self.send("echo rea''dy\n")
        self.expect("ready\r?\n")

    def send(self, text):
        os.write(self.terminal, text.encode())

    def expect(self, pattern, seconds=20):
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, f"{pattern!r} is not in\n{self.text}"
            if select.select([self.terminal], [], [], 1)[0]:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def complete(self, line, *patterns, tabs=1):
        """The patterns appear behind what was typed; then the line is given up."""
        self.text = ""
        self.send(line + "\t" * tabs)
        for pattern in patterns:
            self.expect(pattern)
        self.send("\x15")
        self.send("echo do''ne\n")
        self.expect("done\r?\n")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def backed_up(scratch, programs, pki):
    """A backup whose label is nobody's friend, and a moment behind it."""
    folder = make_folder(scratch / "completion", 0o755)
    cluster = Cluster(folder / "server", pki).start().create_role()
    agent = Agent(folder / "agent", programs, pki)
    agent.add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    agent.backup_id = agent.backup("primary", "--label", EVIL)["id"]
    agent.job = next(job["job"] for job in agent.json("jobs")["jobs"] if job["command"] == "backup")
    cluster.sql("CREATE TABLE behind_it ()")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_switch_wal(); SELECT pg_current_wal_flush_lsn()::text"))
    agent.ok("expire", "primary")  # it is surveyed at once when something was done
    wait_for(lambda: agent.json("status", "primary")["servers"][0]["survey"]["restorable"]["windows"], "a moment can be restored")
    yield agent
    agent.close()
    cluster.close()


@pytest.fixture(params=SHELLS)
def terminal(request, backed_up, folder):
    opened = Terminal(request.param, backed_up, folder)
    opened.shell, opened.folder = request.param, folder
    yield opened
    opened.close()


def test_words_names_and_files_are_completed_and_a_label_stays_a_label(terminal, backed_up):
    name = f"pgcoffer -c {backed_up.configuration}"
    terminal.complete("pgcoffer back", "backup ")
    terminal.complete("pgcoffer wal s", "status ")
    terminal.complete("pgcoffer backup --fa", "--fast-checkpoint ")
    terminal.complete("pgcoffer --color=al", "--color=always ")
    terminal.complete("pgcoffer restore a --target-action=pro", "promote ")
    terminal.complete("pgcoffer check --only=key.mode,expiry.cl", "expiry.client ")
    terminal.complete("pgcoffer -c /etc/hostna", "/etc/hostname ")
    terminal.complete("pgcoffer --config=/etc/hostna", "/etc/hostname ")
    terminal.complete(f"{name} show pri", "primary ")
    terminal.complete(f"{name} show primary {backed_up.backup_id[:4]}", backed_up.backup_id)
    terminal.complete(f"{name} show primary lat", "latest ")
    terminal.complete(f"{name} restore primary --target-time=2", "2[-0-9:.]*T[0-9:.]*Z?")
    terminal.complete(f"{name} follow ", rf"[\r\n ]{backed_up.job}[\r\n ]", tabs=2)
    # Typed with the shell's own quotes as far as it goes, completed with them, and asked of the daemon as what it is.
    terminal.text = ""
    terminal.send(f"{name} show primary {EVIL_TYPED}\t")
    terminal.expect(re.escape(r"wned\)\ \`touch\ pwned\`\;\ touch\ ") + r"\S+pwned\S+\ \\&")
    terminal.send("--json\n")
    terminal.expect(re.escape('"label":"' + EVIL.replace('"', '\\"') + '"'))
    assert not list(terminal.folder.rglob("pwned"))


def test_without_a_daemon_there_is_no_name_and_no_noise(terminal):
    terminal.text = ""
    terminal.send("pgcoffer --socket /nonexistent/socket show \t\t")
    terminal.send("\x15echo do''ne\n")
    terminal.expect("done\r?\n")
    said = terminal.text
    assert "No such file" not in said and "could not" not in said and "rror" not in said, said


def complete(programs, *words):
    done = subprocess.run([programs / "pgcoffer", "__complete", *words], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_names_of_servers_are_asked_without_a_survey_and_none_that_cannot_be_typed_is_shown(programs, folder):
    """A daemon that notes what it is asked."""
    path, asked = folder / "socket", []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer():
            client, _ = listener.accept()
            with client, client.makefile("rw") as lines:
                asked.append(json.loads(lines.readline())["command"])
                names = ["prime", "primary", "pr\nwords", "pr\x1b[31m", "-primary", ""]
                rights = [{"server": name, "right": "admin"} for name in names]
                lines.write(json.dumps({"event": "result", "data": {"rights": rights}}) + "\n")

        thread = threading.Thread(target=answer)
        thread.start()
        said = complete(programs, "--socket", path, "show", "pr")
        thread.join()
        assert (asked, said) == (["ping"], "words\nprime\tadmin\nprimary\tadmin\n")


@pytest.mark.long
def test_a_daemon_that_does_not_answer_is_not_waited_for(programs, folder):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        began = time.monotonic()
        assert "pr" not in complete(programs, "--socket", folder / "socket", "show", "pr")
        assert 1 < time.monotonic() - began < 10
