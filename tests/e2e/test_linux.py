"""Stock Linux kernels boot, see the machine that was asked for, and end as documented.

Needs a KVM that runs unmodified kernels: tests/run runs this file in the lab.
"""
import hashlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from linux_guest import BUILD, GUESTS, HERE, KERNELS, SLOW, Guest, fetch_kernel, linux, needs_hardware, needs_root, slow

pytestmark = [pytest.mark.lab, needs_root, needs_hardware]


@pytest.fixture(scope="module", autouse=True)
def kernel():
    if HERE:
        fetch_kernel()


# --- every size of machine, both kinds of image

# What the guest cannot have of its memory: from where a PC keeps its EBDA to 1 MiB (layout.h, docs/configuration.md).
RESERVED_BYTES = 0x100000 - 0x9fc00
HOLE_START, HOLE_END = 0xc0000000, 0x100000000

# Lines that Linux prints when it finds fault with the machine.
COMPLAINTS = "unchecked MSR|WARNING|BUG|Firmware [BW]|spurious|nobody cared|Call Trace|MP-BIOS|inconsistent|" \
    "ACPI (BIOS )?(Error|Warning)|ACPI Exception|[Nn]ot responding|unsupported|warp|mtrr:|too many|lost interrupt"

SIZES = {"128M": 128 << 20, "1G": 1 << 30, "3584M": 3584 << 20, "4G": 4 << 30}
QUICK = [("vmlinuz", 1, "128M"), ("vmlinux", 2, "1G"), ("vmlinuz", 4, "3584M"), ("vmlinux", 8, "128M")]
ALL = [(kernel, cpus, memory) for kernel in ("vmlinuz", "vmlinux") for cpus in (1, 2, 4, 8) for memory in SIZES]


def usable_ranges(guest):
    lines = guest.shell("dmesg | grep 'BIOS-e820.*usable'")
    return [(int(first, 16), int(last, 16) + 1)
            for first, last in re.findall(r"\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\] usable", lines)]


@pytest.mark.parametrize("kernel, cpus, memory", QUICK + [slow(*machine) for machine in ALL if machine not in QUICK])
def test_boots_with_the_processors_and_memory_asked_for(kernel, cpus, memory):
    with linux(kernel, cpus=cpus, memory=memory) as guest:
        print(f"{kernel}, {cpus} vCPUs, {memory}: user space after {guest.boot_s:.1f} s")
        assert guest.shell("nproc").strip() == str(cpus)
        assert guest.shell("grep ^apicid /proc/cpuinfo").split() == \
            [word for n in range(cpus) for word in ("apicid", ":", str(n))]
        assert guest.shell(f"dmesg | grep -E '{COMPLAINTS}' || true") == ""

        ranges = usable_ranges(guest)
        assert sum(end - start for start, end in ranges) == SIZES[memory] - RESERVED_BYTES
        assert not any(start < HOLE_END and end > HOLE_START for start, end in ranges)
        assert max(end for _, end in ranges) == \
            (SIZES[memory] if SIZES[memory] <= HOLE_START else SIZES[memory] + HOLE_END - HOLE_START)

        guest.send("poweroff -f\n")
        assert guest.wait() == 0


# --- what Linux finds

@pytest.fixture(scope="module")
def machine():
    """One guest that many tests look at."""
    with linux(cpus=2, memory="256M") as guest:
        yield guest
        guest.send("poweroff -f\n")
        assert guest.wait() == 0


def test_processor_shows_no_counters_and_no_virtualization(machine):
    flags = machine.shell("grep -m 1 ^flags /proc/cpuinfo").split()
    assert {"hypervisor", "x2apic", "tsc_deadline_timer"} <= set(flags)
    assert {"vmx", "svm", "smx", "arch_perfmon", "pdcm", "perfctr_core", "ibs", "dtes64", "monitor", "sgx",
            "aperfmperf", "mwaitx"} & set(flags) == set()
    assert "PMU not available" in machine.shell("dmesg | grep 'Performance Events'")


def test_time_comes_from_kvm_clock_and_the_deadline_timer(machine):
    source = "/sys/devices/system/clocksource/clocksource0"
    assert "kvm-clock" in machine.shell(f"cat {source}/available_clocksource").split()
    # With a TSC that never stops, Linux rates the processor's own higher.
    flags = machine.shell("grep -m 1 ^flags /proc/cpuinfo").split()
    assert machine.shell(f"cat {source}/current_clocksource").strip() == \
        ("tsc" if "nonstop_tsc" in flags else "kvm-clock")
    devices = machine.shell("grep '^Clock Event Device' /proc/timer_list")
    assert re.findall("lapic.*", devices) == ["lapic-deadline"] * 2
    # Wall-clock time is the host's.
    assert abs(int(machine.shell("date +%s")) - time.time()) < 60


def test_pci_is_found_by_acpi_and_its_configuration_space_is_trusted(machine):
    assert machine.shell("cat /sys/bus/pci/devices/0000:00:00.0/class").strip() == "0x060000"
    log = machine.shell("dmesg | grep -E 'PCI|pci'")
    assert "[mem 0xe0000000-0xe00fffff] reserved in E820" in log
    assert "root bus resource [mem 0xd0000000-0xdfffffff window]" in log
    assert "_OSC: OS now controls [PCIeCapability]" in log


def test_interrupts_go_through_the_apics_and_none_is_lost(machine):
    before = machine.shell("cat /proc/interrupts")
    after = machine.shell("cat /proc/interrupts")
    uart = re.compile(r"^ *\d+:((?: +\d+){2}) +IO-APIC +4-edge +ttyS0$", re.M)

    def count(text):
        return sum(map(int, uart.search(text)[1].split()))

    assert count(after) > count(before)
    assert re.search(r"^ *\d+:(?: +\d+){2} +IO-APIC +5-edge +ACPI:Ged$", after, re.M)
    for name in "ERR", "MIS", "SPU":
        assert set(re.search(rf"^ *{name}:((?: +\d+)+)", after, re.M)[1].split()) == {"0"}


def test_console_is_a_16550a_with_an_interrupt(machine):
    line = machine.shell("grep ^0: /proc/tty/driver/serial")
    assert re.match(r"0: uart:16550A port:000003F8 irq:[1-9]\d* ", line)
    assert "oe:" not in line, "the guest lost console input"
    assert re.search(r"ttyS0 at I/O 0x3f8 \(irq = [1-9]\d*, .*\) is a 16550A", machine.shell("dmesg | grep ttyS0"))


@pytest.mark.slow  # every byte is an exit and a wake-up: long in the lab
def test_console_carries_much_output_intact(machine):
    machine.shell("dmesg -n 1; seq 1000000 1002500 >/tmp/log")
    expected = machine.shell("md5sum </tmp/log").split()[0]
    output = machine.shell("cat /tmp/log")
    assert len(output) > 20_000
    assert hashlib.md5(output.encode("latin-1")).hexdigest() == expected


@pytest.mark.slow  # every byte is an exit and a wake-up: long in the lab
def test_console_carries_much_input_intact(machine):
    lines = "".join(f"{n} {'x' * (n % 90)} {n * n}\n" for n in range(250))
    assert len(lines) > 10_000
    # No echo, because Linux drops what its echo buffer cannot hold.
    machine.send("stty -echo; echo go; head -n 250 | md5sum; stty echo\n")
    machine.expect(r"\ngo\n")
    # The guest's FIFO holds 16 bytes: the rest must wait outside for its turn.
    machine.send(lines)
    assert machine.expect(r"([0-9a-f]{32})  -\n")[1][1] == hashlib.md5(lines.encode()).hexdigest()


def test_terminal_echoes_and_edits(machine):
    machine.send("echo one twp\x7fo\n")
    echo, _ = machine.expect(r"\none two\n")
    assert echo == "echo one twp\b \bo"


def test_nothing_strange_in_the_boot_log(machine):
    assert machine.shell(f"dmesg | grep -E '{COMPLAINTS}' || true") == ""
    log = machine.shell("dmesg")
    for expected in ("Hypervisor detected: KVM", "TSC deadline timer available",
                     "Booting paravirtualized kernel on KVM",
                     "IOAPIC[0]: apic_id 255, version 32, address 0xfec00000, GSI 0-23", "x2apic enabled",
                     "ACPI: PM: (supports S0 S5)"):
        assert expected in log


@pytest.mark.slow  # every byte is an exit and a wake-up: long in the lab
def test_eight_busy_processors_leave_the_console_alive():
    with linux(cpus=8) as guest:
        guest.shell("for n in 1 2 3 4 5 6 7 8; do while :; do :; done & done")
        begun = time.monotonic()
        for n in range(5):
            assert guest.shell(f"echo answer {n}").endswith(f"answer {n}\n")
        took_s = (time.monotonic() - begun) / 5
        print(f"an answer takes {took_s:.2f} s")
        assert took_s < 2 * SLOW
        guest.send("poweroff -f\n")
        assert guest.wait() == 0


# --- how it ends

def test_power_button_reaches_user_space():
    with linux() as guest:
        guest.shell('for i in /sys/class/input/input*; do [ "$(cat $i/name)" != "Power Button" ] || b=$i; done')
        event = guest.shell("cd $b && echo event*; cd /").strip()
        assert re.fullmatch(r"event\d+", event)
        guest.shell(f"exec 3</dev/input/{event}")
        guest.send("head -c 24 <&3 >/tmp/key; echo pressed; poweroff -f\n")
        subprocess.run([BUILD / "bulkhead", "kill", "--power-button", guest.name], check=True)
        guest.expect(r"\npressed\n")
        assert guest.wait() == 0


def test_reboot_is_a_new_vmm_under_the_same_supervisor():
    with linux() as guest:
        first = guest.vmm()
        guest.send("reboot -f\n")
        guest.expect("guest is up\n")
        assert guest.vmm() != first
        assert not os.path.exists(f"/proc/{first}")
        assert guest.process.poll() is None
        guest.send("poweroff -f\n")
        assert guest.wait() == 0
        assert guest.errors() == f'bulkhead: guest "{guest.name}" reset itself; it starts again in 0 ms\n'


@pytest.mark.parametrize("command", ["reboot -f", "echo c >/proc/sysrq-trigger"], ids=["reboot", "panic"])
def test_reset_with_on_reset_exit_is_status_8(command):
    with linux("vmlinuz", "--on-reset", "exit") as guest:
        guest.send(f"{command}\n")
        assert guest.wait() == 8
        if "sysrq" in command:
            assert "Kernel panic - not syncing: sysrq triggered crash" in guest.out.rest()


def test_triple_fault_starts_it_again():
    with linux("vmlinux", extra="quiet reboot=triple") as guest:
        guest.send("reboot -f\n")
        guest.err.expect(r'guest ".*" ended in a triple fault; it starts again in 0 ms\n')
        guest.expect("guest is up\n")
        assert guest.end() == 128 + signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["vmlinuz", "vmlinux"])
def test_without_an_initrd_it_panics_and_starts_again_until_it_is_ended(kernel):
    with Guest(KERNELS / kernel) as guest:  # the default command line has panic=-1
        for _ in range(2):
            guest.expect("Kernel panic - not syncing: VFS: Unable to mount root fs")
            guest.err.expect("reset itself; it starts again in ")
        assert guest.end() == 128 + signal.SIGTERM


def test_quick_resets_wait_longer_each_time():
    with Guest(GUESTS / "power.elf", cmdline="reset") as guest:
        delays = [int(guest.err.expect(r"it starts again in (\d+) ms\n")[1][1]) for _ in range(5)]
        assert delays == [100, 200, 400, 800, 1600]
        begun = time.monotonic()
        assert guest.end() == 128 + signal.SIGTERM  # in the middle of a wait
        assert time.monotonic() - begun < 1.5
