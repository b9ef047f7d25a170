"""The state of a run: its messages, and what follows from them."""

from dataclasses import dataclass

from agentkit.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage
from agentkit.wire import ToolChoice


@dataclass(frozen=True, slots=True)
class Step:
    """One request to the model and what came of it.

    Attributes:
        message: What the model said.
        choice: What it was allowed to do.
        policy: The policy that chose so, as code.
        finish_reason: Why it stopped, in the endpoint's word.
        usage: What the request cost.
    """

    message: AssistantMessage
    choice: ToolChoice
    policy: str
    finish_reason: str | None = None
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class State:
    """Where a run is. A value: each step makes a new one.

    The history is the checkpoint: what is to be done next is read from the messages, so a history that was stored
    anywhere goes on from where it stopped.

    Attributes:
        messages: The whole conversation.
        start: How many of the messages were there when the run began.
        steps: The requests that this run has made.
    """

    messages: tuple[Message, ...]
    start: int = 0
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, messages: tuple[Message, ...]) -> "State":
        """Make the state of a run that begins with these messages."""
        return cls(messages, len(messages))

    @property
    def step(self) -> int:
        """The number of the step to come; the first is 0."""
        return len(self.steps)

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """The calls at the end of the history that have no answer yet, in order."""
        answered: list[str] = []
        for message in reversed(self.messages):
            if isinstance(message, ToolMessage):
                answered.append(message.tool_call_id)
            elif isinstance(message, AssistantMessage):
                return tuple(call for call in message.tool_calls if call.id not in answered)
            else:
                break
        return ()

    @property
    def finished(self) -> bool:
        """Whether the last message is an answer: one by the model, without calls."""
        last = self.messages[-1] if self.messages else None
        return isinstance(last, AssistantMessage) and not last.tool_calls

    @property
    def usage(self) -> Usage:
        """What the requests of this run have cost together."""
        return sum((step.usage for step in self.steps), Usage())

    def heard(self, step: Step) -> "State":
        """Give the state after a reply."""
        return State((*self.messages, step.message), self.start, (*self.steps, step))

    def answered(self, answers: tuple[ToolMessage, ...]) -> "State":
        """Give the state after calls were answered."""
        return State(self.messages + answers, self.start, self.steps)
