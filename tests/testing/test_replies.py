import json
from typing import Any

import pytest

from agentkit import ChatChunk, ConfigurationError
from agentkit.core.assembly import Assembly
from agentkit.testing import Raw, Repeat, Said, answer, bytewise, calling, cut, refuse, status
from agentkit.testing.replies import framed

PLAIN = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
STREAMED = {**PLAIN, "stream": True, "stream_options": {"include_usage": True}}


def data_of(raw: Raw) -> list[Any]:
    """What the events of a stream say, without the last, [DONE]."""
    events = [write for write in raw.writes if isinstance(write, bytes)]
    assert events[-1] == b"data: [DONE]\n\n"
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]


def whole(said: Said, request: dict[str, Any]) -> Any:
    """The reply as the library reads it."""
    raw, assembly = said.raw(request), Assembly()
    assembly.terminated = bool(request.get("stream"))
    for data in data_of(raw) if assembly.terminated else [json.loads(raw.writes[0])]:  # type: ignore[arg-type]
        assembly.add(ChatChunk(data))
    return assembly.response()


BOTH = pytest.mark.parametrize("request_", [PLAIN, STREAMED], ids=["plain", "streamed"])


@BOTH
def test_an_answer_is_one_in_either_form(request_: dict[str, Any]) -> None:
    reply = whole(answer("It  rains\nin Paris.", finish_reason="length", usage=(3, 4)), request_)
    assert reply.choices[0].message.content == "It  rains\nin Paris."
    assert (reply.choices[0].finish_reason, reply.usage.total_tokens, reply.model) == ("length", 7, "gpt")


@BOTH
def test_calls_are_the_same_in_either_form(request_: dict[str, Any]) -> None:
    reply = whole(calling(("get_weather", {"city": "Paris"}), ("get_time", "{"), content="Let me see."), request_)
    message = reply.choices[0].message
    assert message.content == "Let me see."
    assert [(call.id, call.name, call.arguments) for call in message.tool_calls] == [
        ("call_1_0", "get_weather", '{"city": "Paris"}'),
        ("call_1_1", "get_time", "{"),
    ]
    assert reply.choices[0].finish_reason == "tool_calls"


def test_a_reply_without_a_text_streams_none_and_usage_only_if_asked_for() -> None:
    deltas = [data["choices"][0]["delta"] for data in data_of(calling(("get_time", {})).raw({"stream": True}))]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert all("content" not in delta for delta in deltas[1:])

    assert "usage" in data_of(answer("Hello").raw(STREAMED))[-1]
    assert "usage" not in data_of(answer("Hello").raw({"stream": True}))[-1]


def test_the_same_calls_have_other_ids_later_in_a_conversation() -> None:
    said = calling(("get_time", {}))
    first, second = (said.raw({"messages": [{}] * count}).writes[0] for count in (1, 3))
    assert first != second


def test_a_status_has_bytes_or_json_and_a_refusal_no_status() -> None:
    assert status(503) == Raw([], 503)
    assert status(502, {"content-type": "text/html"}, b"<p>") == Raw([b"<p>"], 502, {"content-type": "text/html"})
    raw = status(429, {"retry-after": "1"}, {"error": "slow down"})
    assert raw.writes == [b'{"error": "slow down"}']
    assert raw.headers == {"content-type": "application/json", "retry-after": "1"}
    assert (refuse(), refuse("stall").then) == (Raw(status=None, then="close"), "stall")


def test_a_raw_reply_is_the_same_for_every_request_and_may_come_byte_by_byte() -> None:
    raw = Raw([b"abc", Repeat(b"xy", 3), Repeat(b"z")])
    assert raw.raw({}) is raw
    assert raw.size == 3 + 6 + 1
    raw = bytewise(Raw([b"abc", Repeat(b"xy", 2)], 201)).raw({})
    assert raw == Raw([b"a", b"b", b"c", Repeat(b"xy", 2)], 201)


def test_headers_tell_where_a_body_ends() -> None:
    assert framed(Raw([b"abc"], headers={"X-Id": "7"})) == {"x-id": "7", "content-length": "3"}
    assert framed(Raw([b"abc"], headers={"Content-Length": "9"})) == {"content-length": "9"}
    assert framed(Raw([b"abc"], headers={"Transfer-Encoding": "chunked"})) == {"transfer-encoding": "chunked"}
    assert framed(Raw([b"abc"], then="close")) == {"connection": "close"}


@pytest.mark.parametrize(("count", "writes"), [
    (0, []), (2, [b"ab"]), (3, [b"abc"]), (4, [b"abc", b"x"]), (8, [b"abc", b"xyxy", b"z"]),
    (12, [b"abc", b"xyxy", b"zzzzz"]),
])  # fmt: skip
def test_a_reply_is_cut_after_bytes(count: int, writes: list[bytes]) -> None:
    whole = Raw([b"abc", Repeat(b"xy", 2), Repeat(b"z"), b"never"], then="stall")
    raw = cut(whole, after_bytes=count, then="close").raw({})
    assert raw == Raw(writes, headers={"connection": "close"}, then="close")


def test_a_reply_is_cut_after_chunks_and_promises_the_whole_or_ends_as_if_it_were_whole() -> None:
    raw = cut(Raw([b"abc", b"def"]), after_chunks=1).raw({})
    assert raw == Raw([b"abc"], headers={"content-length": "6"}, then="reset")

    assert cut(Raw([b"abc", b"def"]), after_chunks=1, then="end").raw({}) == Raw([b"abc"])


@pytest.mark.parametrize("place", [{}, {"after_bytes": -1}, {"after_chunks": -1}, {"after_bytes": 1, "after_chunks": 1}])  # fmt: skip
def test_a_cut_needs_one_place_and_a_reply_and_a_repeat_something(place: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        cut(answer("Hello"), **place)
    with pytest.raises(ConfigurationError, match="faults="):
        cut(after_bytes=1).raw({})
    with pytest.raises(ConfigurationError):
        Repeat(b"")
