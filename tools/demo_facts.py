"""What /proc tells about a process: the facts of a jail, as text for a table and as values for checks.

Reads the kernel's files only and shares nothing with bulkhead, so that it shows what is in force, not what was asked
for. proc(5) and namespaces(7) describe the files.
"""
import os
from pathlib import Path

NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SECCOMP = {"0": "none", "1": "strict", "2": "filter"}
CGROUP_ROOT = Path("/sys/fs/cgroup")


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def children(parent):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(status(entry.name)["PPid"]) == parent:
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
    return found


def inside_id(pid, outside):
    """The id as the process's own user namespace calls it; None when the namespace has no name for it."""
    for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines():
        inside, first, count = map(int, line.split())
        if first <= outside < first + count:
            return inside + outside - first
    return None


def open_files(directory):
    found = {}
    for fd in directory.iterdir():
        try:
            found[int(fd.name)] = os.readlink(fd)
        except FileNotFoundError:
            pass  # of this very process: the descriptor that lists the directory
    return found


class Facts:
    def __init__(self, pid):
        proc = Path(f"/proc/{pid}")
        self.pid = pid
        self.status = status(pid)
        self.pids = self.status["NSpid"].split()
        self.threads = sorted((task / "comm").read_text().strip() for task in (proc / "task").iterdir())
        self.namespaces = {name: os.readlink(proc / "ns" / name).partition("[")[2].rstrip("]") for name in NAMESPACES}
        self.uid = int(self.status["Uid"].split()[0])
        self.uid_inside = inside_id(pid, self.uid)
        self.capabilities = {name: int(self.status[name], 16) for name in CAPABILITY_SETS}
        self.filters = [(SECCOMP.get(state["Seccomp"], "?"), int(state.get("Seccomp_filters", 0)))
                        for state in (status(f"{pid}/task/{task.name}") for task in (proc / "task").iterdir())]
        self.cgroups = {controllers: path for _, controllers, path in
                        (line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines())}
        self.fds = open_files(proc / "fd")
        self.mounts = len((proc / "mountinfo").read_text().splitlines())
        self.root_entries = len(os.listdir(proc / "root"))
        self.interfaces = [line.partition(":")[0].strip() for line in (proc / "net/dev").read_text().splitlines()[2:]]

    def cgroup(self):
        """The path in the unified hierarchy, or in that of the memory controller where cgroups are v1."""
        return self.cgroups.get("memory") or self.cgroups[""]

    def cgroup_directories(self):
        """Every directory below /sys/fs/cgroup that is the process's own."""
        found = [CGROUP_ROOT / controllers / path.lstrip("/") for controllers, path in self.cgroups.items()]
        return [path for path in found if path.is_dir() and "bulkhead" in path.parts]


def fd_kinds(fds):
    """["0-2 /dev/null", "3 socket", ...]: neighbours of one kind on one line, without inode numbers."""
    groups = []
    for number in sorted(fds):
        kind, _, what = fds[number].partition(":")
        if kind == "anon_inode":
            kind = what.strip("[]")
        if groups and groups[-1][2] == kind and groups[-1][1] == number - 1:
            groups[-1][1] = number
        else:
            groups.append([number, number, kind])
    return [f"{first}-{last} {kind}" if last > first else f"{first} {kind}" for first, last, kind in groups]


def short(lines, limit):
    return lines if len(lines) <= limit else [*lines[:limit - 1], f"... {len(lines) - limit + 1} more"]


def capabilities(facts):
    some = [name for name, value in facts.capabilities.items() if value]
    return "none in any of 5 sets" if not some else "some in " + " ".join(name[3:] for name in some)


ROWS = [
    ("pid on the host", lambda f: f.pid),
    ("pid as it sees itself", lambda f: f.pids[-1]),
    ("threads", lambda f: short(f.threads, 6)),
    *((f"{name} namespace", lambda f, name=name: f.namespaces[name]) for name in NAMESPACES),
    ("uid on the host", lambda f: f.uid),
    ("uid as it sees itself", lambda f: f.uid_inside),
    ("capabilities", capabilities),
    ("no_new_privs", lambda f: "yes" if f.status["NoNewPrivs"] == "1" else "no"),
    ("seccomp, per thread", lambda f: [f"{mode}, {count} in force" if count else mode for mode, count in f.filters]),
    ("cgroup", lambda f: f.cgroup()),
    ("open descriptors", lambda f: short(fd_kinds(f.fds), 10)),
    ("mounts it can see", lambda f: f.mounts),
    ("names in its root", lambda f: f.root_entries),
    ("network interfaces", lambda f: short(f.interfaces, 4)),
]


def table(head, facts):
    """Columns side by side; a cell that is a list has a line for each element."""
    rows = [[[text] for text in head]]
    for name, cell in ROWS:
        values = [cell(f) for f in facts]
        rows.append([[name], *([str(v) for v in value] if isinstance(value, list) else [str(value)] for value in values)])
    widths = [max(len(line) for row in rows for line in row[column]) for column in range(len(head))]
    lines = []
    for row in rows:
        for i in range(max(map(len, row))):
            cells = (cell[i] if i < len(cell) else "" for cell in row)
            lines.append("  ".join(text.ljust(width) for text, width in zip(cells, widths)).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def check(host, *guests):
    """What is not as a jail should be, one line each."""
    wrong = []
    for name in NAMESPACES:
        if len({facts.namespaces[name] for facts in (host, *guests)}) != 1 + len(guests):
            wrong.append(f"a {name} namespace is shared")
    for what, values in (("uid", [f.uid for f in (host, *guests)]), ("cgroup", [f.cgroup() for f in (host, *guests)])):
        if len(set(values)) != len(values):
            wrong.append(f"a {what} is shared")
    for facts in guests:
        for what, good in (
                ("is not PID 1 of its own PID namespace", facts.pids[-1] == "1" and len(facts.pids) > len(host.pids)),
                ("is root somewhere", facts.uid != 0 and facts.uid_inside != 0),
                ("has a capability", not any(facts.capabilities.values())),
                ("may gain privileges", facts.status["NoNewPrivs"] == "1"),
                ("has a thread without a filter", all(mode == "filter" for mode, _ in facts.filters)),
                ("sees more than one mount", facts.mounts == 1),
                ("has a name in its root", facts.root_entries == 0),
                ("has a network interface", facts.interfaces == ["lo"])):
            if not good:
                wrong.append(f"pid {facts.pid} {what}")
    return wrong
