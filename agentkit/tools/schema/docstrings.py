"""Docstrings: what a function does, and what each of its parameters is. The one file that knows docstring_parser."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from docstring_parser import Docstring, DocstringParam, ParseError, epydoc, google, numpydoc, rest


class Described(NamedTuple):
    """What a docstring says.

    Attributes:
        description: The summary and the paragraphs after it, word for word, without the sections.
        parameters: The description of each parameter, on one line.
    """

    description: str
    parameters: Mapping[str, str]


class _Style(NamedTuple):
    """How one style writes its sections. A field of reST or epydoc is a section of its own."""

    # What begins a section; the group `parameters` is there if it is about parameters.
    header: re.Pattern[str]
    # What ends it, later than its first character.
    until: re.Pattern[str]
    # A type and a mark beside a name: the parser reads some of them wrongly.
    entry: re.Pattern[str]
    # What the parser is to read in their place, and above all entries.
    plain: str
    title: str
    parse: Callable[[str], Docstring]


_PARAMETERS = (
    "(?P<parameters>Args|Arguments|Params|Parameters|Other Parameters|Keyword Args|Keyword Arguments|Receives)"
)
_REST = "Returns?|Yields?|Raises|Warns|Except|Exceptions"
_UNDERLINED = r"^(?:{names})[ \t]*\n-{{3,}}[ \t]*$"
# After a blank line, what is neither a name (with a type or without) nor has an indented text below is a paragraph.
_PARAGRAPH = r"(?<=\n\n)(?=\S)(?!.*\n[ \t]+\S)(?!\*{0,2}\w+(?:,[ \t]*\*{0,2}\w+)*[ \t]*(?::|$))"


def _fields(mark: str, parse: Callable[[str], Docstring]) -> _Style:
    parameters = "param|parameter|arg|argument|key|keyword"
    others = "type|returns?|rtype|yields?|ytype|raises?|except|exception"
    return _Style(
        re.compile(rf"^{mark}(?:(?P<parameters>{parameters})\b[^\n]*|(?:{others})\b[^:\n]*):", re.MULTILINE),
        re.compile(rf"^{mark}|(?<=\n\n)\S", re.MULTILINE),
        re.compile(rf"^{mark}(?:{parameters})[ \t]+(?:.*?[ \t])??\*{{0,2}}(\w+)\??:", re.MULTILINE),
        rf"{mark}param \1:",
        "",
        parse,
    )


# NumPy first: its sections have the names that Google's have.
_STYLES = (
    _Style(
        re.compile(_UNDERLINED.format(names=f"{_PARAMETERS}|{_REST}"), re.MULTILINE),
        re.compile(_UNDERLINED.format(names=r"\w[\w ]*") + "|" + _PARAGRAPH, re.MULTILINE),
        re.compile(r"(?!)"),
        "",
        "Parameters\n----------",
        numpydoc.parse,
    ),
    _Style(
        re.compile(rf"^(?:{_PARAMETERS}|{_REST}):[ \t]*$|^(?:Returns?|Yields?|Raises):[ \t]+\S.*$", re.MULTILINE),
        re.compile(r"^\S", re.MULTILINE),
        re.compile(r"^([ \t]*\*{0,2}\w+)[ \t]*(?:\(.*?\))?[ \t]*:(?=\s)", re.MULTILINE),
        r"\1:",
        "Args:",
        google.parse,
    ),
    _fields("@", epydoc.parse),
    _fields(":", rest.parse),
)
# Cleaning takes the indentation from below a header in the first line.
_OPENING = re.compile(rf"(?:{_PARAMETERS}|{_REST}):[ \t]*\n(?=\S)")


def parse(docstring: str) -> Described:
    """Read a docstring in Google, NumPy, reST or epydoc style.

    Args:
        docstring: The text, its indentation already cleaned.

    Returns:
        What it says. A docstring without sections is all description.
    """
    if _OPENING.match(docstring):
        docstring = docstring.replace("\n", "\n    ")
    for style in _STYLES:
        if style.header.search(docstring):
            description, sections = _split(docstring, style)
            return Described(description, _described(sections, style))
    return Described(docstring.strip(), {})


def _split(docstring: str, style: _Style) -> tuple[str, list[str]]:
    """Part the text into what describes the function, word for word, and the sections about parameters."""
    kept: list[str] = []
    sections: list[str] = []
    at = 0
    while found := style.header.search(docstring, at):
        kept.append(docstring[at : found.start()])
        after = style.until.search(docstring, max(found.end(), found.start() + 1))
        at = after.start() if after else len(docstring)
        if found["parameters"]:
            sections.append(docstring[found.end() if style.title else found.start() : at].strip("\n"))
    kept.append(docstring[at:])
    return "\n\n".join(text.strip() for text in kept if text.strip()), sections


def _described(sections: Iterable[str], style: _Style) -> dict[str, str]:
    described: dict[str, str] = {}
    for section in sections:
        for each in _parameters(style.entry.sub(style.plain, section), style):
            for name in each.arg_name.split(","):
                if each.description:
                    described[name.strip().lstrip("*")] = " ".join(each.description.split())
    return described


def _parameters(section: str, style: _Style) -> list[DocstringParam]:
    """Read a section; where it is malformed, read each of its entries alone, so that one does not spoil the others."""
    try:
        # The parsers take the first line for one without indentation, whatever follows it.
        return style.parse(f"\n\n{style.title}\n{section}").params
    except ParseError:
        margin = section[: len(section) - len(section.lstrip())]
        entries = re.split(rf"\n(?={margin}\S)", section)
        return [each for entry in entries for each in _parameters(entry, style)] if len(entries) > 1 else []
