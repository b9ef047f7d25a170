"""Responses: what the runs of a request produce, and how it is written as a stream of chunks or as one body.

Each run puts `ResponsePart`s into the request's `PartQueue`; a `StreamWriter` or a `BodyWriter` takes them from there.
"""

from collections import deque
from dataclasses import dataclass
from secrets import token_hex
from time import time
from typing import TypeAlias

from anyio import Event, move_on_after

from agentkit.core.json import encode
from agentkit.core.messages import ToolCall, Usage
from agentkit.server.asgi import JSON_HEADERS, HttpExchange
from agentkit.server.request import CompletionRequest

_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_KEEP_ALIVE = b": still at work\n\n"
_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the text, or of the model's refusal."""

    index: int
    text: str
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """An event of the agent's own: of one of its tools, or its reasoning."""

    index: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class ToolCallsChunk:
    """Calls that the client is to run."""

    index: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a choice."""

    index: int
    finish_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a choice by an error; `acted` is whether tools had run."""

    index: int
    error: BaseException
    acted: bool


ResponsePart: TypeAlias = TextChunk | ToolEvent | ToolCallsChunk | Finished | Failed


class PartQueue:
    """From the runs to the writer. It needs no bound: the parts are no larger than the run's own history."""

    def __init__(self) -> None:
        self._parts: deque[ResponsePart] = deque()
        self._wake = Event()

    def put(self, part: ResponsePart) -> None:
        self._parts.append(part)
        self._wake.set()

    async def get(self, seconds: float) -> ResponsePart | None:
        """Return the next part; `None` if there is none within so many seconds."""
        if not self._parts:
            self._wake = Event()
            with move_on_after(seconds):
                await self._wake.wait()
        return self._parts.popleft() if self._parts else None


@dataclass(slots=True)
class _ChoiceBody:
    """One choice of a body, as far as it has come."""

    text: str | None = None
    refusal: str | None = None
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None

    def add(self, part: ResponsePart | None) -> None:
        match part:
            case TextChunk(text=text, refusal=True):
                self.refusal = (self.refusal or "") + text
            case TextChunk(text=text):
                self.text = (self.text or "") + text
            case ToolCallsChunk(calls=calls):
                self.calls = calls
            case Finished(finish_reason=reason):
                self.finish_reason = reason
            case _:
                pass

    def to_dict(self, index: int) -> dict[str, object]:
        no_text = None if self.calls or self.refusal else ""
        content = no_text if self.text is None else self.text
        message: dict[str, object] = {"role": "assistant", "content": content, "refusal": self.refusal}
        if self.calls:
            message["tool_calls"] = [call.to_dict() for call in self.calls]
        return {"index": index, "message": message, "logprobs": None, "finish_reason": self.finish_reason}


class BodyWriter:
    """Writes one body at the end."""

    def __init__(self, exchange: HttpExchange, head: dict[str, object], request: CompletionRequest) -> None:
        self._exchange = exchange
        self._head = {"object": "chat.completion", **head}
        self._choices = [_ChoiceBody() for _ in range(request.n)]
        self._usage = Usage()

    async def write(self, part: ResponsePart | None) -> None:
        if part is not None:
            self._choices[part.index].add(part)
        if isinstance(part, Finished):
            self._usage += part.usage

    async def end(self) -> None:
        choices = [choice.to_dict(index) for index, choice in enumerate(self._choices)]
        body = {**self._head, "choices": choices, "usage": _usage_dict(self._usage)}
        await self._exchange.respond(200, encode(body), JSON_HEADERS)


class StreamWriter:
    """Writes a chunk per part. The stream begins at the first, so an error before it has a status of its own."""

    def __init__(self, exchange: HttpExchange, head: dict[str, object], request: CompletionRequest) -> None:
        self._exchange = exchange
        self._head = {"object": "chat.completion.chunk", **head, **({"usage": None} if request.usage else {})}
        self._request = request
        self._usage = Usage()

    async def write(self, part: ResponsePart | None) -> None:
        """Write the next part; for `None`, a comment that keeps the connection open."""
        await self._begin()
        match part:
            case TextChunk(index=index, text=text, refusal=refusal):
                await self._write_delta(index, {"refusal" if refusal else "content": text})
            case ToolCallsChunk(index=index, calls=calls):
                entries = [{"index": position, **call.to_dict()} for position, call in enumerate(calls)]
                await self._write_delta(index, {"tool_calls": entries})
            case Finished(index=index, finish_reason=reason, usage=usage):
                self._usage += usage
                await self._write_delta(index, {}, reason)
            case ToolEvent(data=data):
                await self._write_event({"choices": [], "agentkit": data})
            case _:
                await self._exchange.write(_KEEP_ALIVE)

    async def end(self) -> None:
        if self._request.usage:
            await self._write_event({"choices": [], "usage": _usage_dict(self._usage)})
        await self._exchange.write(_DONE)
        await self._exchange.end()

    async def _begin(self) -> None:
        if not self._exchange.begun:
            await self._exchange.begin(200, _STREAM_HEADERS)
            for index in range(self._request.n):
                await self._write_delta(index, {"role": "assistant", "content": ""})

    async def _write_delta(self, index: int, delta: dict[str, object], finish_reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._write_event({"choices": [choice]})

    async def _write_event(self, data: dict[str, object]) -> None:
        await self._exchange.write(b"data: " + encode({**self._head, **data}) + b"\n\n")


Writer: TypeAlias = BodyWriter | StreamWriter


def writer_for(request: CompletionRequest, exchange: HttpExchange) -> Writer:
    """Return the writer of the response that a client asks for."""
    head: dict[str, object] = {"id": f"chatcmpl-{token_hex(12)}", "created": int(time()), "model": request.model}
    return (StreamWriter if request.stream else BodyWriter)(exchange, head, request)


def _usage_dict(usage: Usage) -> dict[str, object] | None:
    """Return the token counts; `None` if no endpoint reported any, which is not the same as zero."""
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
