"""
Every check over recorded and made hosts: the table that says what each must find.

Beside NAME.fixture is NAME.expected with lines `ID VERDICT WHOM`: WHOM is `host`, a guest's name, or names joined by `+`. A made
fixture (fixtures/made/ID-WORD.fixture, on top of another) lists only the lines of the check it is about, the ID it begins
with; a recorded one (fixtures/recorded) lists all.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build"))
FIXTURES = ROOT / "tests/audit/fixtures"
MADE = sorted((FIXTURES / "made").glob("*.fixture"))
RECORDED = sorted((FIXTURES / "recorded").glob("*.fixture"))


def audit(fixture, *arguments):
    run = subprocess.run([BUILD / "bulkhead-audit", "--fixture", fixture, "--deep", "--json", *arguments],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode in (0, 6, 10), run.stderr
    return json.loads(run.stdout)


def line(finding):
    return f"{finding['id']} {finding['verdict']} {'+'.join(finding['guests']) or 'host'}"


def expected(fixture):
    text = fixture.with_suffix(".expected").read_text(encoding="utf-8")
    return sorted(row for row in text.splitlines() if row and not row.startswith("#"))


@pytest.mark.parametrize("fixture", [f for f in MADE if f.stem != "base"], ids=lambda f: getattr(f, "stem", None))
def test_made(fixture):
    about = {row.split()[0] for row in expected(fixture)}
    assert len(about) == 1 and fixture.stem.startswith(about.copy().pop())
    found = sorted(line(f) for f in audit(fixture)["findings"] if f["id"] in about)
    assert found == expected(fixture)


@pytest.mark.parametrize("fixture", RECORDED, ids=lambda f: getattr(f, "stem", None))
def test_recorded(fixture):
    assert sorted(line(f) for f in audit(fixture)["findings"]) == expected(fixture)


def test_every_check_is_seen_to_pass_and_at_its_worst():
    seen, worst = {}, {}
    for fixture in MADE + RECORDED:
        report = audit(fixture)
        worst.update({check["id"]: check["worst"] for check in report["checks"]})
        only = {row.split()[0] for row in expected(fixture)} if fixture.stem != "base" else set(worst)
        for finding in report["findings"]:
            if finding["id"] in only:
                seen.setdefault(finding["id"], set()).add(finding["verdict"])
    lacking = sorted(f"{id}: never {verdict}" for id, bad in worst.items() for verdict in {"PASS", bad}
                     if verdict not in seen.get(id, set()))
    assert not lacking, "\n".join(lacking)


def test_each_finding_has_evidence():
    for fixture in MADE + RECORDED:
        for finding in audit(fixture)["findings"]:
            assert finding["evidence"], f"{fixture.stem}: {finding['id']} {finding['text']}"
