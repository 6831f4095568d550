"""
Attempts to break out, made by bulkhead-vmm itself where it is jailed completely: by the main thread and by a vCPU's,
each with its filter in force, one process per attempt; and again with layers of the jail peeled off, so that no layer
hides that another is not there.

A neighbour runs meanwhile, and the host has objects that anybody may use who can name them. Whoever attempts something
knows all their names. What must come out is the table in docs/jail.md.
"""
from concurrent.futures import ThreadPoolExecutor

import pytest

import attacker
import table
from bulkhead import Guests, needs_kvm, new_name
from canaries import Canaries
from host import Host

pytestmark = needs_kvm

WORKERS = 3

EVERY_CELL = [(column, role) for column in table.COLUMNS for role in attacker.ROLES]
found = {}  # (identity, column, role): outcome


@pytest.fixture(scope="module")
def canaries(tmp_path_factory):
    host = Host(tmp_path_factory.mktemp("cwd"))
    guests = Guests(host.cwd)
    try:
        neighbour = guests.start("echo")
        neighbour.wait_output(rb"echo ready\n")
        with Canaries(tmp_path_factory.mktemp("canaries"), neighbour) as there:
            there.cwd = host.cwd
            yield there
    finally:
        guests.close()
    host.assert_clean()
    if found:
        table.report(found)


def attempts_of(column, role, canaries):
    """Makes every attempt; returns the cells that are not as predicted."""
    knowledge = canaries.knowledge()

    def make(identity):
        return attacker.attempt(column, role, identity, new_name(), knowledge, canaries.cwd)

    rows = table.rows()
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = dict(zip(rows, pool.map(make, rows)))
    found.update({(identity, column, role): outcome for identity, outcome in outcomes.items()})
    canaries.assert_untouched()
    return {identity: (rows[identity][0], f"predicted {expected}", f"found {outcome}")
            for identity, outcome in outcomes.items()
            if not table.holds(expected := table.predicted(rows[identity][1][column]), outcome)}


def seccomp_only(role):
    return {identity for (identity, column, of), outcome in found.items()
            if (column, of, outcome) == ("without seccomp", role, "succeeded")}


def check(column, role, canaries):
    assert attempts_of(column, role, canaries) == {}
    if column == "without seccomp" and table.SERIES in table.MEASURED:
        assert len(seccomp_only(role)) <= table.published()[table.SERIES]


@pytest.mark.parametrize("column, role", EVERY_CELL)
def test_table(column, role, canaries):
    check(column, role, canaries)


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.parametrize("column, role", EVERY_CELL)
def test_table_in_the_lab(column, role, canaries):
    check(column, role, canaries)


def test_an_attempt_that_does_not_fit_its_prediction_is_noticed():
    assert not table.holds("SIGSYS", "EPERM") and not table.holds("ENOENT", "succeeded")
    assert not table.holds("contained", "succeeded") and not table.holds("EPERM", "broken: x")
    assert table.predicted("EACCES; 6.1: ENOENT", "6.1") == "ENOENT"
    assert table.predicted("EACCES; 6.1: ENOENT", "6.18") == "EACCES"
