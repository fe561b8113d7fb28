"""`pgcoffer check` of the way to a gateway, from the host of its client, and of the daemon's own gateway: one fault, one
check that names it."""

import json
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness import gateway as proxies
from harness.agent import Agent
from harness.certificates import Authority
from harness.scratch import free_port, make_folder, wait_for
from test_gateway import Gateway, GatewayPki, revoke
from test_remote import Remote


class Scene:
    """One daemon with a gateway and two servers that nobody reaches, and what its clients have."""

    def __init__(self, folder, programs, pki):
        self.folder, self.pki = make_folder(folder, 0o755), GatewayPki(folder / "pki")
        self.agent = Agent(folder / "agent", programs, pki)
        self.gateway = Gateway(self.agent, self.pki)
        self.agent.daemon_settings["monitors"] = "cert:overseer"
        self.gateway.add_server("one", restorers="cert:db1, postgres", monitors="cert:watcher, cert:overseer")
        self.gateway.add_server("two", restorers="cert:db2", monitors="nagios")
        self.gateway.start()
        self.other = Authority(folder / "other", "other CA")
        self.short = Authority(folder / "short", "short CA", days=9)
        self.garbage = folder / "garbage.pem"
        self.garbage.write_text("nothing\n")
        self.closing = []

    def close(self):
        for each in self.closing:
            each.close()
        self.agent.close()

    def client(self, name="db1", **options):
        return self.pki.client(name, **options)

    def proxy(self, **options):
        """Another end of TLS before the daemon."""
        options = {"pair": self.pki.server, "client_ca": self.pki.client_ca.certificate, **options}
        path = options.pop("path", self.agent.socket)
        verify = options.pop("verify", None)
        made = proxies.Gateway(self.agent.pki, path, **options)
        if verify is not None:
            made.context.verify_mode = verify
        self.closing.append(made)
        return made

    def listen(self, serve):
        """A port at which `serve(connection)` answers, in a thread for each."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.closing.append(listener)

        def take():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=take, daemon=True).start()
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def scene(scratch, programs, pki):
    made = Scene(scratch / "check-gateway", programs, pki)
    yield made
    made.close()


class Way:
    """The words of one check from the database host."""

    def __init__(self, scene):
        self.scene, self.pair, self.ca, self.host, self.words = scene, scene.client(), scene.pki.server_ca.certificate, "localhost", []
        self.port = scene.gateway.port

    def run(self, *words):
        remote = Remote(self.scene.folder / "host", self.scene.agent, self, pair=self.pair, ca=self.ca)
        return remote.run("check", *self.words, *words, host=self.host)

    def checks(self, *words):
        code, out, err = self.run("--json", *words)
        assert out, f"{code} {err}"
        return code, json.loads(out)["checks"]


def table(checks):
    return "\n".join(f"{each['state']:5}{each['id']:24}{each['seen']}\n     cause: {each['cause']}\n     fix: {each['fix']}"
                     for each in checks if each["state"] != "pass")


def expect(checks, state, name, cause, fix):
    """One fault in one check; what follows is left out, each with its reason."""
    spoken = [each for each in checks if each["state"] in ("fail", "warn")]
    assert [(each["id"], each["state"]) for each in spoken] == [(name, state)], table(checks)
    assert cause in spoken[0]["cause"], table(checks)
    assert fix in spoken[0]["fix"], table(checks)
    assert not any(word in spoken[0]["cause"] + spoken[0]["fix"] for word in ("ssl_", "pg_reload_conf", "hostaddr")), table(checks)
    for each in checks:
        assert each["seen"] or each["state"] != "skip", f"{each['id']} is left out without a reason"
        assert each["seen"] != "not reached", table(checks)


# ---- from the database host ----


def set_pair(way, certificate=None, key=None):
    way.pair = type(way.pair)(certificate or way.pair.certificate, key or way.pair.key)


def missing_certificate(way):
    set_pair(way, certificate=way.scene.folder / "nowhere.crt")


def for_servers(way):
    way.pair = way.scene.client("db1-server", usage="serverAuth")


def open_key(way):
    way.pair = way.scene.pki.client_ca.issue("open", "db1", "clientAuth")
    way.pair.key.chmod(0o644)


def another_key(way):
    set_pair(way, key=way.scene.client("db2").key)


def over(way):
    way.pair = way.scene.client("db1-over", not_after="20210101000000Z")


def soon(way):
    way.pair = way.scene.pki.client_ca.issue("soon", "db1", "clientAuth", days=9)


def missing_ca(way):
    way.ca = way.scene.folder / "nowhere.crt"


def ca_garbage(way):
    way.ca = way.scene.garbage


def crl_garbage(way):
    way.words = ["--tls-crl-file", way.scene.garbage]


def closed_port(way):
    way.port = free_port()


def no_host(way):
    way.host = "nowhere.invalid"


def no_tls(way):
    way.port = way.scene.listen(lambda connection: (connection.recv(100), connection.sendall(b"220 hello there, who are you?\r\n"), connection.close()))


def other_ca(way):
    way.ca = way.scene.other.certificate


def other_name(way):
    way.port = way.scene.proxy(pair=way.scene.pki.server_ca.issue("elsewhere", "x", "serverAuth", ("DNS:elsewhere.example.com",))).port


def served_over(way):
    way.port = way.scene.proxy(pair=way.scene.pki.server_ca.issue("gone", "localhost", "serverAuth", ("DNS:localhost",),
                                                                  not_after="20210101000000Z")).port


def served_soon(way):
    way.port = way.scene.proxy(pair=way.scene.pki.server_ca.issue("ending", "localhost", "serverAuth", ("DNS:localhost",), days=9)).port


def foreign(way):
    way.pair = way.scene.other.issue("foreign", "db1", "clientAuth")


def revoked(way):
    way.pair = way.scene.client("db1-revoked")
    made = way.scene.proxy()
    made.context.load_verify_locations(revoke(way.scene.pki.client_ca, way.pair.certificate, make_folder(way.scene.folder / "list", 0o755)))
    made.context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    way.port = made.port


def refused_late(way):
    """Later than a handshake waits for the verdict, as of a gateway with much to do."""
    way.pair, way.words = way.scene.other.issue("late", "db1", "clientAuth"), ["--passive"]
    port = way.port

    def serve(connection):
        onward = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=copy, args=(connection, onward), daemon=True).start()
        connection.sendall(onward.recv(65536))
        verdict = onward.recv(65536)
        time.sleep(3)
        connection.sendall(verdict)
        connection.close()

    way.port = way.scene.listen(serve)


def asks_for_nothing(way):
    way.port = way.scene.proxy(verify=ssl.CERT_NONE).port


def passes_on_in_clear(way):
    port = way.port

    def serve(connection):
        first = connection.recv(1, socket.MSG_PEEK)
        if first == b"{":
            connection.sendall(b'{"event":"result","data":{}}\n')
            connection.close()
            return
        onward = socket.create_connection(("127.0.0.1", port))
        for source, target in ((connection, onward), (onward, connection)):
            threading.Thread(target=copy, args=(source, target), daemon=True).start()

    way.port = way.scene.listen(serve)


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def no_daemon(way):
    way.port = way.scene.proxy(path=way.scene.folder / "nobody.sock").port


def answers_nobody(way):
    """Neither does it ask for a certificate: but whom it lets in is not known before somebody is answered."""
    way.port = way.scene.proxy(path=way.scene.folder / "nobody.sock", verify=ssl.CERT_NONE).port


def in_no_list(way):
    way.pair = way.scene.client("nobody")


def of_another_server(way):
    way.words = ["two"]


def only_looks(way):
    way.pair = way.scene.client("watcher")


def nameless(way):
    way.pair = way.scene.pki.client_ca.issue("nameless", "data base", "clientAuth")


WAYS = [
    (missing_certificate, "fail", "client.certificate", "nowhere.crt", "--tls-cert-file"),
    (for_servers, "fail", "client.certificate", "lacks clientAuth", "extendedKeyUsage = clientAuth"),
    (open_key, "fail", "client.key", "open.key", "chmod"),
    (another_key, "fail", "client.match", "db2.key", ""),
    (over, "fail", "client.expiry", "expired on 2021-01-01", "Renew"),
    (soon, "warn", "client.expiry", "ends in 8 days", "Renew"),
    (missing_ca, "fail", "client.ca", "nowhere.crt", "--tls-ca-file"),
    (ca_garbage, "fail", "client.ca", "holds no certificate", "PEM"),
    (crl_garbage, "fail", "client.crl", "holds no revocation list", ""),
    (closed_port, "fail", "client.connect", "Connection refused", "management"),
    (no_host, "fail", "client.connect", "nowhere.invalid", ""),
    (no_tls, "fail", "client.handshake", "does not speak TLS", "management"),
    (other_ca, "fail", "client.chain", "gateway server CA", ""),
    (other_name, "fail", "client.name", "DNS:elsewhere.example.com", "to one of its names, and see that it leads to the backup host."),
    (served_over, "fail", "client.served", "expired on 2021-01-01", ""),
    (served_soon, "warn", "client.served", "ends in 8 days", "on the backup host"),
    (foreign, "fail", "client.accepted", "CN=other CA", "tls_ca_file of [pgcoffer] on the backup host"),
    (refused_late, "fail", "client.accepted", "CN=other CA", "tls_ca_file of [pgcoffer] on the backup host"),
    (revoked, "fail", "client.accepted", "it was revoked", ""),
    (asks_for_nothing, "fail", "client.anonymous", "without a client certificate", "port of management"),
    (passes_on_in_clear, "fail", "client.plaintext", "without TLS", "socat"),
    (no_daemon, "fail", "client.answer", "no daemon answers", " log "),
    (answers_nobody, "fail", "client.answer", "no daemon answers", " log "),
    (in_no_list, "fail", "client.right", "as cert:nobody", "restorers = ..., cert:nobody"),
    (of_another_server, "fail", "client.right", 'does not let it restore "two"', "section [two] of the daemon's configuration, add it to the line restorers = ..., cert:db1"),
    (only_looks, "fail", "client.right", "as cert:watcher", "restorers = ..., cert:watcher"),
    (nameless, "fail", "client.right", "gives no name", "one CN"),
]


def test_a_right_way_is_proved_to_its_end(scene):
    way = Way(scene)
    code, checks = way.checks("--only", "client")
    assert code == 0 and {each["state"] for each in checks if each["id"] != "client.crl"} == {"pass"}, table(checks)
    seen = {each["id"]: each["seen"] for each in checks}
    assert seen["client.right"] == "cert:db1: restorer of [one]"
    assert seen["client.crl"] == "tls_crl_file is not configured"
    assert "gateway server CA" in seen["client.chain"] and "DNS:localhost" in seen["client.name"]
    way.words = ["two"]
    seen = {each["id"]: each["seen"] for each in way.checks("--only", "client", "--passive")[1]}
    assert seen["client.right"] == "cert:db1: no right over [two]"
    way.words = []
    # What must be refused stands in the gateway's log, and with --passive does not.
    scene.gateway.wait_log("it has no certificate")
    scene.gateway.wait_log("it does not speak TLS")
    refusals = scene.agent.log_text().count("it does not speak TLS")
    code, checks = way.checks("--only", "client", "--passive")
    assert code == 0
    assert [each["seen"] for each in checks if each["id"] in ("client.anonymous", "client.foreign", "client.plaintext")] == ["left out by --passive"] * 3
    assert scene.agent.log_text().count("it does not speak TLS") == refusals


@pytest.mark.parametrize("spoil, state, name, cause, fix", WAYS, ids=[each[0].__name__ for each in WAYS])
def test_a_fault_of_the_way_is_one_check_that_names_it(scene, spoil, state, name, cause, fix):
    way = Way(scene)
    spoil(way)
    code, checks = way.checks("--only", "client")
    expect(checks, state, name, cause, fix)
    assert code == (1 if state == "fail" else 0)


def test_what_takes_any_certificate_is_no_gateway(scene, programs):
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", scene.pki.server.certificate, "-key",
               scene.pki.server.key, "-Verify", "1", "-rev", "-quiet"]
    server = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        way = Way(scene)
        way.port = port
        _, checks = way.checks("--only", "client")
        states = {each["id"]: each["state"] for each in checks}
        assert (states["client.anonymous"], states["client.foreign"], states["client.answer"]) == ("pass", "fail", "fail"), table(checks)
    finally:
        server.kill()
        server.wait()


def wait_port(port):
    def is_open():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(is_open, "the port is open")


def test_what_the_daemon_finds_out_stands_behind_the_way(scene):
    way = Way(scene)
    code, checks = way.checks()
    ids = [(each.get("server"), each["id"]) for each in checks]
    assert code == 1  # its server is not reached, and that is the daemon's word
    assert ids.index((None, "client.right")) < ids.index(("one", "server.connect"))
    assert {server for server, _ in ids} == {None, "one"}  # nothing of a server that it has no right over
    states = {(each.get("server"), each["id"]): each["state"] for each in checks}
    assert states["one", "server.connect"] == "fail" and states["one", "daemon.running"] == "pass"
    # The gateway's own files are for who may know of all servers.
    assert {name for _, name in ids if name.startswith("gateway.")} == {"gateway.running"}
    way.pair = scene.client("overseer")
    _, checks = way.checks("--only", "client,gateway")
    assert {each["id"]: each["state"] for each in checks}["gateway.key"] == "pass", table(checks)
    # A way that ends is told whatever was asked for.
    way.port = free_port()
    code, checks = way.checks("--only", "expiry")
    assert code == 1 and [each["id"] for each in checks] == ["client.connect"], table(checks)


def test_the_section_client_leads_there_too_and_options_that_describe_a_server_do_not(scene):
    way = Way(scene)
    remote = Remote(scene.folder / "host", scene.agent, way, pair=way.pair, ca=way.ca)
    path = remote.folder / "client.conf"
    path.write_text(f"[client]\nconnect = localhost:{way.port}\ntls_cert_file = {way.pair.certificate}\n"
                    f"tls_key_file = {way.scene.folder}/nowhere.key\ntls_ca_file = {way.ca}\n")
    path.chmod(0o644)
    code, out, err = remote.run("-c", path, "check", connection=[])
    assert code == 1 and f"gateway at localhost port {way.port}" in out and "tls_key_file in section [client]" in out, out + err
    code, _, err = remote.run("check", "--host", "localhost", "--user", "repl")
    assert code == 2 and "--connect and --host exclude each other" in err
    code, out, _ = remote.run("-c", path, "check", "--host", "localhost", "--port", "1", "--user", "repl", "--only", "server",
                              connection=[])
    assert code == 1 and "server.connect" in out and "client." not in out


def test_a_monitoring_system_needs_to_look_only(scene):
    way = Way(scene)
    way.pair = scene.client("watcher")
    code, out, err = way.run("--nagios", "--only", "client")
    assert code == 0 and out.startswith(f"PGCOFFER OK - gateway at localhost port {way.port}: "), out + err
    assert "days_client=" in out
    way.pair = scene.client("nobody")
    code, out, _ = way.run("--nagios", "--only", "client")
    assert code == 2 and "client.right" in out


# ---- the daemon's own ----


def own(**changes):
    return lambda scene: changes


def mixed_chain(scene):
    path = scene.folder / "mixed.crt"
    path.write_text(scene.pki.server.certificate.read_text() + scene.client().certificate.read_text())
    return {"tls_cert_file": path}


def pair(scene, made):
    return {"tls_cert_file": made.certificate, "tls_key_file": made.key}


def server_pair(scene, stem, names=("DNS:localhost", "IP:127.0.0.1"), usage="serverAuth", **options):
    return pair(scene, scene.pki.server_ca.issue(stem, "localhost", usage, names, **options))


def own_open_key(scene):
    changes = server_pair(scene, "own-open")
    changes["tls_key_file"].chmod(0o644)
    return changes


OWN = [
    (own(tls_ca_file="/nowhere/ca.crt"), "fail", "gateway.ca", "/nowhere", "tls_ca_file in section [pgcoffer]"),
    (lambda scene: {"tls_ca_file": scene.short.certificate}, "warn", "gateway.ca", "ends in 8 days", "successor"),
    (lambda scene: {"tls_ca_file": scene.agent.pki.client_ca.certificate}, "warn", "gateway.own_ca", "signed PostgreSQL's client certificate", "a CA of their own"),
    (lambda scene: {"tls_crl_file": scene.garbage}, "fail", "gateway.crl", "holds no revocation list", ""),
    (lambda scene: {"tls_cert_file": scene.garbage}, "fail", "gateway.certificate", "holds no certificate", "PEM"),
    (lambda scene: server_pair(scene, "own-usage", usage="clientAuth"), "fail", "gateway.certificate", "lacks serverAuth", "extendedKeyUsage = serverAuth"),
    (own_open_key, "fail", "gateway.key", "own-open.key", "chmod"),
    (lambda scene: {"tls_key_file": scene.client().key}, "fail", "gateway.match", "db1.key", ""),
    (lambda scene: server_pair(scene, "own-over", not_after="20210101000000Z"), "fail", "gateway.expiry", "expired on 2021-01-01", "Renew"),
    (mixed_chain, "warn", "gateway.chain", '"CN=db1", number 2', "anew"),
    (own(host="elsewhere.example.com"), "warn", "gateway.name", "elsewhere.example.com", "DNS:elsewhere.example.com"),
    (lambda scene: server_pair(scene, "own-other"), "fail", "gateway.port", "serves another certificate", "pgcoffer status"),
    (lambda scene: {"management": free_port()}, "fail", "gateway.port", "Connection refused", "pgcoffer reload"),
]


def own_checks(scene, *words):
    result = scene.agent.cli("check", "--json", "--only", "gateway", *words)
    return result.code, result.json["checks"]


def test_a_right_gateway_is_proved_by_its_daemon(scene):
    code, checks = own_checks(scene)
    assert code == 0 and {each["state"] for each in checks if each["id"] != "gateway.crl"} == {"pass"}, table(checks)
    seen = {each["id"]: each["seen"] for each in checks}
    assert seen["gateway.clients"] == "cert:overseer, cert:db1, cert:watcher, cert:db2"
    assert str(scene.gateway.port) in seen["gateway.port"]
    assert all("server" not in each for each in checks)
    # Of a server that is named the gateway is no part; a monitor of the server may not know of it.
    assert own_checks(scene, "one") == (0, [])
    assert seen["gateway.running"] == f"listening on 127.0.0.1 port {scene.gateway.port}"
    text = scene.agent.ok("check", "--only", "gateway").out
    assert text.startswith("gateway\n\ngateway\n") and "gateway: 11 passed, 0 warnings, 0 failed, 1 skipped" in text, text


@pytest.mark.parametrize("spoil, state, name, cause, fix", OWN, ids=[f"{each[2]}-{at}" for at, each in enumerate(OWN)])
def test_a_fault_of_the_daemons_own_gateway_is_one_check(scene, spoil, state, name, cause, fix):
    settings = dict(scene.agent.daemon_settings)
    try:
        scene.agent.daemon_settings.update(spoil(scene))
        scene.agent.write_configuration()
        passive = () if name == "gateway.port" else ("--passive",)
        code, checks = own_checks(scene, *passive)
    finally:
        scene.agent.daemon_settings = settings
        scene.agent.write_configuration()
    expect(checks, state, name, cause, fix)
    assert code == (1 if state == "fail" else 0)


def test_an_address_to_listen_on_is_no_name_that_clients_ask_for(scene):
    """Clients come by a name of the certificate, whatever address of the machine that leads to."""
    settings = dict(scene.agent.daemon_settings)
    try:
        for host in ("127.0.0.3", "0.0.0.0"):
            scene.agent.daemon_settings["host"] = host
            scene.agent.write_configuration()
            code, checks = own_checks(scene, "--passive")
            seen = {each["id"]: (each["state"], each["seen"]) for each in checks}
            assert code == 0 and seen["gateway.name"][0] == "pass" and "DNS:localhost" in seen["gateway.name"][1], table(checks)
    finally:
        scene.agent.daemon_settings = settings
        scene.agent.write_configuration()


def test_whose_certificate_could_not_be_read_is_not_said_to_be_of_another_ca(scene):
    servers = {name: dict(values) for name, values in scene.agent.servers.items()}
    try:
        scene.agent.servers["two"]["tls_cert_file"] = "/nowhere/two.crt"
        scene.agent.write_configuration()
        _, checks = own_checks(scene, "--passive")
    finally:
        scene.agent.servers = servers
        scene.agent.write_configuration()
    seen = {each["id"]: (each["state"], each["seen"]) for each in checks}
    assert seen["gateway.own_ca"] == ("skip", 'tls_cert_file "/nowhere/two.crt" of [two] cannot be read'), table(checks)


def test_a_gateway_without_any_client_is_told(scene):
    servers = {name: dict(values) for name, values in scene.agent.servers.items()}
    overseers = scene.agent.daemon_settings.pop("monitors")
    try:
        for values in scene.agent.servers.values():
            values.update(restorers="postgres", monitors="")
        scene.agent.write_configuration()
        _, checks = own_checks(scene)
    finally:
        scene.agent.servers = servers
        scene.agent.daemon_settings["monitors"] = overseers
        scene.agent.write_configuration()
    expect(checks, "warn", "gateway.clients", "gives nobody a right", "restorers = cert:NAME")


def test_what_a_running_gateway_does_not_take_up_is_told_without_asking_its_port(scene):
    """A monitoring system is passive: the gateway's own word has to do."""
    settings = dict(scene.agent.daemon_settings)
    spoiled = server_pair(scene, "own-spoiled", usage="clientAuth")
    try:
        scene.gateway.put(type(scene.pki.server)(spoiled["tls_cert_file"], spoiled["tls_key_file"]))
        wait_for(lambda: scene.gateway.status()["warning"], lambda: f"the gateway has seen it; {scene.agent.log_text()[-1500:]}", 20)
        # What is wrong with the file is told of the file.
        code, checks = own_checks(scene, "--passive")
        expect(checks, "fail", "gateway.certificate", "lacks serverAuth", "serverAuth")
        assert code == 1
        # The files that will be used next are good, and those of the gateway are not.
        scene.agent.daemon_settings.update(server_pair(scene, "own-next"))
        scene.agent.write_configuration()
        code, checks = own_checks(scene, "--passive")
        expect(checks, "warn", "gateway.running", "is not for a server", "serverAuth")
        assert code == 0
    finally:
        scene.agent.daemon_settings = settings
        scene.agent.write_configuration()
        scene.gateway.put(scene.pki.server)
    wait_for(lambda: scene.gateway.status()["warning"] is None, "the gateway has taken it up")


def test_a_ca_that_ends_soon_is_warned_of_by_the_gateway_itself(scene):
    settings = dict(scene.agent.daemon_settings)
    try:
        scene.agent.daemon_settings["tls_ca_file"] = scene.short.certificate
        scene.agent.write_configuration()
        scene.agent.ok("reload")
        warning = wait_for(lambda: scene.gateway.status()["warning"], "the gateway warns")
        assert 'the CA "CN=short CA,O=pgcoffer test" in tls_ca_file of [pgcoffer]' in warning["message"], warning
        assert "days left: 8" in warning["message"] and "successor" in warning["hint"], warning
        expect(own_checks(scene)[1], "warn", "gateway.ca", "ends in 8 days", "successor")
    finally:
        scene.agent.daemon_settings = settings
        scene.agent.write_configuration()
        scene.agent.ok("reload")
    wait_for(lambda: scene.gateway.status()["warning"] is None, "the warning is over")


def test_a_gateway_that_does_not_listen_says_so(scene):
    settings = dict(scene.agent.daemon_settings)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        try:
            scene.agent.daemon_settings["management"] = taken.getsockname()[1]
            scene.agent.write_configuration()
            scene.agent.ok("reload")
            scene.gateway.wait_state("waiting")
            wait_for(lambda: scene.gateway.status()["error"], "the gateway says why")
            code, checks = own_checks(scene, "--passive")
            expect(checks, "fail", "gateway.running", "Address already in use", "another one for management")
            assert code == 1
            # A warning about a file does not speak for it.
            scene.agent.daemon_settings["tls_ca_file"] = scene.short.certificate
            scene.agent.write_configuration()
            code, checks = own_checks(scene, "--passive")
            states = {each["id"]: each["state"] for each in checks}
            assert code == 1 and (states["gateway.ca"], states["gateway.running"]) == ("warn", "fail"), table(checks)
        finally:
            scene.agent.daemon_settings = settings
            scene.agent.write_configuration()
            scene.agent.ok("reload")
    scene.gateway.wait_state("listening")


def test_without_a_daemon_the_files_are_looked_at_by_the_caller(scene, folder, programs, pki):
    agent = Agent(folder / "resting", programs, pki)
    Gateway(agent, scene.pki, tls_key_file=scene.client().key).add_server("one", restorers="cert:db1")
    result = agent.cli("check", "--only", "gateway", "--json")
    expect(result.json["checks"], "fail", "gateway.match", "db1.key", "")
    agent.daemon_settings["tls_key_file"] = agent.folder / "tls" / "gateway.key"
    agent.write_configuration()
    checks = {each["id"]: each for each in agent.json("check", "--only", "gateway")["checks"]}
    assert checks["gateway.port"]["seen"] == "the daemon does not answer" and "gateway.running" not in checks
    # What was not asked for has no heading either.
    assert "gateway" not in agent.cli("check", "--only", "file").out
