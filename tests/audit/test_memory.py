"""
Memory that guests have in common, made on purpose: what the auditor must not miss. Guests of QEMU let it be made; none of
ours can be started like that.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import live
import proc
from bulkhead import needs_kvm
from live import audit, needs_qemu

RAM_BYTES = 64 << 20
MEMFD = ("-object", f"memory-backend-memfd,id=ram,size={RAM_BYTES >> 20}M,share=on,seal=off", "-machine", "memory-backend=ram")
SEALED = (MEMFD[0], MEMFD[1].replace("seal=off", "seal=on"), *MEMFD[2:])

pytestmark = [needs_kvm, needs_qemu]


def worst(report, check, *names):
    """The worst that is said of exactly those guests together, or NA."""
    order = ["NA", "PASS", "WARN", "UNKNOWN", "FAIL"]
    return max((finding["verdict"] for finding in report["findings"]
                if finding["id"] == check and set(finding["guests"]) == set(names)), key=order.index, default="NA")


def of_file(path):
    return ("-object", f"memory-backend-file,id=ram,size={RAM_BYTES >> 20}M,share=on,mem-path={path}", "-machine",
            "memory-backend=ram")


def test_two_guests_on_one_file(guests, qemus):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = Path(directory, "ram")
        one, two = (qemus.start(options=of_file(path)) for _ in range(2))
        ours = live.start(guests)
        report, status = audit()
    assert status == 6
    for check in ("MEM-SHRW", "MEM-PFN"):
        assert worst(report, check, one.name, two.name) == "FAIL", check
        assert worst(report, check, ours.name) == "PASS", check
    assert [worst(report, "MEM-FOREIGN", guest.name) for guest in (one, two, ours)] == ["FAIL", "FAIL", "PASS"]
    text, = [finding["text"] for finding in report["findings"] if finding["id"] == "MEM-PFN" and len(finding["guests"]) == 2
             and one.name in finding["guests"]]
    assert "a file or shared memory" in text


def ram_link(guest):
    """Where a descriptor of the guest's RAM is, below /proc."""
    numbers = [number for number, target in proc.fds(guest.pid).items() if target.startswith("/memfd:memory-backend-memfd")]
    return f"/proc/{guest.pid}/fd/{numbers[0]}"


@contextlib.contextmanager
def mapping_all(*links):
    """A process that is not connected with any guest and maps all those files."""
    code = ("import mmap, os, sys\n"
            "maps = [mmap.mmap(os.open(path, os.O_RDWR), 0) for path in sys.argv[1:]]\n"
            "print(flush=True)\n"
            "sys.stdin.read()\n")
    with subprocess.Popen([sys.executable, "-c", code, *links], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        yield
        process.stdin.close()


def test_a_stranger_has_the_memory_of_guests(qemus):
    one, two, alone = qemus.start(options=MEMFD), qemus.start(options=MEMFD), qemus.start(options=MEMFD)
    with mapping_all(ram_link(one), ram_link(two)):
        during, _ = audit()
    after, _ = audit()
    assert worst(during, "MEM-BACKEND", one.name, two.name) == "FAIL"
    assert [worst(during, "MEM-FOREIGN", guest.name) for guest in (one, two, alone)] == ["FAIL", "FAIL", "PASS"]
    assert [worst(after, "MEM-FOREIGN", guest.name) for guest in (one, two, alone)] == ["PASS"] * 3
    assert worst(during, "MEM-SHRW", one.name) == worst(during, "MEM-PFN", one.name) == "PASS"


def test_descriptors_and_seals(guests, qemus):
    """Root's guests of one uid, without namespaces: each can open what the other holds."""
    open_ones, sealed = [qemus.start(options=MEMFD), qemus.start(options=MEMFD)], qemus.start(options=SEALED)
    ours = live.start(guests)
    report, _ = audit()
    assert [worst(report, "MEM-RAMFD", guest.name) for guest in (*open_ones, ours)] == ["FAIL", "FAIL", "PASS"]
    assert [worst(report, "MEM-SEALS", guest.name) for guest in (*open_ones, sealed, ours)] == ["WARN", "WARN", "PASS", "PASS"]
