"""What bulkhead could leave on a host, and the check that it does not."""

import ctypes
import os
import time
from pathlib import Path

import proc

SLOW = float(os.environ.get("BULKHEAD_SLOW", "1"))  # this host is that many times slower than a usual one
STATE = Path("/run/bulkhead")
PREFIX = f"e2e{os.getpid()}-"  # of all names in this run: guests of others are nobody's leftovers

PR_SET_CHILD_SUBREAPER = 36


def seconds(t):
    """A time limit, stretched for a slow host."""
    return t * SLOW


def wait_until(condition, timeout, what):
    """Waits until condition() is true and returns its value; a failure names what was waited for."""
    end = time.monotonic() + seconds(timeout)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds(timeout):.0f} s: {what() if callable(what) else what}"
        time.sleep(0.005)


def adopt_orphans():
    """From here on, processes that lose their parent below us become our children: none can hide."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # somebody else's, or gone


def _listing(path):
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        return set()


def _state():
    found = {f"state of {n}" for n in _listing(STATE / "guests") if n.startswith(PREFIX)}
    for slot in _listing(STATE / "ids"):
        try:
            if os.readlink(STATE / "ids" / slot).startswith(PREFIX):
                found.add(f"ids {slot}")
        except FileNotFoundError:
            pass
    # The two directories are made once for all guests and stay.
    return found | {f"{STATE}/{n}" for n in _listing(STATE) if n not in ("guests", "ids")}


def _cgroups():
    found = set()
    for hierarchy in proc.Cgroups().hierarchies():
        parent = hierarchy / "bulkhead"
        try:
            names = [d.name for d in os.scandir(parent) if d.is_dir()]
        except FileNotFoundError:
            continue
        # The empty parent stays until a command other than run finds no guest.
        found |= {f"cgroup {parent / n}" for n in names if n.startswith(PREFIX)}
    return found


def _sockets():
    """Sockets with a name that has to do with bulkhead."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        name = line.split(None, 7)[7:]
        if name and ("bulkhead" in name[0] or PREFIX in name[0]):
            found.add(f"socket {name[0]}")
    return found


def _processes():
    found = set()
    for pid in proc.descendants(os.getpid()):
        try:
            found.add(f"process {pid} ({proc.status(pid)['Name']})")
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class Host:
    """The host as it was when this object was made."""

    def __init__(self, cwd):
        self.cwd = cwd  # where guests are started: no file may appear there
        self.before = self.look()

    def look(self):
        return (_processes() | _state() | _cgroups() | _sockets() | {f"mount {m}" for m in proc.mounts()} |
                {f"file {self.cwd}/{n}" for n in _listing(self.cwd)})

    def left(self):
        return self.look() - self.before

    def assert_clean(self, timeout=1):
        """Within timeout seconds there is nothing that was not there before."""
        wait_until(lambda: not self.left(), timeout, lambda: f"left behind: {sorted(self.left())}")
