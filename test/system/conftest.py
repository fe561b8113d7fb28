"""Fixtures of the system tests."""

import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.agent import Agent, install_binaries  # noqa: E402
from harness.certificates import Pki  # noqa: E402
from harness.cluster import Cluster, binaries  # noqa: E402
from harness.scratch import give_to  # noqa: E402


@pytest.fixture(scope="session")
def scratch():
    """A folder every OS user may pass through, removed at the end unless PGCOFFER_TEST_KEEP is set."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgcoffer-"))
    folder.chmod(0o755)
    os.environ["PGCOFFER_TEST_SCRATCH"] = str(folder)
    yield folder
    if not os.environ.get("PGCOFFER_TEST_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def programs(scratch):
    return install_binaries(scratch / "bin")


@pytest.fixture(scope="session")
def pki(scratch):
    return Pki(scratch / "pki")


@pytest.fixture(scope="session", autouse=True)
def sanitizer_reports(scratch):
    """Under a sanitizer every process of ours writes what it finds to a file: none may be left."""
    folder = scratch / "sanitizer"
    folder.mkdir()
    folder.chmod(0o1777)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        os.environ[name] = f"log_path={folder}/report:exitcode=99:print_stacktrace=1:" + os.environ.get(name, "")
    yield
    found = "".join(path.read_text(errors="replace")[:4000] for path in sorted(folder.iterdir()))
    assert found == "", found


@pytest.fixture
def folder(scratch, request):
    path = pathlib.Path(tempfile.mkdtemp(prefix=request.node.name[5:17].replace("[", "-").replace("]", "") + "-", dir=scratch))
    path.chmod(0o1777)  # programs of several OS users make their folders here
    yield path
    if not os.environ.get("PGCOFFER_TEST_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_cluster(folder, pki):
    """make_cluster(name, version=15, ...) gives a Cluster that is stopped at the end of the test."""
    made = []

    def make(name="server", **options):
        version = options.get("version", 15)
        if binaries(version) is None:
            pytest.skip(f"PostgreSQL {version} is not on this machine (test/support/fetch-postgres.py {version})")
        cluster = Cluster(folder / name, pki, **options)
        made.append(cluster)
        return cluster

    yield make
    for cluster in reversed(made):
        cluster.close()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster().start().create_role()


@pytest.fixture
def make_agent(folder, pki, programs):
    made = []

    def make(name="agent", **options):
        agent = Agent(folder / name, programs, pki, **options)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.close()


@pytest.fixture
def agent(make_agent, cluster):
    """A daemon that streams from `cluster` under the server name "primary"."""
    agent = make_agent().add_server("primary", cluster).start()
    agent.wait_streaming("primary")
    return agent
