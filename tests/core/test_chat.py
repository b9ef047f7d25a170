import itertools
import json
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ImagePart, SystemMessage, TextPart
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice, Settings, StreamedText, ToolSpec
from agentkit.core.choice import ToolChoice, Values
from agentkit.core.errors import InvalidRequest
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from tests.strategies import any_text

ADD = ToolSpec("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})
NOW = ToolSpec("now", "", {"type": "object", "properties": {}}, strict=True)
HISTORY: tuple[Message, ...] = (
    SystemMessage("Be brief."),
    UserMessage((TextPart("What?"), ImagePart("https://a.b/c", "low"))),
    AssistantMessage(tool_calls=(ToolCall("c1", "add", '{"a":1}'),)),
    ToolMessage("c1", "2"),
)
WRITTEN = (
    '{"role":"system","content":"Be brief."},'
    '{"role":"user","content":[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"https://a.b/c","detail":"low"}}]},'
    '{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"add","arguments":"{\\"a\\":1}"}}]},'
    '{"role":"tool","tool_call_id":"c1","content":"2"}'
)
TOOLS = (
    '[{"type":"function","function":{"name":"add","description":"Add two numbers.","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}},'
    '{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}},"strict":true}}]'
)
ALL = Settings(
    temperature=0.5, top_p=1, max_tokens=100, stop=["a", "b"], n=2, presence_penalty=-2, frequency_penalty=1.5,
    user="ann", seed=7, extra={"logit_bias": {"5": -1}},
)  # fmt: skip
SETTINGS = (
    '"temperature":0.5,"top_p":1,"max_tokens":100,"stop":["a","b"],"n":2,"presence_penalty":-2,"frequency_penalty":1.5,'
    '"user":"ann","seed":7,"logit_bias":{"5":-1}'
)


@pytest.mark.parametrize(("request_", "written"), [
    (ChatRequest((UserMessage("Hi"),)), '{"model":"m","messages":[{"role":"user","content":"Hi"}]}'),
    (ChatRequest(()), '{"model":"m","messages":[]}'),
    (ChatRequest(HISTORY), f'{{"model":"m","messages":[{WRITTEN}]}}'),
    (ChatRequest((), (ADD, NOW)), f'{{"model":"m","messages":[],"tools":{TOOLS},"tool_choice":"auto"}}'),
    (ChatRequest((), (), ToolChoice("none")), '{"model":"m","messages":[]}'),
    (
        ChatRequest((), (ADD, NOW), ToolChoice("none"), ALL, {"type": "json_object"}),
        f'{{"model":"m","messages":[],"tools":{TOOLS},"tool_choice":"none","response_format":{{"type":"json_object"}},{SETTINGS}}}',
    ),
    (ChatRequest((), (ADD, NOW), ToolChoice("tool", "now")), f'{{"model":"m","messages":[],"tools":{TOOLS},"tool_choice":{{"type":"function","function":{{"name":"now"}}}}}}'),
    (ChatRequest((), settings=ALL), f'{{"model":"m","messages":[],{SETTINGS}}}'),
])  # fmt: skip
def test_what_a_request_is_on_the_wire(request_: ChatRequest, written: str) -> None:
    assert request_.encode("m") == written.encode()
    json.loads(written)
    plain = written[:-1].encode()
    assert request_.encode("m", stream=True) == plain + b',"stream":true,"stream_options":{"include_usage":true}}'
    assert request_.pieces("m", stream=True, stream_usage=False) == [plain + b',"stream":true}']


def test_parts_may_be_said_in_another_way() -> None:
    request = ChatRequest(HISTORY, (ADD, NOW), settings=ALL)
    begin, end = b'{"model":"m","messages":[', b'],"tools":[3],"tool_choice":"auto","a":4,"b":5}'
    for messages, pieces in (([b"1,2"], [begin + b"1,2" + end]), ([b"1", b",2"], [begin, b"1", b",2", end])):
        assert request.pieces("m", messages=messages, tools=[b"3"], settings=b'"a":4,"b":5') == pieces
    written = f'{{"model":"m","messages":[],"tools":{TOOLS},"tool_choice":"auto"}}'
    assert request.pieces("m", messages=(), settings=b"") == [written.encode()]
    same = b",".join([message.encoded for message in HISTORY])
    assert request.pieces("m", messages=[same], settings=ALL.encoded) == [request.encode("m")]
    # A request without tools has none, whatever is said.
    assert ChatRequest(()).pieces("m", tools=[b"3"]) == [b'{"model":"m","messages":[]}']


@given(st.lists(any_text(), max_size=6))
def test_a_longer_conversation_begins_with_the_same_bytes(texts: list[str]) -> None:
    messages = tuple(UserMessage(text) for text in texts)
    bodies = [ChatRequest(messages[:end], (ADD,), settings=ALL).encode("m") for end in range(len(messages) + 1)]
    for shorter, longer in itertools.pairwise(bodies):
        assert longer.startswith(shorter.split(b'],"tools"')[0])


def test_nothing_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ChatRequest(HISTORY, (ADD, NOW), settings=ALL)
    encoded: list[object] = []

    def encode(value: object) -> bytes:
        encoded.append(value)
        return json.dumps(value).encode()

    for module in ("chat", "messages"):
        monkeypatch.setattr(f"agentkit.core.{module}.encode", encode)
    body = request.encode("m")
    assert encoded == ["m", "auto"]
    for part in (*HISTORY, ADD, NOW, ALL):
        assert part.encoded in body


NO_NUMBERS: list[Any] = [True, False, float("nan"), float("inf"), float("-inf"), "1", [1], {}, Decimal(1), 1j]
INSIDE: list[tuple[str, Any]] = [
    *[("temperature", value) for value in (0, 0.0, 1, 1.999, 2)],
    *[("top_p", value) for value in (0, 0.1, 1, 1.0)],
    *[("max_tokens", value) for value in (1, 4096, 10**9)],
    *[("n", value) for value in (1, 128)],
    *[(penalty, value) for penalty in ("presence_penalty", "frequency_penalty") for value in (-2, -0.5, 0, 2.0)],
    *[("stop", value) for value in ("", "END", [], ["a"], ["a", "b", "c", "d"])],
    *[("user", value) for value in ("", "ann")],
]
OWN = "model messages tools tool_choice stream stream_options response_format temperature stop user"
OUTSIDE: list[tuple[str, Any]] = [
    *[("temperature", value) for value in (-0.1, 2.1)],
    *[("top_p", value) for value in (-0.1, 1.1)],
    *[("max_tokens", value) for value in (0, -1, 1.5)],
    *[("n", value) for value in (0, 129, 1.0)],
    *[(name, value) for name in ("presence_penalty", "frequency_penalty") for value in (-2.1, 2.1)],
    *[(name, value) for name in ("temperature", "top_p", "max_tokens", "n", "presence_penalty", "frequency_penalty") for value in NO_NUMBERS],
    *[("stop", value) for value in (5, [5], ["a", None], b"a", {"a"}, True, ["a", "b", "c", "d", "e"])],
    *[("user", value) for value in (5, True, b"ann", ["ann"])],
    *[("extra", value) for value in (None, [("seed", 7)], "seed", {"seed": object()})],
    *[("extra", {name: None}) for name in OWN.split()],
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), INSIDE)
def test_a_setting_in_its_range_is_sent(name: str, value: Any) -> None:
    settings = Settings(**{name: value})
    assert json.loads(b"{" + settings.encoded + b"}") == {name: value}
    assert settings != Settings()
    unset: dict[str, Any] = {name: None}
    assert Settings(**unset) == Settings()


def test_a_setting_out_of_its_range_is_refused() -> None:
    for name, value in OUTSIDE:
        with pytest.raises(InvalidRequest, match=f"^{name} "):
            Settings(**{name: value})


@pytest.mark.parametrize(
    "value", [ALL, Settings(), ADD, NOW, ChatRequest(HISTORY, (ADD,)), ChatResponse((Choice(AssistantMessage("Hi")),))]
)
def test_what_goes_over_the_wire_is_a_value(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
    again = pickle.loads(pickle.dumps(value))  # noqa: S301 (our own)
    assert (again, hash(again)) == (value, hash(value))
    assert getattr(again, "encoded", None) == getattr(value, "encoded", None)
    assert replace(value) == value
    assert "encoded" not in repr(value)


def test_settings_do_not_change_with_what_they_were_made_of() -> None:
    stop = ["a"]
    settings = Settings(stop=stop)
    stop.append("b")
    assert settings == Settings(stop=("a",))
    assert settings.encoded == b'"stop":["a"]'


def test_a_tool_whose_parameter_has_only_certain_values() -> None:
    limited = ADD.limited([Values("add", "a", (1, 2)), Values("now", "a", (3,))])
    assert limited.parameters["properties"] == {"a": {"type": "integer", "enum": [1, 2]}}
    assert b'"enum":[1,2]' in limited.encoded
    assert (limited.name, limited.description, NOW.limited([]).strict) == (ADD.name, ADD.description, True)
    assert ADD.limited([Values("now", "a", (3,))]) is ADD
    assert ADD.limited([Values("add", "a", ("x",))]) is ADD


def test_a_reply_is_its_first_answer() -> None:
    reply = ChatResponse((Choice(AssistantMessage("a"), "stop"), Choice(AssistantMessage("b"))))
    assert (reply.message, reply.finish_reason) == (AssistantMessage("a"), "stop")
    assert (reply.usage, reply.id, reply.model, reply.extra, reply.choices[1].extra) == (None, None, None, {}, {})


TEXTS: list[tuple[Any, str]] = [
    (None, ""),
    ([], ""),
    ([{"index": 0, "delta": {"content": "Hi"}}], "Hi"),
    ([{"delta": {"content": "Hi"}}], "Hi"),
    ([{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "Hi"}}], "Hi"),
    ([{"index": 1, "delta": {"content": "no"}}], ""),
    ([{"index": 0, "delta": {"content": None}}], ""),
    ([{"index": 0, "delta": {}}], ""),
    ([{"index": 0, "delta": None, "message": {"content": "Hi"}}], "Hi"),
    ([{"index": 0, "delta": {"content": ""}, "message": {"content": "Hi"}}], ""),
    ([{"index": 0, "delta": {"content": [{"type": "text", "text": "H"}, "i", {"type": "thinking", "text": "no"}]}}], "Hi"),
    ([{"index": 0, "delta": {"content": {"type": "text", "text": "Hi"}}}], "Hi"),
    ([{"index": 0, "delta": {"content": [{"type": "text", "text": 5}, {"type": "text"}, None, 5]}}], ""),
    ([{"index": 0, "delta": {"content": 5}}], ""),
    ([{"index": 0, "delta": {"content": "\ud83d"}}], "\ufffd"),
    ([5], ""),
    ({"index": 0}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("pieces", "texts"), [
    (["a", "\ud83d", "\ude00b"], ["a", "", "\U0001f600b"]),
    (["\ud83d", "a"], ["", "\ufffda"]),
    (["é", "", "\ude00"], ["é", "", "\ufffd"]),
])  # fmt: skip
def test_half_a_character_waits_for_its_other_half(pieces: list[str], texts: list[str]) -> None:
    text = StreamedText()
    assert [text.add({"delta": {"content": piece}}) for piece in pieces] == texts
    assert text.add({"delta": {"content": "\ud83d"}, "finish_reason": "stop"}) == "\ufffd"


@pytest.mark.parametrize(("choices", "text"), TEXTS)
def test_the_text_of_a_chunk(choices: Any, text: str) -> None:
    data: Mapping[str, object] = {"id": "c", "choices": choices}
    assert ChatChunk(data).text == text


def test_an_extra_with_no_json_form_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="extra"):
        Settings(extra={"a": object()})
