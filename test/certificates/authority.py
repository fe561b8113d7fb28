"""Certificates of every kind, good and bad, made with openssl(1): dates, extensions, keys and signers as a case wants them."""

import datetime
import pathlib
import subprocess

KEYS = {
    "ec": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "rsa1024": ("RSA", "rsa_keygen_bits:1024"),
    "ed25519": ("ED25519", None),
}
CA = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
LEAF = ("basicConstraints=CA:FALSE",)
SERVER = (*LEAF, "extendedKeyUsage=serverAuth")
CLIENT = (*LEAF, "extendedKeyUsage=clientAuth")


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(map(str, words))}\n{done.stderr}")


def in_days(days):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


class Certificate:
    """certificate and key as PEM files, and who signed it."""

    def __init__(self, certificate, key, issuer):
        self.certificate, self.key, self.issuer = certificate, key, issuer or self

    @property
    def pem(self):
        return self.certificate.read_text()


class Factory:
    """Makes every certificate once: asked again for the same name it gives the one made before."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.made = {}

    def make(self, name, subject, extensions, issuer=None, names=(), begins=-1, ends=365, key="ec", digest="sha256",
             has_identifiers=True, key_of=None):
        if name in self.made:
            return self.made[name]
        path = {ending: self.folder / f"{name}.{ending}" for ending in ("crt", "key", "csr", "cnf", "txt")}
        algorithm, option = KEYS[key]
        if key_of is not None:  # of one that exists: renewed, or signed by another too
            path["key"].write_text(key_of.key.read_text())
        else:
            openssl("genpkey", "-algorithm", algorithm, *(("-pkeyopt", option) if option else ()), "-out", path["key"])
        path["key"].chmod(0o600)
        openssl("req", "-new", "-key", path["key"], "-subj", subject, "-out", path["csr"])
        lines = [*extensions, f"subjectKeyIdentifier={'hash' if has_identifiers else 'none'}"]
        if issuer is not None:
            lines.append(f"authorityKeyIdentifier={'keyid' if has_identifiers else 'none'}")
        if names:
            lines.append("subjectAltName=" + ",".join(names))
        self._write_settings(path["cnf"], path["txt"], lines)
        signer = (("-selfsign", "-keyfile", path["key"]) if issuer is None
                  else ("-cert", issuer.certificate, "-keyfile", issuer.key))
        ed25519 = (issuer is None and key == "ed25519") or (issuer is not None and "ed25519" in issuer.key.name)
        openssl("ca", "-batch", "-notext", "-preserveDN", "-config", path["cnf"], "-in", path["csr"], "-out", path["crt"], *signer,
                "-startdate", in_days(begins), "-enddate", in_days(ends), "-md", "null" if ed25519 else digest)
        self.made[name] = Certificate(path["crt"], path["key"], issuer)
        return self.made[name]

    def revocation_list(self, name, issuer, revoked=(), begins=-1, ends=30):
        path = self.folder / f"{name}.crl"
        if path.exists():
            return path
        settings, database = self.folder / f"{name}.crl.cnf", self.folder / f"{name}.crl.txt"
        self._write_settings(settings, database, [])
        for certificate in revoked:
            openssl("ca", "-config", settings, "-cert", issuer.certificate, "-keyfile", issuer.key, "-revoke",
                    certificate.certificate)
        openssl("ca", "-gencrl", "-config", settings, "-cert", issuer.certificate, "-keyfile", issuer.key, "-out", path,
                "-crl_lastupdate", in_days(begins), "-crl_nextupdate", in_days(ends))
        return path

    def _write_settings(self, path, database, extensions):
        database.touch()
        pathlib.Path(f"{database}.attr").write_text("unique_subject = no\n")
        path.write_text("[ca]\ndefault_ca=it\n[it]\n"
                        f"database={database}\nnew_certs_dir={self.folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
                        "x509_extensions=extensions\n[any]\ncountryName=optional\norganizationName=optional\ncommonName=optional\n"
                        "[extensions]\n" + "\n".join(extensions) + "\n")


class Papers:
    """The certificates the cases share."""

    def __init__(self, folder):
        self.factory = Factory(folder)
        make = self.factory.make
        self.server_ca = make("server-ca", "/O=Lab/CN=Lab Server CA", CA)
        self.client_ca = make("client-ca", "/O=Lab/CN=Lab Client CA", CA)
        self.foreign_ca = make("foreign-ca", "/O=Elsewhere/CN=Foreign CA", CA)
        self.server = self.issue_server("server")
        self.client = self.issue_client("client")

    def issue_server(self, name, extensions=SERVER, issuer=None, names=("DNS:localhost", "IP:127.0.0.1", "IP:::1"),
                     subject="/CN=localhost", **rest):
        return self.factory.make(name, subject, extensions, issuer or self.server_ca, names, **rest)

    def issue_client(self, name, extensions=CLIENT, issuer=None, subject="/CN=repl", **rest):
        return self.factory.make(name, subject, extensions, issuer or self.client_ca, **rest)

    def file(self, name, *pieces):
        """A file of several PEM pieces (paths, certificates or text), readable by all."""
        path = self.factory.folder / name
        path.write_text("".join(piece.pem if isinstance(piece, Certificate) else piece.read_text()
                                if isinstance(piece, pathlib.Path) else piece for piece in pieces))
        return path
