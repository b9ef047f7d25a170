"""Assembles a reply from its chunks; a plain body is one chunk with everything. No I/O.

Real endpoints leave out, repeat and reorder the parts of a streamed call. These rules accept every form that has been
seen and has one meaning:

1. null is the same as absent, at every level.
2. A fragment with an index belongs to the call that was opened last at that index. It opens another call if it has a
   name and a new id after that call had arguments or its whole name; without ids, if it has another tool's whole name.
   A fragment without an index belongs to the call with its id, else to the last call. A new id or a name opens a call,
   unless the last call still lacks it. If a call's name comes again after arguments that are a whole object, another
   object begins another call, whatever its id. In a whole message, each entry with a name is a call.
3. The first fragment of a name sets it. A later one is appended if that leads to a tool's name. Else, if it equals the
   name so far or the name was complete, it is a repetition; any other is appended.
4. The first id that is not empty counts. A call without an id, or with one that is taken, gets a new one here.
5. Fragments of arguments are joined; arguments that come as an object are encoded.
6. A reply is whole if every answer has a finish reason, or the terminator came.
7. A whole message beside a delta repeats the deltas; it counts only if they were empty.
8. Of an unknown field, strings of a message, lists and objects grow with each fragment; of anything else, the last
   counts.
9. The caller who would run a call checks that its arguments are whole. Sizes are checked while they grow.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias, TypeVar, cast, get_origin

from agentkit.core.chat import ChatChunk, ChatResponse, Choice, text_of
from agentkit.core.errors import IncompleteReply, MalformedReply
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import decode, encode, object_of, whole
from agentkit.core.messages import AssistantMessage, ToolCall, Usage
from agentkit.core.reply_limits import ReplyLimits, Room, values_in
from agentkit.core.usage import count_of, usage_of

_KNOWN_TOP = frozenset({"id", "object", "created", "model", "choices", "usage"})
_KNOWN_CALL = frozenset({"index", "id", "type", "function"})
_SIZES = ReplyLimits()
_ID_LENGTH = 40  # the longest id that endpoints accept
_MOST_CHECKS = 100  # of whether arguments are whole, each of which reads all of them
_PER_FIELD = 3  # how many values the name of a field counts as
_Fragments: TypeAlias = dict[str, list[object]]
T = TypeVar("T")


def _empty(kind: type[T]) -> Callable[[], T]:
    """Return what makes an empty list or dict: `list[str]()` takes four times as long as `list()`."""
    return cast("Callable[[], T]", get_origin(kind))


@dataclass(slots=True, eq=False, repr=False)
class _Call:
    """A call under construction."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=_empty(list[str]))
    length: int = 0
    again: bool = False  # whether the name came again after arguments
    checks: int = 0
    extra: _Fragments = field(default_factory=_empty(dict[str, list[object]]))

    def ends_before(self, call_id: str, name: str, tools: Collection[str]) -> bool:
        """Whether a fragment at this call's index begins another call (rule 2)."""
        if call_id and call_id == self.id:
            return False
        if call_id and self.id:
            return bool(self.arguments) or self.name in tools
        return name != self.name and name in tools and self.name in tools

    def lacks(self, call_id: str, name: str, tools: Collection[str]) -> bool:
        """Whether a fragment without an index belongs to this call, the last one (rule 2)."""
        if call_id and self.id:
            return False
        return not name or not self.name or (not self.arguments and self._leads_to_tool(name, tools))

    def is_followed_by(self, name: str, text: str) -> bool:
        """Whether a fragment of arguments begins another call, because this one is whole (rule 2)."""
        self.again = self.again or bool(name and self.arguments)
        if not (self.again and text.startswith("{") and self.arguments[-1].rstrip().endswith("}")):
            return False
        self.checks += 1  # each check reads all of the arguments
        return self.checks <= _MOST_CHECKS and _is_object("".join(self.arguments))

    def add(self, name: str, text: str, tools: Collection[str]) -> None:
        if name and ((name != self.name and self.name not in tools) or self._leads_to_tool(name, tools)):
            self.name += name
        if text:
            self.arguments.append(text)
            self.length += len(name) + len(text)

    def _leads_to_tool(self, name: str, tools: Collection[str]) -> bool:
        """Whether a fragment of a name leads to the name of a tool (rule 3)."""
        repeated = name == self.name and name in tools
        return not repeated and any(tool.startswith(self.name + name) for tool in tools)


@dataclass(slots=True, eq=False, repr=False)
class _Answer:
    """One answer under construction: one index of `choices`."""

    tools: Collection[str]
    reply_limits: ReplyLimits
    room: Room
    text: list[str] = field(default_factory=_empty(list[str]))
    refusal: list[str] = field(default_factory=_empty(list[str]))
    calls: list[_Call] = field(default_factory=_empty(list[_Call]))
    at: dict[object, _Call] = field(default_factory=_empty(dict[object, _Call]))
    by_id: dict[str, _Call] = field(default_factory=_empty(dict[str, _Call]))
    finish_reason: str | None = None
    extra: _Fragments = field(default_factory=_empty(dict[str, list[object]]))
    more: _Fragments = field(default_factory=_empty(dict[str, list[object]]))
    message: dict[str, Any] = field(default_factory=_empty(dict[str, Any]))

    def add(self, delta: Mapping[str, Any], *, whole_message: bool = False) -> None:
        for key, value in delta.items():
            if value is None or key == "role":
                continue
            if key == "content":
                self.text.append(value if isinstance(value, str) else text_of(value))
            elif key == "tool_calls":
                for entry in _objects(value, key):
                    self._add_call(entry, opens=whole_message)
            elif key == "refusal":
                self.refusal.append(_str(value))
            elif key != "function_call":
                self.keep(self.extra, key, value)
            elif not delta.get("tool_calls"):
                self._add_call({"index": 0, "function": value})

    def _add_call(self, entry: Mapping[str, Any], *, opens: bool = False) -> None:
        function = object_of(entry.get("function"))
        name, call_id = _str(function.get("name")), _str(entry.get("id"))
        arguments = _written(function.get("arguments"))
        if not (name or call_id or arguments):
            return
        index = entry.get("index")
        if opens and name:
            call = self._open()
        else:
            call = self._by_order(call_id, name) if index is None else self._by_index(str(index), call_id, name)
            if (name or call.again) and call.is_followed_by(name, arguments.lstrip()):
                name, call_id = name or call.name, call_id or call.id
                call = self.at[str(index)] = self.by_id[call_id] = self._open()
        if call_id and not call.id:
            call.id = call_id
            self.by_id.setdefault(call_id, call)
        call.add(name, arguments, self.tools)
        if call.length > self.reply_limits.arguments:
            raise self.reply_limits.too_large("arguments")
        if not _KNOWN_CALL.issuperset(entry):
            for key, value in entry.items():
                if key not in _KNOWN_CALL and value is not None:
                    self.keep(call.extra, key, value)

    def _by_index(self, index: str, call_id: str, name: str) -> _Call:
        call = self.at.get(index)
        if call is None and not name:
            call = self.by_id.get(call_id)
        if call is None or (name and call.ends_before(call_id, name, self.tools)):
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

    def keep(self, fields: _Fragments, key: str, value: object) -> None:
        """Add a fragment of an unknown field."""
        values, size = _measured(value)
        self.room.take(values + (0 if key in fields else _PER_FIELD), size)
        fields.setdefault(key, []).append(value)

    def repeat(self, message: dict[str, Any]) -> None:
        """Keep a whole message that came beside a delta, in case the deltas are empty (rule 7)."""
        self.room.take(values_in(encode(message)) - values_in(encode(self.message)))
        self.message = message

    def tool_calls(self) -> tuple[ToolCall, ...]:
        sent_ids = {call.id for call in self.calls}
        taken: set[str] = set()
        calls: list[ToolCall] = []
        for number, call in enumerate(self.calls):
            call_id = call.id
            if not call_id or call_id in taken:
                call_id = f"call_{number}_{call.name}"[:_ID_LENGTH]
                while call_id in sent_ids:
                    call_id += "_"
            taken.add(call_id)
            arguments = whole("".join(call.arguments))
            extra = {key: _merged(values) for key, values in call.extra.items()}
            calls.append(ToolCall(call_id, whole(call.name), arguments if arguments.strip() else "{}", extra))
        return tuple(calls)

    def choice(self, origin: str | None) -> Choice:
        if not (self.calls or any(self.text) or any(self.refusal)):
            self.add(self.message, whole_message=True)
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
    """A reply under construction. Add chunks as they come; `response` returns the reply once it is whole.

    Set `terminated` before that if the stream's terminator, `[DONE]`, came. `tools` are the names in the request: a
    call's name is complete once it is one of them. A message with fields that only one endpoint knows has its `origin`.
    `finished` is how many answers have their finish reason.
    """

    def __init__(
        self, tools: Collection[str] = (), reply_limits: ReplyLimits = _SIZES, origin: str | None = None
    ) -> None:
        self._tools = tools
        self._reply_limits = reply_limits
        self._origin = origin
        self._answers: dict[int, _Answer] = {}
        self._top: dict[str, object] = {}
        self._room = Room(reply_limits)
        self._usage: Usage | None = None
        self.terminated = False
        self.finished = 0

    @property
    def usage(self) -> Usage | None:
        """The usage, if the endpoint has reported it."""
        return self._usage

    @property
    def text(self) -> str:
        """The text of the first answer so far."""
        return whole("".join(self._answers[0].text)) if 0 in self._answers else ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of the first answer so far."""
        return self._answers[0].tool_calls() if 0 in self._answers else ()

    def add(self, chunk: ChatChunk) -> None:
        """Add the next chunk, or raise `MalformedReply` or `ReplyTooLarge`."""
        for key, value in chunk.data.items():
            if value is None:
                continue
            if key == "choices":
                for choice in _objects(value, key):
                    self._add_choice(choice)
            elif key == "usage":
                if usage := _object(value, key):
                    self._usage = usage_of(usage)
            elif self._top.get(key) != value:  # most chunks of a stream repeat it
                if key not in _KNOWN_TOP or not isinstance(value, str | int):
                    self._count(key, value)
                self._top[key] = value

    def _count(self, key: str, value: object) -> None:
        """Count the size of a top-level field, which replaces its earlier value."""
        values, size = _measured(value)
        before = _measured(self._top[key])[0] if key in self._top else -_PER_FIELD
        self._room.take(values - before, 0 if key in self._top or key in _KNOWN_TOP else size)

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
                before, answer.finish_reason = answer.finish_reason, _str(value) or answer.finish_reason
                self.finished += bool(answer.finish_reason and not before)
            elif key != "message":
                answer.keep(answer.more, key, value)
            elif choice.get("delta") is None:
                answer.add(_object(value, key), whole_message=True)
            else:
                answer.repeat(_object(value, key))

    def response(self, sent: HttpRequest | None = None) -> ChatResponse:
        """Return the reply; `IncompleteReply` if it was cut (rule 6), `MalformedReply` if it has no answer."""
        if not (self.terminated or (self.finished and self.finished == len(self._answers))):
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
            sent=sent,
        )


def _measured(value: object) -> tuple[int, int]:
    """Return how many values a field has at most, and its size."""
    if isinstance(value, str):
        return 1, len(value)
    encoded = encode(value)
    return values_in(encoded), len(encoded)


def _object(value: Any, what: str) -> dict[str, Any]:
    """Return an object; anything empty is an object without fields."""
    if not value:
        return {}
    if not isinstance(value, dict):
        raise MalformedReply(f"the reply's {what} is not an object", encode(value).decode())
    return cast("dict[str, Any]", value)


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    """Return the objects in a list, without nulls; an object alone is a list of one."""
    if not isinstance(value, list):
        return [_object(value, what)] if value else []
    items = cast("list[dict[str, Any]]", value)
    for item in items:
        if type(item) is not dict:
            return [_object(item, f"part of {what}") for item in items if item]
    return items


def _written(arguments: object) -> str:
    """Return a fragment of arguments as text; some endpoints send the object itself."""
    if arguments is None or arguments == {}:
        return ""
    return arguments if isinstance(arguments, str) else encode(arguments).decode()


def _is_object(text: str) -> bool:
    try:
        return isinstance(decode(text), dict)
    except ValueError:
        return False


def _joined(values: list[object]) -> object:
    """Join the fragments of an unknown field (rule 8)."""
    if all(isinstance(value, str) for value in values):
        return whole("".join(cast("list[str]", values)))
    return _merged(values)


def _merged(values: list[object]) -> object:
    """Join lists, merge objects; of anything else, return the last."""
    if all(isinstance(value, list) for value in values):
        return list(chain.from_iterable(cast("list[list[object]]", values)))
    if not all(isinstance(value, dict) for value in values):
        return values[-1]
    fields: _Fragments = {}
    for fragment in cast("list[dict[str, object]]", values):
        for key, value in fragment.items():
            fields.setdefault(key, []).append(value)
    return {key: _merged([part for part in parts if part is not None] or [None]) for key, parts in fields.items()}


def _str(value: object) -> str:
    """Return a string, or a number's digits: some endpoints number their ids. Anything else is empty."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
