"""Which calls are not made to fail, and which may fail without the guest being any worse for it; each with its reason."""

import errno
import re

# (role, key, what the call is about, reason): regular expressions for the whole of each.
EXCLUDED = [
    (".*", "write", "bulkhead:.*", "writes the message itself"),
    (".*", "exit|exit_group", ".*", "does not return"),
    (".*", "rt_sigreturn", ".*", "does not return"),
    (".*", "getpid|gettid|geteuid", ".*", "cannot fail: its manual page names no error"),
    (".*", "rt_sigprocmask", ".*", "fails for wrong arguments only, and they are constants; the C library makes it and does "
                             "not look"),
    (".*", "futex:0x8[13]", ".*", "waking fails for a wrong address only, and none of these is"),
]

SWEEP = "what cannot be swept now is swept by the next command"
CONSOLE = "the console does with what it has: it waits, and asks poll() before it writes"

# (role, key, what the call is about, errors or None for all, reason)
HARMLESS = [
    (".*", "close", ".*", None, "the descriptor is free all the same, and what was written through it was checked then"),
    ("bulkhead-vmm.*", "futex:0x80", "", None, "who waits looks again at what it waits for, however the wait ended"),
    (".*", "munmap", ".*", None, "memory that the process does not need stays with it until its end, which is near"),
    (".*", "fcntl:0x2", "", None, "the C library sets close-on-exec again, which open() has set already"),
    (".*", "brk", "", None, "the C library's allocator takes memory from mmap() instead"),
    ("bulkhead", "fstat", ".*", None, "asked to say more clearly that the configuration is a directory; reading one fails"),
    ("bulkhead-json", "openat|read", "(/dev/urandom)?", None,
     "jansson seeds its hash tables with the time instead, and the helper's CPU time is limited"),
    ("bulkhead-json", "getrandom", "", None, "the C library's allocator takes something less random"),
    ("bulkhead-json", "mmap", "", None, "the C library's allocator takes memory elsewhere"),
    ("bulkhead-json", "seccomp:0x[123]", "", None, "libseccomp asks what this kernel's seccomp can do, of which it uses little"),
    ("bulkhead-supervisor", "ioctl:0x5413", ".*", None, CONSOLE),
    ("bulkhead-supervisor", "fstat", "pipe:.*", None, CONSOLE),
    ("bulkhead-supervisor", "open", "/proc/self/fd/1", None, CONSOLE),
    ("bulkhead-supervisor", "read", "/dev/null", None, "input that cannot be read has ended, which does not end the guest"),
    ("bulkhead-supervisor", "write", "halted.*", None, "output that cannot be written is dropped; the guest goes on"),
    ("bulkhead-supervisor", "openat", r"\.|.*/lock", None, SWEEP),
    ("bulkhead-supervisor", "fcntl:0x[35]|readlinkat|newfstatat|rmdir|mmap|statfs", ".*", None, SWEEP),
    ("bulkhead-supervisor", "fstat|getdents64", "/run/bulkhead/(guests|ids)", None, SWEEP),
    ("bulkhead-supervisor:child", "prctl:0x34", "", None,
     "asked when the switch is refused: the mitigation is shown as absent, as it is without the fault"),
    ("bulkhead-vmm:thread.*", "prctl:0xf", "", None, "the thread's name is for the operator's eyes"),
]

# (role, key, error, reason): this is no failure but an answer, and a false one.
ANSWERS = [
    ("bulkhead-supervisor", "newfstatat", errno.ENOENT, "says that a guest is gone, whose ids are free then"),
]


def excluded(point, detail):
    for role, key, about, reason in EXCLUDED:
        if re.fullmatch(role, point.role) and re.fullmatch(key, point.key) and re.fullmatch(about, detail):
            return reason
    return None


def harmless(fault, detail):
    """Why the guest may run in spite of the fault in a call with this detail; None: it may not."""
    for role, key, about, errors, reason in HARMLESS:
        if re.fullmatch(role, fault.point.role) and re.fullmatch(key, fault.point.key) and \
                re.fullmatch(about, detail) and (errors is None or fault.error in errors):
            return reason
    return None


def errors_of(point, errors):
    """Those of the errors, EINTR beside them, that this call can end with."""
    if point.key.startswith("futex"):  # futex(2), of a right address
        errors = [errno.EAGAIN]
    if len(errors) > 1 and INTERRUPTIBLE.fullmatch(point.key) or point.key.startswith("futex"):
        errors = [*errors, errno.EINTR]
    return [e for e in errors if not any(re.fullmatch(role, point.role) and re.fullmatch(key, point.key) and e == answer
                                         for role, key, answer, _ in ANSWERS)]


# Calls that a signal can interrupt.
INTERRUPTIBLE = re.compile(r"read|write|pread64|open|openat|recvfrom|sendto|poll|wait4|waitid|futex:.*|ioctl:.*|dup[23]|"
                           r"fcntl:0x[67]|close|ftruncate|nanosleep|clock_nanosleep|getrandom")
GENERIC = errno.EIO
OTHERS = (errno.ENOMEM, errno.EPERM, errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EAGAIN)
