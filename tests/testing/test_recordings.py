import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import (
    AssistantMessage,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    ConnectionFailed,
    ContentFiltered,
    IncompleteReply,
    MalformedReply,
    ModelError,
    ModelTimeout,
    RateLimited,
    ReplyTooLarge,
    Settings,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.chat import Choice, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.testing.recordings import Recording, asked_of, is_recordable, key_of, read, written

SPEC = ToolSpec("f", "Do it.", {"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}})
REQUEST = ChatRequest(
    (SystemMessage("Be brief."), UserMessage("Hellö\n\u2028 there")),
    (SPEC,),
    ToolChoice("tool", "f"),
    Settings(temperature=0, extra={"seed": 7}),
    {"type": "json_object"},
)
ASKED = asked_of(REQUEST)
HELLO = asked_of(ChatRequest((UserMessage("Hello"),)))
REPLY = ChatResponse((Choice(AssistantMessage("Hi"), "stop"),))


def again(recording: Recording) -> Recording:
    name, (found,) = read(written("m", [recording]), "here")
    assert name == "m"
    return found


def test_a_request_is_what_it_means_a_line_for_each_part() -> None:
    assert (
        {
            "request": {
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "settings": {"temperature": 0, "seed": 7},
                "response_format": {"type": "json_object"},
            }
        },
        {"tool": {"name": "f", "description": "Do it.", "parameters": SPEC.parameters}},
        {"message": {"role": "system", "content": "Be brief."}},
        {"message": {"role": "user", "content": "Hellö\n\u2028 there"}},
    ) == ASKED
    assert HELLO == ({"request": {}}, {"message": {"role": "user", "content": "Hello"}})


def test_what_does_not_reach_the_model_is_no_part_of_the_meaning() -> None:
    one = ChatRequest((UserMessage("Hello", note=True), ToolMessage("c", "1", "error", full="11")), (SPEC,))
    turned = ToolSpec("f", "Do it.", {"properties": {"y": {}, "x": {"type": "integer"}}, "type": "object"})
    other = ChatRequest((UserMessage("Hello"), ToolMessage("c", "1")), (turned,))
    assert key_of(asked_of(one)) == key_of(asked_of(other))


@pytest.mark.parametrize(
    "other",
    [
        ChatRequest(
            REQUEST.messages[:1], REQUEST.tools, REQUEST.tool_choice, REQUEST.settings, REQUEST.response_format
        ),
        ChatRequest(REQUEST.messages, (), REQUEST.tool_choice, REQUEST.settings, REQUEST.response_format),
        ChatRequest(REQUEST.messages, REQUEST.tools, ToolChoice(), REQUEST.settings, REQUEST.response_format),
        ChatRequest(REQUEST.messages, REQUEST.tools, REQUEST.tool_choice, Settings(), REQUEST.response_format),
        ChatRequest(REQUEST.messages, REQUEST.tools, REQUEST.tool_choice, REQUEST.settings),
    ],
)
def test_each_part_tells_requests_apart(other: ChatRequest) -> None:
    assert key_of(asked_of(other)) != key_of(ASKED)


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        ChatResponse(
            (
                Choice(
                    AssistantMessage(None, (ToolCall("a", "f", "{oops", {"s": 1}),), extra={"t": [1.5]}, origin="u"),
                    "x",
                ),
                Choice(AssistantMessage(refusal="No."), None, {"logprobs": {"$odd": 2**70}}),
            ),
            Usage(1, 10, 5, None, 0.25),
            "id",
            "m-1",
            {"fingerprint": "\ud800"},
        ),
    ],
)
def test_a_reply_is_read_as_it_was(reply: ChatResponse) -> None:
    chunks = (ChatChunk({"choices": [], "half": "\ud83d"}), ChatChunk({"n": None}))
    recording = Recording(ASKED, reply, chunks)
    assert again(recording) == recording
    assert again(recording).key == recording.key
    assert recording.replayed() is reply


ERRORS: list[ModelError] = [
    ConnectionFailed("down"),
    ModelTimeout("late", 3.5, "idle"),
    RateLimited("slow", status=429, code="c", body="b", request_id="r", retry_after=2.0, should_retry=True),
    IncompleteReply("cut", "tex", (ToolCall("a", "f", '{"x"', {"s": [1]}),)),
    MalformedReply("odd", "<html>"),
    ReplyTooLarge("large", "body", 7),
    ContentFiltered("no", "tex"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_is_read_as_it_was(error: ModelError) -> None:
    error.attempts = 3
    assert is_recordable(error)
    read_again = again(Recording(ASKED, error)).outcome
    assert (type(read_again), str(read_again)) == (type(error), str(error))
    assert vars(read_again) == vars(error)
    raised: list[ModelError] = []
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            Recording(ASKED, error).replayed()
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_errors_of_others_are_not_recorded() -> None:
    class Mine(ModelError):
        pass

    assert not is_recordable(Mine("mine"))


def test_the_file_has_a_line_for_each_part() -> None:
    text = written("m", [Recording(HELLO, REPLY, (ChatChunk({"a": 1}),)), Recording(HELLO, ConnectionFailed("down"))])
    assert text.split("\n") == [
        '{"cassette": 1, "model": "m"}',
        '{"request": {}}',
        '{"message": {"role": "user", "content": "Hello"}}',
        '{"chunk": {"a": 1}}',
        '{"reply": {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}}',
        '{"request": {}}',
        '{"message": {"role": "user", "content": "Hello"}}',
        '{"error": {"type": "ConnectionFailed", "message": "down"}}',
        "",
    ]


HEAD = '{"cassette": 1}\n'
MESSAGE = '{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "here is no cassette of version 1, but begins with {}"),
        ('{"cassette": 2}', 'here is no cassette of version 1, but begins with {"cassette": 2}. Take it away'),
        (f"{HEAD}oops", "here, line 2, is damaged: Expecting value"),
        (f"{HEAD}[1]\n" + '{"chunk": {}}', "here, line 3, is damaged: a line 'chunk' does not belong here"),
        (HEAD + '{"request": {}}\n{"request": {}}', "line 3, is damaged: a line 'request' does not belong"),
        (HEAD + '{"request": {}, "b": 1}', "line 2, is damaged: too many values"),
        (HEAD + '{"request": {}}\n{"what": {}}', "line 3, is damaged: there is no what"),
        (HEAD + '{"request": {}}\n{"reply": {}}', "line 3, is damaged: reply cannot be {}"),
        (HEAD + '{"request": {}}\n{"reply": {"choices": []}}', "line 3, is damaged: there is no reply like"),
        (HEAD + '{"request": {}}\n{"reply": {"choices": [1]}}', "line 3, is damaged: "),
        (
            HEAD + '{"request": {}}\n{"reply": {"choices": [' + MESSAGE.replace("assistant", "user") + "]}}",
            "line 3, is damaged: reply.choices[0].message cannot be",
        ),
        (
            HEAD
            + '{"request": {}}\n{"reply": {"choices": ['
            + MESSAGE.replace("Hi", "\\n")
            + '], "usage": {"cost": "x"}}}',
            "line 3, is damaged: reply.usage",
        ),
        (
            HEAD + '{"request": {}}\n{"error": {"type": "AgentkitError", "message": ""}}',
            "there is no error like",
        ),
        (HEAD + '{"request": {}}\n{"error": {"type": "Partial", "message": ""}}', "there is no error like"),
        (HEAD + '{"request": {}}\n{"error": {"type": "ModelError"}}', "line 3, is damaged: the error's message"),
        (HEAD + '{"request": {}}\n', "here ends within a recording. Take it away, and record anew"),
    ],
)
def test_a_damaged_file_says_where(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, "here")
    assert said in str(caught.value)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=3), st.text(), st.text(max_size=20))
def test_whatever_was_said_is_read_as_it_was(chunks: list[dict[str, Any]], text: str, asked: str) -> None:
    message = AssistantMessage(text, (ToolCall("a", "f", text),))
    told = tuple([ChatChunk(data) for data in chunks])
    recording = Recording(asked_of(ChatRequest((UserMessage(asked),))), ChatResponse((Choice(message, text),)), told)
    assert again(recording) == recording
    assert len(written("m", [recording]).encode().split(b"\n")) == 5 + len(chunks)


def test_lines_are_plain_json() -> None:
    for line in written("m", [Recording(ASKED, REPLY)]).splitlines()[:2]:
        assert isinstance(json.loads(line), dict)
