"""contrib/certbot: a renewed certificate reaches PostgreSQL as one with its key, or nothing changes."""

import os
import pathlib
import shutil
import signal
import stat
import subprocess

import pytest

from harness.certificates import Authority, openssl
from harness.scratch import OS_USER, as_user, give_to, make_folder, wait_for

HOOK = pathlib.Path(__file__).parents[2] / "contrib" / "certbot" / "pgcoffer-postgresql-deploy.sh"

PROGRAMS = "/usr/bin:/bin:/usr/sbin:/sbin"
CALLER = "root" if os.geteuid() == 0 else None


class Lineage:
    """A folder as certbot keeps it: live/NAME holds links into archive/NAME, both for their owner only."""

    def __init__(self, folder, root):
        self.root, self.number = root, 0
        self.archive = make_folder(folder / "archive" / "db", 0o700, None)
        self.live = make_folder(folder / "live" / "db", 0o700, None)
        for path in (self.live.parent, self.archive.parent):
            path.chmod(0o700)
        self.issuer = intermediate_of(root, folder / "acme")

    def renew(self, name="localhost", key=None, issuer=None, **options):
        """A new key and certificate, as after `certbot renew`."""
        self.number += 1
        issuer = issuer or self.issuer
        pair = issuer.issue(f"leaf{self.number}", name, "serverAuth", (f"DNS:{name}",), **options)
        chain = pair.certificate.read_text() + issuer.certificate.read_text()
        for stem, text in (("privkey", (key or pair.key).read_text()), ("fullchain", chain)):
            path = self.archive / f"{stem}{self.number}.pem"
            path.write_text(text)
            path.chmod(0o600)
            link = self.live / f"{stem}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/db/{path.name}")
        for path in [self.live, *self.live.parents[:1], *self.archive.glob("*"), self.archive, self.archive.parent]:
            give_to(path, CALLER)
        return pair


def intermediate_of(root, folder):
    issuer = Authority(folder, "ACME issuer")
    extensions = folder / "issuer.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n")
    openssl("req", "-new", "-key", issuer.key, "-subj", "/O=pgcoffer test/CN=ACME issuer", "-out", folder / "issuer.csr")
    openssl("x509", "-req", "-in", folder / "issuer.csr", "-CA", root.certificate, "-CAkey", root.key, "-CAcreateserial",
            "-days", "300", "-extfile", extensions, "-out", issuer.certificate)
    return issuer


class Hook:
    def __init__(self, folder, cluster, lineage):
        self.folder, self.cluster, self.lineage = folder, cluster, lineage
        self.directory = folder / "deployed"
        self.shims = make_folder(folder / "shims", 0o755, None)

    def run(self, *words, code=0, environment=None, lineage=True, **rest):
        command = ["bash", HOOK, "--directory", self.directory, "--host", "localhost", "--ca", self.lineage.root.certificate,
                   "--role", "postgres", "--socket", self.cluster.sockets, "--port", self.cluster.port, "--timeout", "5", *words]
        settings = {"PATH": f"{self.shims}:{PROGRAMS}", "HOME": "/"}
        if lineage:
            settings["RENEWED_LINEAGE"] = str(self.lineage.live)
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=90,
                              env={**settings, **(environment or {})}, **rest)
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def versions(self):
        return sorted(path.name for path in (self.directory / "versions").iterdir())

    def state(self):
        """Everything a failed run may not change."""
        return os.readlink(self.directory / "current"), self.versions(), served(self.cluster)

    def shim(self, program, text):
        """Puts a script before the program of that name; it finds the real one in $real."""
        path = self.shims / program
        path.write_text(f"#!/bin/bash\nreal={shutil.which(program, path=PROGRAMS)}\n{text}\n")
        path.chmod(0o755)


def served(cluster):
    """The certificate the server gives to new connections, as PEM."""
    done = subprocess.run(["openssl", "s_client", "-starttls", "postgres", "-connect", f"localhost:{cluster.port}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return subprocess.run(["openssl", "x509"], input=done.stdout, capture_output=True, text=True).stdout


def pem(path):
    return subprocess.run(["openssl", "x509", "-in", path], capture_output=True, text=True).stdout


@pytest.fixture
def hook(folder, make_cluster):
    """PostgreSQL serves what the hook deployed once."""
    root = Authority(folder / "root", "ACME root")
    cluster = make_cluster("server").start().create_role()
    hook = Hook(folder, cluster, Lineage(folder / "letsencrypt", root))
    hook.lineage.renew()
    lines = hook.run().stdout.splitlines()[1:]
    assert lines[0] == "ssl = on" and len(lines) == 3
    cluster.configure(*lines)
    cluster.reload()
    wait_for(lambda: served(cluster) == pem(hook.lineage.live / "fullchain.pem"), "the first certificate is served")
    return hook


def test_a_renewed_certificate_is_served_and_no_connection_ends(hook, make_agent):
    agent = make_agent().add_server("primary", hook.cluster, tls_ca_file=hook.lineage.root.certificate).start()
    agent.wait_streaming("primary")
    walsender = hook.cluster.sql("SELECT pid FROM pg_stat_replication")
    pair = hook.lineage.renew()
    done = hook.run()
    assert "serves the certificate" in done.stdout and done.stderr == ""
    assert served(hook.cluster) == pem(pair.certificate)
    assert hook.cluster.sql("SELECT pid FROM pg_stat_replication") == walsender
    assert agent.backup("primary")["state"] == "complete"


def test_the_key_is_private_and_belongs_to_the_owner_of_the_server(hook):
    key, certificate = hook.directory / "current" / "server.key", hook.directory / "current" / "server.crt"
    owner = hook.cluster.data.stat().st_uid
    assert (stat.S_IMODE(key.stat().st_mode), key.stat().st_uid) == (0o600, owner)
    assert certificate.stat().st_uid == owner
    assert hook.directory.stat().st_uid == os.geteuid() and not hook.directory.stat().st_mode & 0o022


def test_the_key_is_never_open_to_others_while_it_is_copied(hook):
    hook.shim("chmod", 'stat -c "%a %n" "${@: -1}"/* >&2; exec $real "$@"')
    hook.shim("install", '$real "$@"; status=$?; [ ! -f "${@: -1}" ] || stat -c "%a %n" "${@: -1}" >&2; exit $status')
    hook.lineage.renew()
    modes = [line.split()[0] for line in hook.run().stderr.splitlines() if line.endswith("server.key")]
    assert modes and set(modes) == {"600"}


def test_run_again_it_changes_nothing(hook):
    before = hook.state()
    assert "serves the certificate" in hook.run().stdout
    assert hook.state() == before


def test_one_former_version_is_kept(hook):
    for _ in range(3):
        former = os.readlink(hook.directory / "current")
        hook.lineage.renew()
        hook.run()
    assert len(hook.versions()) == 2 and pathlib.Path(former).name in hook.versions()


def another_key(hook):
    return {"key": hook.lineage.renew().key}


def other_name(hook):
    return {"name": "elsewhere.example.com"}


def expired(hook):
    return {"not_after": "20240101000000Z"}


def other_root(hook):
    return {"issuer": intermediate_of(Authority(hook.folder / "staging", "staging root"), hook.folder / "staging-issuer")}


def locked_key(hook):
    key = hook.folder / "locked.key"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:word", "-out", key)
    return {"key": key}


@pytest.mark.parametrize("fault, words", [
    (another_key, "does not belong to the certificate"), (other_name, "hostname mismatch"), (expired, "certificate has expired"),
    (other_root, "unable to get local issuer certificate"), (locked_key, "passphrase")])
def test_a_pair_that_cannot_be_used_changes_nothing(hook, fault, words):
    options = fault(hook)
    hook.lineage.renew(**options)
    before = hook.state()
    assert words in hook.run(code=1).stderr
    assert hook.state() == before
    hook.cluster.restart()
    assert served(hook.cluster) == before[2]


@pytest.mark.parametrize("missing", ["privkey.pem", "fullchain.pem"])
def test_half_a_lineage_changes_nothing(hook, missing):
    before = hook.state()
    (hook.lineage.live / missing).unlink()
    assert missing in hook.run(code=1).stderr
    assert hook.state() == before


def test_what_the_server_refuses_is_taken_back(hook):
    """An RSA key of 1024 bits: openssl verify has no objection, PostgreSQL has."""
    before = hook.state()
    issuer = hook.lineage.issuer
    weak = issuer.folder / "weak"
    openssl("req", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{weak}.key", "-out", f"{weak}.csr")
    (issuer.folder / "weak.ext").write_text("extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", f"{weak}.csr", "-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial",
            "-extfile", f"{weak}.ext", "-out", f"{weak}.crt")
    (hook.lineage.live / "privkey.pem").resolve().write_text((issuer.folder / "weak.key").read_text())
    (hook.lineage.live / "fullchain.pem").resolve().write_text((issuer.folder / "weak.crt").read_text()
                                                               + issuer.certificate.read_text())
    assert "did not take" in hook.run(code=4).stderr
    assert hook.state() == before
    hook.cluster.restart()
    assert served(hook.cluster) == before[2]


def test_a_server_that_is_down_finds_the_new_certificate_when_it_starts(hook):
    hook.cluster.stop()
    pair = hook.lineage.renew()
    assert "will when it starts" in hook.run(code=3).stderr
    hook.cluster.start()
    assert served(hook.cluster) == pem(pair.certificate)
    hook.run()


def test_a_server_that_uses_other_files_is_said(hook):
    hook.cluster.configure("ssl_cert_file = '%s'" % (hook.cluster.folder / "tls" / "server.crt"),
                           "ssl_key_file = '%s'" % (hook.cluster.folder / "tls" / "server.key"))
    hook.cluster.reload()
    hook.lineage.renew()
    wait_for(lambda: hook.cluster.sql("SHOW ssl_cert_file") != f"{hook.directory}/current/server.crt", "reloaded")
    assert "ssl_cert_file" in hook.run(code=3).stdout


def test_a_server_that_cannot_be_watched_is_left_alone(hook):
    hook.lineage.renew()
    before = hook.state()
    assert "--address" in hook.run("--address", "127.0.0.99", code=1).stderr
    assert hook.state() == before


RELOADER = "runuser" if OS_USER else "psql"


@pytest.mark.parametrize("when, program, words", [
    ("after", "install", "*server.key*"), ("before", "openssl", "verify*"), ("before", "mv", "*"), ("after", "mv", "*"),
    ("after", RELOADER, "*pg_reload_conf*"), ("before", "rm", "*")])
def test_killed_at_any_step_it_leaves_one_whole_pair_and_the_next_run_ends_the_work(hook, when, program, words):
    hook.lineage.renew()
    hook.run()
    pair = hook.lineage.renew()
    mark = hook.folder / "killed"
    # The caller is the hook, or a subshell of it in the same process group.
    hook.shim(program, f'''case "$*" in {words}) {'$real "$@";' if when == "after" else ""} touch {mark}; kill -KILL 0 ;; esac
exec $real "$@"''')
    done = hook.run(code=None, start_new_session=True)
    assert done.returncode == -signal.SIGKILL and mark.exists(), done
    for half in ("server.crt", "server.key"):
        assert (hook.directory / "current" / half).exists()
    key = subprocess.run(as_user(["openssl", "pkey", "-pubout", "-in", hook.directory / "current" / "server.key"]),
                         capture_output=True, text=True).stdout
    assert key and key == subprocess.run(["openssl", "x509", "-noout", "-pubkey", "-in", hook.directory / "current" / "server.crt"],
                                         capture_output=True, text=True).stdout
    (hook.shims / program).unlink()
    hook.run()
    assert served(hook.cluster) == pem(pair.certificate) and len(hook.versions()) <= 2
    hook.cluster.restart()
    assert served(hook.cluster) == pem(pair.certificate)


def test_what_is_missing_or_unknown_is_a_matter_of_usage(hook):
    assert "RENEWED_LINEAGE" in hook.run(code=2, lineage=False).stderr
    assert "--shout" in hook.run("--shout", code=2).stderr
    assert "needs a value" in hook.run("--host", code=2).stderr
    done = subprocess.run(["bash", HOOK, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--directory DIRECTORY" in done.stdout


@pytest.mark.skipif(OS_USER is None, reason="only root can give a folder away")
def test_root_writes_into_no_folder_of_somebody_else(hook):
    shutil.chown(hook.directory, OS_USER)
    assert "belongs to somebody else" in hook.run(code=1).stderr


@pytest.mark.skipif(OS_USER is None, reason="only root can become another user")
def test_the_owner_of_the_server_may_run_it_for_himself(hook):
    hook.directory = make_folder(hook.folder / "own", 0o755, OS_USER) / "tls"
    own = make_folder(hook.folder / "lineage", 0o755, OS_USER)
    for name in ("privkey.pem", "fullchain.pem"):
        shutil.copyfile(hook.lineage.live / name, own / name)
        give_to(own / name)
    done = subprocess.run(as_user(["bash", HOOK, "--directory", hook.directory, "--host", "localhost", "--ca", hook.lineage.root.certificate,
                                   "--socket", hook.cluster.sockets, "--port", hook.cluster.port]), capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "RENEWED_LINEAGE": str(own)})
    assert done.returncode == 0, done.stderr
    assert (hook.directory / "current" / "server.key").stat().st_uid == hook.cluster.data.stat().st_uid
