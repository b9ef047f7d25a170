import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.dicts import dumps, json_of, loads, messages_of, stored
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode, object_of
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    Outcome,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

# Any text at all: with halves of surrogate pairs, also two that would be joined, and with NUL.
TEXT = st.text(st.characters() | st.sampled_from("\ud83d\ude00\ud800\x00"), max_size=6) | st.just("\ud83d\ude00")
NAME = st.none() | TEXT
OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "refused", "cancelled")
NUMBER = st.integers() | st.sampled_from([2**53 + 1, 2**63, -(2**63) - 1, 10**50]) | st.floats(allow_nan=False)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(TEXT | st.sampled_from(["$text", "$new", "role"]) | st.integers(), inner, max_size=2)
    ),
    max_leaves=8,
)
EXTRA = st.dictionaries(TEXT | st.sampled_from(["agentkit", "$int", "reasoning"]), ANY, max_size=2)
ARGUMENTS = TEXT | st.sampled_from(["{}", '{"a":1}', '{"a":"\\ud800"}', "[]", "not JSON", "{"])
NO_EXTRA = st.builds(dict[str, Any])
CALL = st.builds(ToolCall, TEXT, TEXT | st.just("functions.add"), ARGUMENTS, NO_EXTRA | EXTRA)
IMAGE = st.builds(ImagePart, TEXT, st.sampled_from([None, "auto", "low", "high"]))
MESSAGE = (
    st.builds(SystemMessage, TEXT, NAME)
    | st.builds(DeveloperMessage, TEXT, NAME)
    | st.builds(UserMessage, TEXT | st.lists(st.builds(TextPart, TEXT) | IMAGE).map(tuple), NAME, st.booleans())
    | st.builds(AssistantMessage, NAME, st.lists(CALL, max_size=3).map(tuple), NAME, NAME, NO_EXTRA | EXTRA, NAME)
    | st.builds(
        ToolMessage, TEXT, TEXT, st.sampled_from(OUTCOMES), NAME, st.just(()) | st.lists(IMAGE, max_size=2).map(tuple)
    )
)


@given(st.lists(MESSAGE, max_size=4))
def test_a_history_is_read_as_it_was(messages: list[Message]) -> None:
    assert loads(dumps(messages)) == tuple(messages)
    assert [each.encoded for each in loads(dumps(messages).encode())] == [each.encoded for each in messages]
    assert messages_of([stored(each) for each in messages]) == messages_of(messages)


def test_everything_may_be_lost() -> None:
    """All fields are of another kind than what the wire gives back, and of the call only some."""
    message = AssistantMessage("", (ToolCall("a", "\ud800", "{}"),), "", "", {"a": 1}, "b")
    assert loads(dumps([message])) == (message,)


def test_a_number_may_be_long() -> None:
    message = AssistantMessage("a", extra={"n": 10**5000})
    assert loads(dumps([message])) == (message,)


@given(MESSAGE)
def test_any_library_can_write_it(message: Message) -> None:
    data = stored(message)
    assert json.loads(encode(data)) == data
    json_of(data).encode()  # no half of a surrogate pair is in it
    assert {key: value for key, value in data.items() if key != "agentkit"} == json.loads(message.encoded)


@given(st.lists(MESSAGE, max_size=4))
def test_dicts_as_the_wire_has_them_go_round(messages: list[Message]) -> None:
    try:
        read = messages_of([json.loads(each.encoded) for each in messages])
    except InvalidRequest:  # an id that is empty
        return
    assert loads(dumps(read)) == read
    assert [each for each in read if not isinstance(each, AssistantMessage) and "agentkit" in stored(each)] == []


CALLING = AssistantMessage(
    tool_calls=(
        ToolCall("c1", "add", '{"a":1}'),
        ToolCall("c2", "functions.add", "{oh"),
        ToolCall("c3", "add", "{}", {"signature": "x"}),
    ),
    extra={"reasoning": "hm"},
    origin="https://a.example/v1",
)


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        (SystemMessage("Be brief.", "app"), None),
        (UserMessage((TextPart("What?"), ImagePart("https://a.b/c", "low"))), None),
        (AssistantMessage("Hi", (ToolCall("c1", "add", "{}"),), "No.", "bob"), None),
        (ToolMessage("c1", "18"), None),
        (UserMessage("Again.", note=True), {"note": True}),
        (ToolMessage("c1", "no", "refused"), {"outcome": "refused"}),
        (ToolMessage("c1", "a…z", full="abcz"), {"full": "abcz"}),
        (
            ToolMessage("c1", "seen", images=(ImagePart("data:,x"),)),
            {"images": [{"type": "image_url", "image_url": {"url": "data:,x"}}]},
        ),
        (
            CALLING,
            {
                "tool_calls": [{}, {"name": "functions.add", "arguments": "{oh"}, {"extra": {"signature": "x"}}],
                "extra": {"reasoning": "hm"},
                "origin": "https://a.example/v1",
            },
        ),
        (UserMessage("a\ud800"), {"content": {"$text": "a\\ud800"}}),
        (AssistantMessage("a", extra={"n": 2**64}), {"extra": {"n": {"$int": "0x10000000000000000"}}}),
        (AssistantMessage("a", extra={"n": float("inf")}), {"extra": {"n": {"$float": "inf"}}}),
        (AssistantMessage(""), {"content": ""}),
    ],
)
def test_only_what_the_wire_loses_is_added(message: Message, rest: object) -> None:
    data = stored(message)
    assert data.get("agentkit") == rest
    assert messages_of([data])[0] == message


def test_what_a_newer_version_adds_is_left_out() -> None:
    data = stored(ToolMessage("c1", "no", "refused"))
    object_of(data["agentkit"])["mood"] = {"$new": 1, "other": 2}
    assert messages_of([data]) == (ToolMessage("c1", "no", "refused"),)
    assert messages_of([{"role": "assistant", "content": "Hi", "agentkit": {}}]) == (AssistantMessage("Hi"),)


def of(role: str, **rest: Any) -> dict[str, Any]:
    return {"role": role, "content": "x", "tool_call_id": "c1", "agentkit": rest}


PART = {"type": "text", "text": "a"}
ONE_CALL = [{"id": "c1", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"role": "user", "content": "x", "agentkit": None}, r"agentkit must be a dict, not None"),
        ({"role": "user", "content": "x", "agentkit": "y" * 999}, r"agentkit must be a dict, not 'y+…$"),
        (of("user", note={"$new": 1}), r"agentkit cannot be read: \{'\$new': 1\} is not known to this version"),
        (of("user", content={"$text": "é"}), r"agentkit cannot be read: 'ascii'"),
        (of("user", content={"$int": "x"}), r"agentkit cannot be read: invalid literal"),
        (of("user", content={"$float": "1"}), r"agentkit cannot be read: \{'\$float': '1'\} is not known"),
        (of("user", content={"$dict": [1]}), r"agentkit cannot be read: not enough values"),
        (of("user", content={"$dict": [[[], 1]]}), r"agentkit cannot be read: unhashable"),
        (of("user", note=1), r"agentkit\.note is not what it can be: 1"),
        (of("user", content=5), r"agentkit\.content is not what it can be: 5"),
        (of("user", content=[PART, "a"]), r"agentkit\.content\[1\] is not a block that it can be: 'a'"),
        (of("user", content=[{"type": "image_url"}]), r"agentkit\.content\[0\] is not a block"),
        (
            of("user", content=[{"type": "image_url", "image_url": {"url": "u", "detail": "best"}}]),
            r"agentkit\.content\[0\] is not a block",
        ),
        (of("user", name=5), r"agentkit\.name is not"),
        (of("system", content=None), r"agentkit\.content is not"),
        (of("system", content=[PART]), r"agentkit\.content is not"),
        (of("developer", content=[]), r"agentkit\.content is not"),
        (of("tool", outcome="fine"), r"agentkit\.outcome is not what it can be: 'fine'"),
        (of("tool", outcome=["ok"]), r"agentkit\.outcome is not"),
        (of("tool", full=5), r"agentkit\.full is not"),
        (of("tool", images={}), r"agentkit\.images is not"),
        (of("tool", images=[PART]), r"agentkit\.images\[0\] is not a block"),
        (of("tool", tool_call_id=None), r"agentkit\.tool_call_id is not"),
        (of("assistant", extra=[]), r"agentkit\.extra is not"),
        (of("assistant", tool_calls={}), r"agentkit\.tool_calls is not"),
        (of("assistant", tool_calls=[{}]), r"agentkit\.tool_calls must have as many entries as tool_calls, 0, not 1"),
        (
            of("assistant", tool_calls=[{"arguments": 5}]) | {"tool_calls": ONE_CALL},
            r"agentkit\.tool_calls\[0\] is not what a call can be: \{'arguments': 5\}",
        ),
        (
            of("assistant", tool_calls=[{"extra": 5}]) | {"tool_calls": ONE_CALL},
            r"agentkit\.tool_calls\[0\] is not what a call can be",
        ),
        (
            of("assistant", content=None, tool_calls=[{"id": ""}], refusal=None, name=None, extra={}, origin=None),
            r"agentkit\.tool_calls\[0\] is not what a call can be: \{'id': ''\}",
        ),
        (of("function"), r"role must be"),
        ({"role": ["user"], "agentkit": {}}, r"role must be"),
        ({"role": "user", "agentkit": {}}, r"content must be"),
    ],
)
def test_a_refusal_names_the_place(data: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^messages\[1\]\.{said}"):
        messages_of([UserMessage("Hi"), data])


def test_what_json_cannot_say_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for extra in ({"a": object()}, {"a": {1, 2}}, {"a": deep}):
        with pytest.raises(InvalidRequest, match="extra has what JSON cannot say"):
            stored(AssistantMessage("a", extra=extra))
    with pytest.raises(InvalidRequest, match="nested too deep"):
        json_of(deep)
    with pytest.raises(InvalidRequest, match="agentkit cannot be read"):
        messages_of([{"role": "assistant", "content": "x", "agentkit": {"extra": {"a": deep}}}])


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "[NaN", b"\xff", "1" * 5000])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^the history is not JSON"):
        loads(text)


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON array, not dict"):
        loads("{}")
    with pytest.raises(InvalidRequest, match=r"^messages\[0\] must be a message or a dict, not 5"):
        loads("[5]")
