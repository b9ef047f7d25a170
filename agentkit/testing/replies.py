"""Replies of a fake endpoint: well-formed replies, raw bytes, and faults of both."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Literal, Protocol, TypeAlias

from agentkit.core.errors import ConfigurationError

Json: TypeAlias = Mapping[str, Any]

Then: TypeAlias = Literal["end", "close", "reset", "stall"]
"""What happens after the last byte: `"end"` ends the reply and keeps the connection; the others close it, reset it, or
leave it open and silent."""

_PIECE = 3
_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


@dataclass(frozen=True, slots=True)
class Repeat:
    """Repeated bytes.

    Attributes:
        data: The bytes.
        times: How often, in one write; `None` to repeat them without end, each in its own write.
    """

    data: bytes
    times: int | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigurationError("Repeat needs at least one byte")

    def __len__(self) -> int:
        return len(self.data) * (1 if self.times is None else self.times)


class Reply(Protocol):
    """A reply of the endpoint; a class of your own needs this method."""

    def raw(self, request: Json, /) -> "Raw":
        """Return the reply to a request, byte by byte."""
        ...


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply, byte by byte.

    If the headers have neither `content-length` nor `transfer-encoding`, a reply with `then="end"` gets a length; for
    others, the end of the connection ends the body. With `transfer-encoding: chunked`, each write is a chunk.

    Attributes:
        writes: The body; each write is sent by itself.
        status: The HTTP status; `None` to send nothing.
        headers: The headers.
        then: What happens after the last byte.
        pause: Seconds before each write.
    """

    writes: Sequence[bytes | Repeat] = ()
    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    then: Then = "end"
    pause: float = 0.0

    @property
    def size(self) -> int:
        """The bytes of the body; an endless `Repeat` counts once."""
        return sum(map(len, self.writes))

    def raw(self, request: Json) -> "Raw":  # noqa: ARG002 (the same for every request)
        return self


@dataclass(frozen=True, slots=True)
class Said:
    """A well-formed reply, streamed if the request asks for it."""

    content: str | None
    calls: tuple[tuple[str, object], ...]
    finish_reason: str
    usage: tuple[int, int]

    def raw(self, request: Json) -> Raw:
        base = {"id": "chatcmpl-1", "created": 1, "model": request.get("model", "m")}
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        # Ids are unique in a conversation, so they have its length.
        turn = len(request.get("messages", ()))
        calls = [wire_call(f"call_{turn}_{at}", *call) for at, call in enumerate(self.calls)]
        if calls:
            message["tool_calls"] = calls
        asked, answered = self.usage
        usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
            body = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return Raw([json.dumps(body).encode()], headers=_JSON)
        chunks: list[Json] = [{"choices": [{"index": 0, **delta}]} for delta in self._deltas(calls)]
        options: Json = request.get("stream_options") or {}
        if options.get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        events = [json.dumps({**base, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return Raw([f"data: {event}\n\n".encode() for event in [*events, "[DONE]"]], headers=_STREAM)

    def _deltas(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the choices of a stream: one word of text each, or three characters of arguments."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        words = self.content.split(" ") if self.content else []
        deltas += [{"content": f" {word}" if at else word} for at, word in enumerate(words)]
        for index, call in enumerate(calls):
            arguments = call["function"]["arguments"]
            begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            pieces = [arguments[at : at + _PIECE] for at in range(0, len(arguments), _PIECE)]
            entries = [begun, *({"index": index, "function": {"arguments": piece}} for piece in pieces)]
            deltas += [{"tool_calls": [entry]} for entry in entries]
        choices: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} for delta in deltas]
        return [*choices, {"delta": {}, "finish_reason": self.finish_reason}]


def wire_call(call_id: str, name: str, arguments: object) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": written}}


def answer(text: str, *, finish_reason: str = "stop", usage: tuple[int, int] = (10, 5)) -> Said:
    """Reply with a text.

    Args:
        text: The text.
        finish_reason: The finish reason.
        usage: The tokens of the prompt and of the reply.
    """
    return Said(text, (), finish_reason, usage)


def calling(
    *calls: tuple[str, object],
    content: str | None = None,
    finish_reason: str = "tool_calls",
    usage: tuple[int, int] = (10, 5),
) -> Said:
    """Reply with tool calls: `calling(("get_weather", {"city": "Paris"}))`.

    Args:
        calls: The tool's name and the arguments of every call: an object, or the text that a model writes.
        content: A text beside the calls.
        finish_reason: The finish reason.
        usage: The tokens of the prompt and of the reply.
    """
    return Said(content, calls, finish_reason, usage)


def status(code: int, headers: Mapping[str, str] | None = None, body: object = b"") -> Raw:
    """Reply with a status: `status(429, {"retry-after": "1"})`.

    Args:
        code: The HTTP status.
        headers: The headers.
        body: The body: bytes, or a value that is sent as JSON.
    """
    if isinstance(body, bytes):
        return Raw([body] if body else [], code, headers or {})
    return Raw([json.dumps(body).encode()], code, _JSON | dict(headers or {}))


def refuse(then: Literal["close", "reset", "stall"] = "close") -> Raw:
    """Take a request and send nothing; `then` says what happens to the connection."""
    return Raw(status=None, then=then)


@dataclass(frozen=True, slots=True)
class Cut:
    """A truncated reply; without a reply, the next one (see `chaos`)."""

    reply: Reply | None
    after_bytes: int | None
    after_chunks: int | None
    then: Then

    def raw(self, request: Json) -> Raw:
        if self.reply is None:
            raise ConfigurationError("a cut without a reply cuts the next one, in chaos(…, faults={…})")
        whole = self.reply.raw(request)
        writes = list(whole.writes[: self.after_chunks])
        if self.after_bytes is not None:
            writes = _first_bytes(self.after_bytes, writes)
        # The headers announce the whole body, so that the client notices.
        headers = whole.headers if self.then == "end" else framed(whole)
        return replace(whole, writes=writes, headers=headers, then=whole.then if self.then == "end" else self.then)


def cut(
    reply: Reply | None = None,
    *,
    after_bytes: int | None = None,
    after_chunks: int | None = None,
    then: Then = "reset",
) -> Cut:
    """Truncate a reply: its headers announce the whole body, but only the beginning is sent.

    Args:
        reply: The reply; in the `faults` of `chaos`, it may be missing, and the next reply is cut.
        after_bytes: The bytes of the body to send.
        after_chunks: The writes of the body to send; in a stream, a write is an event.
        then: What happens then; with `"end"`, the body ends there as if it were whole.

    Raises:
        ConfigurationError: If not exactly one of `after_bytes` and `after_chunks` is given, or it is negative.
    """
    place = after_chunks if after_bytes is None else after_bytes
    if place is None or place < 0 or (after_bytes is not None and after_chunks is not None):
        raise ConfigurationError("cut needs either after_bytes or after_chunks, 0 or more")
    return Cut(reply, after_bytes, after_chunks, then)


@dataclass(frozen=True, slots=True)
class Bytewise:
    """A reply whose body is sent byte by byte."""

    reply: Reply

    def raw(self, request: Json) -> Raw:
        whole = self.reply.raw(request)
        writes: list[bytes | Repeat] = []
        for write in whole.writes:
            writes += [write] if isinstance(write, Repeat) else [write[at : at + 1] for at in range(len(write))]
        return replace(whole, writes=writes)


def bytewise(reply: Reply) -> Bytewise:
    """Send each byte of a reply's body by itself, except a `Repeat`."""
    return Bytewise(reply)


def framed(raw: Raw) -> dict[str, str]:
    """Return the headers of a reply, with those that say where the body ends."""
    headers = {name.lower(): value for name, value in raw.headers.items()}
    if "content-length" in headers or "transfer-encoding" in headers:
        return headers
    return headers | ({"content-length": str(raw.size)} if raw.then == "end" else {"connection": "close"})


def pieces(writes: Sequence[bytes | Repeat]) -> Iterator[bytes]:
    """Yield what is sent at a time, without empty writes."""
    for write in writes:
        if not isinstance(write, Repeat):
            yield from [write] if write else []  # an empty chunk would end the body
        elif write.times is not None:
            yield write.data * write.times
        else:
            yield from repeat(write.data)


def _first_bytes(count: int, writes: list[bytes | Repeat]) -> list[bytes | Repeat]:
    first: list[bytes | Repeat] = []
    for write in writes:
        if count <= 0:
            break
        if isinstance(write, Repeat):
            write = write.data * (-(-count // len(write.data)) if write.times is None else write.times)  # noqa: PLW2901
        first.append(write[:count])
        count -= len(write)
    return first
