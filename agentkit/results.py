"""What a run comes to."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from agentkit.messages import Message, Usage
from agentkit.state import Step

T_co = TypeVar("T_co", covariant=True)

Stop: TypeAlias = Literal["answer"]
"""Why a run ended: the model answered."""


@dataclass(frozen=True, slots=True)
class Result(Generic[T_co]):
    """What a run came to.

    Attributes:
        output: The answer.
        messages: The whole history, ready to be continued: `agent.run([*result.messages, UserMessage("And Rome?")])`.
        steps: The requests that the run made, in order.
        usage: What they cost together.
        stop: Why the run ended.
        start: How many of the messages were there before the run.
    """

    output: T_co
    messages: tuple[Message, ...]
    steps: tuple[Step, ...]
    usage: Usage
    stop: Stop = "answer"
    start: int = 0

    @property
    def new_messages(self) -> tuple[Message, ...]:
        """The messages that the run added."""
        return self.messages[self.start :]
