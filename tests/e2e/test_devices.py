"""
Devices: each is a process of its own in the guest's jail. What the kernel says of it, what happens when it dies, and who
else may have its disk.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import stat as stat_module
import struct
import subprocess

import pytest

import proc
from account import IDS_PER_GUEST, Account
from bulkhead import BUILD, PROGRAM, Guests, Status, command, needs_kvm
from host import STATE, Host, wait_until

pytestmark = [pytest.mark.both, needs_kvm]

# What the kernel or cgroups have no part in is seen here; the lab takes long for it.
slow_in_lab = pytest.mark.slow if "LAB" in os.environ else pytest.mark.both

needs_blk = pytest.mark.skipif(not (BUILD / "bulkhead-blk").exists(), reason="bulkhead-blk has not been built")

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
CONTROL, FRONTEND, RESOURCE, PEER, LIMIT = 3, 4, 5, 10, 128  # src/spec/device_fds.h
ROLES = ["rng", pytest.param("disk0", marks=needs_blk)]


def image(directory, name="disk.img", size=1 << 20):
    path = directory / name
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def devices(guest):
    """Id to pid, as ps tells them of a guest that is up; it may say something before the supervisor writes that down."""
    def started():
        rows = json.loads(command("ps", "--json").stdout)["guests"]
        row, = (row for row in rows if row["name"] == guest.name)
        return row["phase"] != "starting" and row
    row = wait_until(started, 10, f"guest {guest.name} does not start")
    return {d["id"]: d["pid"] for d in row.get("devices", [])}


def names(guest, name):
    """Pids of the processes of that name that its supervisor has."""
    for pid in proc.children(guest.supervisor):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if proc.status(pid)["Name"] == name:
                yield pid


def restarts(guest, device):
    rows = json.loads(command("ps", "--json").stdout)["guests"]
    return next(d["restarts"] for row in rows if row["name"] == guest.name for d in row["devices"] if d["id"] == device)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two guests with all devices there are; a third process of neither would be somebody's leftover."""
    host = Host(tmp_path_factory.mktemp("cwd"))
    files = tmp_path_factory.mktemp("files")
    guests = Guests(host.cwd)
    disk = (BUILD / "bulkhead-blk").exists()
    try:
        both = [guests.start("hlt", "--rng", *(["--disk", image(files, f"{i}.img")] if disk else []))
                for i in range(2)]
        for guest in both:
            guest.wait_output(rb"halted\n")
            guest.image = files / f"{both.index(guest)}.img"
        yield both
    finally:
        guests.close()
    host.assert_clean()


@pytest.fixture(params=ROLES)
def role(request):
    return request.param


@pytest.fixture
def device(pair, role):
    return devices(pair[0])[role]


def test_namespaces_are_the_guests(pair, device):
    own = proc.namespaces(device)
    assert own == proc.namespaces(pair[0].vmm())
    assert not set(own.values()) & set(proc.namespaces("self").values())
    assert not set(own.values()) & set(proc.namespaces(pair[1].vmm()).values())


def test_it_is_not_the_first_of_its_namespace(device):
    assert int(proc.status(device)["NSpid"].split()[-1]) > 1


def test_no_capabilities(device):
    s = proc.status(device)
    assert {name: int(s[name], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)


def test_filter_and_no_new_privs(device):
    for tid in proc.threads(device):
        s = proc.status(device, tid)
        assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1")
        assert int(s.get("Seccomp_filters", "2")) >= 2  # of its start, and its own


def test_no_two_processes_have_the_same_ids(pair):
    processes = [pid for guest in pair for pid in (guest.vmm(), *devices(guest).values())]
    uids = [proc.status(pid)["Uid"] for pid in processes]
    gids = [proc.status(pid)["Gid"] for pid in processes]
    assert len(set(uids)) == len(set(gids)) == len(processes)
    for guest in pair:
        first = guest.state().host_id
        for pid in devices(guest).values():
            assert len(set(proc.status(pid)["Uid"].split())) == 1
            assert first < int(proc.status(pid)["Uid"].split()[0]) < first + guest.state().id_count
            assert proc.status(pid)["Groups"].split() == []


def test_it_has_the_descriptors_of_its_role_only(pair, role, device):
    found = proc.fds(device)
    assert {found[fd] for fd in range(3)} == {"/dev/null"}
    assert found[CONTROL].startswith("socket:") and found[FRONTEND].startswith("socket:")
    assert found[RESOURCE] == (str(pair[0].image) if role == "disk0" else "/dev/null")
    for fd, target in found.items():
        assert fd < LIMIT
        if fd >= PEER:  # from the VMM
            assert target.startswith(("socket:", "anon_inode:[eventfd]", "/memfd:")), target
        elif fd > RESOURCE:
            assert target == "/dev/null" or target.startswith("anon_inode:["), target


def test_no_device_has_what_another_has(pair):
    def things(pid):
        """Sockets and files; every event descriptor has the same name."""
        return {target for target in proc.fds(pid).values() if target.startswith(("socket:", "/")) and
                target != "/dev/null" and not target.startswith("/memfd:guest_ram")}
    seen = {}
    for guest in pair:
        for name, pid in devices(guest).items():
            for thing in things(pid):
                assert thing not in seen, (thing, name, seen[thing])
                seen[thing] = name


def test_not_dumpable(device):
    assert os.stat(f"/proc/{device}/environ").st_uid == 0
    assert proc.status(device)["Uid"].split()[0] != "0"


def test_one_mount_empty_and_read_only(device):
    mount, = proc.mounts(device)
    left, right = mount.split(" - ")
    assert left.split()[4] == "/" and {"ro", "nosuid", "nodev", "noexec"} <= set(left.split()[5].split(","))
    assert right.split()[0] == "tmpfs" and "ro" in right.split()[2].split(",")
    assert os.listdir(f"/proc/{device}/root") == []
    assert os.readlink(f"/proc/{device}/cwd") == "/"


def test_limits(role, device):
    limits = proc.limits(device)
    locked = "524288" if role == "disk0" else "0"  # newer kernels count an io_uring's rings
    assert limits["Max locked memory"] == (locked, locked)
    for name in ("Max core file size", "Max msgqueue size", "Max realtime priority"):
        assert limits[name] == ("0", "0"), name
    assert limits["Max open files"][1] == str(LIMIT)
    assert limits["Max file size"][1] == ("unlimited" if role == "disk0" else str(1 << 20))
    with open(f"/proc/{device}/oom_score_adj", encoding="ascii") as f:
        assert int(f.read()) >= 500


def test_it_is_in_the_guests_cgroups(pair, device):
    with open(f"/proc/{device}/cgroup", encoding="ascii") as own, \
            open(f"/proc/{pair[0].vmm()}/cgroup", encoding="ascii") as vmms:
        assert own.read() == vmms.read()


def test_it_leads_a_session_without_a_terminal(device):
    fields = proc.stat(device)
    assert fields[6] == str(device) and fields[7] == "0"


def test_it_runs_where_any_process_may(device):
    assert os.sched_getaffinity(device) == os.sched_getaffinity(0)


def test_inspect_finds_every_layer(pair, role):
    r = command("inspect", pair[0].name, "--json")
    assert r.returncode == Status.OK, r.stderr
    told, = (d for d in json.loads(r.stdout)["devices"] if d["id"] == role)
    assert told["pid"] == devices(pair[0])[role]
    assert not [layer for layer in told["layers"] if layer["verdict"] == "contradicted"]
    assert all(ns["of_guest"] and ns["differs_from_host"] for ns in told["namespaces"].values())
    text = command("inspect", pair[0].name).stdout.decode()
    assert f"\nDevice {role} (" in text and "NOT" not in text


def attested(guest):
    """Pid to the other words of its line: what the processes of devices have said of themselves."""
    lines = (STATE / "guests" / guest.name / "attested").read_text().splitlines()
    words = [line.split(" ") for line in lines if line.startswith("device ")]
    return {int(pid): (abi, ticks) for _, abi, pid, ticks in words}


def test_what_no_other_process_can_see_is_attested(pair):
    for guest in pair:
        of_vmm = (STATE / "guests" / guest.name / "attested").read_text().split("\n")[0]
        assert attested(guest) == {pid: (of_vmm.removeprefix("landlock "), proc.stat(pid)[22])
                                   for pid in devices(guest).values()}


@pytest.mark.parametrize("on_reset", ["restart", "exit"])
def test_a_device_that_dies_is_started_again(guests, on_reset):
    guest = guests.start("hlt", "--rng", "--on-reset", on_reset)
    guest.wait_output(rb"halted\n")
    first = wait_until(lambda: devices(guest).get("rng"), 10, "no process")
    uid = proc.status(first)["Uid"]
    os.kill(first, signal.SIGKILL)
    guest.wait_errors(rb'guest "%s" device rng died \(signal 9\) and was started again\n' % guest.name.encode())
    second = wait_until(lambda: devices(guest)["rng"] not in (0, first) and devices(guest)["rng"], 5, "no new process")
    assert restarts(guest, "rng") == 1
    assert attested(guest).keys() == {second}
    assert proc.status(second)["Uid"] == uid
    assert proc.namespaces(second) == proc.namespaces(guest.vmm())
    s = proc.status(second)
    assert {int(s[name], 16) for name in CAPABILITY_SETS} == {0}
    assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1")
    assert command("inspect", guest.name).returncode == Status.OK
    assert guest.status_now() is None


@slow_in_lab
def test_a_device_that_dies_often_is_started_later_and_later_but_is(guests):
    guest = guests.start("hlt", "--rng")
    guest.wait_output(rb"halted\n")
    for i in range(8):
        pid = wait_until(lambda: devices(guest).get("rng"), 10, "no process")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda count=i + 1: restarts(guest, "rng") == count, 10, f"not started again the {i + 1}. time")
    assert guest.status_now() is None


@slow_in_lab
def test_a_guest_that_resets_has_new_devices(guests):
    guest = guests.start("power", "--rng", cmdline="wait triple")
    seen = set()
    for _ in range(3):
        wait_until(lambda: set(names(guest, "bulkhead-rng")) - seen, 20, "no new process")
        seen.update(names(guest, "bulkhead-rng"))
        guest.write(b"x")
    assert b"died" not in guest.errors


def test_the_death_of_the_vmm_is_the_death_of_all(guests):
    guest = guests.start("hlt", "--rng")
    guest.wait_output(rb"halted\n")
    rng = devices(guest)["rng"]
    os.kill(guest.vmm(), signal.SIGKILL)
    assert guest.wait() == Status.DIED
    assert not proc.is_alive(rng)
    assert b"device rng" not in guest.errors


def test_the_death_of_the_supervisor_is_the_death_of_all(guests):
    guest = guests.start("hlt", "--rng")
    guest.wait_output(rb"halted\n")
    all_pids = [guest.vmm(), *devices(guest).values()]
    os.kill(guest.supervisor, signal.SIGKILL)
    guest.wait()
    for pid in reversed(all_pids):  # orphans are the test's to reap, and the first process waits for the others
        wait_until(lambda pid=pid: not proc.is_alive(pid), 5, f"process {pid} lives")
        os.waitpid(pid, 0)
    command("ps")  # sweeps


def test_a_device_that_cannot_start_stops_the_start(guests, tmp_path):
    """Another program in its place, that does not understand what it is told."""
    for name in ("bulkhead", "bulkhead-vmm"):
        shutil.copy(BUILD / name, tmp_path / name)
    shutil.copy(BUILD / "bulkhead-vmm", tmp_path / "bulkhead-rng")
    guest = guests.run("hlt", "--rng", program=tmp_path / "bulkhead")
    assert guest.status_now() not in (0, None)
    assert b"bulkhead: device rng: " in guest.errors


def test_no_program_no_start(guests, tmp_path):
    for name in ("bulkhead", "bulkhead-vmm"):
        shutil.copy(BUILD / name, tmp_path / name)
    guest = guests.run("hlt", "--rng", program=tmp_path / "bulkhead")
    assert guest.status_now() == Status.FAILURE
    assert b"bulkhead-rng" in guest.errors


# ---- disks ----


@needs_blk
def test_one_image_has_one_writer(guests, tmp_path):
    disk = image(tmp_path)
    first = guests.start("hlt", "--disk", disk)
    first.wait_output(rb"halted\n")
    for options in ("", ",ro"):
        second = guests.run("hlt", "--disk", f"{disk}{options}")
        assert second.status_now() == Status.IMAGE
        assert b'the disk %s is in use by guest "%s"' % (os.fsencode(disk), first.name.encode()) in second.errors
    link = tmp_path / "another-name"
    os.link(disk, link)
    assert b'in use by guest "%s"' % first.name.encode() in guests.run("hlt", "--disk", link).errors
    first.close()
    again = guests.start("hlt", "--disk", disk)
    again.wait_output(rb"halted\n")


@needs_blk
def test_the_name_is_known_while_the_first_is_starting(guests, tmp_path):
    disk = image(tmp_path)
    both = [guests.start("hlt", "--disk", disk) for _ in range(2)]
    loser = wait_until(lambda: next((g for g in both if g.status_now() is not None), None), 20, "both run")
    winner = both[1 - both.index(loser)]
    loser.wait()
    assert loser.status_now() == Status.IMAGE
    winner.wait_output(rb"halted\n")
    assert b'in use by guest "%s"' % winner.name.encode() in loser.errors


@needs_blk
def test_readers_share_an_image(guests, tmp_path):
    disk = image(tmp_path)
    both = [guests.start("hlt", "--disk", f"{disk},ro") for _ in range(2)]
    for guest in both:
        guest.wait_output(rb"halted\n")
    assert b"in use by guest" in guests.run("hlt", "--disk", disk).errors


@needs_blk
def test_one_image_twice_in_one_guest(guests, tmp_path):
    disk = image(tmp_path)
    guest = guests.run("hlt", "--disk", disk, "--disk", f"{disk},ro")
    assert guest.status_now() == Status.IMAGE
    assert b"the disks disk0 and disk1 are one" in guest.errors


@needs_blk
@pytest.mark.parametrize("path, text", [("/dev/null", b"neither a regular file nor a block device"),
                                        ("/", b"neither a regular file nor a block device"),
                                        ("/nonexistent", b"No such file or directory")])
def test_what_is_no_disk(guests, path, text):
    guest = guests.run("hlt", "--disk", path)
    assert guest.status_now() == Status.IMAGE
    assert text in guest.errors


@needs_blk
def test_a_fifo_holds_nothing_up(guests, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    guest = guests.run("hlt", "--disk", tmp_path / "fifo")
    assert guest.status_now() == Status.IMAGE


# QEMU's locks (block/file-posix.c): 100 + n for what is used, 200 + n for what nobody else may do.
READ, WRITE, RESIZE = 0, 1, 3
QEMU_READER = [100 + READ, 200 + WRITE, 200 + RESIZE]
QEMU_WRITER = [100 + READ, 100 + WRITE, 100 + RESIZE, 200 + WRITE, 200 + RESIZE]
F_OFD_GETLK, F_OFD_SETLK = 36, 37
FLOCK = struct.Struct("hh4xqqi4x")


def lock(fd, byte):
    fcntl.fcntl(fd, F_OFD_SETLK, FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))


def is_locked(fd, byte):
    answer = fcntl.fcntl(fd, F_OFD_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    return FLOCK.unpack(answer)[0] != fcntl.F_UNLCK


@needs_blk
@pytest.mark.parametrize("theirs, options, starts", [(QEMU_READER, "", False), (QEMU_READER, ",ro", True),
                                                     (QEMU_WRITER, "", False), (QEMU_WRITER, ",ro", False)])
def test_locks_of_qemu_are_respected(guests, tmp_path, theirs, options, starts):
    disk = image(tmp_path)
    with open(disk, "r+b") as f:
        for byte in theirs:
            lock(f.fileno(), byte)
        guest = guests.start("hlt", "--disk", f"{disk}{options}")
        if starts:
            guest.wait_output(rb"halted\n")
        else:
            assert guest.wait() == Status.IMAGE
            assert b"the disk %s is in use: something else holds it" % os.fsencode(disk) in guest.errors


@needs_blk
@pytest.mark.parametrize("options, ours", [("", QEMU_WRITER), (",ro", QEMU_READER)])
def test_qemu_finds_its_locks(guests, tmp_path, options, ours):
    disk = image(tmp_path)
    guest = guests.start("hlt", "--disk", f"{disk}{options}")
    guest.wait_output(rb"halted\n")
    with open(disk, "r+b") as f:
        assert [byte for byte in range(90, 310) if is_locked(f.fileno(), byte)] == ours
        os.kill(devices(guest)["disk0"], signal.SIGKILL)  # the lock does not end with the process
        assert [byte for byte in range(90, 310) if is_locked(f.fileno(), byte)] == ours
        guest.close()
        assert not any(is_locked(f.fileno(), byte) for byte in range(90, 310))


@needs_blk
def test_a_read_only_disk_is_opened_so(guests, tmp_path):
    disk = image(tmp_path)
    disk.chmod(stat_module.S_IRUSR)
    guest = guests.start("hlt", "--disk", f"{disk},ro")
    guest.wait_output(rb"halted\n")
    pid = devices(guest)["disk0"]
    with open(f"/proc/{pid}/fdinfo/{RESOURCE}", encoding="ascii") as f:
        flags = int(next(line for line in f if line.startswith("flags:")).split()[1], 8)
    assert flags & os.O_ACCMODE == os.O_RDONLY


# ---- another size ----


@pytest.fixture
def grown(guests, tmp_path):
    disk = image(tmp_path)
    guest = guests.start("hlt", "--disk", disk, "--disk", f"{image(tmp_path, 'second.img')},ro,id=second", "--rng")
    guest.wait_output(rb"halted\n")
    return guest, disk


@needs_blk
def test_a_file_grows(grown):
    guest, disk = grown
    r = command("resize", guest.name, "disk0", "4M")
    assert (r.returncode, r.stderr) == (Status.OK, b"")
    assert disk.stat().st_size == 4 << 20
    assert command("resize", guest.name, "disk0", "4M").returncode == Status.OK  # as it is
    assert guest.status_now() is None and restarts(guest, "disk0") == 0


@needs_blk
@slow_in_lab
@pytest.mark.parametrize("device, size, text", [
    ("disk0", "512K", b"cannot be made smaller"), ("disk0", "1048577", b"multiple of 512"), ("second", "4M", b"read-only"),
    ("disk9", "4M", b'no disk "disk9"'), ("rng", "4M", b'no disk "rng"'), ("disk0", "0", b"not a size"),
    ("disk0", "x", b"not a size"), ("disk0", "9223372036854775808", b"multiple of 512"), ("d" * 30, "4M", b"no disk")])
def test_what_is_no_new_size(grown, device, size, text):
    guest, disk = grown
    r = command("resize", guest.name, device, size)
    assert r.returncode == Status.USAGE and text in r.stderr
    assert disk.stat().st_size == 1 << 20 and guest.status_now() is None


@needs_blk
def test_a_size_that_no_file_can_have(grown):
    guest, image = grown
    size, other = (1 << 63) - 512, image.with_name("other")
    other.touch()
    try:
        os.truncate(other, size)
    except OSError:
        pass
    else:
        pytest.skip("this file system knows files of any size")
    r = command("resize", guest.name, "disk0", str(size))
    assert r.returncode == Status.FAILURE and b"make the disk disk0 larger" in r.stderr
    assert guest.status_now() is None


@needs_blk
def test_a_process_that_does_not_answer(grown):
    guest, _ = grown
    pid = devices(guest)["disk0"]
    os.kill(pid, signal.SIGSTOP)
    asking = [subprocess.Popen([PROGRAM, "resize", guest.name, "disk0", "4M"], stderr=subprocess.PIPE)]
    wait_until(lambda: "T" in proc.stat(pid)[3], 5, "the process is not stopped")
    os.kill(pid, signal.SIGKILL)
    _, errors = asking[0].communicate(timeout=30)
    assert asking[0].returncode in (Status.OK, Status.FAILURE), errors
    wait_until(lambda: restarts(guest, "disk0") == 1, 10, "not started again")
    assert command("resize", guest.name, "disk0", "8M").returncode == Status.OK


def test_who_has_no_disk_has_nothing_to_resize(guests):
    guest = guests.start("hlt")
    guest.wait_output(rb"halted\n")
    r = command("resize", guest.name, "disk0", "4M")
    assert r.returncode == Status.USAGE and b"has no disk" in r.stderr
    assert command("resize", "nobody", "disk0", "4M").returncode == Status.NAME


@needs_blk
@slow_in_lab
@pytest.mark.parametrize("request_bytes", [b"", b"x", b"x" * 40, b"x" * 4096])
def test_nonsense_is_no_request(grown, request_bytes):
    guest, disk = grown
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(str(STATE / "guests" / guest.name / "requests"))
        s.settimeout(10)
        s.send(request_bytes)
        answer = s.recv(4096)
        assert not answer or b"does not know such a request" in answer
    assert command("resize", guest.name, "disk0", "4M").returncode == Status.OK


@needs_blk
@slow_in_lab
def test_who_says_nothing_holds_the_next_one_up_for_a_while_only(grown):
    guest, _ = grown
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(str(STATE / "guests" / guest.name / "requests"))
        assert command("resize", guest.name, "disk0", "4M").returncode == Status.OK


# ---- guests of ordinary users ----


@slow_in_lab
@pytest.mark.parametrize("ids", [16 * IDS_PER_GUEST, 0], ids=["with own ids", "with the user's id"])
def test_devices_of_an_ordinary_user(guests, ids):
    account = Account(ids)
    try:
        guest = guests.start("hlt", "--rng", account=account)
        guest.wait_output(rb"halted\n")
        vmm = guest.vmm()

        def device():
            return next((p for p in proc.children(guest.supervisor) if proc.status(p)["Name"] == "bulkhead-rng"), None)
        first = device()
        os.kill(first, signal.SIGKILL)
        guest.wait_errors(rb"device rng died \(signal 9\) and was started again\n")
        second = wait_until(lambda: device() not in (None, first) and device(), 10, "no new process")
        assert proc.namespaces(second) == proc.namespaces(vmm)
        s = proc.status(second)
        assert {int(s[name], 16) for name in CAPABILITY_SETS} == {0} and s["Seccomp"] == "2" and s["NoNewPrivs"] == "1"
        assert (s["Uid"] != proc.status(vmm)["Uid"]) == (ids > 0)
        assert account.bulkhead("inspect", guest.name).returncode == Status.OK
        guest.close()
    finally:
        account.close()
