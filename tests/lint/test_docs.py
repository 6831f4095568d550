"""What the documents state as figures and tables is what the code has."""
import os
import re
import sys
from pathlib import Path

import sources

sys.path.append(str(sources.ROOT / "tools"))
import audit_checks  # pylint: disable=wrong-import-position
import policy_stats  # pylint: disable=wrong-import-position

BUILD = Path(os.environ.get("BULKHEAD_BUILD", sources.ROOT / "build"))
JAIL = (sources.ROOT / "docs/jail.md").read_text()
REQUIREMENTS = {"REQUIRED": "required", "REQUIRED_FOR_ROOT": "required for root", "BY_KERNEL": "by kernel"}


def table(text, heading):
    """Rows of cells of the first table below the heading, without its head."""
    lines = text.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_layers():
    code = (sources.ROOT / "src/jail/jail_layers.c").read_text()
    rows = re.findall(r'\[LAYER_\w+\] = \{\s*"([^"]+)",\s*(\w+),\s*"([^"]+)"\s*\}', code)
    assert len(rows) == len(re.findall(r"^ +\[LAYER_\w+\] =", code, re.MULTILINE)) > 20
    assert table(JAIL, "Layers") == [[name, REQUIREMENTS[requirement], remedy] for name, requirement, remedy in rows]


def test_filters():
    assert policy_stats.names() == {name for name, *_ in policy_stats.FILTERS}
    assert policy_stats.table() in JAIL, "put the output of tools/policy_stats.py there"


def test_audit_checks():
    text = (sources.ROOT / "docs/audit.md").read_text()
    assert text.split("<!-- checks -->\n")[1].split("\n<!-- /checks -->")[0] == audit_checks.table(), \
        "put the output of tools/audit_checks.py there"


def test_audit_of_the_jail_without_a_part():
    text = (sources.ROOT / "docs/audit.md").read_text()
    units = (sources.ROOT / "tests/removal/audit_table.py").read_text().split("UNITS = {")[1].split("\n}\n")[0]
    seen = {unit: checks for unit, checks in re.findall(r'^    "(\w+)": (.*)', units, re.MULTILINE)}
    unseen = {unit for unit, checks in seen.items() if checks.startswith("NOTHING")} - {"nothing"}
    rows = dict(table(text, "What it sees of the jail"))
    assert {unit.strip("`") for unit in rows} == set(seen) - unseen - {"nothing"}
    for unit, checks in rows.items():
        assert set(re.findall(r'"([A-Z-]+)"', seen[unit.strip("`")])) <= set(checks.split(", "))
    assert unseen == set(re.findall(r"`(\w+)`", text.split("makes up for it: ")[1].split("\n\n")[0]))


def test_descriptors():
    header = (sources.ROOT / "src/spec/vmm_fds.h").read_text()
    code = [int(number) for number in re.findall(r"#define VMM_FD_(?!LIMIT)\w+ +(\d+)\n", header + "\n")]
    standard, *documented = [int(re.match(r"\d+", row[0]).group()) for row in table(JAIL, "Descriptors")]
    assert (standard, documented) == (0, code)


def attempts():
    """[identity, what] of each attempt, in the order of the identities."""
    code = "".join(path.read_text() for path in (sources.ROOT / "src/attempts").glob("row_*.c"))
    found = re.findall(r'^ +\{"(E\d+\.\d+)",\s*"([^"]+)"', code, re.MULTILINE)
    return sorted(map(list, found), key=lambda row: [int(n) for n in row[0][1:].split(".")])


def test_attempts_to_break_out():
    rows = table(JAIL, "Attempts to break out")
    assert [row[:2] for row in rows] == attempts() and len(rows) > 150
    assert all(len(row) == 7 and all(row[:6]) for row in rows)
    for number, series in re.findall(r"\*\*(\d+)\*\* on Linux (\d+\.\d+)", JAIL):
        cells = [dict(other.split(": ") for other in others).get(series, default)
                 for default, *others in (row[3].split("; ") for row in rows)]
        assert cells.count("succeeded") == int(number), series


def test_links_lead_somewhere():
    broken = []
    for name, text in sources.files("docs", "src", "tests", "tools", "guests", suffixes={".md"}).items() | \
            {(path.name, path.read_text()) for path in sources.ROOT.glob("*.md")}:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (sources.ROOT / name).parent.joinpath(target).exists():
                broken.append(f"{name}: {target}")
    assert broken == []


def test_named_tests_exist():
    named = set(re.findall(r"\b(?:test|fuzz)_\w+\.(?:c|py)\b", (sources.ROOT / "docs/threat-model.md").read_text()))
    there = {path.name for path in (sources.ROOT / "tests").rglob("*_*")}
    assert len(named) > 5
    assert named - there == set()
