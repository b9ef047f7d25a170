"""A model in this process that plays replies, for tests that are not about the wire."""

import json
from typing import Any

from agentkit import AssistantMessage, ToolCall, testing
from agentkit.testing.models import Play

__all__ = ["Play", "Scripted", "called", "said"]


def said(text: str) -> AssistantMessage:
    return AssistantMessage(text)


def called(*calls: tuple[str, Any]) -> AssistantMessage:
    """A reply with calls, their ids `c0`, `c1` and so on."""
    return AssistantMessage(
        tool_calls=tuple(
            ToolCall(f"c{at}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
            for at, (name, arguments) in enumerate(calls)
        )
    )


class Scripted(testing.Scripted):
    """Plays each reply once, in order; the last again and again."""

    name = "scripted"

    def __init__(self, *plays: Play) -> None:
        super().__init__(*plays, repeat=True, name=self.name)
