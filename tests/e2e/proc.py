"""What the kernel says of processes: /proc, read without any help of bulkhead's."""

import os
import re
from pathlib import Path

NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time")


def _text(path):
    return Path(path).read_bytes().decode(errors="replace")


def status(pid, tid=None):
    """The fields of /proc/PID/status, or of one of its threads."""
    path = f"/proc/{pid}/task/{tid}/status" if tid else f"/proc/{pid}/status"
    return dict(line.split(":\t", 1) if ":\t" in line else (line.rstrip(":"), "")
                for line in _text(path).splitlines())


def stat(pid):
    """The fields of /proc/PID/stat, numbered as in proc(5) (1 is the pid); field 2 is left empty."""
    rest = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return [None, str(pid), ""] + rest


def threads(pid):
    return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))


def pids():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def is_alive(pid):
    """Does it exist, and is it more than a zombie? One whose other threads still run is."""
    try:
        fields = stat(pid)
        return fields[3] not in ("Z", "X") or int(fields[20]) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(root):
    """Pids of everything below root that is alive."""
    parents = {}
    for pid in pids():
        try:
            fields = stat(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[pid] = (int(fields[4]), fields[3])
    found, level = set(), {root}
    while level:
        level = {p for p, (parent, _) in parents.items() if parent in level} - found
        found |= level
    return {p for p in found if parents[p][1] not in ("Z", "X")}


def children(pid):
    found = []
    for p in pids():
        try:
            if int(stat(p)[4]) == pid:
                found.append(p)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def namespaces(pid):
    return {ns: os.readlink(f"/proc/{pid}/ns/{ns}") for ns in NAMESPACES}


def fds(pid):
    base = f"/proc/{pid}/fd"
    found = {}
    for fd in os.listdir(base):
        try:
            found[int(fd)] = os.readlink(f"{base}/{fd}")
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def mounts(pid="self"):
    return _text(f"/proc/{pid}/mountinfo").splitlines()


def limits(pid):
    """Name to (soft, hard) of /proc/PID/limits."""
    table = {}
    for line in _text(f"/proc/{pid}/limits").splitlines()[1:]:
        m = re.match(r"(.+?)\s{2,}(\S+)\s+(\S+)", line)
        table[m[1]] = (m[2], m[3])
    return table


def mappings(pid, name):
    """(range, VmFlags) of each mapping of the file with this name."""
    found, here = [], None
    for line in _text(f"/proc/{pid}/smaps").splitlines():
        m = re.match(r"([0-9a-f]+-[0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)", line)
        if m:
            here = m[1] if m[2].startswith(name) else None
        elif here and line.startswith("VmFlags:"):
            found.append((here, line.split()[1:]))
    return found


class Cgroups:
    """The hierarchies of this host, unified (v2) or one per controller (v1)."""

    def __init__(self):
        self.v1 = {}
        unified = None
        for line in mounts():
            left, right = line.split(" - ", 1)
            point, (kind, _, options) = left.split()[4], right.split(None, 2)
            if kind == "cgroup":
                for option in options.split(","):
                    self.v1[option] = Path(point)
            elif kind == "cgroup2":
                unified = Path(point)
        self.unified = unified if "memory" not in self.v1 else None

    def hierarchies(self):
        """Directories whose "bulkhead" holds guests."""
        if self.unified:
            return [self.unified]
        return [self.v1[c] for c in ("memory", "pids", "cpu", "blkio")]

    def of(self, pid):
        """Controller to path of the process ("" is the unified hierarchy)."""
        paths = {}
        for line in _text(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for c in controllers.split(","):
                paths[c] = path
        return paths

    def directory(self, pid, controller):
        """The directory with the files of this controller for this process."""
        if self.unified:
            return Path(f"{self.unified}{self.of(pid)['']}")
        return Path(f"{self.v1[controller]}{self.of(pid)[controller]}")
