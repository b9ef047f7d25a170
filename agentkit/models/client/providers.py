"""The table of providers: their addresses, and the environment variables with their keys.

`Agent("groq:llama-3.3-70b-versatile")` and `ChatClient("llama-3.3-70b-versatile", provider="groq")` look here. How an
endpoint deviates from the protocol is in `profiles`, by its host. A new provider is a line here and one in
`docs/providers.md`.
"""

import os
from typing import NamedTuple

from agentkit.core.errors import ConfigurationError
from agentkit.core.secrets import Secret


class Provider(NamedTuple):
    """Where a provider answers chat completions.

    Attributes:
        base_url: Its address; empty if every customer has another one.
        key: The environment variable with the key; empty if it needs none.
        address: The environment variable with another address, such as that of a server on another machine.
        path: What follows the address in that variable.
    """

    base_url: str
    key: str
    address: str
    path: str = ""


# The sources are the pages on OpenAI compatibility in the documentation of each.
PROVIDERS = {
    "anthropic": Provider("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "/v1"),
    "azure": Provider("", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "/openai/v1"),
    "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL"),
    "gemini": Provider("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "GEMINI_BASE_URL"),
    "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY", "GROQ_BASE_URL"),
    "lmstudio": Provider("http://localhost:1234/v1", "", "LMSTUDIO_BASE_URL"),
    "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "MISTRAL_BASE_URL"),
    "ollama": Provider("http://localhost:11434/v1", "", "OLLAMA_BASE_URL"),
    "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"),
    "together": Provider("https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
    "vllm": Provider("http://localhost:8000/v1", "", "VLLM_BASE_URL"),
}


def provider_of(name: str) -> Provider:
    """Return a provider by its name; raise `ConfigurationError` if it is not known."""
    if (found := PROVIDERS.get(name)) is not None:
        return found
    raise ConfigurationError(f"no provider {name!r}; these are known: {', '.join(PROVIDERS)}")


def split_name(model: str) -> tuple[str, str | None]:
    """Return the name of a model and that of its provider: `"groq:llama"` has one, `"llama3:8b"` has none.

    Raises:
        ConfigurationError: If the part before the colon looks like a provider's name with a typing error.
    """
    provider, colon, name = model.partition(":")
    if not colon:
        return model, None
    if provider in PROVIDERS:
        return name, provider
    from difflib import get_close_matches  # noqa: PLC0415 (it is slow to import)

    near = get_close_matches(provider.lower(), PROVIDERS, 1, 0.85)
    if near and not os.environ.get("AGENTKIT_BASE_URL"):  # an endpoint may have any names
        raise ConfigurationError(f"no provider {provider!r}; write {near[0] + ':' + name!r}")
    return model, None


def provided_endpoint(name: str, base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """Return the base URL and the key of a provider; what is not passed comes from its environment variables."""
    provider = provider_of(name)
    own = os.environ.get(provider.address, "")
    url = base_url or (own.rstrip("/").removesuffix(provider.path) + provider.path if own else provider.base_url)
    if not url:
        raise ConfigurationError(f"{name} has another address per customer: set {provider.address}, or pass base_url=…")
    if api_key is not None or not provider.key:
        return Secret(url), Secret(api_key or "")
    key = Secret(os.environ.get(provider.key, ""))
    if not key:
        raise ConfigurationError(f"{name} needs a key: set {provider.key}, or pass ChatClient(…, api_key=…)")
    return Secret(url), key
