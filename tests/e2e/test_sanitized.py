"""A build with a sanitizer (tests/jail/README.md): what it says of itself, and that a finding fails a run."""

import re
import shutil
import subprocess

import pytest

from bulkhead import BUILD, FINDING, GUESTS, NOTICE, Status, command, needs_kvm, new_name, own_words
from host import seconds

pytestmark = needs_kvm

EXIT_CODE = 99  # tests/jail/sanitizer_options.c
PLANTED = sorted(path.name.removeprefix("planted-") for path in BUILD.glob("tests/jail/planted/planted-*")
                 if path.is_file())
FINDINGS = {
    "overflow": (Status.DIED, rb"AddressSanitizer: heap-buffer-overflow on address \w+ .*\nWRITE of size 1 .*\(vcpu\d\)"),
    "undefined": (Status.DIED, rb"runtime error: signed integer overflow"),
    "supervisor": (EXIT_CODE, rb"AddressSanitizer: heap-buffer-overflow .*\nWRITE of size 1 "),
    "race": (Status.DIED, rb"ThreadSanitizer: data race .*\n  (Read|Write) of size 4 "),
}


def run(directory, host):
    argv = [directory / "bulkhead", "run", new_name(), "--kernel", GUESTS / "smp.elf", "--mem", "64M", "--cpus", "4",
            "--test-device", "--cmdline", "cpus=4"]
    return subprocess.run(argv, cwd=host.cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds(60))


def test_it_says_so_at_every_start(host):
    r = run(BUILD, host)
    assert (r.returncode, own_words(r.stderr)) == (Status.OK, b"")
    assert NOTICE.match(r.stderr)


def test_it_cannot_be_installed(tmp_path):
    r = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", tmp_path / "root"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds(60))
    assert r.returncode != 0 and b"cannot be installed" in r.stdout
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(host, tmp_path, fault):
    for program in ("bulkhead", "bulkhead-vmm"):
        shutil.copy(BUILD / program, tmp_path)
    faulty = "bulkhead" if fault == "supervisor" else "bulkhead-vmm"
    shutil.copy(BUILD / "tests/jail/planted" / f"planted-{fault}", tmp_path / faulty)

    status, report = FINDINGS[fault]
    r = run(tmp_path, host)
    assert r.returncode == status, r.stderr
    assert FINDING.search(r.stderr)
    assert re.search(report, r.stderr), r.stderr.decode()
    with pytest.raises(AssertionError):
        own_words(r.stderr)
    assert command("version").returncode == Status.OK  # sweeps, where the supervisor did not come to that


def test_faults_are_planted_for_each_sanitizer():
    assert PLANTED in (["race"], ["overflow", "supervisor", "undefined"])
