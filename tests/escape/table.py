"""
The table of docs/jail.md, which is the prediction: what becomes of each attempt with each part of the jail peeled off.

A cell is the outcome, the same for all roles; "; 6.1: OUTCOME" follows where a kernel of that series differs, "; blk: OUTCOME" where
a role does (main and vcpu are never told apart; "device" is rng and blk), and "; blk 6.1: OUTCOME" where one does on that
kernel.
"""
import os
import re

from bulkhead import REPO

HEADING = "## Attempts to break out\n"
COLUMNS = ("full", "without seccomp", "without seccomp and Landlock", "ids and namespaces only")
SERIES = ".".join(os.uname().release.split(".")[:2])
DEVICES = ("rng", "blk")
MEASURED = ("6.18", "6.1")  # what the table was compared with; other kernels refuse in other words

REPORT = []  # lines for the end of the test run


def _section():
    return (REPO / "docs/jail.md").read_text().split(HEADING)[1].split("\n## ")[0]


def rows():
    """Identity to (what, {column: cell})."""
    found = {}
    for line in _section().splitlines():
        if re.match(r"\| E\d", line):
            identity, what, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found[identity] = (what, dict(zip(COLUMNS, cells, strict=False)))
    return found


def predicted(cell, role, series=SERIES):
    default, *others = cell.split("; ")
    known = dict(other.split(": ") for other in others)
    roles = [role, "device"] if role in DEVICES else [role]
    keys = [f"{one} {series}" for one in roles] + roles + [series]
    return next((known[key] for key in keys if key in known), default)


def holds(prediction, outcome):
    """On a kernel that was not measured, one refusal is as good as another."""
    refused = re.compile("E[A-Z0-9]+|contained")
    return outcome == prediction or (SERIES not in MEASURED and bool(refused.fullmatch(outcome)) and
                                     prediction != "SIGSYS")


def seccomp_only(series):
    return [identity for identity, (_, cells) in rows().items()
            if predicted(cells["without seccomp"], "main", series) == "succeeded"]


def published():
    """Series to the number of seccomp-only attempts that the page names."""
    return {series: int(number) for number, series in re.findall(r"\*\*(\d+)\*\* on Linux (\d+\.\d+)", _section())}


def report(found):
    """Prints the table as it was measured: {(identity, column, role): outcome}."""
    roles = sorted({role for _, _, role in found})
    REPORT.append(f"attempts to break out, Linux {os.uname().release}, roles {' and '.join(roles)}:")
    REPORT.append("  ".join(["attempt", *COLUMNS]))
    for identity, (what, _) in rows().items():
        cells = []
        for column in COLUMNS:
            outcomes = {found.get((identity, column, role), "-") for role in roles}
            cells.append("/".join(sorted(outcomes)))
        REPORT.append(f"{identity:<7}{what:<53}" + " ".join(f"{cell:<13}" for cell in cells).rstrip())
    only = {identity for (identity, column, _), outcome in found.items()
            if column == "without seccomp" and outcome == "succeeded"}
    REPORT.append(f"seccomp only: {len(only)} of {len(rows())} attempts")
