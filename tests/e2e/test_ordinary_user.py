"""Guests of ordinary users: with ids of their own and without, beside one another, through reset and every end."""

import json
import os
import re
import signal
import subprocess

import pytest

import proc
from account import IDS_PER_GUEST, Account
from bulkhead import ABSENT, BUILD, GUESTS, Status, needs_kvm, new_name, own_words, without_notices
from host import seconds, wait_until

pytestmark = needs_kvm

FLAVOURS = {"own ids": 16 * IDS_PER_GUEST, "the user's id": 0}
PYTHON = "/usr/bin/python3"  # which every user may execute
CGROUP_LIMITS, OWN_IDS = "cgroup limits", "ids of its own"


@pytest.fixture
def accounts(host):
    """Makes users; nothing of their guests may be left at the end."""
    made = []

    def make(*args, **kwargs):
        made.append(Account(*args, **kwargs))
        return made[-1]

    yield make
    for account in made:
        account.close()


@pytest.fixture(params=FLAVOURS)
def account(request, accounts):
    return accounts(FLAVOURS[request.param])


@pytest.fixture
def guests(accounts, guests):
    """The users outlive their guests."""
    return guests


def refusal(account, status, *options, image="hello"):
    """The one line of a start that must fail."""
    r = account.bulkhead("run", new_name(), "--kernel", GUESTS / f"{image}.elf", *options)
    assert (r.returncode, r.stdout) == (status, b""), r
    line = own_words(r.stderr).decode()
    assert line.count("\n") == 1
    return line


def absent_layers(text):
    """The layers that the line at the start names, and what they need."""
    return dict(re.findall(r"(?:^|, )([A-Za-z][A-Za-z -]*?) \(needs ((?:[^()]|\([^()]*\))*)\)", text))


def test_boots_and_says_what_it_does_without(account, guests):
    guest = guests.start("hlt", account=account)
    guest.wait_output(rb"halted\n")
    line = (wait_until(lambda: guest.read(0.05) and ABSENT.search(guest.said), 20, "it says what it lacks")
            .group(1).decode())
    absent = absent_layers(line)
    assert CGROUP_LIMITS in absent and "systemd session" in absent[CGROUP_LIMITS]
    assert (OWN_IDS in absent) == (account.subordinate == 0)
    if account.subordinate == 0:
        assert "/etc/subuid" in absent[OWN_IDS] and "newuidmap" in absent[OWN_IDS]
    assert guest.said.count(b"\n") == 1

    shown = json.loads(account.bulkhead("inspect", "--json", guest.name).stdout)
    assert {layer["name"] for layer in shown["layers"] if layer["verdict"] == "absent"} == set(absent)
    row, = json.loads(account.bulkhead("ps", "--json").stdout)["guests"]
    assert (row["name"], row["layers_absent"]) == (guest.name, len(absent))


def test_powers_off(account, guests):
    guest = guests.run("power", account=account)
    assert (guest.status_now(), guest.output, guest.errors) == (Status.OK, b"power: off\n", b"")


def test_eight_processors(account, guests):
    guest = guests.run("smp", "--test-device", account=account, cpus=8, cmdline="cpus=8")
    assert guest.status_now() == Status.OK, (guest.output, guest.errors)


def test_all_layers_or_nothing(account):
    assert CGROUP_LIMITS in refusal(account, Status.ISOLATION, "--require-all-layers")


@pytest.mark.parametrize("option", [("--cpu-limit", "50"), ("--io-limit", "1:0,rbps=1M")], ids=lambda o: o[0])
def test_limits_that_cannot_be_had_are_refused(accounts, option):
    if option[0] == "--io-limit":
        device = next((f"/dev/{name}" for name in sorted(os.listdir("/sys/class/block"))
                       if os.path.exists(f"/dev/{name}")), None)
        if not device:
            pytest.skip("no block device to limit")
        option = ("--io-limit", f"{device},rbps=1M")
    assert "systemd session" in refusal(accounts(), Status.ISOLATION, *option)


def test_a_reset_is_a_new_process_with_the_same_ids(account, guests):
    guest = guests.start("power", account=account, cmdline="reset")
    guest.wait_output(rb"(power: reset\n){4}", 60)
    guest.signal(signal.SIGTERM)
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM
    lines = guest.errors.splitlines()
    assert lines and all(re.search(rb"reset itself; it starts again in \d+ ms$", line) for line in lines)
    assert len(ABSENT.findall(guest.said)) == 1


def test_no_process_that_maps_ids_is_kept_where_none_is_needed(accounts, guests):
    user = accounts()
    for on_reset, children in (("exit", 1), ("restart", 2)):
        guest = guests.start("hlt", "--on-reset", on_reset, account=user)
        guest.wait_output(rb"halted\n")
        wait_until(lambda: len(proc.children(guest.supervisor)) == children, 20, f"{children} children")
        helpers = set(proc.children(guest.supervisor)) - {guest.vmm()}
        for pid in helpers:
            assert sorted(proc.fds(pid)) == [0, 1, 2, 3]
            assert os.stat(f"/proc/{pid}/status").st_uid == 0  # not dumpable


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_is_left_of_a_guest_whose_supervisor_ends(account, guests, number):
    guest = guests.start("spin", account=account, cpus=2)
    guest.wait_output(rb"spinning\n")
    vmm = guest.vmm()
    guest.signal(number)
    guest.wait()
    wait_until(lambda: not proc.is_alive(vmm), 5, "the VMM dies")
    assert account.bulkhead("ps").returncode == Status.OK  # sweeps


def test_kill_command(account, guests):
    guest = guests.start("hlt", account=account)
    guest.wait_output(rb"halted\n")
    r = account.bulkhead("kill", guest.name)
    assert (r.returncode, r.stdout, r.stderr) == (Status.OK, b"", b"")
    assert guest.wait() == Status.SIGNAL + signal.SIGTERM


def test_leaves_by_the_keys(account, guests):
    guest = guests.start_on_terminal("hlt", account=account)
    guest.wait_output(rb"halted")
    guest.write(b"\x1dq")
    assert guest.wait() == Status.OK
    assert guest.attributes() == guest.attributes_before


def test_root_ends_it_and_the_same_name_starts_again(account, guests):
    guest = guests.start("hlt", account=account)
    guest.wait_output(rb"halted\n")
    os.kill(guest.vmm(), signal.SIGKILL)
    assert guest.wait() == Status.DIED
    again = guests.run("hello", "--test-device", account=account, name=guest.name)
    assert (again.status_now(), again.errors) == (Status.OK, b"")


# --- ids

def test_no_two_guests_share_a_block(accounts, guests):
    user = accounts(2 * IDS_PER_GUEST + IDS_PER_GUEST // 2)
    blocks = []
    for _ in range(2):
        guest = guests.start("hlt", account=user)
        guest.wait_output(rb"halted\n")
        wait_until(lambda: (user.state_dir / "guests" / guest.name / "state").exists(), 20, "its state is written")
        state = guest.state()
        blocks.append((state.host_id, state.host_gid, state.id_count))
        for file, first in (("uid_map", state.host_id), ("gid_map", state.host_gid)):
            with open(f"/proc/{guest.vmm()}/{file}", encoding="ascii") as f:
                assert f.read().split() == ["1", str(first), str(IDS_PER_GUEST)]
    assert blocks == [(user.first_uid + i * IDS_PER_GUEST, user.first_gid + i * IDS_PER_GUEST, IDS_PER_GUEST)
                      for i in range(2)]
    assert "all 2 blocks are in use" in refusal(user, Status.FAILURE)


def test_lines_for_the_uid(accounts, guests):
    user = accounts(by_uid=True)
    guest = guests.start("hlt", account=user)
    guest.wait_output(rb"halted\n")
    assert proc.status(guest.vmm())["Uid"].split()[0] == str(user.first_uid)


@pytest.mark.parametrize("subordinate, more", [
    (IDS_PER_GUEST - 1, ""),
    (IDS_PER_GUEST, "mount --bind /dev/null /usr/bin/newuidmap"),
    (IDS_PER_GUEST, "mount --bind /dev/null /usr/bin/newgidmap"),
    (IDS_PER_GUEST, "mount --bind /dev/null /etc/subgid"),
], ids=["too few", "no newuidmap", "no newgidmap", "uids only"])
def test_without_enough_of_them_it_has_the_users_one_id(accounts, guests, subordinate, more):
    user = accounts(subordinate, more)
    guest = guests.start("hlt", account=user)
    guest.wait_output(rb"halted\n")
    for file, own in (("uid_map", user.uid), ("gid_map", user.gid)):
        with open(f"/proc/{guest.vmm()}/{file}", encoding="ascii") as f:
            assert f.read().split() == ["1", str(own), "1"]
    with open(f"/proc/{guest.vmm()}/setgroups", encoding="ascii") as f:
        assert f.read() == "deny\n"


def test_a_newuidmap_that_refuses_is_not_worked_around(accounts):
    line = refusal(accounts(more="mount --bind /bin/false /usr/bin/newuidmap"), Status.ISOLATION)
    assert "newuidmap" in line and "doctor" in line


# --- two users

ATTEMPTS = """
import ctypes, json, os, sys
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)

def outcome(f):
    try:
        f()
        return "done"
    except OSError as e:
        return os.strerror(e.errno)

def seize(pid):
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")

print(json.dumps({f"{what} {pid}": outcome(lambda: f(int(pid))) for pid in sys.argv[1:] for what, f in {
    "signal": lambda pid: os.kill(pid, 0),
    "trace": seize,
    "memory": lambda pid: open(f"/proc/{pid}/mem", "rb").close(),
    "mappings": lambda pid: open(f"/proc/{pid}/maps", "rb").close(),
    "descriptors": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "namespaces": lambda pid: os.readlink(f"/proc/{pid}/ns/net"),
    "root": lambda pid: os.listdir(f"/proc/{pid}/root"),
}.items()}))
"""


@pytest.mark.parametrize("ids", FLAVOURS.values(), ids=FLAVOURS)
def test_two_users_do_not_see_each_others_guests(accounts, guests, ids):
    one, two = accounts(ids), accounts(ids)
    guest, others = guests.start("hlt", account=one), guests.start("hlt", account=two)
    for g in (guest, others):
        g.wait_output(rb"halted\n")

    assert [row["name"] for row in json.loads(one.bulkhead("ps", "--json").stdout)["guests"]] == [guest.name]
    for words in (["inspect"], ["kill"], ["kill", "--power-button"]):
        r = one.bulkhead(*words, others.name)
        assert (r.returncode, r.stderr.count(b"\n")) == (Status.NAME, 1), words
    # The name is the user's alone, and free to another.
    same = guests.run("hello", "--test-device", account=one, name=others.name)
    assert same.status_now() == Status.OK

    pids = [str(pid) for pid in (others.supervisor, *proc.children(others.supervisor))]
    r = one.run(PYTHON, "-c", ATTEMPTS, *pids)
    outcomes = json.loads(r.stdout)
    assert len(outcomes) == 7 * len(pids)
    assert set(outcomes.values()) <= {"Operation not permitted", "Permission denied"}, outcomes
    assert one.run("ls", two.runtime_dir).returncode != 0
    # What is tried is no fault of the attempts: root succeeds.
    r = subprocess.run([PYTHON, "-c", ATTEMPTS, pids[0]], capture_output=True, timeout=seconds(30), check=True)
    assert set(json.loads(r.stdout).values()) == {"done"}
    assert others.status_now() is None


# --- what the host must have

def test_doctor_finds_what_a_user_needs(account):
    answer = json.loads(account.bulkhead("doctor", "--json").stdout)
    checks = {c["id"]: c for c in answer["checks"]}
    assert checks["kvm-device"]["result"] == "ok"
    assert checks["users-namespaces"]["result"] == "ok"
    assert checks["subordinate-ids"]["result"] == ("ok" if account.subordinate else "missing")
    assert checks["cgroup-memory"]["result"] == "missing"
    assert answer["bare_metal_guests"]  # all of this is optional


@pytest.mark.parametrize("more, check, needs", [
    ("chmod 0600 node/kvm", "kvm-device", "chmod 0660 /dev/kvm"),
    ("chgrp 4294967000 node/kvm", "kvm-device", "membership in group 4294967000"),
    ("mount --bind /dev/null /usr/bin/newuidmap", "id-programs", "uidmap"),
])
def test_doctor_names_the_obstacle(accounts, more, check, needs):
    user = accounts(more=more)
    answer = json.loads(user.bulkhead("doctor", "--json").stdout)
    missing = {c["id"]: c["needs"] for c in answer["checks"] if c["result"] == "missing"}
    assert needs in missing[check]
    assert answer["bare_metal_guests"] == (check != "kvm-device")


def test_without_a_runtime_directory(accounts):
    user = accounts()
    argv = [word for word in user.command([BUILD / "bulkhead", "run", new_name(), "--kernel", GUESTS / "hello.elf"])
            if not word.startswith("XDG_RUNTIME_DIR=")]
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds(30),
                       env={k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"})
    assert r.returncode == Status.HOST
    assert re.fullmatch(rb"bulkhead: XDG_RUNTIME_DIR is not set.*\n", without_notices(r.stderr))
