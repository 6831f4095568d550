"""Fixtures as Python sees them: what was asked and answered (src/audit/observe/fixture.h has the format)."""

import functools
import re


def unescape(text):
    short = {"n": b"\n", "t": b"\t", "\\": b"\\"}
    return b"".join(
        short.get(part[1]) or bytes([int(part[2:], 16)]) if part.startswith("\\") else part.encode("latin-1")
        for part in re.findall(r"\\x[0-9a-f]{2}|\\.|[^\\]+", text, re.DOTALL))


def escape(data):
    short = {0x0a: "\\n", 0x09: "\\t", 0x5c: "\\\\"}
    return "".join(short.get(byte) or (chr(byte) if 0x20 <= byte < 0x7f else f"\\x{byte:02x}") for byte in data)


def read(path):
    """{question: answer as bytes, or None where it failed}, the fixtures below included."""
    return dict(_read(path))


@functools.lru_cache(maxsize=8)
def _read(path):
    found, base, question = {}, None, None
    for line in path.read_text(encoding="latin-1").splitlines()[1:]:
        if line.startswith("base "):
            base = path.with_name(line[5:])
        elif line.startswith("? "):
            question = unescape(line[2:]).decode("utf-8", "replace")
            found[question] = b""
        elif line.startswith("gone "):
            found[line[5:]] = None
        elif line.startswith("! "):
            found[question] = None
        elif line.startswith("= "):
            found[question] += unescape(line[2:])
        elif line.startswith(("|", "\\")):
            found[question] += unescape(line[1:]) + (b"\n" if line[0] == "|" else b"")
    return {**(_read(base) if base else {}), **found}


def write(path, answers):
    with path.open("w", encoding="latin-1") as to:
        to.write("bulkhead audit fixture 1\n")
        for question, answer in answers.items():
            to.write(f"? {escape(question.encode())}\n")
            if answer is None:
                to.write("! 2\n")
                continue
            *whole, rest = answer.split(b"\n")
            for line in whole:
                to.write(f"|{escape(line)}\n")
            if rest:
                to.write(f"\\{escape(rest)}\n")
    return path


def process_of(question):
    """The number of the process that a question is about, or None."""
    match = re.search(r"/proc/(\d+)(?:/|$)", question) or re.match(r"(?:kcmp|seals|cookie|seccomp|pages) (\d+)", question)
    return int(match.group(1)) if match else None
