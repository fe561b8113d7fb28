"""A small PKI of EC keys, made with openssl(1): one CA each for servers and clients, and every broken certificate a test needs."""

import pathlib
import subprocess

from .scratch import give_to, make_folder


class Authority:
    def __init__(self, folder, name, days=3650):
        self.folder = make_folder(folder, 0o755)
        self.name = name
        self.key = self.folder / f"{name}.key"
        self.certificate = self.folder / f"{name}.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days,
                "-subj", f"/O=pgcoffer test/CN={name}", "-keyout", self.key, "-out", self.certificate,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.certificate.chmod(0o644)

    def issue(self, stem, common_name, usage, names=(), days=365, not_before=None, not_after=None, folder=None):
        """STEM.crt and STEM.key (0600, owned by the OS user of the servers); dates as YYYYMMDDHHMMSSZ make expired ones."""
        folder = make_folder(folder or self.folder, 0o755)
        key, request, certificate, extensions = (folder / f"{stem}.{ending}" for ending in ("key", "csr", "crt", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={common_name}",
                "-keyout", key, "-out", request)
        lines = ["basicConstraints=CA:FALSE", f"extendedKeyUsage={usage}"]
        if names:
            lines.append("subjectAltName=" + ",".join(names))
        extensions.write_text("\n".join(lines) + "\n")
        if not_after is None:
            openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                    "-days", days, "-extfile", extensions, "-out", certificate)
        else:
            self._issue_with_dates(request, certificate, lines, not_before or "20200101000000Z", not_after)
        for leftover in (request, extensions):
            leftover.unlink()
        certificate.chmod(0o644)
        key.chmod(0o600)
        give_to(key)
        return Pair(certificate, key)

    def _issue_with_dates(self, request, certificate, lines, not_before, not_after):
        """openssl x509 takes no dates in OpenSSL 3.0, openssl ca does."""
        store = make_folder(self.folder / f"{certificate.stem}.ca", 0o755, None)
        (store / "index.txt").touch()
        (store / "index.txt.attr").write_text("unique_subject = no\n")
        (store / "serial").write_text("5000\n")
        settings = store / "ca.cnf"
        settings.write_text("[ca]\ndefault_ca=it\n[it]\n"
                            f"dir={store}\ndatabase={store}/index.txt\nserial={store}/serial\nnew_certs_dir={store}\n"
                            f"certificate={self.certificate}\nprivate_key={self.key}\ndefault_md=sha256\npolicy=any\n"
                            "x509_extensions=extensions\n[any]\ncommonName=supplied\n[extensions]\n" + "\n".join(lines) + "\n")
        openssl("ca", "-batch", "-notext", "-config", settings, "-in", request, "-out", certificate,
                "-startdate", not_before, "-enddate", not_after)


class Pair:
    def __init__(self, certificate, key):
        self.certificate = pathlib.Path(certificate)
        self.key = pathlib.Path(key)


class Pki:
    """server_ca signs `server` (localhost, 127.0.0.1); client_ca signs `client` (CN=repl)."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.server_ca = Authority(self.folder / "server-ca", "pgcoffer test server CA")
        self.client_ca = Authority(self.folder / "client-ca", "pgcoffer test client CA")
        self.other_ca = Authority(self.folder / "other-ca", "pgcoffer foreign CA")
        self.server = self.server_ca.issue("server", "localhost", "serverAuth", ("DNS:localhost", "IP:127.0.0.1"))
        self.client = self.client_ca.issue("repl", "repl", "clientAuth")


def openssl(*words):
    subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True, text=True)
