"""Every failure says what, where, why and what to type next, ends with the right exit code, and loses nothing."""

import os
import subprocess

import pytest

from harness.restored import restore
from harness.scratch import OS_USER, free_port, give_to, make_folder, wait_for


def receiver_error(agent, server="primary"):
    return wait_for(lambda: agent.receiver(server)["error"], "an error is shown")


@pytest.fixture
def failing(make_agent, cluster):
    """failing(setting=value ...) gives the exit code and words of a backup with those settings."""
    def attempt(**settings):
        agent = make_agent().add_server("primary", cluster, **{"connect_timeout": 2, **settings}).start()
        result = agent.cli("backup", "primary", "--fast-checkpoint")
        words = receiver_error(agent)
        agent.stop()
        return result.code, result.err + str(words)
    return attempt


def test_wrong_host_port_and_user(failing, cluster):
    code, words = failing(host="nosuch.invalid")
    assert code == 5 and "nosuch.invalid" in words
    port = free_port()
    code, words = failing(port=port)
    assert code == 5 and str(port) in words and "refused" in words
    code, words = failing(user="nosuch")
    assert code == 5 and "pg_hba.conf" in words and "hostssl" in words and "nosuch" in words


def test_a_role_without_replication_and_no_free_walsender(failing, cluster):
    cluster.sql("ALTER ROLE repl NOREPLICATION")
    code, words = failing()
    assert code == 5 and "REPLICATION" in words and "ALTER ROLE" in words
    cluster.sql("ALTER ROLE repl REPLICATION")
    cluster.configure("max_wal_senders = 0")
    cluster.restart()
    code, words = failing()
    assert code == 5 and "max_wal_senders" in words


def test_certificates_that_do_not_fit(failing, pki, folder, cluster):
    foreign = pki.other_ca.issue("foreign", "repl", "clientAuth", folder=folder / "c")
    code, words = failing(tls_cert_file=foreign.certificate, tls_key_file=foreign.key)
    assert code == 6 and str(foreign.certificate) in words and "CN=repl" in words

    expired = pki.client_ca.issue("expired", "repl", "clientAuth", not_after="20210101000000Z", folder=folder / "c")
    code, words = failing(tls_cert_file=expired.certificate, tls_key_file=expired.key)
    assert code == 6 and "expired" in words and "2021-01-01" in words and str(expired.certificate) in words

    code, words = failing(tls_key_file=foreign.key)
    assert code == 6 and str(foreign.key) in words and "were made for different keys" in words

    code, words = failing(tls_cert_file="/nonexistent/repl.crt")
    assert code == 6 and "/nonexistent/repl.crt" in words

    open_key = folder / "open.key"
    open_key.write_bytes(pki.client.key.read_bytes())
    give_to(open_key)
    open_key.chmod(0o644)
    code, words = failing(tls_key_file=open_key)
    assert code == 6 and str(open_key) in words and "chmod" in words and "0644" in words

    locked = folder / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", pki.client.key, "-aes256", "-passout", "pass:x", "-out", locked], check=True)
    give_to(locked)
    locked.chmod(0o600)
    code, words = failing(tls_key_file=locked)
    assert code == 6 and "passphrase" in words and str(locked) in words

    code, words = failing(tls_ca_file=pki.other_ca.certificate)
    assert code == 6 and str(pki.other_ca.certificate) in words and "CN=localhost" in words

    other = pki.client_ca.issue("other", "somebody", "clientAuth", folder=folder / "c")
    code, words = failing(tls_cert_file=other.certificate, tls_key_file=other.key)
    assert code == 6 and "CN=somebody" in words and "repl" in words


def test_a_server_certificate_for_another_name_or_expired(make_cluster, make_agent, pki, folder):
    for stem, names, dates, wanted in (
            ("elsewhere", ("DNS:db1.example.com",), {}, ("localhost", "db1.example.com")),
            ("old", ("DNS:localhost",), {"not_after": "20210101000000Z"}, ("expired", "2021-01-01"))):
        pair = pki.server_ca.issue(stem, names[0][4:], "serverAuth", names, folder=folder / "s", **dates)
        cluster = make_cluster(stem).start().create_role()
        for source, name in ((pair.certificate, "server.crt"), (pair.key, "server.key")):
            (cluster.folder / "tls" / name).write_bytes(source.read_bytes())
        cluster.restart()
        agent = make_agent(f"agent-{stem}").add_server("primary", cluster).start()
        result = agent.cli("backup", "primary")
        assert result.code == 6, result
        for word in wanted:
            assert word in result.err, result
        agent.stop()


def test_passwords_only_on_a_bound_channel(make_cluster, make_agent, folder):
    cluster = make_cluster(hba="local all postgres trust\nhostssl replication repl 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
                               "hostssl replication repl ::1/128 scram-sha-256 clientcert=verify-ca\n")
    cluster.start()
    cluster.sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE repl LOGIN REPLICATION PASSWORD 'secret word'")
    passwords = folder / "pgpass"
    passwords.write_text(f"localhost:{cluster.port}:*:repl:secret word\n")
    give_to(passwords).chmod(0o600)
    agent = make_agent().add_server("primary", cluster).start()
    error = receiver_error(agent)
    assert error["kind"] == "server" and "password_file" in error["hint"]
    agent.stop()
    agent.add_server("primary", cluster, password_file=passwords).start()
    agent.wait_streaming("primary")
    agent.backup("primary")
    assert "secret word" not in agent.log_text()


def test_libpqs_ambient_state_is_shut_out(make_agent, cluster, folder):
    agent = make_agent().add_server("primary", cluster)
    agent.environment = {"PGSSLMODE": "disable", "PGHOST": "192.0.2.1", "PGPORT": "1", "PGSSLCERT": "/nonexistent", "PGUSER": "nobody",
                         "PGSERVICE": "nosuch", "PGOPTIONS": "-c nonsense=1", "PGSSLROOTCERT": "/nonexistent"}
    agent.start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"


def test_bad_page_checksums_are_recorded_and_reported(agent, cluster, folder):
    cluster.sql("CREATE TABLE broken AS SELECT generate_series(1, 10000) AS n")
    cluster.sql("CHECKPOINT")
    path = cluster.data / cluster.sql("SELECT pg_relation_filepath('broken')")
    cluster.stop("fast")
    with open(path, "r+b") as file:
        file.seek(8192 * 3 + 4000)
        file.write(b"damage")
    cluster.start()
    agent.wait_streaming("primary")
    result = agent.cli("backup", "primary", "--fast-checkpoint")
    assert result.code == 7 and "checksum" in result.err, result
    (row,) = agent.json("list", "primary")["servers"][0]["backups"]
    assert row["state"] == "damaged"
    assert any("checksum verification failed" in text for text in agent.json("show", "primary", row["id"])["notices"])
    assert restore(agent, folder / "target", code=2).err, "it is never latest"


def test_a_full_repository_disk_in_backup_and_stream(make_agent, cluster, folder, pki):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = make_folder(folder / "small", 0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700,uid=%d" % place.stat().st_uid, "tmpfs", place])
    if mounted.returncode != 0:
        pytest.skip("no mount here")
    try:
        agent = make_agent()
        agent.daemon_settings["base_dir"] = place
        agent.base = place
        agent.add_server("primary", cluster, wal_reserve=0).start()
        agent.wait_streaming("primary")
        cluster.sql("CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) AS t FROM generate_series(1, 400000)")
        full = receiver_error(agent)
        assert full["kind"] == "storage" and str(place) in full["message"] + full["detail"]
        result = agent.cli("backup", "primary", "--fast-checkpoint")
        assert result.code == 9, result
        subprocess.run(["mount", "-o", "remount,size=400m", place], check=True)
        agent.wait_streaming("primary", 30)
        agent.wait_flushed("primary", cluster.sql("SELECT pg_current_wal_lsn()::text"))
        assert agent.json("wal", "status", "primary")["gaps"] == []
        assert agent.backup("primary")["state"] == "complete"
        agent.ok("verify")
        agent.stop()
    finally:
        agent.close()
        subprocess.run(["umount", "-l", place], check=True)


def test_restore_refuses_before_the_first_byte(agent, cluster, folder):
    agent.backup("primary")
    full = make_folder(folder / "full")
    (full / "precious").write_text("x")
    refused = restore(agent, full, code=2)
    assert "precious" in refused.err and sorted(path.name for path in full.iterdir()) == ["precious"]
    for words, code, wanted in ((("--target-time", "2001-01-01 00:00:00+00"), 2, "2001"),
                                (("--target-time", "2099-01-01 00:00:00+00"), 2, "2099"),
                                (("--target-lsn", "FF/0"), 2, "FF/0"), (("--target-lsn", "0/10"), 2, "0/10"),
                                (("--target-timeline", "7"), 2, "7"), (("--target-time", "yesterday-ish"), 2, "yesterday-ish"),
                                (("--target-lsn", "0/10", "--target-immediate"), 2, "target")):
        refused = restore(agent, folder / "new", *words, code=code)
        assert wanted in refused.err, (words, refused)
        assert not (folder / "new").exists(), words
    assert restore(agent, folder / "new", "20200101T000000Z", code=2).err
    if OS_USER is not None:
        refused = agent.cli("restore", "primary", "--target-directory", folder / "new", user="root")
        assert refused.code == 2 and "--owner" in refused.err, refused


def test_root_restores_as_the_owner_it_names(agent, cluster, folder):
    if OS_USER is None:
        pytest.skip("needs root")
    agent.backup("primary")
    restore(agent, folder / "owned", "--owner", "postgres", user="root")
    assert {path.owner() for path in (folder / "owned").rglob("*")} == {"postgres"}
    agent.stop()
    restore(agent, folder / "direct", "--direct", "--owner", "postgres", user="root")
    assert {path.owner() for path in (folder / "direct").rglob("*")} == {"postgres"}


def test_old_recovery_settings_are_replaced(agent, cluster, folder):
    cluster.sql("ALTER SYSTEM SET recovery_target_time = '2001-01-01 00:00:00+00'")
    cluster.sql("ALTER SYSTEM SET restore_command = '/bin/false'")
    cluster.sql("ALTER SYSTEM SET recovery_end_command = 'touch /tmp/never'")
    cluster.sql("ALTER SYSTEM SET work_mem = '5MB'")
    agent.backup("primary")
    restore(agent, folder / "target")
    text = (folder / "target" / "postgresql.auto.conf").read_text()
    assert "2001" not in text and "/bin/false" not in text and "never" not in text and "work_mem" in text
    assert text.count("restore_command") == 1 and "recovery_target_timeline" in text and "archive_mode" in text
    assert (folder / "target" / "recovery.signal").exists()


def test_usage_and_configuration_errors(make_agent, folder, cluster):
    agent = make_agent().add_server("primary", cluster)
    assert agent.cli("ping").code == 4
    assert agent.cli("bakcup", "primary").code == 2 and "backup" in agent.cli("bakcup").err
    assert agent.cli("list", "--nosuch").code == 2
    assert agent.cli("backup").code == 2
    text = agent.configuration.read_text()
    for wrong, right in (("hots = localhost", "host"), ("port = 0", "1"), ("port = 5432", "twice"), ("tls_mode = verify", "verify-ca")):
        agent.configuration.write_text(text + wrong + "\n")
        result = agent.cli("config", "check")
        line = len(text.splitlines()) + 1
        assert result.code == 3 and f"{agent.configuration}:{line}" in result.err and right in result.err, (wrong, result)
    agent.configuration.write_text(text)
    assert agent.cli("config", "check").code == 0
    assert agent.cli("config", "check", "--config", folder / "absent.conf").code == 3
    shown = agent.json("config", "show")
    assert "settings" in shown
    sample = agent.ok("config", "sample").out
    assert sample == (__import__("pathlib").Path(__file__).parents[2] / "conf" / "pgcoffer.conf").read_text()
    agent.start()
    unknown = agent.cli("backup", "primry")
    assert unknown.code == 2 and "primary" in unknown.err, unknown
    assert agent.cli("show", "primary", "20200101T000000Z").code == 2
    assert agent.cli("follow", "999").code == 2
