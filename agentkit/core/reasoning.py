"""The reasoning of a model, where endpoints send it."""

from collections.abc import Mapping

from agentkit.core.json import list_of, object_of

_FIELDS = ("reasoning_content", "reasoning")  # DeepSeek, vLLM, Qwen and others; OpenRouter and Groq
_DETAILS = "reasoning_details"  # OpenRouter, where they must be sent back
_TEXTS = ("text", "summary")


def reasoning_of(fields: Mapping[str, object]) -> str:
    """Return the reasoning in a message or a delta; often empty.

    >>> reasoning_of({"reasoning_content": "Paris is in France."})
    'Paris is in France.'
    """
    for name in _FIELDS:
        if isinstance(text := fields.get(name), str) and text:
            return text
    if _DETAILS not in fields:
        return ""
    details = [object_of(detail) for detail in list_of(fields[_DETAILS])]
    texts = [detail.get(name) for detail in details for name in _TEXTS]
    return "".join([text for text in texts if isinstance(text, str)])
