"""Putting replies together: a pure fold of chunks into a reply.

A plain body is one chunk that says it all.

Real endpoints leave out, repeat and reorder the parts of a streamed call. The rules here take every form that has been
seen and is unambiguous:

1. null is the same as absent, at every level.
2. A fragment of a call belongs to the call last opened at its index, unless it brings a new id and a name of its own
   after that call had arguments or its whole name: then it opens another. Without an index it belongs to the call
   with its id, else to the last call opened; a new id or a name opens one.
3. The first fragment of a name sets it. One that equals the name so far, or comes after the name was complete, repeats
   it; any other is joined on.
4. The first id that is not empty holds. A call without one, or with one that is taken, gets an id made here.
5. Fragments of arguments are joined; arguments that come as an object are taken as they are.
6. A reply is whole if a finish reason or the terminator came.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from agentkit._json import encode, list_of, object_of
from agentkit.errors import IncompleteReply, MalformedReply
from agentkit.messages import AssistantMessage, ToolCall, Usage
from agentkit.wire import ChatChunk, ChatResponse, Choice

_KNOWN_TOP = frozenset({"id", "object", "created", "model", "choices", "usage"})
_KNOWN_DELTA = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "name"})


class _Call:
    """A call under construction."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def opened_anew_by(self, call_id: str, name: str, tools: Collection[str]) -> bool:
        """Tell whether a fragment at this call's index is the beginning of another call (rule 2)."""
        other = bool(call_id and name and call_id != self.id)
        return other and (bool(self.arguments) or self.name in tools)

    def add(self, call_id: str, name: str, arguments: object, tools: Collection[str]) -> None:
        self.id = self.id or call_id
        if name and name != self.name and self.name not in tools:
            self.name += name
        if isinstance(arguments, str):
            if arguments:
                self.arguments.append(arguments)
        elif arguments is not None:
            self.arguments.append(encode(arguments).decode())


class _Answer:
    """One answer under construction: what one index of `choices` adds up to."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[_Call] = []
        self.at: dict[int, _Call] = {}
        self.finish_reason: str | None = None
        self.extra: dict[str, object] = {}

    def add(self, delta: Mapping[str, object], tools: Collection[str]) -> None:
        _add_text(self.text, delta.get("content"))
        _add_text(self.refusal, delta.get("refusal"))
        for entry in list_of(delta.get("tool_calls")):
            self._add_call(object_of(entry), tools)
        if legacy := object_of(delta.get("function_call")):
            self._add_call({"index": 0, "function": legacy}, tools)
        for key in delta.keys() - _KNOWN_DELTA:
            _merge(self.extra, key, delta[key])

    def _add_call(self, entry: Mapping[str, object], tools: Collection[str]) -> None:
        function = object_of(entry.get("function"))
        name, call_id = _str(function.get("name")), _str(entry.get("id"))
        index = entry.get("index")
        if isinstance(index, int):
            call = self.at.get(index)
            if call is None or call.opened_anew_by(call_id, name, tools):
                call = self.at[index] = self._open()
        else:
            call = next((each for each in self.calls if call_id and each.id == call_id), None)
            if call is None:
                call = self._open() if call_id or name or not self.calls else self.calls[-1]
        call.add(call_id, name, function.get("arguments"), tools)

    def _open(self) -> _Call:
        self.calls.append(_Call())
        return self.calls[-1]

    def choice(self) -> Choice:
        taken: set[str] = set()
        calls: list[ToolCall] = []
        for number, each in enumerate(self.calls):
            call_id = each.id if each.id and each.id not in taken else f"call_{number}_{each.name}"
            taken.add(call_id)
            calls.append(ToolCall(call_id, each.name, "".join(each.arguments) or "{}"))
        message = AssistantMessage(
            "".join(self.text) or None, tuple(calls), "".join(self.refusal) or None, extra=self.extra
        )
        return Choice(message, self.finish_reason)


class Assembly:
    """A reply under construction. Add chunks as they come; `response` gives the reply once it is whole.

    Args:
        tools: The names of the tools that were offered: a call's name is complete once it is one of them.
    """

    def __init__(self, tools: Collection[str] = ()) -> None:
        self._tools = tools
        self._answers: dict[int, _Answer] = {}
        self._top: dict[str, object] = {}
        self._usage: Usage | None = None
        self.terminated = False

    @property
    def text(self) -> str:
        """The text of the first answer so far."""
        return "".join(self._answers[0].text) if 0 in self._answers else ""

    def add(self, chunk: ChatChunk) -> None:
        """Add the next chunk.

        Raises:
            MalformedReply: If the chunk's choices are not a list of objects.
        """
        data = chunk.data
        choices = data.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise MalformedReply("the reply's choices are not a list", encode(data).decode())
        for entry in cast("list[object]", choices or ()):
            choice = object_of(entry)
            index = choice.get("index")
            at = index if isinstance(index, int) else 0
            answer = self._answers.get(at)
            if answer is None:
                answer = self._answers[at] = _Answer()
            # The whole message beside a delta repeats what the deltas said.
            said = choice["delta"] if "delta" in choice else choice.get("message")
            if said:
                answer.add(object_of(said), self._tools)
            answer.finish_reason = _str(choice.get("finish_reason")) or answer.finish_reason
        if usage := object_of(data.get("usage")):
            self._usage = Usage(1, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        for key, value in data.items():
            if value is not None and key not in _UNSTORED:
                self._top[key] = value

    def response(self) -> ChatResponse:
        """Give the reply.

        Raises:
            IncompleteReply: If neither a finish reason nor the terminator had come.
            MalformedReply: If nothing that came was an answer.
        """
        finished = any(each.finish_reason for each in self._answers.values())
        if not (finished or self.terminated):
            raise IncompleteReply(
                "the stream ended before the answer did: no finish reason and no [DONE]; no call in it was run",
                self.text,
            )
        if not self._answers:
            raise MalformedReply("the reply has no choices", encode(self._top).decode())
        return ChatResponse(
            tuple(answer.choice() for _, answer in sorted(self._answers.items())),
            self._usage,
            _str(self._top.get("id")) or None,
            _str(self._top.get("model")) or None,
            {key: value for key, value in self._top.items() if key not in _KNOWN_TOP},
        )


_UNSTORED = frozenset({"choices", "usage"})


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


def _add_text(parts: list[str], content: object) -> None:
    """Add a text, or the text blocks of a list of blocks; thinking and other blocks are not the answer."""
    if isinstance(content, str):
        if content:
            parts.append(content)
        return
    for block in list_of(content):
        if isinstance(block, str):
            parts.append(block)
        elif object_of(block).get("type") in ("text", "output_text"):
            parts.append(_str(object_of(block).get("text")))


def _merge(into: dict[str, object], key: str, value: object) -> None:
    """Keep an unknown field: texts and lists grow by each fragment, of anything else the last holds."""
    have = into.get(key)
    if isinstance(have, str) and isinstance(value, str):
        into[key] = have + value
    elif isinstance(have, list) and isinstance(value, list):
        into[key] = [*cast("list[object]", have), *cast("list[object]", value)]
    elif value is not None:
        into[key] = value


def _str(value: object) -> str:
    """Give a text as it is and a number as its digits (some endpoints count their ids)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
