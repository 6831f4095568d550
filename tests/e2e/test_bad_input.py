"""Wrong input and broken hosts: one line on standard error, the documented exit status, and nothing left behind."""

import json
import os
import re
import shutil
import subprocess

import pytest

import elf
from bulkhead import BUILD, GUESTS, Guests, Status, needs_kvm, new_name, own_words, run_arguments
from elf import BASE, HALT, Segment
from host import seconds

pytestmark = needs_kvm


@pytest.fixture
def refused(host):
    """
    Runs argv, which must be refused with this status and one line, and leave nothing; returns that line. output is what
    may come out of a guest that ran for a moment.
    """
    def run(argv, status, timeout=20, output=b""):
        r = subprocess.run([os.fspath(a) for a in argv], cwd=host.cwd, stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=seconds(timeout))
        assert r.returncode == status and output.startswith(r.stdout), (r.stdout, r.stderr)
        errors = own_words(r.stderr)
        assert re.fullmatch(rb"bulkhead(-json)?: [ -~]+\n", errors), errors
        host.assert_clean()
        return errors.decode()
    return run


def arguments(*options, image="hello", **spec):
    return run_arguments(image, "--test-device", *options, name=new_name(), **spec)


# ---- the host ----

def in_private_mounts(setup, argv):
    """argv after setup, shell commands, in a mount namespace of its own."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", setup + '\nexec "$@"', "sh", *argv]


def test_no_dev_kvm(refused):
    setup = """mount -t tmpfs -o mode=755 none /dev
               mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/zero c 1 5; mknod -m 666 /dev/urandom c 1 9"""
    line = refused(in_private_mounts(setup, arguments()), Status.HOST)
    assert "/dev/kvm" in line and "No such file" in line and "doctor" in line


def test_dev_kvm_may_not_be_opened(refused, tmp_path):
    # root may open every node, except on a file system without devices.
    setup = f"""mount -t tmpfs -o nodev none {tmp_path}
                mknod {tmp_path}/kvm c 10 232; mount --bind {tmp_path}/kvm /dev/kvm"""
    line = refused(in_private_mounts(setup, arguments()), Status.HOST)
    assert "/dev/kvm" in line and "ermission denied" in line


def test_dev_kvm_is_something_else(refused):
    assert "/dev/kvm" in refused(in_private_mounts("mount --bind /dev/null /dev/kvm", arguments()), Status.HOST)


@pytest.mark.parametrize("options, what", [
    ("size=64k", "dd if=/dev/zero of=/run/bulkhead/full bs=4k 2>/dev/null || true"),
    ("nr_inodes=3", "true"),  # the root, guests and ids
    ("nr_inodes=2", "true"),
    ("nr_inodes=5", "true"),
])
def test_full_disk_for_the_state(refused, options, what):
    setup = f"mkdir -p /run/bulkhead; mount -t tmpfs -o mode=700,{options} none /run/bulkhead; {what}"
    line = refused(in_private_mounts(setup, arguments(image="hlt")), Status.FAILURE, output=b"halted\n")
    assert "No space left on device" in line


def test_read_only_state_directory(refused):
    setup = "mkdir -p /run/bulkhead; mount -t tmpfs -o mode=700,ro none /run/bulkhead"
    assert "Read-only file system" in refused(in_private_mounts(setup, arguments()), Status.FAILURE)


def test_state_directory_that_others_can_write(refused):
    setup = "mkdir -p /run/bulkhead; mount -t tmpfs -o mode=777 none /run/bulkhead"
    assert "/run/bulkhead" in refused(in_private_mounts(setup, arguments()), Status.FAILURE)


def test_program_missing(refused, tmp_path):
    shutil.copy(BUILD / "bulkhead", tmp_path)
    line = refused([tmp_path / "bulkhead", *arguments()[1:]], Status.FAILURE)
    assert "bulkhead-vmm" in line


def test_vmm_is_no_program(refused, tmp_path):
    shutil.copy(BUILD / "bulkhead", tmp_path)
    (tmp_path / "bulkhead-vmm").write_bytes(b"not a program")
    (tmp_path / "bulkhead-vmm").chmod(0o755)
    assert "bulkhead-vmm" in refused([tmp_path / "bulkhead", *arguments()[1:]], Status.FAILURE)


# ---- images ----

def of_bytes(data):
    def make(path):
        path.write_bytes(data)
    return make


def sparse(size):
    def make(path):
        path.write_bytes(b"")
        os.truncate(path, size)
    return make


LOADED = Segment(BASE, HALT)
LAST = 2**64

BAD_KERNELS = {
    "missing": lambda path: None,
    "empty": of_bytes(b""),
    "text": of_bytes(b"#!/bin/sh\necho this is not a kernel\n" * 100),
    "one byte": of_bytes(b"\x7f"),
    "zeros": sparse(1 << 20),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "32-bit": of_bytes(elf.image([LOADED], bits=32, with_note=False)),
    "32-bit with a PVH note": of_bytes(elf.image([LOADED], bits=32)),
    "another processor": of_bytes(elf.image([LOADED], machine=183)),
    "nothing to load": of_bytes(elf.image([])),
    "no memory": of_bytes(elf.image([Segment(BASE, b"", memsz=0)])),
    "segments overlap": of_bytes(elf.image([LOADED, Segment(BASE + 2, HALT)])),
    "segments are the same": of_bytes(elf.image([LOADED, LOADED])),
    "segment wraps": of_bytes(elf.image([LOADED, Segment(LAST - 4096, HALT, memsz=8192)])),
    "segment length wraps": of_bytes(elf.image([Segment(BASE, HALT, memsz=LAST - 1)])),
    "file offset wraps": of_bytes(elf.image([Segment(BASE, HALT, offset=LAST - 2)])),
    "file length wraps": of_bytes(elf.image([Segment(BASE, HALT, filesz=LAST - 1, memsz=LAST - 1)])),
    "more in the file than in memory": of_bytes(elf.image([Segment(BASE, HALT, memsz=1)])),
    "past the end of the file": of_bytes(elf.image([Segment(BASE, HALT, filesz=8192, memsz=8192)])),
    "segment past the end of memory": of_bytes(elf.image([Segment(BASE, HALT, memsz=64 << 20)])),
    "segment above memory": of_bytes(elf.image([LOADED, Segment(1 << 40, HALT)])),
    "segment in the first MiB": of_bytes(elf.image([Segment(0x7000, HALT)], entry=0x7000)),
    "entry outside": of_bytes(elf.image([LOADED], entry=BASE + 0x100000)),
    "entry at the end": of_bytes(elf.image([LOADED], entry=BASE + len(HALT))),
}


@pytest.mark.parametrize("kind", BAD_KERNELS)
def test_bad_kernel(refused, tmp_path, kind):
    BAD_KERNELS[kind](tmp_path / "kernel")
    refused(arguments(image=tmp_path / "kernel"), Status.IMAGE)


def test_the_made_up_image_is_good_otherwise(guests, tmp_path):
    """What the cases above spoil in one place each does boot."""
    (tmp_path / "kernel").write_bytes(elf.image([Segment(BASE, elf.code_verdict(7)), Segment(BASE + 4096, HALT)]))
    assert guests.run(tmp_path / "kernel", "--test-device").status_now() == Status.VERDICT + 7


def twenty_places(end):
    return [end * i // 20 for i in range(20)]


def test_truncated_elf(refused, tmp_path):
    whole = (GUESTS / "hello.elf").read_bytes()
    for end in twenty_places(elf.loaded_bytes(whole)):
        (tmp_path / "kernel").write_bytes(whole[:end])
        refused(arguments(image=tmp_path / "kernel"), Status.IMAGE)


def test_elf_without_its_last_byte(refused, guests, tmp_path):
    whole = (GUESTS / "hello.elf").read_bytes()
    needed = elf.loaded_bytes(whole)
    (tmp_path / "kernel").write_bytes(whole[:needed])
    assert guests.run(tmp_path / "kernel", "--test-device").status_now() == Status.OK
    (tmp_path / "kernel").write_bytes(whole[:needed - 1])
    refused(arguments(image=tmp_path / "kernel"), Status.IMAGE)


def test_truncated_bzimage(refused, tmp_path):
    vmlinuz = BUILD / "kernel" / "vmlinuz"
    if not vmlinuz.exists():
        pytest.skip(f"there is no {vmlinuz}")
    whole = vmlinuz.read_bytes()
    # boot.rst: setup_sects at 0x1f1, 512 bytes each, and the boot sector; syssize at 0x1f4, in 16 bytes.
    needed = ((whole[0x1f1] or 4) + 1) * 512 + int.from_bytes(whole[0x1f4:0x1f8], "little") * 16
    for end in twenty_places(min(needed, len(whole))):
        (tmp_path / "kernel").write_bytes(whole[:end])
        refused(arguments(image=tmp_path / "kernel", mem="256M"), Status.IMAGE)


BAD_INITRDS = {
    "missing": lambda path: None,
    "empty": of_bytes(b""),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "as large as memory": sparse(64 << 20),
    "larger than memory": sparse(1 << 30),
    "larger than any memory": sparse(1 << 43),
}


@pytest.mark.parametrize("kind", BAD_INITRDS)
def test_bad_initrd(refused, tmp_path, kind):
    BAD_INITRDS[kind](tmp_path / "initrd")
    refused(arguments("--initrd", tmp_path / "initrd"), Status.IMAGE)


@pytest.mark.parametrize("length", [2048, 2049, 100_000])
def test_command_line_too_long(refused, length):
    refused(arguments(cmdline="x" * length), Status.IMAGE)


def test_longest_command_line(guests):
    assert guests.run("hello", "--test-device", cmdline="x" * 2047).status_now() == Status.OK


# ---- numbers and names ----

@pytest.mark.parametrize("cpus", ["0", "65", "1000000000", "-1", "1.5", "", "two", "18446744073709551617", " 1"])
def test_bad_cpus(refused, cpus):
    assert "--cpus" in refused(arguments(cpus=cpus), Status.USAGE)


@pytest.mark.parametrize("mem", ["0", "1M", "1P", "100T", "-64M", "", "64MB", "3000000", "16777216T", "64m "])
def test_bad_memory(refused, mem):
    assert "--mem" in refused(arguments(mem=mem), Status.USAGE)


@pytest.mark.parametrize("name", ["{}a/b", "../{}", "", "{}" + 300 * "x", "{}" + 63 * "x", "-{}", ".{}", "{} ", "{}\n",
                                  "{}é", "{}\x1b[2J"])
def test_bad_name(refused, name):
    argv = run_arguments("hello", name=name.replace("{}", new_name()))
    refused(argv, Status.USAGE)


def test_name_is_taken(host, refused):
    others = Guests(host.cwd)
    try:
        first = others.start("hlt")
        first.wait_output(rb"halted\n")
        host.before = host.before | host.left()  # the first guest is not the second one's leftover
        line = refused(run_arguments("hello", name=first.name), Status.NAME)
        assert first.name in line
        assert first.status_now() is None
    finally:
        others.close()


# ---- options and configurations ----

@pytest.mark.parametrize("options", [
    ["--frobnicate"], ["--kern", "x"], ["-k", "x"], ["--test-device=yes"], ["--cpu", "486"], ["--on-reset", "explode"],
    ["--cpu-limit", "0"], ["--cpu-limit", "6501"], ["--io-limit", "/dev/null,rbps=1"],
    ["--io-limit", "/dev/none,rbps=1"], ["--io-limit", "7:0"], ["--io-limit", "7:0,rbps=0"], ["--io-limit", "0:0,rbps=1"], ["--kernel"], ["stray"],
], ids=" ".join)
def test_bad_option(refused, options):
    refused(arguments(*options) if options != ["--kernel"] else [*arguments(), "--kernel"], Status.USAGE)


@pytest.mark.parametrize("argv", [["frobnicate"], ["run"], ["run", "e2e"], ["run", "--kernel", "x"], ["kill"],
                                  ["kill", "--frobnicate"], ["version", "x"]], ids=" ".join)
def test_bad_command(refused, argv):
    refused([BUILD / "bulkhead", *argv], Status.USAGE)


def deep(depth):
    return b"[" * depth + b"]" * depth


BAD_CONFIGS = {
    "empty": b"",
    "not JSON": b"kernel = /boot/vmlinuz\n",
    "cut off": b'{"cpus": 1',
    "an array": b"[]",
    "binary": bytes(range(256)),
    "unknown key": b'{"frobnicate": 1}',
    "key of another case": b'{"CPUs": 1}',
    "key given twice": b'{"cpus": 1, "cpus": 2}',
    "text for a number": b'{"cpus": "1"}',
    "number for a text": b'{"kernel": 1}',
    "fraction": b'{"cpus": 1.5}',
    "null": b'{"cpus": null}',
    "number out of range": b'{"cpus": 65}',
    "number beyond 64 bits": b'{"cpus": 18446744073709551617}',
    "bad memory": b'{"memory": "1X"}',
    "NUL in a path": b'{"kernel": "/boot\\u0000/x"}',
    "not UTF-8": b'{"kernel": "\xff"}',
    "depth 100000": deep(100_000),
    "depth 100000 of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "io limit without a limit": b'{"io_limits": [{"major": 7, "minor": 0}]}',
    "io limits of an unknown key": b'{"io_limits": [{"major": 7, "minor": 0, "rbps": 1}]}',
    "trailing garbage": b"{} {}",
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_bad_configuration(refused, tmp_path, kind):
    (tmp_path / "guest.json").write_bytes(BAD_CONFIGS[kind])
    refused(arguments("--config", tmp_path / "guest.json"), Status.USAGE)


@pytest.mark.parametrize("fill", [b" ", b"[", b"\0"], ids=["spaces", "brackets", "zeros"])
def test_configuration_of_100_mb(refused, tmp_path, fill):
    with open(tmp_path / "guest.json", "wb") as f:
        for _ in range(100):
            f.write(fill * 1_000_000)
    refused(arguments("--config", tmp_path / "guest.json"), Status.USAGE)


def test_configuration_that_never_ends(refused):
    refused(arguments("--config", "/dev/zero"), Status.USAGE)


def test_configuration_that_is_missing(refused, tmp_path):
    assert "guest.json" in refused(arguments("--config", tmp_path / "guest.json"), Status.USAGE)


def test_configuration_that_is_a_directory(refused, tmp_path):
    refused(arguments("--config", tmp_path), Status.USAGE)


def test_good_configuration(guests, tmp_path):
    """What the cases above spoil in one place each does start a guest."""
    (tmp_path / "guest.json").write_text(json.dumps({
        "cpus": 2, "memory": "64M", "on_reset": "exit", "test_device": True, "cmdline": "cpus=2",
        "io_limits": []}))
    guest = guests.run("smp", "--config", tmp_path / "guest.json", cpus=2)
    assert guest.status_now() == Status.OK, guest.errors
