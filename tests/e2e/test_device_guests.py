"""Bare-metal guests with devices: those that use them as they should, and those that do all they can against them."""

import hashlib
import os
import re

import pytest

from bulkhead import BUILD, EMULATED_RING0, Status, needs_kvm

pytestmark = [pytest.mark.both, needs_kvm, *([pytest.mark.slow] if "LAB" in os.environ else [])]

MIB = 1 << 20
DISK_BYTES = 4 * MIB
REACTION = re.compile(r"^(\w+): ([\w-]+): (\d+ completed.*|needs reset|ignored|no request)$", re.MULTILINE)
MEMORY_CHANGED = 10  # the verdict: guests/lib/hostile.h
TABLE = BUILD / "test-results/hostile-devices.md"


def passes(guests, image, *options, timeout=120, **spec):
    """Runs a guest that must end with the verdict 0; returns what it printed."""
    guest = guests.run(image, "--test-device", *options, timeout=timeout, **spec)
    assert guest.status_now() == Status.OK, (guest.output[-2000:].decode(), guest.errors)
    return guest.output.decode()


@pytest.fixture
def image(tmp_path):
    """A disk full of bytes."""
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(DISK_BYTES))
    return path


# --- guests that behave

def test_entropy(guests):
    out = passes(guests, "rng", "--rng", cmdline="bytes=256 rounds=16")
    assert out.count("rng: 256 bytes ") == 16


def test_no_entropy_device_unless_asked_for(guests):
    passes(guests, "rng", "--no-rng", cmdline="none")


@pytest.mark.parametrize("options", ["", ",direct", ",engine=sync", ",direct,engine=sync"])
def test_a_disk_keeps_what_is_written(guests, image, options):
    if "direct" in options:
        try:
            os.close(os.open(image, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            pytest.skip("this file system has no direct I/O")
    out = passes(guests, "blk", "--disk", f"{image}{options},id=serial-1", cmdline="id=serial-1 seed=7")
    assert f"blk: write ok, {DISK_BYTES // 512} sectors" in out
    for what in ("flush", "read", "write-zeroes", "discard"):
        assert f"blk: {what} ok" in out
    passes(guests, "blk", "--disk", f"{image},ro", cmdline="verify seed=7")
    assert image.stat().st_size == DISK_BYTES


def test_a_disk_is_not_what_another_was(guests, image):
    """The guest does compare."""
    guest = guests.run("blk", "--test-device", "--disk", image, timeout=60, cmdline="verify")
    assert guest.status_now() == Status.VERDICT + 1
    assert b"blk: read failed: sector 0: wrong data" in guest.output


def test_a_read_only_disk(guests, image):
    before = image.read_bytes()
    passes(guests, "blk", "--disk", f"{image},ro", cmdline="ro")
    passes(guests, "hostile_blk", "--disk", f"{image},ro", cmdline="ro")
    assert image.read_bytes() == before


@pytest.mark.parametrize("device", ["rng", "disk"])
def test_bus_interrupts_and_reset(guests, image, device):
    options = ["--rng"] if device == "rng" else ["--disk", image]
    out = passes(guests, "pci", *options)
    for what in ("enumeration", "BARs", "BAR moved under way", "memory decoding", "MSI-X", "MSI-X vector masked",
                 "MSI-X function masked", "MSI-X off", "configuration access capability", "reset under way"):
        assert f"pci: {what} ok" in out


# --- guests that do not

# What: the guest, its least number of cases.
HOSTILE = {
    "transport": ("hostile_transport", 80),
    "configuration space": ("hostile_pci", 40),
    "rings": ("hostile_ring", 70),
    "addresses": ("hostile_dma", 100),
    "requests": (None, None),  # by device
}
REQUESTS = {"disk": ("hostile_blk", 100), "rng": ("hostile_rng", 15)}


@pytest.fixture(scope="module")
def table():
    """All reactions: {(device, family, case): reaction}; written down when the tests are over."""
    rows = {}
    yield rows
    if not rows:
        return
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    lines = ["| family | case | disk | rng |", "|---|---|---|---|"]
    for family, case in dict.fromkeys((family, case) for _, family, case in rows):
        cells = (rows.get((device, family, case), "") for device in ("disk", "rng"))
        lines.append(f"| {family} | {case} | {' | '.join(cells)} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="ascii")


class Neighbour:
    """A guest with devices of its own, and a file on the host: nothing may happen to any of them."""

    def __init__(self, guests, directory):
        self._disk, self._file = directory / "neighbour", directory / "canary"
        for path in (self._disk, self._file):
            path.write_bytes(os.urandom(MIB))
        self._sums = self._checksums()
        self._guest = guests.start("echo", "--disk", self._disk, "--rng")
        self._guest.wait_output(rb"ready\n")

    def _checksums(self):
        return [hashlib.sha256(path.read_bytes()).digest() for path in (self._disk, self._file)]

    def assert_unharmed(self):
        assert self._checksums() == self._sums
        assert self._guest.status_now() is None
        self._guest.write(b"still here")
        self._guest.wait_output(rb"still here")


@pytest.mark.parametrize("device", ["disk", "rng"])
def test_hostile_guests_see_memory_change(guests, image, device):
    options = ["--disk", image] if device == "disk" else ["--rng"]
    guest = guests.run("hostile_ring", "--test-device", *options, timeout=60, cmdline=f"{device} stray")
    assert guest.status_now() == Status.VERDICT + MEMORY_CHANGED, guest.output


@pytest.mark.parametrize("device", ["disk", "rng"])
@pytest.mark.parametrize("family", HOSTILE)
def test_hostile_guests(guests, image, tmp_path, table, device, family):
    """After each case the guest itself proves that its device works and that no memory changed that it never gave away."""
    name, least = REQUESTS[device] if family == "requests" else HOSTILE[family]
    options = ["--disk", image] if device == "disk" else ["--rng"]
    neighbour = Neighbour(guests, tmp_path)
    rounds = 50 if EMULATED_RING0 else 500
    out = passes(guests, name, *options, cpus=2, cmdline=f"{device} cpus=2 rounds={rounds}", timeout=200)
    found = REACTION.findall(out)
    assert len(found) >= least
    assert sum(int(n) for n in re.findall(r"^\w+: (\d+) cases, the device works$", out, re.MULTILINE)) == len(found)
    for _, case, reaction in found:
        table[device, family, case] = reaction
    neighbour.assert_unharmed()
    assert image.stat().st_size == DISK_BYTES
