import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agentkit.core.chat import ChatRequest, Settings
from agentkit.core.messages import AssistantMessage, DeveloperMessage, SystemMessage, TextPart, ToolMessage, UserMessage
from agentkit.models.client import profiles
from agentkit.models.client.profile import Profile
from tests.endpoint import serving
from tests.models.client.test_profile import ADD, ALL, ELSEWHERE, HERE, LONG_ID, NOW, PICTURE, sent, thought
from tests.strict_endpoints import (
    PROVIDERS,
    Refusal,
    refusal_of_deepseek,
    refusal_of_gemini,
    refusal_of_moonshot,
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


def test_ids_are_sent_back_unchanged() -> None:
    for profile in (profile for profile in ALL if profile is not profiles.MISTRAL):
        call, result = sent(profile, *OWN)[1:]
        assert (call["tool_calls"][0]["id"], result["tool_call_id"]) == ("functions.add:0", "functions.add:0")


@pytest.mark.parametrize(("address", "profile"), [
    ("https://api.openai.com/v1", profiles.OPENAI),
    ("https://eu.api.openai.com/v1", profiles.OPENAI),
    ("https://mine.openai.azure.com/openai/v1/", profiles.OPENAI),
    ("https://generativelanguage.googleapis.com/v1beta/openai/", profiles.GEMINI),
    ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", profiles.GEMINI),
    ("https://API.DeepSeek.com", profiles.DEEPSEEK),
    ("https://api.mistral.ai/v1", profiles.MISTRAL),
    ("https://api.groq.com:443/openai/v1", profiles.GROQ),
    ("https://api.moonshot.ai/v1", profiles.MOONSHOT),
    ("https://api.moonshot.cn/v1", profiles.MOONSHOT),
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
        assert re.search(rf'^{name} = Profile\((.|\n)*?\)\n"""', source, re.MULTILINE), name
