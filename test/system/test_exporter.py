"""The port of metrics: who is let in, what is answered, what strangers can take of it, and what happens to its files."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from harness.agent import Agent, resident_kilobytes
from harness.certificates import Authority
from harness.scratch import free_port, give_to, renew, wait_for

UNREACHED = {"host": "localhost", "port": 1, "user": "repl", "tls_mode": "disable", "allow_insecure": "yes"}


class MetricsPki:
    """A CA for the port's certificate and for who reads there, as `tls init --metrics` makes it, and a foreign one."""

    def __init__(self, folder):
        self.ca = Authority(folder / "metrics-ca", "metrics CA")
        self.other_ca = Authority(folder / "metrics-other-ca", "other CA")
        self.server = self.ca.issue("metrics", "metrics", "serverAuth", ("DNS:localhost", "IP:127.0.0.1"))
        self.prometheus = self.ca.issue("prometheus", "prometheus", "clientAuth")
        self.foreign = self.other_ca.issue("foreign", "prometheus", "clientAuth")
        self.expired = self.ca.issue("expired", "prometheus", "clientAuth", not_after="20240101000000Z")


@pytest.fixture(scope="module")
def metrics_pki(scratch):
    return MetricsPki(scratch / "metrics-pki")


class Exporter:
    """A daemon with a port of metrics, and one server that nobody reaches."""

    def __init__(self, agent, pki, is_https, **settings):
        self.agent, self.pki, self.port, self.is_https = agent, pki, free_port(), is_https
        files = agent.folder / "metrics"
        files.mkdir()
        give_to(files)
        self.certificate, self.key, self.ca = (files / name for name in ("metrics.crt", "metrics.key", "ca.crt"))
        renew(pki.server.key, self.key)
        renew(pki.server.certificate, self.certificate)
        renew(pki.ca.certificate, self.ca)
        agent.daemon_settings.update({"metrics": self.port, "host": "localhost", "log_level": "debug", **settings})
        if is_https:
            agent.daemon_settings.update({"metrics_cert_file": self.certificate, "metrics_key_file": self.key,
                                          "metrics_ca_file": self.ca})
        agent.servers["one"] = dict(UNREACHED)
        agent.write_configuration()

    def status(self):
        return self.agent.json("status")["exporter"]

    def wait_state(self, state):
        return wait_for(lambda: (lambda row: row if row and row["state"] == state else None)(self.status()), f"exporter {state}")

    def reload(self, **settings):
        self.agent.daemon_settings.update(settings)
        self.agent.write_configuration()
        self.agent.ok("reload")

    @property
    def worker(self):
        """Beside it is the process that reads its files, its own child."""
        pids = self.agent.worker_pids("exporter")
        return min(pids) if pids else None

    def open(self, pair=None, plain=False):
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        if not self.is_https or plain:
            return raw
        context = ssl.create_default_context(cafile=str(self.pki.ca.certificate))
        if pair:
            context.load_cert_chain(str(pair.certificate), str(pair.key))
        try:
            return context.wrap_socket(raw, server_hostname="localhost")
        except OSError:
            raw.close()
            raise

    def get(self, path="/healthz", pair=None, method="GET", headers=(), host="localhost"):
        """(status, headers, body) of a connection of its own."""
        head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
        with self.open(pair or (self.pki.prometheus if self.is_https else None)) as connection:
            connection.sendall("\r\n".join(head).encode())
            return parse(read_all(connection))

    def is_answered(self, pair=None, path="/healthz"):
        try:
            return self.get(path, pair)[0] == 200
        except OSError:
            return False


def read_all(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split(" ")[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def make(scratch, programs, pki, metrics_pki, name, **options):
    return Exporter(Agent(scratch / name, programs, pki), metrics_pki, **options)


@pytest.fixture(scope="module")
def plain(scratch, programs, pki, metrics_pki):
    exporter = make(scratch, programs, pki, metrics_pki, "exporter-plain", is_https=False)
    exporter.agent.start()
    exporter.wait_state("listening")
    yield exporter
    exporter.agent.close()


@pytest.fixture(scope="module")
def https(scratch, programs, pki, metrics_pki):
    exporter = make(scratch, programs, pki, metrics_pki, "exporter-https", is_https=True)
    exporter.agent.start()
    exporter.wait_state("listening")
    yield exporter
    exporter.agent.close()


# ---- what is answered ----


def test_each_path_is_answered_and_nothing_else(plain):
    status, headers, body = plain.get("/metrics")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'pgcoffer_server_up{server="one"} 0\n' in body and b"# EOF" not in body
    status, headers, body = plain.get("/metrics?x=y", headers=["Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"])
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0") and body.endswith(b"# EOF\n")
    status, headers, page = plain.get("/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8" and b"<html" in page
    assert headers["content-security-policy"] == ("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                                                  "form-action 'none'; frame-ancestors 'none'")
    assert (headers["cache-control"], headers["x-content-type-options"], headers["referrer-policy"]) == (
        "no-store", "nosniff", "no-referrer")
    assert plain.get("/healthz")[::2] == (200, b"ok\n")
    length = plain.get("/healthz", method="HEAD")
    assert length[0] == 200 and length[1]["content-length"] == "3" and length[2] == b""
    for path, expected in (("/nothing", 404), ("/metrics/", 404), ("/../etc/passwd", 404), ("//", 404)):
        assert plain.get(path)[0] == expected
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "BREW"):
        assert plain.get("/metrics", method=method)[0] == 405
    assert plain.get("/", headers=["X: " + "y" * 9000])[0] == 431
    assert plain.get("/", headers=["Content-Length: 3"])[0] == 413
    assert plain.get("/", headers=["Broken header: x"])[0] == 400


def test_status_json_is_what_status_tells_and_more(plain):
    told = json.loads(plain.get("/status.json")[2])
    shown = plain.agent.json("status")
    assert set(told) == set(shown) | {"recent", "counts", "now"} and told["schema"] == 1
    assert [server["server"] for server in told["servers"]] == ["one"] and told["servers"][0]["interrupted_at"]
    assert told["exporter"]["https"] is False and told["exporter"]["client_certificates"] is False
    assert [job["command"] for job in told["recent"]] == ["resume"]
    assert f"metrics: listening, localhost port {plain.port}" in plain.agent.ok("status").out


def test_without_tls_a_page_of_another_name_reads_nothing(plain):
    """A browser may be made to ask 127.0.0.1 under any name; only names of this machine are answered."""
    for host in ("localhost", f"localhost:{plain.port}", "127.0.0.1", "[::1]:80"):
        assert plain.get("/status.json", host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{plain.port}", "localhost.evil.example", "10.1.2.3"):
        status, _, body = plain.get("/status.json", host=host)
        assert status == 421 and b"one" not in body


def test_a_connection_takes_one_request_after_the_other(plain):
    with plain.open() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
                           + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", read_all(connection)) == [b"200", b"200", b"200", b"404"]


def files_touched_by_scrapes(exporter, trace):
    """What supervisor and exporter themselves open, look at or start while somebody asks for everything."""
    pids = [str(exporter.agent.process.pid), str(exporter.worker)]
    tracer = subprocess.Popen(["strace", "-qq", "-e", "trace=%file,%process", "-o", trace, "-p", ",".join(pids)],
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: all("TracerPid:\t0" not in pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids), "traced")
        for path in ("/metrics", "/", "/status.json", "/healthz"):
            assert exporter.get(path)[0] == 200
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    return [line for line in trace.read_text().splitlines() if re.search(r"\b(open\w*|\w*stat\w*|exec\w+|clone3?|v?fork)\(", line)]


def test_a_scrape_opens_no_file_and_starts_no_survey(plain, tmp_path):
    if shutil.which("strace") is None or os.geteuid() != 0:
        pytest.skip("needs strace, and root to attach it")

    def survey():
        return json.loads(plain.get("/status.json")[2])["servers"][0]["survey"]

    def is_untouched():  # a survey of what others have asked for may come in between, once
        before = wait_for(lambda: survey()["running_since"] is None and survey()["at"], "no survey runs")
        return files_touched_by_scrapes(plain, tmp_path / "trace") == [] and survey()["at"] == before

    assert is_untouched() or is_untouched() or is_untouched()


# ---- who is let in ----


def test_who_has_no_good_certificate_gets_no_byte_of_http(https):
    """Refused in the handshake: nothing that is sent is read as HTTP, and nothing of it comes back."""
    assert https.is_answered()
    for pair in (None, https.pki.foreign, https.pki.expired):
        data = b""
        with pytest.raises(OSError):
            with https.open(pair) as connection:  # in TLS 1.3 the client is told after its own end of the handshake
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                data = connection.recv(65536)
                raise ConnectionResetError("closed without a word") if not data else AssertionError(data)
        assert data == b""
    for words in ("no connection: it has no certificate", "certificate has expired", "unable to get local issuer certificate"):
        wait_for(lambda: words in https.agent.log_text(), f"{words}; {https.agent.log_text()[-2000:]}")
    wait_for(lambda: https.status()["handshakes"]["refused"] >= 3, "counted")
    assert https.status()["client_certificates"] is True


def test_plain_http_at_the_tls_port_is_not_answered(https):
    with https.open(plain=True) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"pgcoffer" not in read_all(connection)
    wait_for(lambda: "it does not speak TLS" in https.agent.log_text(), "told in the log")


@pytest.mark.long
def test_renewed_files_are_taken_up_and_broken_ones_change_nothing(https):
    before = https.status()["certificate"]["fingerprint"]
    https.key.write_text("broken")
    fault = wait_for(lambda: https.status()["warning"], "the fault is told")
    assert "metrics_key_file" in fault["message"] and https.is_answered()
    renewed = https.pki.ca.issue("renewed", "metrics", "serverAuth", ("DNS:localhost",))
    renew(renewed.key, https.key)
    renew(renewed.certificate, https.certificate)
    wait_for(lambda: https.status()["certificate"]["fingerprint"] != before, "the new certificate is served")
    assert https.status()["warning"] is None and https.is_answered()


def test_another_ca_ends_who_came_by_the_old_one(https):
    """A connection that stays open is verified again, and no session is resumed."""
    kept = https.open(https.pki.prometheus)
    kept.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    renew(https.pki.other_ca.certificate, https.ca)
    try:
        wait_for(lambda: https.is_answered(https.pki.foreign), "the new CA's client is let in")
        with pytest.raises(OSError):
            kept.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if kept.recv(65536) == b"":
                raise ConnectionResetError
        assert not https.is_answered(https.pki.prometheus)
    finally:
        kept.close()
        renew(https.pki.ca.certificate, https.ca)
    wait_for(https.is_answered, "the old CA's client is let in again")


@pytest.mark.long
def test_half_open_and_slow_clients_are_given_up(https):
    started = time.monotonic()
    with https.open(plain=True) as half, https.open(https.pki.prometheus) as slow:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        slow.sendall(b"GET / HTTP/1.1\r\n")
        half.settimeout(20)
        assert half.recv(10) == b"" and 2 < time.monotonic() - started < 15
        try:
            while time.monotonic() - started < 20:  # a byte now and then is no excuse
                slow.sendall(b"X")
                time.sleep(0.5)
            pytest.fail("still being read")
        except OSError:
            assert time.monotonic() - started < 15


# ---- the crowd ----


def crowd(exporter, count):
    worker, strangers = exporter.worker, []
    try:
        for _ in range(count):
            strangers.append(exporter.open(plain=True))
        assert exporter.is_answered()
        assert resident_kilobytes(worker) < 600_000 and exporter.worker == worker
    finally:
        for stranger in strangers:
            stranger.close()


def test_idle_connections_do_not_keep_an_honest_scraper_out(https):
    crowd(https, 140)


@pytest.mark.long
def test_two_thousand_idle_connections_do_not_keep_an_honest_scraper_out(plain, https):
    for exporter in (plain, https):
        crowd(exporter, 2000)


@pytest.mark.long
def test_readers_that_do_not_read_keep_nobody_out(https):
    """More of them than there are places, with a good certificate, and each asks for much and takes nothing."""
    worker, readers = https.worker, []
    try:
        for _ in range(420):
            reader = https.open(https.pki.prometheus)
            reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60)
            readers.append(reader)
            if len(readers) % 60 == 0:
                assert https.is_answered()
        assert https.is_answered() and https.status()["connections"] <= 384
        assert resident_kilobytes(worker) < 800_000 and https.worker == worker
    finally:
        for reader in readers:
            reader.close()


# ---- life ----


def test_a_killed_exporter_comes_back(plain):
    os.kill(plain.worker, signal.SIGKILL)
    wait_for(plain.is_answered, "answered again")
    assert "the exporter worker ended by signal 9" in plain.agent.log_text()


@pytest.mark.long
def test_a_daemon_that_does_not_answer_is_told_so(plain):
    os.kill(plain.agent.process.pid, signal.SIGSTOP)
    try:
        status, _, body = plain.get("/healthz")
        assert status == 503 and b"does not say" in body
    finally:
        os.kill(plain.agent.process.pid, signal.SIGCONT)
    wait_for(plain.is_answered, "answered again")


def test_a_reload_turns_it_off_and_on_and_to_another_port(plain):
    first = plain.port
    plain.reload(metrics=0)
    wait_for(lambda: not plain.is_answered() and plain.worker is None, "off")
    assert plain.status() is None
    with socket.socket() as other:  # and at the next one somebody else is
        other.bind(("127.0.0.1", 0))
        other.listen()
        plain.port = other.getsockname()[1]
        plain.reload(metrics=plain.port)
        fault = wait_for(lambda: plain.status()["state"] == "waiting" and plain.status()["error"], "waiting")
        assert "could not bind the metrics port" in fault["message"] and "metrics" in fault["hint"]
        assert plain.agent.json("ping")
    wait_for(plain.is_answered, "tried again, and listening", 90)
    plain.port = first
    plain.reload(metrics=first)
    wait_for(plain.is_answered, "back")


@pytest.mark.parametrize("settings, words", (
    ({"metrics": 9187, "host": "0.0.0.0"}, "metrics_cert_file"),
    ({"metrics": 9187, "host": "backup.example.com", "metrics_cert_file": "/c", "metrics_key_file": "/k"}, "metrics_ca_file"),
    ({"metrics_cert_file": "/c"}, "metrics_key_file"),
    ({"metrics_ca_file": "/c"}, "metrics_cert_file"),
    ({"metrics_cert_file": "/c", "metrics_key_file": "/k", "metrics_ca_file": "system"}, "absolute path"),
))
def test_what_would_be_open_to_others_is_an_error_of_the_configuration(plain, tmp_path, settings, words):
    path = tmp_path / "pgcoffer.conf"
    path.write_text("[pgcoffer]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    done = subprocess.run([plain.agent.binaries / "pgcoffer", "-c", path, "config", "check"], capture_output=True, text=True)
    assert done.returncode == 3 and words in done.stderr
