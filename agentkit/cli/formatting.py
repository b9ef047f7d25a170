"""Texts as people read them in a terminal or a file: whatever a model or a tool says, it cannot steer the terminal."""

import json

from agentkit.core.json import decode, object_of
from agentkit.core.messages import ToolCall, Usage

LONGEST = 200
_UNSEEN = "\N{REPLACEMENT CHARACTER}"
_STEERING = [*range(32), *range(127, 160)]
_TURNING = [0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # lines, and the direction of writing
_HALVES = range(0xD800, 0xE000)  # halves of characters, which no file can have
_SAFE = dict.fromkeys([*_STEERING, *_TURNING, *_HALVES], _UNSEEN) | {9: "\t", 10: "\n", 13: ""}


def safe(text: str) -> str:
    """Give a text without what would steer a terminal: only its lines and tabs are left."""
    return text.translate(_SAFE)


def line(text: str) -> str:
    """Give a text as one line."""
    return " ".join(safe(text).split())


def short(text: str, longest: int = LONGEST) -> str:
    """Give a text as one line that is not long."""
    text = line(text)
    return text if len(text) <= longest else f"{text[:longest]}…"


def call_of(call: ToolCall) -> str:
    """Write a call as code: `get_weather(city="Paris")`."""
    try:
        given = object_of(decode(call.arguments))
    except ValueError:
        given = {}
    arguments = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items()]
    if not given and call.arguments.strip() != "{}":
        arguments = [call.arguments]
    return line(f"{call.name}({', '.join(arguments)})")


def usage_of(usage: Usage) -> str:
    """Write what requests cost: `2 requests, 30 tokens`."""
    parts = [f"{usage.requests} request{'' if usage.requests == 1 else 's'}"]
    if usage.total_tokens is not None:
        cached = f" ({usage.cached_tokens:,} of them cached)" if usage.cached_tokens else ""
        parts.append(f"{usage.total_tokens:,} tokens{cached}")
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:.6g}")
    return ", ".join(parts)
