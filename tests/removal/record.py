#!/usr/bin/python3
"""
Record facts for fixtures/: what the kernel at hand says of a guest of a test build that leaves one unit out.

usage: tests/removal/record.py DIRECTORY UNIT...

As root; DIRECTORY gets one file UNIT.json for each unit. fixtures/README.md says what is kept of them.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import removal_guest  # noqa: E402


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for unit in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as cwd:
            found, *_ = removal_guest.look(removal_guest.LEAVE_OUT / unit / "bulkhead", cwd)
        (directory / f"{unit}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
