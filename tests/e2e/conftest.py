"""
End-to-end tests: they drive the built programs on this host's KVM and look at the outcome from outside. As root:

    /usr/bin/python3 -m pytest tests/e2e

BULKHEAD_BUILD   the build directory (default: build)
BULKHEAD_GUESTS  the bare-metal guests (default: guests in the build directory)
BULKHEAD_SLOW    how many times slower than a usual host this one is: time limits are stretched by it (default: 1)
"""

import signal

import pytest

import host as host_module
from bulkhead import SANITIZED, Guests
from disk_guest import Scratch, make_rootfs
from linux_guest import HERE

collect_ignore = [] if SANITIZED else ["test_sanitized.py"]  # about builds with a sanitizer only


@pytest.fixture(scope="session", autouse=True)
def orphans():
    host_module.adopt_orphans()


@pytest.fixture(scope="session", autouse=True)
def interrupts():
    """A shell starts what runs in the background with SIGINT ignored, and so would run whatever is started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def host(tmp_path_factory):
    """The host before the test; after it, nothing may be left."""
    here = host_module.Host(tmp_path_factory.mktemp("cwd"))
    yield here
    here.assert_clean()


@pytest.fixture
def guests(host):
    """Starts guests; those that still run are ended before the host is looked at."""
    all_guests = Guests(host.cwd)
    yield all_guests
    all_guests.close()


@pytest.fixture(scope="session")
def rootfs():
    """The Debian that Linux guests with disks boot."""
    if HERE:
        make_rootfs()


@pytest.fixture
def scratch(tmp_path):
    """Where images of a test lie."""
    here = Scratch(tmp_path / "images", "1G")
    yield here
    here.close()
