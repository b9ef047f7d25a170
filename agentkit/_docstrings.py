"""Docstrings: what a function does, and what each of its parameters is. The one file that knows docstring_parser."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from docstring_parser import Docstring, ParseError, epydoc, google, numpydoc, rest


class Described(NamedTuple):
    """What a docstring says.

    Attributes:
        description: The summary and the paragraphs after it, word for word, without the sections.
        parameters: The description of each parameter, on one line.
    """

    description: str
    parameters: Mapping[str, str]


class _Style(NamedTuple):
    """How one style writes its sections."""

    header: re.Pattern[str]
    parse: Callable[[str], Docstring]
    # Up to where a section goes: to the next line of text that matches, at the left margin.
    until: re.Pattern[str]
    # A type beside a name, which the parser reads wrongly where it has colons or blanks, and what to put instead.
    type: tuple[re.Pattern[str], str]


_NAMES = (
    "Args|Arguments|Params|Parameters|Other Parameters|Keyword Args|Keyword Arguments|Receives|Returns?|Yields?|Raises"
    "|Warns|Except|Exceptions"
)
_FIELDS = "param|parameter|arg|argument|key|keyword|type|returns?|rtype|yields?|ytype|raises?|except|exception"
_NEVER = re.compile(r"(?!)")


def _fields(mark: str, parse: Callable[[str], Docstring]) -> _Style:
    return _Style(
        re.compile(rf"^{mark}(?:{_FIELDS})\b[^:\n]*:", re.MULTILINE),
        parse,
        re.compile(r"(?<=\n\n)\S"),
        (
            re.compile(
                rf"^({mark}(?:param|parameter|arg|argument|key|keyword))[ \t][^:\n]*?[ \t](\*{{0,2}}\w+):", re.M
            ),
            r"\1 \2:",
        ),
    )


_UNDERLINED = r"^(?:{names})[ \t]*\n-{{3,}}[ \t]*$"
# NumPy first: its sections have the names that Google's have.
_STYLES = (
    _Style(
        re.compile(_UNDERLINED.format(names=_NAMES), re.MULTILINE),
        numpydoc.parse,
        re.compile(_UNDERLINED.format(names=r"\w[\w ]*"), re.MULTILINE),
        (_NEVER, ""),
    ),
    _Style(
        re.compile(rf"^(?:{_NAMES}):[ \t]*$|^(?:Returns?|Yields?|Raises):[ \t]+\S.*$", re.MULTILINE),
        google.parse,
        re.compile(r"^\S", re.MULTILINE),
        (re.compile(r"^([ \t]+\*{0,2}\w+)[ \t]*\(.*?\)[ \t]*:(?=\s)", re.MULTILINE), r"\1:"),
    ),
    _fields("@", epydoc.parse),
    _fields(":", rest.parse),
)


def parse(docstring: str) -> Described:
    """Read a docstring in Google, NumPy, reST or epydoc style.

    Args:
        docstring: The text, its indentation already cleaned.

    Returns:
        What it says. A docstring without sections is all description.
    """
    for style in _STYLES:
        if style.header.search(docstring):
            description, sections = _split(docstring, style)
            return Described(description, _parameters(sections, style))
    return Described(docstring.strip(), {})


def _split(docstring: str, style: _Style) -> tuple[str, str]:
    """Part the text into what describes the function and the sections, each word for word."""
    kept: list[str] = []
    sections: list[str] = []
    at = 0
    while found := style.header.search(docstring, at):
        kept.append(docstring[at : found.start()])
        after = style.until.search(docstring, found.end())
        at = after.start() if after else len(docstring)
        sections.append(docstring[found.start() : at].rstrip())
    kept.append(docstring[at:])
    return "\n\n".join(text.strip() for text in kept if text.strip()), "\n\n".join(sections)


def _parameters(sections: str, style: _Style) -> dict[str, str]:
    marked, plain = style.type
    try:
        # The parsers take the first line for one without indentation, whatever follows it.
        parsed = style.parse("\n\n" + marked.sub(plain, sections))
    except ParseError:
        return {}
    described: dict[str, str] = {}
    for each in parsed.params:
        for name in each.arg_name.split(","):
            if each.description:
                described[name.strip().lstrip("*")] = " ".join(each.description.split())
    return described
