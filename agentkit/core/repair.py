"""Repairs a history so that strict endpoints accept it, and lists each change."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias, cast

from agentkit.core.growing import folded
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage, shown
from agentkit.core.parts import Media

What: TypeAlias = Literal["orphan", "duplicate", "replaced", "renamed", "closed", "moved", "images"]
"""What was done: a result without a call was dropped; a second result of a call was dropped; a placeholder was replaced
by the result that came later; a call got a new id, as another call of the reply had the same; a call without a result
got one; a result was moved to its call; a message with the images that tools returned was added."""

NEVER_RAN = "Not run: the conversation went on before this call was allowed."
RUNNING = "This call is still running: the conversation went on before it ended. Do not repeat it."
UNKNOWN = (
    "The conversation went on before this call was answered: it is not known how it ended. It may have had effects."
)


def is_placeholder(result: ToolMessage) -> bool:
    """Whether a result only stands for one that may still come."""
    return result.outcome == "cancelled" or result.content in (NEVER_RAN, RUNNING, UNKNOWN)


class Repair(NamedTuple):
    """One change.

    Attributes:
        what: What was done.
        at: The index of the message that was changed: a result, or the reply with the call.
        detail: The change, for people to read.
    """

    what: What
    at: int
    detail: str


class Repaired(NamedTuple):
    """A history that strict endpoints accept, and the changes in its order; the same tuple if there are none."""

    messages: tuple[Message, ...]
    repairs: tuple[Repair, ...] = ()


def repaired(messages: tuple[Message, ...]) -> Repaired:
    """Repair a history: each call has one result, in the order of the calls, right after its reply.

    Messages of users and models stay as they are. Calls without a result at the very end stay open, because they are
    still to run. Images of the last results are not added here: the caller knows whether one of them ends the run.
    """
    return Repaired(messages) if is_sound(messages) else _Repairing(messages).run()


def with_unique_ids(reply: AssistantMessage) -> AssistantMessage:
    """Return a reply in which no two calls have the same id, so that each gets its own result."""
    if len({call.id for call in reply.tool_calls}) == len(reply.tool_calls):
        return reply
    return cast("AssistantMessage", repaired((reply,)).messages[0])


class _Checked(NamedTuple):
    """How far a history was checked."""

    sound: bool = True
    ids: tuple[str, ...] = ()  # of the calls in the last reply
    at: int = 0  # how many of them have a result
    images: tuple[Media, ...] = ()  # that these have, and no message shows yet


_UNCHECKED, _UNSOUND = _Checked(), _Checked(sound=False)


def is_sound(messages: Sequence[Message]) -> bool:
    """Whether there is nothing to repair, in one pass, because every run checks this."""
    return folded(messages, "sound", _UNCHECKED, _check).sound


def _check(before: _Checked, new: Iterable[Message]) -> _Checked:
    sound, ids, at, images = before
    for message in new if sound else ():
        if isinstance(message, ToolMessage):
            if at == len(ids) or ids[at] != message.tool_call_id:
                return _UNSOUND
            at += 1
            if message.images:
                images += message.images
        else:
            if at < len(ids) or (images and not _shows(message, shown(images))):
                return _UNSOUND
            images = ()
            if isinstance(message, AssistantMessage) and message.tool_calls:
                ids = tuple([call.id for call in message.tool_calls])
                at = 0
                if len(ids) > 1 and len(set(ids)) < len(ids):
                    return _UNSOUND
    return _Checked(sound, ids, at, images)


@dataclass(slots=True, eq=False, repr=False)
class _Group:
    """A reply and its index in the history, and the same of each result of its calls."""

    reply: AssistantMessage
    at: int
    results: dict[str, tuple[ToolMessage, int]] = field(default_factory=dict[str, tuple[ToolMessage, int]])


class _Repairing:
    """The repair of one history: assign each result to its call, then put everything in order."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self._messages = messages
        self._repairs: list[Repair] = []
        self._groups: dict[int, _Group] = {}
        # By id: the last reply with calls of that id, and their ids now.
        self._open: dict[str, tuple[_Group, deque[str]]] = {}
        # By id: the earlier reply whose call has a placeholder, and whose own result may come yet.
        self._late: dict[str, _Group] = {}
        self._numbers: dict[str, int] = {}
        replies = [message for message in messages if isinstance(message, AssistantMessage)]
        self._ids = {call.id for reply in replies for call in reply.tool_calls}
        self._ids |= {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}

    def run(self) -> Repaired:
        for at, message in enumerate(self._messages):
            if isinstance(message, ToolMessage):
                self._assign(message, at)
            elif isinstance(message, AssistantMessage) and message.tool_calls:
                self._open_reply(message, at)
        placed = self._placed()
        if not self._repairs:
            return Repaired(self._messages)
        return Repaired(tuple(placed), tuple(sorted(self._repairs, key=lambda repair: repair.at)))

    def _tell(self, what: What, at: int, detail: str) -> None:
        self._repairs.append(Repair(what, at, detail))

    def _open_reply(self, reply: AssistantMessage, at: int) -> None:
        """Begin a group with a reply; calls with the same id get new ids."""
        calls: list[ToolCall] = []
        taken: dict[str, deque[str]] = {}
        for call in reply.tool_calls:
            unique = call
            if call.id in taken:
                unique = replace(call, id=self._new_id(call.id))
                self._tell("renamed", at, f"two calls of a reply had the id {call.id!r}; one is {unique.id!r} now")
            taken.setdefault(call.id, deque()).append(unique.id)
            calls.append(unique)
        if len(taken) < len(calls):
            reply = replace(reply, tool_calls=tuple(calls))
        group = self._groups[at] = _Group(reply, at)
        for id_ in taken.keys() & self._open.keys():
            before = self._open[id_][0]
            if id_ in before.results and is_placeholder(before.results[id_][0]):
                self._late[id_] = before
        self._open |= {id_: (group, ids) for id_, ids in taken.items()}

    def _new_id(self, id_: str) -> str:
        number = self._numbers.get(id_, 2)
        while f"{id_}_{number}" in self._ids:
            number += 1
        self._numbers[id_] = number + 1
        return f"{id_}_{number}"

    def _assign(self, result: ToolMessage, at: int) -> None:
        """Assign a result to its call: of those before it, the one in the last reply with that id."""
        call_id = result.tool_call_id
        if call_id not in self._open:
            self._tell("orphan", at, f"no call before it has the id {call_id!r}; the result was dropped")
            return
        group, ids = self._open[call_id]
        if not ids and not is_placeholder(group.results[call_id][0]):
            group = self._late.get(call_id, group)
        if not ids and is_placeholder(group.results[call_id][0]) and not is_placeholder(result):
            self._tell("replaced", group.results[call_id][1], f"the call {call_id!r} has its own result now")
            group.results[call_id] = (result, at)
        elif not ids:
            self._tell("duplicate", at, f"the call {call_id!r} had a result before; this one was dropped")
        else:
            id_ = ids.popleft()
            group.results[id_] = (result if id_ == call_id else replace(result, tool_call_id=id_), at)

    def _placed(self) -> list[Message]:
        placed: list[Message] = []
        others = [at for at, message in enumerate(self._messages) if not isinstance(message, ToolMessage)]
        for number, at in enumerate(others):
            group = self._groups.get(at)
            if group is None:
                placed.append(self._messages[at])
                continue
            following = others[number + 1] if number + 1 < len(others) else None
            placed.append(group.reply)
            results = self._results(group, following)
            placed += results
            images = [image for result in results for image in result.images]
            if images and following is not None and not _shows(self._messages[following], shown(images)):
                self._tell("images", at, f"the {len(images)} images that tools returned are shown after the results")
                placed.append(shown(images))
        return placed

    def _results(self, group: _Group, following: int | None) -> list[ToolMessage]:
        """Return the results of a group in the order of its calls; `following` is the index of the next message."""
        results: list[ToolMessage] = []
        before = group.at
        for call in group.reply.tool_calls:
            result, at = group.results.get(call.id, (None, 0))
            if result is None:
                if following is not None:
                    self._tell("closed", group.at, f"the call {call.id!r} of {call.name[:64]} had no result")
                    results.append(ToolMessage(call.id, UNKNOWN, "cancelled"))
                continue
            if at < before or (following is not None and at > following):
                self._tell("moved", at, f"the result of the call {call.id!r} was moved to its place")
            before = max(before, at)
            results.append(result)
        return results


def _shows(message: Message, showing: UserMessage) -> bool:
    """Whether a message shows these images already; `note` is ignored, because the wire does not carry it."""
    return isinstance(message, UserMessage) and message.content == cast("object", showing.content)
