import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    _Encoded,  # pyright: ignore[reportPrivateUsage]
)

CALL = ToolCall("c1", "get_weather", '{"city": "Paris"}')
WIRE: list[tuple[Message, str]] = [
    (SystemMessage("Be brief."), '{"role":"system","content":"Be brief."}'),
    (SystemMessage("Hi", name="ann"), '{"role":"system","name":"ann","content":"Hi"}'),
    (DeveloperMessage("Be kind.", "dev"), '{"role":"developer","name":"dev","content":"Be kind."}'),
    (DeveloperMessage("é\n"), '{"role":"developer","content":"é\\n"}'),
    (UserMessage(""), '{"role":"user","content":""}'),
    (UserMessage("Hi", name="ann", note=True), '{"role":"user","name":"ann","content":"Hi"}'),
    (
        UserMessage(
            (TextPart("What is it?"), ImagePart("https://a.b/c.png"), ImagePart("data:image/png;base64,AA==", "low"))
        ),
        (
            '{"role":"user","content":[{"type":"text","text":"What is it?"},'
            '{"type":"image_url","image_url":{"url":"https://a.b/c.png"}},'
            '{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]}'
        ),
    ),
    (AssistantMessage("Hello"), '{"role":"assistant","content":"Hello"}'),
    (AssistantMessage(), '{"role":"assistant","content":""}'),
    (AssistantMessage("Hi", name="bob"), '{"role":"assistant","name":"bob","content":"Hi"}'),
    (AssistantMessage(refusal="No."), '{"role":"assistant","content":null,"refusal":"No."}'),
    (AssistantMessage("Hi", extra={"reasoning": "hm"}), '{"role":"assistant","content":"Hi"}'),
    (
        AssistantMessage(tool_calls=(CALL,)),
        (
            '{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",'
            '"function":{"name":"get_weather","arguments":"{\\"city\\": \\"Paris\\"}"}}]}'
        ),
    ),
    (
        AssistantMessage("Let me look.", (ToolCall("1", "a", "{}"), ToolCall("2", "b", ""))),
        (
            '{"role":"assistant","content":"Let me look.","tool_calls":['
            '{"id":"1","type":"function","function":{"name":"a","arguments":"{}"}},'
            '{"id":"2","type":"function","function":{"name":"b","arguments":""}}]}'
        ),
    ),
    (ToolMessage("c1", "18", "error"), '{"role":"tool","tool_call_id":"c1","content":"18"}'),
    (UserMessage("a\ud83d\ude00\ud800b"), '{"role":"user","content":"a😀\ufffdb"}'),
]
MESSAGES = [message for message, _ in WIRE]


@pytest.mark.parametrize(("message", "written"), WIRE)
def test_what_a_message_is_on_the_wire(message: Message, written: str) -> None:
    assert message.encoded == written.encode()


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_a_value(message: Message) -> None:
    with pytest.raises(FrozenInstanceError):
        message.content = "other"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    again = replace(message)
    assert (again, hash(again), again.encoded) == (message, hash(message), message.encoded)
    assert again != replace(message, content="other")
    assert "encoded" not in repr(message)
    for other in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):  # noqa: S301 (our own)
        assert (other, other.encoded) == (message, message.encoded)


def test_messages_of_different_kinds_differ() -> None:
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert len({SystemMessage("Hi"), DeveloperMessage("Hi"), UserMessage("Hi"), AssistantMessage("Hi")}) == 4
    assert UserMessage("Hi") != UserMessage("Hi", note=True)
    assert ToolMessage("c1", "x", "ok") != ToolMessage("c1", "x", "error")


def test_a_message_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(value: object) -> bytes:
        pytest.fail(f"{value!r} was encoded")

    message = UserMessage("Hi")
    monkeypatch.setattr("agentkit.messages.encode", encode)
    assert message.encoded is message.encoded
    assert copy.copy(message).encoded == message.encoded


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_can_be_sent(text: str) -> None:
    message = UserMessage(text)
    message.encoded.decode()
    assert message.content == text


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        (Usage(), Usage(), Usage()),
        (Usage(1, 10, 5), Usage(1, 20, 6), Usage(2, 30, 11)),
        (Usage(1), Usage(1, 20, 6), Usage(2, 20, 6)),
        (Usage(1, 10), Usage(1, None, 6), Usage(2, 10, 6)),
        (Usage(1, 0, 0), Usage(1), Usage(2, 0, 0)),
    ],
)
def test_usage_adds_up(left: Usage, right: Usage, total: Usage) -> None:
    assert left + right == total == right + left


@pytest.mark.parametrize(
    ("usage", "total"),
    [(Usage(1), None), (Usage(1, 3), 3), (Usage(1, None, 4), 4), (Usage(1, 3, 4), 7), (Usage(1, 0, 0), 0)],
)
def test_usage_in_all(usage: Usage, total: Any) -> None:
    assert usage.total_tokens == total


def test_a_message_says_how_it_is_written() -> None:
    with pytest.raises(NotImplementedError):
        _Encoded().to_dict()
