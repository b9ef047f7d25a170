"""What a run tells the world while it goes on: frozen values, in the order in which things happen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.choice import ToolChoice
from agentkit.messages import ToolCall, ToolMessage
from agentkit.repair import Repair
from agentkit.state import Step


@dataclass(frozen=True, slots=True)
class HistoryRepaired:
    """The history that a run began with was not one that endpoints take, and was mended.

    Attributes:
        repair: What was done.
    """

    repair: Repair


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The model is about to be asked.

    Attributes:
        number: The number of the step; the first is 0.
        choice: What the model is allowed to do in it.
    """

    number: int
    choice: ToolChoice


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The model wrote a piece of text. Only a streamed run tells this."""

    text: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The model answered, with a text or with calls."""

    step: Step


@dataclass(frozen=True, slots=True)
class CallMended:
    """A call did not fit its tool as the model wrote it, and was mended.

    Attributes:
        call: The call as the model wrote it.
        mends: What was mended: pairs of a path and what was done there.
    """

    call: ToolCall
    mends: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A generator tool yielded a value."""

    call: ToolCall
    value: object


@dataclass(frozen=True, slots=True)
class ToolFinished:
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


Event: TypeAlias = (
    HistoryRepaired | StepStarted | TextDelta | StepFinished | CallMended | ToolStarted | ToolProgress | ToolFinished
)

Emit: TypeAlias = Callable[[Event], None]
"""Takes each event as it happens, in the thread of the event loop. It must not block."""
