"""Starts guests with `bulkhead run` and talks to them."""

import enum
import fcntl
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

import proc
from host import PREFIX, SLOW, STATE, reap, seconds, wait_until

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BULKHEAD_BUILD", REPO / "build"))
GUESTS = Path(os.environ.get("BULKHEAD_GUESTS", BUILD / "guests"))
PROGRAM = BUILD / "bulkhead"

# What the host lacks, which is no error: test_ordinary_user.py looks at this line.
ABSENT = re.compile(rb'bulkhead: guest "[^"]*" runs without: ([^\r\n]*)\r?\n')
SANITIZED = (BUILD / "tests/jail").exists()  # a build with a sanitizer and a test jail
NOTICE = re.compile(rb"bulkhead: TEST BUILD, has a test jail and a sanitizer: \S+\r?\n")
FINDING = re.compile(rb"(ERROR|WARNING): \w+Sanitizer|runtime error: ")

EMULATED_RING0 = Path("/sys/module/kvm_pvm").exists()  # a KVM without hardware virtualization


class Status(enum.IntEnum):
    """Exit statuses as documented in bulkhead(1)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    HOST = 3
    IMAGE = 4
    NAME = 5
    ISOLATION = 6
    GUEST = 7
    RESET = 8
    DIED = 9
    VERDICT = 64
    SIGNAL = 128


def _why_not():
    if os.geteuid() != 0:
        return "guests are started by root"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "there is no /dev/kvm here"
    if not PROGRAM.exists():
        return f"{PROGRAM} has not been built"
    if not (GUESTS / "hello.elf").exists():
        return f"there are no test guests in {GUESTS}"
    return None


needs_kvm = pytest.mark.skipif(_why_not() is not None, reason=str(_why_not()))

_serial = itertools.count()


def new_name():
    return f"{PREFIX}{next(_serial)}"


def command(*args, **kwargs):
    """Runs a bulkhead command to its end."""
    return subprocess.run([PROGRAM, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=seconds(30), **kwargs)


def without_notices(text):
    return ABSENT.sub(b"", NOTICE.sub(b"", text))


def own_words(errors):
    """What a program said on standard error, without the notices; a finding of a sanitizer is a failure."""
    assert not FINDING.search(errors), errors.decode(errors="replace")
    return without_notices(errors)


class State:
    """The head of struct guest_state (src/state/state.h)."""

    FORMAT = struct.Struct("=II iIQ iIQ IIII QIIq")

    def __init__(self, name, directory=STATE):
        data = (directory / "guests" / name / "state").read_bytes()
        (version, size, self.supervisor, _, _, self.vmm, _, _, self.slot, self.host_id, self.host_gid, self.id_count,
         self.layers, self.landlock_abi, self.resets, self.started) = self.FORMAT.unpack_from(data)
        assert (version, size) == (3, len(data)), "struct guest_state has changed: adapt this class"


def run_arguments(image, *options, name, mem="64M", cpus=1, cmdline=None):
    image = GUESTS / f"{image}.elf" if isinstance(image, str) else image
    args = ["run", name, "--kernel", image, "--mem", mem, "--cpus", cpus, *options]
    if "--rng" not in options:  # most tests count processes and descriptors; test_devices.py has devices
        args.append("--no-rng")
    if cmdline is not None:
        args += ["--cmdline", cmdline]
    return [str(PROGRAM), *map(str, args)]


class Guest:
    """A guest whose console is two pipes: root's, or that of an account.Account. What prefix names is executed instead,
    and executes what follows it."""

    def __init__(self, image, *options, cwd, name=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, account=None,
                 prefix=(), program=PROGRAM, popen=None, **spec):
        self.name = name or new_name()
        self.account = account
        self.output, self.said = b"", b""
        self._popen = popen or {}  # more arguments of subprocess.Popen
        argv = [str(program), *run_arguments(image, *options, name=self.name, **spec)[1:]]
        if account:
            argv = account.command(argv)
        argv = [*prefix, *argv]
        self._start(argv, cwd, stdin, stdout)

    def _start(self, argv, cwd, stdin, stdout):
        self.process = subprocess.Popen(argv, cwd=cwd, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                        **self._popen)
        self.supervisor = self.process.pid
        self.stdout = self.process.stdout
        self._readers = {self.process.stderr.fileno(): "said"}
        if self.stdout:
            self._readers[self.stdout.fileno()] = "output"
        self._vmms = set()

    @property
    def errors(self):
        """What it said on standard error, without the notices."""
        return without_notices(self.said)

    def status_now(self):
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def vmm(self):
        """Pid of the VMM: the only child of the supervisor that is the first in another PID namespace."""
        def is_first_inside(pid):
            try:
                return (os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid") and
                        proc.status(pid)["NSpid"].split()[-1] == "1")
            except (FileNotFoundError, ProcessLookupError):
                return False

        def child():
            found = [pid for pid in proc.children(self.supervisor) if is_first_inside(pid)]
            return found[0] if len(found) == 1 else None
        pid = wait_until(child, 10, f"guest {self.name} has no VMM: {self.errors!r}")
        self._vmms.add(pid)
        return pid

    def state(self):
        return State(self.name, self.account.state_dir if self.account else STATE)

    def write(self, data):
        """Sends data to the console, and reads meanwhile, so that neither side waits for the other."""
        fd = self.process.stdin.fileno()
        os.set_blocking(fd, False)
        end = time.monotonic() + seconds(60)
        while data:
            assert time.monotonic() < end, f"guest {self.name} takes no input"
            self.read(0.01)
            try:
                data = data[os.write(fd, data):]
            except BlockingIOError:
                pass

    def read(self, timeout=0.0):
        """Takes what there is to read, waiting at most timeout seconds for it. False at the end of everything."""
        if not self._readers:
            return False
        ready, _, _ = select.select(list(self._readers), [], [], timeout)
        for fd in ready:
            try:
                data = os.read(fd, 1 << 16)
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            if not data:
                del self._readers[fd]
                continue
            attribute = self._readers[fd]
            setattr(self, attribute, getattr(self, attribute) + data)
        return True

    def _read_until(self, done, timeout, what):
        end = time.monotonic() + seconds(timeout)
        while not done():
            more = self.read(0.05)
            assert time.monotonic() < end and (more or done()), (
                f"guest {self.name}: {what}; status {self.status_now()}, output {self.output[-2000:]!r}, "
                f"errors {self.errors!r}")

    def wait_output(self, pattern, timeout=20):
        """Waits until the console has printed something that matches; returns the match."""
        self._read_until(lambda: re.search(pattern, self.output), timeout, f"waits for {pattern!r}")
        return re.search(pattern, self.output)

    def wait_errors(self, pattern, timeout=20):
        self._read_until(lambda: re.search(pattern, self.errors), timeout, f"waits for message {pattern!r}")
        return re.search(pattern, self.errors)

    def wait(self, timeout=20):
        """Waits for the end while reading the output; returns the exit status."""
        end = time.monotonic() + seconds(timeout)
        while self.status_now() is None:
            assert time.monotonic() < end, (f"guest {self.name} does not end; output {self.output[-2000:]!r}, "
                                            f"errors {self.errors!r}")
            if not self.read(0.01):
                time.sleep(0.005)
        self._read_rest()
        return self.status_now()

    def _read_rest(self):
        while self._readers and self.read(0.0) and select.select(list(self._readers), [], [], 0)[0]:
            pass

    def signal(self, number):
        os.kill(self.supervisor, number)

    def close(self):
        """Ends it, whatever it does, and gives back everything the test has of it."""
        if self.status_now() is None:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            try:
                self.process.wait(seconds(20))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._read_rest()
        for pid in self._vmms:
            reap(pid)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class TerminalGuest(Guest):
    """
    A guest whose console is a terminal.

    Its output has everything it says, too, but for the notices.

    A process of ours leads the terminal's session and outlives the guest: with the leader's end the kernel would hang
    up the terminal, and nobody could see any more how the guest left it.
    """

    def _start(self, argv, cwd, stdin, stdout):
        self._master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[6][termios.VERASE] = b"\x02"  # not the default, which a mere reset would also give
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.attributes_before = termios.tcgetattr(slave)
        self._slave = slave
        self._status_fd, status_w = os.pipe()
        hold_r, self._hold_w = os.pipe()
        self._leader = os.fork()
        if self._leader == 0:
            os.close(self._hold_w)
            self._lead(argv, cwd, slave, status_w, hold_r)
        os.close(status_w)
        os.close(hold_r)
        self._status = None
        self._vmms = set()
        self._readers = {self._master: "output"}
        self.supervisor = struct.unpack("i", os.read(self._status_fd, 4))[0]
        os.set_blocking(self._status_fd, False)

    @staticmethod
    def _lead(argv, cwd, slave, status_w, hold_r):
        try:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
                signal.signal(number, signal.SIG_IGN)
            child = subprocess.Popen(argv, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, restore_signals=True,
                                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            os.write(status_w, struct.pack("i", child.pid))
            os.write(status_w, struct.pack("i", child.wait()))
            os.read(hold_r, 1)
        finally:
            os._exit(0)

    def read(self, timeout=0.0):
        more = super().read(timeout)
        self.output = without_notices(self.output)
        return more

    def attributes(self):
        return termios.tcgetattr(self._slave)

    def write(self, data):
        assert os.write(self._master, data) == len(data)

    def status_now(self):
        if self._status is None:
            try:
                self._status = struct.unpack("i", os.read(self._status_fd, 4))[0]
            except BlockingIOError:
                pass
        return self._status

    def close(self):
        if self.status_now() is None:
            self.signal(signal.SIGTERM)
            self.wait()
        os.close(self._hold_w)
        os.waitpid(self._leader, 0)
        for pid in self._vmms:
            reap(pid)
        for fd in (self._master, self._slave, self._status_fd):
            os.close(fd)


class Guests:
    """Starts guests and ends those that a test leaves running."""

    def __init__(self, cwd):
        self.cwd = cwd
        self._all = []

    def _add(self, guest):
        self._all.append(guest)
        return guest

    def start(self, image, *options, **kwargs):
        return self._add(Guest(image, *options, cwd=self.cwd, **kwargs))

    def start_on_terminal(self, image, *options, **kwargs):
        return self._add(TerminalGuest(image, *options, cwd=self.cwd, **kwargs))

    def run(self, image, *options, timeout=20, **kwargs):
        """Runs a guest to its end."""
        guest = self.start(image, *options, **kwargs)
        guest.wait(timeout)
        return guest

    def close(self):
        closed, self._all = self._all, []
        for guest in closed:
            guest.close()
        for guest in closed:
            own_words(guest.errors + guest.output)
