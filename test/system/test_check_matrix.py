"""`pgcoffer check` against every row of test/certificates/cases.py: one fault, one failing check, in words of its own."""

import os
import pathlib
import sys

import pytest

CERTIFICATES = pathlib.Path(__file__).parents[1] / "certificates"
sys.path.insert(0, str(CERTIFICATES))

import cases  # noqa: E402
from authority import Papers  # noqa: E402
from lab import Lab  # noqa: E402

RIGHT = [case for case in cases.CASES if case.state == "pass"]
WRONG = [case for case in cases.CASES if case.state != "pass"]


@pytest.fixture(scope="module")
def lab(scratch, pki, programs):
    lab = Lab(scratch / "lab", pki, Papers(scratch / "papers"), programs)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def outcomes(lab):
    """outcomes(case): its checks; each case is run once."""
    known = {}

    def run(case):
        if case.root and os.geteuid() != 0:
            pytest.skip("needs root, to make files of another user")
        if case.name not in known:
            case.spoil(lab.reset())
            case.fix = case.fix.replace("{place}", str(lab.place))
            known[case.name] = lab.apply().check()
        return known[case.name]
    return run


def table(checks):
    return "\n".join(f"{each['state']:5}{each['id']:24}{each['seen']}\n     cause: {each['cause']}\n     fix: {each['fix']}"
                     for each in checks if each["state"] != "pass")


def told(checks):
    """What is wrong, in the words that are printed for it."""
    return [(each["cause"], each["fix"]) for each in checks if each["state"] in ("fail", "warn")]


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_a_right_set_up_gives_neither_failure_nor_warning(case, outcomes):
    checks = outcomes(case)
    assert not told(checks), table(checks)
    assert sum(each["state"] == "pass" for each in checks) > 35, table(checks)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_fault_gives_one_failing_check_that_names_it(case, outcomes):
    checks = outcomes(case)
    spoken = [each for each in checks if each["state"] == case.state]
    assert [each["id"] for each in spoken] == [case.check], table(checks)
    if case.state == "warn":
        assert not any(each["state"] == "fail" for each in checks), table(checks)
    assert case.cause in spoken[0]["cause"], table(spoken)
    assert case.fix in spoken[0]["fix"], table(spoken)
    for each in checks:
        assert each["seen"] or each["state"] == "pass", f"{each['id']} is {each['state']} without a reason"


def test_no_fault_is_told_in_the_words_of_another(outcomes):
    """The phrases that tell a fault stand in no right set-up's output and in no other fault's."""
    spoken = {case: told(outcomes(case)) for case in WRONG if not case.root or os.geteuid() == 0}
    mistaken = []
    for case in spoken:
        for other, words in spoken.items():
            if (other.check, other.cause) == (case.check, case.cause):
                continue
            mistaken += [f"{case.name}: cause \"{case.cause}\" also in {other.name}: {cause}" for cause, _ in words
                         if case.cause in cause]
            mistaken += [f"{case.name}: fix \"{case.fix}\" also in {other.name}: {fix}" for _, fix in words
                         if case.fix in fix and (other.check, other.fix) != (case.check, case.fix)]
    assert not mistaken, "\n".join(mistaken)
    assert len({(case.check, case.cause) for case in spoken}) >= 80


def test_the_page_of_the_cases_is_up_to_date():
    assert (CERTIFICATES / "README.md").read_text() == cases.readme()
