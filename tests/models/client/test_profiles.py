import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.core.chat import ChatRequest, Settings, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import InvalidRequest
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
)
from agentkit.models.client import profiles
from agentkit.models.client.profile import Profile
from agentkit.models.client.profiles import (
    BEDROCK,
    DEEPSEEK,
    GEMINI,
    GROQ,
    LLAMA_CPP,
    MISTRAL,
    MOONSHOT,
    OPENAI,
    OPENROUTER,
    STANDARD,
    profile_of,
)
from tests.endpoint import Json, fault_in, serving
from tests.strict_endpoints import (
    Refusal,
    refusal_of_a_template,
    refusal_of_bedrock,
    refusal_of_deepseek,
    refusal_of_gemini,
    refusal_of_groq,
    refusal_of_mistral,
    refusal_of_moonshot,
    refusal_of_openai,
    refusal_of_openrouter,
    refusal_of_vllm,
    strictly,
)

HERE = "https://here.example/v1"
ELSEWHERE = "https://elsewhere.example/v1"
ADD = ToolSpec(
    "add",
    "Add numbers.",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {"u": {"anyOf": [{"const": "C"}, {"type": "integer"}]}, "n": {"enum": [1, 2]}},
    },
    strict=True,
)
NOW = ToolSpec("now", "", {"type": "object", "properties": {}})


def thought(id_: str, origin: str | None, name: str = "add", arguments: str = '{"u":1}') -> AssistantMessage:
    """A message with a call and all that endpoints send beside it."""
    signature = {"google": {"thought_signature": "c2ln"}}
    return AssistantMessage(
        tool_calls=(ToolCall(id_, name, arguments, {"extra_content": signature, "index": 0}),),
        extra={"reasoning_content": "Hm.", "reasoning_details": [{"type": "reasoning.encrypted"}], "annotations": []},
        origin=origin,
    )


def body_of(profile: Profile, messages: Sequence[Message], **more: Any) -> Json:
    body: Json = json.loads(profile.encode(ChatRequest(tuple(messages), **more), "m", HERE, stream=False))
    return body


def sent(profile: Profile, *messages: Message) -> list[Json]:
    found: list[Json] = body_of(profile, messages)["messages"]
    return found


LONG_ID = "call_" + "x" * 60
PROVIDERS: list[tuple[Profile, Refusal, int]] = [
    (OPENAI, refusal_of_openai, 400),
    (GEMINI, refusal_of_gemini, 400),
    (DEEPSEEK, refusal_of_deepseek, 400),
    (MISTRAL, refusal_of_mistral, 422),
    (GROQ, refusal_of_groq, 400),
    (MOONSHOT, refusal_of_moonshot, 400),
    (BEDROCK, refusal_of_bedrock, 400),
    (LLAMA_CPP, refusal_of_a_template, 500),
    (STANDARD, refusal_of_vllm, 400),
]
SAID = (
    SystemMessage("Be brief."),
    DeveloperMessage("And kind."),
    UserMessage("What is the sum?", name="ann"),
    UserMessage((TextPart("Look:"), ImagePart("https://a.b/c"))),
    thought(LONG_ID, ELSEWHERE, "browser.tabs.open(x)", "{'u': "),
    ToolMessage(LONG_ID, "", "error"),
    UserMessage("Try again."),
    AssistantMessage("Well."),
    AssistantMessage("", refusal="I would rather not.", name="bob"),
    AssistantMessage(""),
    SystemMessage("Go on."),
    UserMessage(""),
    UserMessage((TextPart(" "), ImagePart("https://a.b/c"))),
    thought("functions.add:0", HERE),
    ToolMessage("functions.add:0", "3"),
)


@pytest.mark.parametrize(("profile", "refusal", "status"), PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_strict_provider_takes_any_history(profile: Profile, refusal: Refusal, status: int, stream: bool) -> None:
    request = ChatRequest(SAID, (ADD, NOW), settings=Settings(max_tokens=5))
    naive = request.encode("m", stream=stream)
    with serving(strictly(refusal, status)) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        if profile is not STANDARD:
            refused = httpx.post(url, content=naive)
            assert refused.status_code == status, "the fake takes anything"
        taken = httpx.post(url, content=profile.encode(request, "m", HERE, stream=stream))
        assert taken.is_success, taken.text
        assert endpoint.requests[-1].get("stream") == (True if stream else None)


def raw(*messages: Json, tools: Sequence[Json] = (), **more: Any) -> Json:
    """A request as a naive client makes it."""
    return {"messages": list(messages), "tools": [{"type": "function", "function": tool} for tool in tools], **more}


def tool_with(schema: Json) -> Json:
    return {"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}}


def asked(content: Any = None, **call: Any) -> Json:
    function = {"name": call.pop("name", "f"), "arguments": call.pop("arguments", "{}")}
    return {"role": "assistant", "content": content, "tool_calls": [{"id": "c", "function": function, **call}]}


USER: Json = {"role": "user", "content": "Hi"}
ANSWER: Json = {"role": "tool", "tool_call_id": "c", "content": ""}
REFUSED: list[tuple[Refusal, Json, str]] = [
    (refusal_of_openai, raw(asked(), USER), "must be followed by tool messages"),
    (refusal_of_openai, raw({**USER, "reasoning": ""}), "'reasoning' was unexpected"),
    (refusal_of_openai, raw(asked(extra_content={}), ANSWER), "'tool_calls.extra_content' was unexpected"),
    (refusal_of_openai, raw(tools=[{"name": "f"}] * 217), "array too long. Expected an array with maximum length 128"),
    (refusal_of_openai, raw(tools=[{"name": "f", "description": "x" * 1025}]), "maximum length 1024"),
    (refusal_of_openai, raw(tools=[{"name": "mcp__" + "x" * 60}]), "does not match pattern"),
    (refusal_of_openai, raw(asked(name="tabs.open(x)"), ANSWER), "does not match pattern"),
    (refusal_of_openai, raw(max_tokens=5), "'max_tokens' is not supported with this model"),
    (refusal_of_openai, raw(asked(id="c" * 41), {**ANSWER, "tool_call_id": "c" * 41}), "maximum length 40"),
    (refusal_of_openai, raw({"role": "assistant", "content": None}), "expected a string, got null"),
    (refusal_of_vllm, raw({"role": "assistant"}), "Field required"),
    (refusal_of_vllm, raw(asked(arguments="")), "Expecting value"),
    (refusal_of_gemini, raw(stream_options={}), 'Unknown name "stream_options"'),
    (refusal_of_gemini, raw({"role": "assistant", "content": "", "refusal": None}), "is not a string"),
    (refusal_of_gemini, raw({**USER, "reasoning": ""}), 'Unknown name "reasoning"'),
    (refusal_of_gemini, raw(tools=[{"name": "f", "strict": True}]), 'Unknown name "strict"'),
    (refusal_of_gemini, raw(tools=[{"name": "f", "parameters": {"type": "object"}}]), "non-empty for OBJECT"),
    (refusal_of_gemini, raw(tools=[tool_with({"anyOf": [{"const": "C"}]})]), 'Unknown name "anyOf"'),
    (refusal_of_gemini, raw(tools=[tool_with({"type": ["string", "null"]})]), "TYPE_ENUM"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "integer", "enum": [1]})]), "only allowed for STRING type"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "string", "enum": [""]})]), "cannot be empty"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "string", "format": "uri"})]), "only 'enum' and 'date-time'"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "string", "properties": {}})]), "only allowed for OBJECT type"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "object", "properties": {}})]), "non-empty for OBJECT"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "object", "required": ["a"]})]), "property is not defined"),
    (refusal_of_gemini, raw(tools=[tool_with({"type": "array"})]), "items: missing field"),
    (refusal_of_gemini, raw({"role": "developer", "content": ""}), "valid role"),
    (refusal_of_gemini, raw(USER, asked(extra_content={"google": {"thought_signature": ""}}), ANSWER), "Name cannot"),
    (refusal_of_gemini, raw(USER, asked(), {**ANSWER, "name": "f"}), "missing a thought_signature"),
    (refusal_of_deepseek, raw({"role": "developer", "content": ""}), "unknown variant `developer`"),
    (refusal_of_deepseek, raw({"role": "assistant", "content": ""}), "must be passed back to the API"),
    (refusal_of_mistral, raw(stream_options={}), "extra_forbidden"),
    (refusal_of_mistral, raw({**USER, "name": "ann"}), '"loc":["body","messages",0,"user","name"]'),
    (refusal_of_mistral, raw(asked("", id="abcDEF123"), ANSWER, USER), "Unexpected role 'user' after role 'tool'"),
    (refusal_of_mistral, raw(asked(id="abcDEF123")), "Input should be a valid string"),
    (refusal_of_mistral, raw(asked("")), "must be a-z, A-Z, 0-9, with a length of 9"),
    (refusal_of_groq, raw({**USER, "reasoning_content": ""}), "property 'reasoning_content' is unsupported"),
    (refusal_of_groq, raw(tools=[{"name": "f"}] * 129), "array too long"),
    (refusal_of_moonshot, raw(asked()), "reasoning_content is missing in assistant tool call message at index 0"),
    (refusal_of_moonshot, raw({"role": "developer", "content": ""}), "unsupported role"),
    (refusal_of_bedrock, raw(asked("")), "text content blocks must be non-empty"),
    (refusal_of_bedrock, raw({"role": "user", "content": [{"type": "text", "text": " "}]}), "must be non-empty"),
    (refusal_of_a_template, raw(USER, USER), "Conversation roles must alternate user/assistant"),
    (refusal_of_a_template, raw(USER, {"role": "system", "content": ""}), "Conversation roles must alternate"),
    (refusal_of_a_template, raw(USER, asked()), "'None' has no attribute"),
    (refusal_of_openrouter, raw(asked()), "reasoning details to be preserved"),
    (refusal_of_openrouter, raw(asked(id="c" * 41, reasoning_details=[])), "reasoning details to be preserved"),
    (refusal_of_openrouter, raw({**asked(id="c" * 41), "reasoning_details": [1]}), "maximum length 40"),
]


@pytest.mark.parametrize(("refusal", "request_", "words"), REFUSED)
def test_the_fakes_are_strict(refusal: Refusal, request_: Json, words: str) -> None:
    assert words in (refusal(request_) or "")


OWN = (UserMessage("?"), thought("functions.add:0", HERE), ToolMessage("functions.add:0", "3"))
ECHOES: list[tuple[Profile, Refusal, str, str]] = [
    (GEMINI, refusal_of_gemini, "extra_content", "missing a thought_signature"),
    (DEEPSEEK, refusal_of_deepseek, "reasoning_content", "must be passed back"),
    (MOONSHOT, refusal_of_moonshot, "reasoning_content", "is missing in assistant tool call message"),
    (OPENROUTER, refusal_of_openrouter, "reasoning_details", "to be preserved"),
]


@pytest.mark.parametrize(("profile", "refusal", "field", "words"), ECHOES)
def test_what_an_endpoint_wants_back_it_gets_and_no_other(
    profile: Profile, refusal: Refusal, field: str, words: str
) -> None:
    request = ChatRequest(OWN)
    with serving(strictly(refusal)) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        forgetful = replace(profile, echo=frozenset(), demanded=frozenset())
        assert words in httpx.post(url, content=forgetful.encode(request, "m", HERE, stream=False)).text
        assert httpx.post(url, content=profile.encode(request, "m", HERE, stream=False)).status_code == 200
    there = profile.encode(request, "m", ELSEWHERE, stream=False).decode()
    assert "Hm." not in there
    assert "c2ln" not in there
    assert "encrypted" not in there
    for other in (MISTRAL, GROQ):
        assert field not in other.encode(request, "m", HERE, stream=False).decode()
    assert "annotations" not in profile.encode(request, "m", HERE, stream=False).decode()


@pytest.mark.parametrize("profile", [STANDARD, DEEPSEEK, GEMINI, GROQ, MOONSHOT, BEDROCK, LLAMA_CPP])
def test_ids_come_back_letter_for_letter(profile: Profile) -> None:
    asked, answered = sent(profile, *OWN)[1:]
    assert (asked["tool_calls"][0]["id"], answered["tool_call_id"]) == ("functions.add:0", "functions.add:0")


def test_an_id_is_replaced_where_it_does_not_fit_and_only_there() -> None:
    fits, odd = ToolCall("abcDEF123", "add", "{}"), ToolCall("call_1", "add", "{}")
    history = (
        AssistantMessage(tool_calls=(fits, odd)),
        ToolMessage("abcDEF123", "1"),
        ToolMessage("call_1", "2"),
        ToolMessage("nobody", "3"),
    )
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


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True))
def test_replaced_ids_pair_calls_and_answers(ids: list[str]) -> None:
    calls = tuple(ToolCall(id_, "add", "{}") for id_ in ids)
    asked, *answered = sent(MISTRAL, AssistantMessage(tool_calls=calls), *[ToolMessage(id_, "") for id_ in ids])
    found = [call["id"] for call in asked["tool_calls"]]
    assert [message["tool_call_id"] for message in answered] == found
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", id_) for id_ in found)
    # What is no text for the wire, a lone surrogate, may become the same text.
    assert len(set(found)) == len({id_.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for id_ in ids})


@pytest.mark.parametrize(
    ("silent", "message"),
    [("null", {"content": None}), ("empty", {"content": ""}), ("absent", {})],
)
def test_the_content_of_a_message_that_only_has_calls(silent: Any, message: Json) -> None:
    calls = (ToolCall("c", "add", "{}"),)
    profile = replace(STANDARD, silent=silent)
    said = sent(profile, AssistantMessage(tool_calls=calls))[0]
    assert {key: value for key, value in said.items() if key == "content"} == message
    assert sent(profile, AssistantMessage("Well.", calls))[0]["content"] == "Well."
    assert sent(profile, AssistantMessage(""))[0]["content"] == ""
    assert sent(profile, AssistantMessage(refusal="No."))[0] == {"role": "assistant", "content": None, "refusal": "No."}


def test_a_refusal_that_may_not_be_sent_is_content() -> None:
    profile = replace(STANDARD, refusals=False)
    for message, content in (
        (AssistantMessage(refusal="No."), "No."),
        (AssistantMessage("Well.", refusal="No."), "Well.\n\nNo."),
        (AssistantMessage("Well."), "Well."),
    ):
        assert sent(profile, message) == [{"role": "assistant", "content": content}]


def test_a_text_that_says_nothing_is_replaced() -> None:
    call = (ToolCall("c", "add", "{}"),)
    image = {"type": "image_url", "image_url": {"url": "https://a.b/c"}}
    said = sent(
        BEDROCK,
        SystemMessage("\n"),
        UserMessage((TextPart(""), ImagePart("https://a.b/c"))),
        UserMessage((TextPart(""),)),
        UserMessage("Hi"),
        AssistantMessage(" "),
        AssistantMessage("Well."),
        AssistantMessage(" ", call),
        ToolMessage("c", ""),
        ToolMessage("c", "3"),
    )
    nothing = "(nothing)"
    contents = [nothing, [image], nothing, "Hi", nothing, "Well.", None, nothing, "3"]
    assert [message["content"] for message in said] == contents


def test_developers_and_names_are_sent_where_they_are_known() -> None:
    messages = (
        DeveloperMessage("Be brief.", "x"),
        SystemMessage("Hm.", "x"),
        UserMessage("Hi", "ann"),
        UserMessage("Hi"),
        AssistantMessage("Ho", name="bob"),
    )
    assert [(message["role"], message.get("name")) for message in sent(STANDARD, *messages)] == [
        ("developer", "x"),
        ("system", "x"),
        ("user", "ann"),
        ("user", None),
        ("assistant", "bob"),
    ]
    plain = [("system", None), ("system", None), ("user", None), ("user", None), ("assistant", None)]
    assert [(message["role"], message.get("name")) for message in sent(GROQ, *messages)] == plain
    assert sent(replace(STANDARD, names=False), *messages)[0]["role"] == "developer"


def test_an_answer_has_the_name_of_its_tool_as_the_call_has() -> None:
    asked, answered = sent(GEMINI, thought("c", None, "a.b"), ToolMessage("c", "3"))
    assert asked["tool_calls"][0]["function"]["name"] == answered["name"] == "a_b"
    assert sent(GEMINI, ToolMessage("nobody", "3")) == [{"role": "tool", "tool_call_id": "nobody", "content": "3"}]


def test_a_field_that_is_demanded_is_there() -> None:
    said = sent(DEEPSEEK, AssistantMessage("Hi"), AssistantMessage("", extra={"reasoning_content": ""}, origin=HERE))
    assert [message["reasoning_content"] for message in said] == [" ", " "]


def test_too_many_tools_are_refused_with_the_way_out() -> None:
    tools = tuple(ToolSpec(f"t{at}", "", {}) for at in range(129))
    assert len(body_of(OPENAI, (), tools=tools[:128])["tools"]) == 128
    assert len(body_of(STANDARD, (), tools=tools)["tools"]) == 129
    with pytest.raises(InvalidRequest, match=r"^129 tools .* 128"):
        body_of(OPENAI, (), tools=tools)


def test_a_long_description_is_refused_by_the_name_of_its_tool() -> None:
    assert body_of(OPENAI, (), tools=(NOW, ToolSpec("t", "x" * 1024, {})))
    with pytest.raises(InvalidRequest, match=r"^t: .* 1025 .* 1024"):
        body_of(OPENAI, (), tools=(NOW, ToolSpec("t", "x" * 1025, {})))


def test_the_most_tokens_under_another_name() -> None:
    settings = Settings(temperature=0.5, max_tokens=7, stop='"max_tokens":', user="ann", extra={"seed": 1})
    written = '"temperature":0.5,"max_completion_tokens":7,"stop":"\\"max_tokens\\":","user":"ann","seed":1}'
    request = ChatRequest((), settings=settings)
    assert OPENAI.encode(request, "m", HERE, stream=False).decode().endswith(written)
    assert body_of(STANDARD, (), settings=settings)["max_tokens"] == 7
    both: dict[str, Any] = {"max_completion_tokens": 1}
    assert body_of(OPENAI, (), settings=Settings(extra=both))["max_completion_tokens"] == 1
    with pytest.raises(InvalidRequest, match="max_completion_tokens"):
        body_of(OPENAI, (), settings=Settings(max_tokens=7, extra=both))


def test_plain_tools() -> None:
    tools = body_of(GEMINI, (), tools=(ADD, NOW))["tools"]
    union = {"type": "string", "description": 'Any of: {"type":"string","enum":["C"]}, integer.'}
    assert tools == [
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "Add numbers.",
                "parameters": {
                    "type": "object",
                    "properties": {"u": union, "n": {"type": "integer", "description": "One of: 1, 2."}},
                },
            },
        },
        {"type": "function", "function": {"name": "now"}},
    ]


def test_usage_is_asked_for_where_it_may_be() -> None:
    request = ChatRequest(())
    assert STANDARD.encode(request, "m", HERE, stream=True).endswith(b'"stream_options":{"include_usage":true}}')
    assert GEMINI.encode(request, "m", HERE, stream=True).endswith(b',"stream":true}')


CALL = (ToolCall("c", "add", "{}"),)
ROLES: list[tuple[tuple[Message, ...], list[tuple[str, Any]]]] = [
    ((), []),
    ((SystemMessage("a"), DeveloperMessage("b")), [("system", "a\n\nb")]),
    (
        (SystemMessage("a"), UserMessage("b"), SystemMessage("c"), UserMessage("d")),
        [("system", "a\n\nc"), ("user", "b\n\nd")],
    ),
    (
        (UserMessage(""), UserMessage((TextPart("a"),)), UserMessage("b")),
        [("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])],
    ),
    ((AssistantMessage("a"), AssistantMessage("b")), [("user", "Continue."), ("assistant", "a\n\nb")]),
    (
        (SystemMessage("s"), AssistantMessage(tool_calls=CALL), ToolMessage("c", "3"), AssistantMessage("a")),
        [("system", "s"), ("user", "Continue."), ("assistant", ""), ("tool", "3"), ("assistant", "a")],
    ),
    (
        (UserMessage("a"), AssistantMessage("b", refusal="n"), AssistantMessage("c", CALL), ToolMessage("c", "3")),
        [("user", "a"), ("assistant", "b\n\nn\n\nc"), ("tool", "3")],
    ),
    (
        (UserMessage("a"), AssistantMessage(tool_calls=CALL), ToolMessage("c", "3"), UserMessage("b")),
        [
            ("user", "a"),
            ("assistant", ""),
            ("tool", "3"),
            ("assistant", "I have seen the results."),
            ("user", "b"),
        ],
    ),
    # A call that is not answered is the loop's to mend; nothing is merged into it.
    (
        (UserMessage("a"), AssistantMessage(tool_calls=CALL), AssistantMessage("b")),
        [("user", "a"), ("assistant", ""), ("assistant", "b")],
    ),
]


@pytest.mark.parametrize(("messages", "roles"), ROLES)
def test_turns(messages: tuple[Message, ...], roles: list[tuple[str, Any]]) -> None:
    assert [(message["role"], message["content"]) for message in sent(LLAMA_CPP, *messages)] == roles


def test_only_what_follows_answers_is_kept_apart() -> None:
    messages = (UserMessage("a"), UserMessage("b"), AssistantMessage(tool_calls=CALL), ToolMessage("c", "3"))
    assert [message["role"] for message in sent(MISTRAL, *messages, UserMessage("d"))] == [
        *["user", "user", "assistant", "tool"],
        *["assistant", "user"],
    ]
    assert [message["role"] for message in sent(MISTRAL, *messages, SystemMessage("d"))][-2:] == ["assistant", "system"]


def test_merged_speakers_keep_a_name_that_they_share() -> None:
    profile = replace(LLAMA_CPP, names=True)
    assert sent(profile, UserMessage("a", "ann"), UserMessage("b", "ann"))[0]["name"] == "ann"
    assert "name" not in sent(profile, UserMessage("a", "ann"), UserMessage("b", "bob"))[0]


TEXT = st.text(min_size=1)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Histories in which each call is answered."""
    history: list[Message] = []
    for at in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["system", "developer", "user", "parts", "assistant", "calls", "refusal"]))
        words = draw(TEXT)
        match kind:
            case "system":
                history.append(SystemMessage(words))
            case "developer":
                history.append(DeveloperMessage(words))
            case "user":
                history.append(UserMessage(words, draw(st.none() | st.just("ann"))))
            case "parts":
                history.append(UserMessage((TextPart(words), ImagePart("https://a.b/c"))))
            case "assistant":
                history.append(AssistantMessage(words, name=draw(st.none() | st.just("bob"))))
            case "refusal":
                history.append(AssistantMessage(refusal=words))
            case _:
                ids = [f"{draw(st.sampled_from(['call_', 'x' * 50, '']))}{at}-{number}" for number in range(2)]
                calls = tuple(ToolCall(id_, "add", draw(st.sampled_from(["{}", "", "["]))) for id_ in ids)
                extra: dict[str, object] = {"reasoning_content": words, "extra_content": {}}
                origin = draw(st.sampled_from([None, HERE, ELSEWHERE]))
                history.append(AssistantMessage(draw(st.none() | TEXT), calls, extra=extra, origin=origin))
                history += [ToolMessage(id_, words) for id_ in ids]
    return history


def texts_in(content: Any) -> str:
    parts: list[Json] = [{"text": content}] if isinstance(content, str) else content or []
    return "\n".join([part.get("text", "") for part in parts])


@settings(max_examples=40)
@given(histories())
def test_roles_alternate_and_no_text_is_lost(history: list[Message]) -> None:
    said = sent(LLAMA_CPP, *history)
    assert refusal_of_a_template({"messages": said}) is None
    assert fault_in(said) is None
    everything = "\n".join(texts_in(message["content"]) for message in said)
    for message in sent(replace(STANDARD, refusals=False), *history):
        assert texts_in(message["content"]) in everything


ALL = [STANDARD, OPENAI, GEMINI, DEEPSEEK, MISTRAL, GROQ, MOONSHOT, BEDROCK, LLAMA_CPP, OPENROUTER]


@pytest.mark.parametrize("profile", ALL)
@settings(max_examples=15)
@given(history=histories())
def test_a_request_is_sound_and_the_same_each_time(profile: Profile, history: list[Message]) -> None:
    request = ChatRequest(tuple(history), (ADD, NOW), ToolChoice("required"), Settings(max_tokens=9))
    body = profile.encode(request, "m", HERE, stream=True)
    assert profile.encode(request, "m", HERE, stream=True) == body
    assert fault_in(json.loads(body)["messages"]) is None
    if profile is MISTRAL:
        assert refusal_of_mistral(json.loads(body)) is None


@settings(max_examples=40)
@given(histories())
def test_the_standard_is_what_the_request_says(history: list[Message]) -> None:
    request = ChatRequest(tuple(history), (ADD, NOW), ToolChoice("required"), Settings(max_tokens=9))
    assert STANDARD.encode(request, "m", "https://third.example", stream=True) == request.encode("m", stream=True)


def test_what_fits_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = (UserMessage("Hi"), AssistantMessage("Ho"), AssistantMessage("", CALL), ToolMessage("c", "3"))
    cases = [
        (STANDARD, ChatRequest(SAID, (ADD, NOW), settings=Settings(max_tokens=5))),
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


@pytest.mark.parametrize(
    ("address", "profile"),
    [
        ("https://api.openai.com/v1", OPENAI),
        ("https://eu.api.openai.com/v1", OPENAI),
        ("https://mine.openai.azure.com/openai/v1/", OPENAI),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", GEMINI),
        ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", GEMINI),
        ("https://API.DeepSeek.com", DEEPSEEK),
        ("https://api.mistral.ai/v1", MISTRAL),
        ("https://api.groq.com:443/openai/v1", GROQ),
        ("https://api.moonshot.ai/v1", MOONSHOT),
        ("https://api.moonshot.cn/v1", MOONSHOT),
        ("https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1", BEDROCK),
        ("https://bedrock-mantle.us-east-1.api.aws/v1", BEDROCK),
        ("https://openrouter.ai/api/v1", OPENROUTER),
        ("http://127.0.0.1:8080/v1", STANDARD),
        ("https://api.openai.com.evil.example/v1", STANDARD),
        ("https://proxy.example/api.groq.com", STANDARD),
        ("api.groq.com", STANDARD),
        ("", STANDARD),
        ("http://[", STANDARD),
    ],
)
def test_the_profile_of_an_address(address: str, profile: Profile) -> None:
    assert profile_of(address) is profile


def test_each_named_profile_says_why() -> None:
    source = Path(profiles.__file__).read_text()
    names = [name for name, value in vars(profiles).items() if isinstance(value, Profile)]
    assert len(names) == len(ALL)
    for name in names:
        assert re.search(rf'^{name} = Profile\((.|\n)*?\)\n"""', source, re.MULTILINE), name
