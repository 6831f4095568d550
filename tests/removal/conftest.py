"""The way to guests, hosts and /proc is that of the end-to-end tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import host  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def orphans():
    host.adopt_orphans()
