import json
from collections import UserList
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.dicts import messages_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    shown,
)
from agentkit.core.repair import repaired
from agentkit.core.state import State, ToolResults

CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"role": "system", "content": "Be brief."}, SystemMessage("Be brief.")),
        ({"role": "system", "content": [text("Be "), text("brief.")]}, SystemMessage("Be brief.")),
        ({"role": "developer", "name": "dev", "content": "Be kind."}, DeveloperMessage("Be kind.", "dev")),
        ({"role": "user", "content": "Hi", "name": "ann"}, UserMessage("Hi", "ann")),
        ({"role": "user", "content": "Hi", "name": None}, UserMessage("Hi")),
        ({"role": "user", "content": "Hi", "name": ""}, UserMessage("Hi")),
        ({"role": "user", "content": []}, UserMessage(())),
        (
            {"role": "user", "content": [text("What?"), image("https://a.b/c"), image("data:,x", detail="high")]},
            UserMessage((TextPart("What?"), ImagePart("https://a.b/c"), ImagePart("data:,x", "high"))),
        ),
        ({"role": "user", "content": (TextPart("a"), ImagePart("u"))}, UserMessage((TextPart("a"), ImagePart("u")))),
        ({"role": "user", "content": [image("u", detail=None)]}, UserMessage((ImagePart("u"),))),
        ({"role": "assistant", "content": "Hello"}, AssistantMessage("Hello")),
        ({"role": "assistant"}, AssistantMessage()),
        ({"role": "assistant", "content": ""}, AssistantMessage()),
        ({"role": "assistant", "content": [text("Hel"), text("lo")]}, AssistantMessage("Hello")),
        (
            {"role": "assistant", "content": None, "refusal": "No.", "name": "bob"},
            AssistantMessage(refusal="No.", name="bob"),
        ),
        ({"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None}, AssistantMessage("Hi")),
        ({"role": "assistant", "content": "Hi", "refusal": "", "tool_calls": []}, AssistantMessage("Hi")),
        ({"role": "assistant", "content": "Hi", "reasoning": "hm"}, AssistantMessage("Hi", extra={"reasoning": "hm"})),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL, ToolCall("c2", "b", "{}")]},
            AssistantMessage(tool_calls=(ToolCall("c1", "get_weather", '{"city":"Paris"}'), ToolCall("c2", "b", "{}"))),
        ),
        ({"role": "tool", "tool_call_id": "c1", "content": "18"}, ToolMessage("c1", "18")),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [text("18")], "name": "get_weather"},
            ToolMessage("c1", "18"),
        ),
    ],
)
def test_a_dict_becomes_a_message(data: dict[str, Any], message: Message) -> None:
    (read,) = messages_of([data])
    assert read == message
    assert messages_of([read.to_dict()])[0].encoded == message.encoded


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ({"a": 1}, '{"a":1}'),
        ({}, "{}"),
        ("", "{}"),
        (None, "{}"),
        ([], "[]"),
        ("not JSON", "not JSON"),
    ],
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


def calling(call: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [CALL, call]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("Hi", r"messages\[1\] must be a message or a dict, not 'Hi'"),
        (None, r"messages\[1\] must be a message or a dict, not None"),
        ({}, r"messages\[1\]\.role must be system, developer, user, assistant or tool, not None"),
        ({"role": "function", "content": "x"}, r"messages\[1\]\.role must be .*, not 'function'"),
        ({"role": ["user"], "content": "x"}, r"messages\[1\]\.role must be .*, not \['user'\]"),
        ({"role": "user"}, r"messages\[1\]\.content must be a text or a list of blocks, not None"),
        ({"role": "user", "content": 5}, r"messages\[1\]\.content must be .*, not 5"),
        ({"role": "user", "content": {"type": "text"}}, r"messages\[1\]\.content must be"),
        (
            {"role": "user", "content": [text("a"), "b"]},
            r"messages\[1\]\.content\[1\] must be a block of type text or image_url, not 'b'",
        ),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, r"messages\[1\]\.content\[0\] must be a block"),
        ({"role": "user", "content": [image("")]}, r"messages\[1\]\.content\[0\] must be a block"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "u"}]},
            r"messages\[1\]\.content\[0\] must be a block",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, r"messages\[1\]\.content\[0\] must be a block"),
        (
            {"role": "user", "content": [image("u", detail="best")]},
            r"messages\[1\]\.content\[0\]\.image_url\.detail must be auto, low or high, not 'best'",
        ),
        ({"role": "user", "content": "x", "name": 5}, r"messages\[1\]\.name must be a text that is not empty, not 5"),
        ({"role": "system", "content": None}, r"messages\[1\]\.content must be"),
        (
            {"role": "developer", "content": [image("u")]},
            r"messages\[1\]\.content has an image \('u'\); only a user message can",
        ),
        ({"role": "assistant", "content": 5}, r"messages\[1\]\.content must be"),
        ({"role": "assistant", "refusal": 5}, r"messages\[1\]\.refusal must be a text"),
        ({"role": "assistant", "tool_calls": CALL}, r"messages\[1\]\.tool_calls must be a list, not \{'id'"),
        (calling("c2"), r"messages\[1\]\.tool_calls\[1\] must have an id and a function with a name, not 'c2'"),
        (calling({"id": "", "function": {"name": "f"}}), r"messages\[1\]\.tool_calls\[1\] must have an id"),
        (calling({"id": "c2", "function": {"name": ""}}), r"messages\[1\]\.tool_calls\[1\] must have an id"),
        (calling({"id": "c2", "function": "f"}), r"messages\[1\]\.tool_calls\[1\] must have an id"),
        (
            calling({"id": "c2", "function": {"name": "f", "arguments": {"a": object()}}}),
            r"messages\[1\]\.tool_calls\[1\]\.function\.arguments has what JSON cannot say",
        ),
        ({"role": "tool", "content": "18"}, r"messages\[1\]\.tool_call_id must be a text that is not empty, not None"),
        (
            {"role": "tool", "tool_call_id": "", "content": "18"},
            r"messages\[1\]\.tool_call_id must be a text that is not empty, not ''",
        ),
        ({"role": "tool", "tool_call_id": "c1", "content": None}, r"messages\[1\]\.content must be"),
    ],
)
def test_a_refusal_names_the_place(data: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{said}"):
        messages_of([UserMessage("Hi"), data])


@pytest.mark.parametrize("prompt", [5, None, {"role": "user", "content": "Hi"}, {UserMessage("Hi")}, iter(())])
def test_what_is_no_history_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^the prompt must be a text, a message or a list of messages, not"):
        messages_of(prompt)


def test_what_is_refused_is_shown_in_part() -> None:
    with pytest.raises(InvalidRequest) as caught:
        messages_of([{"role": "user", "content": [{"type": "picture", "data": "x" * 10_000}]}])
    assert len(str(caught.value)) < 400


PICTURE, OTHER = ImagePart("https://a.b/c.png"), ImagePart("data:,x", "low")


def answer(call_id: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": list(blocks)}


def two_calls() -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]}


def test_images_in_results_are_shown_after_all_the_results() -> None:
    history = [
        {"role": "user", "content": "Look."},
        two_calls(),
        answer("c1", text("one"), image("https://a.b/c.png"), text("!")),
        answer("c2", image("data:,x", detail="low")),
        {"role": "assistant", "content": "A cat."},
    ]
    read = repaired(messages_of(history)).messages
    assert read[2:5] == (
        ToolMessage("c1", "one!", images=(PICTURE,)),
        ToolMessage("c2", "", images=(OTHER,)),
        shown([PICTURE, OTHER]),
    )
    assert len(read) == 6
    # They are shown once, however often the history is read.
    assert messages_of(read) == read
    assert messages_of([*read, {"role": "user", "content": "And?"}])[:6] == read


def test_images_of_the_last_results_wait_for_the_calls_that_are_open() -> None:
    one_answer = messages_of([two_calls(), answer("c1", image("https://a.b/c.png"))])
    assert len(one_answer) == 2
    state = State.of(one_answer)
    assert [call.id for call in state.unanswered] == ["c2"]
    answered = state.with_results(ToolResults((ToolMessage("c2", "done"),)))
    assert answered.messages == (*one_answer, ToolMessage("c2", "done"), shown([PICTURE]))
    # With no call open they are shown at once.
    closed = messages_of([two_calls(), answer("c1", image("https://a.b/c.png")), answer("c2", text("done"))])
    assert State.of(closed).messages == (*closed, shown([PICTURE]))
    assert State.of(messages_of(State.of(closed).messages)).messages == (*closed, shown([PICTURE]))


TEXT = st.text(min_size=1)
# What is no name or no object is sent as one, so it does not come back as it was.
TOOL = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
VALUE = st.none() | st.integers(-9, 9) | st.text()
ARGUMENTS = st.dictionaries(st.text(), VALUE).map(lambda each: encode(each).decode())
NAME = st.none() | TEXT
PART = st.builds(TextPart, st.text()) | st.builds(ImagePart, TEXT, st.sampled_from([None, "auto", "low", "high"]))
MESSAGE = (
    st.builds(SystemMessage, st.text(), NAME)
    | st.builds(DeveloperMessage, st.text(), NAME)
    | st.builds(UserMessage, st.text() | st.lists(PART).map(tuple), NAME)
    | st.builds(AssistantMessage, TEXT, st.lists(st.builds(ToolCall, TEXT, TOOL, ARGUMENTS)).map(tuple), NAME, NAME)
    | st.builds(ToolMessage, TEXT, st.text())
)


@given(st.lists(MESSAGE, max_size=5))
def test_messages_become_dicts_and_messages_again(messages: list[Message]) -> None:
    dicts = [json.loads(message.encoded) for message in messages]
    assert dicts == [message.to_dict() for message in messages]
    assert messages_of(dicts) == tuple(messages)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "name",
                    "tool_calls",
                    "id",
                    "function",
                    "type",
                    "text",
                    "image_url",
                    "url",
                    "arguments",
                    "tool_call_id",
                    "refusal",
                ]
            ),
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
