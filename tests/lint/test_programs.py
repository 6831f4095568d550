"""How the programs are linked.

Those on the start path and in the jail are static-pie: an interpreter would be a file that the jail does not have, and
a needed library one that is mapped from the host. readelf's words are in binutils' documentation.
"""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import sources

BUILD = Path(os.environ.get("BULKHEAD_BUILD", sources.ROOT / "build"))
STATIC = ["bulkhead", "bulkhead-vmm", "bulkhead-blk", "bulkhead-rng"]
ALL = [*STATIC, "bulkhead-json", "bulkhead-audit", "bulkhead-storage.so"]


def readelf(path):
    return subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", path], check=True,
                          stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def file_needs(elf):
    """What the program takes from the file system before it runs."""
    return re.findall(r"^ +(INTERP) |\((NEEDED)\)", elf, re.MULTILINE)


def weaknesses(elf):
    found = []
    if not re.search(r"^ +Type: +DYN ", elf, re.MULTILINE):
        found.append("not position-independent")
    if "GNU_RELRO" not in elf or not re.search(r"\((FLAGS|BIND_NOW|FLAGS_1)\).*\bNOW\b|\(BIND_NOW\)", elf):
        found.append("not full RELRO")
    stack = re.search(r"^ +GNU_STACK( +0x[0-9a-f]+){5} ([RWE ]{3})", elf, re.MULTILINE)
    if not stack or "E" in stack.group(2):
        found.append("executable stack")
    if re.search(r"^ +LOAD( +0x[0-9a-f]+){5} RWE", elf, re.MULTILINE):
        found.append("memory both writable and executable")
    if "(TEXTREL)" in elf:
        found.append("relocations in text")
    return found


@pytest.mark.parametrize("name", STATIC)
def test_no_file_is_needed_to_start(name):
    assert file_needs(readelf(BUILD / name)) == []


def test_what_is_in_the_storage_daemon_needs_the_c_library_only():
    path = BUILD / "bulkhead-storage.so"
    assert re.findall(r"\(NEEDED\) +Shared library: \[(.*)\]", readelf(path)) == ["libc.so.6"]
    symbols = subprocess.run(["nm", "--dynamic", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    assert {line.split()[-1] for line in symbols.splitlines()} == {"accept4", "io_uring_queue_init", "listen", "open64",
                                                                   "syscall", "unlink"}


@pytest.mark.parametrize("name", ALL)
def test_hardened(name):
    assert weaknesses(readelf(BUILD / name)) == []


def link(directory, *flags):
    source, program = directory / "x.c", directory / "x"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-o", program, source, *flags], check=True, stderr=subprocess.DEVNULL)
    return readelf(program)


def introspect(what):
    return json.loads(subprocess.run(["meson", "introspect", what, BUILD], check=True, stdout=subprocess.PIPE).stdout)


def test_no_program_that_leaves_something_out_is_installed():
    targets = [target for target in introspect("--targets") if "/tests/" in target["defined_in"]]
    assert len([target for target in targets if "leave_out" in target["defined_in"]]) > 50
    assert [target["name"] for target in targets if target["installed"]] == []
    assert [path for path in introspect("--installed") if "/tests/" in path] == []


@pytest.mark.parametrize("flags, weakness", [
    (["-no-pie"], "not position-independent"),
    (["-pie", "-Wl,-z,norelro"], "not full RELRO"),
    (["-pie", "-Wl,-z,relro,-z,lazy"], "not full RELRO"),
    (["-pie", "-Wl,-z,relro,-z,now,-z,execstack"], "executable stack"),
])
def test_a_weak_program_is_flagged(tmp_path, flags, weakness):
    assert weakness in weaknesses(link(tmp_path, *flags))


def test_a_dynamic_program_is_flagged(tmp_path):
    assert file_needs(link(tmp_path)) == [("INTERP", ""), ("", "NEEDED")]
