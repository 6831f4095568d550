"""Guests for the auditor to find, of bulkhead and of QEMU, and the auditor over the live host."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

import proc
from bulkhead import BUILD, GUESTS, new_name
from host import STATE, seconds, wait_until

PROGRAM = BUILD / "bulkhead-audit"
QEMU = Path("/usr/bin/qemu-system-x86_64")
STATUSES = (0, 6, 10)  # nothing failed; something did; something of weight could not be determined
AUDIT_TIMEOUT_S = 120
GUEST_FACTS = ("name", "kind", "manager", "pid", "memory_bytes", "vcpus", "processes")

ORDINARY_USER = 4321
AS_ORDINARY_USER = ("setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups", "--inh-caps=-all",
                    "--ambient-caps=-all", "--bounding-set=-all", "--")

needs_qemu = pytest.mark.skipif(not QEMU.exists(), reason=f"{QEMU} is not installed")


def audit(*arguments, prefix=()):
    """The report as JSON, and the exit status, which may be any that a report comes with."""
    with subprocess.Popen([*prefix, PROGRAM, "--json", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            output, errors = process.communicate(timeout=seconds(AUDIT_TIMEOUT_S))
        finally:
            process.kill()
    assert process.returncode in STATUSES and errors == b"", (process.returncode, errors[-2000:], output[-2000:])
    return json.loads(output), process.returncode


def found(report, name):
    """The guest of that name in the report."""
    named, = [guest for guest in report["guests"] if guest["name"] == name]
    return named


def verdicts(report, name, *others):
    """Verdicts by check of what is said of that guest, alone or together with others."""
    result = {}
    for finding in report["findings"]:
        if name in finding["guests"] and set(finding["guests"]) <= {name, *others}:
            result.setdefault(finding["id"], set()).add(finding["verdict"])
    return result


def holders():
    """Pids of all processes that have a virtual machine, by another way than the auditor's program."""
    pids = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if "anon_inode:kvm-vm" in proc.fds(entry.name).values():
                    pids.add(int(entry.name))
    return pids


SAYS = {"hlt": rb"halted\n", "spin": rb"spinning\n"}


def start(guests, image="hlt", options=(), **spec):
    """A guest of ours that is up."""
    guest = guests.start(image, *options, mem="32M", **spec)
    guest.wait_output(SAYS[image])
    wait_until((STATE / "guests" / guest.name / "attested").exists, 20, "it is up")
    return guest


class Qemu:
    """A microvm, as an unconfined user of QEMU starts it."""

    def __init__(self, image="hlt", name=None, options=()):
        self.name = name or new_name()
        self.process = subprocess.Popen(
            [QEMU, "-name", f"guest={self.name},debug-threads=on", "-M", "microvm", "-accel", "kvm", "-cpu", "qemu64", "-nodefaults",
             "-no-user-config", "-display", "none", "-m", "64", "-kernel", GUESTS / f"{image}.elf", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        wait_until(self.runs, 30, lambda: f"{self.name} does not run: {self.said()}")

    def runs(self):
        """It has the guest's processor, and what it loads takes time no more."""
        assert self.process.poll() is None, self.said()
        return "anon_inode:kvm-vcpu:0" in proc.fds(self.pid).values() and int(proc.stat(self.pid)[15]) > 5

    def said(self):
        self.close()
        return self.process.stdout.read()

    def close(self):
        self.process.kill()
        self.process.wait()


class Qemus:
    def __init__(self):
        self._all = []

    def start(self, *arguments, **options):
        self._all.append(Qemu(*arguments, **options))
        return self._all[-1]

    def close(self):
        for guest in self._all:
            guest.close()
            guest.process.stdout.close()


@contextlib.contextmanager
def machines():
    """A function that tells the machines of the kernel's own list (debugfs) that one of these threads made."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "debugfs", "none", directory], check=True)
        try:
            def made_by(tids):
                names = {entry.name for entry in Path(directory, "kvm").iterdir() if entry.is_dir()}
                return {name for name in names if name.split("-")[0] in {str(tid) for tid in tids}}
            yield made_by
        finally:
            subprocess.run(["umount", directory], check=True)


def threads_of(*pids):
    return {int(tid) for pid in pids for tid in proc.threads(pid)}


def end(guest, number=signal.SIGTERM):
    os.kill(guest.supervisor, number)
    guest.wait()
