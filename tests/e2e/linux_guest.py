"""Guests on a KVM that runs unmodified kernels: here, or in the lab (tools/lab).

Not every /dev/kvm can do that. HERE says whether this machine's can; the lab's does.
"""
import functools
import hashlib
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build")).resolve()
KERNELS = BUILD / "kernel"  # of tools/fetch-kernel: vmlinuz (bzImage), and vmlinux (ELF with a PVH note), its content
GUESTS = BUILD / "guests"


def processor_flags():
    match = re.search(r"^flags\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.M)
    return set(match[1].split()) if match else set()


HERE = os.path.exists("/dev/kvm") and bool({"vmx", "svm"} & processor_flags())

needs_hardware = pytest.mark.skipif(
    not HERE, reason="no hardware virtualization here; tests/run runs this in the lab")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="guests are started by root")


def slow(*values):
    """A parameter set beyond the budget of a default run."""
    return pytest.param(*values, marks=pytest.mark.slow)


SLOW = float(os.environ.get("BULKHEAD_SLOW", "1"))  # this machine is that many times slower than a usual one

# The longest that a guest may take to say the next thing.
PATIENCE_S = 20 * SLOW

MODULES = "button evdev"  # what turns the ACPI power button into an input event

# Linux's first program: does what the other end of the console says, one shell command on each line.
INIT = r"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo "guest is up"
while read -r line; do eval "$line"; done
"""


def fetch_kernel():
    subprocess.run([TOOLS / "fetch-kernel"], check=True, stderr=subprocess.DEVNULL)


@functools.lru_cache(maxsize=None)
def initrd(modules=MODULES, files=()):
    """The initramfs with INIT, kernel modules, and (path here, path there) of more files; made once for each of its
    versions, because making it takes long in the lab."""
    key = hashlib.sha256(INIT.encode() + modules.encode() + (TOOLS / "mkinitramfs").read_bytes() +
                         b"".join(Path(here).read_bytes() + there.encode() for here, there in files) +
                         (KERNELS / "version").read_bytes()).hexdigest()[:16]
    path = BUILD / "tests" / f"linux-guest-{key}.cpio.gz"
    if not path.exists():
        init = path.with_suffix(".init")
        init.write_text(INIT)
        subprocess.run([TOOLS / "mkinitramfs", "--out", path, "--init", init, "--modules", modules,
                        *(word for here, there in files for word in ("--file", f"{here}={there}"))], check=True,
                       env=dict(os.environ, BULKHEAD_BUILD=str(BUILD)))
    return path


class Stream:
    """What a guest has written so far, gathered by a thread so that the guest never waits for its reader.

    A guest writes byte by byte. Both sides look at their work only now and then: handling each byte for itself would
    take the guest's processor away where there is only one, as in the lab.
    """

    PAUSE_S = 0.03

    def __init__(self, pipe):
        self.text = ""
        self.seen = 0  # expect() looks behind this
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self.gather, args=(pipe,), daemon=True).start()

    def gather(self, pipe):
        while True:
            data = os.read(pipe.fileno(), 65536)
            with self.changed:
                self.text += data.decode("latin-1").replace("\r", "")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return
            time.sleep(self.PAUSE_S)

    def expect(self, pattern, timeout_s=PATIENCE_S):
        """Waits for pattern behind the last match. Returns what stood before it, and the match."""
        deadline = time.monotonic() + timeout_s
        compiled = re.compile(pattern)
        with self.changed:
            while True:
                match = compiled.search(self.text, self.seen)
                if match:
                    before = self.text[self.seen:match.start()]
                    self.seen = match.end()
                    return before, match
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the output ended" if self.ended else f"not within {timeout_s} s"
                    pytest.fail(f"no {pattern!r}: {why}; after\n{self.text[-2000:]}")
                self.changed.wait(left)

    def rest(self):
        with self.changed:
            assert self.changed.wait_for(lambda: self.ended, PATIENCE_S), "the output does not end"
            return self.text[self.seen:]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Guest:
    """A `bulkhead run`, of root or of an account.Account. As a context manager: whatever happens, nothing of the guest is left."""

    numbers = itertools.count(1)

    def __init__(self, kernel, *options, cmdline=None, cpus=1, memory="128M", prefix=(), account=None,
                 program=BUILD / "bulkhead"):
        self.name = f"linux-{os.getpid()}-{next(self.numbers)}"
        words = [*prefix, program, "run", self.name, "--kernel", kernel, "--cpus", str(cpus), "--mem",
                 memory, *options]
        if cmdline is not None:
            words += ["--cmdline", cmdline]
        if account:
            words = account.command(words)
        self.start(words)

    def start(self, words, **options):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        **options)
        self.out = Stream(self.process.stdout)
        self.err = Stream(self.process.stderr)
        self.commands = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()

    def expect(self, pattern, timeout_s=PATIENCE_S):
        return self.out.expect(pattern, timeout_s)

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def shell(self, command, timeout_s=PATIENCE_S):
        """The output of a command in a guest with INIT. It must succeed."""
        number = next(self.commands)
        self.send(f'{command}; echo "<{number}:$?>"\n')
        self.expect(rf'echo "<{number}:\$\?>"\n', timeout_s)  # the terminal echoes the line
        output, match = self.expect(rf"<{number}:(\d+)>\n", timeout_s)
        assert match[1] == "0", f"{command}: status {match[1]}\n{output}"
        return output

    def vmm(self):
        """Process id of the VMM: the supervisor has one, and the processes of devices."""
        found = [pid for pid in children(self.process.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == "bulkhead-vmm"]
        assert len(found) == 1
        return found[0]

    def wait(self, timeout_s=PATIENCE_S):
        """Waits for the guest's own end. Returns the exit status of `bulkhead run`; nothing is left by then."""
        status = self.process.wait(timeout_s)
        assert not Path("/run/bulkhead/guests", self.name).exists()
        return 128 - status if status < 0 else status

    def errors(self):
        """What `bulkhead run` said until its end, but for the line about layers that the host cannot have."""
        return re.sub(r'^bulkhead: guest "[^"]*" runs without: .*\n', "", self.err.rest(), flags=re.M)

    def end(self):
        """Ends it as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(30)


def bare(name, *options, cmdline="", timeout_s=PATIENCE_S, **arguments):
    """Runs a bare-metal guest that ends by itself. Returns its exit status and output."""
    with Guest(GUESTS / f"{name}.elf", "--test-device", "--on-reset", "exit", *options, cmdline=cmdline,
               **arguments) as guest:
        status = guest.wait(timeout_s)
        error = guest.errors()
        assert error == "", error
        return status, guest.out.rest()


def linux(kernel="vmlinuz", *options, extra="quiet", **arguments):
    """Boots Linux into INIT; the guest's boot_s says how long that took."""
    guest = Guest(KERNELS / kernel, "--initrd", initrd(), *options,
                  cmdline=f"console=ttyS0 panic=-1 {extra}", **arguments)
    try:
        guest.expect("guest is up\n")
        guest.boot_s = time.monotonic() - guest.begun
    except BaseException:
        guest.__exit__()
        raise
    return guest
