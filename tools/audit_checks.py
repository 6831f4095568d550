#!/usr/bin/python3
"""Print the table of the audit's checks for docs/audit.md, from the program itself; a test compares the two."""
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build"))
HOST = ROOT / "tests/audit/fixtures/made/base.fixture"  # any recorded host: the list of checks is the same


def checks():
    run = subprocess.run([BUILD / "bulkhead-audit", "--json", "--fixture", HOST], stdout=subprocess.PIPE, check=False)
    return json.loads(run.stdout)["checks"]


def cell(text):
    return text.replace("|", "\\|")


def table():
    lines, boundary = [], None
    for check in checks():
        if check["boundary"] != boundary:
            boundary = check["boundary"]
            lines += [f"\n**{boundary}**\n", "| id | severity | worst | what a PASS means | how the verdict comes about |",
                      "|---|---|---|---|---|"]
        lines.append(f"| {check['id']} | {check['severity']} | {check['worst']}{', deep' if check['deep'] else ''} | "
                     f"{cell(check['claim'])} | {cell(check['rule'])} |")
    return "\n".join(lines).strip()


if __name__ == "__main__":
    print(table())
