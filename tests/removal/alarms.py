"""
The judgement on facts that facts.py has collected, or that were recorded: each alarm is one thing that a jail must have
and this one has not.
"""

import re

ALARMS = {}  # name -> function of the facts, true when the alarm is raised
NEEDS = {}   # name -> function of facts["kernel"], false where that kernel cannot have it


def alarm(name, needs=lambda kernel: True):
    def add(function):
        ALARMS[name], NEEDS[name] = function, needs
        return function
    return add


def raised(facts, but=()):
    """Names of the alarms that these facts raise; some may be about what there are no facts of."""
    return {name for name, is_raised in ALARMS.items()
            if name not in but and NEEDS[name](facts["kernel"]) and is_raised(facts)}


def threads(facts, role=None):
    """The threads, or those of one role. What KVM runs in the process for a vCPU counts as one."""
    return [t for tid, t in facts["threads"].items() if role is None or (role == "main") == (tid == facts["vmm"])]


def statuses(facts, field, role=None):
    return [t["status"].get(field) for t in threads(facts, role)]


# Namespaces

KINDS = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time")
for _kind in KINDS:
    @alarm(f"{_kind} namespace", lambda kernel, kind=_kind: kind in kernel["namespaces"])
    def _(facts, kind=_kind):
        return any(t["namespaces"][kind] == facts["kernel"]["namespaces"][kind] for t in threads(facts))


@alarm("further namespaces")
def _(facts):
    return (facts["probes"]["unshare_user"] != "ENOSPC" or
            any(value not in ("0", "ENOENT") for value in facts["max_namespaces"].values()))


@alarm("network interfaces")
def _(facts):
    return any(flags & 1 for flags in facts["probes"]["interfaces"].values())  # IFF_UP


@alarm("session")
def _(facts):
    return len(set(facts["session"])) == 1


@alarm("session keyring")
def _(facts):
    return facts["probes"].get("session_key") == 0  # older recordings lack it


# Ids and capabilities

@alarm("id map")
def _(facts):
    lines = [[int(word) for word in line.split()]
             for file in ("uid_map", "gid_map") for line in facts[file].splitlines()]
    return not lines or any(0 in (inside, host) or count > 1 << 16 for inside, host, count in lines)


def _host_ids(facts, field, taken):
    ids = {number for value in statuses(facts, field) for number in value.split()}
    return len(ids) != 1 or int(ids.pop()) in taken


@alarm("uid")
def _(facts):
    return _host_ids(facts, "Uid", facts["kernel"]["users"])


@alarm("gid")
def _(facts):
    return _host_ids(facts, "Gid", facts["kernel"]["groups"])


@alarm("groups")
def _(facts):
    return any(value.split() for value in statuses(facts, "Groups"))


for _set in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    @alarm(_set)
    def _(facts, field=_set):
        return any(int(value, 16) for value in statuses(facts, field))


@alarm("securebits")
def _(facts):
    return facts["probes"]["securebits"] & 0xef != 0xef  # all with their locks; exec takes KEEP_CAPS (0x10) itself


@alarm("no_new_privs")
def _(facts):
    return set(statuses(facts, "NoNewPrivs")) != {"1"}


# The cgroup

@alarm("cgroup")
def _(facts):
    return any(path != f"/bulkhead/{facts['name']}" for path in facts["cgroups"]["paths"].values())


def _limit(facts, v1, v2):
    """A cgroup's file as text; the errno's name when it has none."""
    return facts["cgroups"]["files"][v2 if facts["kernel"]["unified"] else v1].strip()


def _is_limit(value, highest):
    return value.isdigit() and int(value) <= highest


@alarm("memory limit")
def _(facts):
    return not _is_limit(_limit(facts, "memory.limit_in_bytes", "memory.max"), 1 << 40)


@alarm("swap limit")
def _(facts):
    if facts["kernel"]["unified"] or _limit(facts, "memory.memsw.limit_in_bytes", None) == "ENOENT":
        return _limit(facts, "memory.swappiness", "memory.swap.max") != "0"
    return not _is_limit(_limit(facts, "memory.memsw.limit_in_bytes", None), 1 << 40)


@alarm("out-of-memory group", lambda kernel: kernel["unified"])
def _(facts):
    return _limit(facts, None, "memory.oom.group") != "1"


@alarm("process limit")
def _(facts):
    return not _is_limit(_limit(facts, "pids.max", "pids.max"), 64)


@alarm("CPU limit")
def _(facts):
    return not _is_limit(_limit(facts, "cpu.cfs_quota_us", "cpu.max").split()[0], 1 << 40)


@alarm("I/O limit")
def _(facts):
    return not re.match(r"\d+:\d+ ", _limit(facts, "blkio.throttle.read_bps_device", "io.max"))


# Descriptors

SOCKETS = dict.fromkeys(("3", "4"), r"socket:\[\d+\]")
EVENTS, POLL, TIMER = (rf"anon_inode:\[{name}\]" for name in ("eventfd", "eventpoll", "timerfd"))
ROLES = {
    "vmm": {**SOCKETS, "8": "anon_inode:kvm-vm", "9": EVENTS, "64": "anon_inode:kvm-vcpu:0"},
    # A device that its guest has not started yet: the front end has sent it its channel back, and no more.
    "rng": {**SOCKETS, "10": SOCKETS["4"], **dict.fromkeys(("5", "7", "8"), "/dev/null"), "6": POLL, "9": TIMER},
    "blk": {**SOCKETS, "10": SOCKETS["4"], "5": "/.*/removal.img", "6": POLL, "7": r"anon_inode:\[io_uring\]", "8": EVENTS, "9": TIMER},
}


@alarm("descriptors")
def _(facts):
    role = ROLES[facts.get("role", "vmm")]
    found = {number: fd["link"] for number, fd in facts["descriptors"].items() if number not in ("0", "1", "2")}
    return found.keys() != role.keys() or any(not re.fullmatch(role[number], link) for number, link in found.items())


@alarm("standard descriptors")
def _(facts):
    return any(facts["descriptors"].get(number, {}).get("device") != "1:3" for number in ("0", "1", "2"))


# The root

def _root_mount(facts):
    """The mount that is the root: its options, its optional fields, its type, its file system's options."""
    line = next(m for m in facts["mounts"] if m.split()[2] == facts["root"]["device"])
    left, right = line.split(" - ")
    return (set(left.split()[5].split(",")), left.split()[6:], right.split()[0], set(right.split()[2].split(",")))


def _is_root_empty(facts):
    return _root_mount(facts)[2] == "tmpfs" and facts["root"]["names"] == []


@alarm("root not empty")
def _(facts):
    return not _is_root_empty(facts)


# Of another root than the empty one, the following say nothing: it depends on the host.

@alarm("root writable")
def _(facts):
    mount, _, _, file_system = _root_mount(facts)
    return _is_root_empty(facts) and not ("ro" in mount and "ro" in file_system)


@alarm("root flags")
def _(facts):
    return _is_root_empty(facts) and not {"nosuid", "nodev", "noexec"} <= _root_mount(facts)[0]


@alarm("root size")
def _(facts):
    return _is_root_empty(facts) and not {"size=4k", "nr_inodes=1"} <= _root_mount(facts)[3]


@alarm("root propagation")
def _(facts):
    return _is_root_empty(facts) and _root_mount(facts)[1] != []


@alarm("other mounts")
def _(facts):
    return len(facts["mounts"]) != 1


@alarm("working directory")
def _(facts):
    return facts["root"]["cwd"] != "/" or facts["root"]["cwd_names"] != []


# Limits

LIMITS = {"Max core file size": 0, "Max open files": 128, "Max processes": 64, "Max file size": 0,
          "Max locked memory": 0, "Max msgqueue size": 0, "Max pending signals": 64, "Max nice priority": 0,
          "Max realtime priority": 0}
OF_DEVICES = {
    "rng": {"Max processes": 1, "Max file size": 1 << 20},  # an in-flight region
    "blk": {"Max processes": 33, "Max file size": None, "Max locked memory": 1 << 19},  # io_uring's threads; its disk; its ring
}
RAISED = ("Max nice priority", "Max realtime priority")  # 0 on any host; to be higher, they must have been raised
for _name, _highest in LIMITS.items():
    @alarm(_name, lambda kernel, name=_name: name not in RAISED or kernel["may_raise_limits"])
    def _(facts, name=_name, highest=_highest):
        highest = OF_DEVICES.get(facts.get("role"), {}).get(name, highest)
        return highest is not None and not all(_is_limit(value, highest) for value in facts["limits"][name])


@alarm("out-of-memory score")
def _(facts):
    return int(facts["oom_score_adj"]) < 500


@alarm("executable memfd", lambda kernel: kernel["memfd_noexec"] != "ENOENT")
def _(facts):
    return facts["probes"]["memfd_exec"] != "EACCES"


# The processor

for _name in ("store bypass", "indirect branch"):
    @alarm(_name, lambda kernel, key=_name.replace(" ", "_"): isinstance(kernel[key], int) and kernel[key] & 1)
    def _(facts, key=_name.replace(" ", "_")):
        return facts["probes"][key] & 8 == 0  # PR_SPEC_FORCE_DISABLE


@alarm("core scheduling", lambda kernel: kernel["core_sched"] == 0)
def _(facts):
    return facts["probes"]["core_cookie"] == 0


@alarm("page merging", lambda kernel: isinstance(kernel["memory_merge"], int))
def _(facts):
    return facts["probes"]["memory_merge"] != 0


# System-call filters

# What of these a device's process can lack is called as it is for the VMM's main thread.
for _role, _call in (("main", "gettid"), ("vcpu", "getpid")):
    @alarm(f"filters of {_role}")
    def _(facts, role=_role):
        return (set(statuses(facts, "Seccomp", role)) != {"2"} or
                any(int(count) < 2 for count in statuses(facts, "Seccomp_filters", role)))

    @alarm(f"forbidden call of {_role}")
    def _(facts, fact=f"{_role}_{_call}"):
        return facts.get("setup_call", facts.get(fact)) != "signal 31"  # SIGSYS


# After exec

@alarm("parent-death signal")
def _(facts):
    return facts["probes"]["pdeathsig"] != 9


@alarm("dumpable")
def _(facts):
    return facts["probes"]["dumpable"] != 0


@alarm("writable and executable memory", lambda kernel: kernel["mdwe"] != "EINVAL")
def _(facts):
    return facts["probes"]["map_writable_executable"] != "EACCES"


def _landlock(abi):
    return lambda kernel: isinstance(kernel["landlock_abi"], int) and kernel["landlock_abi"] >= abi


@alarm("Landlock: files", _landlock(1))
def _(facts):
    return facts["probes"]["open_root"] != "EACCES"


@alarm("Landlock: TCP", _landlock(4))
def _(facts):
    return facts["probes"]["bind_tcp"] != "EACCES"


@alarm("Landlock: abstract sockets", _landlock(6))
def _(facts):
    return facts["probes"]["connect_abstract"] != "EPERM"


# Guest RAM

@alarm("RAM not sealed")
def _(facts):
    return facts["ram"]["seals"] & 7 != 7  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW


@alarm("RAM dumped")
def _(facts):
    return "dd" not in facts["ram"]["flags"]


@alarm("RAM merged", lambda kernel: kernel["ksm"] == 0)
def _(facts):
    return "mg" in facts["ram"]["flags"]


# The supervisor

SUPERVISOR_CAPABILITIES = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


@alarm("supervisor's filter")
def _(facts):
    return (facts["supervisor"]["status"]["Seccomp"], facts["supervisor"]["status"]["NoNewPrivs"]) != ("2", "1")


@alarm("supervisor's capabilities")
def _(facts):
    return any(int(facts["supervisor"]["status"][field], 16) & ~SUPERVISOR_CAPABILITIES
               for field in ("CapInh", "CapPrm", "CapEff", "CapBnd"))


@alarm("supervisor dumpable")
def _(facts):
    return facts["supervisor"]["dumpable"] != 0
