"""Linux guests with disks: the Debian of tools/rootfs, its kernel and its own initramfs.

BULKHEAD_DISK_VMM=qemu runs them under QEMU with its own devices instead: that shows what a test says of disks that are
nobody's new code. Tests of what only bulkhead has stay away then.
"""
import ctypes
import ctypes.util
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import linux_guest
from linux_guest import BUILD, KERNELS, PATIENCE_S, TOOLS, Guest, children

ROOTFS = BUILD / "rootfs"  # of tools/rootfs: image, initrd
QEMU = os.environ.get("BULKHEAD_DISK_VMM") == "qemu"


def make_rootfs():
    subprocess.run([TOOLS / "rootfs"], check=True)


def fio_verify(seed):
    """A command that writes /dev/vdb in random sizes, with flushes, and finds it again."""
    return "fio --output=/tmp/fio --direct=1 --ioengine=libaio --verify=crc32c --verify_fatal=1 --rw=randwrite --size=4m " \
           f"--name=a --filename=/dev/vdb --bsrange=512-64k --iodepth=16 --fsync=16 --randseed={seed} || " \
           "{ cat /tmp/fio; false; }"


@dataclass
class Disk:
    """One --disk. The guest finds it as /dev/disk/by-id/virtio-ID where udev runs."""
    path: Path
    id: str
    read_only: bool = False
    direct: bool = False
    engine: str = ""
    queues: int = 0
    no_flush: bool = False  # of QEMU's: flushes do nothing
    format: str = "raw"     # of bulkhead's

    def option(self):
        words = [f"{self.format}:{self.path}", f"id={self.id}"]
        words += ["ro"] * self.read_only + ["direct"] * self.direct
        words += [f"engine={self.engine}"] * bool(self.engine) + [f"queues={self.queues}"] * bool(self.queues)
        return ["--disk", ",".join(words)]

    def qemu(self, number):
        block = {"driver": "host_device" if Path(self.path).is_block_device() else "file", "filename": str(self.path),
                 "cache": {"direct": self.direct, "no-flush": self.no_flush}, "discard": "unmap", "aio": "threads"}
        node = {"driver": "raw", "node-name": f"node{number}", "read-only": self.read_only, "discard": "unmap",
                "cache": {"direct": self.direct, "no-flush": self.no_flush},
                "file": {**block, "read-only": self.read_only}}
        return ["-blockdev", json.dumps(node),
                "-device", f"virtio-blk-pci,drive=node{number},serial={self.id},id={self.id},werror=report,rerror=report"]


class DiskGuest(Guest):
    """A `bulkhead run` with disks."""

    def __init__(self, *disks, kernel=KERNELS / "vmlinuz", initrd=ROOTFS / "initrd", cmdline="", cpus=1, memory="256M",
                 options=(), prefix=(), program=BUILD / "bulkhead"):
        self.disks = disks
        words = [word for disk in disks for word in disk.option()]
        super().__init__(kernel, "--initrd", initrd, *words, *options, cmdline=cmdline, cpus=cpus, memory=memory,
                         prefix=prefix, program=program)

    def device(self, disk_id):
        """Its name in the guest, as long as disks are found in their order."""
        return "/dev/vd" + "abcdefghijkl"[[disk.id for disk in self.disks].index(disk_id)]

    def resize(self, disk_id, size_bytes):
        subprocess.run([BUILD / "bulkhead", "resize", self.name, disk_id, str(size_bytes)], check=True,
                       stdin=subprocess.DEVNULL)

    def disk_process(self, disk_id):
        """Pid of the process that holds the disk, or None while there is none."""
        path = str(next(disk.path for disk in self.disks if disk.id == disk_id))
        for pid in children(self.process.pid):
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith((b"bulkhead-blk\0", b"qemu-storage-daemon\0")) and \
                        any(os.readlink(fd) == path for fd in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                pass
        return None


class QemuGuest(DiskGuest):
    """The same machine, made by QEMU."""

    def __init__(self, *disks, kernel=KERNELS / "vmlinuz", initrd=ROOTFS / "initrd", cmdline="", cpus=1, memory="256M",
                 options=(), prefix=(), devices=(), pass_fds=()):
        assert not options
        self.disks = disks
        self.name = f"qemu-{os.getpid()}-{next(self.numbers)}"
        self.qmp = Path(f"/tmp/{self.name}.qmp")
        words = [*prefix, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                 "-machine", "q35,memory-backend=memory", "-accel", "kvm", "-cpu", "host", "-smp", str(cpus), "-m", memory,
                 "-object", f"memory-backend-memfd,id=memory,size={memory},share=on", "-serial", "stdio",
                 "-qmp", f"unix:{self.qmp},server=on,wait=off", "-kernel", kernel, "-initrd", initrd, "-append", cmdline]
        words += [word for number, disk in enumerate(disks) for word in disk.qemu(number)]
        self.start([*words, *devices], pass_fds=pass_fds)

    def command(self, name, **arguments):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.qmp))
            stream = connection.makefile("rw")
            stream.readline()
            for words in {"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}:
                stream.write(json.dumps(words) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
                assert "return" in answer, answer

    def resize(self, disk_id, size_bytes):
        number = [disk.id for disk in self.disks].index(disk_id)
        os.truncate(self.disks[number].path, size_bytes)
        self.command("block_resize", **{"node-name": f"node{number}", "size": size_bytes})

    def vmm(self):
        return self.process.pid

    def errors(self):
        return self.err.rest()


def with_disks(*disks, **arguments):
    return (QemuGuest if QEMU else DiskGuest)(*disks, **arguments)


def debian(root, *disks, extra="quiet", **arguments):
    """Boots Debian from the disk root with all it starts, as root logged in; boot_s says how long that took.

    The lab's processor has AVX but no XSAVE, which breaks a module that udev loads.
    """
    guest = with_disks(root, *disks, cmdline=f"console=ttyS0 panic=-1 root=/dev/vda modprobe.blacklist=aesni_intel {extra}",
                       **arguments)
    _up(guest, r"root@debian:~# ", "exec env PS1='<s''h> ' sh\n")
    guest.expect("<sh> ")  # bash edits lines by itself; from here on the terminal echoes them
    return guest


def debian_shell(root, *disks, extra="quiet", **arguments):
    """Boots the same into its console-shell, which is quicker; root is mounted read-only."""
    guest = with_disks(root, *disks, cmdline=f"console=ttyS0 panic=-1 root=/dev/vda ro fsck.mode=skip init=/sbin/console-shell {extra}",
                       **arguments)
    return _up(guest, "guest is up\n")


def _up(guest, sign, then=""):
    try:
        guest.expect(sign, 3 * PATIENCE_S)
        guest.boot_s = time.monotonic() - guest.begun
        guest.send(then)
    except BaseException:
        guest.__exit__()
        raise
    return guest


# --- where images lie

libc = ctypes.CDLL(None, use_errno=True)


class Scratch:
    """A file system in memory of a given size, mounted."""

    def __init__(self, directory, size):
        self.path = Path(directory)
        self.path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", self.path], check=True)

    def image(self, name, size_bytes):
        path = self.path / name
        with open(path, "wb") as file:
            file.truncate(size_bytes)
        return path

    def close(self):
        subprocess.run(["umount", self.path], check=True)
        self.path.rmdir()


class Loop:
    """A loop device over a file."""

    def __init__(self, path):
        subprocess.run(["modprobe", "loop"], check=True)
        self.device = Path(subprocess.run(["losetup", "--find", "--show", path], check=True, text=True,
                                          stdout=subprocess.PIPE).stdout.strip())

    def close(self):
        subprocess.run(["losetup", "--detach", self.device], check=True)


class Breakable:
    """/dev/mapper/NAME on a block device, a part of which can break under whoever has it open."""

    def __init__(self, name, below):
        subprocess.run(["modprobe", "dm_mod"], check=True)
        self.name, self.below = name, below
        self.sectors = int(subprocess.run(["blockdev", "--getsz", below], check=True, stdout=subprocess.PIPE).stdout)
        self._dmsetup("create", "--noudevsync", name, table=self._linear(0, self.sectors))
        self._dmsetup("mknodes", name)  # no udev here
        self.device = Path("/dev/mapper", name).resolve()

    def _linear(self, start, end):
        return f"{start} {end - start} linear {self.below} {start}\n"

    def _dmsetup(self, *words, table=None):
        subprocess.run(["dmsetup", *words], check=True, input=table, text=True,
                       stdin=None if table else subprocess.DEVNULL)

    def break_between(self, start, end):
        """Bytes, whole sectors: EIO from now on."""
        start, end = start // 512, end // 512
        self._dmsetup("reload", self.name, table=self._linear(0, start) + f"{start} {end - start} error\n" +
                      self._linear(end, self.sectors))
        self._dmsetup("resume", "--noudevsync", self.name)

    def mend(self):
        self._dmsetup("reload", self.name, table=self._linear(0, self.sectors))
        self._dmsetup("resume", "--noudevsync", self.name)

    def close(self):
        self._dmsetup("remove", "--noudevsync", "--retry", self.name)


# --- small guests: busybox and the load that calls fsync

LOAD = BUILD / "tests/e2e/fsync_load"


def load_initrd():
    return linux_guest.initrd(linux_guest.MODULES + " virtio_pci virtio_blk", ((str(LOAD), "/fsync_load"),))


def loader(disk, **arguments):
    """Boots into a shell with /fsync_load; the disk is /dev/vda."""
    return _up(with_disks(disk, initrd=load_initrd(), cmdline="console=ttyS0 panic=-1 quiet", memory="128M", **arguments),
               "guest is up\n")


BLOCK_BYTES = 4096  # of fsync_load


class Acknowledged:
    """What the load has said to be durable: the generation of each block."""

    def __init__(self):
        self.generations = {}

    def add(self, index, generation):
        self.generations[index] = max(generation, self.generations.get(index, 0))

    def missing(self, data):
        """Those blocks of the file that are older than acknowledged, or not whole."""
        wrong = []
        for index, generation in self.generations.items():
            block = data[index * BLOCK_BYTES:(index + 1) * BLOCK_BYTES]
            found = int.from_bytes(block[8:16], "little")
            pair = index.to_bytes(8, "little") + found.to_bytes(8, "little")
            if found < generation or block != pair * (BLOCK_BYTES // 16):
                wrong.append(f"block {index}: generation {generation} was acknowledged, {found} is there"
                             f"{'' if block == pair * (BLOCK_BYTES // 16) else ', in part'}")
        return wrong


def fsck(image):
    """Recovers the journal of an ext4 image, as a mount would, and then finds nothing wrong with it."""
    recovery = subprocess.run(["e2fsck", "-fy", "-E", "journal_only", image], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
    assert recovery.returncode in (0, 1), recovery.stdout
    result = subprocess.run(["e2fsck", "-fn", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False)
    assert result.returncode == 0, result.stdout


def file_in(image, name, copy):
    """The content of a file of an ext4 image; copy is a path for it."""
    Path(copy).unlink(missing_ok=True)
    result = subprocess.run(["debugfs", "-R", f"dump {name} {copy}", image], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=True)
    assert Path(copy).exists(), result.stdout
    return Path(copy).read_bytes()


# What takes long, or a network, is made before the lab starts.
if __name__ == "__main__":
    linux_guest.fetch_kernel()
    make_rootfs()
    linux_guest.initrd()
    load_initrd()
