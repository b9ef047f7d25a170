"""The law: what `plain_reply` reads, it reads as an `Assembly` does."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk, ChatResponse
from agentkit.core.json import decode_piece
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.plain_reply import plain_reply
from tests.strategies import any_text

HERE = "http://here/v1"
MOST = 3
USUAL: dict[str, Any] = {
    "id": "r1", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "fp",
    "choices": [{
        "index": 0, "finish_reason": "tool_calls", "logprobs": None, "seed": 7,
        "message": {
            "role": "assistant", "content": None, "refusal": None, "reasoning_content": "Hm \ud83d", "annotations": [],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
                {"id": "c2", "index": 0, "type": "function", "function": {"name": "now", "arguments": " "}, "sign": {}},
            ],
        },
    }],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
}  # fmt: skip


def assembled(body: dict[str, Any]) -> ChatResponse:
    assembly = Assembly({"add", "now"}, origin=HERE)
    assembly.add(ChatChunk(body))
    assembly.terminated = True
    return assembly.response()


def test_the_usual_form_is_read() -> None:
    reply = plain_reply(USUAL, HERE, MOST)
    assert reply is not None
    assert reply == assembled(USUAL)
    assert reply.message.origin == HERE
    assert reply.message.tool_calls == (ToolCall("c1", "add", '{"a": 1}'), ToolCall("c2", "now", "{}", {"sign": {}}))
    assert (reply.extra, reply.choices[0].extra) == ({"system_fingerprint": "fp"}, {"seed": 7})


def test_a_text_with_nothing_else_is_read() -> None:
    reply = plain_reply({"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}, HERE, MOST)
    assert reply is not None
    assert (reply.message, reply.usage, reply.id, reply.model) == (AssistantMessage("Hi."), None, None, None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("choices", None),
        ("choices", {}),
        ("choices", []),
        ("choices", USUAL["choices"] * 2),
        ("choices.0", None),
        ("choices.0.finish_reason", None),
        ("choices.0.finish_reason", "error"),
        ("choices.0.delta", {"content": "Hi."}),
        ("choices.0.message", None),
        ("choices.0.message.content", [{"type": "text", "text": "Hi."}]),
        ("choices.0.message.refusal", 1),
        ("choices.0.message.function_call", {"name": "add", "arguments": "{}"}),
        ("choices.0.message.tool_calls", {"id": "c1"}),
        ("choices.0.message.tool_calls", USUAL["choices"][0]["message"]["tool_calls"] * 2),
        ("choices.0.message.tool_calls.0", None),
        ("choices.0.message.tool_calls.0.id", None),
        ("choices.0.message.tool_calls.0.id", 1),
        ("choices.0.message.tool_calls.0.id", "c2"),
        ("choices.0.message.tool_calls.0.function", None),
        ("choices.0.message.tool_calls.0.function.name", ""),
        ("choices.0.message.tool_calls.0.function.arguments", {"a": 1}),
        ("id", 1),
        ("model", 1),
        ("usage", "much"),
    ],
)
def test_another_form_is_left_to_the_assembly(path: str, value: object) -> None:
    assert plain_reply(with_value(path, value), HERE, MOST) is None


def with_value(path: str, value: object) -> dict[str, Any]:
    """The usual form with another value at one place."""
    body = deepcopy(USUAL)
    *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    place: Any = body
    for name in way:
        place = place[name]
    place[last] = value
    return body


ODD: st.SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | st.sampled_from(["", " ", "stop", "length", "error", "add", "{}", "Hi.", "c1", "\\ud83d"])
    | any_text(max_size=3)
    | st.integers(-1, 2)
    | st.just(list[object]())
    | st.just(dict[str, object]())
    | st.just({"a": None, "b": [{"c": None}]})
    | st.just([{"a": 1}, None])
)
FIELDS = (
    "", "choices.", "choices.0.", "choices.0.message.", "choices.0.message.tool_calls.0.",
    "choices.0.message.tool_calls.1.function.", "usage.",
)  # fmt: skip
NAMES = (
    "id", "model", "object", "created", "usage", "choices", "index", "finish_reason", "message", "delta", "role",
    "content", "refusal", "tool_calls", "function_call", "function", "name", "arguments", "type", "cost", "news", "0",
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(NAMES), ODD), max_size=4), st.booleans())
def test_it_reads_what_an_assembly_reads(changes: list[tuple[str, str, object]], escaped: bool) -> None:
    body = deepcopy(USUAL)
    for place, name, value in changes:
        try:
            at: Any = body
            for step in place.split(".")[:-1]:
                at = at[int(step) if step.isdigit() else step]
            at[0 if name == "0" else name] = deepcopy(value)
        except (TypeError, LookupError):
            continue
    data: Any = decode_piece(json.dumps(body, ensure_ascii=escaped).encode(errors="replace"))
    reply = plain_reply(data, HERE, MOST)
    assert reply is None or reply == assembled(data)
