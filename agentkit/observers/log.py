"""Observers that log events, and that get the events of nested runs once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod
from time import perf_counter
from typing import NamedTuple

from agentkit.core.messages import ToolCall, Usage
from agentkit.core.printable import printable
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Emit,
    Event,
    HistoryRepaired,
    MessageReceived,
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
    """Return an observer that passes each event of each run on once, without `Nested`.

    The events of a sub-agent come from the sub-agent itself, if it has the observer too, and as `Nested` from the
    agents around it. `observer` gets each of them bare, with the `run_id` of its own run, and no duplicates.

    Args:
        observer: The observer to call.

    Returns:
        The observer for `Agent(observers=…)`: for one agent, or the same one for several.
    """
    depths: dict[str, int] = {}

    def observe(event: Event) -> None:
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

    return observe


def log_to(logger: logging.Logger = _LOGGER, *, level: int = logging.INFO, content: bool = False) -> Emit:
    """Return an observer that logs one line per event.

    Starts and progress are logged as `DEBUG`, failed calls and rejected replies as `WARNING`, failed runs as `ERROR`.
    Streamed text is not logged. Each record also has a dict `agentkit` with the same data, for JSON formatters.

    Args:
        logger: The logger.
        level: The level of all other lines.
        content: Whether to log messages, tool arguments, tool results, error texts and tracebacks, each shortened. By
            default none of these is logged.
    """
    runs: dict[str, _Run] = {}

    def log(event: Event) -> None:
        if isinstance(event, RunStarted):
            parent = runs.get(event.parent or "")
            runs[event.run_id] = _Run(event.agent, event.parent, "" if parent is None else f"{parent.indent}  ")
        run = runs.pop(event.run_id) if isinstance(event, RunFinished) else runs[event.run_id]
        line = run.line(event)
        if line is None:
            return
        shown = {name: _short(value) for name, value in (line.content or {}).items()} if content else {}
        text = " ".join([_short(line.text), *[f"{name}={value}" for name, value in shown.items()]])
        logger.log(
            level if line.level == logging.INFO else line.level,
            "%s%s",
            run.indent,
            printable(f"{run.agent} {event.run_id}: {text}"),  # the name of a tool is anything that a model writes
            exc_info=line.error if content else None,
            extra={"agentkit": {**run.data(event), **line.data, **shown}},
        )

    return once(log)


class _Line(NamedTuple):
    level: int
    text: str
    data: Mapping[str, object]
    content: Mapping[str, object] | None = None  # logged only with `content=True`
    error: BaseException | None = None


@dataclass(slots=True)
class _Run:
    """A run that has not ended: what its lines have in common, and when it and its last request began."""

    agent: str
    parent: str | None
    indent: str
    began: float = field(default_factory=perf_counter)
    step: int = 0
    requested: float = 0.0

    @singledispatchmethod
    def line(self, event: object) -> _Line | None:  # noqa: ARG002 (streamed text has no line)
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
        how, level = ("failed", logging.ERROR) if isinstance(event.error, Exception) else ("cancelled", logging.INFO)
        text = f"{how}, {error_kind(event.error)}, {cost}"
        return _Line(level, text, data | {"error": error_kind(event.error)}, {"detail": event.error}, event.error)

    @line.register
    def _(self, event: HistoryRepaired) -> _Line:
        done = event.repair.what
        return _Line(logging.INFO, f"history repaired: {done}", {"repair": done}, {"detail": event.repair.detail})

    @line.register
    def _(self, event: MessageReceived) -> _Line:
        return _Line(logging.INFO, "received a message", {}, {"text": str(event.message.content)})

    @line.register
    def _(self, event: StepStarted) -> _Line:
        self.step, self.requested = event.number, perf_counter()
        does = "requests" if event.request is not None else "knows its call"
        return _Line(logging.DEBUG, f"step {event.number} {does}, {event.choice}", {"choice": str(event.choice)})

    @line.register
    def _(self, event: StepFinished) -> _Line:
        step, seconds = event.step, perf_counter() - self.requested
        calls = [call.name for call in step.message.tool_calls]
        did = f"called {', '.join(calls)}" if calls else "answered"
        cost = f"{_tokens(step.usage)}, {seconds:.2f} s"
        data: dict[str, object] = {"choice": str(step.choice), "calls": calls, "finish_reason": step.finish_reason}
        data |= {"seconds": seconds, **_counts(step.usage)}
        content = {"text": step.message.content} if step.message.content else {}
        if step.violation is None:
            return _Line(logging.INFO, f"step {self.step} {did}{cost}", data, content)
        text = f"step {self.step} rejected, {step.violation}{cost}"
        return _Line(logging.WARNING, text, data | {"violation": str(step.violation)}, content)

    @line.register
    def _(self, event: ArgumentsRepaired) -> _Line:
        repairs = "; ".join([f"{where}: {what}" for where, what in event.repairs])
        data = _call_data(event.call)
        return _Line(logging.INFO, f"arguments of {event.call.name} repaired", data, {"repairs": repairs})

    @line.register
    def _(self, event: ApprovalNeeded) -> _Line:
        data = _call_data(event.call) | {"started": event.started}
        return _Line(logging.INFO, f"{event.call.name} needs approval", data, {"arguments": event.call.arguments})

    @line.register
    def _(self, event: ToolStarted) -> _Line:
        call = event.call
        return _Line(logging.DEBUG, f"{call.name} starts", _call_data(call), {"arguments": call.arguments})

    @line.register
    def _(self, event: ToolProgress) -> _Line:
        call = event.call
        return _Line(logging.DEBUG, f"{call.name} reports progress", _call_data(call), {"value": event.value})

    @line.register
    def _(self, event: ToolFinished) -> _Line:
        call, outcome = event.call, event.message.outcome
        data = _call_data(call) | {"outcome": outcome, "seconds": event.seconds}
        content = {"arguments": call.arguments, "result": event.message.content}
        if event.error is None:
            return _Line(logging.INFO, f"{call.name} {outcome}, {event.seconds:.2f} s", data, content)
        text = f"{call.name} {outcome}, {error_kind(event.error)}, {event.seconds:.2f} s"
        return _Line(logging.WARNING, text, data | {"error": error_kind(event.error)}, content, event.error)

    def data(self, event: Event) -> dict[str, object]:
        data: dict[str, object] = {"event": type(event).__name__, "run_id": event.run_id, "agent": self.agent}
        return data | {"parent": self.parent, "step": self.step}


def _call_data(call: ToolCall) -> dict[str, object]:
    return {"tool": call.name, "call_id": call.id}


def error_kind(error: BaseException) -> str:
    """Return the name of an error's class; of a group with one error, that of the error."""
    return type(unwrap_group(error)).__qualname__


def _counts(usage: Usage) -> dict[str, int | None]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}


def _tokens(usage: Usage) -> str:
    return "" if usage.total_tokens is None else f", {usage.total_tokens:,} tokens"


def _short(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (the str of a tool's object may fail)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
