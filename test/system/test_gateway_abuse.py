"""What a client with a certificate asks that it should not, what one without sends, and what happens to a restore meanwhile."""

import json
import os
import random
import re
import socket
import ssl
import subprocess
import time

import pytest

from harness.agent import Agent, resident_kilobytes
from harness.cluster import Cluster
from harness.gateway import Cutter
from harness.scratch import as_user, wait_for
from test_gateway import Gateway, GatewayPki
from test_remote import Remote as Host, fill, tree


@pytest.fixture(scope="module")
def store(scratch, pki, programs):
    """A gateway with one backup of "primary", for the holder of CN=db1; "other" is of another."""
    folder = scratch / "abuse"
    cluster = Cluster(folder / "server", pki)
    gateway = Gateway(Agent(folder / "agent", programs, pki), GatewayPki(folder / "gateway-pki"), tls_min_version="TLSv1.2")
    gateway.cluster = cluster
    try:
        cluster.start().create_role()
        gateway.add_server("primary", port=cluster.port, restorers="cert:db1", monitors="cert:db3")
        gateway.add_server("other", restorers="cert:db2").start()
        gateway.agent.wait_streaming("primary")
        fill(cluster, gateway.agent)
        yield gateway
    finally:
        gateway.agent.close()
        cluster.close()


@pytest.fixture
def db1(store):
    return store.pki.client("db1")


def newest(store):
    return store.agent.json("show", "primary", "latest")


def read(backup, file="base.tar.zst", offset="0", length="10", server="primary"):
    return {"command": "read", "server": server, "backup": backup, "options": {"file": file, "offset": offset, "length": length}}


class Way:
    """To the gateway, or to what stands in front of it."""

    def __init__(self, port):
        self.port = port


def host_of(store, pair, port=None):
    """A database host with this certificate."""
    return Host(store.agent.folder / "host", store.agent, Way(port or store.port), pair=pair, ca=store.pki.server_ca.certificate)


def line(request):
    return json.dumps({"v": 1, **request}).encode() + b"\n"


# ---- what is no range, no file, no server ----


def test_a_range_outside_an_archive_is_refused(store, db1):
    backup = newest(store)
    (size,) = [file["size"] for file in backup["files"] if file["name"] == "base.tar.zst"]
    for offset, length, words in ((size, 1, "has only"), (size - 5, 6, "has only"), (2**63 - 1, 1, "has only"), (0, size + 1, ""),
                                  (2**63, 1, "offset"), (2**64, 1, "offset"), (-1, 1, "offset"), (0, -1, "length"),
                                  (0, 2**63, "length"), ("1e3", 1, "offset"), ("", 1, "offset"), ("0x10", 1, "offset")):
        with store.connect(db1) as remote:
            (answer,) = remote.ask(**read(backup["id"], offset=str(offset), length=str(length)))
            assert answer["event"] == "error" and answer["kind"] == "usage" and words in answer["message"], (offset, length, answer)
            assert remote.ask(**read(backup["id"], offset=str(size), length="0"))[-1]["event"] == "result"


def test_a_path_is_no_name_of_a_file_a_backup_or_a_server(store, db1):
    backup = newest(store)["id"]
    names = ("../backup.json", "../../../../../../etc/passwd", "/etc/passwd", "..", ".", "", "./base.tar.zst",
             "base.tar.zst/../backup.json", "base.tar.zst\u0000", "../" * 1000)
    for name in names:
        requests = [read(backup, file=name), read(f"{backup}/../{backup}" if name else "", file="backup.json"),
                    read(name, file="backup.json"),
                    {"command": "wal-get", "server": "primary",
                     "options": {"file": "000000010000000000000001", "system-id": f"../{name}"}}]
        for request in requests:
            with store.connect(db1) as remote:
                (answer,) = remote.ask(**request)
                assert answer["event"] == "error" and answer["kind"] == "usage", (request, answer)
        with store.connect(db1) as remote:
            (answer,) = remote.ask(command="wal-get", server="primary", options={"file": name})
            if "\0" not in name:  # that is no request
                assert answer["data"] == {"found": False, "reason": "it is neither a WAL segment nor a timeline history"}, answer
        with store.connect(db1) as remote:
            (answer,) = remote.ask(**read(backup, file="backup.json", server=f"primary/../{name}"))
            assert answer["event"] == "error" and answer["kind"] in ("usage", "denied"), (name, answer)


def test_another_server_is_denied_also_in_a_session_that_has_begun(store, db1):
    backup = newest(store)["id"]
    with store.connect(db1) as remote:
        assert remote.ask(**read(backup))[-1]["event"] == "result"
        (answer,) = remote.ask(**read(backup, server="other"))
        assert answer["kind"] == "denied", answer
    host = host_of(store, db1)
    code, _, err = host.run("restore", "other", "--target-directory", "/nonexistent/here")
    assert code == 1 and "Add cert:db1 to restorers of [other]" in err, err


# ---- too many things at once ----


def test_requests_that_do_not_wait_for_the_session_are_refused(store, db1):
    backup = newest(store)["id"]
    with store.connect(db1) as remote:
        remote.socket.sendall(line(read(backup)) * 500)
        answer = remote.answer()[-1]
        assert answer["kind"] == "usage" and "more came after the request before it was answered" in answer["message"], answer
    with store.connect(db1) as remote:
        remote.ask(**read(backup))
        remote.socket.sendall(line(read(backup)) * 2000)  # in its session they wait their turn
        for _ in range(2000):
            assert remote.answer()[-1]["event"] == "result"
    wait_for(lambda: not store.agent.worker_pids("serve"), "the sessions are gone")


def test_one_identity_with_too_many_sessions_is_told_so_by_the_command(store, db1):
    many = []
    try:
        for _ in range(40):
            many.append(store.connect(db1))
            many[-1].ask("list", server="primary")
        code, _, err = host_of(store, db1).run("list")
        assert code == 8 and "the gateway has 40 connections of cert:db1 already" in err and "try again in a moment" in err, err
        with store.connect(store.pki.client("db2")) as other:
            assert other.ask("list", server="other")[-1]["event"] == "result"
    finally:
        for remote in many:
            remote.close()
    wait_for(lambda: store.status()["connections"] == 0 and not store.agent.worker_pids("serve"), "all are gone")


# ---- who goes ----


def large_range(store):
    backup = newest(store)
    (size,) = [file["size"] for file in backup["files"] if file["name"] == "base.tar.zst"]
    return read(backup["id"], length=str(size))


def test_one_that_vanishes_in_mid_range_takes_its_session_with_it(store, db1):
    for _ in range(3):
        remote = store.connect(db1)
        remote.ask("list", server="primary")
        remote.socket.sendall(line(large_range(store)) * 20)
        assert json.loads(remote.file.readline())["event"] == "bytes"
        assert len(remote.file.read(100_000)) == 100_000
        remote.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, no farewell
        remote.close()
    wait_for(lambda: not store.agent.worker_pids("serve"), "their sessions are gone")
    wait_for(lambda: store.status()["connections"] == 0, "they are not counted any more")
    store.wait_log(r'cert:db1 from \S+: read of "primary" \S+: failed \(daemon: ')
    with store.connect(db1) as remote:
        assert remote.ask(**large_range(store))[-1]["event"] == "result"


def open_follower(store, pair):
    """A connection that follows a verify, which waits for a stopped process."""
    job = store.agent.json("verify", "primary", "--no-wait")["job"]
    (worker,) = wait_for(lambda: store.agent.worker_pids("verify"), "it runs")
    os.kill(worker, 19)
    remote = store.connect(pair)
    remote.socket.sendall(line({"command": "follow", "job": job}))
    return worker, remote


@pytest.fixture
def slow_verify(store):
    """Stopped as soon as it is there; goes on at the end of the test."""
    started = []

    def begin(pair):
        started.append(open_follower(store, pair))
        return started[-1][1]

    yield begin
    for worker, remote in started:
        os.kill(worker, 18)
        remote.close()
    wait_for(lambda: not store.agent.json("status")["jobs"], "it has ended")


def test_who_gives_up_a_follow_keeps_no_place(store, slow_verify, db1):
    remote = slow_verify(db1)
    wait_for(lambda: store.status()["connections"] == 1, "it follows")
    remote.socket.setblocking(False)
    try:
        remote.socket.unwrap()  # a goodbye, and then the end, as a command that is interrupted does
    except ssl.SSLError:
        pass
    remote.close()
    wait_for(lambda: store.status()["connections"] == 0, "its place is free", 40)


def test_who_loses_the_right_follows_no_more(store, slow_verify):
    remote = slow_verify(store.pki.client("db3"))
    wait_for(lambda: store.status()["connections"] == 1, "it follows")
    store.agent.servers["primary"]["monitors"] = "cert:db4"
    store.agent.write_configuration()
    try:
        store.agent.ok("reload")
        answer = remote.answer()[-1]
        assert answer["kind"] == "denied" and "cert:db3" in answer["message"], answer
        assert remote.file.readline() == b""
        store.wait_log(r"cert:db3 from \S+ follows no more: who may do what has changed")
    finally:
        store.agent.servers["primary"]["monitors"] = "cert:db3"
        store.agent.write_configuration()
        store.agent.ok("reload")


# ---- a restore in the middle of it ----


class Running:
    """A restore over a network that cuts its connections; in its middle when it begins to be waited for."""

    def __init__(self, store, pair, target, *words):
        self.cutter = Cutter(store.port, (1_000_000, 1_500_000))
        host = host_of(store, pair, self.cutter.port)
        self.process = subprocess.Popen(as_user([store.agent.binaries / "pgcoffer", *host.connection(), "restore", "primary", *words,
                                                 "--target-directory", target, "--jobs", "2"], store.agent.user),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: self.cutter.cuts > 0 or self.process.poll() is not None, "bytes have come", 120)
        assert self.process.poll() is None, self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.cutter.close()

    def end(self):
        _, err = self.process.communicate(timeout=200)
        return self.process.returncode, err


@pytest.fixture
def there(store, folder):
    store.agent.ok("restore", "primary", "--target-directory", folder / "there")
    return tree(folder / "there")


def test_a_gateway_killed_again_and_again_ends_no_restore(store, db1, folder, there):
    with Running(store, db1, folder / "here") as running:
        for _ in range(2):
            for pid in store.agent.worker_pids("gateway"):
                os.kill(pid, 9)
            wait_for(lambda: store.agent.worker_pids("gateway") or running.process.poll() is not None, "it is back")
        code, err = running.end()
        assert code == 0, err
    store.wait_state("listening")
    assert tree(folder / "here") == there


def test_a_gateway_with_new_files_and_new_settings_ends_no_restore(store, db1, folder, there):
    with Running(store, db1, folder / "here") as running:
        store.put(store.pki.server_ca.issue("renewed", "localhost", "serverAuth", ("DNS:localhost",)))
        store.agent.daemon_settings["tls_min_version"] = "TLSv1.3"  # with this the process is started anew
        store.agent.write_configuration()
        store.agent.ok("reload")
        code, err = running.end()
        assert code == 0, err
    store.put(store.pki.server)
    store.agent.daemon_settings["tls_min_version"] = "TLSv1.2"
    store.agent.write_configuration()
    store.agent.ok("reload")
    store.wait_state("listening")
    assert tree(folder / "here") == there


def test_a_backup_that_is_being_restored_is_not_deleted(store, db1):
    backup = newest(store)["id"]
    with store.connect(db1) as remote:
        assert remote.ask(**read(backup))[-1]["event"] == "result"  # from now on the session holds it
        result = store.agent.cli("delete", "primary", backup, "--force")
        assert result.code == 8 and backup in result.err, result
        assert remote.ask(**read(backup))[-1]["event"] == "result"
    assert newest(store)["id"] == backup


def test_a_backup_deleted_between_two_connections_ends_the_restore_clearly(store, db1, folder):
    backup = store.agent.backup("primary")["id"]
    target = folder / "here"
    with Running(store, db1, target, backup) as running:
        port = running.cutter.port
        running.cutter.close()  # nobody new comes, and with this nobody is left
        for pid in store.agent.worker_pids("gateway"):
            os.kill(pid, 9)
        wait_for(lambda: not store.agent.worker_pids("serve"), "the last session is gone", 60)
        store.agent.ok("delete", "primary", backup, "--force")
        store.wait_state("listening")
        running.cutter = Cutter(store.port, None, port=port)
        code, err = running.end()
    assert code == 7, (code, err)
    assert f"backup {backup} was deleted or changed while it was restored" in err and "pgcoffer list primary" in err, err
    assert not (target / "global" / "pg_control").exists()  # PostgreSQL does not start on it


# ---- clocks ----


EARLY, LATE = ("20490101000000Z", "20491231000000Z"), ("20200101000000Z", "20200201000000Z")


@pytest.mark.parametrize("dates, span", [(EARLY, "begins in"), (LATE, "ended")])
def test_clocks_apart_are_told_with_which_and_by_how_much(store, dates, span):
    words = dict(not_before=dates[0], not_after=dates[1])
    pair = store.pki.client_ca.issue(f"clock{dates[0]}", "db1", "clientAuth", **words)
    clock = rf"it {span} \d+h\d+m.* by this machine's clock, which says {time.strftime('%Y-')}"
    code, _, err = host_of(store, pair).run("list")  # the database host's own clock
    assert code == 6 and re.search(clock, err) and dates[0][:4] in err, err
    with pytest.raises(ssl.SSLError):  # one that does not look is refused by the gateway's clock
        with store.connect(pair) as remote:
            remote.ask("list", server="primary")
    store.wait_log(rf'no connection: certificate "CN=db1": certificate (is not yet valid|has expired): {clock}')
    store.put(store.pki.server_ca.issue(f"served{dates[0]}", "localhost", "serverAuth", ("DNS:localhost",), **words))
    warning = wait_for(lambda: store.status()["warning"], "the gateway says that it does not take it")
    assert "the old ones stay" in warning["message"] and dates[0][:4] in warning["message"], warning
    store.put(store.pki.server)
    wait_for(lambda: store.status()["warning"] is None, "nothing is left of it")


# ---- nothing is parsed before the certificate is verified ----


PROTOCOL = (b'{"v":1,"command":"shutdown"}\n', b'{"command":"on-behalf","cn":"db1","san":[],"address":"192.0.2.1:5555"}\n',
            b'{"v":1,"command":"list","server":"primary"}\n')


class Stranger:
    """One connection without a certificate of the gateway's CA; gives up at the first refusal."""

    def __init__(self, store, dice, foreign):
        self.store, self.dice, self.foreign = store, dice, foreign
        self.spoken = 0  # how often the protocol went through a handshake that was done, on our side

    def mutated(self, data):
        data = bytearray(data)
        for _ in range(self.dice.randrange(1, 8)):
            kind, at = self.dice.randrange(4), self.dice.randrange(len(data))
            if kind == 0:
                data[at] = self.dice.randrange(256)
            elif kind == 1:
                data[at:at] = self.dice.randbytes(self.dice.randrange(1, 40))
            elif kind == 2 and len(data) > 40:
                del data[at:at + self.dice.randrange(1, 40)]
            else:
                data += self.dice.choice(PROTOCOL)
        return bytes(data)

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = self.dice.choice((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        if self.dice.randrange(2):
            context.load_cert_chain(str(self.foreign.certificate), str(self.foreign.key))
        return context

    def shake_hands(self, peer, mutation):
        """A handshake whose flight of that number is changed (None: none), then words of the protocol as application data."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session, flight, is_done = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost"), 0, False
        while True:
            try:
                if not is_done:
                    session.do_handshake()
                    is_done = True
                    session.write(b"".join(self.dice.choices(PROTOCOL, k=3)))
                    self.spoken += 1
                else:
                    session.read(1000)
            except ssl.SSLWantReadError:
                pass
            if data := outgoing.read():
                peer.sendall(self.mutated(data) if flight == mutation else data)
                if flight == mutation:
                    peer.shutdown(socket.SHUT_WR)  # nothing more of a record that may have become longer
                flight += 1
            answer = peer.recv(65536)
            if not answer:
                return
            incoming.write(answer)

    def attack(self, number):
        with socket.create_connection(("127.0.0.1", self.store.port), 20) as peer:
            try:
                if number % 4 == 0:
                    peer.sendall(self.dice.choice((b"".join(self.dice.choices(PROTOCOL, k=4)), self.dice.randbytes(self.dice.randrange(1, 4000)))))
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):
                        pass
                else:
                    self.shake_hands(peer, self.dice.choice((0, 0, 1, None)))
            except (OSError, ssl.SSLError):
                pass  # refused, in one of many ways


def is_sanitized(program):
    return b"__asan_init" in program.read_bytes()


@pytest.mark.parametrize("count", [1000, pytest.param(50_000, marks=pytest.mark.long)])
def test_without_a_certificate_nothing_of_the_protocol_is_parsed(store, db1, count):
    """Changed greetings, changed handshakes, and whole ones with the protocol behind them: the supervisor hears of none."""
    (worker,) = store.agent.worker_pids("gateway")
    before = len(store.agent.log_text())
    stranger = Stranger(store, random.Random(11), store.pki.foreign_ca.issue("stranger", "db1", "clientAuth"))
    for number in range(count // 10):
        stranger.attack(number)
    settled = resident_kilobytes(worker)
    for number in range(count):
        stranger.attack(number)
    if not is_sanitized(store.agent.binaries / "pgcofferd"):  # a sanitizer keeps what was freed
        assert resident_kilobytes(worker) - settled < 4 << 10
    assert stranger.spoken > count // 20
    assert store.agent.worker_pids("gateway") == [worker]  # it lives
    assert store.status()["connections"] == 0
    said = store.agent.log_text()[before:]
    assert "no connection: " in said
    for words in ("connected from", "cert:", "a client of the gateway", "shutdown", "list of", "no request", "on whose behalf"):
        assert words not in said, re.findall(f".*{re.escape(words)}.*", said)[:3]
    with store.connect(db1) as remote:  # and the door is open
        assert remote.ask("list", server="primary")[-1]["event"] == "result"
    store.wait_log(r'cert:db1 from \S+: list of "primary": done')
