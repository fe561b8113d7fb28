"""Two hosts with nothing between them but a cable: the database host is restored through the one port of the backup host."""

import json
import pathlib
import re

import pytest

from harness.hosts import Host, connect, why_not

CHAPTER = pathlib.Path(__file__).parents[2] / "doc" / "tutorial" / "08-disaster-on-the-database-host.md"
DATABASE, BACKUP = "192.0.2.10", "192.0.2.20"
PORTS = f"""cat /proc/net/tcp /proc/net/tcp6 | while read _ local _ state _; do
    [ "$state" != 0A ] || printf '%d ' 0x${{local##*:}}
done"""
needs_hosts = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Pair:
    """The two hosts of the chapter, and somebody who types it."""

    def __init__(self, folder, programs):
        self.hosts = {}
        for name in ("database", "backup"):
            self.hosts[name] = Host(folder / name, programs)
        self.database, self.backup = self.hosts["database"], self.hosts["backup"]
        for host in self.hosts.values():
            host.name({"db1.example.com": DATABASE, "backup.example.com": BACKUP})
        self.database.sh("install -d -o postgres -g postgres /run/postgresql")
        connect(self.database, DATABASE, self.backup, BACKUP)

    def copy(self, words):
        """scp FILE... root@db1.example.com:FOLDER, from /root/ca of the backup host: no file of a host is seen by the other."""
        *names, target = words
        folder = re.fullmatch(r"root@db1\.example\.com:(/\S+)", target)[1]
        for name in names:
            text = self.backup.sh(f"cat /root/ca/{name}").stdout
            self.database.sh(f"umask 077; cat >{folder}/{name} <<'END'\n{text}END")

    def type(self, block):
        first, script = block.split("\n", 1)
        host, user = re.fullmatch(r"# (database|backup) host, as (root|postgres)", first).groups()
        copies = re.findall(r"^scp (.*)$", script, re.M)
        if copies:
            for line in copies:
                self.copy(line.split())
            return ""
        done = self.hosts[host].sh(script, user)
        return done.stdout + done.stderr

    def close(self):
        for host in self.hosts.values():
            host.close()


@pytest.fixture
def pair(folder, programs):
    made = Pair(folder, programs)
    yield made
    made.close()


def sections():
    """[(title, its sh blocks)]"""
    parts = re.split(r"^## (.*)$", CHAPTER.read_text(), flags=re.M)
    return [(title, re.findall(r"^```sh\n(.*?)^```$", text, re.S | re.M)) for title, text in zip(parts[1::2], parts[2::2])]


def assert_healthy(pair):
    results = json.loads(pair.backup.sh("pgcoffer check primary --json", check=False).stdout)["checks"]
    assert [result for result in results if result["state"] not in ("pass", "skip")] == []


def assert_nothing_but_the_port(pair):
    """What somebody on the database host finds of the backup host, as the user who restores."""
    database = pair.database
    pair.backup.sh("test -d /var/lib/pgcoffer/primary -a -S /run/pgcoffer/pgcoffer.sock")
    for user in ("postgres", "root"):
        assert database.sh("ls /var/lib/pgcoffer /run/pgcoffer", user, check=False).returncode == 2
    done = database.sh("pgcoffer --socket /run/pgcoffer/pgcoffer.sock list", "postgres", check=False)
    assert done.returncode == 4, done
    done = database.sh("pgcoffer --direct list", "postgres", check=False)
    assert done.returncode != 0, done
    assert set(pair.backup.sh(PORTS).stdout.split()) == {"7432"}
    # One cable and the loopback.
    assert re.findall(r"^\d+: ([a-z0-9]+)", database.sh("ip -o link").stdout, re.M) == ["lo", "eth0"]
    assert database.sh("ip route").stdout.split()[0] == "192.0.2.0/24"
    # And at the port nobody is answered without a certificate.
    done = database.sh("openssl s_client -ign_eof -connect backup.example.com:7432 -CAfile /etc/postgresql/tls/gateway-ca.crt "
                       "<<<'{\"v\":1,\"command\":\"list\"}'", "postgres", check=False)
    assert "certificate required" in done.stderr + done.stdout and "result" not in done.stdout, done


@needs_hosts
def test_a_lost_database_host_gets_every_acknowledged_row_back_through_the_port(pair):
    printed = {}
    for title, blocks in sections():
        if title.startswith("6."):
            assert_nothing_but_the_port(pair)
            assert pair.database.sh("test -e 15/main || pgrep postgres", "postgres", check=False).stdout == ""
        printed[title[0]] = [pair.type(block) for block in blocks]
        if title[0] in "37":
            assert_healthy(pair)
    assert sorted(printed) == list("1234567")

    acknowledged = [int(line) for line in pair.database.sh("cat acknowledged", "postgres").stdout.split()]
    assert acknowledged == list(range(1, len(acknowledged) + 1)) and len(acknowledged) >= 500
    count, last = map(int, pair.database.sh("cat counted", "postgres").stdout.split("|"))
    assert count == last and count in (len(acknowledged), len(acknowledged) + 1)

    restored = printed["6"][0]
    assert "--connect backup.example.com:7432" in restored and "/etc/postgresql/tls/restorer.key" in restored, restored
    assert "every commit will wait" in restored, restored
    assert " postgres postgres " in printed["6"][1], printed["6"][1]
    assert f"{count + 1}\n" == pair.database.sh("psql -XAtc 'SELECT count(*) FROM orders'", "postgres").stdout
    # Of whom the log of the backup host tells.
    log = pair.backup.sh("cat /var/log/pgcofferd.log").stdout
    assert "cert:restorer" in log and DATABASE in log, log[-3000:]
