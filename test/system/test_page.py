"""The status page in a real browser, over mutual TLS: of a daemon with some days behind it."""

import http.client
import os
import pathlib
import selectors
import ssl
import struct
import time

import pytest

from harness import browser as browsers
from harness.agent import BUILD, Agent
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.pictures import shrink
from harness.proxy import Proxy
from harness.scratch import free_port, make_folder, wait_for

pytestmark = [pytest.mark.long, pytest.mark.skipif(browsers.why_not() is not None, reason=str(browsers.why_not()))]

IMAGES = pathlib.Path(__file__).parents[2] / "doc" / "images"
DAY = 86400
DAYS = 9
ROWS = 60_000  # of a quarter kilobyte each day
HOSTILE = "<script>document.title='taken'</script>\"&'"
# Every text of the page against what is behind it, by WCAG 2: what is below the ratio of AA.
TOO_FAINT = """
const levels = c => c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
const luminance = c => { const l = levels(c); return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length == 4 && n[3] == 0 ? null : n.slice(0, 3); };
const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
const faint = [];
for (const e of document.body.querySelectorAll('*')) {
  const text = [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.data).join('').trim();
  if (!text || e.closest('defs, title, desc')) continue;
  const style = getComputedStyle(e);
  const a = luminance(parse(e.namespaceURI.endsWith('svg') ? style.fill : style.color)), b = luminance(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) faint.push(text.slice(0, 40) + ': ' + ratio.toFixed(2));
}
return faint;
"""


class Clock:
    """What the processes with its environment take for the time; it can only be put forward."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(struct.pack("<q", 0))
        path.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(BUILD / "preload" / "later_clock.so"), "LATER_CLOCK": str(path),
                            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def put_forward(self, days, hours=0):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("<q", int(days * DAY + hours * 3600)))


class Brake(Proxy):
    """A way that can be made slow, and then held: what comes from the server stays where it is until it is let go."""

    def __init__(self, port):
        self.pause = 0
        self.is_holding = False
        self.held = []
        super().__init__(port)

    def carry(self, end, other, is_server):
        if is_server and self.is_holding:
            self.selector.unregister(end)
            self.held.append((end, other))
            return
        if is_server and self.pause:
            time.sleep(self.pause)  # the slowness itself
        super().carry(end, other, is_server)

    def release(self):
        self.pause, self.is_holding = 0, False
        with self.lock:
            for end, other in self.held:
                self.selector.register(end, selectors.EVENT_READ, (other, True))
            self.held.clear()


class Scene:
    """Nine days with a backup each, a segment that is lost, a pin, a drill, a verification, and a backup that goes on."""

    def __init__(self, folder, programs, pki):
        self.clock = Clock(folder / "clock")
        saved = {name: os.environ.get(name) for name in self.clock.environment}
        os.environ.update(self.clock.environment)  # the servers' as well
        try:
            self.cluster = Cluster(folder / "server", pki, settings=(
                "wal_sender_timeout = 0", "autovacuum = off", "cluster_name = orders", "full_page_writes = off"))
            self.cluster.start().create_role()
        finally:
            for name, value in saved.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        self.brake = Brake(self.cluster.port)
        self.authority = Authority(folder / "metrics-ca", "DBA team CA")
        self.dba = self.authority.issue("dba", "dba", "clientAuth")
        self.port = free_port()
        self.agent = Agent(folder / "agent", programs, pki)
        self.agent.environment = self.clock.environment
        self.agent.daemon_settings.update({
            "host": "localhost", "metrics": self.port, "metrics_cert_file": pki.server.certificate,
            "metrics_key_file": pki.server.key, "metrics_ca_file": self.authority.certificate})
        self.pki, self.running = pki, None
        self.agent.add_server("orders", self.cluster, port=self.brake.port).start().wait_streaming("orders")
        self.cluster.sql("CREATE TABLE orders (n int, t text)")
        self.live()

    def work(self):
        self.cluster.sql(f"INSERT INTO orders SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, {ROWS}) n")
        self.agent.wait_flushed("orders", self.cluster.sql("SELECT pg_current_wal_lsn()::text"))

    def lose(self):
        """A segment, as a slip of the hand would."""
        name = self.cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.cluster.sql("SELECT pg_switch_wal()")
        self.work()
        for _ in range(2):
            self.cluster.sql("CHECKPOINT")  # else the server still has it, and it is fetched again
        self.agent.stop()
        for path in self.agent.system_folder("orders").glob(f"wal/00000001/????????/{name}*"):
            path.unlink()
        self.agent.start().wait_streaming("orders")

    def live(self):
        self.backups = []
        for day in range(DAYS):
            self.clock.put_forward(day)
            self.work()
            self.backups.append(self.agent.backup("orders", "--label", "nightly")["id"])
            if day == 4:
                self.clock.put_forward(day, hours=14)
                self.lose()
        self.agent.ok("pin", "orders", self.backups[1], "--reason", "before the move")
        self.clock.put_forward(DAYS - 2, hours=30)
        self.agent.ok("drill", "orders", self.backups[-1], timeout=300)
        self.clock.put_forward(DAYS - 1, hours=12)
        self.verify = self.agent.cli("verify", "orders", self.backups[-1])
        self.clock.put_forward(DAYS - 1, hours=17)
        self.work()
        now = self.cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24')")
        wait_for(lambda: self.agent.receiver("orders")["complete"]["at"].startswith(now), "what has come is noted")
        self.brake.pause = 0.002
        self.running = self.agent.json("backup", "orders", "--fast-checkpoint", "--label", HOSTILE, "--no-wait")["job"]
        wait_for(self.is_half_done, "half of the backup is there", pause=0.2)
        self.brake.is_holding = True

    def is_half_done(self):
        (job,) = self.agent.json("status")["jobs"]
        progress = job["progress"]
        return progress and progress["total_bytes"] and progress["done_bytes"] > 0.5 * progress["total_bytes"]

    def get(self, path):
        context = ssl.create_default_context(cafile=str(self.pki.server_ca.certificate))
        context.load_cert_chain(self.dba.certificate, self.dba.key)
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def close(self):
        if self.running:
            self.brake.release()
        self.agent.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def scene(scratch, programs, pki):
    made = Scene(make_folder(scratch / "page"), programs, pki)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(scene, scratch):
    opened = browsers.Browser(scratch / "browser", f"https://localhost:{scene.port}", scene.pki.server_ca.certificate, scene.dba)
    opened.load(f"https://localhost:{scene.port}/")
    yield opened
    opened.close()


def text_of(browser, selector):
    return browser.evaluate("const e = document.querySelector(arguments[0]); return e && e.textContent", selector)


def count(browser, selector):
    return browser.evaluate("return document.querySelectorAll(arguments[0]).length", selector)


def test_the_page_forbids_all_that_it_does_not_need(scene):
    answer, body = scene.get("/")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert body.startswith("<!DOCTYPE html>") and body.endswith("</html>\n")


def test_a_browser_with_a_certificate_shows_what_can_be_restored(scene, browser):
    def is_whole():
        browser.load(f"https://localhost:{scene.port}/")
        return count(browser, "svg.timeline use[href='#mark-running']") == 1 and count(browser, "svg.timeline rect.gap") == 1
    wait_for(is_whole, "the running backup and the gap are on the page", 60, pause=1)
    assert text_of(browser, "h1") == "pgcoffer"
    verdict = text_of(browser, ".verdict")
    assert verdict.startswith("Every moment from ") and " can be restored, but for after " in verdict and "WAL is missing" in verdict
    assert text_of(browser, "title").startswith("orders: ")
    marks = {name: count(browser, f"svg.timeline use[href='#mark-{name}']") for name in ("backup", "pinned", "damaged", "drill", "verified")}
    # The backup before the gap cannot be restored: the segment that is lost is one it needs itself.
    assert marks == {"backup": DAYS - 2, "pinned": 1, "damaged": 1, "drill": 1, "verified": 1}
    assert count(browser, "svg.timeline[role=img] > title") == 1 and count(browser, "script") == 0
    assert "streaming" in text_of(browser, ".panel dl") and "CN=repl" in text_of(browser, ".certificates")
    assert "copying, " in text_of(browser, ".jobs") and count(browser, ".jobs svg.bar") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable_in_both_schemes(browser, scheme):
    browser.show_as(1200, scheme)
    assert browser.evaluate(TOO_FAINT) == []
    ground = browser.evaluate("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 245, 247)", "dark": "rgb(17, 21, 27)"}[scheme]


@pytest.mark.parametrize("width", [320, 380, 700, 1200])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.show_as(width)
    assert browser.evaluate("return document.scrollingElement.scrollWidth") <= width
    outside = browser.evaluate("return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && "
                               "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))")
    assert outside == []
    overlapping = browser.evaluate("""
        const boxes = [...document.querySelectorAll('svg.timeline > text')].filter(e => getComputedStyle(e).display != 'none')
          .map(e => e.getBoundingClientRect()).sort((a, b) => a.left - b.left);
        return boxes.filter((b, i) => i && b.left < boxes[i - 1].right + 2).length""")
    assert overlapping == 0


def test_it_can_be_printed_dark_on_white(browser):
    browser.show_as(1200, "dark")
    browser.devtools("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate("return getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate(TOO_FAINT) == []
    assert len(browser.devtools("Page.printToPDF")["data"]) > 10_000
    browser.devtools("Emulation.setEmulatedMedia", media="")


def test_the_pictures_in_the_documents_are_of_it(browser, scratch):
    """With UPDATE_GOLDEN they are made anew: of the server, and where the page is narrow of what stands first."""
    folder = IMAGES if os.environ.get("UPDATE_GOLDEN") else scratch
    folder.mkdir(exist_ok=True)
    for name, width, scheme, last in (("wide", 1200, "light", "main > section"), ("dark", 1200, "dark", "main > section"),
                                      ("narrow", 380, "light", ".stored")):
        browser.show_as(width, scheme)
        path = folder / f"status-{name}.png"
        browser.screenshot(path, browser.evaluate("return document.querySelector(arguments[0]).getBoundingClientRect().bottom + 20", last))
        assert path.stat().st_size > 10_000
        if folder == IMAGES:
            shrink(path)
        assert 10_000 < (IMAGES / path.name).stat().st_size < 150_000


def test_a_label_is_text_whatever_it_holds(scene, browser):
    scene.brake.release()
    scene.agent.cli("follow", scene.running)
    scene.running = None

    def is_shown():
        browser.load(f"https://localhost:{scene.port}/")
        return HOSTILE in text_of(browser, ".stored")
    wait_for(is_shown, "the label is on the page", 60, pause=1)
    assert text_of(browser, "title").startswith("orders: ") and count(browser, "script") == 0
