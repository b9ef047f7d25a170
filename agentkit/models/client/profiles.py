"""The table of known endpoints: how they deviate from the protocol, and the sources of these facts.

The comment beside a field is what the endpoint answers to a request that ignores the deviation. `Profile` explains the
fields, and does the encoding. A new endpoint is a constant here, a line in `_HOSTS` and one in `docs/endpoints.md`.
"""

import re
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from agentkit.models.client.profile import Profile

_REASONING = frozenset({"reasoning_content"})
_CACHED_TOOLS = 32
_EVERY_MODEL = ".*"

STANDARD = Profile()
"""The protocol as documented. Any endpoint that is not in this table gets it."""

OPENAI = Profile(
    echo=frozenset(),
    ids="(?s).{1,40}",  # "string too long"
    parallel_tool_calls=r"(?!o\d).*",  # o1, o3, o4-mini: "Unsupported parameter: 'parallel_tool_calls'"
    allowed_tools=_CACHED_TOOLS,  # more are seldom worth sending: with `relevant`, they would be hundreds
    most_tools=128,  # "array too long"
    longest_description=1024,  # "string too long"
    max_tokens="max_completion_tokens",  # newer models answer 400 to `max_tokens`; every model knows this name
)
"""OpenAI. Sources: https://platform.openai.com/docs/api-reference/chat/create, and for the models without
`parallel_tool_calls` https://github.com/run-llama/llama_index/issues/20865.
"""

AZURE = replace(OPENAI, allowed_tools=0)  # of older API versions: "'$.tool_choice' is invalid"
"""Azure with OpenAI's models. Source: https://github.com/Azure/azure-sdk-for-js/issues/28325."""

GEMINI = Profile(
    echo=frozenset({"extra_content"}),  # "missing a thought_signature": of the thoughts behind a call
    signed=r"(.*/)?gemini-(?![12]\b).*",  # those before Gemini 3 do not check it
    signature={"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
    refusals=False,
    developer=False,
    answer_names=True,  # "function_response.name: Name cannot be empty"
    schemas="plain",  # "Unknown name": no other keywords, no enum but of strings, no empty top object, no unions
    stream_usage=False,  # gateways answer 400 to `stream_options`; the usage comes unasked
)
"""Gemini, at its address for this protocol and in Vertex AI.

Sources: https://ai.google.dev/gemini-api/docs/thought-signatures (its FAQ has the placeholder for calls that the model
did not make) and https://ai.google.dev/api/caching#Schema.
"""

DEEPSEEK = Profile(
    echo=_REASONING,
    demanded=_REASONING,  # in thinking mode, "must be passed back to the API", and must not be empty
    refusals=False,
    developer=False,  # "unknown variant"
    unforced="(?!deepseek-chat$).*",  # "Thinking mode does not support this tool_choice"
)
"""DeepSeek; without thinking, it ignores the reasoning.

Sources: https://api-docs.deepseek.com/guides/thinking_mode, and for the tool choice
https://github.com/pydantic/pydantic-ai/pull/3644 and https://github.com/BerriAI/litellm/pull/37470.
"""

MISTRAL = Profile(
    echo=frozenset(),  # 422 "extra_forbidden" for any field that it does not know
    silent="empty",  # null is no content
    refusals=False,
    user_after_answers=False,  # "Unexpected role 'user' after role 'tool'"
    developer=False,
    names=False,  # "extra_forbidden"
    ids="[a-zA-Z0-9]{9}",  # "must be a-z, A-Z, 0-9, with a length of 9"
    parallel_tool_calls=_EVERY_MODEL,
    stream_usage=False,  # "extra_forbidden"; the usage comes unasked
)
"""Mistral's own API. Source: https://docs.mistral.ai/api/."""

GROQ = Profile(
    echo=frozenset(),  # "property 'reasoning_content' is unsupported"
    refusals=False,
    developer=False,
    names=False,
    parallel_tool_calls=_EVERY_MODEL,
    most_tools=128,
)
"""Groq. Sources: https://console.groq.com/docs/openai and https://console.groq.com/docs/api-reference#chat-create."""

MOONSHOT = Profile(
    echo=_REASONING,
    demanded=_REASONING,  # with thinking on, "is missing in assistant tool call message"
    refusals=False,
    developer=False,
    unforced="kimi-.*",  # "tool_choice 'required' is incompatible with thinking enabled"; K3: only with a named tool
)
"""Moonshot's Kimi. Ids such as `functions.read:0` must come back unchanged: with others, the model answers nothing.

Sources: https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model, and for the tool choice
https://github.com/UKGovernmentBEIS/inspect_ai/pull/5152.
"""

DASHSCOPE = Profile(
    # "The tool_choice parameter does not support being set to required or object in thinking mode"
    unforced=r"(?!.*(instruct|coder)).*(qwq|qwen3[.-]\d|thinking).*",
    parallel_tool_calls=_EVERY_MODEL,
)
"""Qwen in Alibaba Cloud's Model Studio.

Sources: https://www.alibabacloud.com/help/en/model-studio/qwen-api-reference and
https://github.com/cloudwego/eino/issues/994, and for the models that think by default
https://www.alibabacloud.com/help/en/model-studio/deep-thinking.
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
    named_choice=False,  # llama.cpp takes a named tool for `auto`: https://github.com/ggml-org/llama.cpp/issues/26535
    parallel_tool_calls=_EVERY_MODEL,
)
"""Servers with a strict chat template, as llama.cpp and vLLM have with many models.

No address tells which template a server uses, so this is never the default. The source is the templates' own errors;
for `parallel_tool_calls`, https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md.
"""

OPENROUTER = Profile(
    echo=frozenset({"reasoning_details"}),  # "must be preserved", for reasoning models and Gemini above all
    refusals=False,
    ids="(?s).{1,40}",  # OpenAI may be behind it
    parallel_tool_calls=_EVERY_MODEL,  # it leaves out what a model does not know
)
"""OpenRouter.

Sources: https://openrouter.ai/docs/guides/best-practices/reasoning-tokens and
https://openrouter.ai/docs/api-reference/parameters.
"""

_HOSTS = (
    (r"(.+\.)?api\.openai\.com", OPENAI),
    (r".+\.openai\.azure\.com", AZURE),
    (r"generativelanguage\.googleapis\.com|(.+-)?aiplatform\.googleapis\.com", GEMINI),
    (r"api\.deepseek\.com", DEEPSEEK),
    (r"(api|codestral)\.mistral\.ai", MISTRAL),
    (r"api\.groq\.com", GROQ),
    (r"api\.moonshot\.(ai|cn)", MOONSHOT),
    (r"dashscope(-\w+)?\.aliyuncs\.com", DASHSCOPE),
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
