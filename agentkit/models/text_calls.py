"""Recovery of calls that a model wrote into its text.

Some servers do not turn what a model writes into tool calls: the call then stands in the answer. This wrapper reads the
forms that are unmistakable, and only where a call was allowed.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.json import decode, encode, object_of
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.model import OnChunk
from agentkit.models.wrapper import Wrapper

_TAG, _END, _FENCE = "<tool_call>", "</tool_call>", "```"
# Where a call may begin in a text that is still being written.
_INSIDE = re.compile(_TAG)
_AT_THE_START = re.compile(rf"{_TAG}|\A\s*(?:{_FENCE}|\{{)")


class TextToolCalls(Wrapper):
    """A model whose calls are also read from its text.

    What is read: `<tool_call>{…}</tool_call>`, one or several; or a whole reply that is one JSON object, bare or in a
    code fence. The object must have the name of a tool that was offered, and its arguments. Nothing is read from a
    reply for which the choice was `none`, nor from one that has calls.

    Args:
        model: The model that writes its calls into its text.
    """

    __slots__ = ()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        offered = frozenset([tool.name for tool in request.tools])
        if not offered or request.tool_choice.mode == "none":
            return await self._model.complete(request, on_chunk)
        held = _Held(on_chunk) if on_chunk else None
        reply = await self._model.complete(request, held)
        number = len(request.messages)
        read = replace(reply, choices=tuple([_read(choice, offered, number) for choice in reply.choices]))
        if held is not None and not read.message.tool_calls:
            held.release()
        return read


def _read(choice: Choice, offered: frozenset[str], number: int) -> Choice:
    message = choice.message
    text = message.content or ""
    if message.tool_calls or not text:
        return choice
    calls: list[ToolCall] = []
    rest: list[str] = []
    done = 0
    for begin, end, inside in _tagged(text):
        if call := _call(inside, offered, f"call_{number}_{len(calls)}"):
            calls.append(call)
            rest.append(text[done:begin])
            done = end
    rest.append(text[done:])
    if not calls and (call := _call(_without_fence(text.strip()), offered, f"call_{number}_0")):
        calls, rest = [call], []
    if not calls:
        return choice
    return Choice(AssistantMessage("".join(rest).strip() or None, tuple(calls), extra=message.extra), "tool_calls")


def _tagged(text: str) -> Iterator[tuple[int, int, str]]:
    """Find what stands in tags: where it begins and ends with them, and what is inside."""
    at = 0
    while (end := text.find(_END, at)) >= 0:
        begin = text.rfind(_TAG, at, end)
        at = end + len(_END)
        if begin >= 0:
            yield begin, at, text[begin + len(_TAG) : end]


def _without_fence(text: str) -> str:
    """Give what a code fence holds, if the text is one, of JSON or of no language."""
    language, line, inside = text.removeprefix(_FENCE).partition("\n")
    if line and text.startswith(_FENCE) and text.endswith(_FENCE) and language.strip() in ("", "json"):
        return inside.removesuffix(_FENCE)
    return text


def _call(text: str, offered: frozenset[str], call_id: str) -> ToolCall | None:
    try:
        said = object_of(decode(text))
    except ValueError:
        return None
    said = object_of(said.get("function")) or said
    name, arguments = said.get("name"), said.get("arguments", said.get("parameters"))
    if not isinstance(name, str) or name not in offered:
        return None
    if isinstance(arguments, dict):
        return ToolCall(call_id, name, encode(object_of(cast("object", arguments))).decode())
    return ToolCall(call_id, name, arguments) if isinstance(arguments, str) else None


class _Held:
    """Hands on text as it is written, up to where a call may begin; the rest waits for what it turns out to be."""

    def __init__(self, on_chunk: OnChunk) -> None:
        self._on_chunk = on_chunk
        self._pending = ""
        self._told = False
        self._begun = False

    def __call__(self, chunk: ChatChunk) -> None:
        self._pending += chunk.text
        if self._begun:
            return
        begun = (_INSIDE if self._told else _AT_THE_START).search(self._pending)
        self._begun = begun is not None
        self._tell(begun.start() if begun else len(self._pending) - self._undecided())

    def release(self) -> None:
        """Hand on the rest: it was text."""
        self._tell(len(self._pending))

    def _tell(self, to: int) -> None:
        piece, self._pending = self._pending[:to], self._pending[to:]
        if piece:
            self._told = True
            self._on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": piece}}]}))

    def _undecided(self) -> int:
        """Count the characters at the end that may be the beginning of a mark."""
        text = self._pending
        if not self._told and _FENCE.startswith(text.strip()):
            return len(text)
        return next((size for size in range(len(_TAG) - 1, 0, -1) if text.endswith(_TAG[:size])), 0)
