"""The manual pages name the commands, the options and the exit statuses that the code has."""
import re

import sources

MAN = sources.ROOT / "man"


def page(name):
    return (MAN / f"{name}.1").read_text()


def source(path):
    return (sources.ROOT / "src" / path).read_text()


def commands():
    return re.findall(r'^        \{"(\w+)", cmd_\w+, ', source("cli/main.c"), re.MULTILINE)


def options_in(text):
    """The options that a page of this project has an entry for, without what they take."""
    return {option for line in re.findall(r"^\.It (Fl .*)$", text, re.MULTILINE)
            for option in re.findall(r"Fl (Fl [\w-]+|\w)", line)}


def options_of(code):
    long = {f"Fl {name}" for name in re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', code)}
    short = set(re.search(r'getopt_long\(argc, argv, ":?(\w[\w:]*)"', code)[1].replace(":", ""))
    return long | short


def test_every_command_has_a_page_that_is_installed_and_found():
    installed = set(re.findall(r"'bulkhead-(\w+)\.1'", (MAN / "meson.build").read_text()))
    listed = re.findall(r"^\.It Cm (\w+)$", page("bulkhead"), re.MULTILINE)
    also = re.findall(r"^\.Xr bulkhead-(\w+) 1(?: ,)?$", page("bulkhead").split("\n.Sh SEE ALSO\n")[1], re.MULTILINE)
    assert len(commands()) >= 7
    assert installed == set(commands()) == {path.stem.removeprefix("bulkhead-") for path in MAN.glob("bulkhead-*.1")}
    assert (listed, also) == (commands(), sorted(commands()))


def test_options_of_audit():
    code = source("audit/options.c")
    assert options_in(page("bulkhead-audit")) == options_of(code)
    told = re.search(r"audit_help\[\] =(.*?);\n", code, re.DOTALL)[1]
    assert {f"Fl {name}" for name in re.findall(r"--([a-z-]+)", told)} >= options_of(code) - set("hv") - {"Fl help"}


def test_exit_statuses():
    defined = [int(value) for value in re.findall(r"STATUS_\w+ += (\d+),", source("base/exit_status.h"))]
    text = page("bulkhead").split("\n.Sh EXIT STATUS\n")[1].split("\n.Sh ")[0]
    assert re.findall(r"^\.It (\d+)$", text, re.MULTILINE) == [str(value) for value in defined if value < 64]


def test_an_option_without_an_entry_is_seen():
    assert options_in(".It Fl v , Fl Fl verbose\n.It Fl Fl html Ar file\n") == {"v", "Fl verbose", "Fl html"}
    code = 'static x = {{"help", no_argument, NULL, 0}, {"html", required_argument}};\ngetopt_long(argc, argv, ":hv", x'
    assert options_of(code) == {"Fl help", "Fl html", "h", "v"}
