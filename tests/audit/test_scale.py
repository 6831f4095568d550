"""Many guests take seconds, and each is told of as the first is. Hosts are made up (many.py); bench/audit.py has real ones."""

import json
import os
import subprocess
import time

import pytest

import many
from host import seconds
from test_fixtures import BUILD

FEW, MANY = 250, 1000
LIMIT_S = 60  # of a busy machine; a free one takes a tenth
GROWTH = 2  # a guest among MANY takes at most this many times what one among FEW does


def audit(tmp_path, guests):
    fixture = tmp_path / f"{guests}.fixture"
    fixture.write_text("\n".join(many.many(guests)) + "\n")
    begun = os.times()
    started = time.monotonic()
    run = subprocess.run([BUILD / "bulkhead-audit", "--deep", "--json", "--fixture", fixture], stdout=subprocess.PIPE,
                         timeout=seconds(LIMIT_S), check=False)
    assert run.returncode in (0, 6, 10)
    ended = os.times()
    print(f"{guests} guests: {time.monotonic() - started:.1f} s")
    return json.loads(run.stdout), sum(ended[2:4]) - sum(begun[2:4])


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    return {guests: audit(tmp_path_factory.mktemp("many"), guests) for guests in (FEW, MANY)}


def test_a_guest_takes_the_same_time_among_many(audited):
    few, many_ = (audited[guests][1] / guests for guests in (FEW, MANY))
    assert many_ < GROWTH * few + 0.001


def test_each_guest_is_told_of_as_the_first(audited):
    report, _ = audited[MANY]
    names = [guest["name"] for guest in report["guests"] if guest["name"].startswith("guest")]
    assert len(names) == MANY
    told = {name: [] for name in names}
    for finding in report["findings"]:
        for name in finding["guests"]:
            if name in told:
                told[name].append((finding["id"], finding["verdict"]))
    first = told.pop(names[0])
    assert first and not {name for name, findings in told.items() if findings != first}
