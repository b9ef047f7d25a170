import copy
import json
import pickle
import re
from dataclasses import FrozenInstanceError, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import DeveloperMessage, ImagePart, SystemMessage, TextPart, Usage
from agentkit.core import messages
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage, shown

CALL = ToolCall("c1", "get_weather", '{"city": "Paris"}')
WIRE: list[tuple[Message, str]] = [
    (SystemMessage("Be brief."), '{"role":"system","content":"Be brief."}'),
    (SystemMessage("Hi", name="ann"), '{"role":"system","name":"ann","content":"Hi"}'),
    (DeveloperMessage("Be kind.", "dev"), '{"role":"developer","name":"dev","content":"Be kind."}'),
    (DeveloperMessage("é\n"), '{"role":"developer","content":"é\\n"}'),
    (UserMessage(""), '{"role":"user","content":""}'),
    (UserMessage("Hi", name="ann", note=True), '{"role":"user","name":"ann","content":"Hi"}'),
    (
        UserMessage((TextPart("What is it?"), ImagePart("https://a.b/c.png"), ImagePart("data:image/png;base64,AA==", "low"))),
        '{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"https://a.b/c.png"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]}',
    ),
    (AssistantMessage("Hello"), '{"role":"assistant","content":"Hello"}'),
    (AssistantMessage(), '{"role":"assistant","content":""}'),
    (AssistantMessage("Hi", name="bob"), '{"role":"assistant","name":"bob","content":"Hi"}'),
    (AssistantMessage(refusal="No."), '{"role":"assistant","content":null,"refusal":"No."}'),
    (AssistantMessage("Hi", extra={"reasoning": "hm"}), '{"role":"assistant","content":"Hi"}'),
    (
        AssistantMessage(tool_calls=(CALL,)),
        '{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":"{\\"city\\": \\"Paris\\"}"}}]}',
    ),
    (
        AssistantMessage("Let me look.", (ToolCall("1", "a", "{}"), ToolCall("2", "b", ""))),
        '{"role":"assistant","content":"Let me look.","tool_calls":[{"id":"1","type":"function","function":{"name":"a","arguments":"{}"}},{"id":"2","type":"function","function":{"name":"b","arguments":"{}"}}]}',
    ),
    (AssistantMessage("from there", origin="https://a.b/v1"), '{"role":"assistant","content":"from there"}'),
    (ToolMessage("c1", "18", full="180"), '{"role":"tool","tool_call_id":"c1","content":"18"}'),
    (ToolMessage("c1", "18", "error"), '{"role":"tool","tool_call_id":"c1","content":"18"}'),
    (UserMessage("a\ud83d\ude00\ud800b"), '{"role":"user","content":"a😀\ufffdb"}'),
]  # fmt: skip
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


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_can_be_sent(text: str) -> None:
    message = UserMessage(text)
    message.encoded.decode()
    assert message.content == text


@pytest.mark.parametrize(("name", "sent"), [
    ("get_weather", "get_weather"),
    ("get-weather-2", "get-weather-2"),
    ("2", "2"),
    ("get weather!", "get_weather_"),
    ("functions.search", "functions_search"),
    ("wetter_für_paris", "wetter_f_r_paris"),
    ("", "_"),
    ("a" * 65, "a" * 64),
    ("é" * 70, "_" * 64),
    ("\ud800", "_"),
])  # fmt: skip
def test_a_call_s_name_is_one_that_every_endpoint_takes(name: str, sent: str) -> None:
    function: Any = ToolCall("c1", name, "{}").to_dict()["function"]
    assert function["name"] == sent


@given(st.text(st.characters(codec=None, categories=None)), st.text(st.characters(codec=None, categories=None)))
def test_whatever_a_model_wrote_can_be_sent_again(name: str, arguments: str) -> None:
    call: Any = json.loads(AssistantMessage(tool_calls=(ToolCall("c1", name, arguments),)).encoded)["tool_calls"][0]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["function"]["name"])
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


@pytest.mark.parametrize(("arguments", "sent"), [
    ('{"city": "Paris"}', '{"city": "Paris"}'),
    (' {"a":1}\n', ' {"a":1}\n'),
    ("", "{}"),
    ('{"city": "Pa', "{}"),
    ("[1]", "{}"),
    ("null", "{}"),
    ('"{}"', "{}"),
    ("Paris", "{}"),
    ('{"a": NaN}', "{}"),
    ('{"a":' * 300 + "1" + "}" * 300, "{}"),
])  # fmt: skip
def test_arguments_are_sent_as_an_object(arguments: str, sent: str) -> None:
    function: Any = ToolCall("c1", "f", arguments).to_dict()["function"]
    assert function["arguments"] == sent


THOUGHT = AssistantMessage(
    None,
    (ToolCall("c1", "f", "{}", {"extra_content": {"s": 1}, "other": 2}),),
    extra={"reasoning_content": "hm", "audio": 3},
    origin="https://a.b/v1",
)


def test_what_only_one_endpoint_knows_is_sent_there_alone() -> None:
    both = frozenset({"reasoning_content", "extra_content"})
    plain = THOUGHT.encoded
    assert b"hm" not in plain
    assert b"extra_content" not in plain
    echoed = json.loads(THOUGHT.encoded_for("https://a.b/v1", both))
    assert echoed["reasoning_content"] == "hm"
    assert echoed["tool_calls"][0]["extra_content"] == {"s": 1}
    assert "audio" not in echoed
    assert "other" not in echoed["tool_calls"][0]
    assert json.loads(THOUGHT.encoded_for("https://a.b/v1", frozenset({"audio"})))["audio"] == 3
    assert THOUGHT.encoded_for("https://a.b/v1", frozenset()) == plain
    assert THOUGHT.encoded_for("https://else.where/v1", both) == plain
    assert replace(THOUGHT, origin=None).encoded_for("https://a.b/v1", both) == plain


def test_what_is_echoed_is_encoded_once() -> None:
    message = replace(THOUGHT)
    echo = frozenset({"reasoning_content"})
    assert message.encoded_for("https://a.b/v1", echo) is message.encoded_for("https://a.b/v1", echo)
    assert message == THOUGHT


def test_a_result_is_sent_as_its_text_and_its_images_after_it() -> None:
    picture = ImagePart("https://a.b/c.png")
    message = ToolMessage("c1", "head … tail", full="head and tail", images=(picture,))
    assert json.loads(message.encoded) == {"role": "tool", "tool_call_id": "c1", "content": "head … tail"}
    assert shown([picture]) == UserMessage((TextPart("The images that the tools returned:"), picture), note=True)


def test_a_policy_reads_a_result_whole_and_without_notes() -> None:
    assert ToolMessage("c1", "18").result == "18"
    assert ToolMessage("c1", "1 … 8", full="1 and 8").result == "1 and 8"
    assert ToolMessage("c1", "18\n\nNote: stop.", returned="18").result == "18"


@pytest.mark.parametrize(("left", "right", "total"), [
    (Usage(), Usage(), Usage()),
    (Usage(1, 10, 5), Usage(1, 20, 6), Usage(2, 30, 11)),
    (Usage(1), Usage(1, 20, 6), Usage(2, 20, 6)),
    (Usage(1, 10), Usage(1, None, 6), Usage(2, 10, 6)),
    (Usage(1, 0, 0), Usage(1), Usage(2, 0, 0)),
])  # fmt: skip
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
        messages._Encoded().to_dict()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("odd", [123, b"abc", b"\xff", None, ["abc"], (1,), ImagePart("https://a.b")])
def test_a_content_of_another_type_is_refused(odd: Any) -> None:
    for kind in (
        UserMessage,
        SystemMessage,
        DeveloperMessage,
        TextPart,
        partial(ToolMessage, "c1"),
        AssistantMessage,
        ImagePart,
    ):
        if (kind, odd) != (AssistantMessage, None):
            with pytest.raises(TypeError, match=r"takes a text"):
                kind(odd)


@pytest.mark.parametrize(
    "odd", ["photo.png", "/home/photo.png", "C:\\photo.png", "file:///home/photo.png", "", "//a.b/c.png"]
)
def test_an_image_that_no_endpoint_can_read_is_refused(odd: str) -> None:
    with pytest.raises(ValueError, match="from_file"):
        ImagePart(odd)
    with pytest.raises(ValueError, match="detail"):
        ImagePart("https://a.b", "big")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert ImagePart("gs://a/b.png").url
