"""A scrape of pgcofferd's metrics, read as Prometheus reads it."""

import re
import urllib.request

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
OPEN = "application/openmetrics-text; version=1.0.0"


def parse(text):
    """{name: {((label, value), ...): number}}; every line is a comment or a sample, and no sample comes twice."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line}"
        labels = tuple(LABEL.findall(match[2] or ""))
        samples = found.setdefault(match[1], {})
        assert labels not in samples, f"twice: {line}"
        samples[labels] = float(match[3])
    return found


class Scrape:
    """`server` is whose figures are asked for unless another is named."""

    def __init__(self, text, server=None):
        self.text, self.samples, self.server = text, parse(text), server

    def __call__(self, name, **labels):
        """The one sample of that name which has these labels; None: there is none."""
        is_of_a_server = any("server" in dict(have) for have in self.samples.get(name, ()))
        wanted = set({**({"server": self.server} if self.server and is_of_a_server else {}), **labels}.items())
        (value,) = [number for have, number in self.samples.get(name, {}).items() if wanted <= set(have)] or [None]
        return value


def scrape(port, accept=None, server=None, timeout=30):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return Scrape(answer.read().decode(), server)
