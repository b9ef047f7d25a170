from urllib.parse import urlsplit

import pytest

from agentkit import Agent, ChatClient, ConfigurationError
from agentkit.models.client.profiles import GEMINI, GROQ, MISTRAL, OPENAI, STANDARD, profile_of
from agentkit.models.client.providers import PROVIDERS, provided_endpoint, split_name
from tests.endpoint import serving, text


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for name in (provider.key, provider.address):
            if name:
                monkeypatch.delenv(name, raising=False)


def test_each_provider_has_an_address_and_the_key_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, provider in PROVIDERS.items():
        if provider.key:
            with pytest.raises(ConfigurationError, match=f"{provider.key}|{provider.address}"):
                provided_endpoint(name, None, None)
            monkeypatch.setenv(provider.key, f"key-of-{name}")
        if not provider.base_url:
            with pytest.raises(ConfigurationError, match=provider.address):
                provided_endpoint(name, None, None)
            monkeypatch.setenv(provider.address, f"https://{name}.example{provider.path}/")
        url, key = provided_endpoint(name, None, None)
        assert urlsplit(url).hostname
        assert not url.endswith("/")
        assert key == (f"key-of-{name}" if provider.key else "")
        assert Agent(f"{name}:some:model").plan.model.name == "some:model"


def test_what_is_passed_and_the_variables_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://gpu:11434/v1")
    assert provided_endpoint("ollama", None, None) == ("http://gpu:11434/v1", "")
    assert provided_endpoint("ollama", "http://own/v1", "sk") == ("http://own/v1", "sk")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com")
    assert provided_endpoint("azure", None, "sk") == ("https://mine.openai.azure.com/openai/v1", "sk")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://gateway.example")
    assert provided_endpoint("anthropic", None, "sk") == ("https://gateway.example/v1", "sk")


def test_the_profile_is_that_of_the_address() -> None:
    known = {"openai": OPENAI, "gemini": GEMINI, "groq": GROQ, "mistral": MISTRAL, "vllm": STANDARD}
    assert {name: profile_of(PROVIDERS[name].base_url) for name in known} == known


def test_names_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTKIT_BASE_URL", raising=False)
    for model, parts in {
        "gpt-5": ("gpt-5", None),
        "openai:gpt-5": ("gpt-5", "openai"),
        "ollama:llama3:8b": ("llama3:8b", "ollama"),
        "llama3:8b": ("llama3:8b", None),
        "ft:gpt-4o:me": ("ft:gpt-4o:me", None),
    }.items():
        assert split_name(model) == parts
    for model in ("Openai:gpt-5", "opnai:gpt-5", "openruter:x"):
        with pytest.raises(ConfigurationError, match=r"openai:gpt-5|openrouter:x"):
            split_name(model)
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://h/v1")
    assert split_name("opnai:gpt-5") == ("opnai:gpt-5", None)


@pytest.mark.anyio
async def test_the_key_of_a_provider_reaches_its_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("GROQ_API_KEY", "sk-groq")
    with serving(text("Hello.")) as endpoint:
        monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        monkeypatch.setenv("GROQ_BASE_URL", endpoint.url)
        assert (await Agent("groq:llama").run("Hi")).output == "Hello."
        assert (await Agent(ChatClient("m", provider="vllm", base_url=endpoint.url)).run("Hi")).output == "Hello."
    sent = [headers.get("authorization") for headers in endpoint.headers]
    assert sent == ["Bearer sk-groq", None]
    assert [request["model"] for request in endpoint.requests] == ["llama", "m"]
