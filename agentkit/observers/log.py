"""Observers: what runs tell, once for each run, and as lines of a log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod
from time import perf_counter
from typing import NamedTuple

from agentkit.core.messages import ToolCall, Usage
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Emit,
    Event,
    HistoryRepaired,
    Nested,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.tools.results import unwrap_group

_LONGEST = 200
_LOGGER = logging.getLogger("agentkit.runs")


def once(observer: Emit) -> Emit:
    """Have an observer told of each run once, by its own events.

    An agent that runs as a tool is told by itself, if the observer is one of its own, and by the agents around it, as
    `Nested`. Here the events come bare, with the `run_id` of their run, and those that come again are left out.

    Args:
        observer: What to tell.

    Returns:
        The observer to give to agents: to one, or the same to several.
    """
    depths: dict[str, int] = {}

    def told(event: Event) -> None:
        depth = 0
        while isinstance(event, Nested):
            event, depth = event.event, depth + 1
        if isinstance(event, RunStarted):
            depths.setdefault(event.run_id, depth)
        if depths.get(event.run_id) != depth:
            return
        if isinstance(event, RunFinished):
            del depths[event.run_id]
        observer(event)

    return told


def log_to(logger: logging.Logger = _LOGGER, *, level: int = logging.INFO, content: bool = False) -> Emit:
    """Make an observer that writes a line to a log for each event.

    What begins and what is under way is logged as `DEBUG`; a call that failed, and a reply that was not taken, as
    `WARNING`; a run that failed as `ERROR`. Pieces of text are not logged. The same as data, for formatters that write
    JSON, is in the `agentkit` of each record, a dict.

    Args:
        logger: Where to.
        level: The level of all other lines.
        content: Whether to log, shortened, what was said, what tools were called with and what they returned, and the
            texts and tracebacks of errors, which may quote it. Without it none of these show.
    """
    runs: dict[str, _Run] = {}

    def told(event: Event) -> None:
        if isinstance(event, RunStarted):
            around = runs.get(event.parent or "")
            runs[event.run_id] = _Run(event.agent, event.parent, "" if around is None else f"{around.indent}  ")
        run = runs.pop(event.run_id) if isinstance(event, RunFinished) else runs[event.run_id]
        line = run.line(event)
        if line is None:
            return
        said = {name: _short(text) for name, text in (line.content or {}).items()} if content else {}
        text = " ".join([_short(line.text), *[f"{name}={text}" for name, text in said.items()]])
        logger.log(
            level if line.level == logging.INFO else line.level,
            "%s%s",
            run.indent,
            _printable(f"{run.agent} {event.run_id}: {text}"),
            exc_info=line.error if content else None,
            extra={"agentkit": {**run.data(event), **line.data, **said}},
        )

    return once(told)


class _Line(NamedTuple):
    """What is logged of an event: as text, as data, and what shows only if content may."""

    level: int
    text: str
    data: Mapping[str, object]
    content: Mapping[str, object] | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Run:
    """A run under way: what its lines have in common, and since when it runs."""

    agent: str
    parent: str | None
    indent: str
    began: float = field(default_factory=perf_counter)
    step: int = 0
    asked: float = 0.0

    @singledispatchmethod
    def line(self, event: object) -> _Line | None:  # noqa: ARG002 (pieces of text have no line)
        """Give the line for an event, if it has one."""
        return None

    @line.register
    def _(self, event: RunStarted) -> _Line:
        nested = "" if self.parent is None else f", a tool in {self.parent}"
        return _Line(logging.INFO, f"started with {event.model}{nested}", {"model": event.model})

    @line.register
    def _(self, event: RunFinished) -> _Line:
        seconds = perf_counter() - self.began
        requests = event.usage.requests
        cost = f"after {requests} request{'' if requests == 1 else 's'}{_tokens(event.usage)}, {seconds:.2f} s"
        data = {"stop": event.stop, "seconds": seconds, "requests": requests} | _counts(event.usage)
        if event.error is None:
            return _Line(logging.INFO, f"ended with {event.stop} {cost}", data)
        how, level = ("failed", logging.ERROR) if isinstance(event.error, Exception) else ("was stopped", logging.INFO)
        text = f"{how}, {_kind(event.error)}, {cost}"
        return _Line(level, text, data | {"error": _kind(event.error)}, {"said": event.error}, event.error)

    @line.register
    def _(self, event: HistoryRepaired) -> _Line:
        done = event.repair.what
        return _Line(logging.INFO, f"history repaired: {done}", {"repair": done}, {"detail": event.repair.detail})

    @line.register
    def _(self, event: StepStarted) -> _Line:
        self.step, self.asked = event.number, perf_counter()
        return _Line(logging.DEBUG, f"step {event.number} asks, {event.choice}", {"choice": str(event.choice)})

    @line.register
    def _(self, event: StepFinished) -> _Line:
        step, seconds = event.step, perf_counter() - self.asked
        calls = [call.name for call in step.message.tool_calls]
        did = f"called {', '.join(calls)}" if calls else "answered"
        cost = f"{_tokens(step.usage)}, {seconds:.2f} s"
        data: dict[str, object] = {
            "choice": str(step.choice),
            "calls": calls,
            "finish_reason": step.finish_reason,
            "seconds": seconds,
        }
        data |= _counts(step.usage)
        content = {"text": step.message.content} if step.message.content else {}
        if step.violation is None:
            return _Line(logging.INFO, f"step {self.step} {did}{cost}", data, content)
        text = f"step {self.step} was not taken, {step.violation}{cost}"
        return _Line(logging.WARNING, text, data | {"violation": str(step.violation)}, content)

    @line.register
    def _(self, event: ArgumentsRepaired) -> _Line:
        repairs = "; ".join([f"{where}: {what}" for where, what in event.repairs])
        data = _named(event.call)
        return _Line(logging.INFO, f"a call of {event.call.name} was repaired", data, {"repairs": repairs})

    @line.register
    def _(self, event: ApprovalNeeded) -> _Line:
        data = _named(event.call) | {"started": event.started}
        return _Line(logging.INFO, f"{event.call.name} needs approval", data, {"arguments": event.call.arguments})

    @line.register
    def _(self, event: ToolStarted) -> _Line:
        data = _named(event.call)
        return _Line(logging.DEBUG, f"{event.call.name} runs", data, {"arguments": event.call.arguments})

    @line.register
    def _(self, event: ToolProgress) -> _Line:
        data = _named(event.call)
        return _Line(logging.DEBUG, f"{event.call.name} goes on", data, {"value": event.value})

    @line.register
    def _(self, event: ToolFinished) -> _Line:
        call, outcome = event.call, event.message.outcome
        data = _named(call) | {"outcome": outcome, "seconds": event.seconds}
        content = {"arguments": call.arguments, "result": event.message.content}
        if event.error is None:
            return _Line(logging.INFO, f"{call.name} {outcome}, {event.seconds:.2f} s", data, content)
        text = f"{call.name} {outcome}, {_kind(event.error)}, {event.seconds:.2f} s"
        return _Line(logging.WARNING, text, data | {"error": _kind(event.error)}, content, event.error)

    def data(self, event: Event) -> dict[str, object]:
        """Give what the data of every line have."""
        named: dict[str, object] = {"event": type(event).__name__, "run_id": event.run_id, "agent": self.agent}
        return named | {"parent": self.parent, "step": self.step}


def _named(call: ToolCall) -> dict[str, object]:
    return {"tool": call.name, "call_id": call.id}


def _kind(error: BaseException) -> str:
    return type(unwrap_group(error)).__qualname__


def _counts(usage: Usage) -> dict[str, int | None]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}


def _tokens(usage: Usage) -> str:
    return "" if usage.total_tokens is None else f", {usage.total_tokens:,} tokens"


def _short(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (an object of a tool's may not be able to say what it is)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _printable(text: str) -> str:
    """Give a text as one line: a model may write anything where a name is wanted."""
    return "".join([each if each.isprintable() else " " for each in text])
