#!/usr/bin/python3
"""
What a hostile neighbour costs a guest's console: round trips of one byte through a guest that echoes, alone and beside
each of some guests that do their worst.

    bench/console.py                  # or: make bench
    bench/console.py -n 2000 --json

Each line has the median and the 99th percentile of the round trips, their ratio to the guest alone (measured before and
after; the median of all), and what the neighbour's supervisor used of one CPU meanwhile. Needs root and /dev/kvm.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build"))
PAUSE_S = 0.002  # between round trips, as somebody who types, only quicker
SETTLE_S = 1.0
LIMIT = 2.0  # times the median alone
CLOCK_TICK = os.sysconf("SC_CLK_TCK")

ALONE = "alone"
NEIGHBOURS = {
    ALONE: None,
    "floods its console": ("flood", ["--cmdline", "raw"]),
    "writes UART registers": ("flood", ["--cmdline", "registers"]),
    "resets in a loop": ("power", ["--cmdline", "reset"]),
    "spins on 64 vCPUs": ("spin", ["--cpus", "64", "--cmdline", "cpus=64"]),
    "alone again": None,
}


def start(name, image, options, stdin, stdout):
    argv = [BUILD / "bulkhead", "run", name, "--kernel", BUILD / f"guests/{image}.elf", "--mem", "64M", "--no-rng", *options]
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)


def end(process):
    process.terminate()
    process.wait(timeout=10)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICK


def round_trips(count):
    """Microseconds of each round trip through an echoing guest."""
    process = start(f"bench-echo-{os.getpid()}", "echo", [], subprocess.PIPE, subprocess.PIPE)
    try:
        to_guest, from_guest = process.stdin.fileno(), process.stdout.fileno()
        said = b""
        while not said.endswith(b"ready\n"):
            data = os.read(from_guest, 4096)
            if not data:
                sys.exit("console.py: the guest did not start")
            said += data
        trips = []
        for _ in range(count):
            time.sleep(PAUSE_S)
            begin = time.perf_counter_ns()
            os.write(to_guest, b"x")
            if os.read(from_guest, 16) != b"x":
                sys.exit("console.py: the echo is not what was sent")
            trips.append((time.perf_counter_ns() - begin) / 1000)
        return trips
    finally:
        end(process)


def measure(neighbour, count):
    if neighbour is None:
        time.sleep(SETTLE_S)
        return {"trips": round_trips(count), "supervisor": None}
    image, options = neighbour
    process = start(f"bench-neighbour-{os.getpid()}", image, options, subprocess.DEVNULL, subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_S)
        cpu, begin = cpu_seconds(process.pid), time.monotonic()
        trips = round_trips(count)
        return {"trips": trips, "supervisor": (cpu_seconds(process.pid) - cpu) / (time.monotonic() - begin)}
    finally:
        end(process)


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("-n", "--count", type=int, default=500, help="round trips per line (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args()
    measured = {what: measure(neighbour, options.count) for what, neighbour in NEIGHBOURS.items()}
    alone = statistics.median(t for what, m in measured.items() if what.startswith(ALONE) for t in m["trips"])
    rows = {}
    for what, m in measured.items():
        trips = sorted(m["trips"])
        rows[what] = {"median_us": statistics.median(trips), "p99_us": trips[int(len(trips) * 0.99)],
                      "to_alone": statistics.median(trips) / alone, "neighbours_supervisor": m["supervisor"]}
    if options.json:
        print(json.dumps({"round_trips": options.count, "rows": rows}, indent=2))
        return
    print(f"{options.count} console round trips of a guest, microseconds")
    print(f"{'beside a guest that':24}{'median':>9}{'p99':>9}{'x alone':>9}   neighbour's supervisor")
    for what, row in rows.items():
        used = "-" if row["neighbours_supervisor"] is None else f"{row['neighbours_supervisor']:.1%} of a CPU"
        print(f"{what:24}{row['median_us']:9.0f}{row['p99_us']:9.0f}{row['to_alone']:9.2f}   {used}")
    worst = max(row["to_alone"] for row in rows.values())
    print(f"\nworst median, x alone: {worst:.2f}, at most {LIMIT}: {'met' if worst <= LIMIT else 'MISSED'}")


if __name__ == "__main__":
    main()
