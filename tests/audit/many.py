#!/usr/bin/python3
"""
Make a fixture of a host with many guests: guest alpha of a made fixture again and again, each time with other pids, ids,
names and inodes.

usage: tests/audit/many.py GUESTS [FIXTURE] >many.fixture
"""

import itertools
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


def copier(text, numbers):
    """A function that makes the copy with that index."""
    own = "|".join(sorted(numbers))
    parts = re.split(rf"(alpha|\b100[0-3]\b|\b{FIRST_UID}\b|\b0:40\b|\b(?:{own})\b)", text)

    def copy(index):
        def other(part):
            if part == "alpha":  # behind \x00, too
                return f"guest{index}"
            if part == "0:40":  # the device of its root
                return f"0:{100 + index}"
            if part == str(FIRST_UID):
                return str(FIRST_UID + (index + 2) * UIDS)
            if part in numbers:
                return str(int(part) + 1000000 * (index + 1))
            return str(FIRST_PID + index * PIDS + int(part) - 1000)
        changed = {part: other(part) for part in set(parts[1::2])}
        return "".join(changed.get(part, part) if odd else part for odd, part in zip(itertools.cycle((False, True)), parts))
    return copy


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
    copy = copier(one, numbers)
    listed = next(lines for question, lines in found if question == "list /proc")[1:]
    pids = sorted({int(line[1:]) for line in listed if line[1:].isdigit()})
    copies = [FIRST_PID + index * PIDS for index in range(guests)]
    yield text.rstrip("\n")
    for index in range(guests):
        yield copy(index)
    yield "? list /proc"
    for pid in sorted(pids + copies + [pid + 1 for pid in copies]):
        yield f"|{pid}"
    yield from (line for line in listed if not line[1:].isdigit())
    vmms = [1001, 2001, *(pid + 1 for pid in copies)]
    for low, high in {*comparisons(vmms), *zip(vmms, vmms[1:])}:
        for fd in (8, 64):  # the virtual machine and its processor
            yield f"? kcmp {low} {fd} {high} {fd}\n\\1"
    yield f"? vm-count\n\\{guests + 2}"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    for part in many(int(sys.argv[1]), *map(Path, sys.argv[2:])):
        print(part)
