"""The lab (tools/lab) does what its users rely on.

A boot of the lab costs some seconds, so each one here answers many questions:
a run's facts are gathered once, by a fixture, and asserted by several tests.
"""
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
SHARED_BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build")).resolve()

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif("LAB" in os.environ, reason="no lab within the lab"),
]

# The longest that any single run may take, on a busy machine.
PATIENCE_S = 90


@pytest.fixture(scope="module")
def build():
    """A build directory of its own, so that leftovers are seen for certain."""
    subprocess.run([TOOLS / "fetch-kernel"], check=True)
    with tempfile.TemporaryDirectory(prefix="test-lab.", dir=SHARED_BUILD) as name:
        path = Path(name)
        (path / "kernel").symlink_to(SHARED_BUILD / "kernel")
        yield path


def start(build, *arguments, **options):
    environment = dict(os.environ, BULKHEAD_BUILD=str(build), WISHED="a 'wish'\n", UNWISHED="x")
    return subprocess.Popen([TOOLS / "lab", "--timeout", str(PATIENCE_S - 5), *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                            start_new_session=True, cwd=options.pop("cwd", ROOT), **options)


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def lab(build, *arguments, **options):
    return finish(start(build, *arguments, **options))


def processes_of_session(session):
    """Process ids, zombies aside, of the session that `start` gave a lab."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def assert_nothing_left(build, process):
    deadline = time.monotonic() + 5
    while processes_of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of_session(process.pid) == []
    assert list((build / "lab").glob("run.*")) == []


# --- the tools that need no boot

def test_kernel_is_complete_and_cached(build):
    kernel = build / "kernel"
    version = (kernel / "version").read_text().strip()
    assert (kernel / "vmlinux").read_bytes()[:4] == b"\x7fELF"
    assert (kernel / "vmlinuz").stat().st_size > 0
    assert "CONFIG_KVM_AMD=m" in (kernel / "config").read_text()
    assert (kernel / "lib/modules" / version / "modules.dep").stat().st_size > 0
    begun = time.monotonic()
    subprocess.run([TOOLS / "fetch-kernel"], check=True)
    assert time.monotonic() - begun < 2


def test_initramfs_is_reproducible_and_in_load_order(build, tmp_path):
    archives = []
    for name in "one", "two":
        archive = tmp_path / name
        subprocess.run([TOOLS / "mkinitramfs", "--out", archive, "--init", __file__, "--uncompressed",
                        "--modules", "kvm_amd virtio-pci", "--file", f"{__file__}=/etc/a"],
                       check=True, env=dict(os.environ, BULKHEAD_BUILD=str(build)))
        archives.append(archive.read_bytes())
        time.sleep(1.1)  # another second, another time stamp
    assert archives[0] == archives[1]
    order = subprocess.run(["cpio", "--quiet", "-i", "--to-stdout", "modules/order"], input=archives[0],
                           stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert order.index("kvm.ko") < order.index("kvm-amd.ko")
    assert order.index("virtio_ring.ko") < order.index("virtio_pci.ko")


@pytest.mark.parametrize("arguments", [
    [], ["--"], ["--cpus", "0", "true"], ["--cpus", "many", "true"], ["--mem", "1G", "true"],
    ["--timeout", "0", "true"], ["--timeout"], ["--env", "a-b", "true"], ["--no-such-option", "true"],
    ["--out", __file__, "true"],
])
def test_bad_usage_is_one_line_and_status_2(arguments):
    result = subprocess.run([TOOLS / "lab", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.count(b"\n") == 1


def test_help():
    result = subprocess.run([TOOLS / "lab", "--help"], stdout=subprocess.PIPE, check=True)
    assert b"usage: tools/lab" in result.stdout


# --- one boot for all that a command sees in there

ODD_WORDS = ["a b", "it's", 'say "hi"', "new\nline", "$HOME `id` \\", "", "*", "&;|<>", "\u00e9", "--", "-x", "A=b"]
BIG_BYTES = bytes(range(256)) * 40_000  # 10 MB

LOOK_AROUND = r"""
import fcntl, json, os, pathlib, socket, subprocess, sys
read = lambda path: pathlib.Path(path).read_text()
facts = {
    "words": sys.argv[1:], "cwd": os.getcwd(), "uid": os.getuid(), "env": dict(os.environ),
    "release": os.uname().release, "hostname": socket.gethostname(),
    "kvm_mode": oct(os.stat("/dev/kvm").st_mode & 0o7777),
    "controllers": read("/sys/fs/cgroup/cgroup.controllers").split(),
    "enabled": read("/sys/fs/cgroup/cgroup.subtree_control").split(),
    "own_cgroup": read("/proc/self/cgroup").strip(), "lsm": read("/sys/kernel/security/lsm").split(","),
    "mounts": {line.split()[1]: line.split()[2] for line in read("/proc/mounts").splitlines()},
    "cmdline": read("/proc/cmdline").split(), "stdin": os.read(0, 1).decode(),
    "signals": subprocess.run(["sed", "-n", "s/^Sig[BI][a-z]*:\\t//p", "/proc/self/status"],
                              stdout=subprocess.PIPE).stdout.decode().split(),
    "tmp": os.listdir("/tmp"),
}
kvm = os.open("/dev/kvm", os.O_RDWR)
facts["kvm_api"] = fcntl.ioctl(kvm, 0xAE00, 0)            # KVM_GET_API_VERSION
facts["vm_fd"] = fcntl.ioctl(kvm, 0xAE01, 0)              # KVM_CREATE_VM
subprocess.run(["modprobe", "-a", "vhost_net", "vhost_vsock", "tun", "dm_mod"], check=True)
facts["devices"] = [d for d in ("/dev/vhost-net", "/dev/vhost-vsock", "/dev/net/tun", "/dev/ptmx", "/dev/fd/0",
                                "/sys/kernel/debug/kvm", "/sys/kernel/tracing/trace") if not os.path.exists(d)]
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
pathlib.Path("left-by-the-lab").write_text("x")
facts["wrote"] = read("left-by-the-lab")
out = pathlib.Path(os.environ["LAB_OUT"])
(out / "deep/er").mkdir(parents=True)
(out / "deep/er/file").write_bytes(bytes(1_000_000))
(out / "deep/er/file").chmod(0o640)
os.symlink("deep", out / "link")
(out / "facts").write_text(json.dumps(facts))
open("/dev/stderr", "w").write("to stderr\n")
sys.stdout.buffer.write(bytes(range(256)) * 40_000)
sys.stdout.flush()
subprocess.Popen(["sleep", "1000"], start_new_session=True)  # must not keep the lab up
sys.exit(42)
"""


@pytest.fixture(scope="module")
def looked(build):
    """What a command saw; its status and output; and another lab's, run at the same time."""
    with tempfile.TemporaryDirectory(prefix="a dir's ", dir=build) as name:
        directory = Path(name)
        (directory / "out").mkdir()
        other = start(build, "--", "sh", "-c", "echo other; kill -TERM $$")
        this = start(build, "--out", "out", "--env", "WISHED", "--env", "SET=by hand", "--",
                     "/usr/bin/python3", "-c", LOOK_AROUND, *ODD_WORDS, cwd=directory)
        code, out, err = finish(this)
        facts = json.loads((directory / "out/facts").read_text())
        yield {"code": code, "out": out, "err": err, "facts": facts, "directory": directory,
               "processes": [this, other], "other": finish(other)}


def test_exit_status_and_output_pass_through(looked):
    assert looked["err"] == b"to stderr\n"
    assert looked["code"] == 42
    assert hashlib.sha256(looked["out"]).digest() == hashlib.sha256(BIG_BYTES).digest()


def test_a_second_lab_runs_at_the_same_time_and_a_signal_death_is_128_and_its_number(looked):
    assert looked["other"] == (128 + signal.SIGTERM, b"other\n", b"")


def test_nothing_is_left_behind(build, looked):
    for process in looked["processes"]:
        assert_nothing_left(build, process)


def test_command_gets_its_words_directory_and_environment(build, looked):
    facts = looked["facts"]
    assert facts["words"] == ODD_WORDS
    assert facts["cwd"] == str(looked["directory"])
    assert facts["uid"] == 0
    assert facts["stdin"] == ""
    assert facts["env"]["PATH"] == os.environ["PATH"]
    assert facts["env"]["WISHED"] == "a 'wish'\n"
    assert facts["env"]["SET"] == "by hand"
    assert "UNWISHED" not in facts["env"]
    assert facts["env"]["LAB_OUT"] == str(looked["directory"] / "out")
    assert facts["env"]["BULKHEAD_BUILD"] == str(build)
    assert facts["signals"] == ["0" * 16] * 2, "blocked or ignored signals"


def test_out_directory_comes_back_and_nothing_else_does(looked):
    facts, directory = looked["facts"], looked["directory"]
    assert facts["wrote"] == "x"
    assert sorted(p.name for p in directory.iterdir()) == ["out"]
    file = directory / "out/deep/er/file"
    assert file.stat().st_size == 1_000_000
    assert file.stat().st_mode & 0o7777 == 0o640
    assert os.readlink(directory / "out/link") == "deep"


def test_machine_has_kvm_and_looks_like_a_host(build, looked):
    facts = looked["facts"]
    assert facts["release"] == (build / "kernel/version").read_text().strip()
    assert facts["hostname"] == "lab"
    assert facts["kvm_mode"] == "0o600"
    assert facts["kvm_api"] == 12
    assert facts["vm_fd"] > 2
    assert facts["devices"] == []
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(facts["controllers"])
    assert sorted(facts["enabled"]) == sorted(facts["controllers"])
    assert facts["own_cgroup"] == "0::/"
    assert "apparmor" in facts["lsm"]
    assert "mitigations=off" in facts["cmdline"]
    expected = {"/": "overlay", "/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/dev/pts": "devpts",
                "/dev/shm": "tmpfs", "/run": "tmpfs", "/sys/fs/cgroup": "cgroup2",
                "/sys/kernel/security": "securityfs", "/sys/kernel/debug": "debugfs",
                "/sys/kernel/tracing": "tracefs"}
    assert {path: facts["mounts"].get(path) for path in expected} == expected


def test_tmp_is_fresh_unless_it_is_needed(looked):
    if str(looked["directory"]).startswith("/tmp/"):
        assert looked["facts"]["tmp"] != []
    else:
        assert looked["facts"]["tmp"] == []


# --- nested virtualization, the reason for all this

GUEST_INIT = """#!/bin/sh
mount -t proc proc /proc
echo "guest is up: $(uname -r)"
reboot -f
"""


@pytest.mark.slow
def test_a_linux_guest_boots_inside(build):
    init = build / "guest-init"
    init.write_text(GUEST_INIT)
    initrd = build / "guest.cpio.gz"
    subprocess.run([TOOLS / "mkinitramfs", "--out", initrd, "--init", init], check=True)
    code, out, err = lab(
        build, "--", "qemu-system-x86_64", "-accel", "kvm", "-M", "microvm,rtc=on", "-cpu", "host", "-m", "256",
        "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", build / "kernel/vmlinux",
        "-initrd", initrd, "-append", "console=ttyS0 quiet reboot=t panic=-1")
    assert code == 0, err
    version = (build / "kernel/version").read_text().strip()
    assert f"guest is up: {version}" in out.decode()


# --- the ways in which a run ends early

def test_timeout_is_one_line_and_status_124(build):
    process = start(build, "--timeout", "15", "--", "sh", "-c", "echo before; sleep 1000")
    assert finish(process) == (124, b"before\n", b"lab: timed out after 15 s\n")
    assert_nothing_left(build, process)


@pytest.mark.slow
def test_panic_is_one_line_and_status_125(build):
    process = start(build, "--", "sh", "-c", "echo c >/proc/sysrq-trigger")
    assert finish(process) == (125, b"", b"lab: the machine panicked: sysrq triggered crash\n")
    assert_nothing_left(build, process)


@pytest.mark.slow
def test_a_directory_that_is_not_visible_inside_is_refused(build):
    process = start(build, "--", "true", cwd="/dev/shm")
    code, _, _ = finish(process)
    assert code == 0  # it exists inside as well
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        process = start(build, "--", "true", cwd=name)
        assert finish(process) == (125, b"", f"lab: the directory {name} is not visible inside\n".encode())


def test_interrupt_leaves_nothing_and_output_was_live(build):
    process = start(build, "--", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert (code, err) == (-signal.SIGINT, b"")
    assert_nothing_left(build, process)


def test_kill_ends_the_machine_and_the_next_run_tidies_up(build):
    killed = start(build, "--", "sleep", "1000")
    while not list((build / "lab").glob("run.*/status")):
        time.sleep(0.05)
    killed.kill()
    finish(killed)
    next_one = start(build, "--timeout", "1", "--", "true")
    code, _, err = finish(next_one)
    assert (code, err) == (124, b"lab: timed out after 1 s, before the machine was up\n")
    assert_nothing_left(build, killed)
    assert_nothing_left(build, next_one)
