"""
What the kernel says of a guest's processes: collected here, judged in alarms.py.

Facts are what files of /proc and of cgroups hold, and what probes inside the jail were answered: an errno's name, or
what the call returned. Nothing in here interprets them, and nothing comes from bulkhead: neither its state files nor
its code. They are plain JSON, so that the same judgement can be passed on facts that were recorded on another kernel.
"""

import ctypes
import errno
import fcntl
import grp
import json
import mmap
import os
import pwd
import socket
import struct
from pathlib import Path

import inject
import proc

_libc = ctypes.CDLL(None, use_errno=True)

# linux/prctl.h
PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_GET_SECUREBITS = 2, 3, 27
PR_GET_SPECULATION_CTRL, PR_SCHED_CORE, PR_GET_MDWE, PR_GET_MEMORY_MERGE = 52, 62, 66, 68
PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH, PR_SCHED_CORE_GET = 0, 1, 0

AT_FDCWD, MFD_EXEC, SIOCGIFFLAGS, CLONE_NEWUSER, MADV_MERGEABLE = -100, 0x10, 0x8913, 1 << 28, 12
SYS_LANDLOCK_CREATE_RULESET = 444
CAP_SYS_RESOURCE = 24
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING = 1, 10, -3  # linux/keyctl.h
PLANTED_KEY = b"removal"  # in the session keyring of whoever starts the guest
NS_CLONE_FLAG = {"user": CLONE_NEWUSER, "net": 1 << 30}


def answer(result):
    """A call's result, or the name of the errno."""
    return errno.errorcode[-result] if -4096 < result < 0 else result


def _own(call, *args):
    ctypes.set_errno(0)
    result = getattr(_libc, call)(*args)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result


def text(path):
    """A file's text, or the errno's name when it cannot be read."""
    try:
        return Path(path).read_text()
    except OSError as e:
        return errno.errorcode[e.errno]


def may_raise_limits():
    return bool(int(proc.status("self")["CapEff"], 16) & 1 << CAP_SYS_RESOURCE)


def kernel():
    """What this kernel could enforce, asked by a process in no jail."""
    cookie = ctypes.c_uint64()
    with mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        try:
            page.madvise(MADV_MERGEABLE)
            ksm = 0
        except OSError as e:
            ksm = errno.errorcode[e.errno]
    return {
        "release": os.uname().release.partition("-")[0],
        "unified": proc.Cgroups().unified is not None,
        "landlock_abi": _own("syscall", SYS_LANDLOCK_CREATE_RULESET, None, 0, 1),
        "memfd_noexec": text("/proc/sys/vm/memfd_noexec").strip(),
        "mdwe": _own("prctl", PR_GET_MDWE, 0, 0, 0, 0),
        "memory_merge": _own("prctl", PR_GET_MEMORY_MERGE, 0, 0, 0, 0),
        "ksm": ksm,
        "store_bypass": _own("prctl", PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0),
        "indirect_branch": _own("prctl", PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0),
        "core_sched": _own("prctl", PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, ctypes.byref(cookie)),
        "may_raise_limits": may_raise_limits(),
        "namespaces": {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in proc.NAMESPACES
                       if os.path.exists(f"/proc/self/ns/{kind}")},
        "users": sorted({entry.pw_uid for entry in pwd.getpwall()}),
        "groups": sorted({entry.gr_gid for entry in grp.getgrall()}),
    }


def _inside(pid, kinds, collect):
    """What collect() returns in a child process that is in these namespaces of another one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for kind in kinds:
                fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                # It is the child's already when the unit that makes it was left out.
                if os.readlink(f"/proc/self/ns/{kind}") != os.readlink(f"/proc/{pid}/ns/{kind}") and \
                        _libc.setns(fd, NS_CLONE_FLAG[kind]) < 0:
                    raise OSError(ctypes.get_errno(), f"setns {kind}")
            os.write(writer, json.dumps(collect()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return json.loads(said)


def _namespace_sysctls():
    return {kind: text(f"/proc/sys/user/max_{kind}_namespaces").strip() for kind in proc.NAMESPACES}


def _thread(pid, tid):
    return {"status": proc.status(pid, tid),
            "may_raise_limits": may_raise_limits(),
        "namespaces": {kind: os.readlink(f"/proc/{pid}/task/{tid}/ns/{kind}") for kind in proc.NAMESPACES
                           if os.path.exists(f"/proc/{pid}/task/{tid}/ns/{kind}")}}


def _root(pid):
    device = os.stat(f"/proc/{pid}/root").st_dev
    return {"device": f"{os.major(device)}:{os.minor(device)}", "names": sorted(os.listdir(f"/proc/{pid}/root")),
            "cwd": os.readlink(f"/proc/{pid}/cwd"), "cwd_names": sorted(os.listdir(f"/proc/{pid}/cwd"))}


def _descriptors(pid):
    found = {}
    for number, link in proc.fds(pid).items():
        status = os.stat(f"/proc/{pid}/fd/{number}")
        found[str(number)] = {"link": link, "device": f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"}
    return found


def _ram(pid):
    (where, flags), = proc.mappings(pid, "/memfd:guest_ram")
    fd = os.open(f"/proc/{pid}/map_files/{where}", os.O_RDONLY)
    try:
        return {"flags": flags, "seals": fcntl.fcntl(fd, fcntl.F_GET_SEALS)}
    finally:
        os.close(fd)


CGROUP_FILES = {
    True: ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "io.max"),
    False: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "pids.max",
            "cpu.cfs_quota_us", "cpu.cfs_period_us", "blkio.throttle.read_bps_device"),
}


def _cgroups(pid):
    cgroups = proc.Cgroups()
    unified = cgroups.unified is not None
    paths = cgroups.of(pid)
    return {
        "paths": {"": paths[""]} if unified else {c: paths[c] for c in ("memory", "pids", "cpu", "blkio")},
        "files": {file: text(cgroups.directory(pid, file.split(".")[0]) / file) for file in CGROUP_FILES[unified]},
    }


def _interfaces(pid, thread):
    """Name to flags of the interfaces, asked for in the jail."""
    fd = thread.call("socket", socket.AF_INET, socket.SOCK_DGRAM, 0)
    flags = {}
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
        name = line.split(":")[0].strip()
        result = thread.call("ioctl", fd, SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
        flags[name] = answer(result) if result < 0 else struct.unpack_from("H", thread.read(thread.top, 40), 16)[0]
    return flags


def _prctl(thread, *args):
    return answer(thread.call("prctl", *args, *[0] * (5 - len(args))))


def _of_process(main):
    """What a copy would not have."""
    return {
        "pdeathsig": answer(main.get("prctl", PR_GET_PDEATHSIG, None, 0, 0, 0, size=4)),
        "core_cookie": answer(main.get("prctl", PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, None, size=8)),
    }


def _of_copy(pid, probe):
    """What a process is answered when no filter judges its calls; some change it."""
    name = f"\0removal-{os.getpid()}".encode()  # an abstract socket of somebody outside the jail
    return {
        "dumpable": _prctl(probe, PR_GET_DUMPABLE),
        "securebits": _prctl(probe, PR_GET_SECUREBITS),
        "store_bypass": _prctl(probe, PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS),
        "indirect_branch": _prctl(probe, PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH),
        "memory_merge": _prctl(probe, PR_GET_MEMORY_MERGE),
        "interfaces": _interfaces(pid, probe),
        "memfd_exec": _success(probe.call("memfd_create", b"probe\0", MFD_EXEC)),
        "map_writable_executable": _success(probe.call(
            "mmap", 0, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC,
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)),
        "open_root": _success(probe.call("openat", AT_FDCWD, b"/\0", os.O_RDONLY | os.O_DIRECTORY, 0)),
        "bind_tcp": _bind_tcp(probe),
        "connect_abstract": _connect_abstract(pid, probe, name),
        "session_key": _success(probe.call("keyctl", KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, b"user\0",
                                           PLANTED_KEY + b"\0", 0)),
        "unshare_user": answer(probe.call("unshare", CLONE_NEWUSER)),
    }


def _probes(pid):
    """What the main thread, and a copy of it, are answered."""
    with inject.stopped(pid) as main:
        probes = _of_process(main)
        with inject.probe(main) as probe:
            probes |= _of_copy(pid, probe)
    return probes


def _success(result):
    """Descriptors and addresses differ from one time to the next."""
    return answer(min(result, 0))


def _bind_tcp(probe):
    fd = probe.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    return answer(probe.call("bind", fd, struct.pack("H14x", socket.AF_INET), 16))


def _connect_abstract(pid, probe, name):
    """Connects to a socket that somebody outside the jail has in the jail's network namespace."""
    def connect():
        fd = probe.call("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0)
        return answer(probe.call("connect", fd, struct.pack("H", socket.AF_UNIX) + name, 2 + len(name)))
    listening, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            assert _libc.setns(fd, NS_CLONE_FLAG["net"]) == 0
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.bind(name)
                s.listen()
                os.write(listening[1], b"1")
                os.read(done[0], 1)
        finally:
            os._exit(0)
    os.close(listening[1])
    assert os.read(listening[0], 1) == b"1"
    try:
        return connect()
    finally:
        os.write(done[1], b"1")
        os.waitpid(child, 0)
        for end in (listening[0], *done):
            os.close(end)


def _survives(pid, tid, call):
    """Does a copy of this thread live on when it makes the call, its filters in force?"""
    with inject.stopped(pid, tid) as thread, inject.probe(thread) as probe:
        return _lives_on(probe, call)


def _lives_on(thread, call, *args):
    thread.filters(suspended=False)
    try:
        thread.call(call, *args)
        return True
    except inject.Killed as killed:
        return f"signal {killed.args[0]}"


def _process(name, pid, supervisor):
    """What is asked of every process of the guest with this name; "vmm" is the one that it is about."""
    return {
        "kernel": kernel(),
        "name": name,
        "vmm": str(pid),
        "threads": {str(tid): _thread(pid, tid) for tid in proc.threads(pid)},
        "session": [proc.stat(one)[6] for one in (pid, supervisor)],
        "uid_map": text(f"/proc/{pid}/uid_map"),
        "gid_map": text(f"/proc/{pid}/gid_map"),
        "cgroups": _cgroups(pid),
        "mounts": proc.mounts(pid),
        "root": _root(pid),
        "descriptors": _descriptors(pid),
        "limits": proc.limits(pid),
        "oom_score_adj": text(f"/proc/{pid}/oom_score_adj").strip(),
        "max_namespaces": _inside(pid, ["user"], _namespace_sysctls),
    }


def collect_device(name, pid, supervisor, role):
    """All facts about the process of a device, which does not outlive it: it may have no copy."""
    facts = _process(name, pid, supervisor)
    with inject.taken(pid) as thread:
        probes = _of_process(thread) | _of_copy(pid, thread)
        # A call that the filter of the setup allows, but not that of the role.
        return facts | {"role": role, "probes": probes, "setup_call": _lives_on(thread, "epoll_create1", 0)}


def collect(name, vmm, supervisor):
    """All facts about the guest with this name and its VMM."""
    facts = _process(name, vmm, supervisor)
    vcpu = next(int(tid) for tid, t in facts["threads"].items() if t["status"]["Name"].startswith("vcpu"))
    facts |= {
        "ram": _ram(vmm),
        # Calls that the filter of the setup allows, but not that of the role.
        "main_gettid": _survives(vmm, vmm, "gettid"),
        "vcpu_getpid": _survives(vmm, vcpu, "getpid"),
        "probes": _probes(vmm),
        "supervisor": {"status": proc.status(supervisor), "dumpable": None},
    }
    with inject.stopped(supervisor) as thread:
        facts["supervisor"]["dumpable"] = _prctl(thread, PR_GET_DUMPABLE)
    return facts
