"""What a guest's fsync has acknowledged is on stable storage.

The guest's disk is a device that logs what became durable (log_writes.py). What fsync has acknowledged in the guest comes
out by the console and is put into the log as a mark. Each prefix of the log that ends with a flush is a disk after a
power failure: its file system recovers, is clean, and has every block that was acknowledged before.

Needs a KVM that runs unmodified kernels: tests/run runs this file in the lab.
"""
import re
import shutil
import subprocess

import pytest

import log_writes
from disk_guest import QEMU, Acknowledged, Disk, Loop, file_in, fsck, loader
from linux_guest import BUILD, HERE, fetch_kernel, needs_hardware, needs_root

pytestmark = [pytest.mark.lab, needs_root, needs_hardware]

DISK_BYTES = 24 << 20
LOG_BYTES = 512 << 20
BLOCKS = 48  # of the load
POINTS = 100


@pytest.fixture(scope="module", autouse=True)
def kernel():
    if HERE:
        fetch_kernel()


@pytest.fixture
def logged(scratch):
    """A logged device with an empty ext4 on it, and the path of its log."""
    data = Loop(scratch.image("data", DISK_BYTES))
    log = Loop(scratch.image("log", LOG_BYTES))
    device = log_writes.Device("bulkhead-log", data.device, log.device)
    try:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-J", "size=4", "-E", "lazy_journal_init=0", device.path], check=True)
        device.mark("made")
        yield device, scratch.path / "log"
    finally:
        device.close()
        data.close()
        log.close()


def load(guest, device, rounds):
    """Runs the load, and marks the log with how much it has acknowledged. Returns the acknowledgements, in their order."""
    guest.shell("mkdir /d; mount /dev/vda /d")
    guest.send(f"/fsync_load /d {BLOCKS} {rounds}; echo 'load:' $?\n")
    guest.expect(r"echo 'load:' \$\?\n")
    said = []
    while True:
        before, match = guest.expect(r"((?:ack \d+ \d+\n)+)|load: (\d+)\n")
        if match[2] is not None:
            assert match[2] == "0"
            return said
        said += [(int(index), int(generation)) for index, generation in re.findall(r"ack (\d+) (\d+)\n", match[1])]
        device.mark(f"ack-{len(said)}")


def points(entries):
    """(end of a prefix, acknowledgements before it) for each flush; those come before the next flush. Without a flush the
    log ends before its first entry."""
    found, flush, made = {}, 0, False
    for number, entry in enumerate(entries):
        made = made or entry.mark == "made"
        if made and entry.flags & log_writes.FLUSH:
            flush = number + 1
        if entry.mark.startswith("ack-"):
            found[flush] = int(entry.mark.removeprefix("ack-"))
        elif flush not in found:
            found[flush] = max(found.values(), default=0)
    return [point for point in sorted(found.items()) if point[1]]


def check(scratch, log, said, wanted):
    """Replays the log to `wanted` of its points. Returns how many were looked at, and what was wrong at each."""
    replay = log_writes.Replay(log, scratch.path / "replayed", DISK_BYTES)
    made = next(number for number, entry in enumerate(replay.entries) if entry.mark == "made")
    every = points(replay.entries)
    chosen = [every[number * len(every) // wanted] for number in range(wanted)] if len(every) > wanted else every
    wrong = []
    for end, count in chosen:
        replay.forward(max(end, made))
        image = scratch.path / "image"
        shutil.copyfile(scratch.path / "replayed", image)
        acknowledged = Acknowledged()
        for index, generation in said[:count]:
            acknowledged.add(index, generation)
        fsck(image)
        try:
            wrong += acknowledged.missing(file_in(image, "blocks", scratch.path / "blocks"))
        except AssertionError as error:
            wrong.append(str(error))
    replay.close()
    return len(chosen), wrong


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["io_uring", "sync"])
def test_what_fsync_acknowledged_is_durable(scratch, logged, engine):
    device, log = logged
    with loader(Disk(device.path, "disk", engine=engine)) as guest:
        said = load(guest, device, 2 * POINTS)
        guest.send("poweroff -f\n")
        assert guest.wait() == 0
    subprocess.run(["sync"], check=True)
    looked_at, wrong = check(scratch, log, said, POINTS)
    assert wrong == []
    assert looked_at == POINTS


@pytest.mark.slow
def test_a_flush_that_does_nothing_is_found_out(scratch, logged):
    """The same with a disk that acknowledges flushes without having done anything."""
    device, log = logged
    options = {} if QEMU else {"program": BUILD / "tests/e2e/no_flush/bulkhead"}
    with loader(Disk(device.path, "disk", no_flush=QEMU), **options) as guest:
        said = load(guest, device, POINTS)
        guest.end()
    subprocess.run(["sync"], check=True)
    _, wrong = check(scratch, log, said, POINTS)
    assert wrong != []
