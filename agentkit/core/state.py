"""The state of a run: its messages, and what follows from them."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import eq
from typing import Any, Literal, NamedTuple, TypeAlias

from agentkit.core.chat import ChatResponse
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import InvalidRequest
from agentkit.core.growing import GrowingTuple, folded, grown
from agentkit.core.messages import AssistantMessage, Message, Outcome, ToolCall, ToolMessage, Usage, UserMessage, shown

Stop: TypeAlias = Literal["answer", "tool", "limit", "cut", "refusal", "empty", "paused", "stopped"]
"""Why a run ended: the model answered, a tool with `ends=True` succeeded, the model answered because a limit was
reached, the answer was truncated and accepted, the model refused, it said nothing, calls wait for approval, or
`Run.stop` was called."""

ViolationKind: TypeAlias = Literal["tool_choice", "cut_call", "cut_answer", "empty", "invalid_output"]
"""Why a reply was rejected: it broke the tool choice, a call or the answer was truncated, it said nothing, or a typed
answer did not validate."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a policy judges: its arguments are validated, so what is judged is what runs.

    Attributes:
        name: The tool.
        arguments: The arguments by parameter, with their defaults, validated.
        written: The call as the model wrote it.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    written: ToolCall | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, parameter: str) -> Any:
        return self.arguments[parameter]


class CallRecord(NamedTuple):
    """A call and how it ended.

    Attributes:
        call: The call.
        outcome: How it ended.
        step: The number of the step in which the model made the call, counted as `State.step` counts.
        result: What the tool returned as text, whole and without agentkit's notes; or why the call failed.
    """

    call: ToolCall
    outcome: Outcome
    step: int = 0
    result: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a reply was rejected. `str(violation)` is the text.

    Attributes:
        kind: What was wrong, for code.
        text: What was wrong, for people, as "it answered where search must be called".
    """

    kind: ViolationKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Step:
    """One request to the model and its reply; or a call that the policy knew, without a request.

    Attributes:
        message: The model's message.
        choice: What the model was allowed to do.
        policy: The policy that chose so, as code.
        violation: Why the reply was rejected, or `None` if it was accepted.
        correction: What the history gets after a rejected reply: a tool result per call, or a note.
        finish_reason: Why the model stopped, in the endpoint's word.
        usage: What the request cost.
        reply: The reply as it came, with all its answers, the endpoint's id for it, and what was sent for it.
    """

    message: AssistantMessage
    choice: ToolChoice
    policy: str
    violation: Violation | None = None
    correction: tuple[ToolMessage, ...] | tuple[UserMessage] = ()
    finish_reason: str | None = None
    usage: Usage = field(default_factory=lambda: Usage(1))
    reply: ChatResponse | None = field(default=None, compare=False, repr=False)

    @property
    def decided_by(self) -> str:
        """The part of the policy that decided the choice, as code; of `a & b`, the parts that narrowed it."""
        return self.choice.by or self.policy

    @property
    def known(self) -> bool:
        """Whether the model was not asked, because the policy knew the call and its arguments."""
        return self.choice.arguments is not None

    def curl(self) -> str:
        """Return a shell command that sends the same request again; the key is left to a variable.

        Raises:
            InvalidRequest: If the reply did not come over HTTP.
        """
        if self.reply is None or self.reply.sent is None:
            raise InvalidRequest("this reply did not come over HTTP, so there is no command that asks for it again")
        return self.reply.sent.curl()


class ToolResults(NamedTuple):
    """The tool results of one reply, in the order of its calls; `paused` if the other calls wait for approval."""

    messages: tuple[ToolMessage, ...]
    paused: bool = False


@dataclass(frozen=True)  # not a NamedTuple, which would equal plain tuples and break callers when a field is added
class State:
    """Where a run is. A value: each step makes a new one.

    The history is the checkpoint: everything here but `steps` and `paused` follows from the messages, so a stored
    history resumes where it stopped. `calls` and `step` are carried along because a long run reads them often; they
    equal what `State.of` finds in the same messages.

    Attributes:
        messages: The whole conversation.
        start: How many of the messages were there when the run began.
        stop_at: The tools whose success ends the run.
        calls: The calls that were answered since the user last spoke, in order.
        step: The number of the next step; the first is 0. It counts the replies with calls since the user last spoke,
            except those whose calls were all refused.
        steps: The requests that this run has made.
        shortened: Whether a tool result was truncated, so that there is a rest to read.
        paused: Whether the run ends here because calls wait for approval.
        earlier: The calls that were answered before the user last spoke. Their steps are numbers below 0.
        deps: The dependencies that the run was given.
        pending: While a call is judged: the calls before it in the same reply that may run.
        sources: In a phase of a machine: the calls before it whose results its policy takes values from.
    """

    messages: Sequence[Message]
    start: int = 0
    stop_at: frozenset[str] = frozenset()
    calls: Sequence[CallRecord] = ()
    step: int = 0
    steps: Sequence[Step] = ()
    shortened: bool = False
    paused: bool = False
    earlier: Sequence[CallRecord] = ()
    deps: object = None
    pending: Sequence[Call] = ()
    sources: Sequence[CallRecord] = ()

    @property
    def conversation(self) -> "State":
        """The same state, whose `calls` are those of the whole conversation."""
        if not self.earlier:
            return self
        start: _Joined = self.earlier, None
        earlier, calls = folded(self.calls, "conversation", start, _joined)
        if calls is None or earlier is not self.earlier:
            calls = (*self.earlier, *self.calls)
        return changed(self, calls=calls, earlier=())

    @classmethod
    def of(cls, messages: Sequence[Message], stop_at: Iterable[str] = ()) -> "State":
        """Make the state of a run that begins with these messages."""
        turns = [
            index for index, message in enumerate(messages) if isinstance(message, UserMessage) and not message.note
        ]
        begin = turns[-1] + 1 if turns else 0
        before, steps = _records(messages[:begin])
        earlier = tuple([record._replace(step=record.step - steps) for record in before])
        calls, step = _records(messages[begin:])
        shortened = any(isinstance(message, ToolMessage) and message.full is not None for message in messages)
        return cls(
            messages,
            len(messages),
            frozenset(stop_at),
            GrowingTuple(calls),  # from the first request on, policies keep what they make of them
            step,
            shortened=shortened,
            earlier=earlier,
        ).with_images()

    @property
    def open_reply(self) -> AssistantMessage | None:
        """The reply at the end of the history, with nothing after it but tool results."""
        return self._end[0]

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """The calls at the end of the history that have no tool result yet, in order."""
        reply, answers = self._end
        if reply is None:
            return ()
        if not answers:
            return reply.tool_calls
        answered = {answer.tool_call_id for answer in answers}
        return tuple([call for call in reply.tool_calls if call.id not in answered])

    @property
    def answered(self) -> int:
        """How many tool results the last reply has."""
        return len(self._end[1])

    @property
    def before_results(self) -> "State":
        """The state before any call of the last reply was answered, as the policy saw it when the model was asked."""
        reply, answers = self._end
        if reply is None or not answers:
            return self
        ids = {call.id for call in reply.tool_calls}
        answered = sum(answer.tool_call_id in ids for answer in answers)
        return changed(self, calls=self.calls[: len(self.calls) - answered], step=self.open_step)

    @property
    def open_step(self) -> int:
        """The number of the step that made the calls at the end of the history."""
        reply, earlier = self._end
        if not earlier or reply is None:
            return self.step
        return self.step - _counts_as_step(earlier, [call.id for call in reply.tool_calls])

    @property
    def finished(self) -> bool:
        """Whether the run is over: the model answered, a tool ended the run, or calls wait for approval."""
        reply = self._end[0]
        if reply is None or self.paused:
            return self.paused
        return not reply.tool_calls or (bool(self.stop_at) and self.ending is not None and not self.unanswered)

    @property
    def ending(self) -> ToolMessage | None:
        """The result of the tool that ended the run, if one did; of several, the first."""
        reply, answers = self._end
        if reply is None or not self.stop_at:
            return None
        ids = {call.id for call in reply.tool_calls if call.name in self.stop_at}
        return next((answer for answer in answers if answer.tool_call_id in ids and answer.outcome == "ok"), None)

    @property
    def violations(self) -> int:
        """How many replies in a row, up to the last, were rejected, or had each of their calls refused."""
        count, end = 0, len(self.calls)
        for step in reversed(self.steps):
            begin = end - len(step.message.tool_calls)
            refused = begin < end and all(record.outcome == "refused" for record in self.calls[begin:end])
            if step.violation is None and not refused:
                break
            count, end = count + 1, begin
        return count

    @property
    def asked(self) -> int:
        """How many times this run has asked the model."""
        return sum([not step.known for step in self.steps])

    @property
    def usage(self) -> Usage:
        """What the requests of this run have cost together."""
        return sum((step.usage for step in self.steps), Usage())

    def succeeded(self, tool: str) -> bool:
        """Whether a call of this tool has succeeded since the user last spoke."""
        return tool in folded(self.calls, "succeeded", frozenset[str](), _with_successes)

    def with_reply(self, step: Step) -> "State":
        """Return the state after a reply."""
        answers = tuple([message for message in step.correction if isinstance(message, ToolMessage)])
        notes = tuple([message for message in step.correction if isinstance(message, UserMessage)])
        replied = changed(self, messages=grown(self.messages, (step.message, *notes)), steps=grown(self.steps, (step,)))
        return replied.with_results(ToolResults(answers))

    def with_results(self, results: ToolResults) -> "State":
        """Return the state after calls of the last reply were answered."""
        answers = results.messages
        if not answers:
            return changed(self, paused=True) if results.paused else self
        reply, earlier = self._end
        calls = {call.id: call for call in reply.tool_calls} if reply else {}
        counted = bool(earlier) and _counts_as_step(earlier, calls)
        records = [
            CallRecord(calls[answer.tool_call_id], answer.outcome, self.step - counted, answer.result)
            for answer in answers
            if answer.tool_call_id in calls
        ]
        messages = grown(self.messages, answers)
        if earlier:  # a stored history may have had some answers only, and not of the first calls
            order = {call_id: index for index, call_id in enumerate(calls)}
            ordered = sorted([*earlier, *answers], key=lambda answer: order.get(answer.tool_call_id, -1))
            messages = (*self.messages[: -len(earlier)], *ordered)
        return changed(
            self,
            messages=messages,
            calls=grown(self.calls, records, eq),
            step=self.step + (not counted and _counts_as_step(answers, calls)),
            shortened=self.shortened or any(answer.full is not None for answer in answers),
            paused=results.paused,
        ).with_images()

    def with_messages(self, messages: Sequence[UserMessage]) -> "State":
        """Return the state after messages that were sent to the run; the calls before them have all been answered."""
        shown_first = changed(self, stop_at=frozenset[str]()).with_images()  # where a tool would have ended the run
        return changed(self, messages=grown(shown_first.messages, messages))

    def with_images(self) -> "State":
        """Return the state in which the model sees the images of the last tool results, once all calls are answered."""
        images = [image for answer in self._end[1] for image in answer.images]
        if not images or self.unanswered or self.ending is not None:
            return self
        return changed(self, messages=grown(self.messages, (shown(images),)))

    @cached_property
    def _end(self) -> tuple[AssistantMessage | None, tuple[ToolMessage, ...]]:
        """The tool results at the end of the history, in order, and the reply before them if there is one."""
        answers: list[ToolMessage] = []
        reply: Message | None = None
        for reply in reversed(self.messages):
            if not isinstance(reply, ToolMessage):
                break
            answers.append(reply)
        return reply if isinstance(reply, AssistantMessage) else None, tuple(answers[::-1])


def changed(state: State, **fields: object) -> State:
    """Return a copy with some fields changed: as `dataclasses.replace`, which takes many times as long."""
    copy = object.__new__(State)
    copy.__dict__.update(state.__dict__, **fields)  # `frozen` forbids assignments, and a run makes several a step
    if "messages" in fields:
        copy.__dict__.pop("_end", None)  # which is cached
    return copy


_Joined: TypeAlias = tuple[Sequence[CallRecord], Sequence[CallRecord] | None]
"""The calls before the user last spoke, and those with the ones after it."""


def _joined(joined: _Joined, new: Iterable[CallRecord]) -> _Joined:
    earlier, calls = joined
    return earlier, grown(earlier if calls is None else calls, tuple(new), eq)


def _with_successes(names: frozenset[str], new: Iterable[CallRecord]) -> frozenset[str]:
    return names.union([record.call.name for record in new if record.outcome == "ok"])


def _records(messages: Iterable[Message]) -> tuple[tuple[CallRecord, ...], int]:
    """Return the calls that were answered in these messages, and how many steps made them."""
    records: list[CallRecord] = []
    calls: dict[str, ToolCall] = {}
    step, counted = 0, False
    for message in messages:
        if isinstance(message, ToolMessage):
            if call := calls.get(message.tool_call_id):
                records.append(CallRecord(call, message.outcome, step, message.result))
                counted = counted or message.outcome != "refused"
            continue
        calls = {call.id: call for call in message.tool_calls} if isinstance(message, AssistantMessage) else {}
        step, counted = step + counted, False
    return tuple(records), step + counted


def _counts_as_step(answers: Iterable[ToolMessage], call_ids: Container[str]) -> bool:
    """Whether a call of the reply was answered and not refused."""
    return any(answer.outcome != "refused" and answer.tool_call_id in call_ids for answer in answers)
