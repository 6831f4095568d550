"""A directory under src/ includes only what the layers below it offer.

The table is the architecture (docs/architecture.md, Layers). The programs are on top and know nothing of one another, but that the command line starts the supervisor;
audit reads back from the kernel what jail asked of it, so that one mistake cannot fool both: they share base alone.
attempts is what a program could try that has been taken over: it must fit into any.
"""
import re

import sources

LOWER = {"base"}
MAY_INCLUDE = {"base": set()}
for layer in (["memory", "spec"], ["virtio"], ["vhost_user"], ["jail"], ["state"]):
    for name in layer:
        MAY_INCLUDE[name] = set(LOWER)
    LOWER |= set(layer)
MAY_INCLUDE["audit"] = {"base"}
MAY_INCLUDE["attempts"] = {"base"}
for jailed in ("vmm", "devices"):
    MAY_INCLUDE[jailed] = LOWER - {"state"}  # what is on the host's disk is no business of theirs
MAY_INCLUDE["supervisor"] = set(LOWER)
MAY_INCLUDE["cli"] = LOWER | {"audit", "supervisor"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def violations(tree):
    """One line for each include in the tree ({path: text}, paths from the repository's root) that the table forbids."""
    found = []
    for path, text in tree.items():
        directory = path.split("/")[1]
        if directory not in MAY_INCLUDE:
            found.append(f"{path}: the layer of src/{directory} is not known")
            continue
        for bracket, target in INCLUDE.findall(text):
            head = target.split("/")[0]
            if bracket == "<" and head not in MAY_INCLUDE:
                continue  # a system header
            if "/" not in target and target.endswith(".inc"):
                continue  # made by the build for this one file
            if head not in MAY_INCLUDE or ".." in target.split("/"):
                found.append(f"{path}: {target} is not named from src/ on")
            elif head != directory and head not in MAY_INCLUDE[directory]:
                found.append(f"{path}: {directory} must not include {target}")
    return found


def test_includes_go_down():
    tree = sources.files("src", suffixes={".c", ".h", ".S"})
    assert len(tree) > 50
    assert violations(tree) == []


def test_an_upward_include_is_flagged():
    assert violations({"src/base/err.c": '#include "jail/jail.h"\n'}) == ["src/base/err.c: base must not include jail/jail.h"]


def test_includes_between_neighbours_are_flagged():
    for user, used in (("vmm", "supervisor"), ("supervisor", "cli"), ("memory", "spec"), ("audit", "jail"),
                       ("jail", "audit"), ("audit", "spec"), ("vmm", "state")):
        tree = {f"src/{user}/x.c": f"  #  include <{used}/x.h>\n"}
        assert violations(tree) == [f"src/{user}/x.c: {user} must not include {used}/x.h"]


def test_an_unknown_directory_is_flagged():
    assert violations({"src/misc/x.c": ""}) == ["src/misc/x.c: the layer of src/misc is not known"]


def test_a_way_around_the_table_is_flagged():
    for target in ("../jail/jail.h", "err.h", "base/../jail/jail.h"):
        tree = {"src/base/err.c": f'#include "{target}"\n'}
        assert violations(tree) == [f"src/base/err.c: {target} is not named from src/ on"]


def test_downward_and_own_includes_pass():
    tree = {"src/vmm/vm.c": '#include <errno.h>\n#include <linux/kvm.h>\n#include "base/err.h"\n#include "vmm/vm.h"\n'}
    assert violations(tree) == []


def test_every_layer_describes_itself():
    missing = []
    for directory in sorted(path for path in (sources.ROOT / "src").iterdir() if path.is_dir()):
        readme = directory / "README.md"
        text = readme.read_text().lower() if readme.exists() else ""
        missing += [f"{directory.name}/README.md: {words}" for words in ("may include", "must not") if words not in text]
    assert missing == []
