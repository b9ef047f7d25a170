"""A model in this process that plays replies, for tests that are not about the wire."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from agentkit import AssistantMessage, ChatChunk, ChatRequest, ChatResponse, ToolCall, Usage
from agentkit.model import OnChunk
from agentkit.wire import Choice

Play: TypeAlias = AssistantMessage | Exception | Callable[[ChatRequest], AssistantMessage]


def said(text: str) -> AssistantMessage:
    """An answer."""
    return AssistantMessage(text)


def called(*made: tuple[str, Any]) -> AssistantMessage:
    """A reply with calls, their ids `c0`, `c1` and so on."""
    return AssistantMessage(
        tool_calls=tuple(
            ToolCall(f"c{at}", name, given if isinstance(given, str) else json.dumps(given))
            for at, (name, given) in enumerate(made)
        )
    )


class Scripted:
    """Plays each reply once, in order; the last again and again."""

    name = "scripted"

    def __init__(self, *plays: Play) -> None:
        self.plays = plays
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        play = self.plays[min(len(self.requests), len(self.plays) - 1)]
        self.requests.append(request)
        if isinstance(play, Exception):
            raise play
        message = play if isinstance(play, AssistantMessage) else play(request)
        if on_chunk is not None and message.content:
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": message.content}}]}))
        finish = "tool_calls" if message.tool_calls else "stop"
        return ChatResponse((Choice(message, finish),), Usage(1, 10, 5))
