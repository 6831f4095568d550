#!/usr/bin/env python3
"""Disks of bulkhead beside QEMU's and the host's own io_uring on the same file: requests a second at several depths.

Guests run guests/block_bench.c, which polls its ring; the host runs host_uring, which makes the same requests. Runs are
interleaved, and the order turns by one each round. README.md in this directory tells how to read the table.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from start import ROOT, machine

MEMORY_MIB = 128
RUN_TIMEOUT_S = 600
MIB = 1 << 20
LOADS = ("randread", "randwrite", "seqread", "seqwrite")
DEPTHS = (1, 8, 32, 64)
RANDOM = LOADS[:2]
PROGRAMS = ("bulkhead", "bulkhead-vmm", "bulkhead-json")
LINE = re.compile(r"^\w+: (?P<load>\w+) (?P<bytes>\d+) bytes depth (?P<depth>\d+): (?P<requests>\d+) requests, "
                  r"(?P<ns>\d+) ns, (?P<calls>\d+) (?:notifications|calls), p50 (?P<p50>\d+) us, p99 (?P<p99>\d+) us$",
                  re.MULTILINE)

# (what, at least, loads, depths, beside which)
TARGETS = (
    ("4 KiB at random, x host", 0.9, RANDOM, (32, 64), "host"),
    ("4 KiB at random, x QEMU", 1.0, RANDOM, DEPTHS, "qemu"),
)


def guest_words(options):
    words = [f"ms={options.ms}"]
    words += [f"load={options.load}"] if options.load else []
    words += [f"depth={options.depth}"] if options.depth else []
    return words


def host_command(options):
    command = [str(options.build / "bench/host_uring"), "-m", str(options.ms)]
    command += ["-l", options.load] if options.load else []
    command += ["-d", str(options.depth)] if options.depth else []
    command += ["-b"] if options.buffered else []
    return command + [str(options.file)]


def run_command(programs, disk, options):
    return [str(programs / "bulkhead"), "run", f"bench-{os.getpid()}", "--kernel", str(options.guest), "--mem",
            f"{MEMORY_MIB}M", "--test-device", "--no-rng", "--disk", disk, "--cmdline",
            " ".join(guest_words(options))]


def bulkhead_command(options):
    return run_command(options.build, str(options.file) if options.buffered else f"{options.file},direct", options)


def null_command(options):
    """Programs whose disk does nothing: what is left is the way there and back."""
    return run_command(options.null_programs, f"{options.file},engine=sync", options)


def null_programs_make(options, directory):
    directory.mkdir()
    for name in PROGRAMS:
        shutil.copy(options.build / name, directory / name)
    shutil.copy(options.build / "bench/bulkhead-blk-null", directory / "bulkhead-blk")
    return directory


def qemu_command(options):
    cache = "writeback" if options.buffered else "none"
    return [options.qemu, "-M", "microvm,pcie=on,acpi=on,rtc=off,pit=off,pic=off,isa-serial=on", "-accel", "kvm", "-cpu",
            "qemu64", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-serial", "stdio", "-monitor", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-object", "iothread,id=thread0",
            "-drive", f"file={options.file},if=none,id=disk0,format=raw,cache={cache},aio=io_uring",
            "-device", "virtio-blk-pci,drive=disk0,iothread=thread0,disable-legacy=on",
            "-kernel", str(options.guest), "-append", " ".join(["ecam", *guest_words(options)])]


# name: its command, its exit status
MONITORS = {
    "host": (host_command, 0),
    "bulkhead": (bulkhead_command, 0),
    "null": (null_command, 0),
    "qemu": (qemu_command, 1),  # QEMU's exit status is twice the verdict and one more
}


def run_once(name, options):
    """One run: {(load, depth): figures}. Ends the program when there are none to give."""
    make_command, good = MONITORS[name]
    command = make_command(options)
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_TIMEOUT_S,
                            check=False)
    found = {(m["load"], int(m["depth"])): {key: int(m[key]) for key in ("bytes", "requests", "ns", "calls", "p50", "p99")}
             for m in LINE.finditer(result.stdout.replace("\r", ""))}
    if result.returncode != good or not found:
        sys.exit(f"block.py: {name} ended with {result.returncode}: {' '.join(command)}\n{result.stdout}{result.stderr}")
    return found


def measure(options, names):
    """All runs, by monitor."""
    runs = {name: [] for name in names}
    for number in range(options.runs):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            runs[name].append(run_once(name, options))
    return runs


def figures(runs):
    """Medians of one monitor's runs of one load at one depth."""
    rates = [run["requests"] * 1e9 / run["ns"] for run in runs]
    return {
        "bytes": runs[0]["bytes"],
        "per_second": statistics.median(rates),
        "min_per_second": min(rates),
        "max_per_second": max(rates),
        "p50_us": statistics.median(run["p50"] for run in runs),
        "p99_us": statistics.median(run["p99"] for run in runs),
        "calls_per_request": statistics.median(run["calls"] / max(run["requests"], 1) for run in runs),
    }


def rows_of(runs):
    """[{load, depth, monitors: {name: figures}, ratios of the medians}], in the order of measuring."""
    rows = []
    for load, depth in runs["host"][0]:
        monitors = {name: figures([run[load, depth] for run in of_one]) for name, of_one in runs.items()}
        row = {"load": load, "depth": depth, "monitors": monitors}
        if "bulkhead" in monitors:
            own = monitors["bulkhead"]["per_second"]
            for other in ("host", "qemu"):
                if other in monitors:
                    row[f"to_{other}"] = own / monitors[other]["per_second"]
            row["added_us"] = depth * 1e6 * (1 / own - 1 / monitors["host"]["per_second"])
        rows.append(row)
    return rows


def print_table(host, rows, names, skipped, options):
    print(f"machine   {host['cpu']}, {host['cpus']} CPUs, {host['memory_mib']} MiB, load {host['load']:.1f}")
    print(f"kernel    {host['kernel']}")
    print(f"KVM       {host['kvm']}")
    print(f"file      {options.file}, {options.file.stat().st_size // MIB} MiB, "
          f"{'through the page cache' if options.buffered else 'O_DIRECT'}")
    print(f"runs      {options.runs} of each, interleaved, {options.ms} ms for each figure")
    print("\nrequests a second, medians; in brackets the median time of one, microseconds")
    print(f"{'':10}{'depth':>6}" + "".join(f"{name:>20}" for name in names) + f"{'x host':>9}{'x QEMU':>9}{'added us':>10}")
    for row in rows:
        cells = "".join(f"{f['per_second']:11.0f} ({f['p50_us']:6.0f})" for f in row["monitors"].values())
        ratios = "".join(f"{row[key]:{width}.{digits}f}" if key in row else f"{'-':>{width}}"
                         for key, width, digits in (("to_host", 9, 2), ("to_qemu", 9, 2), ("added_us", 10, 1)))
        print(f"{row['load']:10}{row['depth']:6}{cells}{ratios}")
    for line in skipped:
        print(f"\nskipped   {line}")


def judge(rows):
    """Each target as (what, load, depth, at least, measured or None, verdict)."""
    judged = []
    for what, least, loads, depths, other in TARGETS:
        for row in rows:
            if row["load"] not in loads or row["depth"] not in depths:
                continue
            value = row.get(f"to_{other}")
            verdict = "not measured" if value is None else "met" if value >= least else "MISSED"
            judged.append({"what": what, "load": row["load"], "depth": row["depth"], "least": least, "measured": value,
                           "verdict": verdict})
    return judged


def print_targets(judged):
    print("\ntargets for bulkhead")
    for target in judged:
        value = "-" if target["measured"] is None else f"{target['measured']:.2f}"
        print(f"  {target['what']:26}{target['load']:>10} depth {target['depth']:<3}{value:>7}  "
              f"at least {target['least']}: {target['verdict']}")


def fill(file, mib):
    """Random bytes, so that no layer below can tell that nothing was ever written."""
    with open(file, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
        os.fsync(out.fileno())


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--ms", type=int, default=500, help="for each figure (500)")
    parser.add_argument("--load", choices=LOADS, help="only this load")
    parser.add_argument("--depth", type=int, help="only this depth, 1 to 64")
    parser.add_argument("--file", type=Path, help="file or block device to use; IT IS OVERWRITTEN (a new file)")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where the new file is made (/var/tmp)")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the new file (1024)")
    parser.add_argument("--buffered", action="store_true", help="through the page cache instead of O_DIRECT")
    parser.add_argument("--leave-out", action="append", default=[], choices=("bulkhead", "qemu"), help="do not measure it")
    parser.add_argument("--null", action="store_true", help="bulkhead with a disk that completes at once, too")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory (build)")
    parser.add_argument("--qemu", default="qemu-system-x86_64", metavar="PROGRAM", help="QEMU (qemu-system-x86_64)")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON instead of tables")
    options = parser.parse_args(argv)
    if options.runs < 1 or options.ms < 1 or options.size < 16:
        parser.error("--runs and --ms must be at least 1, --size at least 16")
    if options.depth is not None and not 1 <= options.depth <= DEPTHS[-1]:
        parser.error("--depth must be 1 to 64")
    options.build = options.build.resolve()
    options.guest = options.build / "guests/block_bench.elf"
    for needed in (options.build / "bulkhead", options.build / "bench/host_uring", options.guest,
                   *[options.build / "bench/bulkhead-blk-null"] * options.null):
        if not needed.exists() and not (needed.name in options.leave_out):
            parser.error(f"{needed} is missing: build first, with meson setup build && ninja -C build "
                         f"{needed.relative_to(options.build)}")
    if os.geteuid() != 0:
        parser.error("guests are started by root")
    return options


def main(argv):
    options = parse(argv)
    names = [name for name in MONITORS if name not in options.leave_out and (name != "null" or options.null)]
    skipped = []
    if "qemu" in names and not shutil.which(options.qemu):
        names.remove("qemu")
        skipped.append(f"qemu: no {options.qemu} in PATH")
    host = machine()
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-", dir=options.directory) as scratch:
        if options.file is None:
            options.file = Path(scratch) / "disk"
            fill(options.file, options.size)
        if options.null:
            options.null_programs = null_programs_make(options, Path(scratch) / "programs")
        runs = measure(options, names)
        rows = rows_of(runs)
        judged = judge(rows)
        if options.json:
            flat = {name: [[dict(f, load=load, depth=depth) for (load, depth), f in run.items()] for run in of_one]
                    for name, of_one in runs.items()}
            json.dump({"machine": host, "file": str(options.file), "buffered": options.buffered, "ms": options.ms,
                       "interleaved": True, "rows": rows, "targets": judged, "skipped": skipped, "runs": flat},
                      sys.stdout, indent=1)
            print()
        else:
            print_table(host, rows, names, skipped, options)
            print_targets(judged)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
