import json
from collections import UserList
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import DeveloperMessage, ImagePart, SystemMessage, TextPart
from agentkit.core.dicts import dumps, json_of, loads, messages_of, stored
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode, object_of
from agentkit.core.messages import AssistantMessage, Message, Outcome, ToolCall, ToolMessage, UserMessage
from tests.core.test_codec import ANY, TEXT
from tests.strategies import any_text

CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.mark.parametrize(("data", "message"), [
    ({"role": "system", "content": "Be brief."}, SystemMessage("Be brief.")),
    ({"role": "system", "content": [text("Be "), text("brief.")]}, SystemMessage("Be \nbrief.")),
    ({"role": "developer", "name": "dev", "content": "Be kind."}, DeveloperMessage("Be kind.", "dev")),
    ({"role": "user", "content": "Hi", "name": "ann"}, UserMessage("Hi", "ann")),
    ({"role": "user", "content": "Hi", "name": None}, UserMessage("Hi")),
    ({"role": "user", "content": "Hi", "name": ""}, UserMessage("Hi")),
    ({"role": "user", "content": []}, UserMessage(())),
    (
        {"role": "user", "content": [text("What?"), image("https://a.b/c"), image("data:,x", detail="high")]},
        UserMessage((TextPart("What?"), ImagePart("https://a.b/c"), ImagePart("data:,x", "high"))),
    ),
    ({"role": "user", "content": (TextPart("a"), ImagePart("data:u"))}, UserMessage((TextPart("a"), ImagePart("data:u")))),
    ({"role": "user", "content": [image("data:u", detail=None)]}, UserMessage((ImagePart("data:u"),))),
    ({"role": "assistant", "content": "Hello"}, AssistantMessage("Hello")),
    ({"role": "assistant"}, AssistantMessage()),
    ({"role": "assistant", "content": ""}, AssistantMessage()),
    ({"role": "assistant", "content": [text("Hel"), text("lo")]}, AssistantMessage("Hel\nlo")),
    ({"role": "assistant", "content": None, "refusal": "No.", "name": "b"}, AssistantMessage(None, (), "No.", "b")),
    ({"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None}, AssistantMessage("Hi")),
    ({"role": "assistant", "content": "Hi", "refusal": "", "tool_calls": []}, AssistantMessage("Hi")),
    ({"role": "assistant", "content": "Hi", "reasoning": "hm"}, AssistantMessage("Hi", extra={"reasoning": "hm"})),
    (
        {"role": "assistant", "content": None, "tool_calls": [CALL, ToolCall("c2", "b", "{}")]},
        AssistantMessage(tool_calls=(ToolCall("c1", "get_weather", '{"city":"Paris"}'), ToolCall("c2", "b", "{}"))),
    ),
    ({"role": "tool", "tool_call_id": "c1", "content": "18"}, ToolMessage("c1", "18")),
    ({"role": "tool", "tool_call_id": "c1", "content": [text("18")], "name": "f"}, ToolMessage("c1", "18")),
    ({"role": "tool", "tool_call_id": "c1", "content": [text("one"), image("data:u"), text("!")]}, ToolMessage("c1", "one\n!", images=(ImagePart("data:u"),))),
])  # fmt: skip
def test_a_dict_becomes_a_message(data: dict[str, Any], message: Message) -> None:
    (read,) = messages_of([data])
    assert read == message
    assert messages_of([read.to_dict()])[0].encoded == message.encoded


@pytest.mark.parametrize(
    ("arguments", "read"),
    [('{"a": 1}', '{"a": 1}'), ({"a": 1}, '{"a":1}'), ("", "{}"), (None, "{}"), ([], "[]"), ("not JSON", "not JSON")],
)
def test_arguments_become_text(arguments: Any, read: str) -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
    assert messages_of([{"role": "assistant", "tool_calls": [call]}]) == (
        AssistantMessage(tool_calls=(ToolCall("c1", "f", read),)),
    )


def test_a_text_or_a_message_alone_is_a_history() -> None:
    assert messages_of("Hi") == (UserMessage("Hi"),)
    assert messages_of(SystemMessage("Hi")) == (SystemMessage("Hi"),)
    history = (UserMessage("Hi"), AssistantMessage("Hello"))
    assert messages_of(history) == history
    assert messages_of(history)[0] is history[0]
    assert messages_of(UserList(history)) == history
    assert messages_of([]) == ()


def user(content: Any, **rest: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **rest}


def calling(call: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [CALL, call]}


def of(of_role: str, **rest: Any) -> dict[str, Any]:
    """A stored message with what the wire would lose."""
    return {"role": of_role, "content": "x", "tool_call_id": "c1", "agentkit": rest}


REFUSED: list[tuple[Any, str]] = [
    ("Hi", ""),
    (None, ""),
    ({}, ".role"),
    ({"role": "function", "content": "x"}, ".role"),
    ({"role": ["user"], "content": "x"}, ".role"),
    ({"role": "user"}, ".content"),
    (user(5), ".content"),
    (user({"type": "text"}), ".content"),
    (user([text("a"), "b"]), ".content[1]"),
    (user([{"type": "text", "text": 5}]), ".content[0]"),
    (user([image("")]), ".content[0]"),
    (user([{"type": "image_url", "image_url": "u"}]), ".content[0]"),
    (user([{"type": "input_audio"}]), ".content[0]"),
    (user([image("data:u", detail="best")]), ".content[0].image_url.detail"),
    (user("x", name=5), ".name"),
    ({"role": "system", "content": None}, ".content"),
    ({"role": "developer", "content": [image("data:u")]}, ".content"),
    ({"role": "assistant", "content": 5}, ".content"),
    ({"role": "assistant", "refusal": 5}, ".refusal"),
    ({"role": "assistant", "tool_calls": CALL}, ".tool_calls"),
    (calling("c2"), ".tool_calls[1]"),
    (calling({"id": "", "function": {"name": "f"}}), ".tool_calls[1]"),
    (calling({"id": "c2", "function": {"name": ""}}), ".tool_calls[1]"),
    (calling({"id": "c2", "function": "f"}), ".tool_calls[1]"),
    (calling({"id": "c", "function": {"name": "f", "arguments": {object()}}}), ".tool_calls[1].function.arguments"),
    ({"role": "tool", "content": "18"}, ".tool_call_id"),
    ({"role": "tool", "tool_call_id": "", "content": "18"}, ".tool_call_id"),
    ({"role": "tool", "tool_call_id": "c1", "content": None}, ".content"),
    (user("x", agentkit=None), ".agentkit"),
    (user("x", agentkit="y" * 999), ".agentkit"),
    (of("user", note={"$new": 1}), ""),
    (of("user", note=1), ".agentkit.note"),
    (of("user", content=[{"text": "a"}, "b"]), ".agentkit.content[1]"),
    (of("user", role="assistant", tool_calls=[{"id": ""}]), ".agentkit"),
    (of("user", role="king"), ".agentkit"),
    (of("tool", outcome="fine"), ".agentkit.outcome"),
    (of("assistant", tool_calls=[{}]), ".agentkit.tool_calls[0]"),
    (calling({**CALL, "id": "c2"}) | {"agentkit": {"tool_calls": [{}]}}, ".agentkit.tool_calls"),
    (calling({**CALL, "id": "c2"}) | {"agentkit": {"tool_calls": [{}, {"extra": 5}]}}, ".agentkit.tool_calls[1]"),
    (of("function"), ".role"),
    ({"role": ["user"], "agentkit": {}}, ".role"),
    ({"role": "user", "agentkit": {}}, ".content"),
]


def test_a_refusal_names_the_place() -> None:
    for data, place in REFUSED:
        with pytest.raises(InvalidRequest) as caught:
            messages_of([UserMessage("Hi"), data])
        assert f"messages[1]{place}" in str(caught.value) or not place
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("prompt", [5, None, {"role": "user", "content": "Hi"}, {UserMessage("Hi")}, iter(())])
def test_what_is_no_history_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^the prompt must be"):
        messages_of(prompt)


# Any message at all.
NAME = st.none() | TEXT
OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "refused", "cancelled")
EXTRA = st.builds(dict[str, Any]) | st.dictionaries(
    TEXT | st.sampled_from(["agentkit", "$int", "reasoning"]), ANY, max_size=2
)
ARGUMENTS = TEXT | st.sampled_from(["{}", '{"a":1}', '{"a":"\\ud800"}', "[]", "not JSON", "{"])
CALLS = st.builds(ToolCall, TEXT, TEXT | st.just("functions.add"), ARGUMENTS, EXTRA)
IMAGE = st.builds(ImagePart, TEXT.map("data:{}".format), st.sampled_from([None, "auto", "low", "high"]))
MESSAGE = (
    st.builds(SystemMessage, TEXT, NAME)
    | st.builds(DeveloperMessage, TEXT, NAME)
    | st.builds(UserMessage, TEXT | st.lists(st.builds(TextPart, TEXT) | IMAGE).map(tuple), NAME, st.booleans())
    | st.builds(AssistantMessage, NAME, st.lists(CALLS, max_size=3).map(tuple), NAME, NAME, EXTRA, NAME)
    | st.builds(
        ToolMessage, TEXT, TEXT, st.sampled_from(OUTCOMES), NAME, st.just(()) | st.lists(IMAGE, max_size=2).map(tuple)
    )
)


@given(st.lists(MESSAGE, max_size=4))
def test_a_history_is_read_as_it_was(messages: list[Message]) -> None:
    assert loads(dumps(messages)) == tuple(messages)
    assert [message.encoded for message in loads(dumps(messages).encode())] == [m.encoded for m in messages]
    written = [stored(message) for message in messages]
    assert messages_of(written) == tuple(messages)
    for message, data in zip(messages, written, strict=True):
        assert json.loads(encode(data)) == data
        json_of(data).encode()  # no half of a surrogate pair is in it
        assert {key: value for key, value in data.items() if key != "agentkit"} == json.loads(message.encoded)
    try:
        read = messages_of([json.loads(message.encoded) for message in messages])
    except InvalidRequest:  # an id that is empty
        return
    assert not any("agentkit" in stored(message) for message in read if not isinstance(message, AssistantMessage))


@pytest.mark.parametrize(("message", "rest"), [
    (SystemMessage("Be brief.", "app"), None),
    (UserMessage((TextPart("What?"), ImagePart("https://a.b/c", "low"))), None),
    (AssistantMessage("Hi", (ToolCall("c1", "add", "{}"),), "No.", "bob"), None),
    (ToolMessage("c1", "18"), None),
    (UserMessage("Again.", note=True), {"note": True}),
    (ToolMessage("c1", "no", "refused"), {"outcome": "refused"}),
    (ToolMessage("c1", "a…z", full="abcz"), {"full": "abcz"}),
    (ToolMessage("c1", "seen", images=(ImagePart("data:,x"),)), {"images": [{"url": "data:,x"}]}),
    (ToolMessage("", "a"), {"role": "tool", "tool_call_id": "", "content": "a"}),
    (
        AssistantMessage(tool_calls=(ToolCall("c1", "add", '{"a":1}'), ToolCall("c2", "functions.add", "{oh"), ToolCall("c3", "add", "{}", {"signature": "x"}))),
        {"tool_calls": [{}, {"name": "functions.add", "arguments": "{oh"}, {"extra": {"signature": "x"}}]},
    ),
    (AssistantMessage("a", extra={"reasoning": "hm"}, origin="http://a.b"), {"extra": {"reasoning": "hm"}, "origin": "http://a.b"}),
    (UserMessage("a\ud800"), {"content": {"$text": "a\\ud800"}}),
    (AssistantMessage("a", extra={"n": 10**5000}), {"extra": {"n": {"$int": hex(10**5000)}}}),
    (AssistantMessage("a", extra={"n": float("inf")}), {"extra": {"n": {"$float": "inf"}}}),
    (AssistantMessage(""), {"content": ""}),
])  # fmt: skip
def test_only_what_the_wire_loses_is_added(message: Message, rest: object) -> None:
    data = stored(message)
    assert data.get("agentkit") == rest
    assert messages_of([data])[0] == message


def test_what_a_newer_version_adds_is_left_out() -> None:
    data = stored(ToolMessage("c1", "no", "refused"))
    object_of(data["agentkit"])["mood"] = {"$new": 1, "other": 2}
    assert messages_of([data]) == (ToolMessage("c1", "no", "refused"),)
    assert messages_of([{"role": "assistant", "content": "Hi", "agentkit": {}}]) == (AssistantMessage("Hi"),)


def test_what_json_cannot_say_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for extra in ({"a": object()}, {"a": {1, 2}}, {"a": deep}):
        with pytest.raises(InvalidRequest, match="extra"):
            stored(AssistantMessage("a", extra=extra))
    with pytest.raises(InvalidRequest, match="nested too deep"):
        json_of(deep)
    with pytest.raises(InvalidRequest, match="agentkit"):
        messages_of([{"role": "assistant", "content": "x", "agentkit": {"extra": {"a": deep}}}])


@pytest.mark.parametrize("history", ["", "[", "[" * 100_000, "[NaN", b"\xff", "1" * 5000, "{}", "[5]"])
def test_what_is_no_json_array_of_messages_is_refused(history: str | bytes) -> None:
    with pytest.raises(InvalidRequest):
        loads(history)


KEYS = "role content name tool_calls id function type text image_url url arguments tool_call_id refusal agentkit"
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS.split()),
            inner | st.sampled_from(["system", "developer", "user", "assistant", "tool", "text", "image_url"]),
        )
    ),
    max_leaves=15,
)


@given(st.lists(ANYTHING, max_size=3))
def test_whatever_comes_is_read_or_refused(prompt: Any) -> None:
    try:
        messages = messages_of(prompt)
    except InvalidRequest:
        return
    assert len(messages) == len(prompt)
