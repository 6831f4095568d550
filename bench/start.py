#!/usr/bin/env python3
"""Start-up time and memory of bulkhead beside the floor and other monitors: exec to the guest's first byte.

Every monitor runs the same guest, one vCPU, 128 MiB; bulkhead once more with each device that is a process of its own,
and with both. Runs are interleaved, and the order turns by one each round, so that what else the machine does hits all
alike. README.md in this directory tells how to read the table.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY_MIB = 128
FIRST_BYTE = ord("B")  # what guests/first_byte.S writes
RUN_TIMEOUT_S = 60

DISK_BYTES = 64 << 20
BARE, RNG, DISK, BOTH = "bulkhead", "bulkhead+rng", "bulkhead+disk", "bulkhead+rng+disk"
DEVICES = {BARE: (False, False), RNG: (True, False), DISK: (False, True), BOTH: (True, True)}  # rng, disk


def more(name):
    """Milliseconds that a start takes longer than one without devices."""
    return lambda rows: rows[name]["median_ms"] - rows[BARE]["median_ms"]


# (what, its most, how it is computed from the table)
TARGETS = (
    ("start, x floor", 2.0, lambda rows: rows[BARE]["to_floor"]),
    ("start, x QEMU microvm", 0.2, lambda rows: rows[BARE]["to_qemu"]),
    ("start with rng, ms more", 2.0, more(RNG)),
    ("start with a disk, ms more", 2.0, more(DISK)),
    ("VMM, MiB", 0.5, lambda rows: rows[BARE]["pss_kib"].get("bulkhead-vmm", 0) / 1024),
    ("VMM and supervisor, MiB", 1.0, lambda rows: rows[BARE]["pss_total_kib"] / 1024),
    ("with rng and a disk, MiB", 2.0, lambda rows: rows[BOTH]["pss_total_kib"] / 1024),
)


def floor_command(build, guest, _scratch):
    return [str(build / "bench/floor"), guest]


def bulkhead_command(rng, disk):
    def command(build, guest, scratch):
        line = [str(build / "bulkhead"), "run", f"bench-{os.getpid()}", "--kernel", guest, "--mem", f"{MEMORY_MIB}M"]
        if disk:
            image = scratch / "disk.img"
            with image.open("ab") as f:
                f.truncate(DISK_BYTES)
            line += ["--disk", str(image)]
        return line + ["--rng" if rng else "--no-rng"]
    return command


def qemu_command(program):
    return lambda _build, guest, _scratch: [
        program, "-M", "microvm", "-accel", "kvm", "-cpu", "qemu64", "-m", str(MEMORY_MIB), "-nodefaults",
        "-no-user-config", "-display", "none", "-serial", "stdio", "-kernel", guest]


def firecracker_command(program):
    """Firecracker logs to standard output unless its command line, not its configuration, says otherwise."""
    def command(_build, guest, scratch):
        config = scratch / "firecracker.json"
        config.write_text(json.dumps({
            "boot-source": {"kernel_image_path": guest, "boot_args": ""},
            "drives": [],
            "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY_MIB},
        }), encoding="utf-8")
        log = scratch / "firecracker.log"
        log.touch()
        return [program, "--no-api", "--config-file", str(config), "--log-path", str(log), "--level", "Error"]
    return command


def cloud_hypervisor_command(program):
    return lambda _build, guest, _scratch: [
        program, "--kernel", guest, "--cmdline", "console=ttyS0", "--cpus", "boot=1", "--memory",
        f"size={MEMORY_MIB}M", "--serial", "tty", "--console", "off"]


def monitors(options):
    """The monitors to measure, as (name, command function), and what is left out, with the reason."""
    found = [("floor", floor_command)] + [(name, bulkhead_command(*devices)) for name, devices in DEVICES.items()]
    skipped = []
    qemu = shutil.which(options.qemu)
    if qemu:
        found.append(("qemu-microvm", qemu_command(qemu)))
    else:
        skipped.append(f"qemu-microvm: no {options.qemu} in PATH")
    if options.firecracker:
        found.append(("firecracker", firecracker_command(str(Path(options.firecracker).resolve()))))
    if options.cloud_hypervisor:
        found.append(("cloud-hypervisor", cloud_hypervisor_command(str(Path(options.cloud_hypervisor).resolve()))))
    return found, skipped


def run_once(build, name, command):
    """One run: what run_once printed. Ends the program when there is no figure to give."""
    tool = [str(build / "bench/run_once"), "-g", str(MEMORY_MIB << 20), "--"]
    result = subprocess.run(tool + command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if result.returncode != 0:
        sys.exit(f"start.py: {name} gave no first byte: {' '.join(command)}\n{result.stderr}")
    run = json.loads(result.stdout)
    if run["byte"] != FIRST_BYTE:
        sys.exit(f"start.py: the first byte from {name} is {run['byte']}, not the guest's: {' '.join(command)}\n"
                 f"{result.stderr}")
    return run


def measure(options, found, scratch):
    """All runs, by monitor."""
    runs = {name: [] for name, _ in found}
    for number in range(options.runs + 1):
        turn = number % len(found)
        for name, command in found[turn:] + found[:turn]:
            run = run_once(options.build, name, command(options.build, options.guest, scratch))
            if number > 0:  # the first round warms the page cache and is not counted
                runs[name].append(run)
    return runs


def row_of(runs):
    """Medians of one monitor."""
    times = [run["first_byte_ns"] / 1e6 for run in runs]
    names = sorted({process["name"] for run in runs for process in run["processes"]})
    pss = {}
    for name in names:
        # Several processes of one name are one line: the floor's two, a monitor's workers.
        sums = [sum(p["pss_kib"] for p in run["processes"] if p["name"] == name) for run in runs]
        pss[name] = statistics.median(sums)
    totals = [sum(p["pss_kib"] for p in run["processes"]) for run in runs]
    waits = [sum(p["waited_ns"] for p in run["processes"]) / 1e6 for run in runs]
    return {
        "runs": len(runs),
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        "waited_ms": statistics.median(waits),
        "pss_kib": pss,
        "pss_total_kib": statistics.median(totals),
    }


def rows_of(runs):
    rows = {name: row_of(of_one) for name, of_one in runs.items()}
    for row in rows.values():
        row["to_floor"] = row["median_ms"] / rows["floor"]["median_ms"]
        row["min_to_floor"] = row["min_ms"] / rows["floor"]["min_ms"]
        row["to_qemu"] = row["median_ms"] / rows["qemu-microvm"]["median_ms"] if "qemu-microvm" in rows else None
    return rows


def kvm_backend():
    """The kernel module that KVM runs guests with."""
    modules = sorted(p.name for p in Path("/sys/module").glob("kvm_*"))
    return ", ".join(modules) or "unknown"


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def machine():
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": f"{platform.system()} {platform.release()}",
        "kvm": kvm_backend(),
        "load": os.getloadavg()[0],
    }


def print_table(host, rows, skipped, options):
    print(f"machine   {host['cpu']}, {host['cpus']} CPUs, {host['memory_mib']} MiB, load {host['load']:.1f}")
    print(f"kernel    {host['kernel']}")
    print(f"KVM       {host['kvm']}")
    print(f"guest     {Path(options.guest).name}, 1 vCPU, {MEMORY_MIB} MiB")
    print(f"runs      {options.runs} of each, interleaved, one round before them not counted")
    print("\nexec to first byte, milliseconds")
    print(f"{'':18}{'median':>9}{'min':>9}{'max':>9}{'x floor':>9}{'x QEMU':>9}{'min/min':>9}{'waited':>9}")
    for name, row in rows.items():
        to_qemu = f"{row['to_qemu']:9.3f}" if row["to_qemu"] is not None else f"{'-':>9}"
        print(f"{name:18}{row['median_ms']:9.2f}{row['min_ms']:9.2f}{row['max_ms']:9.2f}"
              f"{row['to_floor']:9.2f}{to_qemu}"
              f"{row['min_to_floor']:9.2f}{row['waited_ms']:9.2f}")
    print("\nPSS while the guest idles, without guest RAM, KiB (medians)")
    for name, row in rows.items():
        parts = ", ".join(f"{process} {kib:.0f}" for process, kib in row["pss_kib"].items())
        print(f"{name:18}{row['pss_total_kib']:9.0f}   {parts}")
    for line in skipped:
        print(f"\nskipped   {line}")


def judge(rows):
    """Each target as (what, most, measured or None, verdict)."""
    judged = []
    for what, most, of in TARGETS:
        value = of(rows)
        verdict = "not measured" if value is None else "met" if value <= most else "MISSED"
        judged.append({"what": what, "most": most, "measured": value, "verdict": verdict})
    return judged


def print_targets(judged):
    print("\ntargets for bulkhead")
    for target in judged:
        value = "-" if target["measured"] is None else f"{target['measured']:.2f}"
        print(f"  {target['what']:28}{value:>7}  at most {target['most']}: {target['verdict']}")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--runs", type=int, default=30, help="runs of each monitor (30)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory (build)")
    parser.add_argument("--guest", help="PVH guest that writes one byte at once (BUILD/guests/first_byte.elf)")
    parser.add_argument("--qemu", default="qemu-system-x86_64", metavar="PROGRAM", help="QEMU (qemu-system-x86_64)")
    parser.add_argument("--firecracker", metavar="PATH", help="also measure this Firecracker")
    parser.add_argument("--cloud-hypervisor", metavar="PATH", help="also measure this Cloud Hypervisor")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON instead of tables")
    options = parser.parse_args(argv)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    options.build = options.build.resolve()
    options.guest = str(Path(options.guest or options.build / "guests/first_byte.elf").resolve())
    for needed in (options.build / "bulkhead", options.build / "bench/floor", options.build / "bench/run_once",
                   Path(options.guest)):
        if not needed.exists():
            parser.error(f"{needed} is missing: build first, with meson setup build && ninja -C build")
    if os.geteuid() != 0:
        parser.error("guests are started by root")
    return options


def main(argv):
    options = parse(argv)
    found, skipped = monitors(options)
    host = machine()
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch:
        runs = measure(options, found, Path(scratch))
    rows = rows_of(runs)
    targets = judge(rows)
    if options.json:
        json.dump({"machine": host, "guest": options.guest, "memory_mib": MEMORY_MIB, "interleaved": True,
                   "monitors": rows, "targets": targets, "skipped": skipped, "runs": runs}, sys.stdout, indent=1)
        print()
    else:
        print_table(host, rows, skipped, options)
        print_targets(targets)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
