"""What a run comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage
from agentkit.core.state import State, Step, Stop

_LONGEST = 100
T_co = TypeVar("T_co", covariant=True)

_ENDED: Mapping[Stop, str] = {
    "answer": "an answer",
    "tool": "a tool's result",
    "limit": "an answer at a limit",
    "cut": "an answer that was cut",
    "refusal": "a refusal",
    "empty": "nothing said",
    "paused": "calls that wait for approval",
}


@dataclass(frozen=True, slots=True)
class Result(Generic[T_co]):
    """What a run came to.

    Attributes:
        output: The answer, or the result of the tool that ended the run, or the words of a refusal; `""` if the run is
            paused.
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

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The calls that wait for approval; decide on each, and go on with `agent.resume`."""
        return State.of(self.messages).unanswered if self.stop == "paused" else ()

    @property
    def violations(self) -> int:
        """How many replies were not taken: they broke the tool choice, were cut, or empty."""
        return sum(step.violation is not None for step in self.steps)

    def _answers(self) -> list[dict[str, ToolMessage]]:
        """Give the answers to the calls of each step; an id is good for one reply only."""
        answers: list[dict[str, ToolMessage]] = []
        for message in self.new_messages:
            if isinstance(message, AssistantMessage):
                answers.append({})
            elif isinstance(message, ToolMessage) and answers:
                answers[-1][message.tool_call_id] = message
        return answers

    def explain(self) -> str:
        """Tell the run's story, a few lines for each step, for people to read."""
        lines: list[str] = []
        for number, (step, answers) in enumerate(zip(self.steps, self._answers(), strict=True), 1):
            lines.append(f"{number}. {step.choice} (by {step.policy})")
            if step.message.content:
                lines.append(f"   said {_short(step.message.content)}")
            if step.message.refusal:
                lines.append(f"   refused: {_short(step.message.refusal)}")
            for call in step.message.tool_calls:
                answer = answers.get(call.id)
                lines.append(f"   called {call.name}({_short(call.arguments)})")
                lines.append(
                    "   waits for approval" if answer is None else f"   {answer.outcome}: {_short(answer.content)}"
                )
            if step.violation is not None:
                lines.append(f"   not taken: {step.violation}; asked again")
        cost = "" if self.usage.total_tokens is None else f", {self.usage.total_tokens:,} tokens"
        ended = _ENDED[self.stop]
        requests = f"{len(self.steps)} request{'' if len(self.steps) == 1 else 's'}"
        return "\n".join([*lines, f"Ended with {ended} after {requests}{cost}."])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
