"""Putting replies together: a pure fold of chunks into a reply.

A plain body is one chunk that says it all.

Real endpoints leave out, repeat and reorder the parts of a streamed call. The rules here take every form that has been
seen and is unambiguous:

1. null is the same as absent, at every level.
2. A fragment belongs to the call last opened at its index, unless it brings a name and another id after that call had
   arguments or its whole name, or, where ids do not tell, the whole name of another tool: then it opens another call.
   Without an index it belongs to the call with its id, else to the last call opened; a new id or a name opens one,
   unless it is what that call lacks.
3. The first fragment of a name sets it. A later one is joined on where that leads to a tool's name; else, if it equals
   the name so far or comes after the name was complete, it repeats it; any other is joined on.
4. The first id that is not empty holds. A call without one, or with one that is taken, gets an id made here.
5. Fragments of arguments are joined; arguments that come as an object are taken as they are.
6. A reply is whole if each answer has a finish reason, or the terminator came.
7. A whole message beside a delta repeats what the deltas said; it counts where they said nothing.
8. Of an answer's fields that are unknown, a message's texts, lists and objects grow by each fragment; of anything else
   the last holds.
9. Whether the arguments of a call are whole is decided where it would be run. ReplyLimits are bounded while they grow.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any, cast

from agentkit.core.chat import ChatChunk, ChatResponse, Choice, text_of
from agentkit.core.errors import IncompleteReply, MalformedReply
from agentkit.core.json import encode, object_of, whole
from agentkit.core.messages import AssistantMessage, ToolCall, Usage
from agentkit.core.reply_limits import ReplyLimits, Room, values_in
from agentkit.core.usage import count_of, usage_of

_KNOWN_TOP = frozenset({"id", "object", "created", "model", "choices", "usage"})
_KNOWN_CALL = frozenset({"index", "id", "type", "function"})
_SIZES = ReplyLimits()
_ID_LENGTH = 40
"""The longest id that endpoints take."""
_PER_FIELD = 3
"""What the name of a field takes, in values."""


class _Call:
    """A call under construction."""

    __slots__ = ("arguments", "extra", "id", "length", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.length = 0
        self.extra: dict[str, list[object]] = {}

    def ends_before(self, call_id: str, name: str, tools: Collection[str]) -> bool:
        """Tell whether a fragment at this call's index is the beginning of another call (rule 2)."""
        if not name or (call_id and call_id == self.id):
            return False
        if call_id and self.id:
            return bool(self.arguments) or self.name in tools
        return name != self.name and name in tools and self.name in tools

    def lacks(self, call_id: str, name: str, tools: Collection[str]) -> bool:
        """Tell whether a fragment without an index is part of this call, the last one (rule 2)."""
        if call_id and self.id:
            return False
        return not name or not self.name or (not self.arguments and self._goes_on(name, tools))

    def add(self, name: str, arguments: object, tools: Collection[str]) -> None:
        if name and (self._goes_on(name, tools) or (name != self.name and self.name not in tools)):
            self.name += name
        if arguments is None or arguments == {}:
            return
        text = arguments if isinstance(arguments, str) else encode(arguments).decode()
        self.arguments.append(text)
        self.length += len(name) + len(text)

    def _goes_on(self, name: str, tools: Collection[str]) -> bool:
        """Tell whether a fragment of a name leads on to a tool's (rule 3)."""
        repeated = name == self.name and name in tools
        return not repeated and any(tool.startswith(self.name + name) for tool in tools)


class _Answer:
    """One answer under construction: what one index of `choices` adds up to."""

    def __init__(self, tools: Collection[str], reply_limits: ReplyLimits, room: Room) -> None:
        self.tools = tools
        self.reply_limits = reply_limits
        self.room = room
        self.kept = 0
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[_Call] = []
        self.at: dict[object, _Call] = {}
        self.by_id: dict[str, _Call] = {}
        self.finish_reason: str | None = None
        self.extra: dict[str, list[object]] = {}
        self.more: dict[str, list[object]] = {}
        self.message: dict[str, Any] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        for key, value in delta.items():
            if value is None or key == "role":
                continue
            if key == "content":
                self.text.append(text_of(value))
            elif key == "tool_calls":
                for entry in _objects(value, key):
                    self._add_call(entry)
            elif key == "refusal":
                self.refusal.append(_str(value))
            elif key != "function_call":
                self.keep(self.extra, key, value)
            elif not delta.get("tool_calls"):
                self._add_call({"index": 0, "function": value})

    def _add_call(self, entry: Mapping[str, Any]) -> None:
        function = object_of(entry.get("function"))
        name, call_id, arguments = _str(function.get("name")), _str(entry.get("id")), function.get("arguments")
        if not (name or call_id or arguments):
            return
        index = entry.get("index")
        call = self._by_order(call_id, name) if index is None else self._by_index(str(index), call_id, name)
        if call_id and not call.id:
            call.id = call_id
            self.by_id.setdefault(call_id, call)
        call.add(name, arguments, self.tools)
        if call.length > self.reply_limits.arguments:
            raise self.reply_limits.too_large("arguments")
        if not entry.keys() <= _KNOWN_CALL:
            for key in entry.keys() - _KNOWN_CALL:
                if entry[key] is not None:
                    self.keep(call.extra, key, entry[key])

    def _by_index(self, index: str, call_id: str, name: str) -> _Call:
        call = self.at.get(index)
        if call is None and not name:
            call = self.by_id.get(call_id)
        if call is None or call.ends_before(call_id, name, self.tools):
            call = self._open()
        self.at[index] = call
        if len(self.at) > self.reply_limits.calls:
            raise self.reply_limits.too_large("calls")
        return call

    def _by_order(self, call_id: str, name: str) -> _Call:
        if call := self.by_id.get(call_id):
            return call
        if self.calls and self.calls[-1].lacks(call_id, name, self.tools):
            return self.calls[-1]
        return self._open()

    def _open(self) -> _Call:
        if len(self.calls) == self.reply_limits.calls:
            raise self.reply_limits.too_large("calls")
        self.calls.append(_Call())
        return self.calls[-1]

    def keep(self, fields: dict[str, list[object]], key: str, value: object) -> None:
        """Keep a fragment of a field that is not known here."""
        encoded = b"" if isinstance(value, str) else encode(value)
        self.kept += len(value) if isinstance(value, str) else len(encoded)
        if self.kept > self.reply_limits.event:
            raise self.reply_limits.too_large("event")
        self.room.take(values_in(encoded) if key in fields else values_in(encoded) + _PER_FIELD)
        fields.setdefault(key, []).append(value)

    def repeat(self, message: dict[str, Any]) -> None:
        """Keep a whole message beside a delta, for the case that the deltas say nothing (rule 7)."""
        self.room.take(values_in(encode(message)) - values_in(encode(self.message)))
        self.message = message

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Give the calls so far."""
        given = {each.id for each in self.calls}
        taken: set[str] = set()
        calls: list[ToolCall] = []
        for number, each in enumerate(self.calls):
            call_id = each.id
            if not call_id or call_id in taken:
                call_id = f"call_{number}_{each.name}"[:_ID_LENGTH]
                while call_id in given:
                    call_id += "_"
            taken.add(call_id)
            arguments = whole("".join(each.arguments))
            extra = {key: _merged(values) for key, values in each.extra.items()}
            calls.append(ToolCall(call_id, whole(each.name), arguments if arguments.strip() else "{}", extra))
        return tuple(calls)

    def choice(self, origin: str | None) -> Choice:
        if not (self.calls or any(self.text) or any(self.refusal)):
            self.add(self.message)
            self.message = {}
        calls = self.tool_calls()
        extra = {key: _joined(values) for key, values in self.extra.items()}
        message = AssistantMessage(
            whole("".join(self.text)) or None,
            calls,
            whole("".join(self.refusal)) or None,
            extra=extra,
            origin=origin if extra or any(call.extra for call in calls) else None,
        )
        return Choice(message, self.finish_reason, {key: _merged(values) for key, values in self.more.items()})


class Assembly:
    """A reply under construction. Add chunks as they come; `response` gives the reply once it is whole.

    Args:
        tools: The names of the tools that were offered: a call's name is complete once it is one of them.
        reply_limits: How large the reply may be.
        origin: The endpoint, for a message that has fields which only it knows.
    """

    def __init__(
        self, tools: Collection[str] = (), reply_limits: ReplyLimits = _SIZES, origin: str | None = None
    ) -> None:
        self._tools = tools
        self._reply_limits = reply_limits
        self._origin = origin
        self._answers: dict[int, _Answer] = {}
        self._top: dict[str, object] = {}
        self._kept = 0
        self._room = Room(reply_limits)
        self._usage: Usage | None = None
        self.terminated = False

    @property
    def text(self) -> str:
        """The text of the first answer so far."""
        return whole("".join(self._answers[0].text)) if 0 in self._answers else ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of the first answer so far."""
        return self._answers[0].tool_calls() if 0 in self._answers else ()

    def add(self, chunk: ChatChunk) -> None:
        """Add the next chunk.

        Raises:
            MalformedReply: If its choices, deltas or calls are not objects.
            ReplyTooLarge: If the reply becomes larger than it may be.
        """
        for key, value in chunk.data.items():
            if value is None:
                continue
            if key == "choices":
                for choice in _objects(value, key):
                    self._add_choice(choice)
            elif key == "usage":
                self._add_usage(_object(value, key))
            else:
                if self._top.get(key) != value:
                    self._count(key, value)
                self._top[key] = value

    def _count(self, key: str, value: object) -> None:
        """Make room for a field in place of what it was before."""
        encoded = encode(value)
        if key not in self._top and key not in _KNOWN_TOP:
            self._kept += len(encoded)
            if self._kept > self._reply_limits.event:
                raise self._reply_limits.too_large("event")
        before = values_in(encode(self._top[key])) if key in self._top else -_PER_FIELD
        self._room.take(values_in(encoded) - before)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index")
        if not isinstance(index, int):
            index = count_of(index) or 0
        answer = self._answers.get(index)
        if answer is None:
            if len(self._answers) == self._reply_limits.choices:
                raise self._reply_limits.too_large("choices")
            answer = self._answers[index] = _Answer(self._tools, self._reply_limits, self._room)
        for key, value in choice.items():
            if value is None or key == "index":
                continue
            if key == "delta":
                answer.add(_object(value, key))
            elif key == "finish_reason":
                answer.finish_reason = _str(value) or answer.finish_reason
            elif key != "message":
                answer.keep(answer.more, key, value)
            elif choice.get("delta") is None:
                answer.add(_object(value, key))
            else:
                answer.repeat(_object(value, key))

    def _add_usage(self, usage: Mapping[str, Any]) -> None:
        if usage:
            self._usage = usage_of(usage)

    def response(self) -> ChatResponse:
        """Give the reply.

        Raises:
            IncompleteReply: If an answer has no finish reason, or there is none, and the terminator had not come.
            MalformedReply: If nothing that came was an answer.
        """
        finished = self._answers and all(each.finish_reason for each in self._answers.values())
        if not (finished or self.terminated):
            raise IncompleteReply(
                "the stream ended before the answer did: no finish reason and no [DONE]; no call in it was run",
                self.text,
                self.calls,
            )
        if not self._answers:
            raise MalformedReply("the reply has no choices", encode(self._top).decode())
        return ChatResponse(
            tuple(answer.choice(self._origin) for _, answer in sorted(self._answers.items())),
            self._usage,
            _str(self._top.get("id")) or None,
            _str(self._top.get("model")) or None,
            {key: value for key, value in self._top.items() if key not in _KNOWN_TOP},
        )


def join(chunks: Iterable[ChatChunk], tools: Collection[str] = (), *, terminated: bool = False) -> ChatResponse:
    """Fold the chunks of a stream into the reply that they are pieces of.

    Args:
        chunks: The chunks in the order in which they came.
        tools: The names of the tools that were offered.
        terminated: Whether the stream's terminator, `[DONE]`, came after them.

    Returns:
        The reply. However a reply is cut into chunks, it is the same.

    Raises:
        IncompleteReply: If the stream was cut before the answer's end.
        MalformedReply: If what came is not an answer.
    """
    assembly = Assembly(tools)
    for chunk in chunks:
        assembly.add(chunk)
    assembly.terminated = terminated
    return assembly.response()


def _object(value: Any, what: str) -> dict[str, Any]:
    """Give an object as it is; what is empty is one without fields."""
    if not value:
        return {}
    if not isinstance(value, dict):
        raise MalformedReply(f"the reply's {what} is not an object", encode(value).decode())
    return cast("dict[str, Any]", value)


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    """Give the objects of a list, without its nulls; an object alone is a list of one."""
    if not isinstance(value, list):
        return [_object(value, what)] if value else []
    found = cast("list[dict[str, Any]]", value)
    for each in found:
        if type(each) is not dict:
            return [_object(each, f"part of {what}") for each in found if each]
    return found


def _joined(values: list[object]) -> object:
    """Join the fragments of an unknown field (rule 8)."""
    if all(isinstance(each, str) for each in values):
        return whole("".join(cast("list[str]", values)))
    return _merged(values)


def _merged(values: list[object]) -> object:
    """Put lists one after another and objects into one; of anything else the last holds."""
    if all(isinstance(each, list) for each in values):
        return list(chain.from_iterable(cast("list[list[object]]", values)))
    if not all(isinstance(each, dict) for each in values):
        return values[-1]
    fields: dict[str, list[object]] = {}
    for each in cast("list[dict[str, object]]", values):
        for key, value in each.items():
            fields.setdefault(key, []).append(value)
    return {key: _merged([each for each in found if each is not None] or [None]) for key, found in fields.items()}


def _str(value: object) -> str:
    """Give a text as it is and a number as its digits (some endpoints count their ids)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""
