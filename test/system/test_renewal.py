"""Certificates over time: renewed under a running stream, broken and mended, served anew, and about to end."""

import datetime
import os
import shutil

import pytest

from harness.scratch import give_to, make_folder, run, wait_for
from harness.waldump import assert_wal_reads

RENEWED = "the client certificate was renewed"
NOT_USED = "the stream goes on without the changed"
SERVED_ANEW = "the server's certificate is another one"


class Files:
    """The agent's own tls_cert_file and tls_key_file, to be replaced in every way that programs do it."""

    def __init__(self, folder, pki):
        self.folder = make_folder(folder, 0o700)
        self.pki = pki
        self.certificate, self.key = self.folder / "repl.crt", self.folder / "repl.key"
        self.authorities = self.folder / "root.crt"
        self.count = 0
        self.put(pki.client)
        self.trust(pki.server_ca)

    def put(self, pair):
        """Both renamed into place, one after the other."""
        for source, target in ((pair.certificate, self.certificate), (pair.key, self.key)):
            if source is not None:
                os.replace(self.copy(source, target.with_suffix(target.suffix + ".new")), target)

    def trust(self, *authorities):
        self.authorities.write_text("".join(each.certificate.read_text() for each in authorities))
        give_to(self.authorities)

    @staticmethod
    def copy(source, target):
        shutil.copy(source, target)
        target.chmod(0o600)
        return give_to(target)

    def write_in_place(self, pair):
        for source, target in ((pair.certificate, self.certificate), (pair.key, self.key)):
            target.write_bytes(source.read_bytes())

    def make(self, common_name="repl", authority=None, **rest):
        self.count += 1
        stem = f"{self.folder.parent.name}-{self.count}"
        return (authority or self.pki.client_ca).issue(stem, common_name, "clientAuth",
                                                       folder=self.folder / "made", **rest)

    @property
    def settings(self):
        return {"tls_cert_file": self.certificate, "tls_key_file": self.key, "tls_ca_file": self.authorities}


def fingerprint(certificate):
    return run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", certificate], user=None).stdout.split("=")[1].strip()


def serial(certificate):
    return int(run(["openssl", "x509", "-noout", "-serial", "-in", certificate], user=None).stdout.split("=")[1], 16)


def stream(cluster):
    """pid and client certificate's serial of the WAL sender that streams."""
    rows = cluster.rows("SELECT pid, client_serial::text FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
                        " WHERE state = 'streaming'")
    return (rows[0][0], int(rows[0][1])) if len(rows) == 1 else None


def lsn(cluster):
    return cluster.sql("SELECT pg_current_wal_lsn()::text")


def lines(agent, *words):
    return [line for line in agent.log_text().splitlines() if all(word in line for word in words)]


def wait_renewed(agent, cluster, certificate):
    wait_for(lambda: (stream(cluster) or (0, 0))[1] == serial(certificate),
             f"the stream uses {certificate}; {agent.log_text()[-3000:]}")
    row = agent.wait_streaming("primary")
    assert row["certificate"]["fingerprint"] == fingerprint(certificate)
    assert row["error"] is None and row["warning"] is None, row
    return row


@pytest.fixture
def files(folder, pki):
    return Files(folder / "tls", pki)


@pytest.fixture
def renewable(make_agent, cluster, files):
    agent = make_agent().add_server("primary", cluster, **files.settings).start()
    agent.wait_streaming("primary")
    return agent


def test_a_certificate_renewed_under_load_is_taken_up_without_a_gap(renewable, cluster, files, folder):
    agent = renewable
    cluster.pgbench("-i", "-s", "1", "-q")
    load = cluster.pgbench("-c", "2", "-T", "60", wait=False)
    before = agent.receiver("primary")
    former = files.certificate.read_bytes()
    assert before["certificate"]["subject"] == "CN=repl" and before["certificate"]["not_after"].endswith("Z")
    for number in range(3):
        old, renewed = fingerprint(files.certificate), files.make()
        (files.write_in_place if number == 1 else files.put)(renewed)
        row = wait_renewed(agent, cluster, renewed.certificate)
        assert row["reconnects"] == before["reconnects"]
        (line,) = lines(agent, RENEWED, f"{old} -> {fingerprint(renewed.certificate)}")
        assert 'subject "CN=repl"' in line and row["certificate"]["not_after"] in line
    assert files.certificate.read_bytes() != former
    for words in ("FATAL:", "ERROR:", "could not", "unexpected EOF"):
        assert words not in cluster.log_text(), cluster.log_text()
    load.kill()
    load.wait(30)
    agent.wait_flushed("primary", lsn(cluster))
    assert agent.json("wal", "status", "primary")["gaps"] == []
    assert not lines(agent, " warning ") and not lines(agent, " error "), agent.log_text()
    cluster.stop("fast")
    assert_wal_reads(agent, "primary", folder / "wal")


@pytest.mark.parametrize("version", [13, 18])
def test_other_versions_end_the_stream_in_order_too(version, make_cluster, make_agent, files):
    cluster = make_cluster(version=version).start().create_role()
    agent = make_agent().add_server("primary", cluster, **files.settings).start()
    agent.wait_streaming("primary")
    renewed = files.make()
    files.put(renewed)
    assert wait_renewed(agent, cluster, renewed.certificate)["reconnects"] == 0
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    assert not lines(agent, " warning ") and "is active for PID" not in cluster.log_text(), cluster.log_text()


def test_a_synchronous_standby_stays_one_over_a_renewal(renewable, cluster, files):
    """Commits wait for the agent's flush, and none fails or waits long."""
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'pgcoffer'")
    cluster.sql("SELECT pg_reload_conf()")
    cluster.sql("CREATE TABLE t (n int)")
    wait_for(lambda: cluster.sql("SELECT sync_state FROM pg_stat_replication") == "sync", "synchronous")
    renewed = files.make()
    files.put(renewed)
    longest, number = datetime.timedelta(), 0
    connection = cluster.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '10s'")
        while (stream(cluster) or (0, 0))[1] != serial(renewed.certificate):
            number += 1
            assert number < 10000
            started = datetime.datetime.now()
            cursor.execute("INSERT INTO t VALUES (1)")
            longest = max(longest, datetime.datetime.now() - started)
    connection.close()
    assert longest < datetime.timedelta(seconds=5), longest
    renewable.wait_flushed("primary", lsn(cluster))


def breakages(files, pki):
    """What can be wrong with a renewal, a piece of what is said about it, and the check that tells it."""
    def truncated():
        whole = files.make().certificate
        whole.write_bytes(whole.read_bytes()[:300])
        return whole
    past = {"not_before": "20200101000000Z", "not_after": "20210101000000Z"}
    yield lambda: os.replace(files.copy(truncated(), files.folder / "half"), files.certificate), "repl.crt", "file.certificate"
    yield lambda: os.replace(files.copy(files.make().key, files.folder / "k"), files.key), "repl.key", "key.match"
    yield lambda: os.replace(files.copy(files.make().certificate, files.folder / "c"), files.certificate), "repl.key", "key.match"
    yield lambda: files.put(files.make(**past)), "2021-01-01", "expiry.client"
    yield lambda: files.put(files.make(authority=pki.other_ca)), "pgcoffer foreign CA", "identity.chain"
    yield lambda: files.put(files.make(common_name="somebody")), "somebody", "identity.common_name"
    yield lambda: files.trust(pki.other_ca), "pgcoffer test server CA", "chain.server"
    yield lambda: files.authorities.write_text("nothing"), "root.crt", "file.ca"
    yield files.key.unlink, "repl.key", "file.key"
    yield lambda: files.key.chmod(0o644), "repl.key", "key.mode"
    yield lambda: files.folder.chmod(0o000), "ermission denied", "file.ca"


def test_a_broken_one_changes_nothing_but_the_warning_and_is_taken_up_once_mended(renewable, cluster, files, pki):
    agent = renewable
    for break_it, words, check in breakages(files, pki):
        known = len(lines(agent, NOT_USED))
        running, since = stream(cluster), agent.receiver("primary")["since"]
        break_it()
        row = wait_for(lambda: (lambda it: it if it["warning"] else None)(agent.receiver("primary")), f"a warning of {check}")
        assert row["state"] == "streaming" and row["error"] is None and row["since"] == since, (check, row)
        assert row["warning"]["check"] == check, row["warning"]
        assert words in row["warning"]["message"] + row["warning"]["detail"], row["warning"]
        assert row["warning"]["hint"] != "", row["warning"]
        assert stream(cluster) == running, check
        assert "warning: the stream goes on" in agent.ok("status").out, check
        cluster.sql("SELECT pg_switch_wal()")
        agent.wait_flushed("primary", lsn(cluster))
        assert len(lines(agent, NOT_USED)) == known + 1, agent.log_text()
        files.folder.chmod(0o700)
        files.trust(pki.server_ca)
        mended = files.make()
        files.put(mended)
        wait_renewed(agent, cluster, mended.certificate)
        assert len(lines(agent, NOT_USED)) == known + 1, agent.log_text()
    assert not lines(agent, " error "), agent.log_text()


def test_a_certificate_that_the_server_learns_to_trust_later_is_taken_up_by_a_reload(renewable, cluster, files, pki):
    early = files.make(authority=pki.other_ca)
    files.put(early)
    wait_for(lambda: renewable.receiver("primary")["warning"], "a warning")
    with open(cluster.folder / "tls" / "root.crt", "a") as file:
        file.write(pki.other_ca.certificate.read_text())
    cluster.reload()
    wait_for(lambda: renewable.ok("reload") and (stream(cluster) or (0, 0))[1] == serial(early.certificate), "taken up", pause=0.5)
    wait_renewed(renewable, cluster, early.certificate)


def test_a_changed_ca_or_revocation_list_is_proved_and_taken_up_too(make_agent, cluster, files, pki, folder):
    listed = files.folder / "root.crl"
    store = pki.server_ca.folder
    (store / "index.txt").touch()
    (store / "list.cnf").write_text(f"[ca]\ndefault_ca=it\n[it]\ndatabase={store}/index.txt\ndefault_md=sha256\n"
                                    "default_crl_days=30\n")

    def make_list():
        run(["openssl", "ca", "-gencrl", "-config", store / "list.cnf", "-cert", pki.server_ca.certificate, "-keyfile",
             pki.server_ca.key, "-out", folder / "new.crl"], user=None)
        give_to(folder / "new.crl")
        os.replace(folder / "new.crl", listed)

    make_list()
    agent = make_agent().add_server("primary", cluster, **files.settings, tls_crl_file=listed).start()
    agent.wait_streaming("primary")
    files.trust(pki.server_ca, pki.other_ca)
    wait_for(lambda: lines(agent, "connected with the changed tls_ca_file"), "the CA is taken up")
    listed.write_text("nothing")
    warning = wait_for(lambda: agent.receiver("primary")["warning"], "a warning")
    assert warning["check"] == "file.crl" and str(listed) in warning["message"], warning
    make_list()
    wait_for(lambda: lines(agent, "connected with the changed tls_crl_file"), "the list is taken up")
    row = agent.wait_streaming("primary")
    assert row["warning"] is None and row["reconnects"] == 0
    assert len(lines(agent, " warning ")) == 1 and not lines(agent, RENEWED), agent.log_text()


def test_the_former_files_put_back_end_the_warning_and_not_the_stream(renewable, cluster, files):
    running = stream(cluster)
    good = files.key.read_bytes()
    files.key.write_bytes(files.make().key.read_bytes())
    wait_for(lambda: renewable.receiver("primary")["warning"], "a warning")
    files.key.write_bytes(good)
    wait_for(lambda: renewable.receiver("primary")["warning"] is None, "no warning")
    assert stream(cluster) == running
    assert len(lines(renewable, "the TLS files are good again")) == 1


def test_what_certbot_and_kubernetes_do_with_links_is_seen(make_agent, cluster, files, folder):
    live, archive = make_folder(folder / "live" / "agent", 0o700), make_folder(folder / "archive" / "agent", 0o700)
    settings = {"tls_cert_file": live / "fullchain.pem", "tls_key_file": live / "privkey.pem"}

    def renew(number):
        made = files.make()
        for name, source in (("fullchain", made.certificate), ("privkey", made.key)):
            files.copy(source, archive / f"{name}{number}.pem")
        for name in ("privkey", "fullchain"):  # certbot removes the link and makes it anew
            (live / f"{name}.pem").unlink(missing_ok=True)
            (live / f"{name}.pem").symlink_to(f"../../archive/agent/{name}{number}.pem")
        return made.certificate

    renew(1)
    agent = make_agent().add_server("primary", cluster, **settings).start()
    agent.wait_streaming("primary")
    wait_renewed(agent, cluster, renew(2))
    mounted = make_folder(folder / "mounted", 0o700)

    def renew_mounted(number):
        made, place = files.make(), make_folder(mounted / f"..{number}", 0o700)
        files.copy(made.certificate, place / "tls.crt")
        files.copy(made.key, place / "tls.key")
        (mounted / "..data_tmp").symlink_to(place.name)
        os.replace(mounted / "..data_tmp", mounted / "..data")
        return made.certificate

    renew_mounted(1)
    for name in ("tls.crt", "tls.key"):
        (mounted / name).symlink_to(f"..data/{name}")
    agent.servers["primary"].update({"tls_cert_file": mounted / "tls.crt", "tls_key_file": mounted / "tls.key"})
    agent.write_configuration()
    agent.ok("reload")
    wait_renewed(agent, cluster, mounted / "tls.crt")
    wait_renewed(agent, cluster, renew_mounted(2))


def test_a_touch_changes_nothing_and_an_idle_receiver_uses_no_processor_time(renewable, cluster, files):
    running = stream(cluster)
    (pid,) = renewable.worker_pids("receive")
    wait_for(lambda: lines(renewable, "the server's certificate:"), "the first look")
    log = renewable.log_text()

    def ticks():
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return int(words[11]) + int(words[12])

    files.certificate.touch()
    files.put(files.pki.client)
    cluster.sql("SELECT pg_sleep(3)")
    used = ticks()
    cluster.sql("SELECT pg_sleep(3)")
    assert ticks() - used <= 2
    assert stream(cluster) == running and renewable.log_text() == log


def replace_server_certificate(cluster, pair):
    for source, name in ((pair.certificate, "server.crt"), (pair.key, "server.key")):
        Files.copy(source, cluster.folder / "tls" / name)
    cluster.reload()


def test_a_certificate_that_postgresql_takes_up_by_a_reload_is_noticed(agent, cluster, pki, folder):
    def issue(stem, authority=pki.server_ca):
        return authority.issue(stem, "localhost", "serverAuth", ("DNS:localhost", "IP:127.0.0.1"), folder=folder / "made")

    running = stream(cluster)
    first = agent.receiver("primary")["server_certificate"]
    assert first["fingerprint"] == fingerprint(pki.server.certificate) and first["subject"] == "CN=localhost"
    second = issue("second")
    replace_server_certificate(cluster, second)
    wait_for(lambda: agent.ok("reload") and lines(agent, SERVED_ANEW), "the new certificate is noticed", pause=0.5)
    (line,) = lines(agent, SERVED_ANEW)
    assert f'{first["fingerprint"]} -> {fingerprint(second.certificate)}' in line and 'subject "CN=localhost"' in line
    assert agent.receiver("primary")["server_certificate"]["not_after"] in line
    assert agent.receiver("primary")["server_certificate"]["fingerprint"] == fingerprint(second.certificate)
    assert stream(cluster) == running, "it was noticed without a reconnect"
    agent.stop()
    third = issue("third")
    replace_server_certificate(cluster, third)
    agent.start()
    agent.wait_streaming("primary")
    wait_for(lambda: len(lines(agent, SERVED_ANEW)) == 2, "noticed after a restart of the daemon")
    assert f"{fingerprint(second.certificate)} -> {fingerprint(third.certificate)}" in lines(agent, SERVED_ANEW)[1]
    agent.stop()
    agent.start()
    agent.wait_streaming("primary")
    running = stream(cluster)
    replace_server_certificate(cluster, issue("stranger", pki.other_ca))
    warning = wait_for(lambda: agent.ok("reload") and agent.receiver("primary")["warning"], "a warning", pause=0.5)
    assert "a new connection would fail" in warning["message"] and "pgcoffer foreign CA" in str(warning), warning
    assert warning["check"] == "chain.server"
    assert stream(cluster) == running and agent.receiver("primary")["state"] == "streaming"
    assert len(lines(agent, SERVED_ANEW)) == 2, "what is not trusted is not taken for the server's"
    replace_server_certificate(cluster, third)
    wait_for(lambda: agent.ok("reload") and agent.receiver("primary")["warning"] is None, "no warning", pause=0.5)
    assert len(lines(agent, "a new connection would fail")) == 1


def reconnect(agent, cluster):
    before = stream(cluster)
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    wait_for(lambda: stream(cluster) not in (None, before), "streaming again")
    agent.wait_streaming("primary")


def test_what_ends_soon_is_told_once_and_not_at_each_reconnect(make_agent, make_cluster, files, pki, folder):
    cluster = make_cluster().start().create_role()
    replace_server_certificate(cluster, pki.server_ca.issue("short", "localhost", "serverAuth", ("DNS:localhost",), days=10,
                                                            folder=folder / "made"))
    files.put(files.make(days=2))
    agent = make_agent().add_server("primary", cluster, **files.settings).start()
    agent.wait_streaming("primary")
    wait_for(lambda: lines(agent, "as served at", "ends on") and lines(agent, str(files.certificate), "ends on"), "both are told")
    for _ in range(3):
        reconnect(agent, cluster)
    agent.ok("reload")
    cluster.sql("SELECT pg_sleep(2)")
    (served,) = lines(agent, "as served at", "ends on")
    (ours,) = lines(agent, str(files.certificate), "ends on")
    assert " warning " in served and "localhost" in served and "in 9 days" in served and "pg_reload_conf" in served
    assert " error " in ours and "CN=repl" in ours and "hours" in ours
    assert not lines(agent, "pgcoffer test server CA", "ends on"), "the CA lasts for years"
    agent.stop()
    agent.start()
    wait_for(lambda: len(lines(agent, "as served at", "ends on")) == 2, "told again by the next daemon")


def test_a_stream_goes_on_when_its_certificate_ends_and_says_so(make_agent, cluster, files):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=12)
    files.put(files.make(not_after=end.strftime("%Y%m%d%H%M%SZ")))
    agent = make_agent().add_server("primary", cluster, **files.settings, expiry_critical_days=0).start()
    agent.wait_streaming("primary")
    running = stream(cluster)
    wait_for(lambda: lines(agent, " warning ", "ends on"), "the end is announced")
    (line,) = wait_for(lambda: lines(agent, " error ", "ended on"), "the end is told at once", 30)
    assert str(files.certificate) in line
    cluster.sql("SELECT pg_switch_wal()")
    agent.wait_flushed("primary", lsn(cluster))
    assert stream(cluster) == running
    renewed = files.make()
    files.put(renewed)
    wait_renewed(agent, cluster, renewed.certificate)


def test_a_failed_connection_names_the_check(make_agent, cluster, files):
    files.put(files.make(not_before="20200101000000Z", not_after="20210101000000Z"))
    agent = make_agent().add_server("primary", cluster, **files.settings).start()
    error = wait_for(lambda: agent.receiver("primary")["error"], "an error")
    assert error["kind"] == "tls" and error["check"] == "expiry.client", error
    refused = agent.cli("backup", "primary")
    assert refused.code == 6 and "expired on 2021-01-01" in refused.err and str(files.certificate) in refused.err, refused
    assert agent.json("jobs")["jobs"][0]["error"]["check"] == "expiry.client"
    files.put(files.make())
    agent.wait_streaming("primary")
