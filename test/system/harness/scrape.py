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


HEAD = re.compile(r"# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)")
ENDINGS = {"gauge": "", "counter": "_total", "info": "_info"}


def check_head(line, family):
    """A line of metadata; the family that it belongs to, {"name", "TYPE", ...}."""
    word, name, value = HEAD.fullmatch(line).groups()
    if family.get("name") != name:
        family = {"name": name}
    assert word not in family and "samples" not in family, f"out of place: {line}"
    assert word != "HELP" or re.fullmatch(r'(?:[^\\"]|\\[\\n"])*', value), f"not escaped: {line}"
    assert word != "TYPE" or value in ENDINGS, line
    assert word != "UNIT" or name.endswith("_" + value), f"a unit that the name does not end with: {line}"
    return {**family, word: value}


def check_sample(line, family):
    match = SAMPLE.match(line)
    kind = family["TYPE"]
    assert match and match[1] == family["name"] + ENDINGS[kind], f"not of {family['name']}: {line}"
    names = [name for name, _ in LABEL.findall(match[2] or "")]
    assert len(set(names)) == len(names) and not any(name.startswith("__") for name in names), line
    assert re.fullmatch(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?", match[3]), f"no number: {line}"
    assert kind != "counter" or float(match[3]) >= 0, f"a counter below 0: {line}"
    assert kind != "info" or (match[3] == "1" and "UNIT" not in family), line


def check_open_metrics(text):
    """Stricter than Prometheus: of OpenMetrics 1.0 all that its text has to keep to, as far as gauges, counters and infos go."""
    assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1 and "\r" not in text
    parse(text)  # no sample twice
    family, seen = {}, set()
    for line in text.splitlines()[:-1]:
        if line.startswith("#"):
            following = check_head(line, family)
            if following["name"] != family.get("name"):
                assert "samples" in family or not family, f"{family['name']} has no sample"
                assert following["name"] not in seen, f"two families {following['name']}"
                seen.add(following["name"])
            family = following
        else:
            check_sample(line, family)
            family["samples"] = True
    names = {name + ending for name in seen for ending in ("", *ENDINGS.values())}
    assert len(names) == len(seen) * len(set(ENDINGS.values())), "a family's sample is called like another family"
