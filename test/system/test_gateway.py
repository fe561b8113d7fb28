"""The gateway: who is let in, what each may ask, and what strangers can take of it."""

import hashlib
import json
import pathlib
import random
import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from harness.agent import resident_kilobytes
from harness.certificates import Authority, openssl
from harness.scratch import free_port, renew, wait_for

SOURCES = pathlib.Path(__file__).parents[2]


class GatewayPki:
    """A CA for the gateway's own certificate, and one for its clients."""

    def __init__(self, folder):
        self.server_ca = Authority(folder / "gateway-server-ca", "gateway server CA")
        self.client_ca = Authority(folder / "gateway-client-ca", "gateway client CA")
        self.foreign_ca = Authority(folder / "gateway-foreign-ca", "foreign CA")
        self.server = self.server_ca.issue("gateway", "localhost", "serverAuth", ("DNS:localhost", "IP:127.0.0.1"))
        self.made = {}

    def client(self, name, **options):
        if name not in self.made:
            self.made[name] = self.client_ca.issue(name, name, options.pop("usage", "clientAuth"), **options)
        return self.made[name]


@pytest.fixture(scope="session")
def gateway_pki(scratch):
    return GatewayPki(scratch / "gateway-pki")


class Remote:
    """One connection to the gateway, speaking the control protocol."""

    def __init__(self, gateway, pair, newest=None, ca=None):
        context = ssl.create_default_context(cafile=str(ca or gateway.pki.server_ca.certificate))
        if newest:
            context.maximum_version = newest
        if pair is not None:
            context.load_cert_chain(str(pair.certificate), str(pair.key))
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", gateway.port), 20), server_hostname="localhost")
        self.file = self.socket.makefile("rwb")

    def ask(self, command, **members):
        """All events of one request; the last is its result or error."""
        self.file.write(json.dumps({"v": 1, "command": command, **members}).encode() + b"\n")
        self.file.flush()
        return self.answer()

    def answer(self):
        events = []
        while line := self.file.readline():
            events.append(json.loads(line))
            if events[-1]["event"] == "bytes":
                self.file.read(events[-1]["length"])
            if events[-1]["event"] in ("result", "error"):
                return events
        raise ConnectionError(f"the connection ended after {events}")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Gateway:
    """A daemon with a gateway and two servers that nobody reaches: what it has to tell, it has without them."""

    def __init__(self, agent, pki, **settings):
        self.agent, self.pki, self.port = agent, pki, free_port()
        files = agent.folder / "tls"
        files.mkdir()
        self.certificate, self.key = files / "gateway.crt", files / "gateway.key"
        self.put(pki.server)
        agent.daemon_settings.update({"management": self.port, "host": "127.0.0.1", "log_level": "debug",
                                      "tls_cert_file": self.certificate, "tls_key_file": self.key,
                                      "tls_ca_file": pki.client_ca.certificate, **settings})

    def put(self, pair):
        for source, path in ((pair.key, self.key), (pair.certificate, self.certificate)):
            renew(source, path)

    def add_server(self, name, **settings):
        values = {"host": "localhost", "port": 1, "user": "repl", "tls_cert_file": self.agent.pki.client.certificate,
                  "tls_key_file": self.agent.pki.client.key, "tls_ca_file": self.agent.pki.server_ca.certificate, **settings}
        self.agent.servers[name] = values
        self.agent.write_configuration()
        return self

    def start(self):
        self.agent.start()
        self.wait_state("listening")
        return self

    def status(self):
        return self.agent.json("status")["gateway"]

    def wait_state(self, state, seconds=30):
        return wait_for(lambda: (lambda row: row if row["state"] == state else None)(self.status()),
                        f"gateway {state}; {self.agent.log_text()[-2000:]}", seconds)

    def wait_log(self, pattern, seconds=20):
        return wait_for(lambda: re.search(pattern, self.agent.log_text()),
                        f"{pattern} in the log\n{self.agent.log_text()[-4000:]}", seconds)

    def connect(self, pair, **options):
        return Remote(self, pair, **options)


@pytest.fixture
def make_gateway(make_agent, gateway_pki):
    def make(name="agent", **settings):
        return Gateway(make_agent(name), gateway_pki, **settings)

    return make


@pytest.fixture
def gateway(make_gateway):
    made = make_gateway()
    made.add_server("one", restorers="cert:db1, postgres", monitors="cert:watcher, san:watch.example.com")
    made.add_server("two", restorers="cert:db2")
    return made.start()


def test_an_identity_asks_what_its_lists_allow_and_each_request_is_a_log_line(gateway):
    with gateway.connect(gateway.pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1] == {"event": "result", "data": {"servers": ["one"]}}
        (denied,) = remote.ask("list", server="two")
        assert denied["kind"] == "denied" and "bound to the server" in denied["message"]
    with gateway.connect(gateway.pki.client("db1")) as remote:
        (status,) = remote.ask("status")
        assert [row["server"] for row in status["data"]["servers"]] == ["one"]
        shown = status["data"]["gateway"]
        assert (shown["state"], shown["port"]) == ("listening", gateway.port)
        assert shown["certificate"]["subject"] == "CN=localhost" and shown["certificate"]["not_after"]
        wait_for(lambda: gateway.status()["connections"] == 1, "the connection is counted")
        text = gateway.agent.ok("status").out
        assert f"gateway: listening, 127.0.0.1 port {gateway.port}, connections: 1, certificate until" in text
        (denied,) = remote.ask("shutdown")
        assert denied["kind"] == "denied" and "admins of [pgcoffer]" in denied["hint"]
    for line in (r'cert:db1 from 127\.0\.0\.1:\d+: list of "one": done, \d+ bytes',
                 r'cert:db1 from 127\.0\.0\.1:\d+: list of "two": failed \(denied: .*\), \d+ bytes',
                 r"cert:db1 from 127\.0\.0\.1:\d+: status: done, \d+ bytes",
                 r"cert:db1 from 127\.0\.0\.1:\d+: shutdown: failed \(denied: .*\), \d+ bytes"):
        gateway.wait_log(line)
    wait_for(lambda: gateway.status()["connections"] == 0, "the connections are gone")


def arguments_of(command):
    """server, backup and job where the row of commands.def takes them."""
    words = command["arguments"]
    members = {}
    if "SERVER" in words:
        members["server"] = "two"
    if "BACKUP" in words:
        members["backup"] = "latest"
    if "JOB" in words:
        members["job"] = command["job"]
    options = {"read": {"file": "backup.json", "offset": "0", "length": "10"},
               "wal-get": {"file": "000000010000000000000001"},
               "annotate": {"annotations": '{"a":"b"}'},
               "drill-result": {"result": "{}"},
               "lease": {"timeline": "1", "for": "restore"},
               "release": {"lease": "1/1"},
               "report": {"command": "restore"}}.get(command["words"])
    return {**members, **({"options": options} if options else {})}


def all_commands():
    text = (SOURCES / "include/pgcoffer/control/commands.def").read_text()
    rows = re.findall(r'^COMMAND\(\w+, +"([^"]+)", +\d+, +\d+, +(\w+), +(\w+), +"([^"]*)"', text, re.M)
    assert len(rows) == text.count("\nCOMMAND(")
    return [dict(zip(("words", "how", "right", "arguments"), row)) for row in rows]


def test_an_identity_allowed_on_one_server_reads_nothing_of_another(gateway):
    jobs = gateway.agent.json("jobs")["jobs"]
    (job_of_two,) = [job["job"] for job in jobs if job["server"] == "two"]  # the resume of its start
    for command in all_commands():
        with gateway.connect(gateway.pki.client("db1")) as remote:
            answer = remote.ask(command["words"], **arguments_of({**command, "job": job_of_two}))
            if command["words"] in ("ping", "jobs"):
                assert answer[-1]["event"] == "result" and "two" not in json.dumps(answer), answer
            elif command["how"] == "LOCAL":
                assert answer[-1]["kind"] == "usage", answer
            else:
                assert [event["event"] for event in answer] == ["error"] and answer[-1]["kind"] == "denied", answer
        if "[SERVER" in command["arguments"] and command["right"] == "MONITOR":
            with gateway.connect(gateway.pki.client("db1")) as remote:
                answer = remote.ask(command["words"])
                assert answer[-1]["event"] == "result" and '"two"' not in json.dumps(answer), answer


def test_a_certificate_is_never_an_os_user_and_an_os_user_never_a_certificate(gateway):
    with gateway.connect(gateway.pki.client("postgres")) as remote:  # restorers has the OS user of that name
        (answer,) = remote.ask("list", server="one")
        assert answer["kind"] == "denied" and "Add cert:postgres to monitors of [one]" in answer["hint"]
    with gateway.connect(gateway.pki.client("root")) as remote:
        assert remote.ask("shutdown")[-1]["kind"] == "denied"
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(gateway.agent.socket))
        local.sendall(b'{"command":"on-behalf","cn":"db1","san":[],"address":"192.0.2.1:5555"}\n')
        answer = json.loads(local.makefile().readline())
        assert (answer["event"], answer["kind"]) == ("error", "usage")
        assert local.recv(10) == b""
    with gateway.connect(gateway.pki.client("db1")) as remote:  # nor can a client say it is another one
        remote.file.write(b'{"command":"on-behalf","cn":"db2","san":[],"address":"192.0.2.1:5555"}\n')
        remote.file.flush()
        assert remote.answer()[-1]["kind"] == "usage"


def test_who_loses_a_right_loses_the_session(gateway):
    with gateway.connect(gateway.pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1]["event"] == "result"
        gateway.agent.ok("reload")  # nothing has changed
        assert remote.ask("list", server="one")[-1]["event"] == "result"
        gateway.agent.servers["one"]["restorers"] = "postgres"
        gateway.agent.write_configuration()
        gateway.agent.ok("reload")
        gateway.wait_log(r"the session of cert:db1 from \S+ ends: who may do what has changed")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            remote.ask("list", server="one")
    with gateway.connect(gateway.pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1]["kind"] == "denied"


def test_alternative_names_and_admins_of_certificates(gateway):
    with gateway.connect(gateway.pki.client("nameless-watcher", names=("DNS:watch.example.com",))) as remote:
        assert remote.ask("list", server="one")[-1]["event"] == "result"
    with gateway.connect(gateway.pki.client("nameless-watcher")) as remote:
        assert remote.ask("read", server="one", backup="latest",
                          options={"file": "backup.json", "offset": "0", "length": "1"})[-1]["kind"] == "denied"
    boss = gateway.pki.client("boss")
    with gateway.connect(boss) as remote:
        assert remote.ask("reload")[-1]["kind"] == "denied"
    gateway.agent.daemon_settings["admins"] = "cert:boss"
    gateway.agent.write_configuration()
    gateway.agent.ok("reload")
    with gateway.connect(boss) as remote:
        assert remote.ask("reload")[-1]["event"] == "result"
        assert {row["server"] for row in remote.ask("status")[-1]["data"]["servers"]} == {"one", "two"}
        missing = remote.ask("pin", server="one", backup="latest")[-1]
        assert missing["kind"] == "usage" and "no complete backup" in missing["message"], missing
    result = {"options": {"result": "{}"}}  # a restorer tells of its own server's drills only
    for command, server, rest, kind in (("drill-result", "one", result, "usage"), ("drill-result", "two", result, "denied"),
                                        ("pin", "one", {}, "denied")):
        with gateway.connect(gateway.pki.client("db1")) as remote:
            refused = remote.ask(command, server=server, backup="latest", **rest)[-1]
            assert refused["kind"] == kind, refused
    with gateway.connect(boss) as remote:
        assert remote.ask("shutdown")[-1]["event"] == "result"
    assert gateway.agent.process.wait(10) == 0


def revoke(authority, certificate, folder):
    """A list of `authority` in which `certificate` (None: nothing) stands."""
    folder.mkdir(exist_ok=True)
    (folder / "index.txt").touch()
    (folder / "number").write_text("1000\n")
    settings = folder / "ca.cnf"
    settings.write_text(f"[ca]\ndefault_ca=it\n[it]\ndatabase={folder}/index.txt\ncrlnumber={folder}/number\n"
                        f"certificate={authority.certificate}\nprivate_key={authority.key}\ndefault_md=sha256\n"
                        "default_crl_days=30\n")
    if certificate is not None:
        openssl("ca", "-config", settings, "-revoke", certificate)
    openssl("ca", "-config", settings, "-gencrl", "-out", folder / "list.crl")
    return folder / "list.crl"


def test_who_cannot_prove_an_identity_is_not_let_in(make_gateway, folder):
    gateway = make_gateway(tls_crl_file=folder / "gateway.crl")
    pki = gateway.pki
    shutil.copy(revoke(pki.client_ca, None, folder / "revocation"), folder / "gateway.crl")
    gateway.add_server("one", restorers="cert:db1, cert:revoked, cert:late, cert:server").start()
    foreign = pki.foreign_ca.issue("db1", "db1", "clientAuth")
    cases = [
        (None, "CERTIFICATE_REQUIRED", "it has no certificate"),
        (foreign, "UNKNOWN_CA", 'certificate "CN=db1": unable to get local issuer certificate'),
        (pki.client("late", not_after="20200201000000Z"), "CERTIFICATE_EXPIRED", 'certificate "CN=late": certificate has expired'),
        (pki.client("server", usage="serverAuth"), "UNSUPPORTED_CERTIFICATE|CERTIFICATE_UNKNOWN", 'certificate "CN=server": .*purpose'),
    ]
    for pair, alert, words in cases:
        with pytest.raises(ssl.SSLError, match=f"(?i){alert.replace('_', '[_ ]')}"):
            with gateway.connect(pair) as remote:
                remote.ask("list", server="one")
        gateway.wait_log(f"no connection: {words}")
    stays, goes = gateway.connect(pki.client("db1")), gateway.connect(pki.client("revoked"))
    for remote in (stays, goes):
        assert remote.ask("list", server="one")[-1]["event"] == "result"
    fresh = revoke(pki.client_ca, pki.client("revoked").certificate, folder / "revocation")
    shutil.copy(fresh, folder / "fresh.crl")
    (folder / "fresh.crl").rename(folder / "gateway.crl")

    def is_refused():
        try:
            with gateway.connect(pki.client("revoked")) as remote:
                remote.ask("list", server="one")
        except ssl.SSLError as error:
            return "revoked" in str(error).lower()
        except ConnectionError:  # it came in between, and is dropped as those before
            return False
        return False

    wait_for(is_refused, "the new list is taken up")
    gateway.wait_log("dropped: the certificate of cert:revoked is not let in any more: certificate revoked")
    with goes, pytest.raises((ConnectionError, ssl.SSLError)):  # who was in before is out
        goes.ask("list", server="one")
    with stays:
        assert stays.ask("list", server="one")[-1]["event"] == "result"
    gateway.wait_log('no connection: certificate "CN=revoked": certificate revoked')
    with gateway.connect(pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1]["event"] == "result"
    assert "late from" not in gateway.agent.log_text() and "cert:server" not in gateway.agent.log_text()


def test_what_is_no_tls_is_told_so_and_never_parsed(gateway):
    for data in (b'{"v":1,"command":"shutdown"}\n', b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 4000, b"\x16\x03\x01\xff\xff" + b"A" * 70000,
                 b"x" * 100000):
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as stranger:
            try:
                stranger.sendall(data)
                while stranger.recv(65536):
                    pass
            except OSError:
                pass  # closed while we were talking
    gateway.wait_log("no connection: it does not speak TLS")
    assert "no request" not in gateway.agent.log_text() and "connected from" not in gateway.agent.log_text()
    gateway.agent.ok("ping")


def greeting(gateway):
    """The first bytes of a real client."""
    context = ssl.create_default_context(cafile=str(gateway.pki.server_ca.certificate))
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def test_no_bytes_without_a_certificate_reach_the_daemon(gateway):
    """Random bytes, and a real greeting with some of its bytes changed or the rest replaced: none opens a connection inside."""
    (worker,) = gateway.agent.worker_pids("gateway")
    dice, hello = random.Random(5), greeting(gateway)
    for number in range(400):
        data = bytearray(hello if number % 4 else dice.randbytes(dice.randrange(1, 3000)))
        for _ in range(dice.randrange(0, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        data += b'{"v":1,"command":"shutdown"}\n' * dice.randrange(3)
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as stranger:
            try:
                stranger.sendall(data)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(65536):
                    pass
            except OSError:
                pass
    assert gateway.agent.worker_pids("gateway") == [worker]
    assert "connected from" not in gateway.agent.log_text() and "no request" not in gateway.agent.log_text()
    with gateway.connect(gateway.pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1]["event"] == "result"


def test_old_tls_is_spoken_only_when_it_is_allowed(gateway):
    with pytest.raises(ssl.SSLError):
        gateway.connect(gateway.pki.client("db1"), newest=ssl.TLSVersion.TLSv1_2)
    gateway.agent.daemon_settings["tls_min_version"] = "TLSv1.2"
    gateway.agent.write_configuration()
    gateway.agent.ok("reload")

    def is_let_in():
        try:
            with gateway.connect(gateway.pki.client("db1"), newest=ssl.TLSVersion.TLSv1_2) as remote:
                return remote.ask("list", server="one")[-1]["event"] == "result"
        except OSError:
            return False

    wait_for(is_let_in, "TLS 1.2 is spoken")


def test_five_hundred_half_open_and_slow_clients_do_not_close_the_door(gateway):
    (worker,) = gateway.agent.worker_pids("gateway")
    strangers = []
    try:
        for number in range(500):
            stranger = socket.create_connection(("127.0.0.1", gateway.port), 20)
            if number % 2:
                stranger.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a greeting, and no more
            strangers.append(stranger)
            if number % 100 == 99:
                with gateway.connect(gateway.pki.client("db1")) as remote:
                    assert remote.ask("list", server="one")[-1]["event"] == "result"
        descriptors = len(list(pathlib.Path(f"/proc/{worker}/fd").iterdir()))
        assert descriptors < 32 + 100, descriptors
        gateway.agent.ok("ping")
        started = time.monotonic()
        for stranger in strangers:  # the last ones are still there: their time is over, too
            stranger.settimeout(30)
            try:
                while stranger.recv(100):
                    pass
            except ConnectionError:
                pass
        assert time.monotonic() - started < 25
    finally:
        for stranger in strangers:
            stranger.close()
    gateway.wait_log("too many handshakes at once")
    gateway.wait_log("the handshake was not done within 10 s")
    assert gateway.agent.log_text().count("no connection:") < 100  # a crowd does not fill the log
    assert gateway.agent.worker_pids("gateway") == [worker]


def test_too_many_connections_of_one_identity_are_told_busy_and_others_come_in(gateway):
    many = []
    try:
        for _ in range(40):
            many.append(gateway.connect(gateway.pki.client("db1")))
            many[-1].ask("list", server="one")  # a session has no deadline of ten seconds
        with gateway.connect(gateway.pki.client("db1")) as remote:
            answer = remote.answer()[-1]
            assert answer["kind"] == "busy" and "40 connections of cert:db1" in answer["message"]
        with gateway.connect(gateway.pki.client("db2")) as remote:
            assert remote.ask("list", server="two")[-1]["event"] == "result"
        gateway.agent.ok("list", "one")
        many.pop().close()

        def has_room():
            with gateway.connect(gateway.pki.client("db1")) as remote:
                return remote.ask("list", server="one")[-1]["event"] == "result"

        wait_for(has_room, "room again")
    finally:
        for remote in many:
            remote.close()
    wait_for(lambda: gateway.status()["connections"] == 0, "all are gone")
    wait_for(lambda: not gateway.agent.worker_pids("serve"), "their sessions, too")


def test_one_that_vanishes_takes_its_session_with_it(gateway):
    remote = gateway.connect(gateway.pki.client("db1"))
    remote.ask("list", server="one")
    assert len(gateway.agent.worker_pids("serve")) == 1
    remote.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, no farewell
    remote.close()
    wait_for(lambda: not gateway.agent.worker_pids("serve"), "the session is gone")
    wait_for(lambda: gateway.status()["connections"] == 0, "it is not counted any more")


def test_one_that_does_not_read_costs_no_memory_and_gets_everything_when_it_does(make_gateway, cluster):
    gateway = make_gateway().add_server("primary", port=cluster.port, restorers="cert:db1").start()
    gateway.agent.wait_streaming("primary")
    backup = gateway.agent.backup("primary")["id"]
    stored = (gateway.agent.backup_folder("primary", backup) / "base.tar.zst").read_bytes()
    (worker,) = gateway.agent.worker_pids("gateway")
    before, times = resident_kilobytes(worker), 40
    request = {"v": 1, "command": "read", "server": "primary", "backup": backup,
               "options": {"file": "base.tar.zst", "offset": "0", "length": str(len(stored))}}
    assert len(stored) * times > 32 << 20
    with gateway.connect(gateway.pki.client("db1")) as remote:
        remote.ask("list", server="primary")
        remote.socket.sendall((json.dumps(request) + "\n").encode() * times)
        with gateway.connect(gateway.pki.client("db2")) as other:  # others are served
            assert other.ask("ping")[-1]["event"] == "result"
        wait_for(lambda: not pathlib.Path(f"/proc/{worker}/stat").read_text().split()[2] == "R", "it waits")
        assert resident_kilobytes(worker) - before < 16 << 10
        for _ in range(times):
            assert json.loads(remote.file.readline()) == {"event": "bytes", "length": len(stored)}
            assert hashlib.sha256(remote.file.read(len(stored))).digest() == hashlib.sha256(stored).digest()
            assert json.loads(remote.file.readline())["event"] == "result"
        assert resident_kilobytes(worker) - before < 16 << 10
    gateway.wait_log(rf'cert:db1 from \S+: read of "primary" {backup}: {times} ranges done, \d+ bytes')


def served_serial(gateway):
    with gateway.connect(gateway.pki.client("db1")) as remote:
        return remote.socket.getpeercert()["serialNumber"]


def test_renewed_files_are_taken_up_and_broken_ones_leave_the_old(gateway):
    pki, worker = gateway.pki, gateway.agent.worker_pids("gateway")
    first = served_serial(gateway)
    stays = gateway.connect(pki.client("db1"))
    stays.ask("list", server="one")
    gateway.put(pki.server_ca.issue("renewed", "localhost", "serverAuth", ("DNS:localhost",)))
    wait_for(lambda: served_serial(gateway) != first, "the new certificate is served")
    second = served_serial(gateway)
    assert stays.ask("list", server="one")[-1]["event"] == "result"  # what is connected stays so
    gateway.certificate.write_text("no certificate\n")
    warning = wait_for(lambda: gateway.status()["warning"], "the broken file is told")
    assert "the old ones stay" in warning["message"] and str(gateway.certificate) in warning["message"]
    assert served_serial(gateway) == second
    gateway.put(pki.client("db2"))  # a certificate of a client
    wait_for(lambda: "not for a server" in (gateway.status()["warning"] or {"message": ""})["message"], "that one, too")
    assert served_serial(gateway) == second
    gateway.put(pki.server)
    wait_for(lambda: served_serial(gateway) == first, "the good one is back")
    wait_for(lambda: gateway.status()["warning"] is None, "nothing is left of it")
    assert gateway.agent.worker_pids("gateway") == worker
    stays.close()


def test_the_ca_of_postgresql_is_warned_of(make_gateway, pki):
    gateway = make_gateway(tls_ca_file=pki.client_ca.certificate)
    gateway.add_server("one", restorers="cert:repl")
    gateway.add_server("two", monitors="cert:db1")
    gateway.agent.daemon_settings["monitors"] = "cert:db2"
    gateway.agent.write_configuration()
    gateway.start()
    warning = gateway.status()["warning"]
    assert 'signed PostgreSQL\'s client certificate "CN=repl" of [one]' in warning["message"]
    assert "a CA of their own" in warning["hint"]
    with gateway.connect(pki.client_ca.issue("db1", "db1", "clientAuth")) as remote:  # of another server nothing is told
        shown = remote.ask("status")[-1]["data"]["gateway"]
        assert shown["state"] == "listening" and shown["warning"] is None and shown["error"] is None
    with gateway.connect(pki.client_ca.issue("db2", "db2", "clientAuth")) as remote:
        assert remote.ask("status")[-1]["data"]["gateway"]["warning"] == warning


def test_a_list_that_ends_soon_is_warned_of_beforehand(make_gateway, folder):
    gateway = make_gateway(tls_crl_file=folder / "gateway.crl", expiry_warn_days=31)
    fresh = revoke(gateway.pki.client_ca, None, folder / "revocation")  # for 30 days
    shutil.copy(fresh, folder / "gateway.crl")
    gateway.add_server("one", restorers="cert:db1").start()
    warning = gateway.status()["warning"]
    assert 'the revocation list of "CN=gateway client CA,O=pgcoffer test" in tls_crl_file of [pgcoffer]' in warning["message"]
    assert "(days left: 29)" in warning["message"] or "(days left: 30)" in warning["message"]
    assert "current list" in warning["hint"]
    with gateway.connect(gateway.pki.client("db1")) as remote:
        assert remote.ask("list", server="one")[-1]["event"] == "result"
    gateway.agent.daemon_settings["expiry_warn_days"] = 28
    gateway.agent.write_configuration()
    gateway.agent.ok("reload")
    wait_for(lambda: gateway.status()["state"] == "listening" and gateway.status()["warning"] is None, "nothing to warn of")


def test_without_a_port_there_is_no_gateway_and_a_reload_makes_and_ends_one(make_gateway):
    gateway = make_gateway(management=0)
    gateway.add_server("one", restorers="cert:db1")
    gateway.agent.start()
    assert gateway.status() is None and not gateway.agent.worker_pids("gateway")
    assert "gateway" not in gateway.agent.ok("status").out
    gateway.agent.daemon_settings["management"] = gateway.port
    gateway.agent.write_configuration()
    gateway.agent.ok("reload")
    gateway.wait_state("listening")
    assert served_serial(gateway)
    gateway.agent.daemon_settings["management"] = 0
    gateway.agent.write_configuration()
    gateway.agent.ok("reload")
    wait_for(lambda: not gateway.agent.worker_pids("gateway"), "it has ended")
    with pytest.raises(ConnectionRefusedError):
        gateway.connect(gateway.pki.client("db1"))


def test_a_port_that_is_taken_is_told_and_tried_again(make_gateway):
    gateway = make_gateway()
    gateway.add_server("one", restorers="cert:db1")
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.agent.start()
        error = wait_for(lambda: gateway.status()["error"], "told")
        assert f"could not bind the gateway to 127.0.0.1:{gateway.port}" in error["message"]
    gateway.wait_state("listening")


def test_one_that_is_killed_comes_back_and_nobody_else_notices(gateway):
    (worker,) = gateway.agent.worker_pids("gateway")
    remote = gateway.connect(gateway.pki.client("db1"))
    remote.ask("list", server="one")
    subprocess.run(["kill", "-9", str(worker)], check=True)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        remote.ask("list", server="one")
    gateway.agent.ok("list", "one")
    gateway.wait_state("listening")
    (worker,) = gateway.agent.worker_pids("gateway")
    assert served_serial(gateway)
    reader = subprocess.run(["pgrep", "-P", str(worker)], capture_output=True, text=True).stdout.split()
    assert len(reader) == 1  # the process with its files
    subprocess.run(["kill", "-9", *reader], check=True)
    wait_for(lambda: gateway.agent.worker_pids("gateway") not in ([], [worker]), "a new one")
    gateway.wait_state("listening")
    assert served_serial(gateway)


def test_it_has_no_file_open_and_may_start_nothing(gateway):
    (worker,) = gateway.agent.worker_pids("gateway")
    state = pathlib.Path(f"/proc/{worker}/status").read_text()
    assert re.search(r"NoNewPrivs:\s+1", state) and re.search(r"Seccomp:\s+2", state)
    opened = [str(path.readlink()) for path in pathlib.Path(f"/proc/{worker}/fd").iterdir()]
    assert not [path for path in opened if path.startswith("/") and not path.startswith("/dev/null")
                and path != str(gateway.agent.log)], opened


def test_a_configuration_without_what_tls_needs_is_refused(make_gateway):
    for name in ("tls_cert_file", "tls_key_file", "tls_ca_file"):
        gateway = make_gateway(f"without-{name}")
        del gateway.agent.daemon_settings[name]
        gateway.add_server("one")
        result = gateway.agent.cli("config", "check")
        assert result.code == 3 and f"[pgcoffer] has no {name}" in result.err, result


def test_the_command_line_speaks_to_it(gateway):
    pair = gateway.pki.client("db1")
    words = ("--connect", f"localhost:{gateway.port}", "--tls-cert-file", pair.certificate, "--tls-key-file", pair.key,
             "--tls-ca-file", gateway.pki.server_ca.certificate)
    shown = gateway.agent.ok("status", *words)
    assert "one" in shown.out and "two" not in shown.out
    gateway.wait_log(r"cert:db1 from 127\.0\.0\.1:\d+: status: done, \d+ bytes")
    denied = gateway.agent.cli("list", "two", *words)
    assert denied.code == 1 and "cert:db1" in denied.err and "Add cert:db1 to monitors of [two]" in denied.err, denied
