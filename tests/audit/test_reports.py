"""
The three reports over every recorded and made host: the schema of the JSON, the page's markup, what a tenant may not learn, and
texts of strangers that try to be more than text.
"""

import json
import os
import re
import stat
import subprocess
from html import escape
from pathlib import Path

import html5lib
import jsonschema
import pytest

import fixture_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build")) / "bulkhead-audit"
FIXTURES = sorted((ROOT / "tests/audit/fixtures").glob("*/*.fixture"))
WHOLE = [f for f in FIXTURES if f.parent.name in ("recorded", "hosts")]
SOME = [f for f in FIXTURES if f not in WHOLE][::25] + WHOLE
MANY = pytest.mark.parametrize("fixtures", [pytest.param(SOME, id="some"), pytest.param(FIXTURES, id="all", marks=pytest.mark.slow)])
SAMPLE = [f for f in FIXTURES if f not in WHOLE][::50] + WHOLE  # html5lib is slow
MADE = ROOT / "tests/audit/fixtures/made"
BASE = MADE / "base.fixture"
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/audit.schema.json").read_text(encoding="utf-8")))

# What the page's own code writes. Whatever else is in a page came from a stranger.
ELEMENTS = set("""html head meta title style body header main nav section details summary h1 h2 h3 h4 p ul li dl dt dd a b span div
               code pre table thead tbody tr th td""".split())
ATTRIBUTES = {"lang", "charset", "name", "content", "class", "id", "href", "scope", "open", "tabindex", "role", "aria-label"}


def run(fixture, *arguments):
    done = subprocess.run([PROGRAM, "--fixture", fixture, "--deep", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120, check=False)
    assert done.returncode in (0, 6, 10) and not done.stderr, done.stderr
    return done.stdout


def all_reports(fixture, page, *arguments):
    """Terminal, JSON and page, as texts; each must be UTF-8."""
    text = run(fixture, "-v", "--html", page, *arguments).decode("utf-8")
    return text, run(fixture, "--json", *arguments).decode("utf-8"), page.read_bytes().decode("utf-8")


def page_tree(page):
    """(element, sorted attribute names) in document order; malformed markup raises."""
    tree = html5lib.HTMLParser(strict=True, tree=html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False).parse(page)
    return [(element.tag, tuple(sorted(element.attrib)), element.get("href")) for element in tree.iter()]


def page_kinds(page):
    """(element it is in, element, attribute names)"""
    tree = html5lib.HTMLParser(strict=True, tree=html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False).parse(page)
    return {(outer.tag, inner.tag, tuple(sorted(inner.attrib))) for outer in tree.iter() for inner in outer}


def assert_harmless(text, report, page):
    strange = {c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u200b\u2066\ufeff\u2028"}
    assert not strange
    assert json.loads(json.dumps(json.loads(report))) == json.loads(report)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u200b\ufeff\ufffe\x7f-\x9f]", report + page)
    ids = set(re.findall(r'id="([^"]*)"', page))
    for tag, attributes, href in page_tree(page):
        assert tag in ELEMENTS and set(attributes) <= ATTRIBUTES
        assert href is None or href[1:] in ids, f"a link to nowhere: {href}"


def schema_errors(report):
    return [f"{list(e.absolute_path)}: {e.message[:200]}" for e in SCHEMA.iter_errors(report)]


@MANY
def test_json_of_every_host_is_as_the_schema_says(fixtures):
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    seen = {}  # findings and checks are many and mostly the same
    for fixture in fixtures:
        report = json.loads(run(fixture, "--json"))
        tenants = [json.loads(run(fixture, "--json", "--guest", g["name"])) for g in report["guests"][:2]]
        for one in (report, *tenants):
            assert one["findings"] and one["checks"]
            for part in ("findings", "checks"):
                new = {re.sub(r'"time_ms": \d+', '"time_ms": 0', json.dumps(x)) for x in one[part]} - seen.setdefault(part, set())
                seen[part] |= new
                one[part] = [json.loads(x) for x in new]
            assert not schema_errors(one), fixture.stem


def test_schema_refuses():
    report = json.loads(run(BASE, "--json"))
    for change in ({"version": 2}, {"counts": {}}, {"surplus": 1}):
        assert schema_errors({**report, **change})


@MANY
def test_json_separation_agrees_with_the_layers(fixtures):
    for fixture in fixtures:
        report = json.loads(run(fixture, "--json"))
        closest, guests = report["separation"]["closest"], {g["name"]: g for g in report["guests"]}
        if closest is None:
            assert len(guests) < 2
            continue
        apart = []
        for layer in report["separation"]["layers"]:
            together = [g["guests"] for g in report["separation"]["shared"] if g["layer"] == layer]
            if all(guests[name]["layers"][layer] in ("own", "shared") for name in closest["guests"]) and not any(
                    set(closest["guests"]) <= set(group) for group in together):
                apart.append(layer)
        assert closest["layers"] == apart and closest["count"] == len(apart), fixture.stem


def test_pages_are_well_formed(tmp_path):
    for fixture in SAMPLE:
        assert_harmless(*all_reports(fixture, tmp_path / "page.html"))


def test_page_satisfies_tidy(tmp_path):
    run(BASE, "--html", tmp_path / "page.html")
    done = subprocess.run(["tidy", "-q", "-e", tmp_path / "page.html"], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_page_needs_nothing_from_elsewhere(tmp_path):
    run(BASE, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|\son\w+=|url\(|@import|src=|https?://", page.replace("https://no-color.org", ""))
    assert "How can I be sure that my virtual server is isolated from its neighbour on the same host?" in page


def test_a_check_is_once_among_those_about_a_pair_at_its_worst(tmp_path):
    run(MADE / "NS-MNT-blind.fixture", "--html", tmp_path / "page.html")  # UNKNOWN for one guest, PASS for the other
    section = (tmp_path / "page.html").read_text(encoding="utf-8").split("<h4>Checks about this pair</h4>")[1].split("</details>")[0]
    bad, passed = section.split("Checks about this pair that passed:")
    told = re.findall(r"#check-([A-Z0-9-]+)", section)
    assert len(told) == len(set(told)) and "#check-NS-PID" in passed
    assert re.search(r"NOT DETERMINED</span> <a href=\"#check-NS-MNT\"", bad) and "#check-NS-MNT" not in passed


def test_a_host_without_guests_may_fail(tmp_path):
    """A machine that the kernel counts was not found, nor any other."""
    answers = fixture_file.read(BASE)
    answers["list /proc"] = b"".join(line for line in answers["list /proc"].splitlines(True) if len(line) < 5)  # no number above 999
    fixture = fixture_file.write(tmp_path / "none.fixture", answers | {"vm-count": b"1"})
    report = json.loads(run(fixture, "--json"))
    assert not report["guests"] and {"INV-COUNT"} <= {f["id"] for f in report["findings"] if f["verdict"] == "FAIL"}
    for text in (report["summary"], *all_reports(fixture, tmp_path / "page.html")):
        assert "This host, on which no KVM guest was found: a boundary does not hold, as " in " ".join(text.split())


# ---- one tenant ----

# What is the tenant's own and happens to be another's pid or name in that fixture.
COINCIDENCES = {"FS-JAIL-many": {b"2001"},  # entries that were looked at
                "bulkhead": {b"400"},       # a weight in the style of the page
                "shared-disk": {b"red"}}    # in the path of the disk that both were given


def words(data):
    """Of a command line: in "file=/x,format=raw" the values."""
    values = {part.rsplit(b"=", 1)[-1] for part in re.split(rb"[\0\s,]+", data)}
    return {w for w in values if len(w) > 4 and not re.fullmatch(rb"-*[a-z]{,9}", w)}  # "virtio" is anybody's word


def marks_of(answers, pids):
    """What could tell who a guest is: names, numbers, paths."""
    found = set()
    for question, answer in answers.items():
        if process_in(question, pids) is None or answer is None:
            continue
        if question.endswith("/cmdline"):
            found |= words(answer)
        elif re.match(r"link /proc/\d+/(fd/|exe|root|cwd)", question):
            found.add(answer)
        elif re.match(r"list /proc/\d+/task$", question):
            found |= {tid for tid in answer.split() if len(tid) > 2}
        elif re.match(r"stat /proc/\d+/ns/", question):
            found |= set(answer.split()[4:5])
        elif question.endswith("/status"):
            match = re.search(rb"^Uid:\s*(\d+)", answer, re.MULTILINE)
            found |= {match.group(1)} if match and len(match.group(1)) > 2 else set()
        elif question.endswith("/cgroup"):
            found |= {line.split(b":", 2)[2] for line in answer.splitlines() if line.count(b":") > 1}
    return {mark for mark in found if len(mark) > 2 and not mark.startswith(b"/dev/")}


def process_in(question, pids):
    pid = fixture_file.process_of(question)
    return pid if pid in pids else None


def family(answers, pid):
    """The monitor, its children, and its parent where that is a supervisor."""
    pids = {pid}
    for question, answer in answers.items():
        match = re.match(r"read /proc/(\d+)/stat$", question)
        fields = answer.rsplit(b")", 1)[1].split() if match and answer and b")" in answer else []
        if len(fields) > 1 and int(fields[1]) == pid:
            pids.add(int(match.group(1)))
        if match and int(match.group(1)) == pid and len(fields) > 1:
            parent = int(fields[1])
            if b"(bulkhead-superv)" in (answers.get(f"read /proc/{parent}/stat") or b""):
                pids.add(parent)
    return pids


def told(mark, text):
    mark = mark.decode("utf-8", "replace")
    return mark in text and re.search(rf"(?<![0-9A-Za-z]){re.escape(mark)}(?![0-9A-Za-z])", text)


def without_the_catalogue(report, checks):
    """What the program says of its checks holds numbers, too, and is the same on every host."""
    for check in checks:
        for key in ("rule", "examined", "claim", "remedy", "source"):
            for text in (check[key], json.dumps(check[key], ensure_ascii=False)[1:-1],
                         escape(check[key]).replace("&#x27;", "&#39;")):
                report = report.replace(text, "") if text else report
    return report


@MANY
def test_a_tenant_learns_nothing_of_others(tmp_path, fixtures):
    compared, leaks = 0, {}
    for fixture in fixtures:
        operators = json.loads(run(fixture, "--json"))
        guests = operators["guests"]
        if len(guests) < 2:
            continue
        compared += 1
        answers = fixture_file.read(fixture)
        families = {g["name"]: family(answers, g["pid"]) for g in guests}
        for guest in guests:
            own = families[guest["name"]]
            others = set().union(*(families[g["name"]] for g in guests if g is not guest)) - own
            shared = b"\n".join(answer for question, answer in answers.items() if answer and question != "list /proc" and
                                fixture_file.process_of(question) not in others)
            marks = {mark for mark in marks_of(answers, others) if mark not in shared}
            marks |= {mark for mark in (str(pid).encode() for pid in others) if not told(mark, shared.decode("latin-1"))}
            marks |= {g["name"].encode() for g in guests if g is not guest}
            marks -= COINCIDENCES.get(fixture.stem, set())
            reports = all_reports(fixture, tmp_path / "page.html", "--guest", guest["name"])
            for report in (reports[0], json.dumps(json.loads(reports[1]), ensure_ascii=False), reports[2]):
                leaked = {mark for mark in marks if told(mark, report)}
                if leaked:
                    report = without_the_catalogue(report, operators["checks"])
                    leaked = {mark for mark in leaked if told(mark, report)}
                if leaked:
                    leaks[f"{fixture.stem}, for {guest['name']}"] = leaked
    assert compared > 0 and not leaks


def test_the_tenant_test_sees_a_leak(tmp_path):
    """The operator's report tells what the tenant's must not: the marks are really looked for."""
    answers = fixture_file.read(BASE)
    marks = marks_of(answers, family(answers, 2001))
    text, report, page = all_reports(BASE, tmp_path / "page.html")
    for name in (text, report, page):
        assert any(told(mark, name) for mark in marks) and told(b"beta", name)


def test_a_tenant_that_is_not_there():
    done = subprocess.run([PROGRAM, "--fixture", BASE, "--guest", "no\x1bbody"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False)
    assert done.returncode not in (0, 6, 10) and done.stderr.count(b"\n") == 1 and b"\x1b" not in done.stderr


def test_a_name_that_two_claim_is_nobodys(tmp_path):
    answers = fixture_file.read(BASE)
    answers["read /proc/2000/cmdline"] = answers["read /proc/1000/cmdline"]
    twins = fixture_file.write(tmp_path / "twins.fixture", answers)
    assert [g["name"] for g in json.loads(run(twins, "--json"))["guests"]] == ["alpha (pid 1001)", "alpha (pid 2001)"]
    done = subprocess.run([PROGRAM, "--fixture", twins, "--guest", "alpha"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False)
    assert done.returncode not in (0, 6, 10) and not done.stdout
    assert done.stderr.count(b"\n") == 1 and b"alpha (pid 1001)" in done.stderr and b"alpha (pid 2001)" in done.stderr


# ---- strangers' texts ----

HOSTILE = {
    "terminal": b"\x1b]0;owned\x07\x1b[2J\x1b[31mPASS\x9b1m\x08\x08",
    "html": b"</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>\"'&lt;&#0;<!--",
    "lines": b"x\nFAIL     NS-PID\r\n\x0b\x0c\x85\xe2\x80\xa8y",
    "long": b"N" * 4096,
    "long-wide": "漢".encode() * 1400,
    "encoding": b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82\xf0\x9f",
    "noncharacters": "\ufffe\uffff\ufdd0\U0001fffe\U0010ffff\ue000".encode(),
    "bidi": "\u202egnp.exe\u2066\u200b\ufeff\u061c\u00ad".encode(),
    "markers": b"\x010\x02\x011\x02\x0199999999999999999999\x02",
    "format": b"%s%n%1$s\\x41\\n\\\\",
    "blank": b" ",
    "words": b"another guest",
    "tags": "\U000e0041\U000e007f\u3164\u115f".encode(),
    "json": b"\",\"version\":2,\"x\":\"\\u0000",
}


def hostile_host(path, text):
    """The host of two guests; beta's names, paths and command lines hold that text."""
    answers = fixture_file.read(BASE)
    for question, answer in answers.items():
        if process_in(question, {2000, 2001}) is None or answer is None:
            continue
        if question == "read /proc/2000/cmdline":
            answers[question] = b"bulkhead\0run\0" + text.replace(b"\0", b"") + b"\0--kernel\0x\0"
        elif question.endswith("/cmdline"):
            answers[question] = b"bulkhead-vmm\0--password=" + text + b"\0" + text + b"\0"
        elif question.endswith("/status"):
            answers[question] = re.sub(rb"^Name:.*", lambda _: b"Name:\tvcpu" + text.replace(b"\n", b"\\n"), answer, flags=re.M)
        elif re.match(r"link /proc/2001/fd/[012]$", question):
            answers[question] = b"/" + text
        elif question.endswith("/exe"):
            answers[question] = b"/usr/bin/bulkhead-vmm" + text if question.startswith("link") else answer
        elif question == "read /proc/2001/cgroup":
            answers[question] = answer.replace(b"/beta", b"/" + text.replace(b"\n", b"\\012"))
        elif question.endswith(("/maps", "/smaps")):
            answers[question] = answer.replace(b"/memfd:guest_ram", b"/memfd:guest_ram" + text.replace(b"\n", b"\\012"))
    return fixture_file.write(path, answers)


@pytest.mark.parametrize("name", HOSTILE)
def test_strangers_texts_stay_texts(name, tmp_path):
    fixture = hostile_host(tmp_path / "hostile.fixture", HOSTILE[name])
    twin = hostile_host(tmp_path / "harmless.fixture", b"harmless")
    reports = all_reports(fixture, tmp_path / "page.html")
    assert_harmless(*reports)
    assert not schema_errors(json.loads(reports[1]))
    names = [g["name"] for g in json.loads(reports[1])["guests"]]
    assert len(names) == 2 and all(len(n.encode()) <= 128 for n in names)
    # A text may make a check find less or more: other lines, but no other kind of line.
    assert set(page_kinds(reports[2])) <= set(page_kinds(all_reports(twin, tmp_path / "twin.html")[2]))
    for guest in names: # the printed name names the guest
        assert_harmless(*all_reports(fixture, tmp_path / "tenant.html", "--guest", guest))


# ---- many guests ----

def many_guests(path, count):
    """The host of alpha, and beta as often as it takes; every fifth is in the host's network namespace."""
    answers = fixture_file.read(BASE)
    beta = {q: a for q, a in answers.items() if process_in(q, {2000, 2001}) is not None}
    beta |= {q: a for q, a in answers.items() if re.search(r"/beta(/|$)", q)}
    host_net = next((a for q, a in answers.items() if re.match(r"stat /proc/(1|self)/ns/net$", q)))
    numbers = answers["list /proc"].split() if "list /proc" in answers else []
    for i in range(count - 2):
        number = 30000 + 10 * i

        def renamed(data, binary=True):
            text = data if binary else data.encode()
            text = re.sub(rb"\b200([0-3])\b", lambda m: str(number + int(m.group(1))).encode(), text)
            text = text.replace(b"beta", f"web{i}".encode()).replace(b"1879048256", str(1879050000 + i).encode())
            return text if binary else text.decode()

        for question, answer in beta.items():
            if answer is not None:
                answer = renamed(answer)
                if "/ns/" in question:
                    fields = answer.split(b" ")
                    fields[4] = str(int(fields[4]) + 1000 * (i + 1)).encode()
                    answer = host_net if question.endswith("/ns/net") and i % 5 == 0 else b" ".join(fields)
            answers[renamed(question, False)] = answer
        numbers += [str(number).encode(), str(number + 1).encode()]
    answers["list /proc"] = b"".join(n + b"\n" for n in sorted(numbers))
    return fixture_file.write(path, answers)


def test_many_guests_are_shown_by_kind_and_said_once(tmp_path):
    fixture = many_guests(tmp_path / "many.fixture", 60)
    report = json.loads(run(fixture, "--json"))
    assert len(report["guests"]) == 60 and not schema_errors(report)
    text, _, page = all_reports(fixture, tmp_path / "page.html")
    rows = re.findall(r"^\w+ +NS-PID +(.*)", text, re.MULTILINE)
    assert rows and all(re.match(r"\d+ guests: \S+, \S+, \S+ and \d+ more$", row) for row in rows)
    assert "guests like" in page and page.count('class="pair"') < 40
    assert len(page) < 4 << 20
    assert_harmless(text, json.dumps(report), page)


# ---- the terminal ----

def test_the_terminal_has_lines_of_its_width():
    for fixture in FIXTURES[:20]:
        assert all(len(line) <= 100 for line in run(fixture).decode().splitlines())


def test_the_summary_ends_the_terminals_report():
    text = run(BASE).decode()
    counts = json.loads(run(BASE, "--json"))["counts"]
    line = f"PASS {counts['pass']} / WARN {counts['warn']} / FAIL {counts['fail']} / not determined {counts['unknown']}\n"
    assert line in text and text.split(line)[1].startswith("The 2 guests of this host: ")
    assert "\x1b" not in text


def test_colours_only_on_a_terminal_that_wants_them():
    def screen(**environment):
        command = f"stty cols 90; exec {PROGRAM} --fixture {BASE} -v"
        done = subprocess.run(["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              timeout=60, check=False, env={"PATH": os.environ["PATH"], "TERM": "xterm", **environment})
        return done.stdout
    assert b"\x1b[32mPASS" in screen()
    for wanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert b"\x1b[3" not in screen(**wanted)


# ---- the page as a file ----

def html(path, *options, **more):
    done = subprocess.run([PROGRAM, "--fixture", BASE, "--html", path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False, **more)
    return done.returncode, done.stderr.decode()


def test_page_replaces_a_file_whole_and_with_the_umasks_mode(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    page.chmod(0o600)
    assert html(page, umask=0o027)[0] in (0, 6, 10)
    assert page.read_text(encoding="utf-8").endswith("</html>\n") and stat.S_IMODE(page.stat().st_mode) == 0o600
    assert html(page, "--guest", "alpha", umask=0o027)[0] in (0, 6, 10)
    assert stat.S_IMODE(page.stat().st_mode) == 0o640  # the tenant's is for others
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_page_that_cannot_be_written_is_one_line_and_status_1(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, why in (("link", "a symbolic link"), ("directory", "a directory"), ("pipe", "a device, pipe or socket"),
                      ("missing/page.html", "No such file"), ("directory/", "a directory")):
        status, error = html(f"{tmp_path}/{path}")
        assert status == 1 and error.count("\n") == 1 and why in error
    assert html("/dev/full")[0] == 1 and html("")[0] == 1
    assert (tmp_path / "target").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["directory", "link", "pipe", "target"]
    assert not list((tmp_path / "directory").iterdir())
