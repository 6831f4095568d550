"""Which calls are not made to fail, and which may fail without the guest being any worse for it; each with its reason."""

import errno
import re

from host import PREFIX

# (role, key, what the call is about, reason): regular expressions for the whole of each.
EXCLUDED = [
    (".*", "write", "bulkhead:.*", "writes the message itself"),
    (".*", "exit|exit_group", ".*", "does not return"),
    (".*", "rt_sigreturn", ".*", "does not return"),
    (".*", "getpid|gettid|geteuid", ".*", "cannot fail: its manual page names no error"),
    (".*", "rt_sigprocmask", ".*", "fails for wrong arguments only, and they are constants; the C library makes it and does "
                             "not look"),
    ("bulkhead", "prctl:0xf", "", "names the process, and its role here; fails for a wrong address only"),
    (".*", "clock_gettime", ".*", "fails for a wrong clock only, and these are constants"),
    (".*", "futex:0x8[13]", ".*", "waking fails for a wrong address only, and none of these is"),
]

GUEST_OUTPUT = r"h?a?l?t?e?d?\??"  # what the guest prints, in one piece or several

SWEEP = "what cannot be swept now is swept by the next command"
CONSOLE = "the console does with what it has: it waits, and asks poll() before it writes"
ABSENT = "the layer is not claimed, as it is not without the fault"
NAME = "a sweeper is at the name, it seems: it is taken once more"

# (role, key, what the call is about, errors or None for all, reason). A guest that runs has been compared with one that
# started without a fault, beside this.
HARMLESS = [
    (".*", "close", ".*", None, "the descriptor is free all the same, and what was written through it was checked then"),
    (".*", "munmap", ".*", None, "memory that the process does not need stays with it until its end, which is near"),
    (".*", "fcntl:0x2", "", None, "the C library sets close-on-exec again, which open() has set already"),
    (".*", "brk", "", None, "the C library's allocator takes memory from mmap() instead"),
    (".*", "socket|socketpair", "", {errno.EINVAL}, "the C library sets close-on-exec and O_NONBLOCK afterwards instead"),
    (".*", "prctl:0x18", "", {errno.EINVAL}, "ends the walk through the capabilities, at the last one"),
    ("bulkhead.*", "open", ".*/libexec/.*", {errno.ENOENT}, "the program is then looked for beside this one"),
    ("bulkhead", "fstat", ".*", None, "asked to say more clearly that the configuration is a directory; reading one fails"),
    ("bulkhead-json", "openat|read", "/dev/urandom", None,
     "jansson seeds its hash tables with the time instead, and the helper's CPU time is limited"),
    ("bulkhead-json", "getrandom", "", None, "the C library's allocator takes something less random"),
    ("bulkhead-json", "mmap", "", None, "the C library's allocator takes memory elsewhere"),
    ("bulkhead-supervisor", "sched_getaffinity|sched_setaffinity", "", None, "it stays on the child's processor, which takes longer"),
    ("bulkhead(-supervisor)?", "ioctl:0x5413", ".*", None, CONSOLE),
    ("bulkhead-supervisor", "fstat", "pipe:.*", None, CONSOLE),
    ("bulkhead(-supervisor)?", "open", "/proc/self/fd/1", None, CONSOLE),
    ("bulkhead-supervisor", "read", "/dev/null", None, "input that cannot be read has ended, which does not end the guest"),
    ("bulkhead-supervisor", "write", GUEST_OUTPUT, None, "output that cannot be written is dropped; the guest goes on"),
    ("bulkhead-supervisor", "poll", "", {errno.EINTR}, "its loop waits again"),
    ("bulkhead-supervisor", "recvfrom|recvmsg", "", {errno.EAGAIN}, "the message is still there, and poll() tells of it again"),
    ("bulkhead-supervisor", "openat", r"\.|.*/lock", None, SWEEP),
    ("bulkhead-supervisor", "fcntl:0x[35]|readlinkat|newfstatat|mmap", ".*", None, SWEEP),
    ("bulkhead-supervisor", "fstat|getdents64", "/run/bulkhead/(guests|ids)", None, SWEEP),
    ("bulkhead-supervisor", "mkdirat|openat", f"{PREFIX}.*|lock", {errno.EAGAIN, errno.ENOENT}, NAME),
    ("bulkhead-supervisor", "fstat", ".*/lock", {errno.EAGAIN, errno.ENOENT}, NAME),
    ("bulkhead-supervisor", "fcntl:0x6", "", {errno.EAGAIN, errno.ENOENT}, NAME),
    ("bulkhead-supervisor", "mkdir", ".*/bulkhead/.*", {errno.ENOENT}, "the parent is made, and then it is made again"),
    ("bulkhead-supervisor", "symlinkat", ".*", {errno.ENOENT}, "the block of ids is passed over"),
    ("bulkhead-supervisor:child", "prctl:0x3[45]", "", None, ABSENT),
    ("bulkhead-supervisor:child", "prctl:0x3e", "", {errno.EINVAL}, ABSENT),
    ("bulkhead-vmm", "madvise", "", {errno.EINVAL}, "a kernel without KSM; and a shared mapping is never merged"),
    ("bulkhead-vmm", "memfd_create", ".*", {errno.EINVAL}, "made without MFD_NOEXEC_SEAL, which vm.memfd_noexec adds"),
    ("bulkhead-vmm:thread.*", "prctl:0xf", "", None, "the thread's name is for the operator's eyes"),
    ("bulkhead-vmm:thread.*", "ioctl:0xae80", ".*", {errno.EINTR, errno.EAGAIN}, "the vCPU enters the guest again"),
    ("bulkhead-vmm.*", "futex:0x80", "", None, "who waits looks again at what it waits for, however the wait ended"),
]

# (role, key, what the call is about, error, reason): this is no failure but an answer, and a false one.
ANSWERS = [
    ("bulkhead-supervisor", "newfstatat", ".*", errno.ENOENT, "says that a guest is gone, whose ids are free then"),
    ("bulkhead-supervisor", "open", "/etc/sub[ug]id", errno.ENOENT, "says that there are no subordinate ids: there is a default"),
    ("bulkhead-supervisor", "openat|write", "memory.memsw.*|[0-9]+", errno.ENOENT,
     "says that the kernel does not account for swap: there is another setting"),
]

# Calls that a signal can interrupt.
INTERRUPTIBLE = re.compile(r"read|write|pread64|open|openat|recvfrom|recvmsg|sendto|sendmsg|poll|wait4|waitid|futex:.*|"
                           r"ioctl:.*|dup[23]|fcntl:0x[67]|close|ftruncate|nanosleep|clock_nanosleep|getrandom")
# Calls that a kernel may not have; the C library has others to try in place of older ones.
YOUNG = re.compile(r"clone3|close_range|execveat|fsopen|fsconfig:.*|fsmount|move_mount|landlock_.*|seccomp:.*|memfd_create|"
                   r"pidfd_.*|prctl:.*")
GENERIC = errno.EIO
OTHERS = (errno.ENOMEM, errno.EPERM, errno.EINVAL, errno.ENOENT, errno.EAGAIN)


def _matches(row, point, detail):
    return all(re.fullmatch(pattern, text) for pattern, text in zip(row, (point.role, point.key, detail)))


def excluded(point, detail):
    return next((row[3] for row in EXCLUDED if _matches(row, point, detail)), None)


def harmless(fault, detail):
    """Why the guest may run in spite of the fault in a call with this detail; None: it may not."""
    return next((row[4] for row in HARMLESS if _matches(row, fault.point, detail) and
                 (row[3] is None or fault.error in row[3])), None)


def errors_of(point, detail, errors):
    """Those that this call can end with, for all errors (several) or the generic one."""
    every = len(errors) > 1
    if point.key.startswith("futex"):
        errors, every = [errno.EAGAIN], True  # futex(2), of a right address
    found = [*errors, *([errno.EINTR] if every and INTERRUPTIBLE.fullmatch(point.key) else []),
             *([errno.ENOSYS] if every and YOUNG.fullmatch(point.key) else [])]
    answers = {row[3] for row in ANSWERS if _matches(row, point, detail)}
    return [e for e in found if e not in answers]
