"""A headless Chromium with a client certificate, driven through chromedriver's HTTP."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

from .certificates import openssl
from .scratch import free_port, wait_for

POLICIES = pathlib.Path("/etc/chromium/policies/managed")
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking")


def why_not():
    """What keeps this machine from having such a browser, or None."""
    programs = [name for name in ("chromium", "chromedriver", "certutil", "pk12util") if shutil.which(name) is None]
    if programs:
        return f"not installed: {', '.join(programs)}"
    return None if os.geteuid() == 0 else "only root can write the browser's policy, by which it chooses a certificate"


class Browser:
    """Trusts `authority`, and shows `pair` to `origin`."""

    def __init__(self, folder, origin, authority, pair):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.make_store(authority, pair)
        self.made = [path for path in (POLICIES, POLICIES.parent) if not path.exists()]
        POLICIES.mkdir(parents=True, exist_ok=True)
        self.policy = POLICIES / f"pgcoffer-test-{os.getpid()}.json"
        self.policy.write_text(json.dumps({"AutoSelectCertificateForUrls": [json.dumps({"pattern": origin, "filter": {}})]}))
        self.port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env={**os.environ, "HOME": str(self.folder)})
        self.session = ""
        try:
            wait_for(self.is_ready, "chromedriver answers")
            options = {"binary": "/usr/bin/chromium", "args": [*ARGUMENTS, f"--user-data-dir={self.folder / 'profile'}"]}
            made = self.ask("POST", "", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
            self.session = "/" + made["sessionId"]
        except BaseException:
            self.close()
            raise

    def make_store(self, authority, pair):
        store = self.folder / ".pki" / "nssdb"
        store.mkdir(parents=True)
        bundle = self.folder / "browser.p12"
        openssl("pkcs12", "-export", "-in", pair.certificate, "-inkey", pair.key, "-out", bundle, "-passout", "pass:")
        for words in (["certutil", "-d", f"sql:{store}", "-N", "--empty-password"],
                      ["certutil", "-d", f"sql:{store}", "-A", "-t", "CT,,", "-n", "authority", "-i", authority],
                      ["pk12util", "-d", f"sql:{store}", "-i", bundle, "-W", ""]):
            subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                return json.load(answer)["value"]["ready"]
        except OSError:
            return False

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/session{self.session}{path}", method=method,
                                         data=json.dumps(body).encode() if body is not None else None,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def load(self, address):
        self.ask("POST", "/url", {"url": address})

    def evaluate(self, script, *arguments):
        """The value that the body of a function returns; run by the driver, which a page's policy does not bind."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def show_as(self, width, scheme="light"):
        """So wide, and as high as the page is."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for height in (800, None):
            height = height or self.evaluate("return document.documentElement.getBoundingClientRect().height")
            self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=int(height), deviceScaleFactor=1, mobile=False)

    def screenshot(self, path, height):
        """The upper part of what is shown."""
        width = self.evaluate("return innerWidth")
        taken = self.devtools("Page.captureScreenshot", clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1})
        pathlib.Path(path).write_bytes(base64.b64decode(taken["data"]))

    def close(self):
        if self.session:
            self.ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait(20)
        self.policy.unlink()
        for path in self.made:
            path.rmdir()
