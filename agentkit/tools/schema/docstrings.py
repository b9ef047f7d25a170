"""Docstrings: what a function does, and what each of its parameters is. The one file that knows docstring_parser."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from docstring_parser import Docstring, DocstringParam, ParseError, epydoc, google, numpydoc, rest


class ParsedDocstring(NamedTuple):
    """The description, word for word and without the sections, and the description of each parameter on one line."""

    description: str
    parameters: Mapping[str, str]


class _Style(NamedTuple):
    """How one style writes its sections. A field of reST or epydoc is a section of its own."""

    # What begins a section; the group `parameters` is there if it is about parameters.
    header: re.Pattern[str]
    # What ends it, after its first character.
    end: re.Pattern[str]
    # A name with its type and marks, some of which the parser misreads; it reads `plain` instead.
    entry: re.Pattern[str]
    plain: str
    # The line that the parser wants above the entries.
    title: str
    parse: Callable[[str], Docstring]


_PARAMETERS = (
    "(?P<parameters>Args|Arguments|Params|Parameters|Other Parameters|Keyword Args|Keyword Arguments|Receives)"
)
_REST = "Returns?|Yields?|Raises|Warns|Except|Exceptions"
_UNDERLINED = r"^(?:{names})[ \t]*\n-{{3,}}[ \t]*$"
# After a blank line, what is neither a name (with a type or without) nor has an indented text below is a paragraph.
_PARAGRAPH = r"(?<=\n\n)(?=\S)(?!.*\n[ \t]+\S)(?!\*{0,2}\w+(?:,[ \t]*\*{0,2}\w+)*[ \t]*(?::|$))"


def _field_style(mark: str, parse: Callable[[str], Docstring]) -> _Style:
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
    _field_style("@", epydoc.parse),
    _field_style(":", rest.parse),
)
# `inspect.cleandoc` removes the indentation below a header in the first line.
_OPENING = re.compile(rf"(?:{_PARAMETERS}|{_REST}):[ \t]*\n(?=\S)")


def parse(docstring: str) -> ParsedDocstring:
    """Read a docstring, its indentation already cleaned, in Google, NumPy, reST or epydoc style."""
    if _OPENING.match(docstring):
        docstring = docstring.replace("\n", "\n    ")
    for style in _STYLES:
        if style.header.search(docstring):
            description, sections = _split(docstring, style)
            return ParsedDocstring(description, _descriptions(sections, style))
    return ParsedDocstring(docstring.strip(), {})


def _split(docstring: str, style: _Style) -> tuple[str, list[str]]:
    """Split the text into the function's description, word for word, and the sections about parameters."""
    kept: list[str] = []
    sections: list[str] = []
    at = 0
    while header := style.header.search(docstring, at):
        kept.append(docstring[at : header.start()])
        after = style.end.search(docstring, max(header.end(), header.start() + 1))
        at = after.start() if after else len(docstring)
        if header["parameters"]:
            sections.append(docstring[header.end() if style.title else header.start() : at].strip("\n"))
    kept.append(docstring[at:])
    return "\n\n".join(text.strip() for text in kept if text.strip()), sections


def _descriptions(sections: Iterable[str], style: _Style) -> dict[str, str]:
    return {
        name.strip().lstrip("*"): " ".join(parameter.description.split())
        for section in sections
        for parameter in _parse_section(style.entry.sub(style.plain, section), style)
        for name in parameter.arg_name.split(",")
        if parameter.description
    }


def _parse_section(section: str, style: _Style) -> list[DocstringParam]:
    """Parse a section. If it is malformed, parse each entry separately, so that one does not spoil the others."""
    try:
        # The parsers take the first line for one without indentation, whatever follows it.
        return style.parse(f"\n\n{style.title}\n{section}").params
    except ParseError:
        margin = section[: len(section) - len(section.lstrip())]
        entries = re.split(rf"\n(?={margin}\S)", section)
        return [param for entry in entries for param in _parse_section(entry, style)] if len(entries) > 1 else []
