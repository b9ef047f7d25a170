from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import AssistantMessage, ChatChunk, ChatRequest, ChatResponse, ConfigurationError, Settings
from agentkit.core import errors
from agentkit.core.chat import Choice, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConnectionFailed, ModelError
from agentkit.core.messages import SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.testing.recordings import Recording, asked_of, is_recordable, key_of, read, written
from tests.strategies import any_text

SPEC = ToolSpec("f", "Do it.", {"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}})
REQUEST = ChatRequest(
    (SystemMessage("Be brief."), UserMessage("Hellö\n\u2028 there")),
    (SPEC,),
    ToolChoice("tool", "f"),
    Settings(temperature=0, seed=7),
    {"type": "json_object"},
)
ASKED = asked_of(REQUEST)
HELLO = asked_of(ChatRequest((UserMessage("Hello"),)))
REPLY = ChatResponse((Choice(AssistantMessage("Hi"), "stop"),))


def again(recording: Recording) -> Recording:
    name, (read_again,) = read(written("m", [recording]), "here")
    assert name == "m"
    return read_again


def test_a_request_has_a_line_for_each_part() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    settings, wanted = {"temperature": 0, "seed": 7}, {"type": "json_object"}
    options = {"tool_choice": choice, "settings": settings, "response_format": wanted}
    assert (
        {"request": options},
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


@pytest.mark.parametrize("part", [
    {"messages": REQUEST.messages[:1]}, {"tools": ()}, {"tool_choice": ToolChoice()}, {"settings": Settings()},
    {"response_format": None},
])  # fmt: skip
def test_each_part_tells_requests_apart(part: dict[str, Any]) -> None:
    assert key_of(asked_of(replace(REQUEST, **part))) != key_of(ASKED)


ODD_CALL = AssistantMessage(None, (ToolCall("a", "f", "{oops", {"s": 1}),), extra={"t": [1.5]}, origin="u")
ODD_CHOICES = Choice(ODD_CALL, "x"), Choice(AssistantMessage(refusal="No."), None, {"logprobs": {"$odd": 2**70}})


@pytest.mark.parametrize("reply", [REPLY, ChatResponse(ODD_CHOICES, Usage(1, 10, 5, None, 0.25), "id", "m-1", {"fingerprint": "\ud800"})])  # fmt: skip
def test_a_reply_is_read_as_it_was_written(reply: ChatResponse) -> None:
    recording = Recording(ASKED, reply, (ChatChunk({"choices": [], "half": "\ud83d"}), ChatChunk({"n": None})))
    assert again(recording) == recording


ERRORS: list[ModelError] = [
    ConnectionFailed("down"),
    errors.ModelTimeout("late", 3.5, "idle"),
    errors.RateLimited("slow", status=429, code="c", body="b", request_id="r", retry_after=2.0, should_retry=True),
    errors.IncompleteReply("cut", "tex", (ToolCall("a", "f", '{"x"', {"s": [1]}),)),
    errors.MalformedReply("odd", "<html>"),
    errors.ReplyTooLarge("large", "body", 7),
    errors.ContentFiltered("no", "tex"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_is_read_as_it_was_written(error: ModelError) -> None:
    error.attempts = 3
    assert is_recordable(error)
    read_again = again(Recording(ASKED, error)).outcome
    assert (type(read_again), str(read_again), vars(read_again)) == (type(error), str(error), vars(error))


def test_the_file_has_a_line_for_each_part() -> None:
    text = written("m", [Recording(HELLO, REPLY, (ChatChunk({"a": 1}),)), Recording(HELLO, ConnectionFailed("down"))])
    asked = ['{"request": {}}', '{"message": {"role": "user", "content": "Hello"}}']
    reply = '{"reply": {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}}'
    error = '{"error": {"type": "ConnectionFailed", "message": "down"}}'
    assert text.split("\n") == [
        '{"cassette": 1, "model": "m"}',
        *asked,
        '{"chunk": {"a": 1}}',
        reply,
        *asked,
        error,
        "",
    ]


HEAD = '{"cassette": 1}\n'
ASKS = HEAD + '{"request": {}}\n'
REPLIES = ASKS + '{"reply": {"choices": [{"message": {"role": "%s", "content": "Hi"}, "finish_reason": "stop"}]%s}}'


@pytest.mark.parametrize(("text", "part"), [
    ("", "version 1"), ('{"cassette": 2}', "version 1"), (f"{HEAD}oops", "line 2"),
    (HEAD + '[1]\n{"chunk": {}}', "line 3, is damaged: a line 'chunk'"),
    (ASKS + '{"request": {}}', "line 3, is damaged: a line 'request'"),
    (HEAD + '{"request": {}, "b": 1}', "line 2"),
    (ASKS + '{"what": {}}', "line 3, is damaged: there is no what"),
    (ASKS + '{"reply": {}}', "line 3, is damaged: reply"),
    (ASKS + '{"reply": {"choices": []}}', "line 3, is damaged: there is no reply"),
    (ASKS + '{"reply": {"choices": [1]}}', "line 3"),
    (REPLIES % ("user", ""), "reply.choices[0].message"),
    (REPLIES % ("assistant", ', "usage": {"cost": "x"}'), "line 3, is damaged: reply.usage"),
    (ASKS + '{"error": {"type": "AgentkitError", "message": ""}}', "there is no error"),
    (ASKS + '{"error": {"type": "Partial", "message": ""}}', "there is no error"),
    (ASKS + '{"error": {"type": "ModelError"}}', "line 3"),
    (ASKS, "here ends within a recording"),
])  # fmt: skip
def test_a_damaged_file_says_where(text: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, "here")
    assert part in str(caught.value)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(any_text(), JSON, max_size=3), max_size=3), any_text(), any_text(max_size=20))
@settings(max_examples=30)
def test_every_recording_is_read_as_it_was_written(chunks: list[dict[str, Any]], text: str, asked: str) -> None:
    choice = Choice(AssistantMessage(text, (ToolCall("a", "f", text),)), text)
    request = asked_of(ChatRequest((UserMessage(asked),)))
    recording = Recording(request, ChatResponse((choice,)), tuple(map(ChatChunk, chunks)))
    assert again(recording) == recording
    assert len(written("m", [recording]).encode().split(b"\n")) == 5 + len(chunks)
