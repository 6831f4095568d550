"""Rules that hold for every source file."""
import re

import pytest

import sources

# Unbounded, ambiguous about errors, or a shell.
BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "strtok", "alloca", "system", "popen")
BANNED_CALL = re.compile(rf"\b({'|'.join(BANNED)})\s*\(")

LINES_MAX = 600  # a longer file holds two concerns


def banned_calls(text):
    return [f"line {number}: {match.group(1)}"
            for number, line in enumerate(sources.code(text).splitlines(), 1)
            for match in BANNED_CALL.finditer(line)]


def test_no_banned_function_is_called():
    tree = sources.files("src", "guests", suffixes={".c", ".h"})
    assert len(tree) > 50
    assert {path: calls for path, text in tree.items() if (calls := banned_calls(text))} == {}


@pytest.mark.parametrize("name", BANNED)
def test_a_banned_call_is_flagged(name):
    assert banned_calls(f'/* one\n   two */ x = "a\\"b" + {name} (y);\n') == [f"line 2: {name}"]


def test_what_only_looks_like_a_banned_call_passes():
    assert banned_calls('/* strcpy(a, b) */ // gets(\nsnprintf(b, 4, "%s", "system(x)"); strtok_r(a, b, &c);\n'
                        "c = '\"'; my_system(1); sizeof(struct system);\n") == []


def test_no_file_is_too_long():
    tree = sources.files("src", "guests", "tools", "bench", suffixes={".c", ".h", ".S", ".py", ".sh", ""})
    assert {path: lines for path, text in tree.items() if (lines := text.count("\n")) > LINES_MAX} == {}


CORPORA = sources.ROOT / "tests/fuzz/corpus"


def test_corpora_are_small_and_there():
    """Every clone carries them, and every run of the tests replays them."""
    sizes = {path: path.stat().st_size for path in CORPORA.rglob("*") if path.is_file()}
    assert {str(path): size for path, size in sizes.items() if size > 65535} == {}
    assert sum(sizes.values()) < 1 << 20
    targets = {path.stem.removeprefix("fuzz_") for path in CORPORA.parent.glob("fuzz_*.c")}
    assert targets == {path.parent.name for path in sizes}
