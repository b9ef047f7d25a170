"""Texts for people that several commands print."""

import json

from agentkit.core.messages import Usage
from agentkit.core.printable import LINES, one_line, printable

MAX_LENGTH = 200


def shortened(text: str) -> str:
    """Return the text as one line of at most 200 characters."""
    return one_line(text, MAX_LENGTH)


def format_json(data: object, indent: int | None = None) -> str:
    """Return data as JSON that a terminal shows as it is, with a line break at its end."""
    return f"{printable(json.dumps(data, indent=indent), LINES)}\n"


def format_usage(usage: Usage) -> str:
    """Write a usage as `2 requests, 30 tokens, cost 0.01`."""
    parts = [f"{usage.requests} request{'' if usage.requests == 1 else 's'}"]
    if usage.total_tokens is not None:
        cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
        parts.append(f"{usage.total_tokens:,} tokens{cached}")
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:.6g}")
    return ", ".join(parts)
