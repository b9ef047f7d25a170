"""What a run tells the world while it goes on: frozen values, in the order in which things happen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from agentkit.core.chat import ChatRequest
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import ToolCall, ToolMessage, Usage
from agentkit.core.repair import Repair
from agentkit.core.state import Step, Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all events have.

    Attributes:
        run_id: The id of the run that tells it, also that of `ToolContext.run_id`.
    """

    run_id: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RunStarted(_Event):
    """A run begins. It is the first event.

    Attributes:
        agent: The agent's name.
        model: The name of its model.
        parent: The id of the run in which it is a tool, or `None`.
    """

    agent: str
    model: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class RunFinished(_Event):
    """A run is at its end. It is the last event.

    Attributes:
        stop: Why it ended, or `None` if it ended by an error.
        usage: What its requests have cost, with those of agents that were its tools.
        error: What ended it, a cancellation too.
    """

    stop: Stop | None
    usage: Usage
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class HistoryRepaired(_Event):
    """The history that a run began with was not one that endpoints take, and was repaired.

    Attributes:
        repair: What was done.
    """

    repair: Repair


@dataclass(frozen=True, slots=True)
class StepStarted(_Event):
    """The model is about to be asked.

    Attributes:
        number: The number of the step; the first is 0.
        choice: What the model is allowed to do in it.
        request: What it is asked.
    """

    number: int
    choice: ToolChoice
    request: ChatRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class TextDelta(_Event):
    """The model wrote a piece of text. Only a streamed run tells this."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerDelta(_Event):
    """The model wrote a piece of a typed answer. Only a streamed run tells this.

    Attributes:
        value: The answer as far as it is written: plain JSON data, not validated yet.
    """

    value: object


@dataclass(frozen=True, slots=True)
class StepFinished(_Event):
    """The model answered, with a text or with calls."""

    step: Step


@dataclass(frozen=True, slots=True)
class ArgumentsRepaired(_Event):
    """A call did not fit its tool as the model wrote it, and was repaired.

    Attributes:
        call: The call as the model wrote it.
        repairs: What was repaired: pairs of a path and what was done there.
    """

    call: ToolCall
    repairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ApprovalNeeded(_Event):
    """Someone must decide on a call before it may run. Without an approver who does, the run pauses.

    Attributes:
        call: The call.
        started: Whether it had started before the program was stopped, so that it may have had its effect.
    """

    call: ToolCall
    started: bool = False


@dataclass(frozen=True, slots=True)
class ToolStarted(_Event):
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress(_Event):
    """A generator tool yielded a value."""

    call: ToolCall
    value: object


@dataclass(frozen=True, slots=True)
class ToolFinished(_Event):
    """A call is answered.

    Attributes:
        call: The call.
        message: The answer, as the model will read it.
        seconds: How long the tool ran; 0 if it did not.
        error: What it raised, or why it was not run, with its traceback; whatever the model is told.
    """

    call: ToolCall
    message: ToolMessage
    seconds: float = 0.0
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Nested(_Event):
    """An agent that runs as a tool tells something.

    Attributes:
        call: The call that it answers.
        event: What it tells, which may be a nested event itself.
    """

    call: ToolCall
    event: "Event"


Event: TypeAlias = (
    RunStarted
    | HistoryRepaired
    | StepStarted
    | TextDelta
    | AnswerDelta
    | StepFinished
    | ArgumentsRepaired
    | ApprovalNeeded
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Nested
    | RunFinished
)

Emit: TypeAlias = Callable[[Event], None]
"""Takes each event as it happens, in the thread of the event loop. It must not block."""
