"""The table of known endpoints: for each, what deviates from the protocol, and the source of the fact.

The comment beside a field is what the endpoint answers to a request that ignores the deviation. `Profile` explains the
fields, and does the encoding. A new endpoint is a constant here, a line in `_HOSTS` and one in `docs/endpoints.md`.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from agentkit.models.client.profile import Profile

_REASONING = frozenset({"reasoning_content"})

STANDARD = Profile()
"""The protocol as documented. Any endpoint that is not in this table gets it."""

OPENAI = Profile(
    echo=frozenset(),
    ids="(?s).{1,40}",  # "string too long"
    most_tools=128,  # "array too long"
    longest_description=1024,  # "string too long"
    max_tokens="max_completion_tokens",  # newer models answer 400 to `max_tokens`; every model knows this name
)
"""OpenAI, and Azure with OpenAI's models. Source: https://platform.openai.com/docs/api-reference/chat/create."""

GEMINI = Profile(
    echo=frozenset({"extra_content"}),  # "missing a thought_signature": of the thoughts behind a call
    refusals=False,
    developer=False,
    answer_names=True,  # "function_response.name: Name cannot be empty"
    schemas="plain",  # "Unknown name": no other keywords, no enum but of strings, no empty top object, no unions
    stream_usage=False,  # gateways answer 400 to `stream_options`; the usage comes unasked
)
"""Gemini, at its address for this protocol and in Vertex AI.

Sources: https://ai.google.dev/gemini-api/docs/thought-signatures and https://ai.google.dev/api/caching#Schema.
"""

DEEPSEEK = Profile(
    echo=_REASONING,
    demanded=_REASONING,  # in thinking mode, "must be passed back to the API", and must not be empty
    refusals=False,
    developer=False,  # "unknown variant"
)
"""DeepSeek; without thinking, it ignores the reasoning. Source: https://api-docs.deepseek.com/guides/thinking_mode."""

MISTRAL = Profile(
    echo=frozenset(),  # 422 "extra_forbidden" for any field that it does not know
    silent="empty",  # null is no content
    refusals=False,
    user_after_answers=False,  # "Unexpected role 'user' after role 'tool'"
    developer=False,
    names=False,  # "extra_forbidden"
    ids="[a-zA-Z0-9]{9}",  # "must be a-z, A-Z, 0-9, with a length of 9"
    stream_usage=False,  # "extra_forbidden"; the usage comes unasked
)
"""Mistral's own API. Source: https://docs.mistral.ai/api/."""

GROQ = Profile(
    echo=frozenset(),  # "property 'reasoning_content' is unsupported"
    refusals=False,
    developer=False,
    names=False,
    most_tools=128,
)
"""Groq. Source: https://console.groq.com/docs/openai."""

MOONSHOT = Profile(
    echo=_REASONING,
    demanded=_REASONING,  # with thinking on, "is missing in assistant tool call message"
    refusals=False,
    developer=False,
)
"""Moonshot's Kimi. Ids such as `functions.read:0` must come back unchanged: with others, the model answers nothing.

Source: https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model.
"""

BEDROCK = Profile(
    blank="(nothing)",  # "text content blocks must be non-empty", and not only white space
    refusals=False,
    developer=False,
)
"""Amazon Bedrock. The source is its answer: 400, with these words."""

LLAMA_CPP = Profile(
    silent="empty",  # templates may fail where a content is null
    refusals=False,
    alternate=True,  # "Conversation roles must alternate user/assistant/user/assistant/..."; one system message, first
    developer=False,
    names=False,
)
"""Servers with a strict chat template, as llama.cpp and vLLM have with many models.

No address tells which template a server uses, so this is never the default. The source is the templates' own errors.
"""

OPENROUTER = Profile(
    echo=frozenset({"reasoning_details"}),  # "must be preserved", for reasoning models and Gemini above all
    refusals=False,
    ids="(?s).{1,40}",  # OpenAI may be behind it
)
"""OpenRouter. Source: https://openrouter.ai/docs/guides/best-practices/reasoning-tokens."""

_HOSTS = (
    (r"(.+\.)?api\.openai\.com|.+\.openai\.azure\.com", OPENAI),
    (r"generativelanguage\.googleapis\.com|(.+-)?aiplatform\.googleapis\.com", GEMINI),
    (r"api\.deepseek\.com", DEEPSEEK),
    (r"(api|codestral)\.mistral\.ai", MISTRAL),
    (r"api\.groq\.com", GROQ),
    (r"api\.moonshot\.(ai|cn)", MOONSHOT),
    (r"bedrock-runtime.*\.amazonaws\.com|bedrock-mantle\..+\.api\.aws", BEDROCK),
    (r"openrouter\.ai", OPENROUTER),
)


@lru_cache(maxsize=64)
def profile_of(base_url: str) -> Profile:
    """Return the profile for a base URL, by its host; `STANDARD` if it is not known."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:  # not an address, as whoever sends to it will say
        return STANDARD
    return next((profile for pattern, profile in _HOSTS if re.fullmatch(pattern, host)), STANDARD)
