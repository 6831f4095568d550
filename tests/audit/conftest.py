"""The way to guests and to the host is that of the end-to-end tests. Recorded hosts need none of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import host as host_module  # noqa: E402
import live  # noqa: E402
from bulkhead import Guests  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def orphans():
    host_module.adopt_orphans()


@pytest.fixture
def host(tmp_path_factory):
    """The host before the test; after it, nothing may be left."""
    here = host_module.Host(tmp_path_factory.mktemp("cwd"))
    yield here
    here.assert_clean()


@pytest.fixture
def guests(host):
    """Starts bulkhead's guests; those that still run are ended before the host is looked at."""
    all_guests = Guests(host.cwd)
    yield all_guests
    all_guests.close()


@pytest.fixture
def qemus(host):
    """Starts guests of QEMU, likewise."""
    all_qemus = live.Qemus()
    yield all_qemus
    all_qemus.close()
