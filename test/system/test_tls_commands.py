"""tls init makes a PKI that a server and the daemon run on as printed; tls show lists every certificate that matters."""

import hashlib
import os
import pathlib
import re
import socket
import shutil
import subprocess

import pytest

from harness.agent import Result
from harness.cluster import PSQL_BIN
from harness.scratch import OS_USER, as_user, free_port, run, wait_for

MANUAL = pathlib.Path(__file__).parents[2] / "doc" / "man" / "pgcoffer.1.scd"
FILES = {"server-ca.crt", "server-ca.key", "server-ca.crl", "client-ca.crt", "client-ca.key", "client-ca.crl", "server.crt",
         "server.key", "repl.crt", "repl.key"}
METRICS_FILES = {"metrics-ca.crt", "metrics-ca.key", "metrics.crt", "metrics.key", "prometheus.crt", "prometheus.key", "browser.crt",
                 "browser.key", "browser.p12", "browser.password"}
GATEWAY_FILES = {"gateway-ca.crt", "gateway-ca.key", "gateway-ca.crl", "gateway.crt", "gateway.key", "restorer.crt", "restorer.key"}
GATEWAY_LINES = ("gateway_conf", "client_conf", "gateway_copy_commands", "client_copy_commands")
METRICS_LINES = ("metrics_conf", "metrics_yml", "pgcoffer_copy_commands", "prometheus_yml", "pgexporter_conf", "exporter_web_config", "metrics_copy_commands")


class Kit:
    """What tls init made in `folder`, and the server and the agent that follow its lines."""

    def __init__(self, folder, agent, make_cluster, *words):
        self.folder, self.agent, self.make_cluster = folder / "tls", agent, make_cluster
        self.lines = agent.json("tls", "init", self.folder, *words)

    def path(self, name):
        return self.folder / name

    def start_server(self):
        hba = "\n".join(["local all postgres trust", *self.lines["pg_hba_conf"], ""])
        self.cluster = self.make_cluster(hba=hba, settings=["listen_addresses = '127.0.0.1, ::1'",
                                                            *self.lines["postgresql_conf"]]).start()
        self.cluster.sql(self.lines["sql"][0])
        return self.cluster

    def configure(self, port):
        daemon = ["[pgcoffer]", *[f"{key} = {value}" for key, value in self.agent.daemon_settings.items()]]
        self.agent.configuration.write_text("\n".join([*daemon, *self.lines["pgcoffer_conf"], f"port = {port}", ""]))
        return self.agent

    def start(self):
        self.start_server()
        self.configure(self.cluster.port).start()
        self.agent.wait_streaming("primary")
        return self


@pytest.fixture
def make_kit(folder, make_agent, make_cluster):
    return lambda *words: Kit(folder, make_agent(), make_cluster, *words)


def openssl(*words, check=True):
    return run(["openssl", *words], user="root", check=check)


def shell(text, folder):
    """As the owner of the files would type it."""
    done = run(["sh", "-ec", text], cwd=folder, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def certificate(shown, what, server=0):
    (row,) = [row for row in shown["servers"][server]["certificates"] if row["what"] == what]
    return row


def fingerprint(path):
    return openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").stdout.strip().split("=")[1]


# ---- tls init ----


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_server_and_the_daemon_run_on_exactly_the_printed_lines(make_kit, kind):
    kit = make_kit("--key-type", kind).start()
    assert kit.agent.backup("primary")["state"] == "complete"
    rows = kit.cluster.rows("SELECT client_dn, ssl FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)")
    assert rows == [("/CN=repl", True)]

    for host in ("localhost", "127.0.0.1", "::1"):
        conninfo = (f"host={host} port={kit.cluster.port} user=repl dbname=postgres sslmode=verify-full "
                    f"sslcert={kit.path('repl.crt')} sslkey={kit.path('repl.key')} sslrootcert={kit.path('server-ca.crt')} "
                    f"sslcrl={kit.path('server-ca.crl')}")
        done = run([PSQL_BIN / "psql", conninfo, "-Atc", "SELECT current_user"], check=False)
        assert done.returncode == 0 or (host == "::1" and not socket.has_ipv6), done.stderr
    plain = run([PSQL_BIN / "psql", f"host=localhost port={kit.cluster.port} user=repl dbname=postgres sslmode=disable",
                 "-c", "SELECT 1"], check=False)
    assert "no pg_hba.conf entry" in plain.stderr, plain.stderr


def test_a_password_is_bound_to_the_channel_of_a_server_with_an_ed25519_key(make_kit):
    kit = make_kit("--key-type", "ed25519")
    kit.lines["pg_hba_conf"] = [line.replace(" cert", " scram-sha-256 clientcert=verify-full")
                                for line in kit.lines["pg_hba_conf"]]
    cluster = kit.start_server()
    cluster.sql("ALTER ROLE repl PASSWORD 'a secret'")
    conninfo = (f"host=localhost port={cluster.port} user=repl dbname=postgres password='a secret' sslmode=verify-full "
                f"channel_binding=require sslcert={kit.path('repl.crt')} sslkey={kit.path('repl.key')} "
                f"sslrootcert={kit.path('server-ca.crt')}")
    assert run([PSQL_BIN / "psql", conninfo, "-Atc", "SELECT 1"]).stdout == "1\n"


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_openssl_takes_each_certificate_for_its_own_purpose_only(make_kit, kind):
    kit = make_kit("--key-type", kind)

    def verifies(authority, purpose, leaf):
        done = openssl("verify", "-x509_strict", "-purpose", purpose, "-crl_check_all", "-CRLfile",
                       kit.path(f"{authority}-ca.crl"), "-CAfile", kit.path(f"{authority}-ca.crt"), kit.path(leaf), check=False)
        return done.returncode == 0

    assert verifies("server", "sslserver", "server.crt")
    assert verifies("client", "sslclient", "repl.crt")
    assert not verifies("server", "sslclient", "server.crt")
    assert not verifies("client", "sslserver", "repl.crt")
    assert not verifies("server", "sslclient", "repl.crt")
    assert not verifies("client", "sslclient", "server.crt")
    text = openssl("x509", "-in", kit.path("server.crt"), "-noout", "-text").stdout
    assert "Version: 3" in text and "DNS:localhost" in text and "IP Address:127.0.0.1" in text
    assert "Ed25519" not in re.findall(r"Signature Algorithm: (\S+)", text), text


@pytest.mark.parametrize("words, files, more", [
    ((), FILES, ()),
    (("--metrics",), FILES | METRICS_FILES, METRICS_LINES),
    (("--gateway", "localhost"), FILES | GATEWAY_FILES, GATEWAY_LINES),
    (("--metrics", "--gateway", "localhost"), FILES | METRICS_FILES | GATEWAY_FILES, (*GATEWAY_LINES, *METRICS_LINES)),
], ids=["plain", "metrics", "gateway", "both"])
def test_every_file_is_private_and_told(make_kit, words, files, more):
    kit = make_kit(*words)
    assert {path.name for path in kit.folder.iterdir()} == files
    assert {pathlib.Path(row["path"]) for row in kit.lines["files"]} == {kit.path(name) for name in files}
    assert [key for key in (*GATEWAY_LINES, *METRICS_LINES) if key in kit.lines] == list(more)
    assert kit.folder.stat().st_mode & 0o7777 == 0o700
    for path in kit.folder.iterdir():
        assert path.stat().st_mode & 0o7777 == 0o600, path


def test_a_second_run_names_what_is_there_and_changes_nothing(make_kit, folder):
    kit = make_kit()
    before = digests(kit.folder)
    result = kit.agent.cli("tls", "init", kit.folder, "--user", "other")
    assert result.code == 2 and "client-ca.crl" in result.err and "Nothing was written" in result.err, result
    assert result.out == "" and digests(kit.folder) == before
    kit.path("server.key").rename(folder / "server.key")
    for path in kit.folder.iterdir():
        path.unlink()
    (folder / "server.key").rename(kit.path("server.key"))
    result = kit.agent.cli("tls", "init", kit.folder, "--json")
    assert result.code == 2 and result.json["error"]["kind"] == "usage" and "server.key" in result.err, result
    assert digests(kit.folder) == {"server.key": before["server.key"]}


def test_relative_names_and_an_empty_directory_do_as_well(make_agent, folder):
    agent = make_agent()
    run(["mkdir", folder / "empty"])
    result = agent.ok("tls", "init", ".", "--host", "db1.example.com,192.0.2.7", "--host", "db1", "--user", "agent_1",
                      "--days", "30", cwd=folder / "empty")
    assert f"tls_key_file = {folder}/empty/agent_1.key\n" in result.out, result
    assert "host = db1.example.com\n" in result.out and "samenet" in result.out
    text = openssl("x509", "-in", folder / "empty" / "server.crt", "-noout", "-text").stdout
    assert "DNS:db1.example.com, IP Address:192.0.2.7, DNS:db1" in text
    assert (folder / "empty").stat().st_mode & 0o7777 == 0o700


@pytest.mark.skipif(OS_USER is None, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_a_storage_error(make_agent, folder):
    (folder / "locked").mkdir(mode=0o755)
    result = make_agent().cli("tls", "init", folder / "locked" / "tls")
    assert result.code == 9 and "Permission denied" in result.err, result
    assert list((folder / "locked").iterdir()) == []


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
STEPS = [(call, number) for call in ("write", "fsync", "fchmod", "linkat", "unlinkat") for number in (1, 2, 10, 16)]


def init_disturbed(agent, target, call, number, what):
    """tls init, with `what` done to its number-th `call`."""
    words = agent.command("tls", "init", target, "--metrics", "--gateway", "localhost", "--quiet")
    start = words.index("--") + 1 if "--" in words else 0
    traced = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"inject={call}:{what}:when={number}", *words[start:]]
    return subprocess.run([*words[:start], *traced], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=0"})


def is_whole(path):
    if path.name == "browser.password":
        return re.fullmatch(r"[a-z2-9]{24}\n", path.read_text())
    if path.suffix == ".p12":
        # Its last bytes are the rounds of its MAC: what is cut short is no DER any more.
        return openssl("asn1parse", "-inform", "DER", "-in", path, "-noout", check=False).returncode == 0
    words = path.read_text().splitlines()
    return words[0].startswith("-----BEGIN ") and words[-1].startswith("-----END ")


@needs_strace
def test_killed_at_any_step_it_leaves_whole_files_only(make_agent, folder):
    agent = make_agent()
    for call, number in STEPS:
        target = folder / f"{call}{number}"
        assert init_disturbed(agent, target, call, number, "signal=KILL").returncode != 0, (call, number)
        for path in target.iterdir():
            assert path.suffix == ".tmp" or is_whole(path), path
            assert path.stat().st_mode & 0o077 == 0, path


@needs_strace
def test_a_full_disk_at_any_step_leaves_nothing(make_agent, folder):
    agent = make_agent()
    for call, number in STEPS:
        target = folder / f"{call}{number}"
        done = init_disturbed(agent, target, call, number, "error=ENOSPC")
        assert done.returncode == 9 and "No space left" in done.stderr, (call, number, done)
        # What strace keeps from being removed stays.
        assert not target.exists() or call == "unlinkat", (call, number)


@pytest.mark.skipif(OS_USER is None, reason="only root can give files away")
def test_the_printed_copies_belong_to_their_users(make_kit, folder):
    kit = make_kit("--metrics", "--gateway", "localhost")
    commands = "\n".join(line for key in ("copy_commands", "gateway_copy_commands", "client_copy_commands", "pgcoffer_copy_commands",
                                     "metrics_copy_commands")
                         for line in kit.lines[key])
    places = {"postgresql": {"server.crt", "server.key", "client-ca.crt", "client-ca.crl",
                             "restorer.crt", "restorer.key", "gateway-ca.crt"},
              "pgcoffer": {"repl.crt", "repl.key", "server-ca.crt", "server-ca.crl",
                           "gateway.crt", "gateway.key", "gateway-ca.crt", "gateway-ca.crl",
                           "metrics.crt", "metrics.key", "metrics-ca.crt"},
              "pgexporter": {"metrics.crt", "metrics.key", "metrics-ca.crt"},
              "prometheus": {"prometheus.crt", "prometheus.key", "metrics-ca.crt"}}
    for place in places:
        assert f"/etc/{place}/tls" in commands
        commands = commands.replace(f"/etc/{place}/tls", str(folder / place)).replace(f"-o {place} -g {place}",
                                                                                      f"-o {OS_USER} -g {OS_USER}")
    done = run(["sh", "-ec", commands], user="root")
    assert done.stderr == ""
    for place, names in places.items():
        assert {path.name for path in (folder / place).iterdir()} == names
        for path in (folder / place).iterdir():
            assert path.owner() == OS_USER and path.stat().st_mode & 0o7777 == 0o600, path


def test_what_is_printed_for_people_holds_every_line(make_agent, folder):
    agent = make_agent()
    words = ("--metrics", "--gateway", "localhost")
    result = agent.ok("tls", "init", folder / "a", *words)
    lines = agent.json("tls", "init", folder / "b", *words)
    for key in ("postgresql_conf", "pg_hba_conf", "sql", "pgcoffer_conf", "copy_commands", "renewal_commands",
                *GATEWAY_LINES, *METRICS_LINES):
        for line in lines[key]:
            assert line.replace(f"{folder}/b", f"{folder}/a") in result.out.splitlines(), line
    assert all(name in result.out for name in FILES | METRICS_FILES | GATEWAY_FILES)
    assert agent.ok("tls", "init", folder / "c", "--quiet").out == ""
    plain = agent.ok("tls", "init", folder / "d").out
    assert not re.search("metrics|rometheus|browser|gateway|restorer", plain), plain


def test_the_printed_renewal_makes_new_certificates_for_the_old_keys(make_kit):
    kit = make_kit("--days", "30", "--metrics", "--gateway", "localhost")
    before = digests(kit.folder)
    shell("\n".join(kit.lines["renewal_commands"]), "/")
    after = digests(kit.folder)
    assert {name for name in before if before[name] != after[name]} == {
        "server.crt", "repl.crt", "metrics.crt", "prometheus.crt", "browser.crt", "browser.p12", "gateway.crt", "restorer.crt"}
    assert bundled_certificate(kit) == fingerprint(kit.path("browser.crt"))
    for authority, purpose, leaf in (("server", "sslserver", "server"), ("client", "sslclient", "repl"),
                                     ("metrics", "sslserver", "metrics"), ("metrics", "sslclient", "prometheus"),
                                     ("metrics", "sslclient", "browser"),
                                     ("gateway", "sslserver", "gateway"), ("gateway", "sslclient", "restorer")):
        openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", kit.path(f"{authority}-ca.crt"), kit.path(f"{leaf}.crt"))
        public = openssl("x509", "-in", kit.path(f"{leaf}.crt"), "-noout", "-pubkey").stdout
        assert public == openssl("pkey", "-in", kit.path(f"{leaf}.key"), "-pubout").stdout
        assert kit.path(f"{leaf}.crt").stat().st_mode & 0o777 == 0o600
    kit.start()


def manual_example(introduction):
    """The commands of the example that follows these words in the manual page."""
    text = MANUAL.read_text().split(introduction, 1)[1].split("```\n", 2)[1]
    return text.replace("\\\\", "\\")


def test_the_renewal_of_the_manual_works(make_kit):
    kit = make_kit("--days", "30")
    shell(manual_example("A renewal, in DIRECTORY"), kit.folder)
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", kit.path("client-ca.crt"), kit.path("repl.crt"))
    assert "notAfter" in openssl("x509", "-in", kit.path("repl.crt"), "-noout", "-enddate", "-checkend", 300 * 86400).stdout


@pytest.mark.parametrize("kind", ["ec", "ed25519"])
def test_the_revocation_of_the_manual_locks_the_client_out(make_kit, kind):
    kit = make_kit("--key-type", kind).start()
    shell(manual_example("A revocation"), kit.folder)
    kit.cluster.reload()
    error = wait_for(lambda: (kit.agent.cli("backup", "primary", "--json").json.get("error") or {}).get("message"), "a refusal")
    assert "revoked" in error, error
    assert certificate(kit.agent.json("tls", "show"), "revocation list")["revoked"] == 0, "ours is that of the server's CA"


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_check_complains_of_the_keys_of_the_cas_alone_and_of_nothing_once_they_are_gone(make_kit, folder, kind):
    """The CA of metrics has no part in this connection: its key is not told of, as tls init says."""
    kit = make_kit("--key-type", kind, "--metrics").start()
    kit.agent.backup("primary")

    def complaints():
        return [row["id"] for row in kit.agent.json("check", "primary")["checks"] if row["state"] in ("warn", "fail")]

    assert complaints() == ["key.authority"]
    for name in ("server-ca.key", "client-ca.key"):
        kit.path(name).rename(folder / name)
    assert complaints() == []


# ---- tls init --gateway ----


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_gateway_and_its_client_run_on_exactly_the_printed_lines(make_kit, folder, kind):
    port = free_port()
    kit = make_kit("--key-type", kind, "--gateway", "localhost,127.0.0.1")
    (section, *settings), client = kit.lines["gateway_conf"], kit.lines["client_conf"]
    assert section == "[pgcoffer]" and "management = 7432" in settings and client[:2] == ["[client]", "connect = localhost:7432"]
    kit.agent.daemon_settings.update(line.split(" = ") for line in settings)
    kit.agent.daemon_settings["management"] = port
    kit.start()
    here = folder / "client.conf"
    here.write_text("\n".join(client).replace("7432", str(port)))

    def remote(*words):
        return Result(subprocess.run(as_user([kit.agent.binaries / "pgcoffer", "-c", here, *words]), capture_output=True, text=True,
                                     stdin=subprocess.DEVNULL))

    wait_for(lambda: remote("list").code == 0, lambda: f"the gateway answers; {remote('list')}")
    assert remote("restore", "primary", "--target-directory", folder / "target").code == 2, "there is no backup yet"
    denied = remote("backup", "primary")
    assert denied.code == 1 and "restorer" in denied.err, denied
    # The certificates of the server are of no use here, nor these over there.
    for stem, authority in (("repl", "gateway-ca"), ("gateway", "gateway-ca"), ("restorer", "server-ca")):
        done = remote("list", "--connect", f"localhost:{port}", "--tls-cert-file", kit.path(f"{stem}.crt"), "--tls-key-file",
                      kit.path(f"{stem}.key"), "--tls-ca-file", kit.path(f"{authority}.crt"))
        assert done.code == 6, (stem, authority, done)
    # Revoked as the manual says, it is out.
    shell(manual_example("A revocation").replace("client-ca", "gateway-ca").replace("repl.crt", "restorer.crt"), kit.folder)
    wait_for(lambda: "revoked" in remote("list").err, lambda: f"a refusal; {remote('list')}")
    assert kit.agent.json("status")["gateway"]["warning"] is None


# ---- tls init --metrics ----


class Endpoint:
    """An HTTPS server that takes the files of the printed lines, and wants a client certificate."""

    def __init__(self, kit):
        files = dict(line.split(" = ") for line in kit.lines["pgexporter_conf"])
        self.port = free_port()
        self.process = subprocess.Popen(
            as_user(["openssl", "s_server", "-accept", str(self.port), "-www", "-Verify", "1", "-verify_return_error",
                     "-cert", files["metrics_cert_file"], "-key", files["metrics_key_file"],
                     "-CAfile", files["metrics_ca_file"], "-no-CApath", "-no-CAstore"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        for line in self.process.stdout:
            if line.startswith("ACCEPT"):
                return self
        raise AssertionError(f"openssl s_server ended with {self.process.wait()}")

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.communicate()

    def get(self, *words, host="localhost"):
        name = "-verify_hostname" if host == "localhost" else "-verify_ip"
        return run(["openssl", "s_client", "-connect", f"{host if ':' not in host else f'[{host}]'}:{self.port}", "-ign_eof",
                    "-verify_return_error", name, host, "-no-CApath", "-no-CAstore", *words], check=False,
                   input="GET / HTTP/1.0\r\n\r\n")


def scrape_files(kit):
    """The words for openssl s_client that say what tls_config says."""
    assert kit.lines["prometheus_yml"][1:-1] == kit.lines["metrics_yml"][1:-1]
    files = dict(re.findall(r"^ {6}(\w+_file): '(.*)'$", "\n".join(kit.lines["metrics_yml"]), re.M))
    assert set(files) == {"ca_file", "cert_file", "key_file"} and all(path.startswith("/") for path in files.values()), files
    return ["-CAfile", files["ca_file"]], ["-cert", files["cert_file"], "-key", files["key_file"]]


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_an_endpoint_and_its_reader_shake_hands_with_the_printed_files_only(make_kit, kind):
    kit = make_kit("--key-type", kind, "--metrics")
    trust, identity = scrape_files(kit)
    with Endpoint(kit) as endpoint:
        for host in ("localhost", "127.0.0.1", *(["::1"] if socket.has_ipv6 else [])):
            done = endpoint.get(*trust, *identity, host=host)
            assert done.returncode == 0 and "HTTP/1.0 200 ok" in done.stdout, (host, done)
        refused = [endpoint.get(*trust),
                   endpoint.get(*trust, "-cert", kit.path("repl.crt"), "-key", kit.path("repl.key")),
                   endpoint.get(*trust, "-cert", kit.path("metrics.crt"), "-key", kit.path("metrics.key")),
                   endpoint.get("-CAfile", kit.path("server-ca.crt"), *identity)]
    for done in refused:
        assert "200 ok" not in done.stdout and re.search("alert|verify error", done.stdout + done.stderr), done


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_openssl_takes_the_certificates_of_metrics_for_their_purpose_only(make_kit, kind):
    kit = make_kit("--key-type", kind, "--metrics")

    def verifies(authority, purpose, leaf):
        return openssl("verify", "-x509_strict", "-purpose", purpose, "-no-CApath", "-no-CAstore", "-CAfile",
                       kit.path(f"{authority}-ca.crt"), kit.path(leaf), check=False).returncode == 0

    assert verifies("metrics", "sslserver", "metrics.crt")
    assert verifies("metrics", "sslclient", "prometheus.crt")
    assert not verifies("metrics", "sslclient", "metrics.crt")
    assert not verifies("metrics", "sslserver", "prometheus.crt")
    for authority in ("server", "client"):
        assert not verifies(authority, "sslclient", "prometheus.crt") and not verifies(authority, "sslserver", "metrics.crt")
    for purpose, leaf in (("sslserver", "server.crt"), ("sslclient", "repl.crt")):
        assert not verifies("metrics", purpose, leaf)
    names = [openssl("x509", "-in", kit.path(name), "-noout", "-ext", "subjectAltName").stdout
             for name in ("server.crt", "metrics.crt")]
    assert names[0] == names[1] and "DNS:localhost" in names[0], names
    assert openssl("x509", "-in", kit.path("prometheus.crt"), "-noout", "-subject").stdout == "subject=CN = prometheus\n"


def test_the_lines_for_prometheus_and_exporters_are_yaml(make_agent, folder):
    yaml = pytest.importorskip("yaml")
    place = folder / "it's # all \\ here"
    lines = make_agent().json("tls", "init", place, "--metrics", "--host", "db1.example.com")
    (job,) = yaml.safe_load("\n".join(["scrape_configs:", *lines["prometheus_yml"]]))["scrape_configs"]
    assert job["scheme"] == "https" and job["static_configs"] == [{"targets": ["db1.example.com:5001"]}]
    assert job["tls_config"] == {"ca_file": f"{place}/metrics-ca.crt", "cert_file": f"{place}/prometheus.crt",
                                 "key_file": f"{place}/prometheus.key"}
    assert yaml.safe_load("\n".join(lines["exporter_web_config"])) == {"tls_server_config": {
        "cert_file": f"{place}/metrics.crt", "key_file": f"{place}/metrics.key", "client_ca_file": f"{place}/metrics-ca.crt",
        "client_auth_type": "RequireAndVerifyClientCert"}}


def bundled_certificate(kit):
    """The fingerprint of the certificate in browser.p12."""
    opened = openssl("pkcs12", "-in", kit.path("browser.p12"), "-passin", f"file:{kit.path('browser.password')}", "-nokeys", "-clcerts")
    return run(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], user="root", input=opened.stdout).stdout.strip().split("=")[1]


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_browser_imports_the_bundle_with_its_password_only(make_kit, folder, kind):
    kit = make_kit("--key-type", kind, "--metrics-host", "localhost")
    password = f"file:{kit.path('browser.password')}"
    told = openssl("pkcs12", "-in", kit.path("browser.p12"), "-passin", password, "-info", "-noout").stderr
    assert "MAC: sha256" in told and len(re.findall("AES-256-CBC.*PRF hmacWithSHA256", told)) == 2 and "RC2" not in told, told
    assert openssl("pkcs12", "-in", kit.path("browser.p12"), "-passin", "pass:", "-noout", check=False).returncode == 1
    assert bundled_certificate(kit) == fingerprint(kit.path("browser.crt"))
    if shutil.which("pk12util") is None:
        pytest.skip("the browsers' own reader, pk12util of libnss3-tools, is not installed")
    store = f"sql:{folder}"
    run(["certutil", "-d", store, "-N", "--empty-password"])
    words = ["pk12util", "-d", store, "-K", "", "-i", kit.path("browser.p12")]
    assert "BAD_PASSWORD" in run([*words, "-W", "wrong"], check=False).stderr
    run([*words, "-w", kit.path("browser.password")])
    authority = re.search(r"^(pgcoffer development metrics CA \w+) ", run(["certutil", "-d", store, "-L"]).stdout, re.M)[1]
    run(["certutil", "-d", store, "-M", "-n", authority, "-t", "CT,,"])
    assert "certificate is valid" in run(["certutil", "-d", store, "-V", "-u", "C", "-n", "pgcoffer browser"]).stdout


def test_a_role_with_a_name_of_the_files_of_metrics_or_gateway_is_refused(make_agent, folder):
    agent = make_agent()
    for user in ("metrics", "metrics-ca", "prometheus", "browser", "gateway", "gateway-ca", "restorer"):
        result = agent.cli("tls", "init", folder / "tls", "--metrics", "--gateway", "localhost", "--user", user)
        assert result.code == 2 and user in result.err and not (folder / "tls").exists(), result
    agent.ok("tls", "init", folder / "tls", "--user", "prometheus")


# ---- tls show ----


def test_everything_is_shown_with_the_chain_as_it_is_served(make_kit):
    kit = make_kit().start()
    shown = kit.agent.json("tls", "show", "primary")
    assert shown["schema"] == 1 and shown["servers"][0]["server"] == "primary"
    assert [row["what"] for row in shown["servers"][0]["certificates"]] == ["client", "server CA", "revocation list", "served"]
    client, served = certificate(shown, "client"), certificate(shown, "served")
    assert client["subject"] == "CN=repl" and client["file"] == str(kit.path("repl.crt")), client
    assert client["fingerprint"] == fingerprint(kit.path("repl.crt"))
    assert served["fingerprint"] == fingerprint(kit.path("server.crt"))
    assert served["served_by"] == f"localhost:{kit.cluster.port}" and served["file"] is None, served
    assert served["names"].startswith("DNS:localhost, IP:127.0.0.1, IP:::1"), served
    assert served["issuer"] == certificate(shown, "server CA")["subject"]
    assert served["days_left"] == 364 and served["state"] == "valid", served
    assert certificate(shown, "revocation list")["revoked"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", served["not_after"]), served

    table = kit.agent.ok("tls", "show").out
    for row in shown["servers"][0]["certificates"]:
        (line,) = [line for line in table.splitlines() if line.split()[:2] == ["primary", row["what"].split()[0]]
                   and f" {row['what']} " in line and (row["fingerprint"] or "") in line]
        assert all(str(row[key] or "") in line for key in ("subject", "issuer", "names", "not_after", "days_left", "file")), line
    log = kit.cluster.log_text()
    assert "could not accept SSL connection" not in log, log


def test_a_renewed_certificate_is_shown_as_served_only_after_the_reload(make_kit):
    kit = make_kit().start()
    old = fingerprint(kit.path("server.crt"))
    shell("\n".join(kit.lines["renewal_commands"]), "/")
    new = fingerprint(kit.path("server.crt"))
    assert old != new
    assert certificate(kit.agent.json("tls", "show"), "served")["fingerprint"] == old
    kit.cluster.reload()
    wait_for(lambda: certificate(kit.agent.json("tls", "show"), "served")["fingerprint"] == new, "the new one is served")


def test_an_unreachable_server_hides_no_file(make_kit):
    kit = make_kit()
    agent = kit.configure(1)
    result = agent.cli("tls", "show", "--json")
    assert result.code == 5 and result.json["error"]["kind"] == "server", result
    served = certificate(result.json, "served")
    assert served["state"] == "unknown" and "Connection refused" in served["error"]["message"], served
    assert certificate(result.json, "client")["state"] == "valid"
    result = agent.cli("tls", "show")
    assert result.code == 5 and "CN=repl" in result.out and "Connection refused" in result.out, result
    assert "[primary]" in result.err and "pgcoffer check primary" in result.err


@pytest.mark.skipif(OS_USER is None, reason="the same user may always read")
def test_a_file_that_may_not_be_read_hides_nothing_else(make_kit):
    kit = make_kit()
    cluster = kit.start_server()
    agent = kit.configure(cluster.port)
    kit.path("repl.crt").chmod(0)
    kit.path("server-ca.crl").unlink()
    result = agent.cli("tls", "show", "--json")
    assert result.code == 6, result
    client, revocations = certificate(result.json, "client"), certificate(result.json, "revocation list")
    assert client["state"] == "unknown" and str(kit.path("repl.crt")) in client["error"]["message"], client
    assert "Permission denied" in client["error"]["detail"] and client["subject"] is None, client
    assert client["error"]["check"] == "file.certificate" and revocations["error"]["check"] == "file.crl"
    assert "does not exist" in revocations["error"]["message"], revocations
    assert certificate(result.json, "served")["fingerprint"] == fingerprint(kit.path("server.crt"))
    assert certificate(result.json, "server CA")["state"] == "valid"


@pytest.mark.skipif(OS_USER is None, reason="the same user may always read")
def test_the_private_key_need_not_be_readable(make_kit):
    kit = make_kit()
    cluster = kit.start_server()
    agent = kit.configure(cluster.port)
    kit.path("repl.key").chmod(0)
    kit.path("server-ca.crt").chmod(0o644)
    assert {row["state"] for row in agent.json("tls", "show")["servers"][0]["certificates"]} == {"valid"}


def test_few_days_left_are_colored_and_named(make_kit):
    kit = make_kit("--days", "10")
    cluster = kit.start_server()
    agent = kit.configure(cluster.port)
    shown = agent.json("tls", "show")
    assert {row["what"]: row["state"] for row in shown["servers"][0]["certificates"]} == {
        "client": "soon", "server CA": "valid", "revocation list": "valid", "served": "soon"}
    colored = agent.ok("tls", "show", "--color", "always").out
    assert len(re.findall("\033\\[[0-9;]*33m", colored)) == 2 and "\033[31m" not in colored, colored
    with open(agent.configuration, "a") as file:
        file.write("expiry_critical_days = 15\n")
    colored = agent.ok("tls", "show", "--color", "always").out
    assert len(re.findall("\033\\[[0-9;]*31m", colored)) == 2 and "critical" in colored, colored


def test_a_connection_described_by_options_needs_no_configuration(make_kit):
    kit = make_kit()
    cluster = kit.start_server()
    words = ["--host", "localhost", "--port", cluster.port, "--tls-ca-file", "server-ca.crt"]
    done = subprocess.run(as_user([kit.agent.binaries / "pgcoffer", "tls", "show", "--json", *words]), cwd=kit.folder,
                          capture_output=True, text=True, env={**os.environ})
    result = Result(done)
    assert result.code == 0, result
    assert certificate(result.json, "served")["fingerprint"] == fingerprint(kit.path("server.crt"))
    assert certificate(result.json, "server CA")["file"] == str(kit.path("server-ca.crt"))


def test_an_unknown_server_is_a_wrong_usage(make_kit):
    kit = make_kit()
    result = kit.configure(5432).cli("tls", "show", "primray")
    assert result.code == 2 and "primary" in result.err, result
