import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import ToolCall, Usage, UserMessage
from agentkit.server.asgi import HttpExchange
from agentkit.server.request import CompletionRequest
from agentkit.server.response import ToolCallsChunk, Finished, ResponsePart, TextChunk, ToolEvent, writer_for
from tests.server.served import events_of, told_in

pytestmark = pytest.mark.anyio


class Sent:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    async def receive(self) -> Any:
        raise AssertionError

    @property
    def body(self) -> str:
        return b"".join(each.get("body", b"") for each in self.messages).decode()


async def written(pieces: Sequence[ResponsePart | None], **asked: Any) -> str:
    sent = Sent()
    exchange = HttpExchange({"method": "POST", "path": "/", "headers": []}, sent.receive, sent.send)
    reply = writer_for(CompletionRequest("agent", (UserMessage("Hello"),), **asked), exchange)
    for piece in pieces:
        await reply.write(piece)
    await reply.end()
    return sent.body


CALLS = (ToolCall("call_1", "ask_user", '{"q":1}'), ToolCall("call_2", "ask_user", "{}"))
USAGE = Usage(1, 10, 5, 3)


async def test_a_plain_body() -> None:
    body = json.loads(await written([None, TextChunk(0, "Hi"), TextChunk(0, " there"), Finished(0, "stop", USAGE)]))
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "agent")
    message = {"role": "assistant", "content": "Hi there", "refusal": None}
    assert body["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    details = {"cached_tokens": 3}
    assert body["usage"] == {
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": details,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], {"content": "", "refusal": None}),
        ([TextChunk(0, "I ", refusal=True), TextChunk(0, "won't", refusal=True)], {"content": None, "refusal": "I won't"}),
        ([ToolCallsChunk(0, CALLS)], {"content": None, "refusal": None, "tool_calls": [each.to_dict() for each in CALLS]}),
        ([ToolEvent(0, {"event": "x"})], {"content": "", "refusal": None}),
    ],
)
async def test_what_a_message_says(pieces: list[ResponsePart | None], message: dict[str, Any]) -> None:
    body = json.loads(await written([*pieces, Finished(0, "stop", Usage())]))
    assert body["choices"][0]["message"] == {"role": "assistant", **message}
    assert body["usage"] is None


async def test_a_stream() -> None:
    pieces = [None, TextChunk(0, "Hi"), None, ToolCallsChunk(0, CALLS), Finished(0, "tool_calls", USAGE)]
    text = await written(pieces, stream=True)
    assert text.count(": still at work\n\n") == 2
    *events, done = events_of(text)
    assert done == "[DONE]"
    assert {each["object"] for each in events} == {"chat.completion.chunk"}
    assert len({(each["id"], each["created"], each["model"]) for each in events}) == 1
    assert not any("usage" in each for each in events)
    deltas = [each["choices"][0]["delta"] for each in events]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas[1] == {"content": "Hi"}
    assert deltas[2]["tool_calls"][1] == {"index": 1, **CALLS[1].to_dict()}
    assert deltas[3] == {}
    assert [each["choices"][0]["finish_reason"] for each in events] == [None, None, None, "tool_calls"]


async def test_what_a_stream_cost_comes_last_if_it_is_asked_for() -> None:
    *events, _ = events_of(await written([TextChunk(0, "Hi"), Finished(0, "stop", USAGE)], stream=True, usage=True))
    assert [each["usage"] for each in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 15


async def test_what_happens_on_the_server_is_a_chunk_that_others_pass_over() -> None:
    told: dict[str, object] = {"event": "tool_started"}
    events = events_of(await written([ToolEvent(0, told), Finished(0, "stop", USAGE)], stream=True))
    assert [(each["choices"], each["agentkit"]) for each in events[:-1] if "agentkit" in each] == [([], told)]


texts = st.builds(TextChunk, st.integers(0, 2), st.text(min_size=1), st.just(False))


@settings(deadline=None)
@given(st.lists(texts, max_size=12))
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_says_what_the_body_says(said: list[TextChunk]) -> None:
    pieces: list[ResponsePart | None] = [*said, *[Finished(at, "stop", USAGE) for at in (1, 2, 0)]]
    body = json.loads(await written(pieces, n=3))
    events = events_of(await written(pieces, n=3, stream=True, usage=True))
    for at, choice in enumerate(body["choices"]):
        assert (told_in(events, at)["content"] or "") == choice["message"]["content"]
    assert body["usage"] == events[-2]["usage"]
    assert body["usage"]["total_tokens"] == 45
