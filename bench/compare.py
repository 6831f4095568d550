#!/usr/bin/python3
"""
Is a start slower than it was? Pairs of starts, one of each of two builds, in turn.

    git worktree add ../before COMMIT && make -C ../before
    bench/compare.py ../before/build build            # the median of the ratios, new to old
    bench/compare.py ../before/build build -n 50 --most 1.1

Time is from exec of `bulkhead run` to the first byte of a guest that writes one at once (see start.py). Both builds start
the same guest and are timed by the same run_once, those of the new build. Each pair's order is turned round. The exit
status is 1 when the median of the ratios is above --most. Needs root and /dev/kvm.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

RUN_TIMEOUT_S = 30
MEMORY_MIB = 128


def first_byte_ms(timer, build, guest):
    argv = [timer, "-s", "0", "-g", str(MEMORY_MIB << 20), "--", build / "bulkhead", "run", f"bench-{os.getpid()}",
            "--kernel", guest, "--mem", f"{MEMORY_MIB}M"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if result.returncode != 0:
        sys.exit(f"compare.py: {build} gave no first byte\n{result.stderr}")
    return json.loads(result.stdout)["first_byte_ns"] / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("old", type=lambda p: Path(p).resolve(), help="build directory of the commit before")
    parser.add_argument("new", type=lambda p: Path(p).resolve(), help="build directory to judge")
    parser.add_argument("-n", "--pairs", type=int, default=500, help="pairs of starts (default: %(default)s)")
    parser.add_argument("--most", type=float, default=1.05, help="the ratio that is still well (default: %(default)s)")
    options = parser.parse_args()

    timer, guest = options.new / "bench/run_once", options.new / "guests/first_byte.elf"
    old, new = [], []
    for pair in range(options.pairs + 1):
        both = [(options.old, old), (options.new, new)]
        for build, times in both if pair % 2 else reversed(both):
            times.append(first_byte_ms(timer, build, guest))
        if pair % 50 == 0 and sys.stderr.isatty():
            print(f"{pair} of {options.pairs} pairs", end="\r", file=sys.stderr)
    old, new = old[1:], new[1:]  # the first pair warms the page cache
    ratio = statistics.median(n / o for o, n in zip(old, new))
    print(f"old     {statistics.median(old):.2f} ms (median of {len(old)}), new {statistics.median(new):.2f} ms")
    print(f"ratio   {ratio:.3f} (median of the pairs' ratios), at most {options.most}: "
          f"{'met' if ratio <= options.most else 'MISSED'}")
    return 0 if ratio <= options.most else 1


if __name__ == "__main__":
    sys.exit(main())
