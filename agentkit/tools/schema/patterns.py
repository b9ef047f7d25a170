"""Patterns of JSON Schema, which are written in JavaScript's dialect, in an engine whose time is linear in the text.

A backtracking engine takes seconds for 26 characters under `^(a+)+$`, and a schema may come from a stranger. pydantic's
engine cannot look around or refer back; a pattern that does is not enforced.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from pydantic_core import SchemaError, SchemaValidator, core_schema

_LARGEST = 2000
"""The most characters that a pattern may have, counted repetitions written out."""

_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # of surrogates
_ESCAPE = _PAIR + r"|\\c[A-Za-z]|\\[pPu]\{\w[^}]*\}|\\."
_OUTER = re.compile(_ESCAPE + r"|\{\d+(?:,\d*)?\}|\[\^?\]?|.", re.DOTALL)
_INNER = re.compile(_ESCAPE + "|.", re.DOTALL)
_SPACE = r"\s\x{FEFF}--\x{85}"
_OUTSIDE = {
    ".": r"[^\n\r\x{2028}\x{2029}]",
    "[]": "[^\\s\\S]",
    "[^]": "[\\s\\S]",
    "{": r"\{",
    r"\d": "[0-9]",
    r"\D": "[^0-9]",
    r"\w": "[0-9A-Za-z_]",
    r"\W": "[^0-9A-Za-z_]",
    r"\s": f"[{_SPACE}]",
    r"\S": f"[^{_SPACE}]",
    r"\b": r"(?-u:\b)",
    r"\Z": r"\z",  # Python's
    r"\0": r"\x00",
}
_INSIDE = {
    **{escape: _OUTSIDE[escape] for escape in (r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\0")},
    **{character: "\\" + character for character in "[&~"},
    r"\b": r"\x08",
}
_WRONG = (
    "unclosed",
    "unopened",
    "missing expression",
    "count range",
    "invalid character class range",
    "maximum number",
)


class Pattern(NamedTuple):
    """A pattern: whether a text has a match, and how large the pattern is, repetitions written out."""

    matches: Callable[[str], bool]
    size: int


def compiled(pattern: str) -> Pattern | None:
    """Return a pattern that takes linear time; `None` if there is none. `ValueError` if it is no pattern."""
    translated, size = _translated(pattern)
    if size > _LARGEST:
        return None
    try:
        core = core_schema.str_schema(pattern=translated, regex_engine="rust-regex")
        return Pattern(SchemaValidator(core).isinstance_python, size)
    except SchemaError as error:
        reason = str(error).rpartition("error: ")[2]
        if any(word in reason for word in _WRONG):
            raise ValueError(f"{pattern!r:.200} is not a pattern: {reason}") from None
        return None


def _translated(pattern: str) -> tuple[str, int]:
    """Return a pattern in the dialect of the engine, and its size."""
    parts = [""]
    sizes, last = [0], 0  # the sizes of the groups around this place, and that of what stands before it
    in_class = False
    at = 0
    while match := (_INNER if in_class else _OUTER).match(pattern, at):
        piece, at = match[0], match.end()
        if in_class:
            parts.append(_in_class(piece, parts[-1]))
            in_class = piece != "]"
            continue
        parts.append(_escape(piece) or _OUTSIDE.get(piece, piece))
        if piece == "(":
            sizes.append(1)
        elif piece == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif piece[0] == "{" and piece != "{":
            most = max(int(number[:6]) for number in piece[1:-1].split(",") if number)
            sizes[-1] += last * (most - 1)
            last *= most
        else:
            in_class = piece in ("[", "[^")
            last = 1
            sizes[-1] += 1
    return "".join(parts), sum(sizes)


def _in_class(piece: str, before: str) -> str:
    """Return a part of a character class, where the engine knows operators that JavaScript does not."""
    if piece == "-" and (before == "-" or (before.startswith("[") and before.endswith("]"))):
        return r"\-"
    return _escape(piece) or _INSIDE.get(piece, piece)


def _escape(piece: str) -> str | None:
    """Return a control character or one beyond the basic plane, as the engine writes it."""
    if re.fullmatch(_PAIR, piece):
        return f"\\x{{{ord(bytes.fromhex(piece[2:6] + piece[8:]).decode('utf-16-be')):x}}}"
    return f"\\x{{{ord(piece[2]) % 32:x}}}" if re.fullmatch(r"\\c[A-Za-z]", piece) else None
