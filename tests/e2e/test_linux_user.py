"""
Guests of ordinary users on a KVM that runs unmodified kernels and with unified cgroups: without a session, and with one,
whose systemd delegates a cgroup to each guest.
"""
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import proc
from account import IDS_PER_GUEST, Account, SessionAccount
from bulkhead import ABSENT, BUILD, Guests, State, Status, new_name, own_words
from host import wait_until
from linux_guest import GUESTS, HERE, fetch_kernel, linux, needs_hardware, needs_root, slow

pytestmark = [needs_root, needs_hardware]

needs_session = pytest.mark.skipif("LAB" not in os.environ or not os.path.exists("/run/systemd/private"),
                                   reason="changes the machine it is on; tests/run runs this in the lab with systemd")


@pytest.fixture(scope="module", autouse=True)
def kernel():
    if HERE:
        fetch_kernel()


def vmm_of(guest, account):
    state = account.state_dir / "guests" / guest.name / "state"
    wait_until(state.exists, 20, "its state is written")
    return State(guest.name, account.state_dir).vmm


@pytest.mark.lab
@pytest.mark.parametrize("subordinate", [IDS_PER_GUEST, slow(0)], ids=["own ids", "the user's id"])
def test_linux_without_a_session(subordinate):
    account = Account(subordinate)
    try:
        with linux(cpus=2, account=account) as guest:
            guest.err.expect("runs without: .*cgroup limits")
            assert guest.shell("nproc").strip() == "2"
            vmm = vmm_of(guest, account)
            assert proc.status(vmm)["Uid"].split()[0] == str(account.first_uid if subordinate else account.uid)
            assert proc.Cgroups().of(vmm) == proc.Cgroups().of("self")
            guest.send("poweroff -f\n")
            assert guest.wait() == 0
    finally:
        account.close()


# --- with a session

@pytest.fixture(scope="module")
def account():
    return SessionAccount()


@pytest.fixture
def guests(account, tmp_path):
    all_guests = Guests(tmp_path)
    yield all_guests
    all_guests.close()
    assert list((account.state_dir / "guests").iterdir()) == list((account.state_dir / "ids").iterdir()) == []
    wait_until(lambda: not scopes(account), 10, lambda: f"left behind: {scopes(account)}")


def scopes(account):
    """The cgroups of guests below the user's systemd."""
    slices = proc.Cgroups().unified / f"user.slice/user-{account.uid}.slice"
    return [str(path) for path in slices.rglob("bulkhead*")]


def assert_limited(vmm, supervisor, name, memory_bytes, vcpus):
    cgroups = proc.Cgroups()
    directory = cgroups.directory(vmm, "")
    assert directory.parts[-2:] == ("bulkhead", name)
    scope = directory.parent.parent
    assert re.fullmatch(rf"bulkhead-{supervisor}\.scope", scope.name)

    def value(file):
        return (directory / file).read_text().strip()

    assert memory_bytes < int(value("memory.max")) <= 2 * memory_bytes + (64 << 20)
    assert (value("memory.swap.max"), value("memory.oom.group")) == ("0", "1")
    assert vcpus + 1 <= int(value("pids.max")) <= vcpus + 16
    quota, period = map(int, value("cpu.max").split())
    assert quota / period == vcpus + 1
    inside = [int(pid) for pid in value("cgroup.procs").split()]
    inside = [pid for pid in inside if proc.stat(pid)[4] != "2"]  # beside a thread of the kernel's
    names = [proc.status(pid)["Name"] for pid in inside]
    assert vmm in inside and sorted(names) == ["bulkhead-rng", "bulkhead-vmm"]
    # The supervisor is a neighbour, not a member: what ends the guest must not end it.
    assert cgroups.directory(supervisor, "") == scope / "supervisor"
    assert proc.namespaces(vmm)["cgroup"] != proc.namespaces("self")["cgroup"]


@pytest.mark.session
@needs_session
def test_the_machine_runs_systemd_and_the_session(account):
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    for unit in ("lab.service", account.service):
        subprocess.run(["systemctl", "is-active", "--quiet", unit], check=True)


@pytest.mark.session
@needs_session
@pytest.mark.parametrize("resets", [0, slow(1)])
def test_linux_in_a_session_has_its_limits(account, guests, resets):
    with linux(cpus=2, account=account) as guest:
        vmm = vmm_of(guest, account)
        assert_limited(vmm, guest.process.pid, guest.name, 128 << 20, 2)
        for _ in range(resets):
            before = vmm
            guest.send("reboot -f\n")
            guest.expect("guest is up\n")
            vmm = wait_until(lambda: vmm_of(guest, account) != before and vmm_of(guest, account), 20, "a new VMM")
            assert_limited(vmm, guest.process.pid, guest.name, 128 << 20, 2)
        guest.send("poweroff -f\n")
        status = guest.process.wait(60)
        assert status == 0
        assert "cgroup limits" not in guest.err.rest()


@pytest.mark.session
@needs_session
def test_what_the_commands_show(account, guests):
    guest = guests.start("hlt", "--cpu-limit", "50", account=account)
    guest.wait_output(rb"halted\n")
    shown = json.loads(account.bulkhead("inspect", "--json", guest.name).stdout)
    verdicts = {layer["name"]: layer["verdict"] for layer in shown["layers"]}
    assert verdicts["cgroup limits"] == verdicts["ids of its own"] == "in_force"
    checks = {c["id"]: c["result"] for c in json.loads(account.bulkhead("doctor", "--json").stdout)["checks"]}
    assert {checks[f"cgroup-{name}"] for name in ("memory", "pids", "cpu")} == {"ok"}
    assert (proc.Cgroups().directory(guest.vmm(), "") / "cpu.max").read_text() == "50000 100000\n"


@pytest.mark.session
@needs_session
def test_limits_of_a_controller_that_was_not_delegated_are_refused(account, guests):
    device = next(Path("/sys/class/block").glob("loop*")).name
    r = account.bulkhead("run", new_name(), "--kernel", GUESTS / "hello.elf", "--io-limit", f"/dev/{device},rbps=1M")
    assert (r.returncode, r.stdout, own_words(r.stderr).count(b"\n")) == (Status.ISOLATION, b"", 1)
    assert b"io.max" in r.stderr


@pytest.mark.session
@needs_session
def test_a_reset_stays_in_the_scope(account, guests):
    guest = guests.start("power", account=account, cmdline="reset")
    guest.wait_output(rb"(power: reset\n){4}", 60)
    assert proc.Cgroups().directory(guest.supervisor, "").parent.name == f"bulkhead-{guest.supervisor}.scope"
    assert account.bulkhead("kill", guest.name).returncode == Status.OK


@pytest.mark.session
@needs_session
def test_a_killed_supervisor_leaves_no_scope(account, guests):
    guest = guests.start("spin", account=account)
    guest.wait_output(rb"spinning\n")
    vmm = guest.vmm()
    guest.signal(signal.SIGKILL)
    guest.wait()
    wait_until(lambda: not proc.is_alive(vmm), 5, "the VMM dies")
    assert account.bulkhead("ps").returncode == Status.OK  # sweeps


@pytest.mark.session
@needs_session
def test_a_service_that_was_delegated_its_cgroup_uses_that(account, guests):
    name = new_name()
    r = account.run("systemd-run", "--user", "--quiet", "--pipe", "--wait", "--collect", "--property=Delegate=yes",
                    BUILD / "bulkhead", "run", name, "--kernel", GUESTS / "hello.elf", "--test-device")
    assert (r.returncode, own_words(r.stderr)) == (Status.OK, b""), r
    assert b"hello from ring 0" in r.stdout
    absent = ABSENT.search(r.stderr)
    assert not absent or b"cgroup limits" not in absent[1]
