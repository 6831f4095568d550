#!/usr/bin/python3
"""Print how much each system-call filter lets through, as the table that docs/jail.md has.

usage: tools/policy_stats.py

The figures are those of the lists that policy-compiler writes at build time (tools/policy). A call with several
entries counts once; an argument check is one comparison of one entry; an ioctl request counts once however many
descriptors it is allowed on.
"""
import os
import re
from pathlib import Path

BUILD = Path(os.environ.get("BULKHEAD_BUILD", Path(__file__).resolve().parents[1] / "build"))

# Name; when it is in force; the filter of Firecracker (1.17, x86_64, musl) whose thread does similar work, and its calls.
FILTERS = [
    ("vmm_setup", "from the last stage of the jail to READY", None),
    ("vmm_main", "main thread, from READY on", ("vmm", 50)),
    ("vmm_main_devices", "the same, of a guest with devices", ("vmm", 50)),
    ("vmm_vcpu", "vCPU threads, from before READY on", ("vcpu", 27)),
    ("vmm_vcpu_devices", "the same, of a guest with devices", ("vcpu", 27)),
    ("blk_setup", "bulkhead-blk, from the last stage of its jail to READY", None),
    ("blk_main", "bulkhead-blk with plain calls, from before READY on", None),
    ("blk_uring", "bulkhead-blk with io_uring, from before READY on", None),
    ("rng_setup", "bulkhead-rng, from the last stage of its jail to READY", None),
    ("rng_main", "bulkhead-rng, from before READY on", None),
    ("storage_setup", "qemu-storage-daemon, from the last stage of its jail until it is sealed", None),
    ("storage_main", "qemu-storage-daemon, from before its `main()` on", None),
    ("supervisor", "supervisor, from CONFIG on, with `--on-reset exit`", ("api", 31)),
    ("supervisor_restart", "the same where a reset restarts the guest, and all of the next run", ("api", 31)),
    ("supervisor_devices", "the same with devices, and all that a device's next process does", ("api", 31)),
    ("supervisor_sockets", "the same with devices outside, and of a device alone", ("api", 31)),
    ("supervisor_storage", "the same with disks in format qcow2", ("api", 31)),
    ("json", "bulkhead-json", None),
    ("json_stat", "the same, reading the description of a guest", None),
]


def figures(name):
    """(calls, argument checks, ioctl requests) of a filter."""
    path, = (BUILD / "src").rglob(f"policy_{name}.txt")
    return re.match(rf"Policy {name}: (\d+) calls, (\d+) argument checks, (\d+) ioctl requests", path.read_text()).groups()


def names():
    """All filters that the build made for the product."""
    return {path.stem.removeprefix("policy_") for path in (BUILD / "src").rglob("policy_*.txt")}


def table():
    rows = ["| filter | in force | calls | argument checks | ioctl requests | Firecracker's calls |", "|---|---|---|---|---|---|"]
    for name, when, other in FILTERS:
        peer = f"{other[1]} ({other[0]})" if other else "no filter there"
        rows.append(f"| {name} | {when} | {' | '.join(figures(name))} | {peer} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
