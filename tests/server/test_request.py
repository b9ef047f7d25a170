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
from agentkit.server.errors import HttpError
from agentkit.server.request import CompletionRequest, parse_request
from tests.scripted import Scripted, said
from tests.server.served import ask, asking
from tests.strategies import any_text

ASYNC = pytest.mark.parametrize("anyio_backend", ["asyncio"])
TOOL = {"type": "function", "function": {"name": "ask_user"}}
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "ask_user", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "yes"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}
BLOCKS = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}
NAMED = [{"role": "system", "name": "a", "content": "s"}, {"role": "developer", "content": "d"}, {**USER, "name": "b"}]
SYSTEM = [{"role": "system", "content": "Say something."}]

GOOD: dict[str, list[Any]] = {
    "messages": [NAMED, [BLOCKS], SYSTEM, [USER, CALLED, RESULT], [USER, CALLED, USER]], "max_tokens": [1, None],
    "max_completion_tokens": [100_000], "temperature": [0, 2, 0.7, None], "top_p": [0, 1], "stream": [False, True, None],
    "stream_options": [{"include_usage": True}, {"include_usage": None, "other": 1}, None], "stop": [".", ["a", "b", "c", "d"], None],
    "n": [1, 8, None], "presence_penalty": [-2, 2], "frequency_penalty": [-2, 2], "tools": [[TOOL], [], None],
    "tool_choice": ["auto", "none", None], "parallel_tool_calls": [False], "user": ["u-1"], "seed": [-7],
    "response_format": [{"type": "text"}, None], "logit_bias": [{"50256": -100}], "an_unknown_field": [["of", "any", "kind"]],
}  # fmt: skip
BAD: dict[str, list[Any]] = {
    "model": [None, 3, ""], "messages": [None, [], "Hello", {}], "max_tokens": [0, -1, 1.5, "10", True], "max_completion_tokens": [0],
    "temperature": [-0.01, 2.01, "hot"], "top_p": [-0.01, 1.01], "stream": ["yes", 1], "stream_options": [[]],
    "stop": [3, ["a", 3], list("abcde")], "n": [0, 9, 1.0, True], "presence_penalty": [-2.01, 2.01],
    "frequency_penalty": [-2.01, "0"], "tools": ["x"], "tool_choice": ["required", {"type": "function", "function": {"name": "x"}}],
    "parallel_tool_calls": ["no"], "user": [3], "seed": [1.5, True],
    "response_format": [{"type": "xml"}, "text"], "functions": [[]],
    "function_call": ["auto"],
}  # fmt: skip
BAD_INSIDE: list[tuple[Any, str]] = [
    (["Hello"], "messages[0]"), ([USER, {}], "messages[1].role"), ([{REST: {"role": "user", "content": "x"}}], "messages[0].role"),
    ([USER, {"role": "function", "content": ""}], "messages[1].role"),
    ([USER, USER, USER, {"role": "user", "content": 3}], "messages[3].content"), ([{"role": "user"}], "messages[0].content"),
    ([{"role": "user", "content": [{"type": "audio"}]}], "messages[0].content[0]"),
    ([{"role": "system", "content": [IMAGE]}, USER], "messages[0].content"),
    ([{"role": "user", "content": "x", "name": 3}], "messages[0].name"),
    ([USER, {"role": "tool", "content": "x"}], "messages[1].tool_call_id"), ([USER, RESULT], "messages[1].tool_call_id"),
    ([USER, CALLED, RESULT, RESULT], "messages[3].tool_call_id"), ([USER, {**CALLED, "tool_calls": 3}], "messages[1].tool_calls"),
    ([USER, {**CALLED, "tool_calls": [{}]}], "messages[1].tool_calls[0]"), ([USER, CALLED], "messages[1].tool_calls"),
    ([USER, {**CALLED, "tool_calls": [CALL, {**CALL, "id": "2"}]}, RESULT], "messages[1].tool_calls"),
    ([USER, {"role": "assistant", "content": "Hi"}], "messages[1].role"), ({"include_usage": 1}, "stream_options.include_usage"),
    ({"include_events": "x"}, "stream_options.include_events"), ([TOOL, TOOL], "tools[1].function.name"),
]  # fmt: skip
INSIDE = [(re.split(r"[.\[]", param)[0], value, param) for value, param in BAD_INSIDE]
REFUSED = [*[(name, value, name) for name, values in BAD.items() for value in values], *INSIDE]


@pytest.mark.anyio
@ASYNC
async def test_within_its_range() -> None:
    for name, value in [(name, value) for name, values in GOOD.items() for value in values]:
        response = await ask(ChatServer(Agent(Scripted(said("Hi")))), asking(**{name: value}))
        assert response.status_code == 200, response.text


@pytest.mark.anyio
@ASYNC
async def test_out_of_its_range() -> None:
    for name, value, param in REFUSED:
        model = Scripted(said("Hi"))
        response = await ask(ChatServer(Agent(model)), asking(**{name: value}))
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
        assert name in error["message"]
        assert model.requests == []


@pytest.mark.parametrize("data", [None, 3, [], "x"])
def test_a_body_is_an_object(data: Any) -> None:
    with pytest.raises(HttpError) as caught:
        parse_request(data, Bounds(), ())
    assert caught.value.status == 400


def test_calls_count_as_messages() -> None:
    body = {"model": "m", "messages": [USER, CALLED, RESULT]}
    assert len(parse_request(body, Bounds(messages=4), ()).messages) == 3
    with pytest.raises(HttpError) as caught:
        parse_request(body, Bounds(messages=3), ())
    assert caught.value.param == "messages"


def test_a_client_cannot_say_what_only_this_side_knows() -> None:
    messages = [USER, CALLED, {**RESULT, REST: {"outcome": "ok", "full": "x"}}]
    request = parse_request({"model": "m", "messages": json.loads(json.dumps(messages))}, Bounds(), ())
    assert request.messages[-1] == ToolMessage("call_1", "yes")


def test_the_settings_of_a_request_override_the_agents() -> None:
    own = Settings(temperature=1, top_p=0.5, n=3, seed=1, extra={"max_completion_tokens": 9, "safe": True})
    request = parse_request(asking(temperature=0, max_tokens=7, seed=2, top_k=4), Bounds(), ("top_k",))
    extra = {"safe": True, "top_k": 4}
    assert request.override(own) == Settings(temperature=0, top_p=0.5, max_tokens=7, n=3, seed=2, extra=extra)
    assert CompletionRequest("m", ()).override(own) == own
    both = parse_request(asking(max_completion_tokens=5, max_tokens=7), Bounds(), ())
    assert both.settings == {"max_tokens": 5}


WORDS = ["role", "content", "type", "text", "function", "name", "parameters", "tool_calls", "id", "user", "image_url"]
KEYS = st.sampled_from(WORDS) | any_text(max_size=5)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.anyio
@ASYNC
@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), anything, max_size=4))
async def test_whatever_a_client_sends_the_server_does_not_fail(fields: dict[str, Any]) -> None:
    response = await ask(ChatServer(Agent(Scripted(said("Hi")))), asking(**fields))
    assert response.status_code in (200, 400), response.text


def test_the_table_of_the_documentation_has_each_field() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/serving.md").read_text()
    listed = {name for row in re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert {*GOOD, *BAD} - {"an_unknown_field", "logit_bias"} <= listed
