"""
Merged pages are shown while there are any, and not before: the kernel's samepage merging is switched on over two guests of
QEMU, which offers their memory by default, and one of ours, which does not.
"""

import time
from pathlib import Path

import pytest

import live
from bulkhead import needs_kvm
from host import seconds
from live import audit, needs_qemu

KSM = Path("/sys/kernel/mm/ksm")
RUN, UNMERGE = "1", "2"
EAGER = {"sleep_millisecs": "1", "pages_to_scan": "20000", "smart_scan": "0", "advisor_mode": "none"}
MERGED_BY_S = 60

pytestmark = [needs_kvm, needs_qemu,
              pytest.mark.skipif(not (KSM / "run").exists(), reason="this kernel merges no pages")]


def setting(name):
    """Of a list of choices, the one in brackets."""
    text = (KSM / name).read_text(encoding="ascii").strip()
    return text.split("[")[1].split("]")[0] if "[" in text else text


@pytest.fixture
def ksm():
    """Switches merging on; afterwards all is as before, and nothing merged."""
    names = [name for name in ("advisor_mode", *EAGER) if (KSM / name).exists()]
    before = {name: setting(name) for name in ("run", *names)}

    def switch_on():
        for name in names:
            (KSM / name).write_text(EAGER[name], encoding="ascii")
        (KSM / "run").write_text(RUN, encoding="ascii")

    yield switch_on
    (KSM / "run").write_text(UNMERGE, encoding="ascii")
    for name in reversed(names):
        (KSM / name).write_text(before[name], encoding="ascii")
    (KSM / "run").write_text(before["run"], encoding="ascii")


def verdict_of(report, check, *names):
    """The worst that is said of those guests alone or together, by severity of the word."""
    order = ["NA", "PASS", "WARN", "UNKNOWN", "FAIL"]
    said = [finding["verdict"] for finding in report["findings"]
            if finding["id"] == check and set(names) <= set(finding["guests"])]
    return max(said, key=order.index, default=None)


def merged_pages(report, *names):
    return [finding for finding in report["findings"]
            if finding["id"] == "MEM-PFN" and finding["verdict"] == "FAIL" and set(names) <= set(finding["guests"])]


def test_merging_is_shown_while_it_happens(guests, qemus, ksm):
    ours, theirs = live.start(guests), [qemus.start(), qemus.start()]
    names = [guest.name for guest in theirs]

    before, _ = audit()
    if setting("run") != RUN:
        assert verdict_of(before, "MEM-KSM") != "FAIL"
        assert [verdict_of(before, "MEM-KSMG", name) for name in names] == ["WARN", "WARN"]
        assert [verdict_of(before, "MEM-PFN", name) for name in (*names, ours.name)] == ["PASS"] * 3

    ksm()
    until = time.monotonic() + seconds(MERGED_BY_S)
    while True:
        during, status = audit()
        if merged_pages(during, *names) or time.monotonic() > until:
            break
        time.sleep(0.5)
    assert status == 6
    assert verdict_of(during, "MEM-KSM") == "FAIL"
    finding = merged_pages(during, *names)[0]
    assert "(KSM)" in finding["text"]
    assert [verdict_of(during, "MEM-KSMG", name) for name in names] == ["FAIL", "FAIL"]
    assert [verdict_of(during, check, ours.name) for check in ("MEM-KSMG", "MEM-PFN")] == ["PASS", "PASS"]

    (KSM / "run").write_text(UNMERGE, encoding="ascii")
    after, _ = audit()
    assert not merged_pages(after, *names)
    assert verdict_of(after, "MEM-KSM") == "PASS"
