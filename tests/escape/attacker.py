"""Starts a guest whose bulkhead-vmm is taken over (attacker.c), and tells how that went."""
import errno
import re
import signal
import subprocess

from bulkhead import BUILD, GUESTS
from host import seconds

# The test builds; what each leaves out is in tests/leave_out/meson.build.
PEELINGS = {
    "full": "nothing",
    "without seccomp": "seccomp",
    "without seccomp and Landlock": "seccomp+landlock",
    "ids and namespaces only": "ids-and-namespaces-only",
}
ROLES = ("main", "vcpu")

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


def attempt(peeling, role, identity, name, knowledge, cwd):
    words = {"attempt": identity, "role": role, **knowledge}
    process = subprocess.run(command(peeling, name, words), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=seconds(60), check=False)
    return outcome(process)


def attempt_without_jail(identity, knowledge):
    words = [f"{name}={value}" for name, value in knowledge.items()]
    said = subprocess.run([BUILD / "tests/escape/attempt-once", identity, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=seconds(60), check=True).stdout
    return word(said.removeprefix(b"escape: "))
