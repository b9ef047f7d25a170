"""Events: what a run emits while it goes on, as frozen values, in the order in which things happen."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

from agentkit.core.chat import ChatRequest
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.repair import Repair
from agentkit.core.state import Step, Stop


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class _Event:
    """The base of all events.

    Attributes:
        run_id: The id of the run that emits it, the same as `ToolContext.run_id`.
    """

    run_id: str = ""

    # Written once for all events: generating them per class would take half of this module's import.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(tuple(_values(self).values()))

    def __repr__(self) -> str:
        values = [f"{name}={value!r}" for name, value in _values(self).items() if name != "request"]
        return f"{type(self).__name__}({', '.join(values)})"


def _values(event: _Event) -> dict[str, object]:
    """Return what an event says, by name. The run that emits it does not count."""
    return {field.name: getattr(event, field.name) for field in fields(event) if field.name != "run_id"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunStarted(_Event):
    """A run begins. It is the first event.

    Attributes:
        agent: The agent's name.
        model: The name of its model.
        parent: The id of the run in which it is a tool, or `None`.
        conversation: The name of its session, if that has one.
        streamed: Whether its replies are streamed.
    """

    agent: str
    model: str
    parent: str | None = None
    conversation: str | None = None
    streamed: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunFinished(_Event):
    """A run has ended. It is the last event.

    Attributes:
        stop: Why it ended, or `None` if an error ended it.
        usage: What its requests have cost, with those of its sub-agents.
        error: The error or cancellation that ended it.
    """

    stop: Stop | None
    usage: Usage
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HistoryRepaired(_Event):
    """The history that a run began with was repaired, because endpoints would refuse it.

    Attributes:
        repair: What was changed.
    """

    repair: Repair


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MessageReceived(_Event):
    """A message that was sent to the run is in the history now, and in the next request.

    Attributes:
        message: The message.
    """

    message: UserMessage


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StepStarted(_Event):
    """The model is about to be asked.

    Attributes:
        number: The number of the step; the first is 0.
        choice: What the model is allowed to do in it.
        request: The request; `None` if the model is not asked, because the policy knows the call: `given`.
    """

    number: int
    choice: ToolChoice
    request: ChatRequest | None  # too long for `repr`


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Piece(_Event):
    text: str


class TextDelta(_Piece):
    """The model wrote a piece of text. Only streamed runs emit this."""

    __slots__ = ()


class ReasoningDelta(_Piece):
    """A piece of the model's reasoning, as it is streamed.

    Attributes:
        text: The piece.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AnswerDelta(_Event):
    """The model wrote a piece of a typed answer: `value` is the answer so far, plain JSON data, not validated yet.

    Only streamed runs emit this.
    """

    value: object


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StepFinished(_Event):
    """The model replied, with a text or with calls; or the policy knew the call, and `step.known` is true."""

    step: Step


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ArgumentsRepaired(_Event):
    """A call was invalid as the model wrote it, and was repaired.

    Attributes:
        call: The call as the model wrote it.
        repairs: What was repaired: pairs of a path and what was done there.
    """

    call: ToolCall
    repairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ApprovalNeeded(_Event):
    """Someone must decide on a call before it may run. If no approver does, the run pauses.

    Attributes:
        call: The call.
        started: Whether it had started before the program was stopped, so that it may have taken effect.
    """

    call: ToolCall
    started: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ToolStarted(_Event):
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ToolProgress(_Event):
    """A generator tool yielded a value."""

    call: ToolCall
    value: object


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ToolFinished(_Event):
    """A call has its result.

    Attributes:
        call: The call.
        message: The tool result, as the model will read it.
        seconds: How long the tool ran; 0 if it did not run.
        error: What the tool raised, with its traceback, or why it was not run. It is here even if `errors="hide"`
            hides it from the model.
    """

    call: ToolCall
    message: ToolMessage
    seconds: float = 0.0
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Nested(_Event):
    """A sub-agent emitted an event.

    Attributes:
        call: The call that runs the sub-agent.
        event: Its event, which may be nested itself.
    """

    call: ToolCall
    event: "Event"


Event: TypeAlias = (
    RunStarted
    | HistoryRepaired
    | MessageReceived
    | StepStarted
    | TextDelta
    | ReasoningDelta
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
"""Takes each event as it happens, in the event loop's thread. It must not block."""

TimedEvent: TypeAlias = tuple[float, Event]
"""An event, and the seconds since its run began."""

_PIECES = frozenset({TextDelta, ReasoningDelta, AnswerDelta, ToolProgress})
_WHOLE = frozenset({StepFinished, ToolStarted, ArgumentsRepaired, ApprovalNeeded, RunStarted, HistoryRepaired})


def kept_of(event: Event) -> Event | None:
    """Return what a result keeps of an event: no piece of a stream, no request, and no error with its traceback."""
    kind = type(event)
    if kind in _WHOLE or kind in _PIECES:
        return event if kind in _WHOLE else None
    match event:
        case StepStarted():
            return StepStarted(event.number, event.choice, None, run_id=event.run_id)
        case Nested():
            inner = kept_of(event.event)
            return None if inner is None else Nested(event.call, inner, run_id=event.run_id)
        case ToolFinished() if event.error is not None:
            return ToolFinished(event.call, event.message, event.seconds, run_id=event.run_id)
        case RunFinished() if event.error is not None:
            return RunFinished(event.stop, event.usage, run_id=event.run_id)
        case _:
            return event
