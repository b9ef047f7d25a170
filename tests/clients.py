"""Clients under test, what they are asked, and pieces of replies."""

import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from agentkit import ChatChunk, ChatClient, ChatRequest, ModelError, Retries, UserMessage
from agentkit.testing import Chaos

KEY = "sk-canary-5f2b91c07d"
HELLO = ChatRequest((UserMessage("Hello"),))
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
CHUNKED = {"transfer-encoding": "chunked"}
QUICK = Retries(base=0.001, max_delay=0.002)
HI = b'{"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}'
DONE = b"data: [DONE]\n\n"
OnChunk: TypeAlias = Callable[[ChatChunk], None]


def ignore(chunk: ChatChunk) -> None:
    """Ask for a stream, and look at the whole reply alone."""


BOTH = pytest.mark.parametrize("on_chunk", [None, ignore], ids=["plain", "streamed"])
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For plain async logic, which is the same on every event loop."""


def client_at(endpoint: Chaos, **options: Any) -> ChatClient:
    options = {"api_key": KEY, "retries": 0, **options}
    return ChatClient("m", base_url=endpoint.url, **options)


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(content: str | None = None, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]})


async def failed(client: ChatClient, on_chunk: OnChunk | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await client.complete(HELLO, on_chunk)
    return caught.value


def _shown_by(error: traceback.TracebackException) -> Iterator[str]:
    """Yield what a traceback shows of the frames that are not a test's own, causes and all."""
    yield "".join(error.format_exception_only())
    for frame in error.stack:
        if "/tests/" not in frame.filename:
            yield f"{frame.filename} {frame.name} {frame.locals}"
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            yield from _shown_by(other)


def assert_hidden(error: BaseException, *secrets: str) -> None:
    """Look for secrets in whatever an error shows: its text, its data, its traceback with all local variables."""
    shown = [*_shown_by(traceback.TracebackException.from_exception(error, capture_locals=True)), repr(error)]
    assert len(shown) > 2
    everything = "\n".join([*shown, str(vars(error)), *map(str, error.args)])
    for secret in (KEY, *secrets):
        assert secret not in everything
        assert secret.encode() not in pickle.dumps(error)
