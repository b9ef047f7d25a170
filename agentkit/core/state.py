"""The state of a run: its messages, and what follows from them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from agentkit.core.chat import ChatResponse
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import InvalidRequest
from agentkit.core.messages import AssistantMessage, Message, Outcome, ToolCall, ToolMessage, Usage, UserMessage, shown

Stop: TypeAlias = Literal["answer", "tool", "limit", "cut", "refusal", "empty", "paused"]
"""Why a run ended: the model answered, a tool that ends it succeeded, the model answered because a limit was reached,
the answer was cut and is taken as it is, the model declined, it said nothing, or calls wait for approval."""


class CallRecord(NamedTuple):
    """A call and how it ended.

    Attributes:
        call: The call.
        outcome: How it ended.
        step: The number of the step in which the model made the call, counted as `State.step` counts.
        result: The tool result that the model reads.
    """

    call: ToolCall
    outcome: Outcome
    step: int = 0
    result: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One request to the model and what came of it.

    Attributes:
        message: What the model said.
        choice: What it was allowed to do.
        policy: The policy that chose so, as code.
        violation: How the reply broke the choice, or `None` if the model obeyed.
        correction: What was added to the history to answer a violation: an answer to each call, or a note.
        finish_reason: Why the model stopped, in the endpoint's word.
        usage: What the request cost.
        reply: The reply as it came, with all its answers, the endpoint's id for it, and what was sent for it.
    """

    message: AssistantMessage
    choice: ToolChoice
    policy: str
    violation: str | None = None
    correction: tuple[ToolMessage, ...] | tuple[UserMessage] = ()
    finish_reason: str | None = None
    usage: Usage = field(default_factory=lambda: Usage(1))
    reply: ChatResponse | None = field(default=None, compare=False, repr=False)

    def curl(self) -> str:
        """Give the command that sends the same request again, for a shell; the key is left to a variable.

        Raises:
            InvalidRequest: If the model is none that is reached over HTTP.
        """
        if self.reply is None or self.reply.sent is None:
            raise InvalidRequest("this reply did not come over HTTP, so there is no command that asks for it again")
        return self.reply.sent.curl()


class Paused(tuple[ToolMessage, ...]):
    """The answers to some calls, where the others wait for approval."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class State:
    """Where a run is. A value: each step makes a new one.

    The history is the checkpoint: everything here but `steps` follows from the messages, so a history that was stored
    anywhere goes on from where it stopped. `calls` and `step` are carried along because a long run reads them often;
    they are what `State.of` finds in the same messages.

    Attributes:
        messages: The whole conversation.
        start: How many of the messages were there when the run began.
        stop_at: The tools whose success ends the run.
        calls: The calls that were answered since the user last spoke, in order.
        step: How many replies with calls there were since then, less those whose calls were all refused. It is the
            number of the step to come; the first is 0.
        steps: The requests that this run has made.
        shortened: Whether a result was shortened, so that there is a rest to be read.
        paused: Whether the run is at its end because calls wait for approval.
    """

    messages: tuple[Message, ...]
    start: int = 0
    stop_at: frozenset[str] = frozenset()
    calls: tuple[CallRecord, ...] = ()
    step: int = 0
    steps: tuple[Step, ...] = ()
    shortened: bool = False
    paused: bool = False

    @classmethod
    def of(cls, messages: tuple[Message, ...], stop_at: Iterable[str] = ()) -> "State":
        """Make the state of a run that begins with these messages."""
        spoken = [at for at, each in enumerate(messages) if isinstance(each, UserMessage) and not each.note]
        turn = spoken[-1] + 1 if spoken else 0
        shortened = any(isinstance(each, ToolMessage) and each.full is not None for each in messages)
        state = cls(messages[:turn], len(messages), frozenset(stop_at), shortened=shortened)
        answers: list[ToolMessage] = []
        for message in messages[turn:]:
            if isinstance(message, ToolMessage):
                answers.append(message)
            else:
                state = replace(state.with_results(tuple(answers)), messages=(*state.messages, *answers, message))
                answers = []
        return state.with_results(tuple(answers))

    @property
    def open_reply(self) -> AssistantMessage | None:
        """The reply at the end of the history, with nothing after it but answers to its calls."""
        for message in reversed(self.messages):
            if isinstance(message, AssistantMessage):
                return message
            if not isinstance(message, ToolMessage):
                break
        return None

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """The calls at the end of the history that have no answer yet, in order."""
        reply = self.open_reply
        if reply is None or not reply.tool_calls:
            return ()
        answered = {each.tool_call_id for each in self._last_answers()}
        return tuple([call for call in reply.tool_calls if call.id not in answered])

    @property
    def open_step(self) -> int:
        """The number of the step that made the calls at the end of the history."""
        reply = self.open_reply
        asked = {call.id for call in reply.tool_calls} if reply else frozenset[str]()
        counted = any(answer.outcome != "refused" for answer in self._last_answers() if answer.tool_call_id in asked)
        return self.step - counted

    @property
    def finished(self) -> bool:
        """Whether the run is at its end: the model answered, or a tool that ends it succeeded."""
        reply = self.open_reply
        if reply is None or self.paused:
            return self.paused
        return not reply.tool_calls or (self.ending is not None and not self.unanswered)

    @property
    def ending(self) -> ToolMessage | None:
        """The answer of the tool that ends the run, if one did; of several, the first."""
        reply = self.open_reply
        if reply is None or not self.stop_at:
            return None
        ends = {call.id for call in reply.tool_calls if call.name in self.stop_at}
        return next((each for each in self._last_answers() if each.tool_call_id in ends and each.outcome == "ok"), None)

    @property
    def violations(self) -> int:
        """How many replies in a row, up to the last, broke the choice that was sent."""
        count = 0
        for step in reversed(self.steps):
            if step.violation is None:
                break
            count += 1
        return count

    @property
    def usage(self) -> Usage:
        """What the requests of this run have cost together."""
        return sum((step.usage for step in self.steps), Usage())

    def succeeded(self, tool: str) -> bool:
        """Whether a call of this tool has succeeded since the user last spoke."""
        return any(each.outcome == "ok" and each.call.name == tool for each in self.calls)

    def with_reply(self, step: Step) -> "State":
        """Give the state after a reply."""
        answers = tuple([each for each in step.correction if isinstance(each, ToolMessage)])
        notes = tuple([each for each in step.correction if isinstance(each, UserMessage)])
        heard = replace(self, messages=(*self.messages, step.message, *notes), steps=(*self.steps, step))
        return heard.with_results(answers)

    def with_results(self, answers: tuple[ToolMessage, ...]) -> "State":
        """Give the state after calls of the last reply were answered."""
        if isinstance(answers, Paused):
            return replace(self.with_results(tuple(answers)), paused=True)
        if not answers:
            return self
        reply = self.open_reply
        calls = {call.id: call for call in reply.tool_calls} if reply else {}
        step = self.open_step
        records = [
            CallRecord(calls[answer.tool_call_id], answer.outcome, step, answer.content)
            for answer in answers
            if answer.tool_call_id in calls
        ]
        counts = step == self.step and any(record.outcome != "refused" for record in records)
        messages, earlier = self.messages + answers, self._last_answers()
        if earlier:  # a stored history may have had some answers only, and not of the first calls
            order = {call_id: at for at, call_id in enumerate(calls)}
            ordered = sorted([*earlier, *answers], key=lambda each: order.get(each.tool_call_id, -1))
            messages = (*self.messages[: -len(earlier)], *ordered)
        return replace(
            self,
            messages=messages,
            calls=(*self.calls, *records),
            step=self.step + (1 if counts else 0),
            shortened=self.shortened or any(each.full is not None for each in answers),
        ).with_images()

    def with_images(self) -> "State":
        """Give the state in which the images that the last answers came with are shown, once all calls are answered."""
        images = [image for each in self._last_answers() for image in each.images]
        if not images or self.unanswered or self.ending is not None:
            return self
        return replace(self, messages=(*self.messages, shown(images)))

    def _last_answers(self) -> list[ToolMessage]:
        """Give the answers at the end of the history, in order."""
        answers: list[ToolMessage] = []
        for message in reversed(self.messages):
            if not isinstance(message, ToolMessage):
                break
            answers.append(message)
        return answers[::-1]
