"""What an endpoint may reply: well-formed replies, raw bytes, and faults of either."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

from agentkit.core.errors import ConfigurationError

Json: TypeAlias = Mapping[str, Any]

Then: TypeAlias = Literal["end", "close", "reset", "stall"]
"""How a reply goes on after its last byte: it ends as it should, and the connection is kept; or the connection is
closed, is reset, or stays open with nothing more coming."""

_PIECE = 3
_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


@dataclass(frozen=True, slots=True)
class Repeat:
    """Bytes that come again and again.

    Attributes:
        data: The bytes.
        times: How often, all in one write; `None` for a write each, without end.
    """

    data: bytes
    times: int | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigurationError("there is nothing to repeat")

    def __len__(self) -> int:
        return len(self.data) * (1 if self.times is None else self.times)


class Reply(Protocol):
    """Anything that an endpoint can play. One of your own needs this method."""

    def raw(self, request: Json, /) -> "Raw":
        """Give the reply to a request, byte by byte."""
        ...


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply byte by byte.

    If the headers have neither a `content-length` nor a `transfer-encoding`, a reply that ends as it should gets a
    length, and any other is one whose body lasts until the connection is closed. With `transfer-encoding: chunked` each
    write is a chunk.

    Attributes:
        writes: The body; each write is sent by itself.
        status: The HTTP status; `None` for no byte at all, not even a status.
        headers: The headers.
        then: How it goes on after the last byte.
        pause: Seconds before each write.
    """

    writes: Sequence[bytes | Repeat] = ()
    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    then: Then = "end"
    pause: float = 0.0

    @property
    def size(self) -> int:
        """How many bytes the body has. What is repeated without end counts once."""
        return sum(map(len, self.writes))

    def raw(self, request: Json) -> "Raw":  # noqa: ARG002 (the same for every request)
        """Give itself."""
        return self


@dataclass(frozen=True, slots=True)
class Said:
    """A well-formed reply, streamed or plain as the request asks."""

    content: str | None
    calls: tuple[tuple[str, object], ...]
    finish_reason: str
    usage: tuple[int, int]

    def raw(self, request: Json) -> Raw:
        """Give the reply to a request, byte by byte."""
        base = {"id": "chatcmpl-1", "created": 1, "model": request.get("model", "m")}
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        # An id is used once in a conversation, so it tells how far the conversation is.
        turn = len(request.get("messages", ()))
        calls = [_call(f"call_{turn}_{at}", *call) for at, call in enumerate(self.calls)]
        if calls:
            message["tool_calls"] = calls
        asked, answered = self.usage
        usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
            body = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return Raw([json.dumps(body).encode()], headers=_JSON)
        chunks: list[Json] = [{"choices": [{"index": 0, **each}]} for each in self._deltas(calls)]
        options: Json = request.get("stream_options") or {}
        if options.get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        events = [json.dumps({**base, "object": "chat.completion.chunk", **each}) for each in chunks]
        return Raw([f"data: {each}\n\n".encode() for each in [*events, "[DONE]"]], headers=_STREAM)

    def _deltas(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the choices of a stream: a text by the word, arguments by a few characters."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        words = self.content.split(" ") if self.content else []
        deltas += [{"content": f" {word}" if at else word} for at, word in enumerate(words)]
        for index, call in enumerate(calls):
            written = call["function"]["arguments"]
            begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            pieces = [written[at : at + _PIECE] for at in range(0, len(written), _PIECE)]
            entries = [begun, *({"index": index, "function": {"arguments": piece}} for piece in pieces)]
            deltas += [{"tool_calls": [entry]} for entry in entries]
        choices: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} for delta in deltas]
        return [*choices, {"delta": {}, "finish_reason": self.finish_reason}]


def _call(call_id: str, name: str, arguments: object) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": written}}


def answer(text: str, *, finish_reason: str = "stop", usage: tuple[int, int] = (10, 5)) -> Said:
    """Reply with a text.

    Args:
        text: The text.
        finish_reason: Why it ended.
        usage: The tokens of the prompt and of the reply.
    """
    return Said(text, (), finish_reason, usage)


def calling(
    *calls: tuple[str, object],
    content: str | None = None,
    finish_reason: str = "tool_calls",
    usage: tuple[int, int] = (10, 5),
) -> Said:
    """Reply with calls.

    Args:
        calls: Each a tool's name and its arguments: an object, or the text as a model might write it.
        content: A text beside them.
        finish_reason: Why it ended.
        usage: The tokens of the prompt and of the reply.
    """
    return Said(content, calls, finish_reason, usage)


def status(code: int, headers: Mapping[str, str] | None = None, body: object = b"") -> Raw:
    """Reply with a status.

    Args:
        code: The HTTP status.
        headers: The headers.
        body: The body: bytes, or what becomes JSON.
    """
    if isinstance(body, bytes):
        return Raw([body] if body else [], code, headers or {})
    return Raw([json.dumps(body).encode()], code, _JSON | dict(headers or {}))


def refuse(then: Literal["close", "reset", "stall"] = "close") -> Raw:
    """Take a request and reply with no byte at all.

    Args:
        then: What becomes of the connection.
    """
    return Raw(status=None, then=then)


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply that is cut; without one, whichever is next (see `chaos`)."""

    reply: Reply | None
    after_bytes: int | None
    after_chunks: int | None
    then: Then

    def raw(self, request: Json) -> Raw:
        """Give the reply to a request, byte by byte."""
        if self.reply is None:
            raise ConfigurationError("a cut without a reply is for faults={…}: there it cuts the reply that is next")
        whole = self.reply.raw(request)
        writes = list(whole.writes[: self.after_chunks])
        if self.after_bytes is not None:
            writes = _first(self.after_bytes, writes)
        if self.then == "end":
            return replace(whole, writes=writes)
        # The reply promises the whole, so that the client can tell.
        return replace(whole, writes=writes, headers=framed(whole), then=self.then)


def cut(
    reply: Reply | None = None,
    *,
    after_bytes: int | None = None,
    after_chunks: int | None = None,
    then: Then = "reset",
) -> Cut:
    """Cut a reply: its headers promise the whole body, and its beginning comes.

    Args:
        reply: The reply. Without it, as one of the `faults` of `chaos`, the reply that is next is cut.
        after_bytes: How many bytes of the body come.
        after_chunks: How many writes of the body come; of a stream, these are its events.
        then: How it goes on; with `"end"` the body ends there as if it were whole.

    Raises:
        ConfigurationError: If there is not exactly one place to cut, or it is before the beginning.
    """
    place = after_chunks if after_bytes is None else after_bytes
    if place is None or place < 0 or (after_bytes is not None and after_chunks is not None):
        raise ConfigurationError("a cut needs one place, 0 or more: after_bytes=… or after_chunks=…")
    return Cut(reply, after_bytes, after_chunks, then)


@dataclass(frozen=True, slots=True)
class Bytewise:
    """A reply whose body comes byte by byte."""

    reply: Reply

    def raw(self, request: Json) -> Raw:
        """Give the reply to a request, byte by byte."""
        whole = self.reply.raw(request)
        writes: list[bytes | Repeat] = []
        for each in whole.writes:
            writes += [each] if isinstance(each, Repeat) else [each[at : at + 1] for at in range(len(each))]
        return replace(whole, writes=writes)


def bytewise(reply: Reply) -> Bytewise:
    """Send each byte of a reply's body by itself. What is repeated stays as it is."""
    return Bytewise(reply)


def framed(raw: Raw) -> dict[str, str]:
    """Give a reply's headers, with those that tell where its body ends."""
    headers = {name.lower(): value for name, value in raw.headers.items()}
    if "content-length" in headers or "transfer-encoding" in headers:
        return headers
    return headers | ({"content-length": str(raw.size)} if raw.then == "end" else {"connection": "close"})


def _first(count: int, writes: list[bytes | Repeat]) -> list[bytes | Repeat]:
    """Give the first bytes of a body. What is repeated without end is enough for any number."""
    first: list[bytes | Repeat] = []
    for each in writes:
        if count <= 0:
            break
        if isinstance(each, Repeat):
            many = -(-count // len(each.data)) if each.times is None else each.times
            first.append((each.data * many)[:count])
        else:
            first.append(each[:count])
        count -= len(first[-1])
    return first
