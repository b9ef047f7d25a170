"""Untrusted text for terminals and logs: what a model, a tool, a server or a file says.

A terminal obeys control characters: after a carriage return, it overwrites what stands before. Marks for the direction
of writing reorder a line, and invisible characters hide in it. In a log, a line break forges the next line. All of
these are shown as JSON escapes, so what is JSON stays the same JSON.
"""

import json
import re
from typing import cast
from unicodedata import category

from agentkit.core.json import decode, object_of
from agentkit.core.messages import ToolCall

LINES = "\n\t"
"""What text of several lines keeps."""
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
PROSE = LINES + _SPACES + "\u200c\u200d\ufe0e\ufe0f"
"""What an answer keeps too: the spaces, joiners and emoji forms that languages need, which hide and move nothing."""

# `str.isprintable` knows Unicode's control, format, separator and unassigned characters. These have no shape either.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_MANY_SPACES = re.compile(" {17,}")  # fewer are the indentation of code
_PIECE = re.compile(r"\\u[0-9a-f]{4}|\\.|.", re.DOTALL)  # an escape, or a character
_MOST_MARKS = 4  # on a letter; with more, they would reach into the lines above and below
_FIRST_WIDE = "\u1100"  # no character before it takes two cells of a terminal


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with escapes for all that a terminal obeys, or that nobody sees.

        printable("5 to Ann\r90000")   # 5 to Ann\r90000

    Args:
        text: The text.
        keep: The characters that stay; `LINES` and `PROSE` are of use. `\r\n` is a line break like `\n`.
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    if "\n" in keep:
        text = text.replace("\r\n", "\n")
    return "".join([char if char in keep or _is_visible(char) else _escaped(char) for char in text])


def one_line(text: str, most: int | None = None) -> str:
    """Return a text as one line, with single spaces; what is longer than `most` is cut."""
    line = " ".join(text.split())
    return printable(line if most is None or len(line) <= most else f"{line[:most]}…")


def format_call(call: ToolCall) -> str:
    """Write a tool call as code, each value as JSON: `get_weather(city="Paris")`."""
    try:
        decoded = decode(call.arguments)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        return _unmixed(printable(f"{call.name}({call.arguments})"))
    arguments = [
        f"{name if name.isidentifier() else _json(name)}={_json(value)}"
        for name, value in object_of(cast("object", decoded)).items()
    ]
    return _unmixed(printable(f"{call.name}({', '.join(arguments)})"))


def folded(text: str, width: int, indent: str = "    ") -> list[str]:
    """Split a line into lines that a terminal does not wrap. All but the first are indented.

    So no untrusted text begins a line of the terminal, where it could look like a line of the program.
    """
    lines, line, cells = list[str](), "", 0
    for char in text:
        needed = 1 if char < _FIRST_WIDE else 2
        if cells + needed > max(width, 20):
            lines.append(line)
            line, cells = indent, len(indent)
        line, cells = line + char, cells + needed
    return [*lines, line]


def _is_visible(char: str) -> bool:
    return char.isprintable() and not _INVISIBLE.match(char)


def _escaped(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unmixed(text: str) -> str:
    """Return a call whose texts cannot alter its syntax: marks stand on letters, and few spaces in a row."""
    text = _MANY_SPACES.sub(lambda spaces: " " + "\\u0020" * (len(spaces[0]) - 1), text)
    if text.isascii():
        return text
    pieces, marks = list[str](), _MOST_MARKS
    for piece in _PIECE.findall(text):
        kind = category(piece)[0] if len(piece) == 1 else ""
        marks = marks + 1 if kind == "M" else 0 if kind == "L" else _MOST_MARKS
        pieces.append(_escaped(piece) if kind == "M" and marks > _MOST_MARKS else piece)
    return "".join(pieces)
