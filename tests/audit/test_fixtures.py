"""
Every check over recorded and made hosts: the table that says what each must find.

Beside NAME.fixture is NAME.expected with lines `ID VERDICT WHOM`: WHOM is `host`, a guest's name, or names joined by `+`. A made
fixture (fixtures/made/ID-WORD.fixture, on top of another) lists only the lines of the check it is about, the ID it begins
with; a recorded one (fixtures/recorded) lists all, and so does a whole host made by hand (fixtures/hosts).
"""

import functools
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
HOSTS = sorted((FIXTURES / "hosts").glob("*.fixture"))


def audit(fixture, *arguments):
    run = subprocess.run([BUILD / "bulkhead-audit", "--fixture", fixture, "--deep", "--json", *arguments],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode in (0, 6, 10), run.stderr
    return json.loads(run.stdout)


@functools.lru_cache(maxsize=None)
def judged(fixture):
    """The worst verdict that each check can come to, and of each finding what tests look at."""
    report = audit(fixture)
    return ({check["id"]: check["worst"] for check in report["checks"]},
            [{key: finding[key] for key in ("id", "verdict", "guests", "text")} | {"evidence": len(finding["evidence"])}
             for finding in report["findings"]])


def line(finding):
    return f"{finding['id']} {finding['verdict']} {'+'.join(finding['guests']) or 'host'}"


def expected(fixture):
    text = fixture.with_suffix(".expected").read_text(encoding="utf-8")
    return sorted(row for row in text.splitlines() if row and not row.startswith("#"))


@pytest.mark.parametrize("fixture", [f for f in MADE if f.stem != "base"], ids=lambda f: getattr(f, "stem", None))
def test_made(fixture):
    about = {row.split()[0] for row in expected(fixture)}
    assert len(about) == 1 and fixture.stem.startswith(about.copy().pop())
    found = sorted(line(f) for f in judged(fixture)[1] if f["id"] in about)
    assert found == expected(fixture)


@pytest.mark.parametrize("fixture", RECORDED, ids=lambda f: getattr(f, "stem", None))
def test_recorded(fixture):
    assert sorted(line(f) for f in judged(fixture)[1]) == expected(fixture)


@pytest.mark.parametrize("fixture", HOSTS, ids=lambda f: getattr(f, "stem", None))
def test_host(fixture):
    assert sorted(line(f) for f in judged(fixture)[1]) == expected(fixture)


@pytest.mark.parametrize("host, arguments, status", [
    ("ideal", ["--deep"], 0),
    ("ideal", [], 10),  # what only --deep tells is of high severity
    ("ideal-denied", ["--deep"], 10),
    ("firecracker-unjailed", ["--deep"], 6),
])
def test_exit_status(host, arguments, status):
    run = subprocess.run([BUILD / "bulkhead-audit", "--fixture", FIXTURES / f"hosts/{host}.fixture", "--json", *arguments],
                         stdout=subprocess.PIPE, timeout=60, check=False)
    grave = {check["id"] for check in json.loads(run.stdout)["checks"] if check["severity"] in ("high", "critical")}
    verdicts = {(f["id"], f["verdict"]) for f in json.loads(run.stdout)["findings"]}
    assert run.returncode == status
    assert any(verdict == "FAIL" for _, verdict in verdicts) == (status == 6)
    assert status == 6 or any(id in grave for id, verdict in verdicts if verdict == "UNKNOWN") == (status == 10)


def test_without_deep_the_rows_name_it():
    run = subprocess.run([BUILD / "bulkhead-audit", "--fixture", FIXTURES / "hosts/ideal.fixture", "--json"],
                         stdout=subprocess.PIPE, timeout=60, check=False)
    open_rows = [f for f in json.loads(run.stdout)["findings"] if f["verdict"] == "UNKNOWN"]
    assert {f["id"] for f in open_rows} == {"SYS-POLICY", "SYS-ARCH", "SYS-ACTION", "SYS-IOCTL"}
    assert all("--deep" in f["needs"] for f in open_rows)


def test_every_check_is_seen_to_pass_and_at_its_worst():
    seen, worst = {}, {}
    for fixture in MADE + RECORDED + HOSTS:
        known, findings = judged(fixture)
        worst.update(known)
        only = {row.split()[0] for row in expected(fixture)} if fixture.stem != "base" else set(worst)
        for finding in findings:
            if finding["id"] in only:
                seen.setdefault(finding["id"], set()).add(finding["verdict"])
    lacking = sorted(f"{id}: never {verdict}" for id, bad in worst.items() for verdict in {"PASS", bad}
                     if verdict not in seen.get(id, set()))
    assert not lacking, "\n".join(lacking)


def test_each_finding_has_evidence():
    for fixture in MADE + RECORDED + HOSTS:
        for finding in judged(fixture)[1]:
            assert finding["evidence"], f"{fixture.stem}: {finding['id']} {finding['text']}"
