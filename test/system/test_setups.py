"""The TLS set-ups that public tutorials describe work with the agent, as far as they are sound; where they are not, it says why."""

import shutil

import pytest

from harness.certificates import Authority, openssl
from harness.scratch import give_to, make_folder, wait_for

REPLICATION = "local all postgres trust\nhostssl replication repl 127.0.0.1/32 {method}\nhostssl replication repl ::1/128 {method}\n"


@pytest.fixture
def serve(make_cluster, folder):
    """serve(certificate, key, ca, method) starts a server with these files and that line in pg_hba.conf."""
    def start(certificate, key, ca, method, name="server", password=None, ident=None):
        cluster = make_cluster(name, hba=REPLICATION.format(method=method))
        for source, place in ((certificate, "server.crt"), (key, "server.key"), (ca, "root.crt")):
            shutil.copyfile(source, cluster.folder / "tls" / place)
        if ident is not None:
            cluster.write("pg_ident.conf", ident)
        cluster.start()
        cluster.sql("CREATE ROLE repl LOGIN REPLICATION" + (f" PASSWORD '{password}'" if password else ""))
        return cluster
    return start


def key_pair(folder, subject, *words):
    """A self-signed certificate, as `openssl req -x509` makes it."""
    make_folder(folder, 0o755)
    openssl("req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "3650", "-subj", subject, "-keyout", folder / "server.key",
            "-out", folder / "server.crt", *words)
    return folder / "server.crt", folder / "server.key"


def client_of(folder, ca, ca_key, subject):
    """A client certificate of version 1 without extensions, as `openssl x509 -req` without a file of extensions makes it."""
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "client.key")
    openssl("req", "-new", "-sha256", "-key", folder / "client.key", "-out", folder / "client.csr", "-subj", subject)
    openssl("x509", "-req", "-in", folder / "client.csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out",
            folder / "client.crt", "-days", "3650", "-sha256")
    (folder / "client.key").chmod(0o600)
    give_to(folder / "client.key")
    return folder / "client.crt", folder / "client.key"


def password_file(folder, cluster, password):
    path = folder / "pgpass"
    path.write_text(f"localhost:{cluster.port}:replication:repl:{password}\n")
    path.chmod(0o600)
    return give_to(path)


def test_the_server_certificate_as_ca_and_scram_with_clientcert_verify_ca(serve, make_agent, folder):
    """The pgmoneta and pgexporter tutorials: root.crt is server.crt, client certificate CN=repl of version 1, and a password."""
    certificate, key = key_pair(folder / "c", "/CN=localhost")
    client, client_key = client_of(folder / "c", certificate, key, "/CN=repl")
    cluster = serve(certificate, key, certificate, "scram-sha-256 clientcert=verify-ca", password="a secret")
    agent = make_agent().add_server("primary", cluster, tls_cert_file=client, tls_key_file=client_key, tls_ca_file=certificate,
                                    password_file=password_file(folder, cluster, "a secret"))
    agent.start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"


def test_a_server_certificate_without_any_name_needs_verify_ca_and_that_is_said(serve, make_agent, folder):
    """Enter, Enter, Enter: no CN, no alternative name. verify-full cannot work; verify-ca can."""
    certificate, key = key_pair(folder / "c", "/O=Internet Widgits Pty Ltd")
    client, client_key = client_of(folder / "c", certificate, key, "/CN=repl")
    cluster = serve(certificate, key, certificate, "cert")
    files = {"tls_cert_file": client, "tls_key_file": client_key, "tls_ca_file": certificate}
    agent = make_agent().add_server("primary", cluster, **files).start()
    error = wait_for(lambda: agent.receiver("primary")["error"], "an error is shown")
    words = str(error)
    assert error["kind"] == "tls" and "localhost" in words and "subjectAltName" in words, words
    agent.stop()
    agent.add_server("primary", cluster, tls_mode="verify-ca", **files).start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"


def test_own_ca_alternative_names_and_a_map_from_certificate_to_role(serve, make_agent, folder, pki):
    """CN "PostgreSQL client1" becomes the role repl by a line in pg_ident.conf."""
    ca = Authority(folder / "ca", "own root")
    server = ca.issue("server", "localhost", "serverAuth", ("DNS:localhost", "DNS:pgsql.example.com"))
    client = ca.issue("client1", "PostgreSQL client1", "clientAuth")
    cluster = serve(server.certificate, server.key, ca.certificate, "cert map=certificates",
                    ident='certificates "PostgreSQL client1" repl\n')
    agent = make_agent().add_server("primary", cluster, tls_cert_file=client.certificate, tls_key_file=client.key,
                                    tls_ca_file=ca.certificate).start()
    agent.wait_streaming("primary")
    assert agent.backup("primary")["state"] == "complete"


def test_a_leaf_below_an_intermediate_as_public_authorities_issue_it(serve, make_agent, folder, pki):
    """fullchain.pem on the server, the root alone with the agent; links as certbot keeps them."""
    root = Authority(folder / "ca", "own root")
    make_folder(folder / "i", 0o755)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=intermediate", "-keyout",
            folder / "i" / "intermediate.key", "-out", folder / "i" / "intermediate.csr")
    (folder / "i" / "ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
    openssl("x509", "-req", "-in", folder / "i" / "intermediate.csr", "-CA", root.certificate, "-CAkey", root.key, "-CAcreateserial",
            "-days", "365", "-extfile", folder / "i" / "ext", "-out", folder / "i" / "intermediate.crt")
    root.certificate, root.key, only_root = folder / "i" / "intermediate.crt", folder / "i" / "intermediate.key", root.certificate
    server = root.issue("server", "localhost", "serverAuth", ("DNS:localhost",))
    chain = folder / "i" / "fullchain.pem"
    chain.write_text(server.certificate.read_text() + (folder / "i" / "intermediate.crt").read_text())
    cluster = serve(chain, server.key, pki.client_ca.certificate, "cert")
    link = folder / "root.pem"
    link.symlink_to(only_root)
    agent = make_agent().add_server("primary", cluster, tls_ca_file=link).start()
    agent.wait_streaming("primary")
    agent.stop()

    # Only the leaf is served: the chain breaks, and the message says what is missing.
    shutil.copyfile(server.certificate, cluster.folder / "tls" / "server.crt")
    cluster.restart()
    agent.start()
    error = wait_for(lambda: agent.receiver("primary")["error"], "an error is shown")
    assert error["kind"] == "tls" and "intermediate" in str(error), error
