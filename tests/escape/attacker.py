"""Starts a guest whose bulkhead-vmm (attacker.c) or device (device_attacker.c) is taken over, and tells how that went."""
import errno
import os
import re
import signal
import subprocess

import table
from bulkhead import BUILD, GUESTS
from host import seconds

# The test builds; what each leaves out is in tests/leave_out/meson.build.
PEELINGS = {
    "full": "nothing",
    "without seccomp": "seccomp",
    "without seccomp and Landlock": "seccomp+landlock",
    "ids and namespaces only": "ids-and-namespaces-only",
}
ROLES = ("main", "vcpu")  # of the VMM

GONE = "the VMM was the first to notice the end of the device"
LATE = "Operation timed out"  # of the VMM, on a slow host, while other attempts spin
TRIES = 4  # that is a matter of chance, but for one end
PROGRAM_STATUS = 77  # of a program that an attempt ran (ATTEMPT_PROGRAM_STATUS)
FILTERED = b"made a system call that its filter forbids and was killed"
SILENT = "exited with status {} without saying why"


def command(peeling, name, words, *options):
    """The guest's command line knows the pid that its supervisor will have."""
    program = BUILD / "tests/escape" / PEELINGS[peeling] / "bulkhead"
    run = [program, "run", name, "--kernel", GUESTS / "hello.elf", "--mem", "64M", "--cpus", "2", "--no-rng", *options,
           "--cmdline"]
    cmdline = " ".join(f"{key}={value}" for key, value in words.items())
    return ["sh", "-c", 'exec "$@ supervisor=$$"', "sh", *map(str, run), cmdline]


def word(said):
    """The outcome of a line that result_line() wrote."""
    kind, number, *_ = said.decode().split()
    return errno.errorcode[int(number)] if kind == "refused" else kind


def outcome(process):
    """One word for what became of an attempt: of the table's vocabulary, or a description of what went wrong."""
    said = re.findall(rb"^escape: (.*)\n", process.stdout, re.MULTILINE)
    error = process.stderr.decode(errors="replace").splitlines()[-1]
    if said[:1] != [b"begin"] or len(said) > 2 or process.returncode != 9:
        return f"broken: {process.returncode} {process.stdout!r} {process.stderr!r}"
    if len(said) == 2:
        # The filter of a vCPU's thread does not let it end the process after the attempt.
        ended = SILENT.format(0) in error or FILTERED in process.stderr
        return word(said[1]) if ended else f"broken: {error}"
    if FILTERED in process.stderr:
        return "SIGSYS"
    if SILENT.format(PROGRAM_STATUS) in error:
        return "contained"
    if killed := re.search(r"was killed by signal (\d+)", error):
        return signal.Signals(int(killed[1])).name
    return f"broken: {error}"


def device_outcome(process):
    """The same of a device's process: what it has found out is why it does not start."""
    error = process.stderr.decode(errors="replace").splitlines()[-1]
    if said := re.search(r": escape: (.*)", error):
        return word(said[1].encode())
    if FILTERED in process.stderr:
        return "SIGSYS"
    if re.search(rf"exited with status {PROGRAM_STATUS}\b", error):
        return "contained"
    if killed := re.search(r"was killed by signal (\d+)", error):
        return signal.Signals(int(killed[1])).name
    if error.endswith(": Broken pipe"):
        return GONE
    return f"broken: {process.returncode} {error}"


def device_attempt(peeling, words, name, disk, cwd):
    """The VMM is whole; no attempt fails for want of a device."""
    program = BUILD / "tests/escape" / PEELINGS[peeling] / "bulkhead"
    run = [program, "run", name, "--kernel", GUESTS / "hello.elf", "--mem", "64M", "--rng", "--disk", disk]
    command = ["sh", "-c", 'LEAVE_OUT_WORDS="$LEAVE_OUT_WORDS supervisor=$$" exec "$@"', "sh", *map(str, run)]
    environment = os.environ | {"LEAVE_OUT_OF": "devices",
                                "LEAVE_OUT_WORDS": " ".join(f"{key}={value}" for key, value in words.items())}
    for _ in range(TRIES):
        became = device_outcome(subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                                               capture_output=True, timeout=seconds(60), check=False))
        if became != GONE and not became.endswith(LATE):
            return became
    return "SIGKILL" if became == GONE else became  # the one end that is never blamed: that of the VMM does it, too


def attempt(peeling, role, identity, name, knowledge, cwd, disk=None):
    words = {"attempt": identity, "role": role, **knowledge}
    if role in table.DEVICES:
        return device_attempt(peeling, words, name, disk, cwd)
    process = subprocess.run(command(peeling, name, words), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=seconds(60), check=False)
    return outcome(process)


def attempt_without_jail(identity, knowledge):
    words = [f"{name}={value}" for name, value in knowledge.items()]
    said = subprocess.run([BUILD / "tests/escape/attempt-once", identity, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=seconds(60), check=True).stdout
    return word(said.removeprefix(b"escape: "))
