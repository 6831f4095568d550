"""
What each unit of the jail is good for, shown by a build without it.

For every unit tests/leave_out makes a build that lacks it, and what cannot be without it. A guest of that build runs
here, and what the kernel says of its VMM (facts.py) must raise the alarms (alarms.py) listed below for the unit,
and no other. A guest of the product, and one of a build that leaves nothing out, raise none. The auditor's verdicts on it
must get worse where audit_table.py says so, and nowhere else.

The same for the processes of devices, which have most units for themselves: then they alone lack the unit, and the VMM is
whole.

What the kernel at hand cannot enforce is tested on facts recorded on another one (fixtures/README.md), and named.
"""

import json
import os
import re
from pathlib import Path

import pytest

import alarms
import audit_table
import facts
import removal_guest
from bulkhead import PROGRAM, REPO, needs_kvm
from host import Host

pytestmark = pytest.mark.both

FIXTURES = Path(__file__).parent / "fixtures"

NOT_EMPTY = {"root not empty", "other mounts", "working directory"}
FILTERS = {"filters of main", "filters of vcpu", "forbidden call of main", "forbidden call of vcpu"}
LANDLOCK = {"Landlock: files", "Landlock: TCP", "Landlock: abstract sockets"}

# Unit (tests/leave_out/meson.build) -> the alarms that its absence raises.
UNITS = {
    "user_ns": {"user namespace", "id map", "uid", "gid", "further namespaces", "supervisor's capabilities"},
    "pid_ns": {"pid namespace", "executable memfd"},
    "mount_ns": {"mnt namespace"} | NOT_EMPTY,
    "net_ns": {"net namespace", "network interfaces"},
    "ipc_ns": {"ipc namespace"},
    "uts_ns": {"uts namespace"},
    "cgroup_ns": {"cgroup namespace"},
    "time_ns": {"time namespace"},
    "no_new_ns": {"further namespaces"},
    "loopback": {"network interfaces"},
    "setsid": {"session"},

    "id_map": {"id map"},
    "uid": {"uid"},
    "gid": {"gid"},
    "groups": {"groups"},
    "capabilities": {"CapInh", "CapPrm", "CapEff", "CapAmb"},
    "cap_inheritable": {"CapInh"},
    "cap_bounding": {"CapBnd"},
    "securebits": {"securebits"},
    "session_keyring": {"session keyring"},
    "no_new_privs": {"no_new_privs"} | FILTERS | LANDLOCK,

    "cgroup": {"cgroup", "memory limit", "swap limit", "out-of-memory group", "process limit", "CPU limit",
               "I/O limit"},
    "memory_limit": {"memory limit"},
    "swap_limit": {"swap limit"},
    "oom_group": {"out-of-memory group"},
    "pids_limit": {"process limit"},
    "cpu_limit": {"CPU limit"},
    "io_limit": {"I/O limit"},

    "close_range": {"descriptors"},
    "loading_fds": {"descriptors"},
    "standard_fds": {"standard descriptors"},

    "root": NOT_EMPTY,
    "root_read_only": {"root writable"},
    "root_flags": {"root flags"},
    "root_size": {"root size"},
    "root_private": {"root propagation"},
    "old_root": {"other mounts"},
    "working_directory": {"working directory"},

    "rlimit_core": {"Max core file size"},
    "rlimit_nofile": {"Max open files"},
    "rlimit_nproc": {"Max processes"},
    "rlimit_fsize": {"Max file size"},
    "rlimit_memlock": {"Max locked memory"},
    "rlimit_msgqueue": {"Max msgqueue size"},
    "rlimit_sigpending": {"Max pending signals"},
    "rlimit_nice": {"Max nice priority"},
    "rlimit_rtprio": {"Max realtime priority"},
    "oom_score": {"out-of-memory score"},
    "memfd_noexec": {"executable memfd"},

    "store_bypass": {"store bypass"},
    "indirect_branch": {"indirect branch"},
    "core_sched": {"core scheduling"},
    "no_merge": {"page merging"},

    "seccomp_setup": {"filters of main", "filters of vcpu"},
    "seccomp_main": {"filters of main", "forbidden call of main"},
    "seccomp_vcpu": {"filters of vcpu", "forbidden call of vcpu"},

    "pdeathsig": {"parent-death signal"},
    "dumpable": {"dumpable"},
    "mdwe": {"writable and executable memory"},
    "landlock": LANDLOCK,
    "landlock_net": {"Landlock: TCP"},
    "landlock_scope": {"Landlock: abstract sockets"},

    "ram_seals": {"RAM not sealed"},
    "ram_dumping": {"RAM dumped"},
    "ram_merging": {"RAM merged", "filters of main", "filters of vcpu"},

    "supervisor_filter": {"supervisor's filter"},
    "supervisor_capabilities": {"supervisor's capabilities"},
    "supervisor_dumpable": {"supervisor dumpable"},
}

def expected(unit, kernel):
    """The alarms that the absence of the unit must raise on this kernel."""
    listed = set(UNITS[unit])
    if unit == "memory_limit" and not kernel["unified"]:
        listed.add("swap limit")  # v1 limits memory and swap together, to no less than memory alone
    return {name for name in listed if alarms.NEEDS[name](kernel)}


KERNEL = facts.kernel()
HERE = [unit for unit in UNITS if expected(unit, KERNEL)]
NOT_HERE = [unit for unit in UNITS if unit not in HERE]


@pytest.fixture
def look(tmp_path):
    """As removal_guest.look(); nothing of the guest is left."""
    before = Host(tmp_path)
    yield lambda program: removal_guest.look(program, tmp_path)
    before.assert_clean()


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """What the auditor says of guests of the product."""
    return removal_guest.look(PROGRAM, tmp_path_factory.mktemp("whole"))[2]


@needs_kvm
def test_the_product_raises_no_alarm(look, whole):
    found, errors, audited = look(PROGRAM)
    assert (alarms.raised(found), b"TEST BUILD" in errors) == (set(), False)
    if audited is not None:
        assert audit_table.worse(whole, audited) == set()
        assert "FAIL" not in {verdict for check, verdict in audited.items() if check not in audit_table.OF_THE_HOST}


# The lab is slow. Where nothing is to be expected of its kernel that the host's does not show, make test leaves it out.
FOR_THE_LAB = ("cgroup", "memory_limit", "swap_limit", "oom_group", "pids_limit", "cpu_limit", "io_limit", "user_ns",
               "no_new_privs", "rlimit_nice", "rlimit_rtprio", "nothing")


def in_time(units):
    slow = [pytest.mark.slow] if "LAB" in os.environ else []
    return [pytest.param(unit, marks=[] if unit in FOR_THE_LAB else slow) for unit in units]


@needs_kvm
@pytest.mark.parametrize("unit", in_time(["nothing", *HERE]))
def test_a_unit_left_out_raises_its_alarms(look, whole, unit):
    found, errors, audited = look(removal_guest.LEAVE_OUT / unit / "bulkhead")
    assert errors.startswith(b"bulkhead: TEST BUILD, leaves out: " + unit.encode())
    assert alarms.raised(found) == (set() if unit == "nothing" else expected(unit, KERNEL))
    if audited is not None:
        assert audit_table.worse(whole, audited) == audit_table.expected(unit, KERNEL)


# ---- devices ----

ROLES = ("rng", "blk")

# Units of the guest's namespaces, cgroup and root, which devices join, and those of other processes.
NOT_OF_DEVICES = {
    "no_new_ns", "loopback", "id_map", "memfd_noexec",
    "memory_limit", "swap_limit", "oom_group", "pids_limit", "cpu_limit", "io_limit",
    "root", "root_read_only", "root_flags", "root_size", "root_private", "old_root", "working_directory",
    "loading_fds", "seccomp_vcpu", "ram_seals", "ram_dumping", "ram_merging",
    "supervisor_filter", "supervisor_capabilities", "supervisor_dumpable",
}
OF_OTHER_PROCESSES = {name for name in alarms.ALARMS if "vcpu" in name or name.startswith(("RAM ", "supervisor"))}


def expected_of(role, unit, kernel):
    """The alarms that the absence of the unit must raise about a device's process."""
    if unit == "nothing" or (role, unit) == ("blk", "rlimit_fsize"):  # a disk has the size that it has
        return set()
    listed = expected(unit, kernel) - OF_OTHER_PROCESSES
    if (role, unit) == ("rng", "standard_fds"):
        listed |= {"descriptors"}  # the numbers that it has no use for are copies of the first
    return listed


DEVICE_UNITS = [unit for unit in HERE if unit not in NOT_OF_DEVICES]
DEVICES_AT_ONCE = {"nothing", "net_ns", "uid", "capabilities", "no_new_privs", "cgroup", "close_range", "rlimit_nofile",
                   "seccomp_setup", "seccomp_main", "dumpable", "landlock"}  # the others take as long again, twice


@pytest.fixture
def look_at_devices(tmp_path, tmp_path_factory):
    """As removal_guest.look_at_devices(); nothing of the guest is left."""
    before = Host(tmp_path)
    yield lambda program: removal_guest.look_at_devices(program, tmp_path, tmp_path_factory.mktemp("disks"))
    before.assert_clean()


@pytest.fixture(scope="session")
def whole_devices(tmp_path_factory):
    """What the auditor says of guests of the product that have devices."""
    return removal_guest.look_at_devices(PROGRAM, tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("disks"))[2]


def raised_of(found):
    return {role: alarms.raised(found[role], but=OF_OTHER_PROCESSES) for role in ROLES}


@needs_kvm
@pytest.mark.parametrize("unit", [pytest.param(unit, marks=[] if unit in DEVICES_AT_ONCE else pytest.mark.slow)
                                  for unit in ["nothing", *DEVICE_UNITS]])
def test_a_unit_that_devices_lack_raises_its_alarms(look_at_devices, whole_devices, unit):
    found, errors, audited = look_at_devices(removal_guest.LEAVE_OUT / unit / "bulkhead")
    assert re.match(rb"bulkhead: TEST BUILD, leaves out: %s(,\S+)? of devices\n" % unit.encode(), errors)
    assert raised_of(found) == {role: expected_of(role, unit, KERNEL) for role in ROLES}
    assert unit == "nothing" or any(raised_of(found).values())
    if audited is not None:
        assert audit_table.worse(whole_devices, audited) == audit_table.expected_of_devices(unit, KERNEL)


@needs_kvm
def test_devices_of_the_product_raise_no_alarm(look_at_devices):
    found, errors, audited = look_at_devices(PROGRAM)
    assert raised_of(found) == dict.fromkeys(ROLES, set()) and b"TEST BUILD" not in errors
    assert audited is None or "FAIL" not in {verdict for check, verdict in audited.items()
                                             if check not in audit_table.OF_THE_HOST}


def recorded(unit):
    """Facts recorded without the unit, by kernel."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(FIXTURES.glob(f"*/{unit}.json"))}


ON_FIXTURES = sorted({path.stem for path in FIXTURES.glob("*/*.json")} - {"nothing"})


@pytest.mark.parametrize("unit", ON_FIXTURES)
def test_a_unit_left_out_raises_its_alarms_on_recorded_facts(unit):
    for kernel, found in recorded(unit).items():
        assert alarms.raised(recorded("nothing")[kernel]) == set()
        assert alarms.raised(found) == expected(unit, found["kernel"]) != set()


def test_the_alarms_of_each_unit_are_documented():
    text = (REPO / "docs/jail.md").read_text().split("\n## What is tested by removal\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [[unit, ", ".join(sorted(raises))] for unit, raises in UNITS.items()]


def test_every_unit_is_tested_and_every_alarm_raised(capsys):
    assert set(NOT_HERE) <= set(ON_FIXTURES), "neither this kernel nor a fixture tests these units"
    listed = set().union(*UNITS.values())
    assert set(alarms.ALARMS) == listed
    assert set(audit_table.UNITS) - {"nothing"} == set(UNITS)
    with capsys.disabled():
        seen = [unit for unit, checks in audit_table.UNITS.items() if checks]
        print(f"\nremoval: the auditor sees {len(seen)} of {len(UNITS)} units from outside")
        print(f"removal: {len(UNITS)} units, {len(listed)} alarms; {len(HERE)} units on this kernel "
              f"({KERNEL['release']}); on recorded facts only: {', '.join(NOT_HERE) or 'none'}")
