"""
Attempts to break out, made by bulkhead-vmm itself where it is jailed completely: by the main thread and by a vCPU's,
each with its filter in force, one process per attempt; by the process of each kind of device, likewise; and again with layers of the jail peeled off, so that no layer
hides that another is not there.

A neighbour runs meanwhile, and the host has objects that anybody may use who can name them. Whoever attempts something
knows all their names. What must come out is the table in docs/jail.md.
"""
import os
import subprocess
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
# What is behind the filter is the same jail as the VMM's: make test does without.
EVERY_DEVICE_CELL = [pytest.param(column, role, marks=[] if column == "full" else pytest.mark.slow)
                     for column in table.COLUMNS for role in table.DEVICES]
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
            there.disks = tmp_path_factory.mktemp("disks")
            yield there
    finally:
        guests.close()
    host.assert_clean()
    if found:
        table.report(found)


def attempts_of(column, role, canaries):
    """Makes every attempt; returns the cells that are not as predicted."""
    knowledge = canaries.knowledge(canaries.neighbour.vmm())

    def make(identity):
        disk = canaries.disks / f"{identity}.img"  # two guests cannot have one
        disk.touch(mode=0o600)
        os.truncate(disk, 1 << 20)
        return attacker.attempt(column, role, identity, new_name(), knowledge, canaries.cwd, disk)

    rows = table.rows()
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = dict(zip(rows, pool.map(make, rows)))
    found.update({(identity, column, role): outcome for identity, outcome in outcomes.items()})
    canaries.assert_untouched()
    return {identity: (rows[identity][0], f"predicted {expected}", f"found {outcome}")
            for identity, outcome in outcomes.items()
            if not table.holds(expected := table.predicted(rows[identity][1][column], role), outcome)}


def seccomp_only(role):
    return {identity for (identity, column, of), outcome in found.items()
            if (column, of, outcome) == ("without seccomp", role, "succeeded")}


def check(column, role, canaries):
    assert attempts_of(column, role, canaries) == {}
    if column == "without seccomp" and role in attacker.ROLES and table.SERIES in table.MEASURED:
        assert len(seccomp_only(role)) <= table.published()[table.SERIES]


@pytest.mark.parametrize("column, role", EVERY_CELL + EVERY_DEVICE_CELL)
def test_table(column, role, canaries):
    check(column, role, canaries)


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.parametrize("column, role", EVERY_CELL + EVERY_DEVICE_CELL)
def test_table_in_the_lab(column, role, canaries):
    check(column, role, canaries)


@pytest.mark.parametrize("identity, outcome", [
    *((identity, "succeeded") for identity in (
        "E4.1", "E4.3", "E5.1", "E5.2", "E5.5", "E5.6", "E6.4", "E7.1", "E7.2", "E7.3", "E7.4", "E7.5", "E7.8", "E7.9",
        "E7.10", "E7.11", "E7.12", "E7.13", "E7.14", "E7.15", "E7.16", "E7.17", "E7.18", "E7.20", "E7.24", "E8.1",
        "E8.2", "E8.4", "E8.6", "E8.8", "E8.10", "E8.11", "E8.13", "E9.3", "E9.4", "E9.10", "E9.11", "E10.14")),
    # An address that is not mapped, of a process that may be written to.
    ("E7.6", "EFAULT"), ("E7.7", "EFAULT"), ("E7.19", "ENOMEM"),
])
def test_without_a_jail_the_attempt_reaches_its_target(identity, outcome, tmp_path):
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            with Canaries(tmp_path, None) as canaries:
                knowledge = canaries.knowledge(process.pid)
                assert attacker.attempt_without_jail(identity, knowledge) == outcome
        finally:
            process.kill()


def test_an_attempt_that_does_not_fit_its_prediction_is_noticed():
    assert not table.holds("SIGSYS", "EPERM") and not table.holds("ENOENT", "succeeded")
    assert not table.holds("contained", "succeeded") and not table.holds("EPERM", "broken: x")
    cell = "EACCES; 6.1: ENOENT; blk: EPERM; rng 6.1: EBADF"
    assert [table.predicted(cell, role, "6.1") for role in ("main", "blk", "rng")] == ["ENOENT", "EPERM", "EBADF"]
    assert [table.predicted(cell, role, "6.18") for role in ("main", "blk", "rng")] == ["EACCES", "EPERM", "EACCES"]
