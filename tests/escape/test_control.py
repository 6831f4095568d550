"""
The supervisor's control channel and console, attacked from the other end: by bulkhead-vmm in its jail, as if it were
taken over. Whatever it sends, the supervisor ends the guest with one line and a documented status, or goes on and obeys
its operator; and nothing is left.
"""
import re
import signal
import struct
import subprocess
import time

import pytest

import attacker
import bulkhead
import proc
from bulkhead import Guest, Guests, Status, needs_kvm
from host import STATE, wait_until

pytestmark = [pytest.mark.both, needs_kvm]

FLOOD_GROWTH_KB = 1024  # of the supervisor: its buffers are a few pages
PROTOCOL = rb"receive from the VMM: Protocol error"


class Attacked(Guest):
    def __init__(self, attack, cwd, *options, peeling="full", **kwargs):
        self._words = {"attack": attack}
        self._peeling = peeling
        self._options = options
        super().__init__("hello", cwd=cwd, **kwargs)

    def _start(self, argv, cwd, stdin, stdout):
        super()._start(attacker.command(self._peeling, self.name, self._words, *self._options), cwd, stdin, stdout)

    def message(self):
        """What the supervisor says at its end: one line, after the one that tells that it is a test build."""
        test_build, line = self.errors.splitlines()
        assert b"TEST BUILD" in test_build and line.startswith(b"bulkhead: ")
        assert re.fullmatch(rb"[ -~]+", line), line
        return line


@pytest.fixture
def attack(host):
    started = Guests(host.cwd)
    yield lambda name, *options, **kwargs: started._add(Attacked(name, host.cwd, *options, **kwargs))
    started.close()


@pytest.mark.parametrize("name, status, message", [
    ("short", Status.FAILURE, PROTOCOL),
    ("magic", Status.FAILURE, PROTOCOL),
    ("version", Status.FAILURE, PROTOCOL),
    ("unknown-type", Status.FAILURE, PROTOCOL),
    ("type-0", Status.FAILURE, PROTOCOL),
    ("size", Status.FAILURE, PROTOCOL),
    ("size-of-another-type", Status.FAILURE, PROTOCOL),
    ("oversized", Status.FAILURE, PROTOCOL),
    ("mapped", Status.FAILURE, rb"the VMM sends message type 2"),
    ("config", Status.FAILURE, rb"the VMM sends message type 4"),
    ("power-button", Status.FAILURE, rb"the VMM sends message type 5"),
    ("rooted-again", Status.FAILURE, rb"the child reports its root twice"),
    ("jailed-again", Status.FAILURE, rb"the VMM reports its jail twice"),
    ("end-before-ready", Status.FAILURE, rb"the VMM ends before it runs"),
    ("ready-twice", Status.FAILURE, rb"the VMM is ready at the wrong time"),
    ("end-unknown", Status.FAILURE, rb"the VMM ends for reason 4294967295"),
    ("end-twice", Status.FAILURE, rb"the VMM ends"),
    # A VMM can claim to have failed, but not that all is well, nor that somebody else ended it.
    ("failed-ok", Status.FAILURE, rb"all is well"),
    ("failed-unknown", Status.FAILURE, rb"a status that there is not"),
    ("failed-signal", Status.FAILURE, rb"as if an operator had"),
    ("failed-text", Status.GUEST, rb"one.bulkhead: two.*%n%s"),
    ("failed-unterminated", Status.GUEST, rb"A{100,}$"),
    ("failed-while-running", Status.USAGE, rb"an error of its own"),
    ("flood", Status.FAILURE, rb"the VMM ends"),
    ("flood-bad", Status.FAILURE, PROTOCOL),
])
def test_what_is_no_message_in_its_place_ends_the_guest(attack, name, status, message):
    guest = attack(name)
    assert guest.wait() == status
    assert re.search(message, guest.message())


@pytest.mark.parametrize("name, status", [("end-and-stay", Status.OK), ("end-verdict", Status.VERDICT + 63)])
def test_who_says_that_it_ends_is_ended(attack, name, status):
    guest = attack(name)
    assert guest.wait() == status
    assert len(guest.errors.splitlines()) == 1


@pytest.mark.parametrize("name, peeling", [
    ("empty", "full"),  # looks like the end of the channel
    ("shut", "without seccomp"),
    ("shut-while-running", "without seccomp"),
])
def test_who_closes_the_channel_and_stays_is_still_the_operators(attack, name, peeling):
    guest = attack(name, peeling=peeling)
    guest.wait_output(rb"escape: begin\n")
    control = wait_until(lambda: len(sockets(guest)) == 1, 20, "the supervisor closes its end of the control channel")
    assert control and guest.status_now() is None
    guest.signal(signal.SIGTERM)
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM
    assert len(guest.errors.splitlines()) == 1


@pytest.mark.slow
def test_who_says_nothing_is_ended_after_a_minute(attack):
    guest = attack("silent")
    guest.wait_output(rb"escape: begin\n")
    assert guest.wait(90) == Status.FAILURE
    assert b"start the guest within 60 seconds" in guest.message()


def sockets(guest):
    return [link for link in proc.fds(guest.supervisor).values() if link.startswith("socket:")]


def test_descriptors_that_are_sent_along_are_not_received(attack):
    guest = attack("descriptors", peeling="without seccomp")
    guest.wait_output(rb"escape: sent\n")
    assert b"cannot" not in guest.output
    wait_until(lambda: running(guest), 20, "the guest counts as running")
    # A hundred came with each message.
    assert len(sockets(guest)) == 2 and len(proc.fds(guest.supervisor)) < 50
    guest.signal(signal.SIGTERM)
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM


def running(guest):
    """Has the supervisor told the world that the guest is ready?"""
    return (STATE / "guests" / guest.name / "state").exists()


def test_a_console_that_nobody_reads_stops_nobody(attack):
    guest = attack("flood-console")
    wait_until(lambda: running(guest), 20, "the guest counts as running")

    def resident_kb():
        return int(proc.status(guest.supervisor)["VmRSS"].split()[0])

    before = resident_kb()
    time.sleep(1)
    assert guest.status_now() is None and resident_kb() - before < FLOOD_GROWTH_KB
    guest.signal(signal.SIGUSR1)  # the power button, which a flooding VMM does not look at
    assert bulkhead.command("kill", guest.name).returncode == 0
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM


def test_threads_that_spin_are_throttled(attack):
    guest = attack("spin", "--cpu-limit", "20", peeling="without seccomp")
    wait_until(lambda: running(guest), 20, "the guest counts as running")
    stat = proc.Cgroups().directory(guest.vmm(), "cpu") / "cpu.stat"
    wait_until(lambda: int(re.search(r"nr_throttled (\d+)", stat.read_text())[1]) > 0, 20, "the guest is throttled")
    assert bulkhead.command("kill", guest.name).returncode == 0
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM


def test_a_pid_in_the_state_of_a_dead_guest_is_nobodys(host):
    """Who holds a guest's lock is asked of the kernel; the pids in its state may have become somebody else's."""
    guests = Guests(host.cwd)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        time.sleep(0.1)  # the kernel tells start times in hundredths of a second, and the VMM's must be another
        try:
            guest = guests.start("hlt")
            wait_until(lambda: running(guest), 20, "the guest counts as running")
            data = bytearray((STATE / "guests" / guest.name / "state").read_bytes())
            for offset, pid in ((8, guest.supervisor), (24, guest.vmm())):  # struct guest_state
                assert struct.unpack_from("i", data, offset) == (pid,)
                struct.pack_into("i", data, offset, bystander.pid)
            dead = STATE / "guests" / bulkhead.new_name()
            dead.mkdir(mode=0o700)
            (dead / "lock").touch()
            (dead / "state").write_bytes(data)
            assert bulkhead.command("kill", dead.name).returncode == Status.NAME
            assert bulkhead.command("ps").returncode == Status.OK
            assert bystander.poll() is None and not dead.exists()
        finally:
            bystander.kill()
            guests.close()
