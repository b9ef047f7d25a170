import json
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agentkit import Agent, ChatClient, ToolChoice
from agentkit.core.chat import ChatRequest, Settings
from agentkit.core.messages import AssistantMessage, DeveloperMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.parts import TextPart
from agentkit.models.client import profiles
from agentkit.models.client.profile import Profile
from agentkit.testing import Raw
from agentkit.tool_choice import first, force, given, one_at_a_time
from tests.endpoint import Json, calls, serving, text
from tests.models.client.test_profile import ADD, ALL, ELSEWHERE, HERE, LONG_ID, NOW, PICTURE, sent, thought
from tests.strict_endpoints import (
    PROVIDERS,
    Refusal,
    refusal_of_dashscope,
    refusal_of_deepseek,
    refusal_of_gemini,
    refusal_of_moonshot,
    refusal_of_openai,
    refusal_of_openrouter,
    strictly,
)

HISTORY = (
    SystemMessage("Be brief."),
    DeveloperMessage("And kind."),
    UserMessage("What is the sum?", name="ann"),
    UserMessage((TextPart("Look:"), PICTURE)),
    thought(LONG_ID, ELSEWHERE, "browser.tabs.open(x)", "{'u': "),
    ToolMessage(LONG_ID, "", "error"),
    UserMessage("Try again."),
    AssistantMessage("Well."),
    AssistantMessage("", refusal="I would rather not.", name="bob"),
    AssistantMessage(""),
    SystemMessage("Go on."),
    UserMessage(""),
    UserMessage((TextPart(" "), PICTURE)),
    thought("functions.add:0", HERE),
    ToolMessage("functions.add:0", "3"),
)


@pytest.mark.parametrize(("profile", "refusal", "status"), PROVIDERS)
def test_a_strict_provider_accepts_any_history(profile: Profile, refusal: Refusal, status: int) -> None:
    request = ChatRequest(HISTORY, (ADD, NOW), settings=Settings(max_tokens=5))
    with serving(strictly(refusal, status)) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        for stream in (False, True):
            if profile is not profiles.STANDARD:
                naive = httpx.post(url, content=request.encode("m", stream=stream))
                assert naive.status_code == status, "the fake accepts anything"
            answered = httpx.post(url, content=profile.encode(request, "m", HERE, stream=stream))
            assert answered.is_success, answered.text
            assert endpoint.requests[-1].get("stream") == (True if stream else None)


PLACEHOLDER = {"google": {"thought_signature": "skip_thought_signature_validator"}}
OWN = (UserMessage("?"), thought("functions.add:0", HERE), ToolMessage("functions.add:0", "3"))


@pytest.mark.parametrize(("profile", "refusal", "field", "words"), [
    (profiles.GEMINI, refusal_of_gemini, "extra_content", "missing a thought_signature"),
    (profiles.DEEPSEEK, refusal_of_deepseek, "reasoning_content", "must be passed back"),
    (profiles.MOONSHOT, refusal_of_moonshot, "reasoning_content", "is missing in assistant tool call message"),
    (profiles.OPENROUTER, refusal_of_openrouter, "reasoning_details", "to be preserved"),
])  # fmt: skip
def test_an_endpoint_gets_its_fields_back_and_no_other_does(
    profile: Profile, refusal: Refusal, field: str, words: str
) -> None:
    def body(profile: Profile, origin: str = HERE) -> str:
        return profile.encode(ChatRequest(OWN), "m", origin, stream=False).decode()

    with serving(strictly(refusal)) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        forgetful = replace(profile, echo=frozenset(), demanded=frozenset())
        assert words in httpx.post(url, content=body(forgetful)).text
        assert httpx.post(url, content=body(profile)).status_code == 200
    assert not any(text in body(profile, ELSEWHERE) for text in ("Hm.", "c2ln", "encrypted"))
    assert field not in body(profiles.MISTRAL) + body(profiles.GROQ)
    assert "annotations" not in body(profile)


@pytest.mark.parametrize(("model", "signed"), [
    ("gemini-3-pro-preview", True), ("google/gemini-3.5-flash", True), ("gemini-flash-latest", True),
    ("gemini-2.5-flash", False), ("models/gemini-2.0-flash", False), ("gemma-3", False),
])  # fmt: skip
def test_a_call_that_the_model_did_not_make_has_the_placeholder_for_a_signature(model: str, *, signed: bool) -> None:
    answers = iter([calls(("add", {"a": 2})), text("3")])
    with serving(lambda _: next(answers)) as endpoint:
        client = ChatClient(model, base_url=endpoint.url, api_key="", profile=profiles.GEMINI)
        Agent(client, tools=[add], tool_choice=first(given(add, a=1))).run_sync("?")
    with serving(strictly(refusal_of_gemini)) as strict:
        again = httpx.post(f"{strict.url}/chat/completions", json=endpoint.requests[0])
    assert again.is_success is signed
    made = [call for message in endpoint.requests[1]["messages"] for call in message.get("tool_calls", [])]
    assert [call.get("extra_content") for call in made] == [PLACEHOLDER if signed else None] * 2


def test_only_the_first_call_of_a_message_is_signed_and_only_for_gemini() -> None:
    two = AssistantMessage(tool_calls=(ToolCall("a", "add", "{}"), ToolCall("b", "add", "{}")))
    foreign, own, answer = thought("c", ELSEWHERE), thought("d", HERE), AssistantMessage("3")
    for profile in ALL:
        body = profile.encode(
            ChatRequest((UserMessage("?"), two, foreign, own, answer)), "gemini-3", HERE, stream=False
        )
        made = [call for message in json.loads(body)["messages"] for call in message.get("tool_calls", [])]
        signatures = [call.get("extra_content") for call in made]
        if profile is profiles.GEMINI:
            kept = {"google": {"thought_signature": "c2ln"}}
            assert signatures == [PLACEHOLDER, None, PLACEHOLDER, kept]
        else:
            assert PLACEHOLDER not in signatures


def test_ids_are_sent_back_unchanged() -> None:
    for profile in (profile for profile in ALL if profile is not profiles.MISTRAL):
        call, result = sent(profile, *OWN)[1:]
        assert (call["tool_calls"][0]["id"], result["tool_call_id"]) == ("functions.add:0", "functions.add:0")


FORCED = ToolChoice("tool", "add")
NO_THINKING = {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(("profile", "refusal", "model", "extra", "forced"), [
    (profiles.DEEPSEEK, refusal_of_deepseek, "deepseek-reasoner", {}, False),
    (profiles.DEEPSEEK, refusal_of_deepseek, "deepseek-v4-pro", {}, False),
    (profiles.DEEPSEEK, refusal_of_deepseek, "deepseek-v4-pro", NO_THINKING, True),
    (profiles.MOONSHOT, refusal_of_moonshot, "kimi-k2.6", {}, False),
    (profiles.MOONSHOT, refusal_of_moonshot, "kimi-k2.6", NO_THINKING, True),
    (profiles.DASHSCOPE, refusal_of_dashscope, "qwen3.5-plus", {}, False),
    (profiles.DASHSCOPE, refusal_of_dashscope, "qwen3-235b-a22b", {}, False),
    (profiles.DASHSCOPE, refusal_of_dashscope, "qwen3.5-plus", {"enable_thinking": False}, True),
])  # fmt: skip
def test_no_choice_is_forced_while_a_model_thinks(
    profile: Profile, refusal: Refusal, model: str, extra: Json, *, forced: bool
) -> None:
    request = ChatRequest((UserMessage("?"),), (ADD, NOW), FORCED, Settings(extra=extra))
    with serving(strictly(refusal)) as endpoint:
        url = f"{endpoint.url}/chat/completions"
        assert httpx.post(url, content=request.encode(model)).is_success is forced
        assert httpx.post(url, content=profile.encode(request, model, HERE, stream=False)).is_success
    assert (endpoint.requests[-1]["tool_choice"] != "auto") is forced


@pytest.mark.parametrize(("profile", "model"), [
    (profiles.DEEPSEEK, "deepseek-chat"),
    (profiles.MOONSHOT, "moonshot-v1-8k"),
    (profiles.DASHSCOPE, "qwen-plus"),
    (profiles.DASHSCOPE, "qwen3-coder-30b"),
    (profiles.DASHSCOPE, "qwen3-235b-a22b-instruct-2507"),
])  # fmt: skip
def test_models_that_do_not_think_are_forced(profile: Profile, model: str) -> None:
    body = profile.encode(ChatRequest((), (ADD, NOW), FORCED), model, HERE, stream=False)
    assert b'"tool_choice":{"type":"function"' in body


def add(a: int = 1) -> int:
    """Add numbers."""
    return a


def now() -> str:
    """Tell the time."""
    return "noon"


def test_a_model_that_cannot_be_forced_is_asked_again_until_it_calls() -> None:
    replies = iter([text("3"), calls(("add", {"a": 1})), text("1")])

    def reply(request: Json) -> Json | Raw:
        answer = strictly(refusal_of_deepseek)(request)
        return answer if isinstance(answer, Raw) else next(replies)

    with serving(reply) as endpoint:
        model = ChatClient("deepseek-reasoner", base_url=endpoint.url, api_key="", profile=profiles.DEEPSEEK)
        result = Agent(model, tools=[add, now], tool_choice=first(force(add))).run_sync("?")
    assert [(len(request["tools"]), request["tool_choice"]) for request in endpoint.requests] == [
        (1, "auto"),
        (1, "auto"),
        (2, "auto"),
    ]
    assert (result.output, result.violations) == ("1", 1)


@pytest.mark.parametrize(("model", "said"), [("gpt-5", False), ("o3", None)])
def test_one_call_at_a_time_is_said_to_models_that_know_it(model: str, said: object) -> None:
    with serving(strictly(refusal_of_openai)) as endpoint:
        client = ChatClient(model, base_url=endpoint.url, api_key="", profile=profiles.OPENAI)
        Agent(client, tools=[add, now], tool_choice=one_at_a_time()).run_sync("?")
        Agent(client, tool_choice=one_at_a_time()).run_sync("?")
    assert [request.get("parallel_tool_calls") for request in endpoint.requests] == [said, None]


@pytest.mark.parametrize(("address", "profile"), [
    ("https://api.openai.com/v1", profiles.OPENAI),
    ("https://eu.api.openai.com/v1", profiles.OPENAI),
    ("https://mine.openai.azure.com/openai/v1/", profiles.AZURE),
    ("https://generativelanguage.googleapis.com/v1beta/openai/", profiles.GEMINI),
    ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", profiles.GEMINI),
    ("https://API.DeepSeek.com", profiles.DEEPSEEK),
    ("https://api.mistral.ai/v1", profiles.MISTRAL),
    ("https://api.groq.com:443/openai/v1", profiles.GROQ),
    ("https://api.moonshot.ai/v1", profiles.MOONSHOT),
    ("https://api.moonshot.cn/v1", profiles.MOONSHOT),
    ("https://dashscope.aliyuncs.com/compatible-mode/v1", profiles.DASHSCOPE),
    ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", profiles.DASHSCOPE),
    ("https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1", profiles.BEDROCK),
    ("https://bedrock-mantle.us-east-1.api.aws/v1", profiles.BEDROCK),
    ("https://openrouter.ai/api/v1", profiles.OPENROUTER),
    ("http://127.0.0.1:8080/v1", profiles.STANDARD),
    ("https://api.openai.com.evil.example/v1", profiles.STANDARD),
    ("https://proxy.example/api.groq.com", profiles.STANDARD),
    ("api.groq.com", profiles.STANDARD),
    ("", profiles.STANDARD),
    ("http://[", profiles.STANDARD),
])  # fmt: skip
def test_the_profile_of_an_address(address: str, profile: Profile) -> None:
    assert profiles.profile_of(address) is profile


def test_each_named_profile_has_a_docstring_with_its_source() -> None:
    source = Path(profiles.__file__).read_text()
    names = [name for name, value in vars(profiles).items() if isinstance(value, Profile)]
    assert len(names) == len(ALL)
    for name in names:
        assert re.search(rf'^{name} = (Profile|replace)\((.|\n)*?\).*\n"""', source, re.MULTILINE), name
