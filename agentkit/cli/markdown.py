"""Markdown of an answer, as a terminal shows it while it arrives: block by block.

The block that still grows is drawn again and again; a finished one is printed for good. So an answer of any length
stays in the terminal's history, once.
"""

from itertools import chain

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

_PER_SECOND = 10
# Markup in an answer is shown as it is written: rich would drop it, and with it the `<int>` of `list<int>`.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


class _Unpadded:
    """Its content without the blanks that fill each line, so that it can be copied."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._content, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def rendered(text: str) -> RenderableType:
    """Return a text as Markdown whose line breaks stay, and whose links show their addresses."""
    shown = Markdown("", code_theme="ansi_dark", hyperlinks=False)
    shown.parsed = _PARSER.parse(text)
    for token in chain.from_iterable([token.children or () for token in shown.parsed]):
        if token.type == "softbreak":
            token.type = "hardbreak"
    return _Unpadded(shown)


class MarkdownView:
    """Shows one answer after another at a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._first = True
        self._live: Live | None = None

    def feed(self, text: str) -> None:
        """Show a piece of the answer."""
        live = self._live
        if live is None:
            self._live = live = Live(
                console=self._console,
                refresh_per_second=_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                get_renderable=self._growing,
            )
            live.start()
        self._text += text
        if "\n" in text and (finished := self._take_finished_blocks()).strip():
            live.refresh()
            self._console.print(self._block(finished))
            self._first = False

    def finish(self) -> None:
        """Print what is left; the next text is another answer."""
        if self._live is None:
            return
        text, self._text = self._text, ""  # a block of more lines than the terminal has could not be removed again
        self._live.stop()
        self._live = None
        if text.strip():
            self._console.print(self._block(text))
        self._first = True

    def _take_finished_blocks(self) -> str:
        """Cut off all but the last block, which may go on."""
        starts = [token.map[0] for token in _PARSER.parse(self._text) if token.level == 0 and token.map]
        lines = self._text.splitlines(keepends=True)
        last = starts[-1] if starts else 0
        self._text = "".join(lines[last:])
        return "".join(lines[:last])

    def _growing(self) -> RenderableType:
        return self._block(self._text) if self._text.strip() else Text()

    def _block(self, text: str) -> RenderableType:
        return rendered(text) if self._first else Group(Text(), rendered(text))
