#!/usr/bin/env python3
"""How fast a disk is for fio in a Linux guest, with bulkhead and with QEMU; README.md tells how to read it.

    tools/lab --mem 6144 -- bench/block_lab.py

Both guests are the Debian of tools/rootfs, and have the same block device, with O_DIRECT, as /dev/vdb. Their turns
alternate. Runs wherever KVM runs unmodified kernels; in the lab, which is many times slower than any host, only the
ratio says something.
"""
import argparse
import json
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/e2e"))
os.environ.setdefault("BULKHEAD_SLOW", "15")  # as in tests/run
import disk_guest  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
DISK_BYTES = 64 * MIB
# fio's name, size of a request, the field of its terse output (version 3) that has the requests a second
LOADS = {"randread": ("4k", 8), "randwrite": ("4k", 49), "read": ("128k", 8), "write": ("128k", 49)}
DEPTHS = (1, 8, 32)


def boot(monitor, loop):
    disk_guest.QEMU = monitor == "qemu"
    return disk_guest.debian_shell(disk_guest.Disk(disk_guest.ROOTFS / "image", "root", read_only=True),
                                   disk_guest.Disk(loop.device, "data", direct=True))


def requests_per_s(guest, load, depth, seconds):
    size, field = LOADS[load]
    words = f"fio --name=j --filename=/dev/vdb --rw={load} --bs={size} --iodepth={depth} --ioengine=libaio --direct=1 " \
            f"--time_based --runtime={seconds} --output-format=terse --terse-version=3"
    return int(guest.shell(f"{words} | cut -d';' -f{field}", seconds + disk_guest.PATIENCE_S))


def measure(options, loops):
    runs = {}
    with boot("bulkhead", loops[0]) as ours, boot("qemu", loops[1]) as theirs:
        for load in LOADS:
            for depth in DEPTHS:
                for _ in range(options.n):
                    for monitor, guest in ("bulkhead", ours), ("qemu", theirs):
                        runs.setdefault((load, depth, monitor), []).append(
                            requests_per_s(guest, load, depth, options.seconds))
                print(f"{load}, depth {depth}: done", file=sys.stderr)
        for guest in ours, theirs:
            guest.send("echo o >/proc/sysrq-trigger\n")
            guest.wait()
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-n", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run (3)")
    parser.add_argument("--json", action="store_true", help="print every run as JSON")
    options = parser.parse_args()
    disk_guest.make_rootfs()
    scratch = disk_guest.Scratch(f"/run/bench-block-{os.getpid()}", "512M")
    loops = []
    try:
        for name in "bulkhead", "qemu":
            loops.append(disk_guest.Loop(scratch.image(name, DISK_BYTES)))
        runs = measure(options, loops)
    finally:
        for loop in loops:
            loop.close()
        for image in scratch.path.iterdir():
            image.unlink()
        scratch.close()
    rows = [{"load": load, "depth": depth, **{m: runs[load, depth, m] for m in ("bulkhead", "qemu")}}
            for load in LOADS for depth in DEPTHS]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'load':<10} {'depth':>5} {'bulkhead/s':>10} {'QEMU/s':>8} {'x QEMU':>6}")
    for row in rows:
        ours, theirs = (statistics.median(row[monitor]) for monitor in ("bulkhead", "qemu"))
        print(f"{row['load']:<10} {row['depth']:>5} {ours:>10.0f} {theirs:>8.0f} {ours / max(theirs, 1):>6.2f}")


if __name__ == "__main__":
    main()
