"""
Both ends of vhost-user are interchangeable: our devices serve QEMU (`bulkhead device`), and the back ends of others serve
our guests (`--device vhost-user`).
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

import proc
from account import IDS_PER_GUEST, Account
from bulkhead import GUESTS, PROGRAM, SANITIZED, Status, command, needs_kvm, new_name, own_words
from host import seconds, wait_until

QEMU = shutil.which("qemu-system-x86_64")
STORAGE = shutil.which("qemu-storage-daemon")
MIB = 1 << 20
DISK_BYTES = 4 * MIB

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are started by root here")
no_test_jail = pytest.mark.skipif(SANITIZED, reason="a test jail has files and a wide filter")
needs_storage = pytest.mark.skipif(STORAGE is None, reason="there is no qemu-storage-daemon")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="there is no qemu-system-x86_64")


class Alone:
    """A device alone."""

    def __init__(self, kind, path, *options, account=None):
        self.name, self.path = new_name(), path
        self._bulkhead = account.bulkhead if account else command
        argv = [PROGRAM, "device", kind, "--name", self.name, "--socket", path, *map(str, options)]
        with open(self._log, "wb") as log:
            self._popen = subprocess.Popen(account.command(argv) if account else argv, cwd=path.parent,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        wait_until(lambda: b"waits for front ends" in self.said() or self._popen.poll() is not None, 10, self.said)

    @property
    def _log(self):
        return self.path.parent / f"{self.name}.log"

    def said(self):
        return self._log.read_bytes()

    def state(self):
        row, = (row for row in json.loads(self._bulkhead("ps", "--json").stdout)["guests"] if row["name"] == self.name)
        return row

    def pid(self):
        return self.state()["devices"][0]["pid"]

    def end(self):
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        status = self._popen.wait(seconds(20))
        own_words(self.said())
        return status


@pytest.fixture
def alone(host, tmp_path):
    """Starts devices; at the end each has removed its socket."""
    started = []

    def start(kind, *options, path=tmp_path / "device.sock"):
        started.append(Alone(kind, path, *options))
        return started[-1]
    yield start
    for device in started:
        device.end()
        assert not device.path.exists()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(DISK_BYTES))
    return path


def qemu(guest, path, device, cmdline=""):
    """QEMU without KVM, with one device on the socket at path: a disk's is connected to again when it is lost."""
    again = ",reconnect=1" if "blk" in device else ""
    return subprocess.Popen(
        [QEMU, "-accel", "tcg", "-cpu", "max", "-M", "q35", "-m", "64", "-machine", "memory-backend=m",
         "-object", "memory-backend-memfd,id=m,size=64M,share=on", "-chardev", f"socket,id=c,path={path}{again}",
         "-device", f"{device},chardev=c", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "stdio",
         "-display", "none", "-no-reboot", "-monitor", "none", "-nodefaults", "-kernel", GUESTS / f"{guest}.elf",
         "-append", cmdline], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def passes(process):
    out, errors = process.communicate(timeout=seconds(60))
    assert process.returncode == 1, (out[-2000:].decode(), errors.decode())  # the verdict 0, as QEMU's device tells it
    return out.decode()


@pytest.fixture
def connected(alone, image):
    """A device alone, with a front end that is just there."""
    device = alone("blk", "--disk", image)
    with socket.socket(socket.AF_UNIX) as front:
        front.connect(str(device.path))
        wait_until(device.pid, 10, device.said)
        yield device


# --- our devices for others

@needs_qemu
def test_qemu_writes_our_disk_and_finds_it_again(alone, image):
    device = alone("blk", "--disk", f"{image},id=serial-1")
    before = image.read_bytes()
    out = passes(qemu("blk", device.path, "vhost-user-blk-pci,disable-legacy=on", "seed=7 id=serial-1"))
    for what in ("write", "flush", "read", "write-zeroes", "discard"):
        assert f"blk: {what} ok" in out
    assert image.read_bytes() != before
    passes(qemu("blk", device.path, "vhost-user-blk-pci,disable-legacy=on", "verify seed=7"))  # by another process
    wait_until(lambda: device.said().count(b"is left by its front end") == 2, 10, device.said)
    assert device.end() == Status.SIGNAL + signal.SIGTERM


@needs_qemu
def test_qemu_has_our_entropy(alone):
    out = passes(qemu("rng", alone("rng").path, "vhost-user-rng-pci", "bytes=256 rounds=4"))
    lines = [line for line in out.splitlines() if line.startswith("rng: 256 bytes ")]
    assert len(set(lines)) == 4


@needs_qemu
def test_qemu_under_way_does_not_notice_that_our_process_dies(alone, image):
    with open(image, "r+b") as f:
        f.truncate(64 * MIB)
    device = alone("blk", "--disk", f"{image},iops=400")  # slow enough to be met at work
    process = qemu("blk", device.path, "vhost-user-blk-pci,disable-legacy=on", "seed=3 sectors=65536")
    pid = wait_until(device.pid, 10, device.said)
    start = image.read_bytes()
    wait_until(lambda: image.read_bytes() != start, 20, device.said)
    os.kill(pid, signal.SIGKILL)
    assert "blk: read ok" in passes(process)
    assert device.said().count(b"has a front end") == 2
    assert b"died (signal 9)" in device.said()


@no_test_jail
def test_its_process_has_a_jail_of_its_own(connected):
    pid = connected.pid()
    own, here = proc.namespaces(pid), proc.namespaces("self")
    assert not set(own.values()) & set(here.values())
    s = proc.status(pid)
    assert s["NSpid"].split()[-1] == "1"
    assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1")
    assert int(s["CapBnd"], 16) == int(s["CapEff"], 16) == 0
    assert "0" not in s["Uid"].split()
    mount, = proc.mounts(pid)
    assert mount.split()[4] == "/"


@no_test_jail
def test_inspect_finds_all_that_is_claimed(connected):
    shown = command("inspect", "--json", connected.name)
    assert shown.returncode == Status.OK, shown.stderr
    tree = json.loads(shown.stdout)
    assert tree["alone"] is True
    device, = tree["devices"]
    assert device["pid"] == connected.pid() and device["pid_inside"] == 1
    assert len(device["layers"]) > 20 and not [x for x in device["layers"] if x["verdict"] == "contradicted"]
    assert connected.name in command("inspect", connected.name).stdout.decode()


def test_its_socket_is_the_owners_alone(alone, image, tmp_path):
    device = alone("blk", "--disk", image)
    found = device.path.stat()
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    second = Alone("rng", device.path)
    assert second.end() == Status.USAGE
    assert b"something is there" in second.said()
    assert device.path.stat().st_ino == found.st_ino
    file = tmp_path / "file"
    file.write_text("kept")
    assert Alone("rng", file).end() == Status.USAGE
    assert file.read_text() == "kept"


def test_a_socket_that_was_left_is_replaced(alone, tmp_path):
    path = tmp_path / "device.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert b"waits for front ends" in alone("rng").said()


def test_a_disk_has_one_user(alone, image, tmp_path):
    device = alone("blk", "--disk", image)
    second = Alone("blk", tmp_path / "second.sock", "--disk", image)
    assert second.end() == Status.IMAGE
    assert f'in use by guest "{device.name}"'.encode() in second.said()


def test_resize_and_kill_know_it(alone, image):
    device = alone("blk", "--disk", image)
    assert command("resize", device.name, "disk0", "8M").returncode == Status.FAILURE  # nobody serves it
    with socket.socket(socket.AF_UNIX) as front:
        front.connect(str(device.path))
        wait_until(device.pid, 10, device.said)
        assert command("resize", device.name, "disk0", "8M").returncode in (Status.OK, Status.FAILURE)
    assert image.stat().st_size == 8 * MIB
    assert command("kill", device.name).returncode == Status.OK


@pytest.mark.parametrize("arguments", [["blk", "--socket", "s"], ["rng"], ["net", "--socket", "s"], [],
                                       ["rng", "--socket", "s", "--disk", "x"], ["rng", "--socket", "s", "more"],
                                       ["rng", "--socket", "s", "--kernel", "x"], ["rng", "--socket"]])
def test_wrong_arguments(arguments):
    found = command("device", *arguments)
    assert found.returncode == Status.USAGE
    assert b"see bulkhead device --help" in found.stderr


def test_help():
    found = command("device", "--help")
    assert found.returncode == Status.OK and b"--socket PATH" in found.stdout


@pytest.fixture(params=[16 * IDS_PER_GUEST, 0], ids=["own ids", "one id"])
def account(request, host):
    user = Account(request.param)
    yield user
    user.close()


def test_an_ordinary_user_serves_one_too(account):
    image = account.home / "disk"
    image.write_bytes(os.urandom(MIB))
    os.chown(image, account.uid, account.gid)
    device = Alone("blk", account.runtime_dir / "device.sock", "--disk", image, account=account)
    assert (device.path.stat().st_uid, stat.S_IMODE(device.path.stat().st_mode)) == (account.uid, 0o600)
    with socket.socket(socket.AF_UNIX) as front:
        front.connect(str(device.path))
        wait_until(device.pid, 10, device.said)
        uid = int(proc.status(device.pid())["Uid"].split()[0])
        assert uid != account.uid if account.subordinate else uid == account.uid
        assert account.bulkhead("inspect", device.name).returncode in (Status.OK, *[Status.ISOLATION] * SANITIZED)
    wait_until(lambda: b"is left by its front end" in device.said(), 10, device.said)
    assert device.end() == Status.SIGNAL + signal.SIGTERM
    assert not device.path.exists()


# --- devices of others for our guests

class Storage:
    """qemu-storage-daemon with one image."""

    def __init__(self, path, kind):
        self.socket = path.parent / "storage.sock"
        self._arguments = [
            STORAGE, "--blockdev", f"driver=file,node-name=f,filename={path}", "--blockdev",
            f"driver={kind},node-name=d,file=f,discard=unmap", "--export",
            f"vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={self.socket},writable=on"]
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self._popen = subprocess.Popen(self._arguments, stdin=subprocess.DEVNULL)
        wait_until(self._listens, 10, "qemu-storage-daemon listens")

    def _listens(self):
        return str(self.socket) in Path("/proc/net/unix").read_text()

    @property
    def pid(self):
        return self._popen.pid

    def end(self, how=signal.SIGTERM):
        self._popen.send_signal(how)
        self._popen.wait(seconds(10))


@pytest.fixture
def storage(tmp_path):
    started = []

    def start(kind):
        path = tmp_path / f"image.{kind}"
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, path, "4M"], check=True)
        started.append(Storage(path, kind))
        return started[-1]
    yield start
    for daemon in started:
        daemon.end()


def run_outside(guests, guest, path, cmdline, *options):
    return guests.run(guest, "--test-device", "--device", f"vhost-user,type=blk,socket={path},id=other", *options,
                      timeout=60, cmdline=cmdline)


def shown(guest):
    return json.loads(command("inspect", "--json", guest.name).stdout)["devices"]


@needs_kvm
@needs_storage
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_qemus_back_end_keeps_what_our_guest_writes(guests, storage, kind):
    daemon = storage(kind)
    first = run_outside(guests, "blk", daemon.socket, "seed=5")
    assert first.status_now() == Status.OK, first.output
    for what in ("write", "flush", "read", "write-zeroes", "discard"):
        assert f"blk: {what} ok".encode() in first.output
    assert run_outside(guests, "blk", daemon.socket, "seed=5 verify").status_now() == Status.OK
    assert run_outside(guests, "blk", daemon.socket, "seed=6 verify").status_now() == Status.VERDICT + 1


@needs_kvm
def test_our_back_end_serves_our_guest_from_outside(guests, alone, image):
    device = alone("blk", "--disk", image)
    assert run_outside(guests, "blk", device.path, "seed=5").status_now() == Status.OK


@needs_kvm
def test_entropy_from_outside(guests, alone):
    guest = guests.run("rng", "--test-device", "--device", f"vhost-user,type=rng,socket={alone('rng').path}", timeout=60,
                       cmdline="bytes=256 rounds=4")
    assert guest.status_now() == Status.OK and guest.output.count(b"rng: 256 bytes ") == 4


@needs_kvm
@needs_storage
def test_what_is_outside_is_shown(guests, storage):
    daemon = storage("raw")
    guest = guests.start("hlt", "--device", f"vhost-user,type=blk,socket={daemon.socket},id=other")
    guest.wait_output(rb"halted\n")
    told = f"device other is outside of the jail and maps all guest RAM: pid {daemon.pid}, uid 0"
    guest.wait_errors(told.encode(), timeout=5)
    device, = shown(guest)
    assert (device["outside"], device["degraded"], device["peer_pid"], device["peer_uid"]) == (True, True, daemon.pid, 0)
    text = command("inspect", guest.name).stdout.decode()
    assert "DEGRADED" in text and f"{daemon.socket}, made by pid {daemon.pid} of uid 0" in text
    row, = (r for r in json.loads(command("ps", "--json").stdout)["guests"] if r["name"] == guest.name)
    assert row["devices_outside"] == 1


@needs_kvm
def test_with_all_layers_required_it_is_refused(guests, alone, image):
    device = alone("blk", "--disk", image)
    guest = run_outside(guests, "blk", device.path, "seed=5", "--require-all-layers")
    assert guest.status_now() == Status.ISOLATION
    assert b"outside of the jail" in guest.errors
    assert b"has a front end" not in device.said()


@needs_kvm
def test_a_back_end_that_is_not_there(guests, tmp_path):
    guest = run_outside(guests, "blk", tmp_path / "none.sock", "seed=5")
    assert guest.status_now() == Status.FAILURE
    assert b"none.sock" in guest.errors and b"start it before the guest" in guest.errors


@needs_kvm
def test_one_that_keeps_account_dies_unnoticed(guests, alone, image):
    device = alone("blk", "--disk", f"{image},iops=400")
    guest = guests.start("blk", "--test-device", "--device", f"vhost-user,type=blk,socket={device.path},id=other",
                         cmdline="seed=3 sectors=4096")
    pid = wait_until(device.pid, 10, device.said)
    start = image.read_bytes()
    wait_until(lambda: image.read_bytes() != start, 20, device.said)
    os.kill(pid, signal.SIGKILL)
    guest.wait(timeout=60)
    assert guest.status_now() == Status.OK
    assert b"device other was lost" in guest.errors and b"is there again" in guest.errors


@needs_kvm
@needs_storage
def test_one_that_is_idle_can_be_started_again(guests, storage):
    daemon = storage("raw")
    guest = guests.start("hlt", "--device", f"vhost-user,type=blk,socket={daemon.socket},id=other")
    guest.wait_output(rb"halted\n")
    daemon.end(signal.SIGKILL)
    daemon.start()
    guest.wait_errors(rb"device other was lost .* is there again", timeout=20)
    wait_until(lambda: [(d["restarts"], d["peer_pid"], d["given_up"]) for d in shown(guest)] == [(1, daemon.pid, False)],
               5, lambda: shown(guest))


@needs_kvm
def test_a_reset_connects_again(guests, alone, image):
    device = alone("blk", "--disk", image)
    guest = guests.start("power", "--device", f"vhost-user,type=blk,socket={device.path},id=other", cmdline="reset")
    wait_until(lambda: device.said().count(b"has a front end") >= 3, 20, device.said)
