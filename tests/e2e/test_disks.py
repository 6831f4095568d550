"""Disks of Linux guests: Debian boots from one, data are what was written, and what fails on the host fails in the guest
only.

Needs a KVM that runs unmodified kernels: tests/run runs this file in the lab.
"""
import os
import random
import re
import signal
import subprocess
import time

import pytest

from disk_guest import (QEMU, ROOTFS, Acknowledged, Breakable, Disk, Loop, Scratch, debian, debian_shell, file_in, fsck, loader,
                        with_disks)
from linux_guest import PATIENCE_S, SLOW, needs_hardware, needs_root

pytestmark = [pytest.mark.lab, needs_root, needs_hardware, pytest.mark.usefixtures("rootfs")]

only_bulkhead = pytest.mark.skipif(QEMU, reason="about what bulkhead has and QEMU has not")

MIB = 1 << 20
DATA_BYTES = 16 * MIB


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    here = Scratch(tmp_path_factory.mktemp("disks") / "images", "2G")
    yield here
    here.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file system that is soon full."""
    here = Scratch(tmp_path_factory.mktemp("disks") / "small", "3M")
    yield here
    here.close()


@pytest.fixture(scope="module")
def loops(scratch):
    found = [Loop(scratch.image(name, DATA_BYTES)) for name in ("behind-uring", "behind-sync")]
    yield found
    for loop in found:
        loop.close()


def root_disk(path=ROOTFS / "image", read_only=True):
    return Disk(path, "root", read_only=read_only)


# For each kind of disk, both ways to do the work.
KINDS = ["file-uring", "file-sync", "block-uring", "block-sync"]


@pytest.fixture(scope="module")
def machine(scratch, small, loops):
    """Debian's kernel, initramfs and programs, from a disk; only a shell runs. Many tests look at it."""
    disks = [Disk(scratch.image("file-uring", DATA_BYTES), "file-uring", engine="io_uring", queues=2),
             Disk(scratch.image("file-sync", DATA_BYTES), "file-sync", engine="sync"),
             Disk(loops[0].device, "block-uring", engine="io_uring"), Disk(loops[1].device, "block-sync", engine="sync"),
             Disk(small.image("full", DATA_BYTES), "full"), Disk(scratch.image("shrunk", DATA_BYTES), "shrunk")]
    with debian_shell(root_disk(), *disks) as guest:
        print(f"user space after {guest.boot_s:.1f} s")
        guest.shell("for c in x y; do dd if=/dev/zero bs=1M count=1 2>/dev/null | tr '\\0' $c >/tmp/$c; done")
        guest.shell("fill() { for n in $(seq $1); do cat /tmp/x; done; }")
        yield guest
        guest.send("echo o >/proc/sysrq-trigger\n")
        assert guest.wait() == 0


# --- what the guest sees

def test_debian_boots_from_a_disk(machine):
    assert "Debian" in machine.shell("grep PRETTY /etc/os-release")
    assert machine.shell("findmnt -no SOURCE,FSTYPE /").split() == ["/dev/vda", "ext4"]
    assert machine.shell("for d in /sys/block/vd*/serial; do cat $d; echo; done").split() == ["root", *KINDS, "full", "shrunk"]


def test_disks_are_as_asked_for(machine):
    sizes = machine.shell("cat /sys/block/vd*/size").split()
    assert [int(size) * 512 for size in sizes] == [(ROOTFS / "image").stat().st_size, *[DATA_BYTES] * 6]
    assert machine.shell("cat /sys/block/vd*/ro").split() == ["1", *["0"] * 6]
    assert machine.shell("cat /sys/block/vd*/queue/write_cache") == "write back\n" * 7


def test_a_read_only_disk_is_never_written(machine):
    before = (ROOTFS / "image").stat()
    machine.shell("! dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct 2>/dev/null")
    after = (ROOTFS / "image").stat()
    assert (before.st_mtime_ns, before.st_blocks) == (after.st_mtime_ns, after.st_blocks)


# --- data

def fio(devices, size_kib, jobs=1, seed=1, more=""):
    """A fio command that writes and verifies each of the devices at the same time, in random sizes and depths."""
    pick = random.Random(seed)
    words = "fio --output=/tmp/fio --direct=1 --ioengine=libaio --verify=crc32c --verify_fatal=1 --rw=randwrite " \
            f"--thread --size={size_kib}k --numjobs={jobs} --offset_increment={size_kib}k {more}"
    for device in devices:
        low = pick.choice(["512", "1k", "4k"])
        words += f" --name={device} --filename=/dev/{device} --bsrange={low}-{pick.choice(['16k', '64k', '256k'])} " \
                 f"--iodepth={pick.choice([1, 4, 16, 32])} --randseed={pick.randrange(1 << 30)}"
    return f"{words} || {{ cat /tmp/fio; false; }}"


DEVICES = ["vdb", "vdc", "vdd", "vde"]


def complaints(machine):
    return machine.shell("dmesg -c | grep -E 'I/O error|blk_update|reset|BUG|WARNING|hung' || true")


@pytest.mark.slow  # a round of what follows does the same, in a few sizes
@pytest.mark.parametrize("seed", range(1, 11))
def test_data_are_what_was_written_in_many_sizes_and_depths(machine, seed):
    complaints(machine)
    machine.shell(fio(DEVICES, 4096, jobs=random.Random(seed).choice([1, 2, 4]), seed=seed, more=f"--fsync={seed * 5}"),
                  4 * PATIENCE_S)
    assert complaints(machine) == ""


@pytest.mark.parametrize("kind, behind", [(kind, kind.replace("block", "behind")) for kind in KINDS])
def test_discard_punches_holes(machine, scratch, kind, behind):
    device, image = machine.device(kind), scratch.path / behind
    machine.shell(f"fill 4 | dd of={device} bs=1M iflag=fullblock oflag=direct 2>/dev/null")
    machine.shell(f"blkdiscard -o 1M -l 2M {device}")
    os.sync()
    blocks = image.stat().st_blocks * 512
    data = image.read_bytes()[:4 * MIB]
    assert data == b"x" * MIB + bytes(2 * MIB) + b"x" * MIB
    machine.shell(f"dd if=/tmp/y of={device} bs=1M seek=1 oflag=direct 2>/dev/null")
    machine.shell(f"blkdiscard -z -o 1M -l 1M {device}")
    os.sync()
    assert image.read_bytes()[MIB:2 * MIB] == bytes(MIB)
    machine.shell(f"blkdiscard -o 0 -l 4M {device}")
    os.sync()
    assert image.stat().st_blocks * 512 <= blocks - 2 * MIB


# --- what happens on the host

def test_a_resize_is_seen(machine):
    machine.resize("file-uring", 2 * DATA_BYTES)
    machine.shell("for i in 1 2 3 4 5 6 7 8 9; do [ $(cat /sys/block/vdb/size) != "
                  f"{DATA_BYTES // 512} ] || sleep 1; done")
    assert machine.shell("cat /sys/block/vdb/size").strip() == str(2 * DATA_BYTES // 512)
    machine.shell(f"dd if=/dev/zero of=/dev/vdb bs=1M seek={DATA_BYTES // MIB + 3} count=1 oflag=direct 2>/dev/null")


@pytest.mark.slow
def test_a_full_file_system_is_an_error_in_the_guest(machine, small):
    device, image = machine.device("full"), small.path / "full"
    machine.shell(f"dd if=/tmp/x of={device} bs=1M oflag=direct 2>/dev/null")
    machine.shell(f"! dd if=/dev/zero of={device} bs=1M seek=2 count=8 oflag=direct 2>/dev/null")
    assert image.read_bytes()[:MIB] == b"x" * MIB
    machine.shell(f"blkdiscard -o 2M -l 8M {device}")  # room again
    machine.shell(f"dd if=/tmp/y of={device} bs=1M seek=2 oflag=direct 2>/dev/null")
    assert image.read_bytes()[2 * MIB:3 * MIB] == b"y" * MIB


@pytest.mark.slow
def test_an_image_cut_short_is_errors_in_the_guest(machine):
    device, image = machine.device("shrunk"), machine.disks[-1].path
    machine.shell(f"fill 8 | dd of={device} bs=1M iflag=fullblock oflag=direct 2>/dev/null")
    os.truncate(image, MIB)
    machine.shell(f"dd if={device} of=/dev/null bs=1M count=1 iflag=direct 2>/dev/null")
    machine.shell(f"! dd if={device} of=/dev/null bs=1M skip=4 count=1 iflag=direct 2>/dev/null")
    image.unlink()  # and one that has disappeared is still there for who holds it
    machine.shell(f"dd if={device} of=/dev/null bs=1M count=1 iflag=direct 2>/dev/null")
    complaints(machine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["io_uring", "sync"])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_a_disk_that_breaks_is_errors_in_its_guest(machine, scratch, engine, direct):
    name = f"broken-{engine}-{direct}"
    loop = Loop(scratch.image(name, DATA_BYTES))
    broken = Breakable(name, loop.device)
    complaints(machine)
    try:
        with loader(Disk(broken.device, "disk", engine=engine, direct=direct)) as guest:
            copy = "dd if=/tmp/x of=/dev/vda bs=64k count=1 oflag=direct conv=fsync 2>/dev/null seek="
            guest.shell("tr '\\0' x </dev/zero | head -c 64k >/tmp/x")
            assert "0" == guest.shell(f"{copy}16; {copy}48; {copy}80; echo $?").strip()
            broken.break_between(2 * MIB, 4 * MIB)
            assert "0" == guest.shell(f"{copy}17; echo $?").strip()
            assert "0" != guest.shell(f"{copy}49; echo $?").strip()
            assert "0" == guest.shell(f"{copy}81; echo $?").strip()
            read = "dd if=/dev/vda of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null skip="
            assert "0" == guest.shell(f"{read}16; echo $?").strip()
            assert "0" != guest.shell(f"{read}50; echo $?").strip()
            machine.shell(fio(DEVICES, 256))  # the neighbour has none of that
            broken.mend()
            assert "0" == guest.shell(f"{copy}50; {read}50; echo $?").strip()
            guest.send("poweroff -f\n")
            assert guest.wait() == 0
            assert guest.errors() == "", "no process died of it"
        data = (scratch.path / name).read_bytes()
        for part, written in (16, True), (17, True), (18, False), (50, True), (80, True), (81, True):
            assert data[part << 16:(part + 1) << 16] == (b"x" if written else b"\0") * 65536, part
        assert complaints(machine) == ""
    finally:
        broken.close()
        loop.close()


@only_bulkhead
def test_two_guests_do_not_share_an_image(machine):
    taken = next(disk for disk in machine.disks if disk.id == "file-sync")
    with with_disks(taken) as second:
        assert second.wait() != 0
        errors = second.errors()
        assert machine.name in errors and str(taken.path) in errors
    with with_disks(Disk(taken.path, "disk", read_only=True)) as reader:
        assert reader.wait() != 0


@only_bulkhead
def test_qemu_and_guests_respect_each_others_locks(machine, scratch):
    taken = next(disk for disk in machine.disks if disk.id == "file-sync")

    def qemu(path):
        return subprocess.Popen(["qemu-storage-daemon", "--blockdev", f"file,node-name=disk,filename={path}", "--export",
                                 f"vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path={path}.sock,writable=on"],
                                stderr=subprocess.PIPE, text=True)
    with qemu(taken.path) as process:
        assert 'Failed to get "write" lock' in process.stderr.read()
    path = scratch.image("theirs", MIB)
    with qemu(path) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not os.path.exists(f"{path}.sock"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        try:
            with with_disks(Disk(path, "disk")) as guest:
                assert guest.wait() != 0
                assert str(path) in guest.errors()
        finally:
            process.terminate()


# --- processes that die

def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def kill_disk_processes(machine, kinds, times, pick):
    """Kills the processes of disks in turn, each as soon as there is another one, some time after it has begun."""
    last = {}
    for number in range(times):
        kind = kinds[number % len(kinds)]
        wait_for(lambda: machine.disk_process(kind) not in (None, last.get(kind)), f"disk {kind} has no new process")
        pid = machine.disk_process(kind)
        time.sleep(pick.random() * 0.02 * SLOW)
        os.kill(pid, signal.SIGKILL)
        last[kind] = pid
    for kind, pid in last.items():
        wait_for(lambda: machine.disk_process(kind) not in (None, pid), f"disk {kind} has no new process")


DEATH = re.compile(r"died \(signal 9\) and was started again")


def verify_while_killing(machine, times, seed, size_kib):
    pick = random.Random(seed)
    complaints(machine)
    before = len(DEATH.findall(machine.err.text))
    machine.shell("rm -f /tmp/stop; : >/tmp/bad")
    command = fio(DEVICES, size_kib, seed=seed, more="--fsync=8 --randrepeat=0")
    machine.send(f"(while [ ! -e /tmp/stop ]; do {command} >>/tmp/bad && echo round; done; echo over) &\n")
    machine.expect(r"\nround\n", 2 * PATIENCE_S)
    kill_disk_processes(machine, KINDS, times, pick)
    wait_for(lambda: len(DEATH.findall(machine.err.text)) - before >= times, "a death was not told of")
    machine.out.seen = len(machine.out.text)
    machine.expect(r"\nround\n", 2 * PATIENCE_S)
    machine.send("touch /tmp/stop\n")
    machine.expect(r"\nover\n", 2 * PATIENCE_S)
    assert machine.shell("cat /tmp/bad") == ""
    assert complaints(machine) == ""
    assert len(DEATH.findall(machine.err.text)) - before == times


@only_bulkhead
def test_the_guest_does_not_notice_that_disk_processes_die(machine):
    verify_while_killing(machine, 10, seed=1, size_kib=256)


@only_bulkhead
@pytest.mark.slow
def test_the_guest_does_not_notice_a_hundred_deaths(machine):
    verify_while_killing(machine, 100, seed=2, size_kib=1024)


@pytest.mark.slow
def test_killed_guests_leave_a_file_system_that_recovers(scratch):
    """What fsync has acknowledged is there, too: the host's kernel lives on."""
    pick = random.Random(3)
    image = scratch.image("killed", 24 * MIB)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-J", "size=4", image], check=True)
    for _ in range(20):
        acknowledged = Acknowledged()
        with loader(Disk(image, "disk")) as guest:
            guest.shell("mkdir /d; mount /dev/vda /d")
            guest.send("/fsync_load /d 48 0\n")
            end = time.monotonic() + 0.1 * SLOW * (1 + pick.random())
            while time.monotonic() < end or not acknowledged.generations:
                _, match = guest.expect(r"\nack (\d+) (\d+)(?=\n)")
                acknowledged.add(int(match[1]), int(match[2]))
            os.kill(guest.vmm(), signal.SIGKILL)
            guest.process.wait(PATIENCE_S)
        fsck(image)
        assert acknowledged.missing(file_in(image, "blocks", scratch.path / "blocks")) == []


# --- all of Debian

@pytest.mark.slow
def test_all_of_debian_boots_and_switches_off(scratch):
    image = scratch.path / "debian"
    subprocess.run(["cp", "--sparse=always", ROOTFS / "image", image], check=True)
    with debian(root_disk(image, read_only=False)) as guest:
        print(f"a login after {guest.boot_s:.1f} s")
        assert guest.shell("systemctl --failed --plain --no-legend").strip() == ""
        guest.shell("echo kept >/var/kept")
        guest.send("systemctl poweroff\n")
        assert guest.wait(3 * PATIENCE_S) == 0
    fsck(image)
    assert file_in(image, "/var/kept", scratch.path / "kept") == b"kept\n"
