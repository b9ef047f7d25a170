"""Draws `docs/terminal.svg`, a chat at a terminal: `python -m tests.terminal_picture`. The model is scripted."""

import os
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from pyte.screens import Char

from agentkit.testing import answer, calling, chaos
from tests.cli.commands import terminal
from tests.cli.conftest import AGENT

PICTURE = Path(__file__).parent.parent / "docs/terminal.svg"
ANSWER = "It rains in **Paris**, a little.\n\n- Take an umbrella.\n- The `Ritz` is dry: shall I book a table?"
_COLOURS = {"cyan": "#66d9e8", "green": "#8ce99a", "brown": "#ffd43b", "red": "#ffa8a8", "default": "#e9ecef"}
_WIDTH, _HEIGHT = 8.4, 18


def styled(line: list[Char]) -> Iterator[str]:
    """Write a line of a terminal as spans."""
    for (colour, bold), cells in groupby(line, key=lambda cell: (cell.fg, cell.bold)):
        weight = ' font-weight="700"' if bold else ""
        text = escape("".join([cell.data for cell in cells]))
        yield f'<tspan fill="{_COLOURS.get(colour, _COLOURS["default"])}"{weight}>{text}</tspan>'


def drawn(lines: list[list[Char]]) -> str:
    """Draw the lines of a terminal, as SVG."""
    width, height = len(lines[0]) * _WIDTH + 24, len(lines) * _HEIGHT + 24
    rows = [
        f'<text x="12" y="{12 + (number + 0.75) * _HEIGHT:.0f}" xml:space="preserve">{"".join(styled(line))}</text>'
        for number, line in enumerate(lines)
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
    style = "<style>text { font: 14px ui-monospace, monospace }</style>"
    ground = f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#212529"/>'
    return "\n".join([head, "<title>A chat at a terminal</title>", style, ground, *rows, "</svg>"]) + "\n"


def chatted() -> list[list[Char]]:
    """Chat with the scripted model, and return the lines of the terminal."""
    script = [calling(("get_weather", {"city": "Paris"})), answer(ANSWER), calling(("book_table", {"place": "Ritz"}))]
    with TemporaryDirectory() as folder, chaos(*script) as endpoint:
        Path(folder, "weather.py").write_text(AGENT.replace('    print("the tool prints")\n', ""))
        os.chdir(folder)
        environment = {"AGENTKIT_BASE_URL": endpoint.url, "XDG_CONFIG_HOME": folder}
        with terminal("chat", "weather.py", env=environment) as person:
            for keys, shown in (
                ("Will it rain in Paris?\r", "shall I book"),
                ("Yes, please\r", "y/n/e"),
                ("?\r", r"(?s)e edits.*y/n/e"),
            ):
                person.shows(">")
                person.type(keys)
                person.shows(shown)
            return person.lines


if __name__ == "__main__":
    PICTURE.write_text(drawn(chatted()))
