"""Events made by hand, for tests of observers."""

import json
from dataclasses import replace
from typing import Any

from agentkit import (
    AssistantMessage,
    ChatRequest,
    Settings,
    TextDelta,
    ToolCall,
    ToolChoice,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.chat import ChatResponse, ToolSpec
from agentkit.core.errors import RateLimited
from agentkit.core.repair import Repair
from agentkit.core.state import Step, Violation
from agentkit.runs.events import (
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    HistoryRepaired,
    MessageReceived,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

SECRET = "what nobody may see"
CALL = ToolCall("c0", "get_weather", json.dumps({"city": SECRET}))
DONE = ToolMessage("c0", SECRET)
FAILED = ToolFinished(replace(CALL, id="c1"), ToolMessage("c1", SECRET, "error"), 0.25, KeyError(SECRET))
STEP = Step(AssistantMessage(SECRET, (CALL,)), ToolChoice(), "auto", finish_reason="tool_calls", usage=Usage(1, 12, 5))
REJECTED = replace(
    STEP, violation=Violation("empty", "it said nothing"), reply=ChatResponse((), id="x", model="m-2026")
)


def request(*names: str, **settings: Any) -> ChatRequest:
    specs = tuple(ToolSpec(name, f"About {name}.", {}) for name in names)
    return ChatRequest((), specs, settings=Settings(**settings))


def events_of(
    *events: Event, run_id: str = "r1", parent: str | None = None, ending: Event | None = None
) -> list[Event]:
    """The events of a run, from its first to its last."""
    last = ending or RunFinished("answer", Usage(2, 20, 10))
    return [replace(event, run_id=run_id) for event in (RunStarted("weather", "m", parent), *events, last)]


def all_kinds() -> list[Event]:
    """A failed run with an event of each kind; all but the starts of the run and of a step quote the secret."""
    return events_of(
        HistoryRepaired(Repair("closed", 3, SECRET)),
        MessageReceived(UserMessage(SECRET)),
        StepStarted(0, ToolChoice("required"), request("get_weather", temperature=1, n=2)),
        TextDelta(SECRET),
        StepFinished(STEP),
        ArgumentsRepaired(CALL, (("city", f"{SECRET} became a text"),)),
        ApprovalNeeded(CALL),
        ToolStarted(CALL),
        ToolProgress(CALL, SECRET),
        ToolFinished(CALL, DONE, 0.25),
        FAILED,
        StepStarted(1, ToolChoice(), request()),
        StepFinished(REJECTED),
        StepStarted(2, ToolChoice(), request()),
        ending=RunFinished(None, Usage(3, 40, 20), RateLimited(SECRET, status=429)),
    )
