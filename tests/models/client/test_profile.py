import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import ToolCall, ToolMessage, UserMessage
from agentkit.core.chat import ChatRequest, Settings, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import InvalidRequest
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage
from agentkit.core.parts import ImagePart, TextPart
from agentkit.models.client import profile
from agentkit.models.client.profile import Profile
from agentkit.models.client.profiles import (
    AZURE,
    BEDROCK,
    DASHSCOPE,
    DEEPSEEK,
    GEMINI,
    GROQ,
    LLAMA_CPP,
    MISTRAL,
    MOONSHOT,
    OPENAI,
    OPENROUTER,
    STANDARD,
)
from tests.endpoint import Json, fault_in
from tests.strategies import any_text
from tests.strict_endpoints import refusal_of_a_template, refusal_of_mistral

ALL = [STANDARD, OPENAI, AZURE, GEMINI, DEEPSEEK, MISTRAL, GROQ, MOONSHOT, DASHSCOPE, BEDROCK, LLAMA_CPP, OPENROUTER]
HERE = "https://here.example/v1"
ELSEWHERE = "https://elsewhere.example/v1"
LONG_ID = "call_" + "x" * 60
PICTURE = ImagePart("https://a.b/c")
CALL = (ToolCall("c", "add", "{}"),)
UNION = {"anyOf": [{"const": "C"}, {"type": "integer"}]}
FIELDS = {"u": UNION, "n": {"enum": [1]}}
SCHEMA = {"$schema": "x", "type": "object", "additionalProperties": False, "properties": FIELDS}
ADD = ToolSpec("add", "Add numbers.", SCHEMA, strict=True)
NOW = ToolSpec("now", "", {"type": "object", "properties": {}})


def thought(id_: str, origin: str | None, name: str = "add", arguments: str = '{"u":1}') -> AssistantMessage:
    """A message with a call and all the fields that endpoints add to it."""
    call = ToolCall(id_, name, arguments, {"extra_content": {"google": {"thought_signature": "c2ln"}}, "index": 0})
    details = [{"type": "reasoning.encrypted"}]
    extra = {"reasoning_content": "Hm.", "reasoning_details": details, "annotations": list[object]()}
    return AssistantMessage(tool_calls=(call,), extra=extra, origin=origin)


def body_of(profile: Profile, messages: Sequence[Message], **more: Any) -> Json:
    body: Json = json.loads(profile.encode(ChatRequest(tuple(messages), **more), "m", HERE, stream=False))
    return body


def sent(profile: Profile, *messages: Message) -> list[Json]:
    messages_sent: list[Json] = body_of(profile, messages)["messages"]
    return messages_sent


def test_an_id_is_replaced_where_it_does_not_fit_and_only_there() -> None:
    fits, odd = ToolCall("abcDEF123", "add", "{}"), ToolCall("call_1", "add", "{}")
    results = [ToolMessage(id_, text) for id_, text in (("abcDEF123", "1"), ("call_1", "2"), ("nobody", "3"))]
    history: list[Message] = [AssistantMessage(tool_calls=(fits, odd)), *results]
    asked, *answered = sent(MISTRAL, *history)
    ids = [call["id"] for call in asked["tool_calls"]]
    assert ids[0] == "abcDEF123"
    assert re.fullmatch("[a-zA-Z0-9]{9}", ids[1])
    assert [message["tool_call_id"] for message in answered] == [*ids, "nobody"]
    assert [message["content"] for message in answered] == ["1", "2", "3"]
    assert sent(MISTRAL, *history)[0] == asked
    # What comes back with a message may speak of the ids in it.
    assert sent(OPENROUTER, thought(LONG_ID, HERE), ToolMessage(LONG_ID, ""))[0]["tool_calls"][0]["id"] == LONG_ID
    assert len(sent(OPENROUTER, thought(LONG_ID, ELSEWHERE), ToolMessage(LONG_ID, ""))[1]["tool_call_id"]) == 9


@settings(max_examples=30)
@given(st.lists(any_text(min_size=1), min_size=1, max_size=8, unique=True))
def test_replaced_ids_pair_calls_and_answers(ids: list[str]) -> None:
    calls = tuple(ToolCall(id_, "add", "{}") for id_ in ids)
    asked, *answered = sent(MISTRAL, AssistantMessage(tool_calls=calls), *[ToolMessage(id_, "") for id_ in ids])
    sent_ids = [call["id"] for call in asked["tool_calls"]]
    assert [message["tool_call_id"] for message in answered] == sent_ids
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", id_) for id_ in sent_ids)
    # What is no text for the wire, a lone surrogate, may become the same text.
    assert len(set(sent_ids)) == len({id_.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for id_ in ids})


@pytest.mark.parametrize(
    ("silent", "message"), [("null", {"content": None}), ("empty", {"content": ""}), ("absent", {})]
)
def test_the_content_of_a_message_that_only_has_calls(silent: Any, message: Json) -> None:
    profile = replace(STANDARD, silent=silent)
    call = sent(profile, AssistantMessage(tool_calls=CALL))[0]
    assert {key: value for key, value in call.items() if key == "content"} == message
    assert sent(profile, AssistantMessage("Well.", CALL))[0]["content"] == "Well."
    assert sent(profile, AssistantMessage(""))[0]["content"] == ""
    assert sent(profile, AssistantMessage(refusal="No."))[0] == {"role": "assistant", "content": None, "refusal": "No."}


def test_a_refusal_that_may_not_be_sent_is_content() -> None:
    profile = replace(STANDARD, refusals=False)
    for content, refusal, whole in ((None, "No.", "No."), ("Well.", "No.", "Well.\n\nNo."), ("Well.", None, "Well.")):
        message = AssistantMessage(content, refusal=refusal)
        assert sent(profile, message) == [{"role": "assistant", "content": whole}]


def test_a_text_that_says_nothing_is_replaced() -> None:
    nothing = "(nothing)"
    for message, content in (
        (SystemMessage("\n"), nothing),
        (UserMessage((TextPart(""), PICTURE)), [PICTURE.to_dict()]),
        (UserMessage((TextPart(""),)), nothing),
        (UserMessage("Hi"), "Hi"),
        (AssistantMessage(" "), nothing),
        (AssistantMessage("Well."), "Well."),
        (AssistantMessage(" ", CALL), None),
        (ToolMessage("c", ""), nothing),
        (ToolMessage("c", "3"), "3"),
    ):
        assert sent(BEDROCK, message)[0]["content"] == content


def test_developers_and_names_are_sent_where_they_are_known() -> None:
    speakers = (DeveloperMessage("a", "x"), SystemMessage("b", "x"), UserMessage("c", "ann"))

    def roles(profile: Profile) -> list[tuple[str, str | None]]:
        messages = sent(profile, *speakers, AssistantMessage("d", name="y"))
        return [(message["role"], message.get("name")) for message in messages]

    assert roles(STANDARD) == [("developer", "x"), ("system", "x"), ("user", "ann"), ("assistant", "y")]
    assert roles(GROQ) == [("system", None), ("system", None), ("user", None), ("assistant", None)]
    assert roles(replace(STANDARD, names=False))[0] == ("developer", None)


def test_an_answer_has_the_name_of_its_tool_as_the_call_has() -> None:
    asked, answered = sent(GEMINI, thought("c", None, "a.b"), ToolMessage("c", "3"))
    assert asked["tool_calls"][0]["function"]["name"] == answered["name"] == "a_b"
    assert sent(GEMINI, ToolMessage("nobody", "3")) == [{"role": "tool", "tool_call_id": "nobody", "content": "3"}]


def test_a_field_that_is_demanded_is_there() -> None:
    replies = sent(DEEPSEEK, AssistantMessage("Hi"), AssistantMessage("", extra={"reasoning_content": ""}, origin=HERE))
    assert [message["reasoning_content"] for message in replies] == [" ", " "]


def test_too_many_tools_and_a_long_description_are_refused() -> None:
    tools = tuple(ToolSpec(f"t{at}", "", {}) for at in range(129))
    assert len(body_of(OPENAI, (), tools=tools[:128])["tools"]) == 128
    assert len(body_of(STANDARD, (), tools=tools)["tools"]) == 129
    with pytest.raises(InvalidRequest, match="129"):
        body_of(OPENAI, (), tools=tools)
    assert body_of(OPENAI, (), tools=(NOW, ToolSpec("t", "x" * 1024, {})))
    with pytest.raises(InvalidRequest, match="1025"):
        body_of(OPENAI, (), tools=(NOW, ToolSpec("t", "x" * 1025, {})))


def test_the_most_tokens_under_another_name() -> None:
    settings = Settings(temperature=0.5, max_tokens=7, stop='"max_tokens":', user="ann", seed=1)
    written = '"temperature":0.5,"max_completion_tokens":7,"stop":"\\"max_tokens\\":","user":"ann","seed":1}'
    request = ChatRequest((), settings=settings)
    assert OPENAI.encode(request, "m", HERE, stream=False).decode().endswith(written)
    assert body_of(STANDARD, (), settings=settings)["max_tokens"] == 7
    both: dict[str, Any] = {"max_completion_tokens": 1}
    assert body_of(OPENAI, (), settings=Settings(extra=both))["max_completion_tokens"] == 1
    with pytest.raises(InvalidRequest, match="max_completion_tokens"):
        body_of(OPENAI, (), settings=Settings(max_tokens=7, extra=both))


# -------------------------------------------------------------------------------------------------------- tool choice

TOOLS = tuple([ToolSpec(name, "", {"type": "object", "properties": {}}) for name in ("a", "b", "c")])
REQUIRED, FORCED, NOTHING = ToolChoice("required"), ToolChoice("tool", "b"), ToolChoice("none")
NAMED = {"type": "function", "function": {"name": "b"}}
ONCE = ToolChoice(once=True)


def allowed(mode: str, *entries: Json) -> Json:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*entries]}}


def encoded(profile: Profile, request: ChatRequest, model: str = "m") -> Json:
    body: Json = json.loads(profile.encode(request, model, HERE, stream=False))
    return body


def names_of(body: Json) -> str:
    return "".join([tool["function"]["name"] for tool in body["tools"]])


@pytest.mark.parametrize(("model", "extra", "choice", "tools", "wire"), [
    ("m", {}, FORCED, "abc", NAMED),
    ("think-1", {}, FORCED, "b", "auto"),
    ("think-1", {}, REQUIRED, "abc", "auto"),
    ("think-1", {}, ToolChoice(), "abc", "auto"),
    ("think-1", {}, NOTHING, "abc", "none"),
    # A request turns thinking off and on.
    ("think-1", {"thinking": {"type": "disabled"}}, REQUIRED, "abc", "required"),
    ("think-1", {"enable_thinking": False}, REQUIRED, "abc", "required"),
    ("m", {"thinking": {"type": "enabled"}}, REQUIRED, "abc", "auto"),
    ("m", {"enable_thinking": True}, FORCED, "b", "auto"),
    ("think-1", {"thinking": {"budget": 1}}, REQUIRED, "abc", "auto"),
])  # fmt: skip
def test_a_forced_choice_at_an_endpoint_that_refuses_it(
    model: str, extra: Json, choice: ToolChoice, tools: str, wire: object
) -> None:
    request = ChatRequest((), TOOLS, choice, Settings(extra=extra))
    body = encoded(Profile(unforced="think.*"), request, model)
    assert (names_of(body), body["tool_choice"]) == (tools, wire)
    assert encoded(STANDARD, request, model)["tool_choice"] == choice.to_wire()


def test_a_named_choice_at_an_endpoint_that_takes_it_for_auto() -> None:
    for choice, tools, wire in [
        (FORCED, "b", "required"),
        (REQUIRED, "abc", "required"),
        (ToolChoice(), "abc", "auto"),
    ]:
        body = encoded(LLAMA_CPP, ChatRequest((UserMessage("go"),), TOOLS, choice), "m")
        assert (names_of(body), body["tool_choice"]) == (tools, wire)


@pytest.mark.parametrize(("pattern", "model", "request_", "fields"), [
    (None, "m", ChatRequest((), TOOLS, ONCE), {}),
    ("m.*", "m1", ChatRequest((), TOOLS, ONCE), {"parallel_tool_calls": False}),
    ("m.*", "o3", ChatRequest((), TOOLS, ONCE), {}),
    ("m.*", "m1", ChatRequest((), TOOLS), {}),
    ("m.*", "m1", ChatRequest((), (), ONCE), {}),
    ("m.*", "m1", ChatRequest((), TOOLS, ONCE, Settings(temperature=1)), {"parallel_tool_calls": False, "temperature": 1}),
    ("m.*", "m1", ChatRequest((), TOOLS, ONCE, Settings(parallel_tool_calls=True)), {"parallel_tool_calls": True}),
])  # fmt: skip
def test_one_call_at_a_time(pattern: str | None, model: str, request_: ChatRequest, fields: Json) -> None:
    body = encoded(Profile(parallel_tool_calls=pattern), request_, model)
    assert {name: value for name, value in body.items() if name not in STANDING} == fields


STANDING = ("model", "messages", "tools", "tool_choice")


@pytest.mark.parametrize(("most", "offered", "choice", "tools", "wire"), [
    (0, "ab", ToolChoice(), "ab", "auto"),
    (2, "ab", ToolChoice(), "ab", "auto"),
    (3, "abc", ToolChoice(), "abc", "auto"),
    (3, "bc", ToolChoice(), "abc", allowed("auto", NAMED, {"type": "function", "function": {"name": "c"}})),
    (3, "b", REQUIRED, "abc", allowed("required", NAMED)),
    (3, "b", FORCED, "abc", NAMED),
    (3, "b", NOTHING, "abc", "none"),
])  # fmt: skip
def test_a_narrowed_offer_where_allowed_tools_is_known(
    most: int, offered: str, choice: ToolChoice, tools: str, wire: object
) -> None:
    some = tuple([tool for tool in TOOLS if tool.name in offered])
    body = encoded(Profile(allowed_tools=most), ChatRequest((), some, choice, all_tools=TOOLS))
    assert (names_of(body), body["tool_choice"]) == (tools, wire)


def test_the_tools_keep_their_bytes_whatever_is_offered() -> None:
    def sent_tools(*offered: ToolSpec) -> bytes:
        body = OPENAI.encode(ChatRequest((), offered, ToolChoice(), all_tools=TOOLS), "m", HERE, stream=False)
        return body[: body.index(b',"tool_choice"')]

    assert len({sent_tools(*TOOLS), sent_tools(TOOLS[0]), sent_tools(*TOOLS[1:])}) == 1


def test_plain_tools() -> None:
    add, now = [tool["function"] for tool in body_of(GEMINI, (), tools=(ADD, NOW))["tools"]]
    union = {"type": "string", "description": 'Any of: {"type":"string","enum":["C"]}, integer.'}
    properties = {"u": union, "n": {"type": "integer", "description": "One of: 1."}}
    parameters = {"type": "object", "properties": properties}
    assert add == {"name": "add", "description": "Add numbers.", "parameters": parameters}
    assert now == {"name": "now"}


def test_usage_is_asked_for_where_it_may_be() -> None:
    request = ChatRequest(())
    assert STANDARD.encode(request, "m", HERE, stream=True).endswith(b'"stream_options":{"include_usage":true}}')
    assert GEMINI.encode(request, "m", HERE, stream=True).endswith(b',"stream":true}')


system, user = SystemMessage, UserMessage
STEP = (AssistantMessage(tool_calls=CALL), ToolMessage("c", "3"))
AB = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
ROLES: list[tuple[tuple[Message, ...], str, list[Any]]] = [
    ((), "", []),
    ((system("a"), DeveloperMessage("b")), "s", ["a\n\nb"]),
    ((system("a"), user("b"), system("c"), user("d")), "s u", ["a\n\nc", "b\n\nd"]),
    ((user(""), UserMessage((TextPart("a"),)), user("b")), "u", [AB]),
    ((AssistantMessage("a"), AssistantMessage("b")), "u a", ["Continue.", "a\n\nb"]),
    ((system("s"), *STEP, AssistantMessage("a")), "s u a t a", ["s", "Continue.", "", "3", "a"]),
    ((user("a"), AssistantMessage("b", refusal="n"), AssistantMessage("c", CALL), STEP[1]), *("u a t", ["a", "b\n\nn\n\nc", "3"])),
    ((user("a"), *STEP, user("b")), "u a t a u", ["a", "", "3", "I have seen the results.", "b"]),
    # A call without a result is the loop's to repair; nothing is merged into it.
    ((user("a"), STEP[0], AssistantMessage("b")), "u a a", ["a", "", "b"]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "roles", "contents"), ROLES)
def test_turns(messages: tuple[Message, ...], roles: str, contents: list[Any]) -> None:
    turns = sent(LLAMA_CPP, *messages)
    assert " ".join([message["role"][0] for message in turns]) == roles
    assert [message["content"] for message in turns] == contents


def test_only_what_follows_answers_is_kept_apart() -> None:
    for last in (user("d"), system("d")):
        roles = [message["role"] for message in sent(MISTRAL, user("a"), user("b"), *STEP, last)]
        assert roles == ["user", "user", "assistant", "tool", "assistant", last.to_dict()["role"]]


def test_merged_speakers_keep_a_name_that_they_share() -> None:
    profile = replace(LLAMA_CPP, names=True)
    assert sent(profile, UserMessage("a", "ann"), UserMessage("b", "ann"))[0]["name"] == "ann"
    assert "name" not in sent(profile, UserMessage("a", "ann"), UserMessage("b", "bob"))[0]


@st.composite
def steps(draw: st.DrawFn) -> tuple[Message, ...]:
    """A reply with two calls and their results."""
    words = draw(any_text(min_size=1))
    ids = [draw(st.sampled_from(["call_", "x" * 50, ""])) + f"{draw(st.integers())}-{number}" for number in range(2)]
    calls = tuple(ToolCall(id_, "add", draw(st.sampled_from(["{}", "", "["]))) for id_ in ids)
    extra: dict[str, object] = {"reasoning_content": words, "extra_content": {}}
    origin = draw(st.sampled_from([None, HERE, ELSEWHERE]))
    reply = AssistantMessage(draw(st.none() | any_text(min_size=1)), calls, extra=extra, origin=origin)
    return reply, *[ToolMessage(id_, words) for id_ in ids]


MESSAGES: st.SearchStrategy[Message] = any_text(min_size=1).flatmap(lambda words: st.sampled_from([
    *(SystemMessage(words), DeveloperMessage(words), UserMessage(words), UserMessage(words, "ann")),
    *(UserMessage((TextPart(words), PICTURE)), AssistantMessage(words), AssistantMessage(words, name="bob")),
    AssistantMessage(refusal=words),
]))  # fmt: skip
PARTS = st.lists(MESSAGES.map(lambda message: (message,)) | steps(), max_size=8)
HISTORIES = PARTS.map(lambda parts: [message for part in parts for message in part])


def texts_in(content: Any) -> str:
    parts: list[Json] = [{"text": content}] if isinstance(content, str) else content or []
    return "\n".join([part.get("text", "") for part in parts])


@settings(max_examples=25)
@given(HISTORIES)
def test_roles_alternate_and_no_text_is_lost(history: list[Message]) -> None:
    turns = sent(LLAMA_CPP, *history)
    assert refusal_of_a_template({"messages": turns}) is None
    assert fault_in(turns) is None
    everything = "\n".join(texts_in(message["content"]) for message in turns)
    for message in sent(replace(STANDARD, refusals=False), *history):
        assert texts_in(message["content"]) in everything


@pytest.mark.parametrize("profile", ALL)
@settings(max_examples=8)
@given(history=HISTORIES)
def test_a_request_is_sound_and_the_same_each_time(profile: Profile, history: list[Message]) -> None:
    request = ChatRequest(tuple(history), (ADD, NOW), ToolChoice("required"), Settings(max_tokens=9))
    body = profile.encode(request, "m", HERE, stream=True)
    assert profile.encode(request, "m", HERE, stream=True) == body
    assert fault_in(json.loads(body)["messages"]) is None
    if profile is MISTRAL:
        assert refusal_of_mistral(json.loads(body)) is None


@settings(max_examples=20)
@given(HISTORIES)
def test_the_standard_is_what_the_request_says(history: list[Message]) -> None:
    request = ChatRequest(tuple(history), (ADD, NOW), ToolChoice("required"), Settings(max_tokens=9))
    assert STANDARD.encode(request, "m", "https://third.example", stream=True) == request.encode("m", stream=True)


def test_what_fits_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = (UserMessage("Hi"), AssistantMessage("Ho"), AssistantMessage("", CALL), ToolMessage("c", "3"))
    cases = [
        (STANDARD, ChatRequest((*fits, *STEP), (ADD, NOW), settings=Settings(max_tokens=5))),
        (GEMINI, ChatRequest((), (ADD, NOW))),
        (GROQ, ChatRequest(fits)),
    ]
    first = [profile.encode(request, "m", HERE, stream=False) for profile, request in cases]
    encoded: list[object] = []

    def encode(value: object) -> bytes:
        encoded.append(value)
        return json.dumps(value).encode()

    for module in ("core.chat", "core.messages", "models.client.profile", "models.client.plain_schema"):
        monkeypatch.setattr(f"agentkit.{module}.encode", encode)
    assert [profile.encode(request, "m", HERE, stream=False) for profile, request in cases] == first
    assert encoded == ["m", "auto", "m", "auto", "m"]


def test_long_ids_are_replaced_and_not_kept() -> None:
    kept = profile._kept_id.cache_info().misses  # pyright: ignore[reportPrivateUsage]
    long = "x" * 1_000
    asked, answered = sent(MISTRAL, AssistantMessage(tool_calls=(ToolCall(long, "add", "{}"),)), ToolMessage(long, ""))
    assert re.fullmatch("[a-zA-Z0-9]{9}", asked["tool_calls"][0]["id"])
    assert answered["tool_call_id"] == asked["tool_calls"][0]["id"]
    assert profile._kept_id.cache_info().misses == kept  # pyright: ignore[reportPrivateUsage]
