"""Every system call between main() and READY is made to fail, one in each start; none may leave less than it says.

BULKHEAD_FAULTS  a regular expression: only faults whose line in BUILD/test-results/faults-* it matches
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

import claims
import fault_table
from bulkhead import BUILD, GUESTS, needs_kvm
from faults import CommandScenario, Fault, Point, Scenario

pytestmark = needs_kvm
SAMPLE, ROUNDS = 80, 4


def faults_of(points, errors):
    wanted = re.compile(os.environ.get("BULKHEAD_FAULTS", ""))
    for point, detail in points.items():
        # A descriptor is free after close() even when that says EIO: what fails is what was to be written.
        after = point.key == "close"
        for error in fault_table.errors_of(point, detail, errors):
            fault = Fault(point, error, detail, after)
            if wanted.search(str(fault)):
                yield fault


def kernel_use():
    """What the kernel holds for processes: open files, cgroups, and memory (KiB) that no process could give back."""
    memory = dict(re.findall(r"^(\w+): +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE))
    cgroups = [line.split()[2] for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    return {"open files": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]), "cgroups": sum(map(int, cgroups)),
            "KiB": sum(int(memory[name]) for name in ("Shmem", "SUnreclaim", "KernelStack", "PageTables"))}


def grown(before, starts):
    """What the kernel holds more of by at least one for every fourth start: one file or cgroup, or 64 KiB."""
    return {name for name, use in kernel_use().items()
            if use - before[name] > (starts // 4 + 16) * (64 if name == "KiB" else 1)}


def assert_nothing_is_held(scenario, before, faults):
    """The rest of the host takes and gives too: what the starts hold grows with some of them each time."""
    held = grown(before, len(faults))
    some = faults[::len(faults) // SAMPLE + 1]
    for _ in range(ROUNDS):
        if not held:
            return
        before = kernel_use()
        for fault in some:
            scenario.inject(fault)
        held &= grown(before, len(some))
    assert not held, f"grows with every start: {held}"


def report(name, headline, outcomes):
    directory = BUILD / "test-results"
    directory.mkdir(exist_ok=True)
    lines = [f"{outcome.kind}: {fault}: {outcome.text}" for fault, outcome in outcomes.items()]
    (directory / f"faults-{name}").write_text("\n".join([headline, *lines]) + "\n")


def run_matrix(scenario, name, errors, capsys):
    recorded, before_main = scenario.record()
    before = kernel_use()
    points = {p: d for p, d in recorded.items() if fault_table.excluded(p, d) is None}
    outcomes = {fault: scenario.inject(fault) for fault in faults_of(points, errors)}
    count = Counter(outcome.kind for outcome in outcomes.values())
    headline = (f"{len(outcomes) - count['unreached']} injected at {len(points)} calls, "
                f"{len(recorded) - len(points)} excluded and {before_main} before main(); "
                f"{count['failed']} failed cleanly, {count['tolerated']} tolerated, {count['problem']} problems, "
                f"{count['unreached']} not made again")
    report(name, headline, outcomes)
    with capsys.disabled():
        print(f"\nfaults, {name}: {headline}")
    assert [f"{fault}: {o.text}" for fault, o in outcomes.items() if o.kind == "problem"] == []
    assert count["unreached"] <= len(outcomes) / 20 + 10
    assert_nothing_is_held(scenario, before, list(outcomes))


def test_one_error_at_each_call(host, capsys):
    run_matrix(Scenario(host), "default", [fault_table.GENERIC], capsys)


@pytest.mark.slow
def test_every_error_at_each_call(host, capsys):
    run_matrix(Scenario(host), "all", [fault_table.GENERIC, *fault_table.OTHERS], capsys)


def test_one_error_at_each_call_of_version(host, capsys):
    run_matrix(CommandScenario(host, "version"), "version", [fault_table.GENERIC], capsys)


@pytest.mark.slow
def test_one_error_at_each_call_of_inspect(host, guests, capsys):
    guest = guests.start("hlt")
    guest.wait_output(rb"halted\n")
    host.before = host.look()
    run_matrix(CommandScenario(host, "inspect", guest.name), "inspect", [fault_table.GENERIC], capsys)


def test_a_failure_that_nobody_notices_is_flagged(host, monkeypatch):
    monkeypatch.setattr(fault_table, "HARMLESS", [])
    scenario = Scenario(host)
    recorded, _ = scenario.record()
    for role, key in (("bulkhead-vmm", "close"), ("bulkhead-supervisor", "fcntl:0x2")):
        outcome = scenario.inject(Fault(Point(role, key, 1), fault_table.GENERIC, recorded[Point(role, key, 1)], True))
        assert outcome.kind == "problem" and "as if nothing had happened" in outcome.text, outcome


class WithDevice(Scenario):
    """A guest with a device."""

    @staticmethod
    def _guest():
        return {"kernel": str(GUESTS / "hlt.elf"), "memory": "64M"}


def test_no_device_enters_namespaces_whose_limits_are_not_set(host):
    scenario = WithDevice(host)
    scenario.record()
    for calls in scenario.logs:
        entered = [i for i, call in enumerate(calls) if re.match(r"\S+ setns ", call)]
        limits = [i for i, call in enumerate(calls)
                  if re.match(r"bulkhead-supervisor:child openat .*/max_\w+_namespaces", call)]
        assert len(entered) > 6 and len(limits) == 8
        assert max(limits) < min(entered)


# Test builds that lack something and claim to have it, and what the kernel then says of another way.
LACKING = {
    "cap_bounding": "unprivileged ids", "cgroup_ns": "cgroup namespace", "loading_fds": "descriptor table",
    "dumpable": "not dumpable", "ipc_ns": "IPC namespace", "loopback": "empty network", "memory_limit": "cgroup limits",
    "no_new_ns": "no further namespaces", "oom_score": "resource limits", "ram_seals": "guest memory",
    "rlimit_nofile": "resource limits", "root_read_only": "empty read-only root", "seccomp_vcpu": "system-call filter",
    "setsid": "session", "supervisor_filter": "supervisor", "uid": "unprivileged ids",
}


def test_what_a_guest_lacks_is_seen(guests):
    def facts(variant):
        guest = guests.start("hlt", program=BUILD / "tests/leave_out" / variant / "bulkhead")
        guest.wait_output(rb"halted\n")
        return claims.facts(guest.supervisor, guest.vmm(), guest.name)

    whole = facts("nothing")
    for variant, layer in LACKING.items():
        lacking = facts(variant)
        assert lacking[layer] != whole[layer], variant
