"""The events of a run as the viewer reads them: when each step and call began, repairs, and the runs of sub-agents."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from agentkit.core.json import list_of
from agentkit.core.messages import Message
from agentkit.core.state import Step
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    MessageReceived,
    Nested,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TimedEvent,
    ToolFinished,
    ToolStarted,
)
from agentkit.viewer import Json, run_of, step_facts, usage_facts

_DIGITS = 4

_Key: TypeAlias = tuple[int, str]
"""The index of a step, and the id of one of its calls."""


def recorded_run(
    messages: Sequence[Message], steps: Sequence[Step], events: Sequence[TimedEvent], start: int = 0, **facts: object
) -> Json:
    """Return a run as data for the viewer: what a result has of it."""
    times, calls = timeline_of(events, len(steps))
    known = [step_facts(step) | time for step, time in zip(steps, times, strict=True)]
    return run_of(messages, known, calls, start=start, **(run_facts(events) | facts))


def timeline_of(events: Sequence[TimedEvent], count: int) -> tuple[list[Json], dict[_Key, Json]]:
    """Return when the steps of a run began and ended, and what is known of its calls, as `viewer.run_of` takes it.

    Args:
        events: The events.
        count: How many steps the run has. The events may lack the first of them: those before it was resumed.
    """
    steps: list[Json] = [{} for _ in range(count - sum(isinstance(event, StepFinished) for _, event in events))]
    calls, began, last = _Calls(), 0.0, len(steps) - 1
    for at, event in events:
        if isinstance(event, StepStarted):
            began, last = at, len(steps)
        elif isinstance(event, StepFinished):
            steps.append({"began": _rounded(began), "seconds": _rounded(at - began)})
        else:
            calls.note(at, event, last)
    return steps, calls.all_facts()


@dataclass(slots=True)
class _Calls:
    """What events say of the calls of a run."""

    facts: dict[_Key, Json] = field(default_factory=dict[_Key, Json])
    asked: dict[str, float] = field(default_factory=dict[str, float])  # when an approver was asked, by the call's id
    nested: dict[_Key, dict[str, list[TimedEvent]]] = field(default_factory=dict[_Key, dict[str, list[TimedEvent]]])

    def note(self, at: float, event: Event, step: int) -> None:
        match event:
            case ApprovalNeeded():
                self.asked[event.call.id] = at
            case ArgumentsRepaired():
                repairs = [f"{where}: {what}" for where, what in event.repairs]
                self.facts.setdefault((step, event.call.id), {})["repairs"] = repairs
            case ToolStarted():
                timed: Json = {"began": _rounded(at)}
                if (asked := self.asked.pop(event.call.id, None)) is not None:
                    timed["waited"] = _rounded(at - asked)
                self.facts.setdefault((step, event.call.id), {}).update(timed)
            case ToolFinished():
                facts = self.facts.get((step, event.call.id), {})
                if isinstance(began := facts.get("began"), float):
                    facts["seconds"] = _rounded(at - began)
            case Nested():
                runs = self.nested.setdefault((step, event.call.id), {})
                runs.setdefault(event.event.run_id, []).append((at, event.event))
            case _:
                pass

    def all_facts(self) -> dict[_Key, Json]:
        for key, runs in self.nested.items():
            self.facts.setdefault(key, {})["runs"] = [*map(run_of_events, runs.values())]
        return self.facts


def run_of_events(events: Sequence[TimedEvent], prompt: Sequence[Message] = (), text: str = "") -> Json:
    """Return a run as data for the viewer, by its events alone; it may go on.

    Args:
        events: The events until now.
        prompt: The messages of its first request. Those of a sub-agent are in the call that runs it.
        text: What the model has written of the reply that it works on.
    """
    messages: list[Message] = []
    steps: list[Step] = []
    request: Json | None = None
    start = len(prompt)
    for at, event in events:
        if isinstance(event, StepStarted):
            if not steps:  # the results of calls that were open before it are in its request
                start, messages = start - len(messages), []
            request = {"choice": str(event.choice), "began": _rounded(at)}
        elif isinstance(event, StepFinished):
            steps.append(event.step)
            messages += [event.step.message, *event.step.correction]
        elif isinstance(event, ToolFinished | MessageReceived):
            messages.append(event.message)
        if isinstance(event, StepFinished | RunFinished):
            request = None
    run = recorded_run([*prompt, *messages], steps, events, max(0, start))
    if request is not None:
        opened = {"kind": "step", "number": len(steps) + 1, "open": True, "text": text, **request}
        list_of(run["items"]).append(opened)
    return run


def run_facts(events: Sequence[TimedEvent]) -> Json:
    """Return what the first and the last event say of a run: agent, model, usage, seconds, and why it ended."""
    facts: Json = {"seconds": _rounded(events[-1][0] - events[0][0])} if events else {}
    for at, event in events:
        if isinstance(event, RunStarted):
            facts |= {"agent": event.agent, "model": event.model, "began": _rounded(at)}
        elif isinstance(event, RunFinished):
            facts |= {"usage": usage_facts(event.usage)}
            facts |= {"stop": event.stop} if event.stop else {"error": "the run failed"}
    return facts


def _rounded(seconds: float) -> float:
    return round(seconds, _DIGITS)
