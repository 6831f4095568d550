"""Every bare-metal guest, with its parameters: what it prints, and how it ends (see the head of guests/NAME.c)."""

import os
import signal

import pytest

from bulkhead import EMULATED_RING0, SLOW, Status, command, needs_kvm
from host import wait_until

pytestmark = needs_kvm

MIB, GIB = 1 << 20, 1 << 30


def passes(guests, image, *, timeout=30, **spec):
    """Runs a guest that must end with the verdict 0; returns what it printed."""
    guest = guests.run(image, "--test-device", timeout=timeout, **spec)
    assert guest.status_now() == Status.OK, (guest.output[-2000:], guest.errors)
    assert guest.errors == b""
    return guest.output.decode()


def host_memory_available():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable:"))


@pytest.mark.parametrize("mem", ["2M", "64M", "512M"])
def test_hello(guests, mem):
    out = passes(guests, "hello", mem=mem)
    told = int(out.split("hello from ring 0, ")[1].split(" bytes of RAM")[0])
    size = int(mem[:-1]) * MIB
    assert size - MIB < told <= size


@pytest.mark.parametrize("cmdline, mem", [("stride=1", 8), ("full", 2), ("", 64)])
def test_memory(guests, cmdline, mem):
    out = passes(guests, "memory", mem=f"{mem}M", cmdline=cmdline, timeout=60)
    assert " words, 0 wrong" in out
    assert f"..0x{mem * MIB:x} usable" in out


def test_memory_on_both_sides_of_the_hole(guests):
    if host_memory_available() < 2 * GIB:
        pytest.skip("the host has less than 2 GiB of memory to spare")
    out = passes(guests, "memory", mem="4G", cmdline="stride=64", timeout=60)
    assert " words, 0 wrong" in out
    assert "..0xc0000000 usable" in out  # the last byte below the hole
    assert "0x100000000..0x140000000 usable" in out  # the rest, from 4 GiB


@pytest.mark.parametrize("mode", ["", " x2apic"])
@pytest.mark.parametrize("cpus", [1, 2, 8, 64] if SLOW < 10 else [1, 2, 4])
def test_smp(guests, cpus, mode):
    out = passes(guests, "smp", cpus=cpus, cmdline=f"cpus={cpus}{mode}", timeout=60)
    assert f"smp: {cpus} of {cpus} processors, IPI there and back" in out


def test_storm(guests):
    """While the processors are at it, the main thread has input, output and the power button to see to."""
    guest = guests.start("storm", "--test-device", cpus=8, cmdline="cpus=8")
    guest.wait_output(rb"x")
    for _ in range(10):
        guest.write(b"input for nobody")
        guest.signal(signal.SIGUSR1)
    assert guest.wait(60) == Status.OK, (guest.output[-2000:], guest.errors)
    assert guest.output.endswith(b"\nstorm: 8 processors, 500 rounds\n")
    assert guest.errors == b""


@pytest.mark.parametrize("mode", ["", "x2apic"])
def test_timer(guests, mode):
    out = passes(guests, "timer", cmdline=mode, timeout=60)
    for what in ("one-shot", "stopped", "one-shot from hlt", "periodic"):
        assert f"timer: {what} ok" in out
    assert "timer: tsc-deadline from hlt ok" in out or "timer: no tsc-deadline" in out


def test_echo(guests):
    guest = guests.start("echo", "--test-device")
    guest.wait_output(rb"echo ready\n")
    guest.write(b"hello, guest\r\n")
    guest.wait_output(rb"hello, guest\r\n")
    guest.write(b"bye q")
    assert guest.wait() == Status.OK
    assert guest.output == b"echo ready\nhello, guest\r\nbye q"


@pytest.mark.parametrize("options", ["first=0 last=2047 stride=4096", "step=97 stride=512", "first=65280 stride=8192"])
def test_ports(guests, options):
    guest = guests.run("ports", "--test-device", cmdline=options, timeout=60)
    assert guest.status_now() == Status.OK, (guest.output[-1000:], guest.errors)
    assert b" memory accesses, 0 wrong" in guest.output


def test_cpuid(guests):
    out = passes(guests, "cpuid", cmdline="msr=10,1b,c0000080", timeout=60)
    assert out.rstrip().endswith("cpuid done")
    assert "cpuid 00000000 00000000 " in out
    assert "msr 0000001b ok " in out  # IA32_APIC_BASE, which every guest needs


def test_hypercall(guests):
    if EMULATED_RING0:
        pytest.skip("this KVM emulates ring 0 (kvm_pvm) and cannot trap hypercalls: the lab runs this test")
    out = passes(guests, "hypercall", timeout=60)
    assert "hypercall vmcall " in out.lower()


def test_hypercalls_without_end_can_be_killed(guests):
    guest = guests.start("hypercall", "--test-device", cmdline="spin")
    guest.wait_output(rb"hypercall spinning")
    guest.signal(signal.SIGTERM)
    assert guest.wait(2) == Status.SIGNAL + signal.SIGTERM


def test_power(guests):
    guest = guests.run("power", cmdline="off")
    assert (guest.status_now(), guest.output, guest.errors) == (Status.OK, b"power: off\n", b"")


def test_pwrbtn(guests):
    guest = guests.start("pwrbtn")
    guest.wait_output(rb"waiting for the power button\n")
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    assert guest.wait() == Status.OK
    assert guest.output.endswith(b"events 0x01\npower off\n")


def test_triplefault(guests):
    guest = guests.run("triplefault", "--on-reset", "exit")
    assert (guest.status_now(), guest.output) == (Status.RESET, b"faulting\n")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_hlt(guests):
    guest = guests.start("hlt")
    guest.wait_output(rb"halted\n")
    vmm = guest.vmm()
    assert guest.status_now() is None
    assert command("kill", guest.name).returncode == Status.OK
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM
    assert not os.path.exists(f"/proc/{vmm}")


def test_spin(guests):
    guest = guests.start("spin")
    guest.wait_output(rb"spinning\n")
    vmm = guest.vmm()
    start = cpu_ticks(vmm)
    wait_until(lambda: cpu_ticks(vmm) > start + 10, 20, "the guest spins")
    assert command("kill", guest.name).returncode == Status.OK
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM


def test_flood(guests):
    guest = guests.start("flood")
    guest.wait_output(rb"\n000000000000200\n", 30)
    lines = guest.output.split(b"\n")[:-1]
    assert lines == [b"%015x" % i for i in range(len(lines))]


def test_flood_raw(guests):
    guest = guests.start("flood", cmdline="raw")
    guest.wait_output(rb"x{63}\n", 30)
    assert set(guest.output) == set(b"x\n")
