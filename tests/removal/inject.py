"""
Makes the threads of another process execute system calls: ptrace(2), as root, no help of the process needed.

Who traces may suspend the tracee's system-call filters (PTRACE_O_SUSPEND_SECCOMP, a kernel with
CONFIG_CHECKPOINT_RESTORE), so that the answer is that of the layers behind them. Numbers: x86-64, linux/ptrace.h.
"""

import contextlib
import ctypes
import errno
import os
import signal

PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH = 7, 9, 12, 13, 17
PTRACE_SETOPTIONS, PTRACE_GETEVENTMSG, PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4200, 0x4201, 0x4206, 0x4207
PTRACE_O_TRACECLONE, PTRACE_O_EXITKILL, PTRACE_O_SUSPEND_SECCOMP = 1 << 3, 1 << 20, 1 << 21
PTRACE_EVENT_CLONE, PTRACE_EVENT_STOP = 3, 128
WALL = 0x40000000

SYS = dict(mmap=9, ioctl=16, getpid=39, socket=41, connect=42, bind=49, clone=56, wait4=61, prctl=157, gettid=186,
           keyctl=250, openat=257, unshare=272, epoll_create1=291, memfd_create=319)

REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
             "ds es fs gs").split()


class Registers(ctypes.Structure):
    """struct user_regs_struct"""
    _fields_ = [(name, ctypes.c_uint64) for name in REGISTERS]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, tid, address=0, data=0):
    if _libc.ptrace(request, tid, address, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {tid})")


class Killed(Exception):
    """A signal has ended the process in the middle of a call; args[0] is its number."""


class Thread:
    """A stopped thread of another process."""

    def __init__(self, pid, tid):
        self.pid, self.tid = pid, tid
        self._filters = PTRACE_O_SUSPEND_SECCOMP
        self.saved = Registers()

    def attach(self):
        _ptrace(PTRACE_SEIZE, self.tid, 0, self._options())
        _ptrace(PTRACE_INTERRUPT, self.tid)
        self._wait()
        self._ready()
        return self

    def _options(self):
        return PTRACE_O_TRACECLONE | self._filters

    def _ready(self):
        _ptrace(PTRACE_GETREGS, self.tid, 0, ctypes.addressof(self.saved))
        self._syscall_instruction = self._find_syscall_instruction()

    def _find_syscall_instruction(self):
        with open(f"/proc/{self.pid}/maps") as maps, open(f"/proc/{self.pid}/mem", "rb") as memory:
            for line in maps:
                where, permissions, *_, name = line.split()
                if "x" in permissions and not name.startswith("["):
                    start, end = (int(x, 16) for x in where.split("-"))
                    memory.seek(start)
                    found = memory.read(end - start).find(b"\x0f\x05")
                    if found >= 0:
                        return start + found
        raise AssertionError(f"process {self.pid} has no system call instruction")

    def _wait(self):
        """Waits for the next stop; returns it as waitpid(2) gives it."""
        _, status = os.waitpid(self.tid, WALL)
        if os.WIFSIGNALED(status):
            raise Killed(os.WTERMSIG(status))
        assert os.WIFSTOPPED(status), status
        return status

    def filters(self, suspended):
        """Lets the thread's filters judge its calls, or no longer."""
        self._filters = PTRACE_O_SUSPEND_SECCOMP if suspended else 0
        _ptrace(PTRACE_SETOPTIONS, self.tid, 0, self._options())

    def call(self, name, *args):
        """The result of a system call, negative for an errno; bytes among the arguments are passed by address."""
        registers = Registers.from_buffer_copy(self.saved)
        top = self.saved.rsp - 4096  # below what the thread has on its stack
        words = []
        for arg in args:
            if isinstance(arg, bytes):
                top -= (len(arg) + 15) & ~15
                self.write(top, arg)
                arg = top
            words.append(arg & (1 << 64) - 1)
        for register, word in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), words + [0] * 6):
            setattr(registers, register, word)
        registers.rax, registers.orig_rax = SYS[name], (1 << 64) - 1
        registers.rip = self._syscall_instruction
        _ptrace(PTRACE_SETREGS, self.tid, 0, ctypes.addressof(registers))
        self.child = None
        while True:
            _ptrace(PTRACE_SINGLESTEP, self.tid)
            status = self._wait()
            if status >> 16 == PTRACE_EVENT_CLONE:
                message = ctypes.c_ulong()
                _ptrace(PTRACE_GETEVENTMSG, self.tid, 0, ctypes.addressof(message))
                self.child = message.value
            elif os.WSTOPSIG(status) == signal.SIGTRAP and status >> 16 == 0:
                break
        _ptrace(PTRACE_GETREGS, self.tid, 0, ctypes.addressof(registers))
        self.top = top
        return ctypes.c_int64(registers.rax).value

    def write(self, address, data):
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            assert memory.write(data) == len(data)

    def read(self, address, size):
        with open(f"/proc/{self.pid}/mem", "rb") as memory:
            memory.seek(address)
            return memory.read(size)

    def get(self, name, *args, size):
        """As call(), for one that answers into memory: args has None where its address goes."""
        result = self.call(name, *(bytes(size) if arg is None else arg for arg in args))
        return result if result < 0 else int.from_bytes(self.read(self.top, size), "little")

    def detach(self):
        _ptrace(PTRACE_SETREGS, self.tid, 0, ctypes.addressof(self.saved))
        _ptrace(PTRACE_DETACH, self.tid)


@contextlib.contextmanager
def stopped(pid, tid=None):
    """A thread of the process (default: the main one), stopped meanwhile, with its filters suspended."""
    thread = Thread(pid, tid or pid).attach()
    try:
        yield thread
    finally:
        thread.detach()


@contextlib.contextmanager
def probe(thread):
    """A new process: a copy of the stopped thread, in all of the jail it is in. It is gone afterwards."""
    result = thread.call("clone", 0, 0, 0, 0, 0)
    assert result > 0, f"no process to probe with: {errno.errorcode.get(-result)}"
    child = Thread(thread.child, thread.child)
    try:
        child._wait()
        child._ready()
        yield child
    finally:
        _end(child)
        thread.call("wait4", result, 0, WALL, 0)


@contextlib.contextmanager
def taken(pid):
    """The one thread of a process that may make no other, stopped, with its filters suspended. It is gone afterwards."""
    thread = Thread(pid, pid).attach()
    try:
        yield thread
    finally:
        _end(thread)


def _end(thread):
    try:
        os.kill(thread.pid, signal.SIGKILL)
        while True:
            thread._wait()
    except (Killed, ChildProcessError, ProcessLookupError):
        pass
