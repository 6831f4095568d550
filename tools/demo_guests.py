#!/usr/bin/python3
"""Boot two Linux guests, compare their jails as the kernel shows them, audit both, and switch them off.

usage: demo_guests.py BULKHEAD KERNEL INITRAMFS PAGE

The part of tools/demo that runs where the guests run. The audit is about the whole host, and goes to the terminal and to
PAGE; what it finds is shown and decides nothing. Ends with one line; the exit status is 0 when every check held.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import demo_facts

BOOT_LIMIT_S = 150  # a guest in the lab takes five to ten seconds, on a busy machine more
END_LIMIT_S = 30
BEGIN, END = "=== demo begin", "=== demo end"


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


class Guest:
    def __init__(self, name, memory, directory, programs):
        self.name = name
        self.console = directory / name
        bulkhead, kernel, initramfs = programs
        with open(self.console, "wb") as console:
            # Should this process be killed, so is the guest's supervisor, which then tidies up.
            self.supervisor = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", bulkhead, "run", name, "--kernel", kernel, "--initrd", initramfs,
                 "--mem", memory, "--cmdline", f"console=ttyS0 quiet panic=-1 demo_name={name}"],
                stdin=subprocess.PIPE, stdout=console, stderr=subprocess.STDOUT)

    def lines(self):
        return self.console.read_text(errors="replace").replace("\r", "").split("\n")

    def is_up(self):
        if self.supervisor.poll() is not None:
            sys.exit(f"demo: guest {self.name} ended with status {self.supervisor.returncode}:\n"
                     + "\n".join(self.lines()[-15:]))
        return END in self.lines()

    def account(self):
        """What the guest printed about itself."""
        lines = self.lines()
        return lines[lines.index(BEGIN) + 1:lines.index(END)]

    def vmm(self):
        """Pid of the VMM, which is one of the supervisor's children; the others serve devices."""
        found = [pid for pid in demo_facts.children(self.supervisor.pid)
                 if demo_facts.status(pid)["Name"] == "bulkhead-vmm"]
        if len(found) != 1:
            sys.exit(f"demo: the supervisor of guest {self.name} has {len(found)} VMMs instead of one")
        return found[0]

    def power_off(self):
        self.supervisor.stdin.write(b"off\n")
        self.supervisor.stdin.flush()
        return self.supervisor.wait(timeout=END_LIMIT_S)

    def stop(self):
        if self.supervisor.poll() is None:
            self.supervisor.terminate()
            self.supervisor.wait(timeout=END_LIMIT_S)


def wait_until_up(guests):
    started = told = time.monotonic()
    while not all([guest.is_up() for guest in guests]):
        now = time.monotonic()
        if now - started > BOOT_LIMIT_S:
            sys.exit(f"demo: the guests are not up after {BOOT_LIMIT_S} s:\n" + "\n".join(guests[0].lines()[-15:]))
        if now - told >= 5:
            say(f"booting, {now - started:.0f} s")
            told = now
        time.sleep(0.1)
    return time.monotonic() - started


def left_behind(guests, cgroups):
    places = [Path("/run/bulkhead/guests", guest.name) for guest in guests] + cgroups
    return [str(path) for path in places if path.exists()]


AUDIT_ENDS = {0: "every boundary that was examined holds",
              6: "a boundary does not hold: of this host, of these guests or of others that run here",
              10: "no boundary was found broken; something of weight could not be determined"}


def audit(bulkhead, page):
    """Returns what is wrong, as show(): that there is no report. What the report says of a host is another matter."""
    print("\nAnd what bulkhead audit finds, which examines any monitor's guests:\n", flush=True)
    status = subprocess.run([bulkhead, "audit", "--deep", "--html", page], stdin=subprocess.DEVNULL, check=False).returncode
    if status not in AUDIT_ENDS:
        return [f"bulkhead audit ended with status {status}"]
    print(f"\n  status {status}: {AUDIT_ENDS[status]}", flush=True)
    return []


def show(guests, bulkhead, page):
    """Returns what is wrong, as a list of lines."""
    pids = [guest.vmm() for guest in guests]
    host = demo_facts.Facts(os.getpid())
    facts = [demo_facts.Facts(pid) for pid in pids]
    print("\nWhat the kernel says about the two VMM processes, and about this one for comparison:\n")
    print(demo_facts.table(["", "outside", *(f"guest {guest.name}" for guest in guests)], [host, *facts]))
    print(f"\nAnd from inside guest {guests[0].name}, which is a machine of its own:\n")
    print("\n".join(f"  {line}" for line in guests[0].account()), flush=True)

    wrong = demo_facts.check(host, *facts) + audit(bulkhead, page)
    cgroups = [path for fact in facts for path in fact.cgroup_directories()]
    say("switching both off")
    wrong += [f"guest {guest.name} ended with status {status}" for guest in guests if (status := guest.power_off()) != 0]
    wrong += [f"{path} was left behind" for path in left_behind(guests, cgroups)]
    return wrong


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    guests = []
    with tempfile.TemporaryDirectory(prefix="bulkhead-demo.") as directory:
        try:
            suffix = os.getpid()  # two demonstrations at once must not want the same names
            for name, memory in (("anna", "256M"), ("bert", "192M")):
                guests.append(Guest(f"{name}-{suffix}", memory, Path(directory), sys.argv[1:4]))
            say(f"booting {' and '.join(guest.name for guest in guests)}")
            say(f"both are up after {wait_until_up(guests):.1f} s")
            wrong = show(guests, sys.argv[1], sys.argv[4])
        finally:
            for guest in guests:
                guest.stop()
    print()
    for line in wrong:
        print(f"demo: WRONG: {line}")
    if wrong:
        print(f"demo: {len(wrong)} checks failed")
        return 1
    print("demo: passed: two Linux guests, each in its own jail: no namespace, id or cgroup shared, no capability held, "
          "nothing left")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
