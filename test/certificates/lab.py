"""One PostgreSQL whose TLS, pg_hba.conf and roles a case may spoil, and `pgcoffer check` without daemon or configuration."""

import os
import socket
import subprocess

import pytest

from cases import CERT
from harness.agent import Result
from harness.cluster import Cluster
from harness.scratch import as_user, give_to, make_folder, wait_for

OWN = ("local all postgres trust", "local replication postgres trust")
PASSWORD = "correct horse"


def loopback_addresses():
    """Those this machine has: a container may be without IPv6."""
    addresses = ["127.0.0.1"]
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        addresses.append("::1")
    except OSError:
        pass
    return addresses


class Lab:
    def __init__(self, folder, pki, papers, programs, version=15):
        self.papers, self.programs = papers, programs
        self.folder = make_folder(folder, 0o755)
        self.cluster = Cluster(self.folder / "server", pki, version=version)
        self.data = self.cluster.data
        self.cluster.configure("include_if_exists = 'lab.conf'", f"listen_addresses = '{','.join(loopback_addresses())}'")
        self.cluster.start().create_role()
        self.cluster.sql("CREATE ROLE backup LOGIN REPLICATION")
        self.number = 0
        self.closers = []
        self.reset()

    # ---- what a case may change, before apply() ----

    def reset(self):
        """The healthy set-up: TLS with a CA each for server and clients, the method cert, nothing else admitted."""
        for close in reversed(self.closers):
            close()
        self.closers = []
        self.number += 1
        self.place = make_folder(self.folder / f"case-{self.number}", 0o755)
        papers = self.papers
        self.served = {"server.crt": papers.server.pem, "server.key": papers.server.key.read_text(),
                       "root.crt": papers.client_ca.pem}
        self.settings = {"ssl": "on", "ssl_cert_file": f"{self.place}/server.crt", "ssl_key_file": f"{self.place}/server.key",
                         "ssl_ca_file": f"{self.place}/root.crt", "ssl_crl_file": "", "ssl_min_protocol_version": "TLSv1.2",
                         "ssl_max_protocol_version": "", "ssl_ciphers": "HIGH:MEDIUM:+3DES:!aNULL",
                         "password_encryption": "scram-sha-256"}
        self.hba, self.ident = list(CERT), []
        self.after = None      # called once the server runs with it: what happened since
        self.grants = False    # the role may read pg_hba_file_rules
        self.hosts = None      # what stands in /etc/hosts for the check alone
        self.role = f"LOGIN REPLICATION NOSUPERUSER PASSWORD '{PASSWORD}' VALID UNTIL 'infinity' CONNECTION LIMIT -1"
        self.options = {"host": "localhost", "port": self.cluster.port, "user": "repl"}
        self.client(papers.client)
        self.client_file("ca.crt", papers.server_ca.pem, "tls-ca-file")
        return self

    def serve(self, certificate, *chain):
        self.served["server.crt"] = certificate.pem + "".join(each.pem for each in chain)
        self.served["server.key"] = certificate.key.read_text()
        return self

    def trust_clients_of(self, *authorities):
        self.served["root.crt"] = "".join(each.pem for each in authorities)
        return self

    def client(self, certificate, *chain):
        self.client_file("client.crt", certificate.pem + "".join(each.pem for each in chain), "tls-cert-file")
        self.client_file("client.key", certificate.key.read_text(), "tls-key-file", 0o600)
        return self

    def trust_servers_of(self, *authorities):
        return self.client_file("ca.crt", "".join(each.pem for each in authorities), "tls-ca-file")

    def client_file(self, name, text, option=None, mode=0o644):
        path = self.place / name
        path.write_text(text)
        path.chmod(mode)
        give_to(path)
        if option:
            self.options[option] = path
        return self

    def password(self, text=PASSWORD, mode=0o600):
        return self.client_file("pgpass", f"*:*:*:*:{text}\n", "password-file", mode)

    def without(self, *options):
        for option in options:
            self.options.pop(option, None)
        return self

    def revoke(self, *lists):
        """The server's revocation lists."""
        self.served["root.crl"] = "".join(path.read_text() for path in lists)
        self.settings["ssl_crl_file"] = f"{self.place}/root.crl"
        return self

    def name_both_families(self):
        """localhost leads to both loopback addresses, whatever this machine's /etc/hosts says."""
        if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
            pytest.skip("needs a mount namespace, to give localhost two addresses")
        self.need_ipv6()
        self.hosts = self.place / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")

    def need_ipv6(self):
        if "::1" not in loopback_addresses():
            pytest.skip("this machine has no IPv6")

    def at_the_end(self, close):
        self.closers.append(close)

    # ---- doing ----

    def apply(self):
        for name, text in self.served.items():
            path = self.place / name
            path.write_text(text)
            path.chmod(0o600 if name.endswith(".key") else 0o644)
            give_to(path)
        self.write_server()
        self.sql(f"ALTER ROLE repl {self.role}")
        verb, preposition = ("GRANT", "TO") if self.grants else ("REVOKE", "FROM")
        for what in ("SELECT ON pg_hba_file_rules", "EXECUTE ON FUNCTION pg_hba_file_rules()"):
            self.sql(f"{verb} {what} {preposition} repl")
        if self.after:
            self.after()
        return self

    def write_server(self):
        self.cluster.write("lab.conf", "".join(f"{name} = '{value}'\n" for name, value in self.settings.items()))
        self.cluster.write("pg_hba.conf", "\n".join([*OWN, *self.hba]) + "\n")
        self.cluster.write("pg_ident.conf", "\n".join(self.ident) + "\n")
        self.reload()

    def reload(self):
        before = self.sql("SELECT pg_conf_load_time()")
        self.cluster.reload()
        wait_for(lambda: self.sql("SELECT pg_conf_load_time()") > before, "reloaded", pause=0.02)

    def sql(self, text):
        return self.cluster.sql(text)

    def command(self, *words):
        options = [f"--{name}={value}" for name, value in self.options.items()]
        command = as_user([self.programs / "pgcoffer", "check", *options, *words])
        if self.hosts is None:
            return command
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self.hosts), *command]

    def run(self, *words, timeout=120):
        done = subprocess.run(self.command(*words), capture_output=True, text=True, errors="replace", timeout=timeout,
                              stdin=subprocess.DEVNULL, cwd="/")
        return Result(done)

    def check(self, *words):
        result = self.run("--json", *words)
        assert result.code in (0, 1), result
        checks = result.json["checks"]
        assert (result.code == 1) == any(each["state"] == "fail" for each in checks), result
        return checks

    def log_since(self, offset):
        return self.cluster.log_text()[offset:]

    def close(self):
        for close in reversed(self.closers):
            close()
        self.cluster.close()
