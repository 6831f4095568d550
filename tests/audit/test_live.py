"""
The auditor over this host, with guests of bulkhead and of QEMU that are known.

Others may run guests here at the same time: what is asserted of all guests is bounded by what this test sees itself,
before and after.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import live
import proc
from bulkhead import Guest, needs_kvm, new_name
from host import PREFIX, seconds, wait_until
from live import audit, needs_qemu

pytestmark = needs_kvm


def cpu_ticks(pid):
    return sum(int(field) for field in proc.stat(pid)[14:16])


# ---- who is found ----

@needs_qemu
def test_exactly_the_guests_are_found(guests, qemus):
    ours = [live.start(guests), live.start(guests, cpus=2)]
    theirs = [qemus.start(), qemus.start()]
    before = live.holders()
    report, _ = audit()
    after = live.holders()
    pids = {guest["pid"] for guest in report["guests"]}
    assert before & after <= pids <= before | after
    assert len(pids) == len(report["guests"]) == len({guest["name"] for guest in report["guests"]})
    for guest, vcpus in zip(ours, (1, 2)):
        seen = live.found(report, guest.name)
        assert [seen[fact] for fact in live.GUEST_FACTS] == [guest.name, "bulkhead", "bulkhead", guest.vmm(), 32 << 20, vcpus,
                                                             1]
    for guest in theirs:
        seen = live.found(report, guest.name)
        assert (seen["kind"], seen["pid"], seen["memory_bytes"], seen["vcpus"]) == ("QEMU", guest.pid, 64 << 20, 1)


OF_THE_HOST = {"CPU-SHARE"}  # its processors or its kernel's parameters keep no two guests apart, whoever runs them


OF_DISKS = {"SYS-URING", "RES-IO"}  # WARN: a ring, which no file shows to be restricted; a disk without limits


def test_no_boundary_of_a_guest_of_ours_fails(guests, tmp_path):
    def start(*options):
        return live.start(guests, options=options)
    bare = [start().name, start().name]
    whole = []
    for number in range(2):
        image = tmp_path / f"{number}.img"
        image.touch(mode=0o600)
        os.truncate(image, 1 << 20)
        whole.append(start("--rng", "--disk", image).name)
    report, _ = audit("--deep")
    assert [live.found(report, name)["processes"] for name in bare + whole] == [1, 1, 3, 3]
    seen = {name: live.verdicts(report, name, *bare, *whole) for name in bare + whole}
    for name in bare + whole:
        failed = {check for check, verdicts in seen[name].items() if "FAIL" in verdicts}
        assert failed <= OF_THE_HOST, seen[name]
    for name in whole:
        more = {check for check, verdicts in seen[name].items()
                if verdicts - {"PASS", "NA"} - seen[bare[0]].get(check, set())}
        assert more <= OF_DISKS, seen[name]
        assert seen[name]["SYS-LANDLOCK"] == seen[bare[0]]["SYS-LANDLOCK"]


def test_a_tenant_sees_no_other(guests):
    mine, other = live.start(guests), live.start(guests)
    report, _ = audit("--guest", mine.name)
    text = str(report["findings"]) + str(report["guests"])
    assert [guest["name"] for guest in report["guests"]] == [mine.name]
    assert mine.name in text
    for secret in (other.name, f"/proc/{other.vmm()}/", f"/proc/{other.supervisor}/"):
        assert secret not in text


# ---- the auditor leaves no trace ----

def test_nothing_stays_alive_because_of_an_audit(host, guests):
    """Neither while it runs, wherever it is, nor afterwards. (With --deep the kernel lets a thread that dies while it is traced
    be reaped only when the auditor has taken note: an auditor that stands there keeps a zombie.)"""
    with live.machines() as made_by:
        for moment in range(6):
            guest = live.start(guests)
            tids = live.threads_of(guest.vmm())
            assert made_by(tids)
            with subprocess.Popen([live.PROGRAM, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) as process:
                try:
                    time.sleep(0.02 * moment)
                    process.send_signal(signal.SIGSTOP)
                    live.end(guest)
                    wait_until(lambda: not made_by(tids), 5, f"the machine {made_by(tids)} is gone while the auditor stands")
                    process.send_signal(signal.SIGCONT)
                    assert (process.stderr.read(), process.wait(seconds(60)) in live.STATUSES) == (b"", True)
                finally:
                    process.kill()
        guest = live.start(guests)
        tids = live.threads_of(guest.vmm())
        audit("--deep")
        live.end(guest)
        wait_until(lambda: not made_by(tids), 5, f"the machine {made_by(tids)} is gone after the audit")
    guests.close()
    host.assert_clean()


def test_a_killed_auditor_leaves_the_guests_as_they_were(guests):
    """With --deep it stops threads: the kernel lets them go when it dies."""
    guest = live.start(guests, "spin")
    vmm = guest.vmm()
    for moment in range(10):
        with subprocess.Popen([live.PROGRAM, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            time.sleep(0.02 * moment)
            process.kill()
        wait_until(lambda: all(proc.status(vmm, tid)["TracerPid"] == "0" and proc.status(vmm, tid)["State"][0] in "RSD"
                               for tid in proc.threads(vmm)), 5, "all its threads go on")
    used = cpu_ticks(vmm)
    wait_until(lambda: cpu_ticks(vmm) > used + 5, 5, "the guest, which spins, goes on")


# ---- guests that come and go ----

CHURN_PER_S = 10


class Life:
    """A guest for a moment."""

    def __init__(self, cwd):
        self.name, self.begun, self.ended, self.vmm = new_name(), time.monotonic(), float("inf"), None
        self.guest = Guest("hlt", name=self.name, mem="16M", cwd=cwd)

    def live_and_die(self):
        try:
            self.guest.wait_output(rb"halted\n")
            self.vmm = self.guest.vmm()
            time.sleep(random.random() / 2)
            if random.random() < 0.3:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.vmm, signal.SIGKILL)
        finally:
            self.guest.close()
            self.ended = time.monotonic()


class Churn:
    """Starts guests at a steady pace, each in a thread that ends it soon."""

    def __init__(self, cwd, per_second):
        self.lives, self.errors = {}, []
        self._cwd, self._pause, self._stop, self._threads = cwd, 1 / per_second, threading.Event(), []
        self._starter = threading.Thread(target=self._run)

    def __enter__(self):
        self._starter.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._starter.join()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stop.wait(seconds(self._pause)):
            life = Life(self._cwd)
            self.lives[life.name] = life
            self._threads.append(threading.Thread(target=self._one, args=[life]))
            self._threads[-1].start()

    def _one(self, life):
        try:
            life.live_and_die()
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(f"{life.name}: {error!r}")


def churn(host, duration_s):
    audits = []
    with Churn(host.cwd, CHURN_PER_S) as lives:
        end = time.monotonic() + seconds(duration_s)
        while time.monotonic() < end:
            begun = time.monotonic()
            report, _ = audit(*["--deep"] * (len(audits) % 3 == 0))
            audits.append((begun, time.monotonic(), report))
    assert not lives.errors, lives.errors
    by_pid = {life.vmm: life for life in lives.lives.values()}
    seen = 0
    for begun, ended, report in audits:
        for guest in report["guests"]:
            life = lives.lives.get(guest["name"]) or by_pid.get(guest["pid"])
            if not life:
                assert not guest["name"].startswith(PREFIX), f"{guest} was never started"
                continue  # somebody else's
            seen += 1
            # What is left when its supervisor has ended before it was asked is a name made of its pid.
            assert guest["name"] in (life.name, f"bulkhead-vmm-{guest['pid']}"), guest
            assert guest["pid"] == life.vmm and guest["kind"] in ("bulkhead", "unknown"), (guest, life.vmm)
            assert life.begun < ended and life.ended > begun, f"{guest} did not live during the audit"
    print(f"{len(lives.lives)} guests lived, {len(audits)} audits, which saw {seen}")
    assert len(audits) >= 2 and seen > 0
    host.assert_clean(5)


def test_guests_that_come_and_go(host):
    churn(host, 10)


@pytest.mark.slow
def test_guests_that_come_and_go_for_a_minute(host):
    churn(host, 60)
