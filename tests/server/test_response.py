import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ToolCall, Usage, UserMessage
from agentkit.server.asgi import HttpExchange
from agentkit.server.request import CompletionRequest
from agentkit.server.response import Finished, PartQueue, ResponsePart, TextChunk, ToolCallsChunk, ToolEvent, writer_for
from tests.server.served import events_of, message_of
from tests.strategies import any_text

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

CALLS = (ToolCall("call_1", "ask_user", '{"q":1}'), ToolCall("call_2", "ask_user", "{}"))
USAGE = Usage(1, 10, 5, 3)
EVENT: dict[str, object] = {"event": "tool_started"}


async def written(parts: Sequence[ResponsePart | None], **fields: Any) -> str:
    """The body of the response to a request with these fields."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    exchange = HttpExchange({"method": "POST", "path": "/", "headers": []}, send, send)  # type: ignore[arg-type]
    writer = writer_for(CompletionRequest("agent", (UserMessage("Hello"),), **fields), exchange)
    for part in parts:
        await writer.write(part)
    await writer.end()
    return b"".join(message.get("body", b"") for message in sent).decode()


async def test_a_plain_body() -> None:
    parts = [None, TextChunk(0, "Hi"), TextChunk(0, " there"), Finished(0, "stop", USAGE)]
    body = json.loads(await written(parts))
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "agent")
    message = {"role": "assistant", "content": "Hi there", "refusal": None}
    assert body["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert body["usage"] == {**counts, "prompt_tokens_details": {"cached_tokens": 3}}


@pytest.mark.parametrize(("parts", "message"), [
    ([], {"content": "", "refusal": None}),
    ([TextChunk(0, "I ", refusal=True), TextChunk(0, "won't", refusal=True)], {"content": None, "refusal": "I won't"}),
    ([ToolCallsChunk(0, CALLS)], {"content": None, "refusal": None, "tool_calls": [call.to_dict() for call in CALLS]}),
    ([ToolEvent(0, EVENT)], {"content": "", "refusal": None}),
])  # fmt: skip
async def test_a_message_of_a_body(parts: list[ResponsePart | None], message: dict[str, Any]) -> None:
    body = json.loads(await written([*parts, Finished(0, "stop", Usage())]))
    assert body["choices"][0]["message"] == {"role": "assistant", **message}
    assert body["usage"] is None


async def test_a_stream_whose_usage_and_tool_events_have_no_choices() -> None:
    parts = [None, TextChunk(0, "Hi"), None, ToolCallsChunk(0, CALLS), Finished(0, "tool_calls", USAGE)]
    text = await written(parts, stream=True)
    assert text.count(": still at work\n\n") == 2
    *events, done = events_of(text)
    assert (done, {event["object"] for event in events}) == ("[DONE]", {"chat.completion.chunk"})
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    assert not any("usage" in event for event in events)
    first, second, third, last = [event["choices"][0]["delta"] for event in events]
    assert (first, second, last) == ({"role": "assistant", "content": ""}, {"content": "Hi"}, {})
    assert third["tool_calls"][1] == {"index": 1, **CALLS[1].to_dict()}
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, None, "tool_calls"]

    more: list[ResponsePart | None] = [ToolEvent(0, EVENT), TextChunk(0, "Hi"), Finished(0, "stop", USAGE)]
    *events, _ = events_of(await written(more, stream=True, usage=True))
    assert [event["usage"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert (events[-1]["choices"], events[-1]["usage"]["total_tokens"]) == ([], 15)
    assert [(event["choices"], event["agentkit"]) for event in events if "agentkit" in event] == [([], EVENT)]


@given(st.lists(st.builds(TextChunk, st.integers(0, 2), any_text(min_size=1), st.just(False)), max_size=12))
async def test_a_stream_has_the_text_of_the_body(chunks: list[TextChunk]) -> None:
    parts: list[ResponsePart | None] = [*chunks, *[Finished(index, "stop", USAGE) for index in (1, 2, 0)]]
    body = json.loads(await written(parts, n=3))
    events = events_of(await written(parts, n=3, stream=True, usage=True))
    for index, choice in enumerate(body["choices"]):
        assert (message_of(events, index)["content"] or "") == choice["message"]["content"]
    assert (body["usage"], body["usage"]["total_tokens"]) == (events[-2]["usage"], 45)


async def test_the_queue_keeps_the_order_and_waits() -> None:
    queue, received = PartQueue(), list[object]()
    first, second, third = TextChunk(0, "a"), TextChunk(1, "b"), TextChunk(0, "c")

    async def receive() -> None:
        received.extend([await queue.get(30) for _ in range(3)])

    queue.put(first)
    queue.put(second)
    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        queue.put(third)
    assert received == [first, second, third]
    assert await queue.get(0.01) is None
