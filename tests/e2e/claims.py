"""What a guest's state file claims, and what the kernel says about the same layers."""

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import proc

REPO = Path(__file__).resolve().parents[2]
# In the order of their bits.
LAYERS = re.findall(r'\[LAYER_\w+\] = \{\s*"([^"]+)"', (REPO / "src/jail/jail_layers.c").read_text())
KINDS = {"user": "user", "PID": "pid", "mount": "mnt", "network": "net", "IPC": "ipc", "UTS": "uts",
         "cgroup": "cgroup", "time": "time"}
LIMIT_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "memory.max",
               "memory.swap.max", "memory.oom.group"),
    "pids": ("pids.max",),
    "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"),
    "blkio": ("blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
              "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device", "io.max"),
}

# Run inside the guest's user, PID and network namespace, with the host's files.
PROBE = """
import fcntl, glob, json, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
up = {n: struct.unpack_from("H", fcntl.ioctl(s, 0x8913, struct.pack("16sH14x", n.encode(), 0)), 16)[0] & 1
      for _, n in socket.if_nameindex()}
read = {f: open(f).read().strip() for f in glob.glob("/proc/sys/user/max_*_namespaces") +
        glob.glob("/proc/sys/vm/memfd_noexec")}
print(json.dumps([up, read]))
"""


def layers(bits):
    return {name for i, name in enumerate(LAYERS) if bits >> i & 1}


def _read(path):
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, OSError):
        return None


def _inside(vmm):
    command = ["nsenter", "-t", str(vmm), "--user", "--pid", "--net", "--preserve-credentials", sys.executable, "-c", PROBE]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=180).stdout)


def _of_threads(vmm, names):
    """Per thread, the values of fields of its status; KVM's own thread is left out, as it comes when it likes."""
    found = []
    for tid in proc.threads(vmm):
        s = proc.status(vmm, tid)
        if not s["Name"].startswith("kvm-"):
            found.append([s.get(name) for name in names])
    return sorted(found, key=str)


def _ids(vmm):
    """Relative to the block of ids that this guest has got."""
    first = int(proc.status(vmm)["Uid"].split()[0]) - 1
    fields = [int(v) - first for name in ("Uid", "Gid") for v in proc.status(vmm)[name].split()]
    maps = [[int(v) - first if i == 1 else int(v) for i, v in enumerate(_read(f"/proc/{vmm}/{f}").split())]
            for f in ("uid_map", "gid_map")]
    return fields, maps, proc.status(vmm)["Groups"].split()


def _cgroup(vmm, name):
    cgroups = proc.Cgroups()
    found = {}
    for controller, files in LIMIT_FILES.items():
        directory = cgroups.directory(vmm, controller)
        assert directory.name == name, directory
        found |= {f: _read(directory / f) for f in files}
    return found


def _mounts(vmm):
    return [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in proc.mounts(vmm)]


def _memory(vmm):
    found = []
    for where, flags in proc.mappings(vmm, "/memfd:guest_ram"):
        fd = os.open(f"/proc/{vmm}/map_files/{where}", os.O_RDONLY)
        try:
            found.append((flags, fcntl.fcntl(fd, fcntl.F_GET_SEALS)))
        finally:
            os.close(fd)
    return found


def facts(supervisor, vmm, name):
    """
    {layer: what the kernel says of it}; a key that names no layer is something every guest has. Two guests that were
    started alike, and lack nothing, have the same.
    """
    up, read = _inside(vmm)
    noexec = read.pop("/proc/sys/vm/memfd_noexec", None)
    limits = proc.limits(vmm)
    own = proc.namespaces("self")
    theirs = proc.namespaces(vmm)
    found = {f"{text} namespace": own[kind] != theirs[kind] for text, kind in KINDS.items()}
    found |= {
        "cgroup limits": _cgroup(vmm, name),
        "descriptor table": {fd: re.sub(r":\[\d+\]", "", link) for fd, link in proc.fds(vmm).items()},
        "empty read-only root": (_mounts(vmm), *(os.listdir(f"/proc/{vmm}/{link}") for link in ("root", "cwd"))),
        "empty network": up,
        "resource limits": (limits, _read(f"/proc/{vmm}/oom_score_adj")),
        "no further namespaces": read,
        "memfd never executable": noexec,
        "store-bypass mitigation": _of_threads(vmm, ["Speculation_Store_Bypass"]),
        "indirect-branch mitigation": _of_threads(vmm, ["SpeculationIndirectBranch"]),
        "no memory merging": _read(f"/proc/{vmm}/ksm_stat"),
        "unprivileged ids": (_ids(vmm), _of_threads(vmm, ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])),
        "no_new_privs": _of_threads(vmm, ["NoNewPrivs"]),
        "system-call filter": _of_threads(vmm, ["Seccomp", "Seccomp_filters"]),
        "not dumpable": os.stat(f"/proc/{vmm}/status").st_uid,
        "threads": _of_threads(vmm, ["SigBlk", "SigIgn", "SigCgt"]),
        "session": proc.stat(vmm)[6] == str(vmm),
        "guest memory": _memory(vmm),
        "supervisor": [proc.status(supervisor).get(n) for n in
                       ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
                        "SigBlk", "SigIgn")],
        "supervisor's dumpability": os.stat(f"/proc/{supervisor}/status").st_uid,
    }
    return found
