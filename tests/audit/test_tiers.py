"""
What an auditor with fewer privileges says: what it can, and of the rest that it is not determined, and what that takes.

The table is about the checks' questions to the kernel, whoever may ask them; it was made from the kernel's sources and not
from the checks.
"""

import os
import re
import subprocess

import pytest

import live
from bulkhead import Guests, needs_kvm
from live import audit

pytestmark = needs_kvm

# Any user gets an answer to all that these rest on.
ANY_USER = """
PROC-DUMPABLE PROC-TRACED PROC-ARGV PROC-PROFILE NS-USER
PRIV-ROOT PRIV-UIDUNIQ PRIV-GROUPS PRIV-CAPS PRIV-NNP PRIV-DEVKVM SYS-SECCOMP FS-MOUNTS
MEM-KSM MEM-ECC MEM-INITFREE
CPU-VULN CPU-L1TF CPU-SMT CPU-SHARE CPU-SPEC CPU-VMSCAPE CPU-SRSO CPU-NXHP CPU-UCODE CPU-CMDLINE
KVM-VENDOR KVM-PARAMS KVM-SPLITLOCK
NET-VSOCK DEV-UNSAFE DEV-LEGACY
RES-MEM RES-CPU RES-PIDS RES-IO RES-CGOWN RES-CGSHARE RES-NOFILE RES-RT RES-OOM RES-KTHR
LIFE-HIB KRN-SYSCTL KRN-YAMA KRN-LOCKDOWN KRN-VERSION
""".split()

# Of these, any user gets a part: enough for some verdicts, on some hosts. What belongs to a guest, a program, an interface or
# RAM, is found by its descriptors and links, which only its owner may read.
PARTLY_ANY_USER = """
NS-PID NS-PROCVIS PROC-ELF FS-PARENTS MEM-SWAP KVM-NESTED SYS-LANDLOCK
STO-HOSTMNT DEV-RESET NET-FLOOD NET-L2 NET-TAPOWN NET-HOSTLL NET-HOSTSVC NET-UNIXABS RES-OVER
""".split()

PRIVILEGE = re.compile(r"\b(root|CAP_\w+|user|owner|privilege)\b|--deep|/dev/kvm")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Two guests of ours and, where there is one, one of QEMU. They spin: what has run no guest code is hard to see."""
    guests, qemus = Guests(tmp_path_factory.mktemp("cwd")), live.Qemus()
    try:
        ours = [live.start(guests, "spin"), live.start(guests, "spin")]
        theirs = [qemus.start("spin")] if live.QEMU.exists() else []
        yield [guest.name for guest in ours + theirs]
    finally:
        guests.close()
        qemus.close()


def assert_tier(report, pids, may):
    """Nothing is made up, and nothing that can be said is left out."""
    assert set(pids) <= {guest["pid"] for guest in report["guests"]}
    lost = [finding for finding in report["findings"] if finding["id"] in ANY_USER and finding["verdict"] == "UNKNOWN"
            and PRIVILEGE.search(finding["needs"] or "")]
    assert not lost, "\n".join(f"{f['id']}: {f['text']} needs {f['needs']}" for f in lost)
    for finding in report["findings"]:
        if finding["id"] not in may:
            assert finding["verdict"] != "PASS", finding
            assert finding["verdict"] != "UNKNOWN" or finding["needs"], finding
    assert any(finding["verdict"] == "PASS" for finding in report["findings"])
    assert any(finding["verdict"] == "UNKNOWN" for finding in report["findings"])


@pytest.mark.parametrize("arguments, prefix", [(["--lite"], ()), ([], live.AS_ORDINARY_USER),
                                               (["--lite"], live.AS_ORDINARY_USER)],
                         ids=["root gives up all", "an ordinary user", "an ordinary user gives up all"])
def test_without_privileges(names, arguments, prefix):
    pids = [guest["pid"] for guest in audit()[0]["guests"] if guest["name"] in names]
    assert len(pids) == len(names)
    report, status = audit(*arguments, prefix=prefix)
    assert_tier(report, pids, ANY_USER + PARTLY_ANY_USER)
    assert status != 0


def test_an_owner_sees_descriptors_and_namespaces(names):
    everything, _ = audit()
    report, _ = audit("--owner")
    for name in names:
        theirs = live.verdicts(report, name, *names)
        for check, all_seen in live.verdicts(everything, name, *names).items():
            if check in ("NS-PID", "PROC-EXE", "FS-FDS", "SYS-SECCOMP"):
                assert theirs[check] == all_seen != {"UNKNOWN"}, check
    count, = [finding for finding in report["findings"] if finding["id"] == "INV-COUNT"]
    assert count["verdict"] == "UNKNOWN" and "/dev/kvm" in count["needs"]


def test_an_owner_without_the_privilege_is_refused():
    run = subprocess.run([*live.AS_ORDINARY_USER, live.PROGRAM, "--owner"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (3, "")
    assert re.fullmatch(r"bulkhead: audit --owner: CAP_SYS_PTRACE is needed .*\n", run.stderr)


@pytest.mark.parametrize("tier, kept", [("--lite", "0000000000000000"), ("--owner", "0000000000080004"), (None, None)])
def test_what_is_kept(tmp_path, tier, kept):
    """As the auditor itself is told by the kernel; the recording is written with the rights of the caller."""
    recording = tmp_path / "host.fixture"
    audit(*[tier] * bool(tier), "--record", recording)
    asked = recording.read_text(errors="replace").split("\n? read /proc/self/status\n")[1].split("\n? ")[0]
    facts = dict(re.findall(r"^.(\w+):\\t(.*)$", asked, re.MULTILINE))
    assert recording.stat().st_mode == 0o100600 and recording.stat().st_uid == 0
    if not tier:
        assert facts["Uid"].startswith("0")
        return
    assert [facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16, kept, kept, "0" * 16]
    assert (facts["Uid"], facts["Gid"], facts["Groups"].strip(), facts["NoNewPrivs"]) == \
        (r"65534\t65534\t65534\t65534",) * 2 + ("", "1")


def test_the_page_is_written_with_the_rights_of_the_caller(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old" * 1000000)
    audit("--lite", "--html", page)
    assert page.read_text().startswith("<!DOCTYPE html>") and page.read_text().rstrip().endswith("</html>")
    assert (page.stat().st_uid, os.listdir(tmp_path)) == (0, ["page.html"])
    link = tmp_path / "link.html"
    link.symlink_to(page)
    run = subprocess.run([live.PROGRAM, "--lite", "--html", link], capture_output=True, check=False)
    assert run.returncode == 1 and b"symbolic link" in run.stderr


@pytest.mark.parametrize("arguments", [["--lite", "--owner"], ["--lite", "--fixture", "/dev/null"]])
def test_tiers_that_make_no_sense(arguments):
    run = subprocess.run([live.PROGRAM, *arguments], capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr.count(b"\n")) == (2, b"", 1)


def test_the_table_is_about_checks_that_exist():
    assert set(ANY_USER + PARTLY_ANY_USER) <= {check["id"] for check in audit()[0]["checks"]}
