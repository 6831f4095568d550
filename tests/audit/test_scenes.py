"""Planted holes on a live host: each is found by the ids that are about it, and by no other."""

import os
import shutil
from pathlib import Path

import pytest

import scenes

PLANTED = [name for name, scene in scenes.SCENES.items() if scene.base]
IN_LAB = bool(os.environ.get("LAB"))

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not IN_LAB, reason="changes this host: cgroups, bridges; runs in the lab")]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    out = Path(os.environ.get("BULKHEAD_SCENES") or tmp_path_factory.mktemp("scenes"))
    known = {}

    def report(name):
        if name not in known:
            known[name] = scenes.play(name, out)
        return known[name]
    return report


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "shared_disk" else pytest.mark.slow)
                                  for name in PLANTED])
def test_a_planted_hole_is_found_by_its_ids_only(name, reports):
    scene = scenes.SCENES[name]
    assert scenes.worse(reports(name), reports(scene.base)) == scene.worse


@pytest.mark.slow
def test_a_monitor_without_any_hardening_fails_what_protects_the_host(reports):
    found = scenes.worst(reports("root_plain"))
    failed = {id for id, verdict in found.items() if scenes.ORDER[verdict] == "FAIL"}
    assert failed >= {"PRIV-ROOT", "PRIV-CAPS", "PRIV-NNP", "SYS-SECCOMP", "FS-ROOT", "NS-MNT"}


@pytest.mark.parametrize("scene", ["bulkhead", pytest.param("bulkhead_devices", marks=pytest.mark.slow)])
def test_guests_of_bulkhead_fail_nothing(scene, reports):
    report = reports(scene)
    assert [guest["kind"] for guest in report["guests"]] == ["bulkhead", "bulkhead"]
    # The lab's kernel runs with mitigations=off, which is nothing that a guest could have or lack.
    failed = {finding["id"] for finding in report["findings"] if finding["guests"] and finding["verdict"] == "FAIL"}
    assert failed <= {"CPU-SHARE"}


@pytest.mark.slow  # its daemon asks QEMU what it can do, which takes minutes in software
@pytest.mark.skipif(not shutil.which("libvirtd"), reason="libvirt is not installed (tools/packages.txt, group libvirt)")
def test_libvirt_confines_by_label(reports):
    report = reports("libvirt")
    assert {guest["name"] for guest in report["guests"]} == {"red", "blue"}
    assert {guest["manager"] for guest in report["guests"]} == {"libvirt"}
    found = {(finding["id"], finding["verdict"]) for finding in report["findings"]}
    assert ("PRIV-MAC", "PASS") in found and ("PRIV-MACUNIQ", "PASS") in found
