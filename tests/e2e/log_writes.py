"""dm-log-writes: a block device that writes down what would be on stable storage after each of its writes and flushes.

The log (drivers/md/dm-log-writes.c): a super block, then entries in the order in which they became durable, each one
sector with its data behind it. A write that has been completed stands before the flush that was sent after that.
"""
import os
import struct
import subprocess
from dataclasses import dataclass

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
MAGIC = 0x6a736677736872
VERSION = 1
SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, bytes of the mark's text behind it


class Device:
    """/dev/mapper/NAME, which writes to `data` and logs to `log`, both block devices."""

    def __init__(self, name, data, log):
        subprocess.run(["modprobe", "-a", "dm_mod", "dm_log_writes"], check=True)
        self.name, self.path = name, f"/dev/mapper/{name}"
        sectors = int(subprocess.run(["blockdev", "--getsz", data], check=True, stdout=subprocess.PIPE).stdout)
        subprocess.run(["dmsetup", "create", "--noudevsync", name, "--table", f"0 {sectors} log-writes {data} {log}"],
                       check=True)
        # No udev here: dmsetup makes the node itself.
        subprocess.run(["dmsetup", "mknodes", name], check=True)

    def mark(self, text):
        subprocess.run(["dmsetup", "message", self.name, "0", "mark", text], check=True)

    def close(self):
        subprocess.run(["dmsetup", "remove", "--noudevsync", "--retry", self.name], check=True)


@dataclass
class Entry:
    start: int  # bytes on the device
    length: int
    flags: int
    mark: str
    data: int  # where its data lie in the log, in bytes


def entries(path):
    """What a log holds, in its order."""
    found = []
    with open(path, "rb") as log:
        magic, version, count, sector_bytes = SUPER.unpack(log.read(SUPER.size))
        assert (magic, version) == (MAGIC, VERSION), "no log of dm-log-writes"
        at = sector_bytes
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, text_bytes = ENTRY.unpack(log.read(ENTRY.size))
            mark = log.read(text_bytes).decode() if flags & MARK else ""
            at += sector_bytes
            found.append(Entry(sector * sector_bytes, sectors * sector_bytes, flags, mark, at))
            if not flags & DISCARD:
                at += sectors * sector_bytes
    return found


class Replay:
    """An image that becomes what the device would have been, entry by entry."""

    def __init__(self, log_path, image_path, size_bytes):
        self.entries = entries(log_path)
        self.log = open(log_path, "rb")
        self.image = open(image_path, "w+b")
        self.image.truncate(size_bytes)
        self.done = 0

    def forward(self, end):
        """Until entry `end`, which is left out."""
        assert end >= self.done
        for entry in self.entries[self.done:end]:
            if entry.flags & DISCARD:  # reads as anything afterwards: as zeroes here
                os.pwrite(self.image.fileno(), bytes(entry.length), entry.start)
            elif entry.length:
                data = os.pread(self.log.fileno(), entry.length, entry.data)
                assert len(data) == entry.length
                os.pwrite(self.image.fileno(), data, entry.start)
        self.done = end

    def close(self):
        self.log.close()
        self.image.close()
