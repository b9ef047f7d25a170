"""Replies as the wire has them: chunks of a stream, and the one body that says the same."""

from collections import deque
from dataclasses import dataclass
from secrets import token_hex
from time import time
from typing import Protocol, TypeAlias

from anyio import Event, move_on_after

from agentkit.core.json import encode
from agentkit.core.messages import ToolCall, Usage
from agentkit.server.asgi import JSON, Exchange
from agentkit.server.request import Asked


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the text, or of a refusal."""

    index: int
    text: str
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened on the server."""

    index: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Called:
    """Calls that the client is to run."""

    index: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a choice."""

    index: int
    finish_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a choice that is none.

    Attributes:
        index: Which.
        error: Why.
        acted: Whether tools had run.
    """

    index: int
    error: BaseException
    acted: bool


Piece: TypeAlias = Text | Told | Called | Ended | Failed


class Channel:
    """From the runs to the reply. What a run says never waits; it is no more than its history, which it keeps too."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._wake = Event()

    def put(self, piece: Piece) -> None:
        """Say something."""
        self._pieces.append(piece)
        self._wake.set()

    async def get(self, seconds: float) -> Piece | None:
        """Give the next piece; `None` if nothing was said for so long."""
        if not self._pieces:
            self._wake = Event()
            with move_on_after(seconds):
                await self._wake.wait()
        return self._pieces.popleft() if self._pieces else None


_STREAM = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_ALIVE = b": still at work\n\n"
_DONE = b"data: [DONE]\n\n"


class Reply(Protocol):
    """What is made of the pieces of a reply."""

    async def take(self, piece: Piece | None) -> None:
        """Take the next piece; `None` says that there was none for a while."""
        ...

    async def end(self) -> None:
        """Close the reply."""
        ...


def reply_to(asked: Asked, exchange: Exchange) -> Reply:
    """Give what makes the reply that a client asks for."""
    head = {"id": f"chatcmpl-{token_hex(12)}", "created": int(time()), "model": asked.model}
    if asked.stream:
        return Streamed(exchange, {"object": "chat.completion.chunk", **head}, asked)
    return Plain(exchange, {"object": "chat.completion", **head}, asked)


@dataclass(slots=True)
class _Answer:
    """One choice, as far as it has come."""

    text: str | None = None
    refusal: str | None = None
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None

    def add(self, piece: Piece) -> None:
        match piece:
            case Text(text=text, refusal=True):
                self.refusal = (self.refusal or "") + text
            case Text(text=text):
                self.text = (self.text or "") + text
            case Called(calls=calls):
                self.calls = calls
            case Ended(finish_reason=reason):
                self.finish_reason = reason
            case _:
                pass

    def to_dict(self, index: int) -> dict[str, object]:
        silent = None if self.calls or self.refusal else ""
        content = silent if self.text is None else self.text
        message: dict[str, object] = {"role": "assistant", "content": content, "refusal": self.refusal}
        if self.calls:
            message["tool_calls"] = [call.to_dict() for call in self.calls]
        return {"index": index, "message": message, "logprobs": None, "finish_reason": self.finish_reason}


class Plain:
    """One body, when all is said."""

    def __init__(self, exchange: Exchange, head: dict[str, object], asked: Asked) -> None:
        self._exchange = exchange
        self._head = head
        self._answers = [_Answer() for _ in range(asked.n)]
        self._usage = Usage()

    async def take(self, piece: Piece | None) -> None:
        """Take the next piece."""
        if piece is not None:
            self._answers[piece.index].add(piece)
        if isinstance(piece, Ended):
            self._usage += piece.usage

    async def end(self) -> None:
        """Send the body."""
        choices = [each.to_dict(at) for at, each in enumerate(self._answers)]
        body = {**self._head, "choices": choices, "usage": _usage(self._usage)}
        await self._exchange.reply(200, encode(body), JSON)


class Streamed:
    """A chunk for each piece. The stream begins with the first, so that an error before it has a status of its own."""

    def __init__(self, exchange: Exchange, head: dict[str, object], asked: Asked) -> None:
        self._exchange = exchange
        self._head = {**head, "usage": None} if asked.usage else head
        self._asked = asked
        self._usage = Usage()

    async def take(self, piece: Piece | None) -> None:
        """Send a piece, or a comment that keeps the connection."""
        await self._begin()
        match piece:
            case Text(index=index, text=text, refusal=refusal):
                await self._delta(index, {"refusal" if refusal else "content": text})
            case Called(index=index, calls=calls):
                entries = [{"index": at, **call.to_dict()} for at, call in enumerate(calls)]
                await self._delta(index, {"tool_calls": entries})
            case Ended(index=index, finish_reason=reason, usage=usage):
                self._usage += usage
                await self._delta(index, {}, reason)
            case Told(data=data):
                await self._write({"choices": [], "agentkit": data})
            case _:
                await self._exchange.write(_ALIVE)

    async def end(self) -> None:
        """Send what it cost, if that is asked for, and the end."""
        if self._asked.usage:
            await self._write({"choices": [], "usage": _usage(self._usage)})
        await self._exchange.write(_DONE)
        await self._exchange.end()

    async def _begin(self) -> None:
        if not self._exchange.begun:
            await self._exchange.begin(200, _STREAM)
            for index in range(self._asked.n):
                await self._delta(index, {"role": "assistant", "content": ""})

    async def _delta(self, index: int, delta: dict[str, object], finish_reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._write({"choices": [choice]})

    async def _write(self, data: dict[str, object]) -> None:
        await self._exchange.write(b"data: " + encode({**self._head, **data}) + b"\n\n")


def _usage(usage: Usage) -> dict[str, object] | None:
    """Give what it cost; nothing where no endpoint said it, which is not the same as zero."""
    if usage.total_tokens is None:
        return None
    counts: dict[str, object] = {
        "prompt_tokens": usage.prompt_tokens or 0,
        "completion_tokens": usage.completion_tokens or 0,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return counts
