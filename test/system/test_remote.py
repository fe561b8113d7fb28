"""Commands, restore and replay on another host: the same protocol, over TLS."""

import filecmp
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess

import pytest

from harness.agent import Agent
from harness.cluster import Cluster
from harness.gateway import Cutter, Gateway
from harness.restored import start_restored
from harness.scratch import as_user, free_port, make_folder, wait_for
from test_wal_get import Recovery


class Remote:
    """The database host: no configuration of servers, no repository, no socket; a certificate and an address."""

    def __init__(self, folder, agent, gateway, pair=None, ca=None):
        self.folder, self.agent, self.gateway = make_folder(folder), agent, gateway
        self.pair, self.ca = pair or agent.pki.client, ca or agent.pki.server_ca.certificate

    def connection(self, host="localhost"):
        return ["--connect", f"{host}:{self.gateway.port}", "--tls-cert-file", self.pair.certificate,
                "--tls-key-file", self.pair.key, "--tls-ca-file", self.ca]

    def run(self, *words, host="localhost", connection=None, timeout=120, cwd="/"):
        """Exit code, stdout, stderr."""
        command = [self.agent.binaries / "pgcoffer", *(self.connection(host) if connection is None else connection), *words]
        done = subprocess.run(as_user(command, self.agent.user), capture_output=True, text=True, errors="replace",
                              timeout=timeout, stdin=subprocess.DEVNULL, cwd=cwd)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *words, **rest):
        code, out, err = self.run(*words, **rest)
        assert code == 0, f"pgcoffer {words}: {code}\n{out}\n{err}\n--- daemon\n{self.agent.log_text()[-3000:]}"
        return out


def fill(cluster, agent):
    """A backup, and WAL behind it."""
    cluster.sql("CREATE TABLE words AS SELECT n, md5(n::text) AS word, md5((n * 7)::text) || md5((n * 3)::text) AS more "
                "FROM generate_series(1, 150000) n")
    agent.backup("primary")
    for _ in range(6):
        cluster.sql("INSERT INTO words SELECT n, md5(random()::text), '' FROM generate_series(1, 20000) n")
        cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_flush_lsn()::text"))


@pytest.fixture(scope="module")
def store(scratch, pki, programs):
    """A daemon with one backup, and WAL behind it."""
    cluster = Cluster(scratch / "remote" / "server", pki)
    agent = Agent(scratch / "remote" / "agent", programs, pki)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster).start()
        agent.wait_streaming("primary")
        fill(cluster, agent)
        yield cluster, agent
    finally:
        agent.close()
        cluster.close()


@pytest.fixture
def make_gateway(store):
    made = []

    def make(**options):
        made.append(Gateway(store[1].pki, store[1].socket, **options))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def remote(folder, store, make_gateway):
    return Remote(folder / "host", store[1], make_gateway())


# ---- commands ----


def test_a_command_over_tls_says_what_it_says_on_the_socket(remote):
    for words in (("list", "--json"), ("show", "primary", "latest", "--json"), ("wal", "status", "primary", "--json"), ("ping",)):
        assert remote.ok(*words) == remote.agent.ok(*words).out, words


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_serve(folder, store, make_gateway, newest):
    remote = Remote(folder / "host", store[1], make_gateway(newest=newest))
    assert "primary" in remote.ok("list")


def test_an_error_of_the_daemon_arrives_as_it_is(remote):
    code, _, err = remote.run("show", "primary", "nonsense")
    there = remote.agent.cli("show", "primary", "nonsense")
    assert (code, err) == (there.code, there.err)


def test_a_job_is_followed_to_its_end(remote):
    assert '"state"' in remote.ok("verify", "primary", "--json")


def configuration(remote, *lines):
    path = remote.folder / "pgcoffer.conf"
    path.write_text("\n".join(["[client]", f"connect = localhost:{remote.gateway.port}",
                               f"tls_cert_file = {remote.pair.certificate}", f"tls_key_file = {remote.pair.key}",
                               f"tls_ca_file = {remote.ca}", *lines]) + "\n")
    path.chmod(0o644)
    return path


def test_the_section_client_sends_plain_commands_there(remote):
    path = configuration(remote)
    assert "primary" in remote.ok("-c", path, "list", connection=[])
    taken = remote.gateway.taken
    assert taken > 0
    # --socket and --direct stay on this machine.
    remote.ok("-c", path, "--socket", remote.agent.socket, "list", connection=[])
    code, _, err = remote.run("-c", path, "--direct", "list", connection=[])
    assert code != 4 and remote.gateway.taken == taken, err
    # --connect says more than the section, and the files of the section serve it.
    code, _, err = remote.run("-c", path, "--connect", "localhost:1", "list", connection=[])
    assert code == 4 and "localhost port 1" in err
    assert "connect" in remote.ok("-c", path, "config", "show", connection=[])


# ---- who is there, and who is not ----


def test_the_gateway_has_the_name_that_was_meant(folder, store, make_gateway, pki):
    remote = Remote(folder / "host", store[1], make_gateway())
    assert "primary" in remote.ok("list", host="127.0.0.1")  # an IP: in its certificate
    remote.gateway = make_gateway(pair=pki.server_ca.issue("elsewhere", "elsewhere", "serverAuth", ("DNS:elsewhere.example.com",)))
    code, _, err = remote.run("list")
    assert code == 6, err
    assert 'is not for host "localhost"' in err and "DNS:elsewhere.example.com" in err
    remote.gateway = make_gateway(pair=pki.server_ca.issue("named", "x", "serverAuth", ("DNS:localhost",)))
    code, _, err = remote.run("list", host="127.0.0.1")
    assert code == 6 and "An address counts only as IP:127.0.0.1" in err, err


def test_an_address_of_ipv6_stands_in_brackets(folder, store, make_gateway, pki):
    pair = pki.server_ca.issue("six", "six", "serverAuth", ("IP:::1",))
    remote = Remote(folder / "host", store[1], make_gateway(host="::1", family=socket.AF_INET6, pair=pair))
    assert "primary" in remote.ok("list", host="[::1]")
    code, _, err = remote.run("list", host="::1")
    assert code == 2 and "brackets" in err


def test_a_gateway_of_an_unknown_ca_is_told_nothing(folder, store, make_gateway, pki):
    remote = Remote(folder / "host", store[1], make_gateway(), ca=pki.other_ca.certificate)
    code, _, err = remote.run("list")
    assert code == 6 and "pgcoffer foreign CA" in err and "pgcoffer test server CA" in err, err
    assert "ssl_" not in err and "PostgreSQL" not in err, err


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_refused_certificate_is_named(folder, store, make_gateway, pki, newest):
    gateway = make_gateway(newest=newest)
    foreign = pki.other_ca.issue("foreign", "repl", "clientAuth")
    code, _, err = Remote(folder / "host", store[1], gateway, pair=foreign).run("list")
    assert code == 6, err
    assert "The gateway refused".lower() in err.lower() and 'issuer "CN=pgcoffer foreign CA' in err, err
    assert "tls_ca_file of [pgcoffer] on the backup host" in err and "ssl_" not in err, err


def test_an_expired_certificate_is_found_before_anybody_is_asked(folder, store, make_gateway, pki):
    gateway = make_gateway()
    old = pki.client_ca.issue("old", "repl", "clientAuth", not_after="20210101000000Z")
    code, _, err = Remote(folder / "host", store[1], gateway, pair=old).run("list")
    assert code == 6 and "expired" in err and "2021-01-01" in err, err
    assert gateway.taken == 0
    # The gateway's own is found in the handshake.
    gone = pki.server_ca.issue("gone", "localhost", "serverAuth", ("DNS:localhost",), not_after="20210101000000Z")
    code, _, err = Remote(folder / "host", store[1], make_gateway(pair=gone)).run("list")
    assert code == 6 and "expired" in err and "gateway's certificate" in err, err


def test_a_key_that_others_may_read_is_refused(folder, store, make_gateway, pki):
    pair = pki.client_ca.issue("open", "repl", "clientAuth")
    pair.key.chmod(0o644)
    gateway = make_gateway()
    code, _, err = Remote(folder / "host", store[1], gateway, pair=pair).run("list")
    assert code == 6 and "chmod" in err and gateway.taken == 0, err


def test_without_a_certificate_nobody_is_asked(remote):
    code, _, err = remote.run("list", connection=["--connect", f"localhost:{remote.gateway.port}"])
    assert code == 2 and "--tls-cert-file" in err and remote.gateway.taken == 0, err


def test_a_refused_port_is_a_daemon_that_is_not_there(remote):
    remote.gateway.port, port = free_port(), remote.gateway.port
    code, _, err = remote.run("list")
    assert code == 4 and "Connection refused" in err and "management" in err, err


def test_what_speaks_no_tls_is_no_gateway(folder, store, make_gateway):
    class Plain:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    import threading

    def answer():
        client, _ = Plain.listener.accept()
        client.recv(4096)
        client.sendall(b'{"event":"error","kind":"usage","message":"not JSON"}\n')
        client.close()

    threading.Thread(target=answer, daemon=True).start()
    code, _, err = Remote(folder / "host", store[1], Plain).run("list")
    assert code == 6 and "does not speak TLS" in err, err


def test_a_gateway_that_hangs_is_given_up(remote):
    remote.gateway.is_hanging = True
    path = configuration(remote, "connect_timeout = 2")
    code, _, err = remote.run("-c", path, "list", connection=[], timeout=30)
    assert code == 4 and "no answer in time" in err, err


# ---- restore and replay ----


def tree(folder):
    """Every file below it by its path: its bytes, its mode."""
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in sorted(pathlib.Path(folder).rglob("*")) if path.name not in ("postgresql.auto.conf",)}


def restore_command(target):
    (line,) = re.findall(r"^restore_command = '(.*)'$", (target / "postgresql.auto.conf").read_text(), re.M)
    return line


def test_a_restore_over_tls_is_the_same_byte_for_byte(remote, folder):
    there, here = folder / "there", folder / "here"
    remote.agent.ok("restore", "primary", "--target-directory", there)
    remote.ok("restore", "primary", "--target-directory", here, "--jobs", "4")
    assert tree(here) == tree(there)


def test_the_restore_command_is_whole_wherever_it_runs(remote, folder):
    path = configuration(remote)
    for number, connection in enumerate(([], remote.connection())):
        target = folder / f"target{number}"
        remote.ok("-c", path, "restore", "primary", "--target-directory", target, connection=connection)
        command = restore_command(target)
        for word in (f"--connect localhost:{remote.gateway.port}", f"--tls-cert-file {remote.pair.certificate}",
                     f"--tls-key-file {remote.pair.key}", f"--tls-ca-file ''{remote.ca}''", f"-c {path}"):
            assert f" {word} " in command, command
    # A relative file on the command line is a whole path in it.
    words = [str(word) for word in remote.connection()]
    words[words.index("--tls-key-file") + 1] = remote.pair.key.name
    remote.ok("restore", "primary", "--target-directory", folder / "relative", connection=words, cwd=remote.pair.key.parent)
    assert f"--tls-key-file {remote.pair.key} " in restore_command(folder / "relative")


def fetch(remote, segment, path, *words):
    return remote.run("wal-get", "primary", segment, path, *words)


def segments(agent):
    return sorted(path.name[:24] for path in agent.system_folder("primary").glob("wal/*/*/*.zst"))


def test_wal_get_over_tls_keeps_its_exit_codes(remote, folder):
    place = make_folder(folder / "wal")
    name = segments(remote.agent)[0]
    assert fetch(remote, name, place / name)[0] == 0
    remote.agent.ok("wal-get", "primary", name, place / "there")
    assert filecmp.cmp(place / name, place / "there", shallow=False)
    code, _, err = fetch(remote, "0000000100000FFF00000001", place / "none")
    assert code == 1, err
    # A certificate that is refused is no end of the WAL.
    remote.ca = remote.agent.pki.other_ca.certificate
    assert fetch(remote, name, place / "untrusted")[0] == 206
    assert sorted(path.name for path in place.iterdir()) == sorted([name, "there"])


def test_wal_get_waits_for_a_gateway_that_is_started_anew(store, folder, make_gateway):
    place = make_folder(folder / "wal")
    remote = Remote(folder / "host", store[1], make_gateway())
    name = segments(remote.agent)[0]
    port = remote.gateway.port
    remote.gateway.close()
    wait_for(lambda: remote.run("list")[0] == 4, "the gateway is gone")
    command = [remote.agent.binaries / "pgcoffer", *remote.connection(), "wal-get", "primary", name, place / name]
    waiting = subprocess.Popen(as_user(command, remote.agent.user), stdin=subprocess.DEVNULL)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        again = Gateway(remote.agent.pki, remote.agent.socket, port=port)
        assert waiting.wait(40) == 0
        again.close()
    finally:
        waiting.kill()
        waiting.wait()
    remote.agent.ok("wal-get", "primary", name, place / "there")
    assert filecmp.cmp(place / name, place / "there", shallow=False)


def test_connections_cut_at_random_change_nothing(store, folder, make_gateway, pki):
    """The restore, and the replay behind it: the same bytes, the same rows."""
    cluster, agent = store
    gateway = make_gateway(random_seed=7)
    remote = Remote(folder / "host", agent, gateway)
    there, here = folder / "there", folder / "here"
    agent.ok("restore", "primary", "--target-directory", there)
    gateway.cut_between = (10, 3_000_000)
    remote.ok("restore", "primary", "--target-directory", here, "--jobs", "4", timeout=300)
    assert gateway.cuts >= 3
    assert tree(here) == tree(there)
    remote.ok("restore", "primary", "--target-directory", folder / "with-wal", "--with-wal", timeout=300)
    cuts = gateway.cuts
    rows = cluster.sql("SELECT count(*), md5(string_agg(word, '' ORDER BY n, word)) FROM words")
    restored = start_restored(folder / "restored", pki, here)
    try:
        assert restored.sql("SELECT count(*), md5(string_agg(word, '' ORDER BY n, word)) FROM words") == rows
    finally:
        restored.close()
    assert gateway.cuts > cuts


def test_a_gateway_that_stays_away_ends_the_restore_with_what_to_do(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    remote.gateway.cut_between = (2_000_000, 2_000_001)
    remote.gateway.close_after_cuts = 1
    code, _, err = remote.run("restore", "primary", "--target-directory", folder / "target", "--patience", "3")
    assert code == 4 and "Connection refused" in err, err
    assert err.count("the connection broke and is tried again for 3.0s") == 1, err
    assert not (folder / "target" / "global" / "pg_control").exists()


def test_a_gateway_that_comes_back_is_waited_for_and_told_of(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    there, here = folder / "there", folder / "here"
    remote.agent.ok("restore", "primary", "--target-directory", there)
    remote.gateway.cut_between = (2_000_000, 2_000_001)
    remote.gateway.close_after_cuts = 1
    # The patience of a wal-get, 6 s with this, is over before.
    path = configuration(remote, "connect_timeout = 2")
    command = [remote.agent.binaries / "pgcoffer", "-c", path, "restore", "primary", "--target-directory", here]
    running = subprocess.Popen(as_user(command, remote.agent.user), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        assert "the connection broke and is tried again for 15m00s" in running.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(7)
        make_gateway(port=remote.gateway.port)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 0 and err.count("goes on") == 1, err
    finally:
        running.kill()
        running.wait()
    assert tree(here) == tree(there)


def test_root_reads_the_key_for_another_and_says_what_that_one_cannot(store, folder, make_gateway, pki):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    agent = store[1]
    remote = Remote(folder / "host", agent, make_gateway())
    pair = pki.client_ca.issue("roots", "repl", "clientAuth")
    os.chown(pair.key, 0, 0)
    remote.pair = pair
    done = subprocess.run([agent.binaries / "pgcoffer", *map(str, remote.connection()), "restore", "primary", "--owner", agent.user,
                           "--target-directory", folder / "target"], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr
    assert (folder / "target" / "PG_VERSION").owner() == agent.user
    assert f"{agent.user} will not get its WAL from the gateway" in done.stderr and str(pair.key) in done.stderr, done.stderr


def test_the_next_segments_are_fetched_ahead_over_few_connections(store, folder, remote):
    cluster, agent = store
    names = segments(agent)
    recovery = Recovery(folder / "recovery", agent, cluster, *remote.connection())
    try:
        assert recovery.get(names[0]) is False
        for name in names[1:]:
            wait_for(lambda: name in recovery.waiting(), lambda: f"{name} waits; {recovery.waiting()}")
            assert recovery.get(name) is True
        assert remote.gateway.taken <= 1 + 4  # the first call's own, and the workers' of the process left behind
    finally:
        (recovery.data / "recovery.signal").unlink()
        recovery.wait_gone()


def test_a_gateway_that_falls_silent_in_mid_restore_is_left_for_another_connection(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    there, here = folder / "there", folder / "here"
    remote.agent.ok("restore", "primary", "--target-directory", there)
    remote.gateway.silent_after = 1_500_000
    path = configuration(remote, "connect_timeout = 2")
    remote.ok("-c", path, "restore", "primary", "--target-directory", here, connection=[])
    wait_for(lambda: remote.gateway.has_been_left, "the silent connection is closed")
    assert tree(here) == tree(there)


def test_a_gateway_that_falls_silent_behind_the_plan_is_left_too(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    remote.gateway.silent_after = 1  # with the first bytes, which are the plan
    path = configuration(remote, "connect_timeout = 2")
    remote.ok("-c", path, "restore", "primary", "--target-directory", folder / "here", connection=[], timeout=60)
    wait_for(lambda: remote.gateway.has_been_left, "the silent connection is closed")


def test_a_restore_that_waits_for_a_gateway_can_be_interrupted(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    remote.gateway.cut_between = (2_000_000, 2_000_001)
    remote.gateway.close_after_cuts = 1
    command = [remote.agent.binaries / "pgcoffer", *remote.connection(), "restore", "primary", "--target-directory", folder / "target"]
    running = subprocess.Popen(as_user(command, remote.agent.user), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: remote.gateway.is_closed, "the gateway is gone")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=15)  # and not after all its patience
        assert running.returncode == 1 and "interrupted" in err, err
    finally:
        running.kill()
        running.wait()


def test_interrupted_while_a_gateway_hangs_no_thread_asks_it_again(store, folder, make_gateway):
    remote = Remote(folder / "host", store[1], make_gateway())
    remote.gateway.cut_between = (1_000_000, 1_000_001)
    path = configuration(remote, "connect_timeout = 4")
    command = [remote.agent.binaries / "pgcoffer", "-c", path, "restore", "primary", "--target-directory", folder / "target",
               "--jobs", "8"]
    running = subprocess.Popen(as_user(command, remote.agent.user), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: remote.gateway.cuts > 0, "a connection has broken")
        remote.gateway.is_hanging = True
        wait_for(lambda: remote.gateway.kept, "a new one hangs")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
        assert running.returncode == 1 and "interrupted" in err, err
        assert len(remote.gateway.kept) <= 2
    finally:
        running.kill()
        running.wait()


# ---- through the gateway itself, with the rights of a certificate ----


@pytest.fixture(scope="module")
def gateway_store(scratch, pki, programs):
    """A daemon with a gateway: restorers of "primary" are the holders of CN=standby."""
    cluster = Cluster(scratch / "through" / "server", pki)
    agent = Agent(scratch / "through" / "agent", programs, pki)
    port = free_port()
    agent.daemon_settings.update(management=port, host="127.0.0.1", tls_cert_file=pki.server.certificate,
                                 tls_key_file=pki.server.key, tls_ca_file=pki.client_ca.certificate)
    try:
        cluster.start().create_role()
        agent.add_server("primary", cluster, restorers="cert:standby", monitors="cert:watcher").start()
        agent.wait_streaming("primary")
        fill(cluster, agent)
        yield cluster, agent, port
    finally:
        agent.close()
        cluster.close()


@pytest.fixture
def through(folder, gateway_store, pki):
    """through(cut_between, cn): a host whose connections go through a network that cuts them."""
    made = []

    def make(cut_between=None, cn="standby", seed=5):
        made.append(Cutter(gateway_store[2], cut_between, seed))
        pair = pki.client_ca.issue(cn, cn, "clientAuth")
        return Remote(folder / f"host{len(made)}", gateway_store[1], made[-1], pair=pair)

    yield make
    for cutter in made:
        cutter.close()


def test_a_certificate_has_its_rights_and_no_others(through, folder):
    standby, watcher, nobody = through(), through(cn="watcher"), through(cn="nobody")
    wait_for(lambda: standby.run("list")[0] == 0, "the gateway is there")
    assert "primary" in watcher.ok("list")
    for remote in (watcher, nobody):
        code, _, err = remote.run("restore", "primary", "--target-directory", folder / "no")
        assert code == 1, err
        code, _, err = remote.run("wal-get", "primary", "000000010000000000000001", folder / "no")
        assert code == 201, err
    assert standby.run("backup", "primary")[0] == 1
    assert not (folder / "no").exists()


def test_what_the_gateway_refuses_is_told_as_check_tells_it(through, pki):
    remote = through()
    wait_for(lambda: remote.run("list")[0] == 0, "the gateway is there")
    remote.pair = pki.other_ca.issue("stranger", "standby", "clientAuth")
    code, _, err = remote.run("list")
    assert code == 6 and "the gateway refused our certificate" in err and "pgcoffer foreign CA" in err, err
    remote.pair = pki.client_ca.issue("usage", "standby", "serverAuth")
    code, _, err = remote.run("list")
    assert code == 6 and "lacks clientAuth" in err, err


def test_cut_at_random_between_host_and_gateway_the_restore_is_the_same(through, folder, gateway_store, pki):
    cluster, agent, _ = gateway_store
    remote = through(cut_between=(2000, 3_000_000), seed=11)
    there, here = folder / "there", folder / "here"
    agent.ok("restore", "primary", "--target-directory", there)
    remote.ok("restore", "primary", "--target-directory", here, "--jobs", "4", timeout=300)
    assert remote.gateway.cuts >= 3
    assert tree(here) == tree(there)
    cuts = remote.gateway.cuts
    rows = cluster.sql("SELECT count(*), md5(string_agg(word, '' ORDER BY n, word)) FROM words")
    restored = start_restored(folder / "restored", pki, here)
    try:
        assert restored.sql("SELECT count(*), md5(string_agg(word, '' ORDER BY n, word)) FROM words") == rows
    finally:
        restored.close()
    assert remote.gateway.cuts > cuts


def test_a_gateway_killed_in_mid_restore_is_found_again(through, folder, gateway_store):
    agent = gateway_store[1]
    remote = through(cut_between=(4_000_000, 4_000_001))
    there, here = folder / "there", folder / "here"
    agent.ok("restore", "primary", "--target-directory", there)
    command = [agent.binaries / "pgcoffer", *remote.connection(), "restore", "primary", "--target-directory", here, "--jobs", "1"]
    running = subprocess.Popen(as_user(command, agent.user), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: remote.gateway.cuts > 0 or running.poll() is not None, "bytes have come")
        assert running.poll() is None
        for pid in agent.worker_pids("gateway"):
            os.kill(pid, 9)
        assert running.wait(120) == 0
    finally:
        running.kill()
        running.wait()
    assert tree(here) == tree(there)


def test_a_standby_comes_out_of_the_gateway_and_streams_on_over_tls(through, folder, gateway_store, pki):
    """[client] leads to the gateway, [primary] beside it to the server that is to be followed."""
    cluster, agent, _ = gateway_store
    remote, here = through(), folder / "standby"
    path = configuration(remote, "", "[primary]", *[f"{key} = {value}" for key, value in agent.servers["primary"].items()])
    remote.ok("-c", path, "restore", "primary", "--standby", "--target-directory", here, connection=[])
    assert "--connect" in restore_command(here) and (here / "standby.signal").exists()
    assert "sslmode=''verify-full''" in (here / "postgresql.auto.conf").read_text()
    standby = start_restored(folder / "restored", pki, here, promoted=False)
    try:
        def followers():
            return cluster.rows("SELECT application_name, ssl, client_dn FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) "
                                "WHERE application_name <> 'pgcoffer'")

        wait_for(followers, lambda: f"it follows\n{standby.log_text()[-3000:]}")
        assert followers() == [("pgcoffer standby", True, "/CN=repl")]
        cluster.sql("CREATE TABLE later AS SELECT 7 AS n")
        end = cluster.sql("SELECT pg_current_wal_lsn()::text")
        wait_for(lambda: standby.sql("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end), lambda: standby.log_text()[-3000:])
        assert standby.sql("SELECT n FROM later") == 7
    finally:
        standby.close()
