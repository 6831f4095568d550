#!/usr/bin/python3
"""
Make a fixture of a host with many guests: guest alpha of a made fixture again and again, each time with other pids, ids,
names and inodes.

usage: tests/audit/many.py GUESTS [FIXTURE] >many.fixture
"""

import re
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parent / "fixtures/made/base.fixture"
FIRST_PID, PIDS = 10000, 4  # of the copies; alpha has 1000 to 1003
FIRST_UID, UIDS = 1879048192, 64


def records(text):
    """[question, all lines of the record with the question's], in order."""
    found = []
    for line in text.splitlines():
        if line.startswith("? "):
            found.append((line[2:], [line]))
        elif found and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def is_alphas(question, lines):
    whole = "\n".join(lines)
    return (re.search(r"\b100[0-3]\b|\balpha\b", question) or "/alpha" in whole) and \
        not re.search(r"\b200[0-3]\b|\bbeta\b", whole)


def own_numbers(text, found):
    """What tells alpha from others beside its name, pids and uids: inodes, devices, sockets."""
    answers = dict(found)
    numbers = set(re.findall(r"\bsocket:\[(\d+)\]", text)) | set(re.findall(r" 00:01 (\d+) +/memfd:", text))
    for question, lines in answers.items():
        kind = re.fullmatch(r"stat /proc/1001/ns/(\w+)", question)
        host = answers.get(f"stat /proc/1000/ns/{kind[1]}") if kind else None
        if kind and (not host or host[1] != lines[1]):
            numbers.add(lines[1].split()[4])
    return numbers


def copy(text, index, numbers):
    pid = FIRST_PID + index * PIDS
    text = re.sub(r"\b100([0-3])\b", lambda m: str(pid + int(m[1])), text)
    text = re.sub(r"\balpha\b", f"guest{index}", text)
    text = re.sub(rf"\b{FIRST_UID}\b", str(FIRST_UID + (index + 2) * UIDS), text)
    text = re.sub(r"\b0:40\b", f"0:{100 + index}", text)  # its root's device
    return re.sub(r"\b\d{4,}\b", lambda m: str(int(m[0]) + 1000000 * (index + 1)) if m[0] in numbers else m[0], text)


def comparisons(pids):
    """Pairs that a merge sort of these compares when each is lower than those behind it."""
    if len(pids) < 2:
        return
    half = len(pids) // 2
    left, right = pids[:half], pids[half:]
    yield from comparisons(left)
    yield from comparisons(right)
    yield from ((pid, right[0]) for pid in left)


def many(guests, base=BASE):
    text = base.read_text()
    found = records(text)
    alphas = [(question, lines) for question, lines in found if is_alphas(question, lines)]
    numbers = own_numbers("\n".join(line for _, lines in alphas for line in lines), alphas)
    one = "\n".join(line for _, lines in alphas for line in lines)
    listed = next(lines for question, lines in found if question == "list /proc")[1:]
    pids = sorted({int(line[1:]) for line in listed if line[1:].isdigit()})
    copies = [FIRST_PID + index * PIDS for index in range(guests)]
    yield text.rstrip("\n")
    for index in range(guests):
        yield copy(one, index, numbers)
    yield "? list /proc"
    for pid in sorted(pids + copies + [pid + 1 for pid in copies]):
        yield f"|{pid}"
    yield from (line for line in listed if not line[1:].isdigit())
    vmms = [1001, 2001, *(pid + 1 for pid in copies)]
    for low, high in {*comparisons(vmms), *zip(vmms, vmms[1:])}:
        yield f"? kcmp {low} 8 {high} 8\n\\1"
    yield f"? vm-count\n\\{guests + 2}"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    for part in many(int(sys.argv[1]), *map(Path, sys.argv[2:])):
        print(part)
