"""
What the auditor, which knows nothing of the jail, sees of a unit that is left out.

Two guests of the same build run; the auditor's verdicts on them are compared with those on two whole guests of the same
host. What gets worse is listed below, by unit. An empty set is for what no other process can see: what only the guest's own
processes could ask the kernel about, what another layer makes up for, or what the auditor does not hold against a guest.
"""

import json
import os
import subprocess

from bulkhead import BUILD
from host import seconds

BADNESS = ("NA", "PASS", "UNKNOWN", "WARN", "FAIL")

OF_THE_HOST = {"CPU-SHARE", "CPU-SMTPAIR"}  # on pairs of guests, and decided by the host's processors alone

GUESTS = 2  # that run, with a vCPU each

FILTERED = {"SYS-ACTION", "SYS-ARCH", "SYS-IOCTL", "SYS-POLICY", "SYS-SECCOMP"}
NOTHING = set()

# Unit (tests/leave_out/meson.build) -> checks whose verdict gets worse without it.
UNITS = {
    "user_ns": {"NS-USER", "PRIV-UIDUNIQ"},
    "pid_ns": {"NS-PID"},
    "mount_ns": {"NS-MNT", "FS-ROOT", "NS-PROCVIS", "DEV-CG"},
    "net_ns": {"NS-NET"},
    "ipc_ns": {"NS-IPC"},
    "uts_ns": {"NS-UTS-CG-TIME"},
    "cgroup_ns": {"NS-UTS-CG-TIME"},
    "time_ns": {"NS-UTS-CG-TIME"},
    "no_new_ns": NOTHING,  # a sysctl of its user namespace
    "loopback": NOTHING,
    "setsid": NOTHING,

    "id_map": NOTHING,  # no process has id 0
    "uid": {"PRIV-ROOT", "PRIV-UIDUNIQ", "PROC-DUMPABLE", "RES-CGOWN"},
    "gid": {"PRIV-ROOT", "PRIV-UIDUNIQ", "PRIV-GROUPS"},
    "groups": NOTHING,  # the one that is planted is nobody's
    "capabilities": {"PRIV-CAPS"},
    "cap_inheritable": {"PRIV-CAPS"},
    "cap_bounding": {"PRIV-CAPS"},
    "securebits": NOTHING,
    "session_keyring": NOTHING,
    "no_new_privs": {"PRIV-NNP", "SYS-LANDLOCK"} | FILTERED,

    "cgroup": {"RES-CGSHARE", "RES-MEM", "RES-CPU", "RES-PIDS"},
    "memory_limit": {"RES-MEM"},
    "swap_limit": NOTHING,
    "oom_group": NOTHING,
    "pids_limit": {"RES-PIDS"},
    "cpu_limit": {"RES-CPU"},
    "io_limit": NOTHING,  # a guest without a disk needs none

    "close_range": {"FS-DIRFD"},
    "loading_fds": {"FS-FDS", "RES-IO"},
    "standard_fds": NOTHING,

    "root": {"FS-ROOT", "FS-MOUNTS", "NS-PROCVIS", "DEV-CG"},
    "root_read_only": NOTHING,  # it has room for nothing
    "root_flags": {"FS-MOUNTS", "DEV-CG"},
    "root_size": NOTHING,  # it is read-only
    "root_private": {"FS-MOUNTS"},
    "old_root": {"FS-MOUNTS", "NS-PROCVIS", "DEV-CG"},
    "working_directory": NOTHING,

    "rlimit_core": NOTHING,  # it is not dumpable
    "rlimit_nofile": NOTHING,
    "rlimit_nproc": NOTHING,  # its cgroup limits it
    "rlimit_fsize": NOTHING,  # it has no file to write
    "rlimit_memlock": NOTHING,
    "rlimit_msgqueue": NOTHING,
    "rlimit_sigpending": NOTHING,
    "rlimit_nice": NOTHING,
    "rlimit_rtprio": NOTHING,
    "oom_score": NOTHING,
    "memfd_noexec": NOTHING,  # a sysctl of its PID namespace

    "store_bypass": NOTHING,
    "indirect_branch": NOTHING,
    "core_sched": NOTHING,
    "no_merge": {"MEM-KSMG"},

    "seccomp_setup": NOTHING,  # the filters of the roles allow less
    "seccomp_main": {"SYS-IOCTL"},
    "seccomp_vcpu": {"SYS-IOCTL"},

    "pdeathsig": NOTHING,
    "dumpable": {"PROC-DUMPABLE"},
    "mdwe": NOTHING,
    "landlock": {"SYS-LANDLOCK"},
    "landlock_net": NOTHING,  # the VMM attests an ABI, not rules
    "landlock_scope": NOTHING,

    "ram_seals": NOTHING,  # no process has the memory's descriptor
    "ram_dumping": NOTHING,  # the VMM is not dumpable
    "ram_merging": {"MEM-KSMG"},

    # The supervisor is no part of the guest.
    "supervisor_filter": NOTHING,
    "supervisor_capabilities": NOTHING,
    "supervisor_dumpable": NOTHING,

    "nothing": NOTHING,
}


# Where only the processes of devices lack the unit, and something else gets worse than above.
OF_DEVICES = {
    "pid_ns": NOTHING,  # it tells whose process one is that has not mapped the guest's RAM yet
    **dict.fromkeys(("uts_ns", "cgroup_ns", "time_ns"), NOTHING),  # asked of the monitor
    "uid": UNITS["uid"] | {"STO-PERM"},  # the user that a disk's process is may open all images
    "seccomp_main": {"SYS-POLICY"},  # what makes the ring and the program, which the filter of the setup allows
}


def expected_of_devices(unit, kernel):
    return expected(unit, kernel) if unit not in OF_DEVICES else set(OF_DEVICES[unit])


def expected(unit, kernel):
    """The checks of the unit on this kernel."""
    listed = set(UNITS[unit])
    if kernel["landlock_abi"] == "ENOSYS" or kernel["landlock_abi"] == "EOPNOTSUPP":
        listed.discard("SYS-LANDLOCK")
    if os.cpu_count() >= GUESTS:
        listed.discard("RES-CPU")  # a quota matters where guests have more vCPUs than the host has processors
    return listed


def verdicts(*names):
    """The worst verdict of each check on guests of these names: alone, all together, or all together with strangers, but not
    one of them with a stranger."""
    run = subprocess.run([BUILD / "bulkhead-audit", "--deep", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, timeout=seconds(60), check=False)
    assert run.returncode in (0, 6, 10) and run.stderr == b"", run
    report = json.loads(run.stdout)
    assert set(names) <= {guest["name"] for guest in report["guests"]}, report["guests"]
    worst = {}
    for finding in report["findings"]:
        whom = set(finding["guests"])
        if whom and (whom <= set(names) or set(names) <= whom):
            known = worst.get(finding["id"], "NA")
            worst[finding["id"]] = max(known, finding["verdict"], key=BADNESS.index)
    return worst


def worse(whole, lacking):
    """Checks whose verdict is worse, NA being as good as PASS."""
    def badness(verdict):
        return max(1, BADNESS.index(verdict))
    return {check for check in whole | lacking if badness(lacking.get(check, "NA")) > badness(whole.get(check, "NA"))}
