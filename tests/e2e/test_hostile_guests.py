"""Guests that do all they can to keep the host busy: what they cost stays theirs, and they die when told to."""

import os
import signal
import threading
import time

import pytest

import proc
from bulkhead import Status, needs_kvm
from host import seconds, wait_until

pytestmark = [needs_kvm]

# src/supervisor/console.h: what the supervisor may spend for the console in the long run, and at once.
CONSOLE_CPU_SHARE = 0.05
CONSOLE_CPU_BURST_S = 0.05
WATCH_S = 2  # how long each guest is watched

CLOCK_TICK = os.sysconf("SC_CLK_TCK")

HOSTILE = {
    "floods its console": ("flood", {"cmdline": "raw"}, rb"xxxx"),
    "floods its console politely": ("flood", {}, rb"\n0000000000000"),
    "writes UART registers": ("flood", {"cmdline": "registers"}, rb"flooding\n"),
    "never reads its input": ("hlt", {}, rb"halted\n"),
    "resets in a loop": ("power", {"cmdline": "reset"}, rb"power: reset\n"),
    "spins on 64 vCPUs": ("spin", {"cmdline": "cpus=64", "cpus": 64}, rb"spinning\n"),
}


def cpu_seconds(pid):
    fields = proc.stat(pid)
    return (int(fields[14]) + int(fields[15])) / CLOCK_TICK


def memory_kib(pid):
    """What the supervisor may allocate: data and stack."""
    status = proc.status(pid)
    return sum(int(status[key].split()[0]) for key in ("VmData", "VmStk"))


class GuestCgroup:
    """The guest's cgroup in every hierarchy; its directories come and go with its VMM's."""

    def __init__(self, name):
        self._cgroups = proc.Cgroups()
        self._name = name

    def _numbers(self, controller, file):
        root = self._cgroups.unified or self._cgroups.v1[controller]
        return [int(n) for n in (root / "bulkhead" / self._name / file).read_text(encoding="ascii").split()]

    def pids(self):
        return self._numbers("pids", "cgroup.procs")

    def assert_within_limits(self):
        v2 = self._cgroups.unified
        used, limit = (("memory.current", "memory.max") if v2
                       else ("memory.usage_in_bytes", "memory.limit_in_bytes"))
        assert self._numbers("memory", used) <= self._numbers("memory", limit)
        assert self._numbers("pids", "pids.current") <= self._numbers("pids", "pids.max")


def vmms(supervisor):
    """Processes that run the VMM; a child that is still entering its jail is not one yet."""
    found = []
    for pid in proc.descendants(supervisor):
        try:
            if proc.status(pid)["Name"] == "bulkhead-vmm":
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile
    return found


class Operator:
    """Reads all output and throws it away; writes input for as long as it is taken."""

    def __init__(self, guest):
        self.stop = False
        self._guest = guest
        self._thread = threading.Thread(target=self._work)
        os.set_blocking(guest.process.stdin.fileno(), False)
        os.set_blocking(guest.stdout.fileno(), False)
        self._thread.start()

    def _work(self):
        while not self.stop:
            for call, fd in ((lambda fd: os.write(fd, b"y" * 4096), self._guest.process.stdin.fileno()),
                             (lambda fd: os.read(fd, 1 << 16), self._guest.stdout.fileno())):
                try:
                    call(fd)
                except BlockingIOError:
                    pass
            time.sleep(0.001)

    def end(self):
        self.stop = True
        self._thread.join()


@pytest.mark.parametrize("what", HOSTILE)
def test_its_cost_stays_its_own(guests, what):
    image, spec, ready = HOSTILE[what]
    guest = guests.start(image, **spec)
    guest.wait_output(ready, 60)
    operator = Operator(guest)
    try:
        supervisor, cgroup = guest.supervisor, GuestCgroup(guest.name)
        memory = memory_kib(supervisor)
        cpu, start = cpu_seconds(supervisor), time.monotonic()
        end = start + WATCH_S
        while time.monotonic() < end:
            for pid in vmms(supervisor):
                assert pid in cgroup.pids() or not proc.is_alive(pid), "a process of the guest is outside its cgroup"
            assert supervisor not in cgroup.pids()
            cgroup.assert_within_limits()
            time.sleep(0.05)
        watched = time.monotonic() - start
        # Beside the console, a start costs the supervisor something; its delay grows, so there are a few at most.
        allowed = watched * CONSOLE_CPU_SHARE + CONSOLE_CPU_BURST_S + 0.1
        assert cpu_seconds(supervisor) - cpu <= allowed
        assert memory_kib(supervisor) == memory
    finally:
        operator.end()

    guest.signal(signal.SIGTERM)
    start = time.monotonic()
    wait_until(lambda: not proc.descendants(supervisor) and guest.status_now() is not None, 1, f"it ends: {what}")
    assert time.monotonic() - start <= seconds(1)
    assert guest.status_now() == Status.SIGNAL + signal.SIGTERM


def test_a_console_nobody_reads(guests):
    """The supervisor holds a bounded part of the output and waits; the guest ends when told to."""
    guest = guests.start("flood")
    guest.wait_output(rb"\n0000000000000")
    memory = memory_kib(guest.supervisor)
    cpu = cpu_seconds(guest.supervisor)
    time.sleep(1)
    assert memory_kib(guest.supervisor) == memory
    assert cpu_seconds(guest.supervisor) - cpu <= CONSOLE_CPU_SHARE + CONSOLE_CPU_BURST_S + 0.02
    guest.signal(signal.SIGTERM)
    assert guest.wait(1) == Status.SIGNAL + signal.SIGTERM
