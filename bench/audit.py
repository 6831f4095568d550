#!/usr/bin/env python3
"""How long an audit takes, and how much memory, with more and more guests on the host; README.md tells how to read it.

Starts guests of bulkhead, which stay idle, up to each number in turn, and audits them; ends all of them in any case. With
--recorded the hosts are made up instead (tests/audit/many.py): that measures the auditor without the kernel.
"""
import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/audit"))
import many  # noqa: E402  pylint: disable=wrong-import-position

STATE = Path("/run/bulkhead/guests")
AT_ONCE = 20  # guests that are started without waiting for the others
START_TIMEOUT_S = 120
REPORTED = (0, 6, 10)  # exit statuses that come with a report


class Guests:
    """The guests that run."""

    def __init__(self, build):
        self._build, self._prefix = build, f"bench-{os.getpid()}-"
        self._processes = {}

    def grow(self, count):
        while len(self._processes) < count:
            fresh = [f"{self._prefix}{len(self._processes) + n}" for n in range(min(AT_ONCE, count - len(self._processes)))]
            for name in fresh:
                # Should this process be killed, so are the guests' supervisors, which then tidy up.
                self._processes[name] = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", "--", self._build / "bulkhead", "run", name, "--kernel",
                     self._build / "guests/hlt.elf", "--mem", "16M"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            end = time.monotonic() + START_TIMEOUT_S
            while not all((STATE / name / "attested").exists() for name in fresh):
                if time.monotonic() > end or any(self._processes[name].poll() is not None for name in fresh):
                    sys.exit("bench/audit.py: a guest does not start")
                time.sleep(0.01)

    def close(self):
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait()


def audit(build, arguments):
    """Seconds, processor seconds, peak RSS in MiB, and the report."""
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        pid = os.posix_spawn(build / "bulkhead-audit", ["bulkhead-audit", "--json", *map(str, arguments)], os.environ,
                             file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        took = time.monotonic() - begun
        output.seek(0)
        if os.waitstatus_to_exitcode(status) not in REPORTED:
            sys.exit(f"bench/audit.py: the audit ended with {os.waitstatus_to_exitcode(status)}")
        report = json.load(output)
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, report


def measure(options, arguments):
    """The fastest of the runs, and the largest memory."""
    runs = [audit(options.build, arguments) for _ in range(options.runs)]
    best = min(runs, key=lambda run: run[0])
    return {"s": best[0], "cpu_s": best[1], "mib": max(run[2] for run in runs), "guests": len(best[3]["guests"]),
            "findings": len(best[3]["findings"])}


def rows_of(options):
    """(guests started, deep, figures) of each measurement."""
    if options.recorded:
        for count in options.guests:
            with tempfile.NamedTemporaryFile("w", suffix=".fixture") as fixture:
                fixture.writelines(f"{part}\n" for part in many.many(count))
                fixture.flush()
                yield count, True, measure(options, ["--deep", "--fixture", fixture.name])
        return
    guests = Guests(options.build)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for count in options.guests:
            guests.grow(count)
            for deep in (False, True):
                yield count, deep, measure(options, ["--deep"] * deep)
    finally:
        guests.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build")))
    parser.add_argument("--recorded", action="store_true", help="made up hosts instead of this one")
    parser.add_argument("--runs", type=int, default=3, help="of each (default: 3)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("guests", type=int, nargs="*", default=[50, 100, 200, 500])
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.guests.sort()
    rows, first = [], {}
    if not options.json:
        print("| guests | --deep | seconds | processor s | ms a guest | x the first | MiB | KiB a guest |\n|---|---|---|---|---|---|---|---|")
    for count, deep, row in rows_of(options):
        rows.append({"started": count, "deep": deep, **row})
        first.setdefault(deep, row["s"] / row["guests"])
        if not options.json:
            print(f"| {row['guests']} | {'yes' if deep else 'no'} | {row['s']:.2f} | {row['cpu_s']:.2f} | "
                  f"{row['s'] / row['guests'] * 1000:.1f} | {row['s'] / row['guests'] / first[deep]:.2f} | {row['mib']:.0f} | "
                  f"{row['mib'] * 1024 / row['guests']:.0f} |", flush=True)
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
