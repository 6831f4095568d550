#!/usr/bin/python3
"""Make a recording of a host (bulkhead audit --record) fit for the repository.

usage: tests/audit/scrub.py [--keep PID]... [--replace OLD=NEW]... [--title TEXT] RECORDING > FIXTURE

Drops the questions about processes that are no part of a guest (kernel threads that serve one are kept), replaces names of
this host and its paths, and keeps of each question only the last answer. What makes recordings large and is read by no check
goes, too: most lines of smaps, and the zeros at the end of an image's first bytes. Order stays, so that two recordings compare.
"""
import argparse
import re
import socket
import sys

GUEST_SIGNS = ("anon_inode:kvm-vm", "anon_inode:kvm-vcpu", "bulkhead-superv", "(libvirtd)")
SMAPS_READ = re.compile(r"\|([0-9a-f]+-[0-9a-f]+ |(Rss|Swap|KSM|AnonHugePages|Locked|VmFlags|Private_Clean|Shared_Clean|"
                        r"Shared_Dirty|Private_Dirty):)")
ZERO = "\\x00"
HEAD_LEAST = 4096  # zeros that stay
SERVANTS = re.compile(r"\((kvm-|vhost-)")


def records_read(lines):
    """[question, [answer line, ...]] in the order of the first asking, with the last answer."""
    found = {}
    current = None
    for line in lines[1:]:
        if line.startswith("? "):
            current = found[line[2:]] = []
        elif current is not None:
            current.append(line)
    return found


def pid_of(question):
    match = re.match(r"\w+ /proc/(\d+)(/|$)", question)
    return int(match.group(1)) if match else None


def kept_pids(records, extra):
    keep = {1, *extra}
    parents = {}
    for question, answer in records.items():
        pid = pid_of(question)
        if pid is None:
            continue
        text = "\n".join(answer)
        if any(sign in text for sign in GUEST_SIGNS) or SERVANTS.search(text):
            keep.add(pid)
        if question == f"read /proc/{pid}/stat" and ")" in text:
            parents[pid] = int(text.rsplit(")", 1)[1].split()[1])
    for question, answer in records.items():  # whoever was asked about as a member: its descriptors one by one
        pid = pid_of(question)
        if pid is not None and re.search(r"/fdinfo/\d+$", question):
            keep.add(pid)
    return keep | {parents.get(pid, 1) for pid in keep}


def shortened(question, answer):
    if question.endswith("/smaps"):
        return [line for line in answer if SMAPS_READ.match(line) or line[0] != "|"]
    if question.startswith("head ") and len(answer) == 1 and answer[0].endswith(ZERO * HEAD_LEAST):
        text = answer[0]
        while text.endswith(ZERO * 512):
            text = text[:-len(ZERO) * 512]
        return [text + ZERO * 512]
    return answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=int, action="append", default=[])
    parser.add_argument("--replace", action="append", default=[])
    parser.add_argument("--title", default="recorded live")
    parser.add_argument("recording")
    options = parser.parse_args()
    with open(options.recording, encoding="ascii") as file:
        lines = file.read().splitlines()
    records = records_read(lines)
    keep = kept_pids(records, options.keep)
    replace = [pair.split("=", 1) for pair in options.replace] + [[socket.gethostname(), "host"]]
    out = [lines[0], f"# {options.title}"]
    for question, answer in records.items():
        pid = pid_of(question)
        if pid is not None and pid not in keep:
            continue
        if question == "list /proc":
            answer = [line for line in answer if not line[1:].isdigit() or int(line[1:]) in keep]
        out += [f"? {question}", *shortened(question, answer)]
    text = "\n".join(out) + "\n"
    for old, new in replace:
        if len(old) > 2:
            text = text.replace(old, new)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
