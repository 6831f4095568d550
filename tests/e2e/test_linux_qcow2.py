"""Linux guests with disks in format qcow2: Debian boots from one, and data are what was written.

Needs a KVM that runs unmodified kernels: tests/run runs this file in the lab.
"""
import os
import signal
import subprocess
import time

import pytest

from disk_guest import ROOTFS, Disk, debian_shell, fio_verify
from linux_guest import PATIENCE_S, needs_hardware, needs_root

pytestmark = [pytest.mark.lab, pytest.mark.slow, needs_root, needs_hardware, pytest.mark.usefixtures("rootfs")]

MIB = 1 << 20
DATA_BYTES = 16 * MIB
SUMS = "for i in $(seq 0 15); do dd if={} bs=1M skip=$i count=1 {} 2>/dev/null | md5sum | head -c 32; echo; done"


def qemu_img(*words):
    subprocess.run(["qemu-img", *words], check=True)


def process_of(guest, disk_id, other_than=None):
    deadline = time.monotonic() + PATIENCE_S
    while (pid := guest.disk_process(disk_id)) in (None, other_than):
        assert time.monotonic() < deadline, "no process for the disk"
        time.sleep(0.1)
    return pid


def test_debian_boots_and_keeps_its_data(scratch):
    root, data = scratch.path / "root.qcow2", scratch.path / "data.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", ROOTFS / "image", root)
    qemu_img("create", "-q", "-f", "qcow2", data, str(DATA_BYTES))
    disks = [Disk(root, "root", read_only=True, format="qcow2"), Disk(data, "data", queues=2, format="qcow2")]
    with debian_shell(*disks) as guest:
        print(f"user space after {guest.boot_s:.1f} s")
        assert "Debian" in guest.shell("grep PRETTY /etc/os-release")
        assert guest.shell("cat /sys/block/vd?/size").split() == \
            [str(size // 512) for size in ((ROOTFS / "image").stat().st_size, DATA_BYTES)]
        guest.shell(fio_verify(1), 3 * PATIENCE_S)
        # It dies while there is nothing to do; the next one goes on.
        first = process_of(guest, "data")
        os.kill(first, signal.SIGKILL)
        assert process_of(guest, "data", other_than=first) != first
        guest.shell(fio_verify(2), 3 * PATIENCE_S)
        guest.shell("blkdiscard -o 8M -l 1M /dev/vdb")
        guest.shell("head -c 1M /dev/urandom >/tmp/x; dd if=/tmp/x of=/dev/vdb bs=1M seek=10 oflag=direct conv=fsync 2>/dev/null")
        assert guest.shell("dmesg | grep -E 'I/O error|blk_update' || true") == ""
        assert guest.shell("cat /sys/block/vdb/queue/write_cache").strip() == "write back"
        sums = guest.shell(SUMS.format("/dev/vdb", "iflag=direct")).split()
        # No flush and no orderly end: what the guest was told is written is there.
        os.kill(process_of(guest, "data"), signal.SIGKILL)
        os.kill(guest.vmm(), signal.SIGKILL)
        assert guest.wait() == 9
    for image in root, data:
        assert subprocess.run(["qemu-img", "check", "-q", image], check=False).returncode in (0, 3)  # 3: leaked clusters
    qemu_img("convert", "-f", "qcow2", "-O", "raw", data, scratch.path / "data")
    found = subprocess.run(SUMS.format(scratch.path / "data", ""), shell=True, check=True, stdout=subprocess.PIPE, text=True)
    assert sums == found.stdout.split()
