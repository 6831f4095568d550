"""The boundary of a device is a published protocol: QEMU drives our device processes, and bulkhead takes other back ends.

Needs a KVM that runs unmodified kernels: tests/run runs this file in the lab.
"""
import json
import signal
import subprocess
import time

import pytest

from disk_guest import ROOTFS, Disk, DiskGuest, QemuGuest, _up, fio_verify
from linux_guest import BUILD, PATIENCE_S, needs_hardware, needs_root

pytestmark = [pytest.mark.lab, pytest.mark.slow, needs_root, needs_hardware, pytest.mark.usefixtures("rootfs")]

MIB = 1 << 20
DATA_BYTES = 16 * MIB
CMDLINE = "console=ttyS0 panic=-1 root=/dev/vda ro init=/sbin/console-shell quiet"


def check(guest):
    assert "Debian" in guest.shell("grep PRETTY /etc/os-release")
    assert guest.shell("cat /sys/block/vd?/size").split() == \
        [str(size // 512) for size in ((ROOTFS / "image").stat().st_size, DATA_BYTES)]
    guest.shell(fio_verify(1), 3 * PATIENCE_S)
    guest.shell("blkdiscard -o 0 -l 1M /dev/vdb")
    assert guest.shell("dmesg | grep -E 'I/O error|blk_update' || true") == ""


def device(kind, path, *options):
    process = subprocess.Popen([BUILD / "bulkhead", "device", kind, "--socket", path, *options], stdin=subprocess.DEVNULL)
    wait_for(path, process)
    return process


def wait_for(path, process):
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)


@pytest.mark.parametrize("engine", ["io_uring", "sync"])
def test_qemu_boots_debian_from_our_processes(scratch, engine):
    disks = [Disk(ROOTFS / "image", "root", read_only=True, engine=engine),
             Disk(scratch.image("data", DATA_BYTES), "data", engine=engine)]
    sockets = [scratch.path / name for name in ("root.socket", "data.socket", "rng.socket")]
    processes = []
    try:
        for disk, path in zip(disks, sockets):
            processes.append(device("blk", path, *disk.option()))
        processes.append(device("rng", sockets[2]))
        devices = []
        for path, kind in zip(sockets, ["vhost-user-blk-pci,num-queues=1"] * 2 + ["vhost-user-rng-pci"]):
            devices += ["-chardev", f"socket,id={path.stem},path={path}", "-device", f"{kind},chardev={path.stem}"]
        with QemuGuest(cmdline=CMDLINE, devices=devices) as guest:
            _up(guest, "guest is up\n")
            assert guest.shell("for d in /sys/block/vd?/serial; do cat $d; echo; done").split() == ["root", "data"]
            check(guest)
            assert guest.shell("modprobe virtio_rng; head -c 16 /dev/hwrng | wc -c").strip() == "16"
            guest.send("echo o >/proc/sysrq-trigger\n")
            assert guest.wait() == 0
        assert [process.poll() for process in processes] == [None] * 3  # they wait for the next one
    finally:
        for process in processes:
            process.terminate()
    assert [process.wait(PATIENCE_S) for process in processes] == [128 + signal.SIGTERM] * 3


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_another_back_end_serves_our_guest(scratch, format_):
    image, path = scratch.path / "data", scratch.path / "socket"
    subprocess.run(["qemu-img", "create", "-q", "-f", format_, image, str(DATA_BYTES)], check=True)
    words = ["qemu-storage-daemon",
             "--blockdev", json.dumps({"driver": "file", "node-name": "file", "filename": str(image)}),
             "--blockdev", json.dumps({"driver": format_, "node-name": "disk", "file": "file", "discard": "unmap"}),
             "--export", f"vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path={path}"]
    with subprocess.Popen(words) as daemon:
        wait_for(path, daemon)
        try:
            with DiskGuest(Disk(ROOTFS / "image", "root", read_only=True), cmdline=CMDLINE,
                           options=["--device", f"vhost-user,type=blk,socket={path}"]) as guest:
                _up(guest, "guest is up\n")
                check(guest)
                guest.send("echo o >/proc/sysrq-trigger\n")
                assert guest.wait() == 0
        finally:
            daemon.terminate()
    subprocess.run(["qemu-img", "check", "-q", image] if format_ == "qcow2" else ["true"], check=True)
