"""Text for a terminal or a file, without control characters: what a model or tool writes cannot steer the terminal."""

import json

from agentkit.core.json import decode, object_of
from agentkit.core.messages import ToolCall, Usage

MAX_LENGTH = 200
_CONTROL = [*range(32), *range(127, 160)]
_DIRECTION = [0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # also Unicode line separators
_SURROGATES = range(0xD800, 0xE000)  # these cannot be written to a file
_UNSEEN = dict.fromkeys([*_CONTROL, *_DIRECTION, *_SURROGATES], "\N{REPLACEMENT CHARACTER}")
_PRINTABLE = _UNSEEN | {9: "\t", 10: "\n", 13: ""}


def printable(text: str) -> str:
    """Replace control characters, except newlines and tabs."""
    return text.translate(_PRINTABLE)


def one_line(text: str) -> str:
    return " ".join(printable(text).split())


def shortened(text: str) -> str:
    """Return the text as one line of at most 200 characters."""
    text = one_line(text)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}…"


def format_call(call: ToolCall) -> str:
    """Write a tool call as code: `get_weather(city="Paris")`."""
    try:
        values = object_of(decode(call.arguments))
    except ValueError:
        values = {}
    arguments = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    if not values and call.arguments.strip() != "{}":
        arguments = [call.arguments]
    return one_line(f"{call.name}({', '.join(arguments)})")


def format_usage(usage: Usage) -> str:
    """Write a usage as `2 requests, 30 tokens, cost 0.01`."""
    parts = [f"{usage.requests} request{'' if usage.requests == 1 else 's'}"]
    if usage.total_tokens is not None:
        cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
        parts.append(f"{usage.total_tokens:,} tokens{cached}")
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:.6g}")
    return ", ".join(parts)
