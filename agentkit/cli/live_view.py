"""What a run shows while it goes on: text as it comes, and its tool calls."""

from dataclasses import dataclass, field
from functools import singledispatchmethod
from time import perf_counter
from typing import TextIO

from rich.console import Console
from rich.text import Text

from agentkit.cli.formatting import call_of, line, safe, short, usage_of
from agentkit.core.messages import Usage
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    HistoryRepaired,
    Nested,
    RunFinished,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

QUIET, USUAL, VERBOSE = -1, 0, 1
STYLES = {"ok": "green", "error": "red", "refused": "yellow", "cancelled": "yellow"}


def console_on(file: TextIO) -> Console:
    """Give what writes lines with colours, where they are wanted: not in a pipe, and not with `NO_COLOR`."""
    return Console(file=file, highlight=False, markup=False, emoji=False)


def put(console: Console, *parts: str | tuple[str, str], indent: int = 0, whole: bool = False) -> None:
    """Write one line, cut where the terminal ends unless all of it is wanted; a file gets all of it."""
    text = Text("  " * indent).append_text(Text.assemble(*[_safe(each) for each in parts]))
    if console.is_terminal and not whole:
        console.print(text, no_wrap=True, overflow="ellipsis")
    else:
        console.print(text, soft_wrap=True)


def _safe(part: str | tuple[str, str]) -> str | tuple[str, str]:
    return line_of(part) if isinstance(part, str) else (line_of(part[0]), part[1])


def line_of(text: str) -> str:
    """Give a text as one line, its blanks as they are."""
    return safe(text).replace("\n", " ")


@dataclass(slots=True)
class Shown:
    """Shows a run: it takes its events.

    Attributes:
        out: Where text goes as it comes; `None` if it is not to be shown.
        err: Where all the rest goes.
        verbosity: How much that is.
        text: The text of the reply that is coming, as far as it was shown.
        open: Whether the line of text has no end yet.
        usage: What all runs have cost until now.
    """

    out: TextIO | None
    err: Console
    verbosity: int = USUAL
    text: str = ""
    open: bool = False
    usage: Usage = field(default_factory=Usage)
    _asked: float = 0.0
    _depth: int = 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        while isinstance(event, Nested):
            event, self._depth = event.event, self._depth + 1
        self._show(event)
        self._depth = 0

    def closed(self) -> None:
        """End the line of text, if it has no end."""
        if self.open and self.out is not None:
            self.out.write("\n")
            self.out.flush()
        self.open = False

    def _put(self, *parts: str | tuple[str, str], least: int = USUAL) -> None:
        if self.verbosity >= least:
            self.closed()
            put(self.err, *parts, indent=self._depth)

    @singledispatchmethod
    def _show(self, event: object) -> None:
        """Show nothing of what is not told here."""

    @_show.register
    def _(self, event: TextDelta) -> None:
        if self.out is None or self._depth:
            return
        text = safe(event.text)
        self.out.write(text)
        self.out.flush()
        self.text += event.text
        self.open = not text.endswith("\n") if text else self.open

    @_show.register
    def _(self, event: StepStarted) -> None:
        self._asked = perf_counter()
        if not self._depth:
            self.text = ""
        self._put((f"step {event.number}: asks, {event.choice}", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: StepFinished) -> None:
        step, seconds = event.step, perf_counter() - self._asked
        if step.violation is not None:
            self._put((f"not taken: {step.violation}; it is asked again", "yellow"))
        self._put((f"step: {usage_of(step.usage)}, {seconds:.2f} s", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: HistoryRepaired) -> None:
        self._put((f"history repaired: {event.repair.what}, {event.repair.detail}", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: ArgumentsRepaired) -> None:
        repairs = "; ".join([f"{where}: {what}" for where, what in event.repairs])
        self._put((f"repaired {event.call.name}: {repairs}", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: ApprovalNeeded) -> None:
        if event.started:
            self._put(
                (f"{event.call.name} had started when the program was stopped; it may have had its effect", "yellow")
            )

    @_show.register
    def _(self, event: ToolStarted) -> None:
        call = call_of(event.call)
        self._put(("→ ", "cyan"), call if self.verbosity >= VERBOSE else short(call))

    @_show.register
    def _(self, event: ToolProgress) -> None:
        self._put(("… ", "cyan"), f"{event.call.name} {short(_said(event.value))}")

    @_show.register
    def _(self, event: ToolFinished) -> None:
        answer = event.message
        ended = f"{event.call.name} {'' if answer.outcome == 'ok' else f'{answer.outcome} '}{event.seconds:.2f} s"
        said = line(answer.content) if self.verbosity >= VERBOSE else short(answer.content)
        self._put(("← ", STYLES[answer.outcome]), (ended, "dim"), f" {said}")

    @_show.register
    def _(self, event: RunFinished) -> None:
        if not self._depth:
            self.usage += event.usage
        failed = "failed" if isinstance(event.error, Exception) else "stopped"
        self._put((f"{event.stop or failed}: {usage_of(event.usage)}", "dim"), least=VERBOSE)


def _said(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (an object of a tool's may not be able to say what it is)
        return f"<{type(value).__name__}>"
