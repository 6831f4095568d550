"""Starts guests in which a unit that is left out has left something behind to be seen, and collects what is to be known."""

import contextlib
import ctypes
import fcntl
import os
import resource
import subprocess
from pathlib import Path

import audit_table
import facts
import proc
from bulkhead import BUILD, Guests

_libc = ctypes.CDLL(None, use_errno=True)

LEAVE_OUT = BUILD / "tests/leave_out"

PLANTED_GROUP = 4242
LEAST_PLANTED_FD = 100  # lower ones are used on the way to the VMM
SYS_ADD_KEY, SYS_KEYCTL = 248, 250  # x86-64
PLANTED_LIMITS = {
    resource.RLIMIT_CORE: resource.RLIM_INFINITY, resource.RLIMIT_NOFILE: 4096,
    resource.RLIMIT_NPROC: resource.RLIM_INFINITY, resource.RLIMIT_FSIZE: resource.RLIM_INFINITY,
    resource.RLIMIT_MEMLOCK: 1 << 26, resource.RLIMIT_MSGQUEUE: 1 << 20, resource.RLIMIT_SIGPENDING: 4096,
    resource.RLIMIT_NICE: 20, resource.RLIMIT_RTPRIO: 10,
}


def _plant_limits():
    for which, value in PLANTED_LIMITS.items():
        highest = resource.getrlimit(which)[1]
        if not facts.may_raise_limits() and highest != resource.RLIM_INFINITY:
            value = highest
        resource.setrlimit(which, (value, value))


def _plant_key():
    """A session keyring of its own for what is started, with a key in it."""
    assert _libc.syscall(SYS_KEYCTL, facts.KEYCTL_JOIN_SESSION_KEYRING, None) >= 0
    assert _libc.syscall(SYS_ADD_KEY, b"user", facts.PLANTED_KEY, b"x", ctypes.c_size_t(1),
                         facts.KEY_SPEC_SESSION_KEYRING) >= 0


def _plant():
    _plant_limits()
    _plant_key()


def _block_device():
    """One to limit; the guest has no use for it."""
    subprocess.run(["modprobe", "--quiet", "loop"], check=False)  # where it is no module, it is there or not
    found = [path for path in sorted(Path("/dev").iterdir()) if path.is_block_device()]
    assert found, "this host has no block device to limit"
    return found[0]


def _start(guests, program, planted, *options, environment=None):
    guest = guests.start("hlt", "--io-limit", f"{_block_device()},rbps=1M", *options, program=program,
                         popen={"pass_fds": [planted], "extra_groups": [PLANTED_GROUP], "preexec_fn": _plant,
                                "env": os.environ | (environment or {})})
    guest.wait_output(rb"halted\n")
    return guest


@contextlib.contextmanager
def _planted():
    """A descriptor for guests to inherit."""
    root = os.open("/", os.O_RDONLY)
    planted = fcntl.fcntl(root, fcntl.F_DUPFD_CLOEXEC, LEAST_PLANTED_FD)
    os.close(root)
    try:
        yield planted
    finally:
        os.close(planted)


# An audit for each unit takes the lab minutes: there it is part of all tests only.
AUDITED = not os.environ.get("LAB") or bool(os.environ.get("BULKHEAD_ALL"))


def look(program, cwd):
    """The facts of a guest of this program, what bulkhead has said, and what the auditor says of the guest and a second one
    of its kind (None where it is not asked). Both have ended when this returns."""
    guests = Guests(cwd)
    with _planted() as planted, contextlib.closing(guests):
        neighbour = _start(guests, program, planted) if AUDITED else None
        guest = _start(guests, program, planted)
        audited = audit_table.verdicts(guest.name, neighbour.name) if AUDITED else None
        if neighbour:
            neighbour.close()
        vmm, = proc.children(guest.supervisor)
        found = facts.collect(guest.name, vmm, guest.supervisor)
        guest.read()
        assert guest.status_now() is None
        return found, guest.said, audited


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def _device(guest, role):
    found = {pid: _command(pid) for pid in proc.children(guest.supervisor)}
    pids = [pid for pid, command in found.items() if command.startswith(f"bulkhead-{role}")]
    assert len(pids) == 1, (found, guest.read())
    return pids[0]


def _start_with_devices(guests, program, planted, directory):
    directory.mkdir()
    image = directory / "removal.img"
    image.touch(mode=0o600)
    os.truncate(image, 1 << 20)
    return _start(guests, program, planted, "--rng", "--disk", image, environment={"LEAVE_OUT_OF": "devices"})


def look_at_devices(program, cwd, files):
    """As look(), of guests with devices, whose processes alone lack what the build leaves out; the facts of each role. Their
    disks come to the directory `files`."""
    guests = Guests(cwd)
    with _planted() as planted, contextlib.closing(guests):
        neighbour = _start_with_devices(guests, program, planted, files / "neighbour") if AUDITED else None
        guest = _start_with_devices(guests, program, planted, files / "guest")
        audited = audit_table.verdicts(guest.name, neighbour.name) if AUDITED else None
        if neighbour:
            neighbour.close()
        found = {role: facts.collect_device(guest.name, _device(guest, role), guest.supervisor, role)
                 for role in ("rng", "blk")}
        guest.read()
        assert guest.status_now() is None
        return found, guest.said, audited
