"""The live view of a run: text as it arrives, and tool calls."""

from dataclasses import dataclass, field
from functools import singledispatchmethod
from importlib import import_module
from time import perf_counter
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from agentkit.cli.activity import Activity, ProgramOutput, is_animated
from agentkit.cli.formatting import format_usage, shortened
from agentkit.core.messages import Usage
from agentkit.core.printable import LINES, PROSE, format_call, one_line, printable
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    HistoryRepaired,
    MessageReceived,
    Nested,
    ReasoningDelta,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

QUIET, USUAL, VERBOSE = -1, 0, 1
_MODEL = "model"  # what the sign of life is of, beside calls by their ids
_ENOUGH = 20  # characters of a result by which it is recognised
STYLES = {"ok": "green", "error": "red", "refused": "yellow", "cancelled": "yellow"}


def console_for(file: TextIO) -> Console:
    """Return a console that uses colours on a terminal, unless `NO_COLOR` is set."""
    return Console(file=file, highlight=False, markup=False, emoji=False)


def print_line(console: Console, *parts: str | tuple[str, str], indent: int = 0, full_width: bool = False) -> None:
    """Print one line of texts, or of texts with styles. A terminal cuts it at its width, unless `full_width`."""
    pieces = [part if isinstance(part, tuple) else (part, "") for part in parts]
    line = Text("  " * indent)
    for text, style in pieces:
        line.append(printable(text, LINES).replace("\n", " "), style)
    if console.is_terminal and not full_width:
        console.print(line, no_wrap=True, overflow="ellipsis")
    else:
        console.print(line, soft_wrap=True)


def print_answer(out: TextIO, text: str) -> None:
    """Print an answer: as Markdown on a terminal, else as it is, with a line break at its end."""
    text = printable(text, PROSE)
    console = console_for(out)
    if is_animated(console) and text:
        console.print(import_module("agentkit.cli.markdown").rendered(text))
    else:
        out.write(text if text.endswith("\n") or not text else f"{text}\n")
    out.flush()


@dataclass(slots=True)
class LiveView:
    """Shows the events of a run, as its `emit`.

    Attributes:
        out: Gets the text as it arrives, if it is to be shown; `err` gets all the rest.
        text: The text of the current reply, as far as it was shown.
        open: Whether the line of text has no end yet.
        usage: The usage of all runs until now.
        activity: What is waited for.
        printed: Takes the place of stdout for the program, so that what it prints does not disturb the view.
    """

    out: TextIO | None
    err: Console
    verbosity: int = USUAL
    text: str = ""
    open: bool = False
    usage: Usage = field(default_factory=Usage)
    activity: Activity = field(init=False)
    printed: ProgramOutput = field(init=False)
    _markdown: Any = None  # of `MarkdownView`, where `out` is a terminal; its file is slow to import
    _model: str = ""
    _shown_already: set[str] = field(default_factory=set[str])  # ids of calls that an observer of the agent shows
    _news: str = ""  # what the program printed since the event before
    _started: float = 0.0
    _thinking: bool = False  # whether the line of reasoning has no end yet
    _depth: int = 0

    def __post_init__(self) -> None:
        self.activity = Activity(self.err)
        self.printed = ProgramOutput(self.err, self.activity)
        if self.out is not None and is_animated(console := console_for(self.out)):
            self._markdown = import_module("agentkit.cli.markdown").MarkdownView(console)

    def __call__(self, event: Event) -> None:
        self._news = self.printed.taken()
        while isinstance(event, Nested):
            event, self._depth = event.event, self._depth + 1
        self._show(event)
        self._depth = 0

    def end_line(self) -> None:
        """End the line of text or reasoning, if it is open."""
        self._end_reasoning()
        if self._markdown is not None:
            self._markdown.finish()
        elif self.open and self.out is not None:
            self.out.write("\n")
            self.out.flush()
        self.open = False

    def close(self) -> None:
        """End the line, and show no more what is waited for."""
        self.activity.clear()
        self.end_line()

    def _wait(self, key: str, label: str) -> None:
        """Show that something works, which nested runs do not: the call that they are in is shown."""
        if not self._depth and is_animated(self.err):
            self.end_line()
            self.activity.begin(key, label)

    def _is_shown(self, text: str) -> bool:
        """Whether an observer of the agent printed a text at this event."""
        return one_line(text)[:_ENOUGH] in one_line(self._news)

    def _end_reasoning(self) -> None:
        if self._thinking:
            self.err.print()
        self._thinking = False

    def _print(self, *parts: str | tuple[str, str], least: int = USUAL) -> None:
        if self.verbosity >= least:
            self.end_line()
            with self.activity.above():
                print_line(self.err, *parts, indent=self._depth)

    @singledispatchmethod
    def _show(self, event: object) -> None:
        """Ignore other events."""

    @_show.register
    def _(self, event: TextDelta) -> None:
        if self.out is None or self._depth:
            return
        self.activity.end(_MODEL)
        self._end_reasoning()
        text = printable(event.text, PROSE)
        if self._markdown is not None:
            self._markdown.feed(text)
        else:
            self.out.write(text)
            self.out.flush()
        self.text += event.text
        self.open = not text.endswith("\n") if text else self.open

    @_show.register
    def _(self, event: ReasoningDelta) -> None:
        if self.out is None or self._depth or self.verbosity < USUAL:
            return
        self.activity.end(_MODEL)
        if not self._thinking:
            self.end_line()
        self._thinking = True
        self.err.print(Text(printable(event.text, PROSE), "dim"), end="", soft_wrap=True)

    @_show.register
    def _(self, event: RunStarted) -> None:
        if not self._depth:
            self._model = event.model

    @_show.register
    def _(self, event: StepStarted) -> None:
        self._started = perf_counter()
        if not self._depth:
            self.text = ""
        what = "request" if event.request is not None else "known call"
        self._print((f"step {event.number}: {what}, tool choice {event.choice}", "dim"), least=VERBOSE)
        if event.request is not None:
            self._wait(_MODEL, self._model)

    @_show.register
    def _(self, event: StepFinished) -> None:
        if not self._depth:
            self.activity.end(_MODEL)
        step, seconds = event.step, perf_counter() - self._started
        if step.violation is not None:
            self._print((f"rejected: {step.violation}; asking again", "yellow"))
        self._print((f"step: {format_usage(step.usage)}, {seconds:.2f} s", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: HistoryRepaired) -> None:
        self._print((f"history repaired: {event.repair.what}, {event.repair.detail}", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: MessageReceived) -> None:
        self._print((f"received: {shortened(str(event.message.content))}", "dim"))

    @_show.register
    def _(self, event: ArgumentsRepaired) -> None:
        repairs = "; ".join([f"{where}: {what}" for where, what in event.repairs])
        self._print((f"repaired {event.call.name}: {repairs}", "dim"), least=VERBOSE)

    @_show.register
    def _(self, event: ApprovalNeeded) -> None:
        if event.started:
            self._print((f"{event.call.name} had started when the program stopped; it may have run", "yellow"))

    @_show.register
    def _(self, event: ToolStarted) -> None:
        call = format_call(event.call)
        if self._is_shown(event.call.name):
            self._shown_already.add(event.call.id)
        else:
            self._print(("→ ", "cyan"), call if self.verbosity >= VERBOSE else shortened(call))
        self._wait(event.call.id, event.call.name)

    @_show.register
    def _(self, event: ToolProgress) -> None:
        self._print(("… ", "cyan"), f"{event.call.name} {shortened(_text_of_progress(event.value))}")

    @_show.register
    def _(self, event: ToolFinished) -> None:
        if not self._depth:
            self.activity.end(event.call.id)
        result = event.message
        if event.call.id in self._shown_already and self._is_shown(result.content):
            return
        ended = f"{event.call.name} {'' if result.outcome == 'ok' else f'{result.outcome} '}{event.seconds:.2f} s"
        text = one_line(result.content) if self.verbosity >= VERBOSE else shortened(result.content)
        self._print(("← ", STYLES[result.outcome]), (ended, "dim"), f" {text}")

    @_show.register
    def _(self, event: RunFinished) -> None:
        if not self._depth:
            self.activity.clear()
            self.usage += event.usage
        failed = "failed" if isinstance(event.error, Exception) else "stopped"
        self._print((f"{event.stop or failed}: {format_usage(event.usage)}", "dim"), least=VERBOSE)


def _text_of_progress(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (a tool may report an object whose __str__ fails)
        return f"<{type(value).__name__}>"
