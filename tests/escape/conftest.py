"""Attempts to break out of the jail; see test_escape.py. The helpers of tests/e2e are used, and its environment."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import host as host_module  # noqa: E402
from table import REPORT  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def orphans():
    host_module.adopt_orphans()


@pytest.fixture
def host(tmp_path_factory):
    """The host before the test; after it, nothing may be left."""
    here = host_module.Host(tmp_path_factory.mktemp("cwd"))
    yield here
    here.assert_clean()


def pytest_terminal_summary(terminalreporter):
    for line in REPORT:
        terminalreporter.write_line(line)
