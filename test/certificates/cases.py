"""Misconfigurations of a TLS replication set-up: what is spoilt, why the case exists, and which one check must fail with which
words. README.md is printed from these rows by `python3 cases.py` and compared with them by a test."""

import dataclasses
import datetime
import os
import pathlib

import impostors
from authority import CA, CLIENT, LEAF, SERVER, openssl

CERT = ("hostssl replication repl all cert", "hostssl postgres repl all cert")
SCRAM = ("hostssl replication repl all scram-sha-256", "hostssl postgres repl all scram-sha-256")
SCRAM_VERIFY_CA = tuple(f"{line} clientcert=verify-ca" for line in SCRAM)
SCRAM_VERIFY_FULL = tuple(f"{line} clientcert=verify-full" for line in SCRAM)


@dataclasses.dataclass(eq=False)
class Case:
    name: str
    why: str
    spoil: object
    check: str = ""     # the one check that fails (or warns); "" for a set-up that is right
    state: str = "fail"
    cause: str = ""     # a phrase of its cause and one of its fix: those of no other cause
    fix: str = ""
    root: bool = False  # needs root, to make files of another user


CASES = []


def case(check, cause, fix, state="fail", root=False):
    def add(function):
        CASES.append(Case(function.__name__, " ".join(function.__doc__.split()), function, check, state, cause, fix, root))
        return function
    return add


def healthy(function):
    CASES.append(Case(function.__name__, " ".join(function.__doc__.split()), function, state="pass"))
    return function


# ---- set-ups that are right: no failure, no warning ----

@healthy
def right_cert(lab):
    """Method cert, CN=repl, a CA each for server and clients: the set-up of the design."""


@healthy
def right_scram_verify_ca(lab):
    """A password besides a certificate of the CA."""
    lab.hba = list(SCRAM_VERIFY_CA)
    lab.password()


@healthy
def right_scram_verify_full(lab):
    """A password besides the certificate CN=repl."""
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password()


@healthy
def right_cert_with_map(lab):
    """Another CN than the role's name, mapped in pg_ident.conf."""
    lab.hba = ["hostssl replication repl all cert map=agents", "hostssl postgres repl all cert map=agents"]
    lab.ident = ["agents backup-agent repl"]
    lab.client(lab.papers.issue_client("mapped", subject="/CN=backup-agent"))


@healthy
def right_client_intermediate(lab):
    """The client certificate brings its intermediate, the server knows the root."""
    intermediate = lab.papers.factory.make("client-intermediate", "/O=Lab/CN=Lab Client Intermediate", CA, lab.papers.client_ca)
    lab.client(lab.papers.issue_client("client-below", issuer=intermediate), intermediate)


@healthy
def right_server_intermediate(lab):
    """The server sends its intermediate, we know the root."""
    intermediate = lab.papers.factory.make("server-intermediate", "/O=Lab/CN=Lab Server Intermediate", CA, lab.papers.server_ca)
    lab.serve(lab.papers.issue_server("server-below", issuer=intermediate), intermediate)


@healthy
def right_rsa(lab):
    """RSA keys on both sides."""
    lab.serve(lab.papers.issue_server("server-rsa", key="rsa")).client(lab.papers.issue_client("client-rsa", key="rsa"))


@healthy
def right_ed25519_client(lab):
    """An Ed25519 key of the client."""
    lab.client(lab.papers.issue_client("client-ed25519", key="ed25519"))


@healthy
def right_ipv6_address(lab):
    """An IPv6 address as the host, and as IP in the certificate."""
    lab.need_ipv6()
    lab.options["host"] = "::1"


@healthy
def right_ipv4_address(lab):
    """An IPv4 address as the host, and as IP in the certificate."""
    lab.options["host"] = "127.0.0.1"


@healthy
def right_address_beside_name(lab):
    """hostaddr says where, host which name."""
    lab.options.update(host="db.example.com", hostaddr="127.0.0.1")
    lab.serve(lab.papers.issue_server("server-example", names=("DNS:db.example.com",), subject="/CN=db.example.com"))


@healthy
def right_wildcard(lab):
    """A wildcard name."""
    lab.options.update(host="db.example.com", hostaddr="127.0.0.1")
    lab.serve(lab.papers.issue_server("server-wildcard", names=("DNS:*.example.com",), subject="/CN=example.com"))


@healthy
def right_one_ca(lab):
    """One CA of one's own for both sides."""
    lab.trust_clients_of(lab.papers.server_ca)
    lab.client(lab.papers.issue_client("client-of-server-ca", issuer=lab.papers.server_ca))


@healthy
def right_pinned_self_signed(lab):
    """A self-signed server certificate, pinned as tls_ca_file, and a CA of its own for the clients."""
    own = lab.papers.factory.make("server-self-signed", "/CN=localhost", SERVER, names=("DNS:localhost",))
    lab.serve(own).trust_servers_of(own)


@healthy
def right_revocation_lists(lab):
    """Revocation lists on both sides, current and complete."""
    papers = lab.papers
    lab.revoke(papers.factory.revocation_list("clients-current", papers.client_ca))
    lab.client_file("ca.crl", papers.factory.revocation_list("servers-current", papers.server_ca).read_text(), "tls-crl-file")


@healthy
def right_tls12_only(lab):
    """A server that is held to TLS 1.2."""
    lab.settings["ssl_max_protocol_version"] = "TLSv1.2"


@healthy
def right_password_only(lab):
    """SCRAM without any client certificate."""
    lab.hba = list(SCRAM)
    lab.password().without("tls-cert-file", "tls-key-file")


def client_chain(lab):
    upper = lab.papers.factory.make("client-upper", "/O=Lab/CN=Lab Client Upper", CA, lab.papers.client_ca)
    lower = lab.papers.factory.make("client-lower", "/O=Lab/CN=Lab Client Lower", CA, upper)
    return lab.papers.issue_client("client-lowest", issuer=lower), lower, upper


def server_chain(lab):
    upper = lab.papers.factory.make("server-upper", "/O=Lab/CN=Lab Server Upper", CA, lab.papers.server_ca)
    lower = lab.papers.factory.make("server-lower", "/O=Lab/CN=Lab Server Lower", CA, upper)
    return lab.papers.issue_server("server-lowest", issuer=lower), lower, upper


@healthy
def right_chains_in_any_order(lab):
    """Two intermediates out of turn, and the roots with them: OpenSSL sorts them."""
    leaf, lower, upper = server_chain(lab)
    lab.serve(leaf, lab.papers.server_ca, upper, lower)
    leaf, lower, upper = client_chain(lab)
    lab.client(leaf, lab.papers.client_ca, upper, lower)


@healthy
def right_cross_signed(lab):
    """A new root that the old one, now over, signed too: the new one is known."""
    make = lab.papers.factory.make
    old = make("old-root", "/O=Lab/CN=Lab Old Root", CA, begins=-400, ends=-5)
    new = make("new-root", "/O=Lab/CN=Lab New Root", CA)
    cross = make("new-root-by-old", "/O=Lab/CN=Lab New Root", CA, old, key_of=new)
    lab.serve(lab.papers.issue_server("server-crossed", issuer=new), cross).trust_servers_of(new)
    lab.client(lab.papers.issue_client("client-crossed", issuer=new), cross).trust_clients_of(new)


@healthy
def right_renewed_ca_beside_the_expired(lab):
    """Both CAs renewed with their keys, and what they were before still lies in the files."""
    papers = lab.papers
    was_server = papers.factory.make("server-ca-was", "/O=Lab/CN=Lab Server CA", CA, begins=-400, ends=-3, key_of=papers.server_ca)
    was_client = papers.factory.make("client-ca-was", "/O=Lab/CN=Lab Client CA", CA, begins=-400, ends=-3, key_of=papers.client_ca)
    lab.trust_servers_of(was_server, papers.server_ca).trust_clients_of(was_client, papers.client_ca)


@healthy
def right_key_for_tls13_only(lab):
    """A P-384 key: with ssl_ecdh_curve as it is, TLS 1.2 refuses it and 1.3 takes it."""
    lab.client(lab.papers.issue_client("client-p384", key="p384"))


@healthy
def right_key_of_old_form(lab):
    """A key as openssl ec writes it."""
    openssl("ec", "-in", lab.papers.client.key, "-out", lab.options["tls-key-file"])


@healthy
def right_files_with_other_text(lab):
    """Text before the PEM blocks, lines of Windows, blanks at the end."""
    for name, option, mode in (("client.crt", "tls-cert-file", 0o644), ("client.key", "tls-key-file", 0o600),
                               ("ca.crt", "tls-ca-file", 0o644)):
        lab.client_file(name, "subject: of the lab\r\n" + (lab.place / name).read_text().replace("\n", "\r\n") + "  \r\n", option, mode)


@healthy
def right_map_of_the_whole_subject(lab):
    """clientname=DN and a map."""
    lab.hba = [f"hostssl {database} repl all cert clientname=DN map=dn" for database in ("replication", "postgres")]
    lab.ident = ['dn "CN=Agent 7,O=Lab" repl']
    lab.client(lab.papers.issue_client("client-agent-7", subject="/O=Lab/CN=Agent 7"))


# ---- our own files ----

@case("file.certificate", "absent.crt\" does not exist", "correct --tls-cert-file")
def certificate_missing(lab):
    """A mistyped path: libpq silently sends no certificate at all."""
    lab.options["tls-cert-file"] = lab.place / "absent.crt"


@case("file.certificate", 'client.crt" may not be read', 'chmod a+r "{place}/client.crt"', root=True)
def certificate_unreadable(lab):
    """A certificate only root may read."""
    path = lab.options["tls-cert-file"]
    path.chmod(0o600)
    chown_root(path)


@case("file.certificate", "the folder", "chmod o+x", root=True)
def certificate_in_closed_folder(lab):
    """Readable, but in a folder that may not be searched: libpq reports a missing file."""
    closed = lab.place / "closed"
    closed.mkdir()
    target = closed / "client.crt"
    target.write_text(lab.papers.client.pem)
    target.chmod(0o644)
    closed.chmod(0o700)
    chown_root(closed)
    lab.options["tls-cert-file"] = target


@case("file.certificate", 'client.crt" holds no certificate in PEM', 'Replace "{place}/client.crt" by a PEM file')
def certificate_garbage(lab):
    """No PEM at all, for instance a page of an error."""
    lab.client_file("client.crt", "<html>404</html>\n", "tls-cert-file")


@case("file.certificate", "in DER form", 'openssl x509 -inform DER -in "{place}/client.crt"')
def certificate_in_der(lab):
    """Some CAs hand out DER."""
    binary = lab.papers.factory.folder / "client.der"
    openssl("x509", "-in", lab.papers.client.certificate, "-outform", "DER", "-out", binary)
    lab.options["tls-cert-file"].write_bytes(binary.read_bytes())


@case("file.certificate", "a request for a certificate", "Let the CA sign the request")
def certificate_is_a_request(lab):
    """What was sent to the CA instead of what came back."""
    lab.client_file("client.crt", (lab.papers.factory.folder / "client.csr").read_text(), "tls-cert-file")


@case("file.certificate", "a private key where a certificate belongs", "were exchanged")
def certificate_and_key_exchanged(lab):
    """The two settings, the wrong way round."""
    certificate, key = lab.options["tls-cert-file"], lab.options["tls-key-file"]
    lab.options.update({"tls-cert-file": key, "tls-key-file": certificate})


@case("file.certificate", "holds a damaged certificate", "Copy it to")
def certificate_cut_off(lab):
    """A copy that ended early."""
    lab.client_file("client.crt", lab.papers.client.pem[:300], "tls-cert-file")


@case("file.key", "absent.key\" does not exist", "Put the file there, or correct --tls-key-file")
def key_missing(lab):
    """A mistyped path of the key."""
    lab.options["tls-key-file"] = lab.place / "absent.key"


@case("file.key", 'client.key" may not be read', "chown postgres", root=True)
def key_unreadable(lab):
    """libpq prints uninitialised memory for it."""
    chown_root(lab.options["tls-key-file"])


@case("file.key", "holds no private key", "begins with -----BEGIN PRIVATE KEY-----")
def key_garbage(lab):
    """The certificate where the key belongs."""
    lab.client_file("client.key", lab.papers.client.pem, "tls-key-file", 0o600)


@case("file.key", "protected by a passphrase", ".key.plain")
def key_with_passphrase(lab):
    """A daemon cannot type it."""
    protected = lab.papers.factory.folder / "protected.key"
    if not protected.exists():
        openssl("pkey", "-in", lab.papers.client.key, "-aes256", "-passout", "pass:secret", "-out", protected)
    lab.client_file("client.key", protected.read_text(), "tls-key-file", 0o600)


@case("key.mode", "others may read it", 'Type: chmod 0600 "{place}/client.key"')
def key_world_readable(lab):
    """libpq refuses it; the owner may not even know that others read it."""
    lab.options["tls-key-file"].chmod(0o644)


@case("key.match", "made for different keys", "compare: openssl x509")
def key_of_another_certificate(lab):
    """After a renewal of one of the two files."""
    other = lab.papers.issue_client("other-client")
    lab.client_file("client.key", other.key.read_text(), "tls-key-file", 0o600)


@case("key.match", "certificate number 2", "Put the client certificate first")
def certificate_order(lab):
    """The CA stands first in tls_cert_file: the key then belongs to another certificate."""
    lab.client_file("client.crt", lab.papers.client_ca.pem + lab.papers.client.pem, "tls-cert-file")


@case("file.ca", "absent-ca.crt\" does not exist", "correct --tls-ca-file")
def ca_missing(lab):
    """With sslmode=require libpq then verifies nothing and says nothing."""
    lab.options["tls-ca-file"] = lab.place / "absent-ca.crt"


@case("file.ca", 'ca.crt" may not be read', 'chmod a+r "{place}/ca.crt"', root=True)
def ca_unreadable(lab):
    """A CA file only root may read."""
    lab.options["tls-ca-file"].chmod(0o600)
    chown_root(lab.options["tls-ca-file"])


@case("file.ca", 'ca.crt" holds no certificate in PEM', 'Replace "{place}/ca.crt" by a PEM file')
def ca_garbage(lab):
    """A CA file without a certificate."""
    lab.client_file("ca.crt", "nothing\n", "tls-ca-file")


@case("protocol.mode", "needs tls_ca_file", "Set tls_ca_file (--tls-ca-file) to")
def ca_not_given(lab):
    """verify-full without a CA to verify by."""
    lab.without("tls-ca-file")


@case("protocol.mode", "of use with its key only", "Set both or none: --tls-key-file")
def key_not_given(lab):
    """A certificate without its key."""
    lab.without("tls-key-file")


@case("file.crl", "absent.crl\" does not exist", "correct --tls-crl-file")
def crl_missing(lab):
    """libpq then goes on without any look at revocations."""
    lab.options["tls-crl-file"] = lab.place / "absent.crl"


@case("file.crl", "holds no revocation list", "openssl crl -inform DER")
def crl_garbage(lab):
    """A certificate where a revocation list belongs."""
    lab.client_file("ca.crl", lab.papers.server_ca.pem, "tls-crl-file")


@case("expiry.crl", "every server of that CA is refused", "openssl ca -gencrl")
def crl_expired(lab):
    """Every server is refused, and no certificate is expired."""
    stale = lab.papers.factory.revocation_list("servers-stale", lab.papers.server_ca, begins=-40, ends=-10)
    lab.client_file("ca.crl", stale.read_text(), "tls-crl-file")


@case("key.authority", "is the private key of the CA", "shred -u", "warn")
def ca_key_beside_certificate(lab):
    """Whoever breaks in here could sign logins for every role."""
    lab.client_file("signing.key", lab.papers.client_ca.key.read_text(), mode=0o600)


@case("file.password", "lets others read the password", 'Type: chmod 0600 "{place}/pgpass"')
def password_file_readable_by_all(lab):
    """libpq ignores such a file, with a warning nobody sees."""
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password(mode=0o644)


@case("protocol.mode", "one with any name", "must then be the configured host", "warn")
def mode_verify_ca(lab):
    """Any host with a certificate of that CA could stand in for the server."""
    lab.options["tls-mode"] = "verify-ca"


@case("protocol.mode", "nothing proves who the server is", "verify-full (--tls-mode=verify-full) and tls_ca_file")
def mode_require(lab):
    """Encrypted, but to whom? A password would go to an impostor."""
    lab.options["tls-mode"] = "require"


@case("protocol.mode", "everything goes over the network in the clear", "verify-full (--tls-mode=verify-full) and tls_ca_file")
def mode_disable(lab):
    """Everything in plain text."""
    lab.options["tls-mode"] = "disable"


# ---- our certificate ----

@case("expiry.client", '(subject "CN=repl") expired on', "put the new one into")
def client_expired(lab):
    """Yesterday's certificate."""
    lab.client(lab.papers.issue_client("client-expired", begins=-30, ends=-1))


@case("expiry.client", '(subject "CN=repl") is not valid before', "Compare this machine's clock")
def client_not_yet_valid(lab):
    """Issued on a machine whose clock is ahead."""
    lab.client(lab.papers.issue_client("client-future", begins=2, ends=30))


@case("expiry.client", '(subject "CN=repl") ends in', "Renew the client certificate and replace", "warn")
def client_expires_soon(lab):
    """All is fine today."""
    lab.client(lab.papers.issue_client("client-soon", ends=6.5))


@case("expiry.client", '(subject "CN=repl") ends in', "Renew the client certificate and replace")
def client_expires_tomorrow(lab):
    """Too late for a ticket."""
    lab.client(lab.papers.issue_client("client-tomorrow", ends=1.5))


@case("identity.usage", "lacks clientAuth", "let your own CA sign it")
def client_eku_server_only(lab):
    """What Let's Encrypt issues: it cannot log in."""
    lab.client(lab.papers.issue_client("client-server-eku", SERVER))


@case("identity.usage", "lacks clientAuth", "let your own CA sign it")
def client_eku_any_only(lab):
    """anyExtendedKeyUsage sounds like all of them: OpenSSL does not count it."""
    lab.client(lab.papers.issue_client("client-any-eku", (*LEAF, "extendedKeyUsage=anyExtendedKeyUsage")))


@case("chain.order", "signed none of the others: it does not belong there", 'Write "{place}/client.crt" anew', "warn")
def stranger_in_our_chain(lab):
    """A CA of something else behind the client certificate."""
    lab.client(lab.papers.client, lab.papers.foreign_ca)


@case("identity.common_name", 'is "Backup Agent" and the role is', "append map=pgcoffer")
def client_name_that_maps_must_quote(lab):
    """A CN of two words: pg_ident.conf wants it in quotes."""
    lab.client(lab.papers.issue_client("client-two-words", subject="/CN=Backup Agent"))


@case("identity.common_name", 'is "something" and the role is', "append map=pgcoffer")
def client_role_is_the_second_name(lab):
    """Of several CNs PostgreSQL takes the first."""
    lab.client(lab.papers.issue_client("client-two-names", subject="/CN=something/CN=repl"))


@case("identity.common_name", 'is "replicator" and the role is', "append map=pgcoffer")
def client_other_name(lab):
    """Method cert and another CN than the role."""
    lab.client(lab.papers.issue_client("client-replicator", subject="/CN=replicator"))


@case("identity.common_name", "differ in upper and lower case", "user = Repl")
def client_name_by_case(lab):
    """CN=Repl is not repl."""
    lab.client(lab.papers.issue_client("client-case", subject="/CN=Repl"))


@case("identity.common_name", "which has none", "Get a certificate with the subject CN=repl.")
def client_without_name(lab):
    """Some ACME CAs issue certificates without a CN."""
    lab.client(lab.papers.issue_client("client-nameless", subject="/O=Lab"))


@case("identity.common_name", '"another-agent" while the role', "then tie role and certificate", "warn")
def client_other_name_verify_ca(lab):
    """clientcert=verify-ca ties no certificate to a role: this one works by accident."""
    lab.hba = list(SCRAM_VERIFY_CA)
    lab.password().client(lab.papers.issue_client("client-another", subject="/CN=another-agent"))


@case("identity.common_name", "the password may be right", "If the login fails still")
def client_other_name_verify_full(lab):
    """The server says 'password authentication failed' although the password is right."""
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password().client(lab.papers.issue_client("client-wrong-full", subject="/CN=wrong-full"))


@case("identity.chain", 'does not know CA "CN=Foreign CA,O=Elsewhere", it accepts', 'Append the certificate of "CN=Foreign CA')
def client_of_foreign_ca(lab):
    """A CA the server has never heard of."""
    lab.client(lab.papers.issue_client("client-foreign", issuer=lab.papers.foreign_ca))


@case("identity.chain", "it is self-signed, and the server accepts", "Let one of these CAs sign")
def client_self_signed(lab):
    """Nobody vouches for it."""
    lab.client(lab.papers.factory.make("client-self", "/CN=repl", CLIENT))


@case("identity.chain", "lacks the intermediate", "Append the intermediate")
def client_intermediate_not_sent(lab):
    """The intermediate belongs into tls_cert_file."""
    intermediate = lab.papers.factory.make("client-intermediate", "/O=Lab/CN=Lab Client Intermediate", CA, lab.papers.client_ca)
    lab.client(lab.papers.issue_client("client-below", issuer=intermediate))


@case("identity.chain", "an intermediate CA of ours, but not the root", "Append the root")
def server_knows_intermediate_only(lab):
    """ssl_ca_file with the intermediate alone: OpenSSL wants the root."""
    intermediate = lab.papers.factory.make("client-intermediate", "/O=Lab/CN=Lab Client Intermediate", CA, lab.papers.client_ca)
    lab.client(lab.papers.issue_client("client-below", issuer=intermediate), intermediate).trust_clients_of(intermediate)


@case("identity.chain", "clients of the server's own CA only", "is your client CA")
def server_trusts_its_own_ca(lab):
    """ssl_ca_file set to the CA of the server's certificate instead of that of the clients."""
    lab.trust_clients_of(lab.papers.server_ca)


@case("identity.chain", "another key than the CA that signed ours", "from the present CA")
def client_of_replaced_ca(lab):
    """The CA was made anew under its old name."""
    again = lab.papers.factory.make("client-ca-again", "/O=Lab/CN=Lab Client CA", CA)
    lab.trust_clients_of(again)


@case("identity.revocation", "says the server's ssl_crl_file", "Get a new certificate and key, and replace")
def client_revoked(lab):
    """In the server's list."""
    gone = lab.papers.issue_client("client-revoked")
    lab.client(gone).revoke(lab.papers.factory.revocation_list("clients-revoked", lab.papers.client_ca, [gone]))


@case("identity.revocation", "as expired, and it is not", "-nextupdate")
def server_list_expired(lab):
    """Every client is refused as expired, and no certificate is."""
    lab.revoke(lab.papers.factory.revocation_list("clients-stale", lab.papers.client_ca, begins=-40, ends=-10))


@case("identity.revocation", "although it does know", "and those below and above it")
def server_list_incomplete(lab):
    """A list of another CA only: the server says 'unknown ca'."""
    lab.revoke(lab.papers.factory.revocation_list("foreign-current", lab.papers.foreign_ca))


@case("key.strength", "RSA key of 1024 bits", "openssl genpkey -algorithm EC")
def client_key_weak(lab):
    """RSA with 1024 bits."""
    lab.client(lab.papers.issue_client("client-weak", key="rsa1024"))


@case("key.strength", "has a signature by SHA-1", "openssl x509 -req -sha256")
def client_signed_by_sha1(lab):
    """Signed with SHA-1: OpenSSL 3 does not take it."""
    lab.client(lab.papers.issue_client("client-sha1", digest="sha1"))


# ---- the server's certificate ----

@case("expiry.server", "The server's certificate expired on", "Renew the server's certificate and put it on the server")
def server_expired(lab):
    """libpq: certificate verify failed (1)."""
    lab.serve(lab.papers.issue_server("server-expired", begins=-30, ends=-1))


@case("expiry.server", "is valid only from", "Compare the clocks")
def server_not_yet_valid(lab):
    """libpq: certificate verify failed (2)."""
    lab.serve(lab.papers.issue_server("server-future", begins=2, ends=30))


@case("chain.server", 'was signed by "CN=Foreign CA,O=Elsewhere", which is not in', "if you do not know it")
def server_of_foreign_ca(lab):
    """libpq: certificate verify failed (3): another CA, or somebody between."""
    lab.serve(lab.papers.issue_server("server-foreign", issuer=lab.papers.foreign_ca))


@case("chain.sent", "does not send the intermediate", "fullchain.pem")
def server_intermediate_not_sent(lab):
    """libpq: certificate verify failed (4)."""
    intermediate = lab.papers.factory.make("server-intermediate", "/O=Lab/CN=Lab Server Intermediate", CA, lab.papers.server_ca)
    lab.serve(lab.papers.issue_server("server-below", issuer=intermediate))


@case("chain.server", "may not sign certificates: it is no CA", "basicConstraints = critical,CA:TRUE")
def server_intermediate_is_no_ca(lab):
    """libpq: certificate verify failed (5): an end-entity certificate signed another."""
    leaf = lab.papers.factory.make("server-not-ca", "/O=Lab/CN=Not A CA", LEAF, lab.papers.server_ca)
    lab.serve(lab.papers.issue_server("server-below-leaf", issuer=leaf), leaf)


@case("chain.server", "has the same subject as the CA", "different subject")
def server_named_like_its_ca(lab):
    """libpq: certificate verify failed (6): leaf and CA of one subject look self-signed."""
    authority = lab.papers.factory.make("twin-ca", "/CN=localhost", CA, has_identifiers=False)
    lab.serve(lab.papers.issue_server("twin", issuer=authority, has_identifiers=False)).trust_servers_of(authority)


@case("chain.server", "lacks serverAuth", "extendedKeyUsage = serverAuth")
def server_eku_client_only(lab):
    """libpq: certificate verify failed (7)."""
    lab.serve(lab.papers.issue_server("server-client-eku", CLIENT))


@case("chain.server", "a certificate that a CA signed is no root", "the CA that signed it, into")
def leaf_as_root(lab):
    """libpq: certificate verify failed (8): tls_ca_file holds the server's own certificate, which a CA signed."""
    lab.trust_servers_of(lab.papers.server)


@case("chain.server", "has the same name, but another key than", "Fetch the present certificate of that CA")
def stale_root(lab):
    """The CA was made anew and tls_ca_file still holds the old one."""
    again = lab.papers.factory.make("server-ca-again", "/O=Lab/CN=Lab Server CA", CA)
    lab.trust_servers_of(again)


@case("chain.server", "is self-signed and does not stand in", "If this is your server")
def server_self_signed(lab):
    """Self-signed and unknown to us."""
    lab.serve(lab.papers.factory.make("server-self-signed", "/CN=localhost", SERVER, names=("DNS:localhost",)))


@case("chain.server", "without the root above it", "Add the certificate of the root")
def our_file_holds_an_intermediate_only(lab):
    """tls_ca_file with the lowest CA alone, which the server sends along with the one above."""
    leaf, lower, upper = server_chain(lab)
    lab.serve(leaf, lower, upper).trust_servers_of(lower)


@case("chain.server", 'was signed by "CN=Lab Server CA,O=Lab", which is not in', "if you do not know it")
def public_cas_for_a_private_one(lab):
    """tls_ca_file = system, and the server's CA is of our own."""
    lab.options["tls-ca-file"] = "system"


@case("chain.server", 'through "CN=Lab Server Lower,O=Lab"', "if you do not know it")
def server_upper_intermediate_not_sent(lab):
    """Only the lower of two intermediates is sent."""
    leaf, lower, _ = server_chain(lab)
    lab.serve(leaf, lower)


@case("chain.sent", "it does not belong into ssl_cert_file", "Write ssl_cert_file on the server anew", "warn")
def stranger_served(lab):
    """A CA of something else behind the server's certificate."""
    lab.serve(lab.papers.server, lab.papers.foreign_ca)


@case("chain.revocation", "was revoked by its CA", "Get a new certificate and key for the server")
def server_revoked(lab):
    """In our own list."""
    gone = lab.papers.issue_server("server-revoked")
    revoked = lab.papers.factory.revocation_list("servers-revoked", lab.papers.server_ca, [gone])
    lab.serve(gone).client_file("ca.crl", revoked.read_text(), "tls-crl-file")


@case("chain.revocation", "holds no list of CA", "Append the list of every CA of the chain")
def our_list_incomplete(lab):
    """A list of another CA only."""
    other = lab.papers.factory.revocation_list("foreign-current", lab.papers.foreign_ca)
    lab.client_file("ca.crl", other.read_text(), "tls-crl-file")


@case("name.match", "its names are DNS:db.elsewhere.example", "subjectAltName = DNS:localhost and put it on")
def server_other_name(lab):
    """A certificate for another host."""
    lab.serve(lab.papers.issue_server("server-other", names=("DNS:db.elsewhere.example",), subject="/CN=db.elsewhere.example"))


@case("name.match", "An address counts only as", "subjectAltName = IP:127.0.0.1")
def server_without_address(lab):
    """Connected by address, and the certificate has a name only."""
    lab.options["host"] = "127.0.0.1"
    lab.serve(lab.papers.issue_server("server-name-only", names=("DNS:localhost",)))


@case("name.alternative", "only as CN", "subjectAltName = DNS:localhost and put it into", "warn")
def server_cn_only(lab):
    """libpq takes it, Go and browsers do not."""
    lab.serve(lab.papers.issue_server("server-cn-only", names=()))


@case("expiry.server", '(subject "CN=localhost") ends in', "Renew the server's certificate and put it into", "warn")
def server_expires_soon(lab):
    """All is fine today."""
    lab.serve(lab.papers.issue_server("server-soon", ends=5.5))


@case("expiry.ca", '(subject "CN=Ending CA") ends in', "Renew the CA", "warn")
def server_ca_expires_soon(lab):
    """Every certificate below it ends with it."""
    authority = lab.papers.factory.make("server-ca-soon", "/CN=Ending CA", CA, ends=8.5)
    lab.serve(lab.papers.issue_server("server-of-ending", issuer=authority, ends=8.4)).trust_servers_of(authority)


@case("chain.ca", "every copy of server.key", "pgcoffer tls init", "warn")
def server_certificate_is_the_ca(lab):
    """The well-known tutorials copy server.crt to root.crt: every copy of server.key signs logins."""
    own = lab.papers.factory.make("server-as-ca", "/CN=localhost", CA[:1], names=("DNS:localhost",))
    lab.serve(own).trust_servers_of(own).trust_clients_of(own)
    lab.client(lab.papers.issue_client("client-of-server", issuer=own))


@case("chain.ca", "tls_mode is not verify-full", "or put only the CA into tls_ca_file", "warn")
def public_bundle_with_verify_ca(lab):
    """Anybody can have a certificate of a public CA."""
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    lab.client_file("ca.crt", lab.papers.server_ca.pem + bundle.read_text(), "tls-ca-file")
    lab.options["tls-mode"] = "verify-ca"


# ---- the way there ----

@case("server.resolve", "has no address", "getent hosts")
def host_unknown(lab):
    """A mistyped host."""
    lab.options["host"] = "no-such-host.invalid"


@case("server.connect", "Nothing listens", "Start PostgreSQL there")
def port_closed(lab):
    """A mistyped port, or a stopped server."""
    lab.options["port"] = 1


def meet(lab, answer):
    impostor = impostors.Impostor(answer)
    lab.at_the_end(impostor.close)
    lab.options.update(host="localhost", hostaddr="127.0.0.1", port=impostor.port)


@case("protocol.answer", "which is HTTP", "Correct --host and port; now they are")
def port_of_a_web_server(lab):
    """An HTTP server."""
    meet(lab, impostors.http)


@case("protocol.answer", "closed the connection when it was asked for TLS", "stunnel, haproxy")
def port_of_a_tls_proxy(lab):
    """stunnel and haproxy speak TLS at once."""
    meet(lab, impostors.raw_tls(impostors.tls_context(lab.papers.server)))


@case("protocol.answer", "takes the connection and does not answer", "the firewall between")
def port_of_a_black_hole(lab):
    """Takes the connection and says nothing."""
    meet(lab, impostors.silence)


@case("protocol.answer", "does not speak TLS", "Set ssl = on")
def server_without_tls(lab):
    """ssl = off."""
    lab.settings["ssl"] = "off"
    lab.hba = ["host replication repl all scram-sha-256"]


@case("protocol.answer", "behind its yes the server sent more", "if there is nothing, it is not PostgreSQL")
def garbage_instead_of_tls(lab):
    """A server that answers yes and then sends no TLS."""
    meet(lab, impostors.garbage_after_yes)


@case("protocol.handshake", "only up to TLSv1.1", "ssl_max_protocol_version = ''")
def server_too_old(lab):
    """No common TLS version."""
    lab.settings.update(ssl_min_protocol_version="TLSv1", ssl_max_protocol_version="TLSv1.1", ssl_ciphers="ALL:@SECLEVEL=0")


@case("protocol.handshake", "no cipher in common", "ssl_ecdh_curve")
def no_common_cipher(lab):
    """No common cipher."""
    lab.settings.update(ssl_max_protocol_version="TLSv1.2", ssl_ciphers="ECDHE-RSA-AES256-GCM-SHA384")


@case("protocol.versions", "still takes TLSv1.1", "'TLSv1.2' in postgresql.conf", "warn")
def old_versions_taken(lab):
    """TLS 1.0 is still offered."""
    lab.settings.update(ssl_min_protocol_version="TLSv1", ssl_ciphers="HIGH:!aNULL:@SECLEVEL=0")


@case("protocol.ciphers", "a handshake without any certificate", "ssl_ciphers = 'HIGH:!aNULL'")
def anonymous_cipher_taken(lab):
    """ALL contains aNULL: a handshake without any certificate."""
    lab.settings.update(ssl_ciphers="ALL:aNULL:@SECLEVEL=0")


@case("protocol.ciphers", "goes without encryption", "append :!eNULL")
def null_cipher_taken(lab):
    """Signed, and in the clear."""
    lab.settings.update(ssl_ciphers="HIGH:!aNULL:eNULL:@SECLEVEL=0")


@case("protocol.binding", "no channel binding", "with an ECDSA or RSA key")
def server_signed_by_ed25519_with_scram(lab):
    """libpq cannot bind SCRAM to a certificate signed by Ed25519."""
    authority = lab.papers.factory.make("server-ca-ed25519", "/CN=Ed25519 CA", CA, key="ed25519")
    lab.serve(lab.papers.issue_server("server-of-ed25519", issuer=authority)).trust_servers_of(authority)
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password()


@case("protocol.binding", "a proxy ends TLS between us, or somebody listens", "Connect to PostgreSQL itself: correct --host")
def proxy_between(lab):
    """A proxy with a certificate of our CA ends TLS and relays: only SCRAM's channel binding tells."""
    meet(lab, impostors.relay(impostors.tls_context(lab.papers.issue_server("proxy")), lab.cluster.port))
    lab.hba = list(SCRAM)
    lab.password().without("tls-cert-file", "tls-key-file")


# ---- pg_hba.conf ----

@case("hba.replication", "the word all", "Add to pg_hba.conf")
def no_line_for_replication(lab):
    """all does not cover replication: the well-known tutorials' mistake."""
    lab.hba = ["hostssl all all all cert"]


@case("hba.replication", "the word all", "Add to pg_hba.conf")
def line_for_the_quoted_word(lab):
    """In quotes, replication is a database of that name."""
    lab.hba = ['hostssl "replication" repl all cert']


@case("hba.replication", "the word all", "Add to pg_hba.conf")
def line_for_the_other_family(lab):
    """A line for ::1, and we come from 127.0.0.1."""
    lab.options["host"] = "127.0.0.1"
    lab.hba = ["hostssl replication repl ::1/128 cert"]


@case("hba.replication", "it rejects", "Put a line above it")
def line_that_rejects(lab):
    """reject above our line."""
    lab.hba = ["hostssl replication all all reject", *CERT]


@case("hba.plaintext", 'Through 127.0.0.1 anybody is let in as "repl" for replication in plain text', "Take that trust line out")
def trust_line_above(lab):
    """initdb's own line: anybody on the host replicates without TLS, password or certificate."""
    lab.hba = ["host replication all 127.0.0.1/32 trust", *CERT]


@case("hba.plaintext", "Through ::1 anybody is let in", "Take that trust line out")
def trust_line_in_the_other_family(lab):
    """The same for IPv6 only: nobody looks there."""
    lab.name_both_families()
    lab.hba = ["host replication all ::1/128 trust", *CERT]


@case("hba.plaintext", "begins with host instead of hostssl", "Write hostssl instead of host")
def host_instead_of_hostssl(lab):
    """Plain text stays possible."""
    lab.hba = ["host replication repl all scram-sha-256", "hostssl postgres repl all scram-sha-256"]
    lab.password().without("tls-cert-file", "tls-key-file")


@case("hba.certificate", "a password alone is enough", "Append clientcert=verify-full")
def looser_line_above(lab):
    """A certificate is demanded, but a line above admits without."""
    lab.hba = ["hostssl replication repl all scram-sha-256", *CERT]
    lab.password()


@case("hba.certificate", "over TLS, without certificate and without password", "Take that line out of")
def trust_over_tls(lab):
    """hostssl ... trust: encrypted for anybody."""
    lab.hba = ["hostssl replication repl all trust", *CERT]


@case("identity.requested", "does not ask for a client certificate", "Set ssl_ca_file in postgresql.conf")
def certificate_never_asked_for(lab):
    """ssl_ca_file unset and a line without clientcert: our certificate is never looked at."""
    lab.hba = list(SCRAM)
    lab.password()
    lab.settings["ssl_ca_file"] = ""


@case("hba.password", "asks for the password in clear text", "so that it reads")
def password_in_clear_text(lab):
    """Method password."""
    lab.hba = ["hostssl replication repl all password clientcert=verify-full"]
    lab.password()


@case("hba.password", "asks for the password by MD5", "SET password_encryption")
def password_by_md5(lab):
    """Method md5 with an md5 hash."""
    lab.hba = ["hostssl replication repl all md5 clientcert=verify-full"]
    lab.settings["password_encryption"] = "md5"
    lab.password()


@case("identity.other_role", "is let in as any role", "instead of trust clientcert=verify-ca")
def any_certificate_any_role(lab):
    """trust clientcert=verify-ca: every certificate of the CA logs in as every role."""
    lab.hba = ["hostssl replication all all trust clientcert=verify-ca"]


@case("identity.other_role", "a map in pg_ident.conf", "MAPNAME repl repl")
def map_that_catches_all(lab):
    """A map that turns any certificate into postgres."""
    lab.hba = ["hostssl replication all all cert map=loose", "hostssl postgres repl all cert map=loose"]
    lab.ident = ["loose /^(.*)$ repl", "loose /^(.*)$ postgres"]


@case("identity.common_name", "still the server does not map it", 'NAME repl repl" into')
def map_without_our_line(lab):
    """The map has no line for our CN."""
    lab.hba = ["hostssl replication repl all cert map=agents"]
    lab.ident = ["agents somebody-else repl"]


@case("hba.superuser", "for postgres says trust", "Find and remove")
def superuser_replicates(lab):
    """postgres without a certificate, through a line meant for something else."""
    lab.hba = [*CERT, "hostssl replication postgres all trust"]


# ---- roles and passwords ----

@case("replication.login", 'There is no role "nobody_here"', "CREATE ROLE nobody_here")
def role_missing(lab):
    """A mistyped user."""
    lab.options["user"] = "nobody_here"
    lab.hba = ["hostssl replication nobody_here all cert"]
    lab.client(lab.papers.issue_client("client-nobody", subject="/CN=nobody_here"))


@case("replication.role", "no REPLICATION attribute", "ALTER ROLE repl REPLICATION")
def role_without_replication(lab):
    """CREATE ROLE without REPLICATION."""
    lab.role += " NOREPLICATION"
    lab.role = lab.role.replace("LOGIN REPLICATION", "LOGIN")


@case("replication.role", "no LOGIN attribute", "ALTER ROLE repl LOGIN")
def role_without_login(lab):
    """CREATE ROLE instead of CREATE USER."""
    lab.role = lab.role.replace("LOGIN REPLICATION", "NOLOGIN REPLICATION")


@case("replication.role", "is a superuser", "NOSUPERUSER", "warn")
def role_is_superuser(lab):
    """More than a backup needs."""
    lab.role = lab.role.replace("NOSUPERUSER", "SUPERUSER")


@case("replication.login", "The password is wrong, or the role has none", "Correct the password in")
def password_wrong(lab):
    """A mistyped password."""
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password("wrong")


@case("replication.login", "asks for a password and there is none", "of mode 0600 and name it as")
def password_not_given(lab):
    """The server asks and there is none."""
    lab.hba = list(SCRAM_VERIFY_FULL)


@case("replication.senders", "its max_wal_senders is 0", "wal_level = replica in postgresql.conf")
def no_replication_at_all(lab):
    """wal_level = minimal, which wants max_wal_senders = 0."""
    configure_with_restart(lab, max_wal_senders="0", wal_level="minimal")


@case("replication.password", "more days only", "Type on the server: ALTER ROLE repl PASSWORD", "warn")
def password_ends_soon(lab):
    """VALID UNTIL next week."""
    lab.hba = list(SCRAM_VERIFY_FULL)
    lab.password()
    lab.role = lab.role.replace("infinity", in_words(5))


# ---- silent dangers on the server ----

@case("server.tls_files", "lies in its data directory", "Move key and certificate to a folder", "warn")
def server_key_in_data_directory(lab):
    """server.key travels in every base backup."""
    lab.settings.update(ssl_cert_file="server.crt", ssl_key_file="server.key")
    for name in ("server.crt", "server.key"):
        lab.cluster.write(name, lab.served[name])
        (lab.data / name).chmod(0o600)


@case("identity.authorities", "of them public CAs", "Leave only the CA", "warn")
def server_takes_public_cas(lab):
    """Every certificate of a public CA with CN=repl would be a login."""
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    lab.served["root.crt"] = lab.papers.client_ca.pem + bundle.read_text()


@case("server.renewed", "is not the one in use", "a restart is not needed", "warn")
def renewed_on_disk_only(lab):
    """Renewed, and nobody told the server."""
    lab.after = lambda: rewrite(lab, lab.papers.issue_server("server-renewed"))


@case("server.restart", "may be read by its group or by others", "Type on the server: chmod 0600")
def key_mode_breaks_restart(lab):
    """Running fine, and the next restart fails."""
    lab.after = lambda: (lab.place / "server.key").chmod(0o644)


@case("server.restart", "only one of the two was renewed", "were made together")
def key_mismatch_breaks_restart(lab):
    """A renewal that replaced only the key."""
    other = lab.papers.issue_server("server-half-renewed")
    lab.after = lambda: (lab.place / "server.key").write_text(other.key.read_text())


@case("server.restart", "is gone: the server lives on", "Put the file back")
def key_is_gone(lab):
    """Removed from disk; the server has it in memory."""
    lab.after = lambda: (lab.place / "server.key").unlink()


@case("server.restart", "a link on the way leads into a folder", "cp -L follows the links", root=True)
def link_into_a_closed_folder(lab):
    """As in /etc/letsencrypt: live/ links into archive/, which is root's alone."""
    def move():
        archive = lab.place / "archive"
        archive.mkdir()
        for name in ("server.crt", "server.key"):
            (lab.place / name).rename(archive / name)
            (lab.place / name).symlink_to(archive / name)
        archive.chmod(0o700)
        chown_root(archive)
    lab.after = move


@case("server.tls_settings", "is not asked for at a reload", "Set ssl_passphrase_command_supports_reload = on", "warn")
def passphrase_not_asked_for_at_a_reload(lab):
    """A renewed certificate waits for the next restart."""
    protected = lab.papers.factory.folder / "server-protected.key"
    if not protected.exists():
        openssl("pkey", "-in", lab.papers.server.key, "-aes256", "-passout", "pass:secret", "-out", protected)
    lab.served["server.key"] = protected.read_text()
    lab.settings.update(ssl_passphrase_command="echo secret", ssl_passphrase_command_supports_reload="off")
    lab.sql("GRANT pg_read_all_settings TO repl")
    lab.at_the_end(lambda: lab.sql("REVOKE pg_read_all_settings FROM repl"))
    lab.after = lab.cluster.restart


@case("server.revocation", "its CA publishes a list", "Set ssl_crl_file", "warn")
def no_list_where_one_is_published(lab):
    """The CA publishes a revocation list, and the server looks at none."""
    lab.client(lab.papers.issue_client("client-with-list", (*CLIENT, "crlDistributionPoints=URI:http://pki.example/ca.crl")))


@case("server.revocation", "it is made for 3651 days", "Set ssl_crl_file", "warn")
def no_list_for_ten_years(lab):
    """A client certificate for ten years, as the tutorials make it, and no way to revoke it."""
    lab.client(lab.papers.issue_client("client-ten-years", ends=3650))


# ---- what only a superuser sees, and is told: run with the role as superuser's reader ----

@case("hba.rules", "PostgreSQL cannot read line", "Correct that line on the server")
def hba_with_an_error(lab):
    """A line PostgreSQL cannot read: the old rules live on, and the next restart fails."""
    lab.grants = True
    lab.after = lambda: append(lab.data / "pg_hba.conf", "hostssl replication repl all cert clientcert=sometimes\n")


@case("hba.rules", "is not loaded", "and look whether it is understood", "warn")
def hba_not_loaded(lab):
    """Edited, and nobody reloaded."""
    lab.grants = True
    lab.after = lambda: append(lab.data / "pg_hba.conf", "# later\nhostssl all backup all reject\n")


@case("hba.looser", "admits replication with less", "make it as strict as", "warn")
def looser_line_from_elsewhere(lab):
    """A trust line for an address we cannot come from."""
    lab.grants = True
    lab.hba = ["host replication all 192.0.2.0/24 trust", *CERT]


# ---- means ----

def chown_root(path):
    os.chown(path, 0, 0)


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def configure_with_restart(lab, **settings):
    def undo():
        lab.sql("ALTER SYSTEM RESET ALL")
        lab.cluster.restart()
    for name, value in settings.items():
        lab.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    lab.cluster.restart()
    lab.at_the_end(undo)


def rewrite(lab, certificate):
    for name, text in (("server.crt", certificate.pem), ("server.key", certificate.key.read_text())):
        (lab.place / name).write_text(text)


def in_words(days):
    return (datetime.datetime.now() + datetime.timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")


def readme():
    """README.md as these rows make it."""
    lines = ["# Misconfigurations", "",
             "Every way a TLS replication set-up goes wrong that `pgcoffer check` must tell from every other, and set-ups that are right",
             "and must give neither failure nor warning. `authority.py` makes the certificates, `lab.py` the server, `impostors.py` what",
             "only pretends to be one, `cases.py` has the rows. Run by test/system/test_check_matrix.py; this page is printed by",
             "`/usr/bin/python3 test/certificates/cases.py`.", ""]
    for title, states in (("Right", ("pass",)), ("Wrong", ("fail", "warn"))):
        lines += [f"## {title}", "", "| case | why it exists | told by |", "|---|---|---|"]
        lines += [f"| {each.name} | {each.why} | {f'{each.state}: {each.check}' if each.check else 'nothing'} |"
                  for each in CASES if each.state in states]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(readme(), end="")
