"""What monitoring systems get from contrib/: Prometheus' rules and scrape, Grafana's dashboard, Nagios' commands, each against
the tables it leans on, and with the real programs against the real daemon."""

import json
import pathlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness import browser as browsers
from harness.agent import Agent
from harness.cluster import Cluster
from harness.scratch import as_user, free_port, make_folder, run, wait_for

PROJECT = pathlib.Path(__file__).parents[2]
CONTRIB = PROJECT / "contrib"
RULES = CONTRIB / "prometheus" / "pgcoffer.rules.yml"
SCRAPE = CONTRIB / "prometheus" / "scrape.yml"
DASHBOARD = CONTRIB / "grafana" / "pgcoffer.json"
NAGIOS = CONTRIB / "nagios"
METRIC = re.compile(r"\b((?:pgcoffer|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
# Only while a job runs, and only once the disk's end is in sight.
NOT_ALWAYS = {"pgcoffer_operation_progress_ratio", "pgcoffer_operation_eta_seconds", "pgcoffer_repository_full_timestamp_seconds"}


def needs(program, package):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} (Debian: {package}) is not installed")


# ---- what they say, against the tables ----


def rule_texts():
    """{alert: its YAML}"""
    parts = re.split(r"^ +- alert: (\w+)\n", RULES.read_text(), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def rule_expression(text):
    block = re.search(r"^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", text, re.M)
    return block[1] or block[2]


def annotations(text):
    return dict(re.findall(r'^ {10}(\w+): "(.*)"$', text, re.M))


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions(server=".*"):
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert all("$" not in expression.replace("$server", "").replace("$__rate_interval", "") for expression in found)
    return [expression.replace("$server", server).replace("$__rate_interval", "1m") for expression in found]


def expressions():
    return [rule_expression(text) for text in rule_texts().values()] + dashboard_expressions()


def rows(table, kind="[A-Z]+"):
    text = (PROJECT / table).read_text()
    return [[column.strip().strip('"') for column in row.split(",", 6)] for row in re.findall(rf"^{kind} *\((.*)\)$", text, re.M)]


def test_rules_and_dashboard_name_metrics_and_labels_of_the_table_only():
    text = (PROJECT / "src" / "jobs" / "exporter" / "metrics.def").read_text()
    labels = {name: set(named.split(",")) | {"job", "instance"} for name, named in
              re.findall(r'^METRIC\((\w+), .*?"[^"]*", +"([^"]*)", +"', text, re.M)}
    assert len(labels) > 30
    for expression in expressions():
        for name, selector in METRIC.findall(expression):
            assert name in labels, f"{name} in {expression}"
            assert set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", selector)) <= labels[name], expression
        for grouping in re.findall(r"\b(?:on|by) \(([^)]*)\)", expression):
            assert set(grouping.split(", ")) <= {"job", "instance", "server"}, expression


def test_every_alert_says_what_it_means_and_what_to_type_and_is_tested():
    commands = [row[1].split() for row in rows("include/pgcoffer/control/commands.def", "COMMAND")]
    options = {"--" + row[1] for row in rows("include/pgcoffer/control/options.def", "OPTION")}
    tested = "".join(path.read_text() for path in (CONTRIB / "prometheus" / "tests").iterdir())
    rules = rule_texts()
    assert len(rules) >= 12
    for alert, text in rules.items():
        told = annotations(text)
        assert set(told) == {"summary", "description", "next"} and all(told.values()), alert
        assert re.search(r"labels: \{severity: (warning|critical)\}", text), alert
        typed = re.sub(r"\{\{ with .*?\{\{ end \}\}|\{\{.*?\}\}", "", told["next"])
        own = [words.split()[1:] for words in typed.split(";") if words.split()[0] == "pgcoffer"]
        assert own, f"{alert}: {typed}"
        for words in own:
            assert any(words[:len(command)] == command for command in commands), f"{alert}: {words}"
            assert {word for word in words if word.startswith("-")} <= options, f"{alert}: {words}"
        assert re.search(rf"\b{alert}\b", tested), f"{alert} is in no test"


def test_the_settings_of_the_scrape_example_exist():
    named = set(re.findall(r"^#   (\w+) = ", SCRAPE.read_text(), re.M))
    assert len(named) == 4 and named <= {row[0] for row in rows("include/pgcoffer/config/settings.def")}


def test_the_dashboard_is_whole():
    board = json.loads(DASHBOARD.read_text())
    every = board["panels"]
    assert len({panel["id"] for panel in every}) == len(every) > 20
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "server"}
    assert every[0]["title"] == "Can I restore?" and every[0]["type"] == "row"
    taken = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@needs("promtool", "prometheus")
def test_every_expression_of_the_dashboard_is_one(folder):
    listed = [f"      - {{record: 'a:{number}', expr: {json.dumps(expression)}}}"
              for number, expression in enumerate(dashboard_expressions())]
    (folder / "rules.yml").write_text("\n".join(["groups:", "  - name: all", "    rules:", *listed, ""]))
    run(["promtool", "check", "rules", folder / "rules.yml"])


# ---- with the real programs ----


class Scene:
    """One server, backed up, verified and rehearsed, whose metrics are told over mutual TLS by the files of `tls init`."""

    def __init__(self, folder, pki, programs):
        self.folder = make_folder(folder, 0o755)
        self.cluster = Cluster(folder / "server", pki).start().create_role()
        self.agent = Agent(folder / "agent", programs, pki)
        self.tls = folder / "tls"
        self.port, self.gateway = free_port(), free_port()
        lines = self.agent.json("tls", "init", self.tls, "--metrics-host", "localhost,127.0.0.1", "--gateway", "localhost")
        for line in lines["gateway_conf"][1:] + lines["metrics_conf"][1:]:
            self.agent.daemon_settings.update([line.split(" = ")])
        self.agent.daemon_settings.update(metrics=self.port, management=self.gateway, monitors="daemon, cert:restorer")
        self.agent.add_server("primary", self.cluster, pg_bin_dir=self.cluster.bin)
        self.agent.start()
        self.agent.wait_streaming("primary")
        self.agent.backup("primary")
        # What ended since gives the window its end.
        self.cluster.sql("CREATE TABLE since AS SELECT 1 AS n")
        self.agent.wait_flushed("primary", self.cluster.sql("SELECT pg_current_wal_lsn()::text"))
        self.agent.ok("verify", "primary")
        self.agent.ok("drill", "primary", "--scratch", make_folder(folder / "scratch"))
        self.agent.ok("reload")
        wait_for(lambda: {"pgcoffer_restore_drill_last_good", "pgcoffer_recovery_window_end_timestamp_seconds"} <= self.told(),
                 lambda: f"a survey after the drill; {self.scrape()}", 120)

    def close(self):
        self.agent.close()
        self.cluster.close()

    def curl(self, path="", *words, host="localhost"):
        """The line of pgexporter's own tutorial."""
        return run(["curl", "-v", "-L", f"https://{host}:{self.port}{path}", "--cacert", self.tls / "metrics-ca.crt",
                    *(words or ("--cert", self.tls / "prometheus.crt", "--key", self.tls / "prometheus.key"))], check=False)

    def scrape(self):
        done = self.curl("/metrics")
        assert done.returncode == 0, done
        return done.stdout

    def told(self):
        """The names of the metrics that have a sample."""
        return set(re.findall(r"^(\w+)", self.scrape(), re.M))


@pytest.fixture(scope="module")
def scene(scratch, pki, programs):
    made = Scene(scratch / "monitoring", pki, programs)
    yield made
    made.close()


class Prometheus:
    """Debian's, with the example of contrib/, whose places are changed, and with two jobs that may not read."""

    def __init__(self, scene):
        folder = make_folder(scene.folder / "prometheus")
        text = SCRAPE.read_text()
        for old, new in (("/usr/share/pgcoffer/prometheus", CONTRIB / "prometheus"), ("/etc/prometheus/tls", scene.tls),
                         ("backup.example.com:6604", f"localhost:{scene.port}"), ("scrape_interval: 30s", "scrape_interval: 1s")):
            assert str(old) in text, old
            text = text.replace(str(old), str(new))
        job = text.split("scrape_configs:\n")[1]
        stranger = re.sub(r" +(cert|key)_file: .*\n", "", job).replace("job_name: pgcoffer", "job_name: stranger")
        plain = re.sub(r" +tls_config:\n(?: {6}.*\n)+", "", job, count=1).replace("https", "http").replace(
            "job_name: pgcoffer", "job_name: plain")
        configuration = folder / "prometheus.yml"
        configuration.write_text(f"global: {{evaluation_interval: 1s}}\n{text}{stranger}{plain}")
        configuration.chmod(0o644)
        self.port = free_port()
        self.log = open(scene.folder / "prometheus.log", "w+")
        self.process = subprocess.Popen(
            as_user(["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data",
                     f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=folder)

    def get(self, path, **values):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(values)}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it has not read its rules yet
                return None
            raise AssertionError(f"{path} {values}: {error.read()}")
        except OSError:
            assert self.process.poll() is None, self.log_text()
            return None

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def query(self, expression):
        data = self.get("query", query=expression)
        return data["result"] if data else []

    def targets(self):
        data = self.get("targets", state="active")
        return {target["labels"]["job"]: target for target in data["activeTargets"]} if data else {}

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def prometheus(scene):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus (Debian: prometheus) is not installed")
    made = Prometheus(scene)
    try:
        wait_for(lambda: len(made.targets()) == 3 and all(target["health"] != "unknown" for target in made.targets().values()),
                 lambda: f"three jobs have been tried; {made.log_text()}")
        yield made
    finally:
        made.close()


@pytest.mark.long
def test_prometheus_scrapes_over_mutual_tls_and_nobody_without_a_certificate(prometheus):
    targets = prometheus.targets()
    assert targets["pgcoffer"]["health"] == "up", targets["pgcoffer"]
    (up,) = prometheus.query('up{job="pgcoffer"}')
    assert up["value"][1] == "1"
    (streaming,) = prometheus.query("pgcoffer_wal_streaming")
    assert streaming["metric"]["server"] == "primary" and streaming["value"][1] == "1"
    assert targets["stranger"]["health"] == "down" and "certificate required" in targets["stranger"]["lastError"]
    assert targets["plain"]["health"] == "down", targets["plain"]
    assert sorted(row["metric"]["job"] for row in prometheus.query("up == 0")) == ["plain", "stranger"]


@pytest.mark.long
def test_no_rule_fires_over_a_healthy_server_and_all_are_evaluated(prometheus):
    def rules():
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] == "ok" for rule in rules()), lambda: f"every rule is evaluated; {rules()}")
    assert {rule["name"] for rule in rules()} == set(rule_texts())
    wait_for(lambda: [rule["name"] for rule in rules() if rule["state"] != "inactive"] == [],
             lambda: f"no alert; {[(rule['name'], rule['alerts']) for rule in rules() if rule['state'] != 'inactive']}")


@pytest.mark.long
def test_every_panel_has_something_to_show(prometheus):
    empty = []
    for expression in dashboard_expressions("primary"):
        if not {name for name, _ in METRIC.findall(expression)} & (NOT_ALWAYS | {"pgcoffer_sync_state"}):
            found = wait_for(lambda: prometheus.query(expression) or "rate(" in expression or "increase(" in expression, expression, 20)
            if found is True:
                empty.append(expression)
        else:
            prometheus.query(expression)
    assert all("[" in expression for expression in empty)
    (can,) = prometheus.query(dashboard_expressions("primary")[0])
    assert can["value"][1] == "1", "it can be restored"


@pytest.mark.long
def test_every_metric_that_is_named_is_in_a_scrape(scene):
    named = {name for expression in expressions() for name, _ in METRIC.findall(expression)}
    assert len(named) > 30 and named - scene.told() <= NOT_ALWAYS, named - scene.told()
    if shutil.which("promtool"):
        assert run(["promtool", "check", "metrics"], input=scene.scrape()).stdout == ""


@pytest.mark.long
@needs("curl", "curl")
def test_the_curl_line_of_the_tutorial_gives_the_metrics(scene):
    done = scene.curl()
    assert done.returncode == 0 and 'pgcoffer_server_up{server="primary"} 1' in done.stdout, done
    assert 'pgcoffer_server_up{server="primary"} 1' in scene.curl("/metrics", host="127.0.0.1").stdout
    identity = ("--cert", scene.tls / "browser.crt", "--key", scene.tls / "browser.key")
    assert "pgcoffer_server_up" in scene.curl("/metrics", *identity).stdout
    assert scene.curl("/", *identity, "-H", "Accept: text/html,*/*;q=0.8").stdout.startswith("<!DOCTYPE html>")


@pytest.mark.long
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("pair", [None, "repl", "restorer", "metrics"])
def test_without_its_certificate_the_handshake_is_refused_before_a_byte_of_http(scene, version, pair):
    context = ssl.create_default_context(cafile=str(scene.tls / "metrics-ca.crt"))
    context.minimum_version = context.maximum_version = version
    if pair is not None:
        context.load_cert_chain(scene.tls / f"{pair}.crt", scene.tls / f"{pair}.key")
    received = b""
    with socket.create_connection(("127.0.0.1", scene.port), 20) as plain, pytest.raises(OSError) as refused:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            # With TLS 1.3 the refusal comes after our part of the handshake.
            secured.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            received = secured.recv(1)
    assert received == b""
    assert isinstance(refused.value, (ssl.SSLError, ConnectionError)) and "timed out" not in str(refused.value)


class Importer(browsers.Browser):
    """A browser whose owner imported browser.p12, and trusts the CA that came with it."""

    def make_store(self, authority, bundle):
        store = f"sql:{make_folder(self.folder / '.pki' / 'nssdb', user=None)}"
        for words in (["certutil", "-d", store, "-N", "--empty-password"],
                      ["pk12util", "-d", store, "-K", "", "-i", bundle, "-w", bundle.with_suffix(".password")],
                      ["certutil", "-d", store, "-M", "-n", authority, "-t", "CT,,"]):
            run(words, user="root")


@pytest.mark.long
@pytest.mark.skipif(browsers.why_not() is not None, reason=str(browsers.why_not()))
def test_a_browser_opens_the_page_with_the_bundle_of_tls_init(scene, folder):
    issuer = run(["openssl", "x509", "-in", scene.tls / "metrics-ca.crt", "-noout", "-subject"]).stdout.strip().split("CN = ")[1]
    origin = f"https://localhost:{scene.port}"
    opened = Importer(folder / "browser", origin, issuer, scene.tls / "browser.p12")
    try:
        opened.load(origin + "/")
        assert "primary" in opened.evaluate("return document.body.innerText")
    finally:
        opened.close()


PUBLIC = """
openssl genrsa -out ca.key 2048
openssl req -x509 -new -nodes -key ca.key -sha256 -days 3650 -out ca.crt -subj "/CN=My Local CA"
printf '%s\\n' authorityKeyIdentifier=keyid,issuer basicConstraints=CA:FALSE \\
    "keyUsage = digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment" "subjectAltName = DNS:localhost,IP:127.0.0.1" >server.ext
for name in server client; do
    openssl genrsa -out $name.key 2048
    openssl req -new -key $name.key -out $name.csr -subj "/CN=$name"
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $name.crt -days 3650 -sha256 \\
        $([ $name = client ] || echo "-extfile server.ext")
done
openssl genrsa -out other.key 2048
openssl req -x509 -new -nodes -key other.key -sha256 -days 3650 -out other.crt -subj "/CN=client"
"""


@pytest.mark.long
@needs("curl", "curl")
def test_the_certificates_of_pgexporters_tutorial_do_as_they_are(make_agent, cluster, folder):
    """RSA, and a client certificate without any extension."""
    files = make_folder(folder / "files")
    run(["sh", "-ec", PUBLIC], cwd=files)
    agent, port = make_agent(), free_port()
    agent.daemon_settings.update(metrics=port, metrics_cert_file=files / "server.crt", metrics_key_file=files / "server.key",
                                 metrics_ca_file=files / "ca.crt")
    agent.add_server("primary", cluster).start()

    def curl(*words):
        return run(["curl", "-v", "-L", f"https://localhost:{port}/metrics", "--cacert", files / "ca.crt", *words], check=False)

    identity = ("--cert", files / "client.crt", "--key", files / "client.key")
    wait_for(lambda: "\npgcoffer_build_info" in curl(*identity).stdout, lambda: f"{curl(*identity)}; {agent.log_text()}", 30)
    for words in ((), ("--cert", files / "other.crt", "--key", files / "other.key")):
        refused = curl(*words)
        assert refused.returncode != 0 and refused.stdout == "" and "< HTTP" not in refused.stderr, refused


# ---- Nagios ----


def run_line(scene, words, user="daemon"):
    """Runs the words of a plugin, as that OS user, with this daemon's configuration; gives its word and its exit status."""
    assert words[0] == "/usr/bin/pgcoffer", words
    done = scene.agent.cli(*words[1:], user=user)
    return done.out.split(" ")[1] if done.out.startswith("PGCOFFER ") else done, done.code


def nagios_lines():
    return dict(re.findall(r"command_name +(\S+)\n +command_line +(.*)\n", (NAGIOS / "pgcoffer.cfg").read_text()))


def places(scene, line):
    for old, new in (("$ARG1$", "primary"), ("$HOSTNAME$:7432", f"localhost:{scene.gateway}"), ("/etc/nagios/pgcoffer/nagios", f"{scene.tls}/restorer"),
                     ("/etc/nagios/pgcoffer/gateway-ca.crt", f"{scene.tls}/gateway-ca.crt")):
        line = line.replace(old, str(new))
    assert "$" not in line, line
    return shlex.split(line)


@pytest.mark.long
def test_the_commands_of_nagios_are_green_for_a_monitor_and_unknown_for_others(scene):
    lines = nagios_lines()
    assert set(lines) == {"check_pgcoffer", "check_pgcoffer_gateway", "check_pgcoffer_nrpe"}
    assert run_line(scene, places(scene, lines["check_pgcoffer"])) == ("OK", 0)
    assert run_line(scene, places(scene, lines["check_pgcoffer_gateway"]), user=scene.agent.user) == ("OK", 0)
    assert run_line(scene, places(scene, lines["check_pgcoffer"]), user="bin") == ("UNKNOWN", 3), "it is no monitor"


@pytest.mark.long
def test_the_commands_of_nrpe_are_green(scene):
    lines = dict(re.findall(r"^command\[(\w+)\]=(.*)$", (NAGIOS / "nrpe.cfg").read_text(), re.M))
    assert lines and re.search(r"check_pgcoffer_nrpe!(\w+)", (NAGIOS / "pgcoffer.cfg").read_text())[1] in lines
    for line in lines.values():
        assert run_line(scene, shlex.split(line)) == ("OK", 0), line


@pytest.mark.long
def test_the_command_of_icinga_is_green(scene):
    text = (NAGIOS / "icinga2.conf").read_text()
    words = json.loads(re.search(r"command = (\[.*\])", text)[1])
    options = dict(re.findall(r'^    "(--[\w-]+)" = "\$(\w+)\$"$', text, re.M))
    assert run_line(scene, [*words, "primary"]) == ("OK", 0)
    values = {"pgcoffer_connect": f"localhost:{scene.gateway}", "pgcoffer_cert_file": scene.tls / "restorer.crt",
              "pgcoffer_key_file": scene.tls / "restorer.key", "pgcoffer_ca_file": scene.tls / "gateway-ca.crt",
              "pgcoffer_warn_days": "20"}
    assert set(values) == set(options.values())
    given = [word for option, name in options.items() for word in (option, values[name])]
    assert run_line(scene, [*words, *given, "primary"], user=scene.agent.user) == ("OK", 0)
