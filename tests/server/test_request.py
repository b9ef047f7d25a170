"""Each field of a request, within its range and out of it, over HTTP; the table in the documentation has each of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, Settings
from agentkit.core.dicts import REST
from agentkit.core.messages import ToolMessage
from agentkit.server import Bounds, ChatServer
from agentkit.server.request import CompletionRequest, parse_request
from tests.scripted import Scripted, said
from tests.server.served import ask, asking

TOOL = {"type": "function", "function": {"name": "ask_user"}}
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "ask_user", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERED = {"role": "tool", "tool_call_id": "call_1", "content": "yes"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}
BLOCKS = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}
NAMED = [{"role": "system", "name": "a", "content": "s"}, {"role": "developer", "content": "d"}, {**USER, "name": "b"}]

GOOD: list[tuple[str, Any]] = [
    ("messages", NAMED),
    ("messages", [BLOCKS]),
    ("messages", [{"role": "system", "content": "Say something."}]),
    ("messages", [USER, CALLED, ANSWERED]),
    ("messages", [USER, CALLED, USER]),
    ("max_tokens", 1),
    ("max_completion_tokens", 100_000),
    ("temperature", 0),
    ("temperature", 2),
    ("temperature", 0.7),
    ("top_p", 0),
    ("top_p", 1),
    ("stream", False),
    ("stream", True),
    ("stream_options", {"include_usage": True}),
    ("stream_options", {"include_usage": None, "other": 1}),
    ("stop", "."),
    ("stop", ["a", "b", "c", "d"]),
    ("n", 1),
    ("n", 8),
    ("presence_penalty", -2),
    ("presence_penalty", 2),
    ("frequency_penalty", -2),
    ("frequency_penalty", 2),
    ("tools", [TOOL]),
    ("tools", []),
    ("tool_choice", "auto"),
    ("tool_choice", "none"),
    ("parallel_tool_calls", False),
    ("user", "u-1"),
    ("seed", -7),
    ("response_format", {"type": "text"}),
    ("logit_bias", {"50256": -100}),
    ("an_unknown_field", ["of", "any", "kind"]),
]
WORDS = ["role", "content", "type", "text", "function", "name", "parameters", "tool_calls", "id", "user", "image_url"]
NULL = ["max_tokens", "temperature", "stop", "n", "tools", "tool_choice", "stream", "stream_options", "response_format"]

BAD: list[tuple[str, Any, str]] = [
    ("model", None, "model"),
    ("model", 3, "model"),
    ("model", "", "model"),
    ("messages", None, "messages"),
    ("messages", [], "messages"),
    ("messages", "Hello", "messages"),
    ("messages", {}, "messages"),
    ("messages", ["Hello"], "messages[0]"),
    ("messages", [USER, {}], "messages[1].role"),
    ("messages", [USER, {"role": "function", "content": ""}], "messages[1].role"),
    ("messages", [USER, USER, USER, {"role": "user", "content": 3}], "messages[3].content"),
    ("messages", [{"role": "user"}], "messages[0].content"),
    ("messages", [{"role": "user", "content": [{"type": "audio"}]}], "messages[0].content[0]"),
    ("messages", [{"role": "system", "content": [IMAGE]}, USER], "messages[0].content"),
    ("messages", [{"role": "user", "content": "x", "name": 3}], "messages[0].name"),
    ("messages", [USER, {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
    ("messages", [USER, ANSWERED], "messages[1].tool_call_id"),
    ("messages", [USER, CALLED, ANSWERED, ANSWERED], "messages[3].tool_call_id"),
    ("messages", [USER, {**CALLED, "tool_calls": 3}], "messages[1].tool_calls"),
    ("messages", [USER, {**CALLED, "tool_calls": [{}]}], "messages[1].tool_calls[0]"),
    ("messages", [USER, CALLED], "messages[1].tool_calls"),
    ("messages", [USER, {**CALLED, "tool_calls": [CALL, {**CALL, "id": "2"}]}, ANSWERED], "messages[1].tool_calls"),
    ("messages", [USER, {"role": "assistant", "content": "Hi"}], "messages[1].role"),
    ("max_tokens", 0, "max_tokens"),
    ("max_tokens", -1, "max_tokens"),
    ("max_tokens", 1.5, "max_tokens"),
    ("max_tokens", "10", "max_tokens"),
    ("max_tokens", True, "max_tokens"),
    ("max_completion_tokens", 0, "max_completion_tokens"),
    ("temperature", -0.01, "temperature"),
    ("temperature", 2.01, "temperature"),
    ("temperature", "hot", "temperature"),
    ("top_p", -0.01, "top_p"),
    ("top_p", 1.01, "top_p"),
    ("stream", "yes", "stream"),
    ("stream", 1, "stream"),
    ("stream_options", [], "stream_options"),
    ("stream_options", {"include_usage": 1}, "stream_options.include_usage"),
    ("stream_options", {"include_events": "x"}, "stream_options.include_events"),
    ("stop", 3, "stop"),
    ("stop", ["a", 3], "stop"),
    ("stop", list("abcde"), "stop"),
    ("n", 0, "n"),
    ("n", 9, "n"),
    ("n", 1.0, "n"),
    ("n", True, "n"),
    ("presence_penalty", -2.01, "presence_penalty"),
    ("presence_penalty", 2.01, "presence_penalty"),
    ("frequency_penalty", -2.01, "frequency_penalty"),
    ("frequency_penalty", "0", "frequency_penalty"),
    ("tools", "x", "tools"),
    ("tools", [TOOL, TOOL], "tools[1].function.name"),
    ("tool_choice", "required", "tool_choice"),
    ("tool_choice", {"type": "function", "function": {"name": "x"}}, "tool_choice"),
    ("parallel_tool_calls", "no", "parallel_tool_calls"),
    ("user", 3, "user"),
    ("seed", 1.5, "seed"),
    ("seed", True, "seed"),
    ("response_format", {"type": "json_object"}, "response_format"),
    ("response_format", {"type": "json_schema", "json_schema": {}}, "response_format"),
    ("response_format", "text", "response_format"),
    ("functions", [], "functions"),
    ("function_call", "auto", "function_call"),
]


def server() -> ChatServer:
    return ChatServer(Agent(Scripted(said("Hi"))))


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value"), [*GOOD, *((name, None) for name in NULL)])
async def test_within_its_range(name: str, value: Any) -> None:
    response = await ask(server(), asking(**{name: value}))
    assert response.status_code == 200, response.text


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value", "param"), BAD)
async def test_out_of_its_range(name: str, value: Any, param: str) -> None:
    model = Scripted(said("Hi"))
    response = await ask(ChatServer(Agent(model)), asking(**{name: value}))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param.partition("[")[0].partition(".")[0] in error["message"]
    assert model.requests == []


@pytest.mark.parametrize("data", [None, 3, [], "x"])
def test_a_body_is_an_object(data: Any) -> None:
    with pytest.raises(Exception, match="the body must be a JSON object"):
        parse_request(data, Bounds(), ())


def test_calls_count_as_messages() -> None:
    told = {"model": "m", "messages": [USER, CALLED, ANSWERED]}
    assert len(parse_request(told, Bounds(messages=4), ()).messages) == 3
    with pytest.raises(Exception, match="may be 3, not 4"):
        parse_request(told, Bounds(messages=3), ())


def test_a_client_cannot_say_what_only_this_side_knows() -> None:
    told = [USER, CALLED, {**ANSWERED, REST: {"outcome": "ok", "full": "x"}}]
    asked = parse_request({"model": "m", "messages": json.loads(json.dumps(told))}, Bounds(), ())
    assert asked.messages[-1] == ToolMessage("call_1", "yes")


def test_the_settings_of_a_request_stand_over_those_of_the_agent() -> None:
    own = Settings(temperature=1, top_p=0.5, n=3, extra={"seed": 1, "max_completion_tokens": 9, "safe": True})
    asked = parse_request(asking(temperature=0, max_tokens=7, seed=2, top_k=4), Bounds(), ("seed", "top_k"))
    assert asked.override(own) == Settings(
        temperature=0, top_p=0.5, max_tokens=7, n=3, extra={"seed": 2, "safe": True, "top_k": 4}
    )
    assert CompletionRequest("m", ()).override(own) == own
    assert parse_request(asking(max_completion_tokens=5, max_tokens=7), Bounds(), ()).settings == {"max_tokens": 5}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({name for name, *_ in GOOD})), anything, max_size=4))
async def test_whatever_a_client_sends_the_server_does_not_fail(fields: dict[str, Any]) -> None:
    response = await ask(server(), asking(**fields))
    assert response.status_code in (200, 400), response.text


def test_the_table_of_the_documentation_has_each_field() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/serving.md").read_text()
    listed = {name for row in re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert {name for name, *_ in [*GOOD, *BAD]} - {"an_unknown_field", "logit_bias"} <= listed
