"""`pgcoffer check` and the errors of backup and receiver: impostors, TLS 1.3 refusals, servers that misbehave, what is left in logs."""

import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "certificates"))

import cases  # noqa: E402
import impostors  # noqa: E402
from authority import Papers  # noqa: E402
from harness.scratch import wait_for  # noqa: E402
from lab import PASSWORD, Lab  # noqa: E402

REFUSED_BY_LIBPQ_WITHOUT_REASON = (
    "server_expired", "server_not_yet_valid", "server_of_foreign_ca", "server_intermediate_not_sent", "server_intermediate_is_no_ca",
    "server_named_like_its_ca", "server_eku_client_only", "leaf_as_root", "stale_root")


@pytest.fixture(scope="module")
def papers(scratch):
    return Papers(scratch / "papers-2")


@pytest.fixture(scope="module")
def lab(scratch, pki, papers, programs):
    lab = Lab(scratch / "lab-2", pki, papers, programs)
    yield lab
    lab.close()


def configure(agent, lab, **settings):
    """The lab's options as the section of a server."""
    values = {name.replace("-", "_"): value for name, value in lab.options.items()}
    agent.servers["primary"] = {"connect_timeout": 3, **values, **settings}
    agent.write_configuration()
    return agent


@pytest.mark.parametrize("name", REFUSED_BY_LIBPQ_WITHOUT_REASON)
def test_a_failed_backup_names_the_fault_libpq_keeps_to_itself(name, lab, make_agent):
    case = next(case for case in cases.CASES if case.name == name)
    case.spoil(lab.reset())
    lab.apply()
    agent = configure(make_agent(), lab).start()
    result = agent.cli("backup", "primary", "--json")
    assert result.code == 6, result
    assert result.json["error"]["check"] == case.check, result
    cause = case.cause[1:]  # within a sentence it begins with a small letter
    assert cause in result.err and case.fix in result.err, result
    assert cause in agent.log_text(), agent.log_text()
    def fault_of_the_receiver():
        fault = agent.receiver("primary")["error"]
        return fault is not None and cause in fault["message"] and fault["check"] == case.check
    wait_for(fault_of_the_receiver, lambda: f"the receiver has tried too, and says the same: {agent.receiver('primary')}")


# ---- impostors ----

@pytest.fixture
def impostor():
    made = []

    def make(answer):
        made.append(impostors.Impostor(answer))
        return made[-1]
    yield make
    for each in made:
        each.close()


def meet(lab, impostor):
    lab.reset().password()
    lab.options.update(host="localhost", hostaddr="127.0.0.1", port=impostor.port)
    return impostor


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
@pytest.mark.parametrize("signer", ["foreign", "known"])
@pytest.mark.parametrize("answer", ["asks", "admits"])
def test_an_impostor_gets_neither_password_nor_commands(mode, signer, answer, lab, papers, impostor, make_agent):
    """Also one with a certificate of the right CA gets no password in clear text, and one that admits everybody learns nothing."""
    if signer == "known" and answer == "admits":
        pytest.skip("whoever has a certificate of our CA for this name and admits us is the server")
    certificate = papers.issue_server("impostor", issuer=papers.foreign_ca) if signer == "foreign" else papers.server
    served = impostor(impostors.pretender(impostors.tls_context(certificate),
                                          impostors.ASK_CLEARTEXT if answer == "asks" else impostors.ADMIT))
    meet(lab, served)
    lab.options["tls-mode"] = mode
    result = lab.run("--json")
    assert result.code == 1, result
    agent = configure(make_agent(), lab, allow_insecure="yes").start()
    backup = agent.cli("backup", "primary", timeout=60)
    if answer == "asks" or mode != "require":
        assert backup.code in (5, 6), backup
        assert b"REPLICATION" not in served.received and b"IDENTIFY" not in served.received, served.received
    assert PASSWORD.encode() not in served.received


# ---- servers that misbehave ----

@pytest.mark.parametrize("answer", [impostors.silence, impostors.hang_up, impostors.http, impostors.garbage_after_yes,
                                    impostors.half_a_record, impostors.endless_data, impostors.no_tls],
                         ids=lambda answer: answer.__name__)
def test_a_server_that_misbehaves_is_told_in_time(answer, lab, impostor, make_agent):
    meet(lab, impostor(answer))
    agent = configure(make_agent(), lab, connect_timeout=2)
    began = time.monotonic()
    result = agent.cli("check", "primary", "--json", timeout=60)
    assert time.monotonic() - began < 12
    assert result.code == 1, result
    failed = [each for each in result.json["checks"] if each["state"] == "fail"]
    assert len(failed) == 1 and failed[0]["id"] in ("protocol.answer", "protocol.handshake"), failed
    assert failed[0]["cause"] and failed[0]["fix"]


# ---- refusals of TLS 1.3 come after the handshake ----

def names_the_cause(lab, times):
    lab.reset().client(lab.papers.issue_client("client-foreign", issuer=lab.papers.foreign_ca)).apply()
    for _ in range(times):
        failed = [each for each in lab.check("--passive") if each["state"] == "fail"]
        assert [each["id"] for each in failed] == ["identity.chain"], failed
        assert "CN=Foreign CA" in failed[0]["cause"]


def test_a_refusal_by_tls_13_is_never_lost(lab):
    names_the_cause(lab, 10)


@pytest.mark.long
def test_a_refusal_by_tls_13_is_never_lost_in_a_hundred(lab):
    names_the_cause(lab, 100)


# ---- what is left behind ----

def complaints(text):
    return [line for line in text.splitlines() if any(word in line for word in ("FATAL", "ERROR", "could not", "WARNING", "PANIC"))]


def test_the_servers_log_shows_the_probes_and_nothing_else(lab):
    lab.reset().apply()
    offset = len(lab.cluster.log_text())
    lab.check("--passive")
    assert complaints(lab.log_since(offset)) == []
    offset = len(lab.cluster.log_text())
    checks = {each["id"]: each for each in lab.check()}
    lines = complaints(lab.log_since(offset))
    negative = ("hba.plaintext", "hba.certificate", "identity.foreign", "identity.other_role", "hba.superuser", "protocol.versions",
                "protocol.ciphers")
    assert all(checks[name]["state"] == "pass" for name in negative), checks
    assert 1 <= len(lines) <= 20 and not any("ERROR" in line or "PANIC" in line for line in lines), lines


def test_no_password_is_shown_anywhere(lab):
    cases.right_scram_verify_full(lab.reset())
    lab.apply()
    for words in ((), ("--json",), ("--nagios",), ("--verbose",)):
        result = lab.run(*words)
        assert PASSWORD not in result.out + result.err
