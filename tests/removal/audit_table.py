"""
What the auditor, which knows nothing of the jail, sees of a unit that is left out.

Two guests of the same build run; the auditor's verdicts on them are compared with those on two whole guests of the same
host. What gets worse is listed below, by unit; for what no check can see from outside, nothing is.
"""

import json
import subprocess

from bulkhead import BUILD
from host import seconds

BADNESS = ("NA", "PASS", "UNKNOWN", "WARN", "FAIL")


def verdicts(*names):
    """The worst verdict of each check on guests of these names, alone or together with others."""
    run = subprocess.run([BUILD / "bulkhead-audit", "--deep", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, timeout=seconds(60), check=False)
    assert run.returncode in (0, 6, 10) and run.stderr == b"", run
    report = json.loads(run.stdout)
    assert set(names) <= {guest["name"] for guest in report["guests"]}, report["guests"]
    worst = {}
    for finding in report["findings"]:
        if set(finding["guests"]) & set(names):
            known = worst.get(finding["id"], "NA")
            worst[finding["id"]] = max(known, finding["verdict"], key=BADNESS.index)
    return worst


def worse(whole, lacking):
    """Checks whose verdict is worse, NA being as good as PASS."""
    def badness(verdict):
        return max(1, BADNESS.index(verdict))
    return {check for check in whole | lacking if badness(lacking.get(check, "NA")) > badness(whole.get(check, "NA"))}
