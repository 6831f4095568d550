"""How guests end, what they leave behind (nothing), and what goes through their console."""

import array
import ctypes
import fcntl
import os
import re
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

import elf
import proc
from bulkhead import GUESTS, PROGRAM, Status, command, needs_kvm, new_name, own_words, run_arguments
from host import SLOW, STATE, seconds, wait_until

pytestmark = needs_kvm

READY = {"spin": rb"spinning\n", "hlt": rb"halted\n", "flood": rb"000000000000010\n", "echo": rb"echo ready\n",
         "pwrbtn": rb"waiting for the power button\n"}

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def started(start, image, *options, **spec):
    guest = start(image, *options, **spec)
    guest.wait_output(READY[image])
    return guest


def assert_ends(host, guest, status, timeout=1):
    """Within timeout the guest has ended with this status and nothing is left of it."""
    def gone():
        guest.read()
        return guest.status_now() is not None and not host.left()
    wait_until(gone, timeout, lambda: f"guest {guest.name}: status {guest.status_now()}, left: {sorted(host.left())}")
    assert guest.status_now() == status, guest.errors


def cgroup_parents():
    return [hierarchy / "bulkhead" for hierarchy in proc.Cgroups().hierarchies()]


def assert_no_empty_parent():
    """A command has swept: the cgroups' parent is gone, or others' guests are in it."""
    for parent in cgroup_parents():
        assert not parent.exists() or any(d.is_dir() for d in parent.iterdir()), parent


# ---- the ways to end ----

@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("image", ["spin", "hlt", "flood"])
def test_signal_to_the_supervisor(host, guests, image, number):
    guest = started(guests.start, image, cpus=2)
    guest.signal(number)
    assert_ends(host, guest, Status.SIGNAL + number)
    assert guest.errors == b""


@pytest.mark.parametrize("image", ["spin", "hlt", "flood"])
def test_kill_command(host, guests, image):
    guest = started(guests.start, image, cpus=2)
    r = command("kill", guest.name)
    assert (r.returncode, r.stdout, r.stderr) == (0, b"", b"")
    assert not proc.is_alive(guest.supervisor)  # the command has waited
    assert_ends(host, guest, Status.SIGNAL + signal.SIGTERM)


@pytest.mark.parametrize("image", ["spin", "hlt", "flood"])
def test_vmm_is_killed(host, guests, image):
    guest = started(guests.start, image, cpus=2)
    os.kill(guest.vmm(), signal.SIGKILL)
    assert_ends(host, guest, Status.DIED)
    assert guest.errors.count(b"\n") == 1 and b"killed by signal 9" in guest.errors


@pytest.mark.parametrize("image", ["spin", "hlt", "flood"])
def test_supervisor_is_killed(host, guests, image):
    guest = started(guests.start, image, cpus=2)
    vmm = guest.vmm()
    guest.signal(signal.SIGKILL)
    wait_until(lambda: not proc.is_alive(vmm) and not proc.is_alive(guest.supervisor), 1, "the guest's processes die")
    assert guest.wait() == -signal.SIGKILL
    # What is on disk is the next command's to remove, whatever the command is (or that of somebody else was).
    assert command("version").returncode == 0
    host.assert_clean()


def test_supervisor_is_killed_at_any_moment_of_the_start(host, guests):
    for step in range(20):
        guest = guests.start("hlt")
        end = time.monotonic() + seconds(0.0015 * step)
        while time.monotonic() < end:
            pass
        guest.signal(signal.SIGKILL)
        guest.wait()
    wait_until(lambda: not any(x.startswith("process") for x in host.left()), 1, lambda: str(host.left()))
    assert command("version").returncode == 0
    host.assert_clean()


def test_a_sweep_leaves_the_living_alone(guests):
    dead, living = (started(guests.start, "hlt") for _ in range(2))
    dead.signal(signal.SIGKILL)
    dead.wait()
    assert command("version").returncode == 0
    assert living.status_now() is None and proc.is_alive(living.vmm())
    assert living.state().supervisor == living.supervisor


def test_the_cgroup_parent_stays_for_the_next_guest(guests):
    parents = cgroup_parents()

    def parent_stayed():  # unless somebody else's command sweeps just then
        guest = started(guests.start, "hlt")
        assert all(parent.is_dir() for parent in parents)
        made = [parent.stat().st_ino for parent in parents]
        guest.signal(signal.SIGTERM)
        guest.wait()
        return all(parent.is_dir() and parent.stat().st_ino == ino for parent, ino in zip(parents, made))
    wait_until(parent_stayed, 5, "the parent stays when a guest ends")
    assert command("ps").returncode == Status.OK
    assert_no_empty_parent()


def test_starts_beside_sweeps_that_remove_the_cgroup_parent(host, guests):
    sweeper = subprocess.Popen(["sh", "-c", 'while "$0" version; do :; done', PROGRAM], stdout=subprocess.DEVNULL)
    try:
        for _ in range(20):
            guest = guests.run("hello", "--test-device", name=new_name())
            assert guest.status_now() == Status.OK, guest.errors
    finally:
        sweeper.kill()
        sweeper.wait()
    host.assert_clean()


def test_a_name_can_be_used_again_at_once(guests):
    name = new_name()
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        guest = started(guests.start, "hlt", name=name)
        guest.vmm()
        guest.signal(end)
        guest.wait()


def test_a_name_is_taken_while_its_guest_lives(guests):
    guest = started(guests.start, "hlt")
    other = guests.run("hlt", name=guest.name)
    assert other.status_now() == Status.NAME
    assert other.errors.count(b"\n") == 1 and guest.name.encode() in other.errors
    assert guest.status_now() is None and proc.is_alive(guest.vmm())


def test_a_guest_that_is_being_swept(host, guests):
    """A sweeper holds a lock of one byte (src/state/state_dir.c). It is not the guest, and its end is waited for."""
    guest = started(guests.start, "hlt")
    guest.signal(signal.SIGKILL)
    guest.wait()
    with open(STATE / "guests" / guest.name / "lock", "r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        r = command("kill", guest.name)  # would end this test if it took the holder for the supervisor
        assert (r.returncode, r.stderr.count(b"\n")) == (Status.NAME, 1)
        again = guests.start("hlt", name=guest.name)
        wait_until(lambda: b"bulkhead-superv" in Path(f"/proc/{again.supervisor}/comm").read_bytes(), 5,
                   "the supervisor has started")
        assert again.status_now() is None and again.output == b""
    again.wait_output(READY["hlt"])


def test_a_cgroup_parent_that_was_left_is_removed(host):
    for parent in cgroup_parents():
        parent.mkdir(exist_ok=True)
    assert command("version").returncode == 0
    assert_no_empty_parent()


@pytest.mark.parametrize("options", [[], ["--power-button"]])
def test_kill_of_nobody(host, options):
    r = command("kill", *options, new_name())
    assert (r.returncode, r.stderr.count(b"\n")) == (Status.NAME, 1)


def test_many_starts_leave_the_host_as_it_was(host, guests):
    count = 200 if SLOW < 4 else 40

    def open_files():
        return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])

    def cgroups():
        return {d for hierarchy in proc.Cgroups().hierarchies() for d in hierarchy.iterdir() if d.is_dir()}

    own_fds, files, before = os.listdir("/proc/self/fd"), open_files(), cgroups()
    for _ in range(count):
        guest = guests.run("hello", "--test-device", name=new_name())
        assert guest.status_now() == Status.OK, guest.errors
        guests.close()
    host.assert_clean()
    assert cgroups() - before <= set(cgroup_parents())
    assert command("ps").returncode == Status.OK
    assert_no_empty_parent()
    assert os.listdir("/proc/self/fd") == own_fds
    # Others open files too: a leak of one for every two starts would show.
    wait_until(lambda: open_files() < files + count / 2, 10, lambda: f"{files} open files became {open_files()}")


# ---- what the guest does itself ----

def test_power_button(host, guests):
    guest = started(guests.start, "pwrbtn")
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    guest.wait_output(rb"power off\n")
    assert_ends(host, guest, Status.OK)


def test_power_button_of_a_guest_that_ignores_it(guests):
    guest = started(guests.start, "echo")
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    guest.write(b"still here")
    guest.wait_output(rb"still here")


def test_power_off(host, guests):
    guest = guests.start("power", cmdline="off")
    guest.wait()
    assert_ends(host, guest, Status.OK)


@pytest.mark.parametrize("how", ["reset", "triple"])
def test_reset_with_exit(host, guests, how):
    guest = guests.start("power", "--on-reset", "exit", cmdline=how)
    guest.wait()
    assert_ends(host, guest, Status.RESET)
    assert guest.output == f"power: {how}\n".encode()


@pytest.mark.parametrize("how, words", [("reset", "reset itself"), ("triple", "ended in a triple fault")])
def test_reset_restarts_with_a_growing_delay(host, guests, how, words):
    guest = guests.start("power", "--on-reset", "restart", cmdline=how)
    message = rb'bulkhead: guest "%s" %s; it starts again in (\d+) ms\n' % (guest.name.encode(), words.encode())
    if SLOW < 10:
        guest.wait_errors(b".*".join(message.replace(rb"(\d+)", b"%d" % d) for d in (100, 200, 400)), 60)
    else:
        guest.wait_errors(b"(%s){4}" % message, 20)
    guest.wait_output(rb"(power: \w+\n){4}")

    lines = guest.errors.splitlines(keepends=True)
    delays = [int(re.fullmatch(message, line)[1]) for line in lines]
    # A run of a second or more, as on a slow host, starts the count again.
    for before, after in zip([0] + delays, delays):
        assert after in (0, 100 if before == 0 else min(2 * before, 10000)), delays
    # The state is written when a guest is up.
    wait_until(lambda: guest.state().resets >= 3, 20, "the resets are counted")
    guest.signal(signal.SIGTERM)
    assert_ends(host, guest, Status.SIGNAL + signal.SIGTERM)


def test_a_restart_is_a_new_process(guests):
    guest = guests.start("power", "--on-reset", "restart", cmdline="reset")
    runs, attested = [], []
    while len(runs) < 3:
        guest.wait_output(rb"(power: reset\n){%d}" % (len(runs) + 1))
        guest.wait_errors(rb"(.*starts again.*\n){%d}" % (len(runs) + 1))
        runs.append(guest.state().vmm)
        attested.append(int(attestation(guest)["pid"]))
    assert len(set(runs)) == 3 and attested == runs
    assert not any(proc.is_alive(pid) for pid in runs[:2])


def attestation(guest):
    return dict(line.split(" ") for line in (STATE / "guests" / guest.name / "attested").read_text().splitlines())


def test_what_no_other_process_can_see_is_attested(guests):
    guest = guests.start("hlt")
    guest.wait_output(rb"halted\n")
    vmm = guest.vmm()
    path = STATE / "guests" / guest.name / "attested"
    wait_until(path.exists, 20, "the guest is up")
    abi = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)  # landlock_create_ruleset(2): the kernel's version
    assert attestation(guest) == {"landlock": str(max(0, abi)), "pid": str(vmm), "start_time": proc.stat(vmm)[22]}
    assert (path.stat().st_mode, path.stat().st_uid, path.parent.stat().st_mode) == (0o100600, 0, 0o40700)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["attested", "lock", "state"]


def test_a_signal_together_with_a_reset_ends_the_guest(guests, tmp_path):
    """The supervisor finds both at once: the signal counts."""
    (tmp_path / "reset.elf").write_bytes(elf.image([elf.Segment(elf.BASE, elf.CODE_RESET_ON_INPUT)]))
    guest = guests.start(tmp_path / "reset.elf")
    wait_until((STATE / "guests" / guest.name / "state").exists, 20, "the guest is up")
    vmm = guest.vmm()
    os.kill(vmm, signal.SIGSTOP)
    guest.write(b"x")
    # Read, and passed on: it waits for what comes next.
    wait_until(lambda: readable(guest.process.stdin.fileno()) == 0 and proc.stat(guest.supervisor)[3] == "S", 5,
               "the supervisor passes the input on")
    guest.signal(signal.SIGSTOP)
    wait_until(lambda: proc.stat(guest.supervisor)[3] == "T", 5, "the supervisor has stopped")
    os.kill(vmm, signal.SIGCONT)
    wait_until(lambda: not proc.is_alive(vmm), 5, "the guest resets itself")
    guest.signal(signal.SIGTERM)
    guest.signal(signal.SIGCONT)
    assert guest.wait(5) == Status.SIGNAL + signal.SIGTERM
    assert guest.errors == b""


@pytest.mark.parametrize("verdict, status", [(0, 0), (1, 65), (42, 106), (63, 127)])
def test_verdict(host, guests, tmp_path, verdict, status):
    image = tmp_path / "verdict.elf"
    image.write_bytes(elf.verdict_image(verdict))
    guest = guests.start(image, "--test-device")
    guest.wait()
    assert_ends(host, guest, status)
    assert guest.output == b"" and guest.errors == b""


def test_without_a_test_device_there_is_no_verdict(guests):
    guest = guests.start("hello")
    guest.wait_output(rb"hello from ring 0, \d+ bytes of RAM\n")
    # It has written its verdict to a port where nothing is, and halts.
    vmm = guest.vmm()
    wait_until(lambda: all(proc.stat(f"{vmm}/task/{t}")[3] == "S" for t in proc.threads(vmm)), 5, "the guest halts")
    assert guest.status_now() is None


# ---- terminals ----

LEAVE = b"\x1dq"


def cpu_time(pid):
    fields = proc.stat(pid)
    return int(fields[14]) + int(fields[15])


def end_by_escape(guest):
    guest.write(LEAVE)
    return Status.OK


def end_by_split_escape(guest):
    guest.write(LEAVE[:1])
    guest.write(b"x" + LEAVE[:1])  # an escape that means nothing, and the first half of one that does
    guest.write(LEAVE[1:])
    return Status.OK


def end_by_killing_the_vmm(guest):
    os.kill(guest.vmm(), signal.SIGKILL)
    return Status.DIED


def end_by_signal(number):
    def end(guest):
        guest.signal(number)
        return Status.SIGNAL + number
    end.__name__ = number.name
    return end


def end_by_the_guest(guest):
    guest.write(b"q")
    return Status.OK


@pytest.mark.parametrize("end", [end_by_escape, end_by_split_escape, end_by_killing_the_vmm, end_by_the_guest,
                                 *map(end_by_signal, SIGNALS)], ids=lambda f: f.__name__)
def test_terminal_is_restored(host, guests, end):
    guest = guests.start_on_terminal("echo", "--test-device")
    guest.wait_output(READY["echo"])
    local = guest.attributes()[3]
    assert not local & (termios.ICANON | termios.ECHO | termios.ISIG)  # raw while the guest runs
    status = end(guest)
    wait_until(lambda: guest.read() and guest.status_now() is not None, 1, "the end")
    assert guest.status_now() == status, guest.output
    assert guest.attributes() == guest.attributes_before


def test_terminal_is_restored_when_the_start_fails(guests):
    guest = guests.start_on_terminal("echo", "--initrd", "/nonexistent")
    assert guest.wait() == Status.IMAGE
    assert guest.attributes() == guest.attributes_before


@pytest.mark.parametrize("key", [b"\x03", b"\x1a", b"\x1c", b"\x04", b"\x13", b"\x11", b"\r"])
def test_keys_of_the_terminal_go_to_the_guest(guests, key):
    guest = guests.start_on_terminal("echo", "--test-device")
    guest.wait_output(READY["echo"])
    guest.write(b"<" + key + b">")
    guest.wait_output(rb"<" + re.escape(key) + rb">")
    assert guest.status_now() is None


def test_the_escape_key_twice_is_sent_once(guests):
    guest = guests.start_on_terminal("echo", "--test-device")
    guest.wait_output(READY["echo"])
    guest.write(b"<\x1d\x1d>")
    guest.wait_output(rb"<\x1d>")


def test_messages_on_a_raw_terminal_start_in_the_first_column(guests):
    guest = guests.start_on_terminal("power", cmdline="reset")
    guest.wait_output(rb"starts again in \d+ ms\r\n")


# ---- pipes and files ----

def test_every_byte_goes_both_ways(guests):
    guest = started(guests.start, "echo", "--test-device")
    data = bytes(b for b in range(256) if b != ord("q")) * 4
    guest.write(data)
    guest.write(b"q")
    assert guest.wait(60) == Status.OK
    assert guest.output == b"echo ready\n" + data + b"q"


def test_end_of_input_is_not_the_end_of_the_guest(guests):
    guest = started(guests.start, "echo")
    guest.write(b"last words")
    guest.process.stdin.close()
    guest.wait_output(rb"last words")
    assert command("version").returncode == 0
    assert guest.status_now() is None and proc.is_alive(guest.vmm())


def test_no_input_at_all(guests):
    guest = started(guests.start, "pwrbtn", stdin=subprocess.DEVNULL)
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    assert guest.wait() == Status.OK


def count_lines(data):
    """The numbers in flood's output must be 0, 1, 2, ... up to where it was cut."""
    lines = data.split(b"\n")
    assert lines[:-1] == [b"%015x" % i for i in range(len(lines) - 1)]
    assert (b"%015x" % (len(lines) - 1)).startswith(lines[-1])
    return len(lines)


def readable(fd):
    n = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, n)
    return n[0]


def test_slow_reader_loses_nothing(guests):
    read_end, write_end = os.pipe()
    guest = guests.start("flood", stdout=write_end)
    data = b""
    capacity = fcntl.fcntl(read_end, fcntl.F_GETPIPE_SZ)
    while len(data) < 2 * capacity:
        # Read a little, and only when nothing more fits: output backs up into the guest again and again.
        wait_until(lambda: readable(read_end) > capacity - 8192, 20, "the pipe fills")
        data += os.read(read_end, 7001)
    guest.signal(signal.SIGTERM)
    assert not fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK  # the pipe is also others'
    os.close(write_end)
    while chunk := os.read(read_end, 1 << 16):
        data += chunk
    os.close(read_end)
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM
    assert count_lines(data) > 1000


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_reader_that_does_not_read_does_not_hold_the_end_up(host, guests, number):
    guest = guests.start("flood")
    fd = guest.stdout.fileno()
    capacity = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    wait_until(lambda: readable(fd) > capacity - 8192, 20, "the pipe fills")
    start = time.monotonic()
    guest.signal(number)
    guest.process.wait(seconds(5))
    assert time.monotonic() - start < seconds(1)
    host.assert_clean()
    assert guest.status_now() == Status.SIGNAL + number
    count_lines(os.read(fd, 1 << 20))


def test_blocked_output_does_not_stop_the_power_button(guests):
    guest = guests.start("flood")
    fd = guest.stdout.fileno()
    wait_until(lambda: readable(fd) > fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) - 8192, 20, "the pipe fills")
    assert command("kill", "--power-button", guest.name).returncode == Status.OK
    r = command("kill", guest.name)
    assert (r.returncode, r.stderr) == (Status.OK, b"")


def test_output_that_nobody_reads_any_more_is_dropped(guests):
    guest = started(guests.start, "flood")
    guest._readers.pop(guest.stdout.fileno())
    guest.stdout.close()
    start = cpu_time(guest.vmm())
    wait_until(lambda: cpu_time(guest.vmm()) > start + 10, 20, "the guest goes on")
    assert guest.status_now() is None


def test_output_to_a_file(guests, tmp_path):
    with open(tmp_path / "console", "wb") as f:
        guest = guests.start("hello", "--test-device", stdout=f)
        assert guest.wait() == Status.OK
    assert re.fullmatch(rb"hello from ring 0, \d+ bytes of RAM\n", (tmp_path / "console").read_bytes())


def test_output_is_appended_to_a_file(guests, tmp_path):
    (tmp_path / "console").write_bytes(b"before\n")
    for _ in range(2):
        with open(tmp_path / "console", "ab") as f:
            assert guests.start("hello", "--test-device", stdout=f).wait() == Status.OK
    assert re.fullmatch(rb"before\n(hello from ring 0, \d+ bytes of RAM\n){2}", (tmp_path / "console").read_bytes())


def test_output_to_a_full_disk(guests):
    with open("/dev/full", "wb") as f:
        assert guests.start("hello", "--test-device", stdout=f).wait() == Status.OK


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_started_with_closed_descriptors(host, closed):
    """None of the program's own files may end up where the console is."""
    argv = run_arguments("hello", "--test-device", name=new_name())
    r = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *argv], cwd=host.cwd, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=seconds(20))
    assert (r.returncode, own_words(r.stderr)) == (Status.OK, b"")
    assert (b"hello from ring 0" in r.stdout) == ("1>&-" not in closed)


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 1>&- 2>&-"])
def test_signals_reach_a_supervisor_with_closed_descriptors(host, closed):
    argv = run_arguments("hlt", name=new_name())
    with subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *argv], cwd=host.cwd) as p:
        wait_until(lambda: (STATE / "guests" / argv[2] / "state").exists(), 20, "the guest is up")
        p.send_signal(signal.SIGTERM)
        try:
            assert p.wait(seconds(5)) == Status.SIGNAL + signal.SIGTERM
        finally:
            p.kill()


def test_programs_are_found_beside_the_program(guests, tmp_path):
    """Started through a link from elsewhere, in a directory that has been removed."""
    link = tmp_path / "elsewhere"
    link.symlink_to(PROGRAM)
    argv = [str(link), *run_arguments("hello", "--test-device", name=new_name())[1:]]
    gone = tmp_path / "gone"
    gone.mkdir()
    r = subprocess.run(["sh", "-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", gone, *argv],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds(20))
    assert (r.returncode, own_words(r.stderr)) == (Status.OK, b""), GUESTS
