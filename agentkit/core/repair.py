"""Repair: any history made into one that strict endpoints take, and each change told."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias, cast

from agentkit.core.messages import AssistantMessage, ImagePart, Message, ToolCall, ToolMessage, UserMessage, shown

What: TypeAlias = Literal["orphan", "duplicate", "renamed", "closed", "moved", "images"]
"""What was done: an answer without a call was dropped; a second answer to one call was dropped; a call whose id another
call of the reply has got a new one; a call without an answer was answered; an answer was moved to its call; the images
that tools returned were shown."""

UNKNOWN = (
    "The conversation went on before this call was answered: it is not known how it ended. It may have had effects."
)


@dataclass(frozen=True, slots=True)
class Repair:
    """One change.

    Attributes:
        what: What was done.
        at: Where the message stood that it was done to or for: an answer, or the reply with the call.
        detail: The same for people to read.
    """

    what: What
    at: int
    detail: str


class Repaired(NamedTuple):
    """A history that strict endpoints take, and how it became so.

    Attributes:
        messages: The history; the very same tuple if there was nothing to repair.
        repairs: The changes, in the order of the history.
    """

    messages: tuple[Message, ...]
    repairs: tuple[Repair, ...] = ()


def repaired(messages: tuple[Message, ...]) -> Repaired:
    """Make a history one that strict endpoints take: each call answered once, in order, right after its reply.

    What users and models said stays as it is, as do calls without an answer at the very end: they are to be run. What
    the last answers show is left to whoever goes on, who knows whether one of them ends the run.

    Args:
        messages: Any history, such as one of a program that was stopped, or one that was put together by hand.
    """
    return Repaired(messages) if _is_sound(messages) else _Repairing(messages).run()


def _is_sound(messages: Sequence[Message]) -> bool:
    """Say whether there is nothing to repair. This is on the way of every run, so it makes one plain pass."""
    ids: list[str] = []  # of the calls of the last reply
    at = 0  # how many of them are answered
    images: list[ImagePart] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if at == len(ids) or ids[at] != message.tool_call_id:
                return False
            at += 1
            if message.images:
                images += message.images
        else:
            if at < len(ids) or (images and not _shows(message, shown(images))):
                return False
            if images:
                images = []
            if isinstance(message, AssistantMessage) and message.tool_calls:
                ids = [call.id for call in message.tool_calls]
                at = 0
                if len(ids) > 1 and len(set(ids)) < len(ids):
                    return False
    return True


@dataclass(slots=True)
class _Answer:
    """The answer to a call, and where it stood."""

    message: ToolMessage
    at: int


@dataclass(slots=True)
class _Group:
    """A reply and the answers to its calls."""

    reply: AssistantMessage
    at: int
    answers: dict[str, _Answer] = field(default_factory=dict[str, _Answer])


class _Repairing:
    """The repair of one history: answers are handed to their calls, then everything is put in order."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self._messages = messages
        self._repairs: list[Repair] = []
        self._groups: dict[int, _Group] = {}
        # For each id the calls of the last reply that has it: the group, and the ids that they have now.
        self._open: dict[str, tuple[_Group, deque[str]]] = {}
        self._numbers: dict[str, int] = {}
        self._ids = {call.id for each in messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
        self._ids |= {each.tool_call_id for each in messages if isinstance(each, ToolMessage)}

    def run(self) -> Repaired:
        for at, message in enumerate(self._messages):
            if isinstance(message, ToolMessage):
                self._hand(message, at)
            elif isinstance(message, AssistantMessage) and message.tool_calls:
                self._begin(message, at)
        placed = self._placed()
        if not self._repairs:
            return Repaired(self._messages)
        return Repaired(tuple(placed), tuple(sorted(self._repairs, key=lambda each: each.at)))

    def _tell(self, what: What, at: int, detail: str) -> None:
        self._repairs.append(Repair(what, at, detail))

    def _begin(self, reply: AssistantMessage, at: int) -> None:
        """Take a reply with calls: each id is that of one call."""
        calls: list[ToolCall] = []
        taken: dict[str, deque[str]] = {}
        for call in reply.tool_calls:
            fresh = call
            if call.id in taken:
                fresh = replace(call, id=self._fresh(call.id))
                self._tell("renamed", at, f"the id {call.id!r} stood twice in a reply; one is {fresh.id!r} now")
            taken.setdefault(call.id, deque()).append(fresh.id)
            calls.append(fresh)
        if len(taken) < len(calls):
            reply = replace(reply, tool_calls=tuple(calls))
        group = self._groups[at] = _Group(reply, at)
        self._open |= {id_: (group, ids) for id_, ids in taken.items()}

    def _fresh(self, id_: str) -> str:
        number = self._numbers.get(id_, 2)
        while f"{id_}_{number}" in self._ids:
            number += 1
        self._numbers[id_] = number + 1
        return f"{id_}_{number}"

    def _hand(self, answer: ToolMessage, at: int) -> None:
        """Hand an answer to its call: of those before it, the one in the last reply with that id."""
        if answer.tool_call_id not in self._open:
            self._tell("orphan", at, f"no call before it has the id {answer.tool_call_id!r}; the answer was dropped")
            return
        group, ids = self._open[answer.tool_call_id]
        if not ids:
            self._tell("duplicate", at, f"the call {answer.tool_call_id!r} was answered before; the answer was dropped")
            return
        id_ = ids.popleft()
        group.answers[id_] = _Answer(answer if id_ == answer.tool_call_id else replace(answer, tool_call_id=id_), at)

    def _placed(self) -> list[Message]:
        placed: list[Message] = []
        others = [at for at, each in enumerate(self._messages) if not isinstance(each, ToolMessage)]
        for number, at in enumerate(others):
            group = self._groups.get(at)
            if group is None:
                placed.append(self._messages[at])
                continue
            following = others[number + 1] if number + 1 < len(others) else None
            placed.append(group.reply)
            answers = self._answers(group, following)
            placed += answers
            images = [image for each in answers for image in each.images]
            if images and following is not None and not _shows(self._messages[following], shown(images)):
                self._tell("images", at, f"the {len(images)} images that tools returned are shown after the answers")
                placed.append(shown(images))
        return placed

    def _answers(self, group: _Group, following: int | None) -> list[ToolMessage]:
        """Give the answers of a group in the order of its calls.

        Args:
            group: The group.
            following: Where the next message stands that is no answer, or `None` if there is none.
        """
        answers: list[ToolMessage] = []
        before = group.at
        for call in group.reply.tool_calls:
            answer = group.answers.get(call.id)
            if answer is None:
                if following is not None:
                    self._tell("closed", group.at, f"the call {call.id!r} of {call.name[:64]} had no answer")
                    answers.append(ToolMessage(call.id, UNKNOWN, "cancelled"))
                continue
            if answer.at < before or (following is not None and answer.at > following):
                self._tell("moved", answer.at, f"the answer to the call {call.id!r} was moved to its place")
            before = max(before, answer.at)
            answers.append(answer.message)
        return answers


def _shows(message: Message, showing: UserMessage) -> bool:
    """Say whether a message shows the images already; one that was stored as the wire has it is no note any more."""
    return isinstance(message, UserMessage) and message.content == cast("object", showing.content)
