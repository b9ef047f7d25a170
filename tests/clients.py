"""Clients under test, what they are asked, and pieces of what they are answered."""

import json
from collections.abc import Callable
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
OnChunk: TypeAlias = Callable[[ChatChunk], None]


def ignore(chunk: ChatChunk) -> None:
    """Have the reply streamed, and look at the whole alone."""


BOTH = pytest.mark.parametrize("on_chunk", [None, ignore], ids=["plain", "streamed"])


def client_at(endpoint: Chaos, **options: Any) -> ChatClient:
    given: dict[str, Any] = {"api_key": KEY, "retries": 0, **options}
    return ChatClient("m", base_url=endpoint.url, **given)


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(content: str | None = None, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]})


DONE = b"data: [DONE]\n\n"


async def failed(client: ChatClient, on_chunk: OnChunk | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await client.complete(HELLO, on_chunk)
    return caught.value
