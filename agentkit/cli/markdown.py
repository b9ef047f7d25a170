"""Markdown of an answer, as a terminal shows it while it arrives: block by block.

The block that still grows is drawn again and again; a finished one is printed for good. So an answer of any length
stays in the terminal's history, once.
"""

from itertools import chain, pairwise

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
    """Its content without blanks that fill lines, so that it can be copied, and blank lines at its ends."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [_unpadded(line) for line in console.render_lines(self._content, options, pad=False)]
        full = [number for number, line in enumerate(lines) if line]
        for line in lines[full[0] : full[-1] + 1] if full else ():  # lists and tables have blank lines around them
            yield from line
            yield Segment.line()


def _unpadded(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)] if line else []


def blocks_of(text: str) -> list[str]:
    """Split Markdown into its paragraphs, lists, tables and so on."""
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map]
    lines = text.splitlines(keepends=True)
    return ["".join(lines[start:end]) for start, end in pairwise([0, *starts[1:], len(lines)])]


def rendered(text: str) -> RenderableType:
    """Return a text as Markdown whose line breaks stay, and whose links show their addresses."""
    first, *others = [_block(block) for block in blocks_of(text)]
    return Group(first, *chain.from_iterable([(Text(), block) for block in others]))


def _block(text: str) -> RenderableType:
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
        self._is_first = True
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
        if "\n" in text:
            *finished, self._text = blocks_of(self._text)
            if finished:
                live.refresh()
                self._print("".join(finished))

    def finish(self) -> None:
        """Print what is left; the next text is another answer."""
        if self._live is None:
            return
        text, self._text = self._text, ""  # a block of more lines than the terminal has could not be removed again
        self._live.stop()
        self._live = None
        self._print(text)
        self._is_first = True

    def _print(self, text: str) -> None:
        if text.strip():
            self._console.print(self._after_others(text))
            self._is_first = False

    def _growing(self) -> RenderableType:
        return self._after_others(self._text) if self._text.strip() else Text()

    def _after_others(self, text: str) -> RenderableType:
        return rendered(text) if self._is_first else Group(Text(), rendered(text))
