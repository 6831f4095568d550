"""The project's source files, and their text without comments and strings."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A comment, a string or a character constant, whichever starts first.
_NOT_CODE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def files(*directories, suffixes):
    """{path relative to the repository: text} of the files below the directories that end in one of suffixes."""
    return {str(path.relative_to(ROOT)): path.read_text()
            for directory in directories for path in sorted((ROOT / directory).rglob("*"))
            if path.is_file() and path.suffix in suffixes}


def code(text):
    """The text with comments blanked and strings emptied; line numbers stay."""
    def blank(match):
        found = match.group()
        return '""' if found[0] == '"' else "0" if found[0] == "'" else "\n" * found.count("\n") or " "
    return _NOT_CODE.sub(blank, text)
