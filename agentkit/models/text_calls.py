"""Tool calls that a model wrote into its text.

Some servers do not turn what a model writes into tool calls, so a call arrives as the answer's text. This wrapper reads
the unmistakable forms only, and only where a call was allowed.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice, StreamedText, first_choice
from agentkit.core.json import decode, encode, object_of
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.model import OnChunk, restart
from agentkit.models.wrapper import Wrapper, text_chunk

_TAG, _END, _FENCE = "<tool_call>", "</tool_call>", "```"
# Where a call may begin in a text that is still being written.
_INSIDE = re.compile(_TAG)
_AT_THE_START = re.compile(rf"{_TAG}|\A\s*(?:{_FENCE}|\{{)")


class TextToolCalls(Wrapper):
    """A model whose tool calls are also read from its text.

    Two forms are read: one or several `<tool_call>{…}</tool_call>`, or a whole reply that is one JSON object, bare or
    in a code fence. The object must have the name of an offered tool and its arguments. Nothing is read under the tool
    choice `none`, or from a reply that has tool calls already.

    Args:
        model: The model that writes its calls into its text.
    """

    __slots__ = ()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        offered = frozenset([tool.name for tool in request.tools])
        if not offered or request.tool_choice.mode == "none":
            return await self._model.complete(request, on_chunk)
        stream = _TextStream(on_chunk) if on_chunk else None
        reply = await self._model.complete(request, stream)
        turn = len(request.messages)
        reply = replace(reply, choices=tuple([_with_text_calls(choice, offered, turn) for choice in reply.choices]))
        if stream is not None and not reply.message.tool_calls:
            stream.release()
        return reply


def _with_text_calls(choice: Choice, offered: frozenset[str], turn: int) -> Choice:
    """Return the choice with the calls in its text as tool calls, and the text around them as content."""
    message = choice.message
    text = message.content or ""
    if message.tool_calls or not text:
        return choice
    calls: list[ToolCall] = []
    rest: list[str] = []
    done = 0
    for begin, end, inside in _tagged(text):
        if call := _parse_call(inside, offered, f"call_{turn}_{len(calls)}"):
            calls.append(call)
            rest.append(text[done:begin])
            done = end
    rest.append(text[done:])
    if not calls and (call := _parse_call(_without_fence(text.strip()), offered, f"call_{turn}_0")):
        calls, rest = [call], []
    if not calls:
        return choice
    return Choice(AssistantMessage("".join(rest).strip() or None, tuple(calls), extra=message.extra), "tool_calls")


def _tagged(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each tagged part: its begin and end with the tags, and the text inside."""
    at = 0
    while (end := text.find(_END, at)) >= 0:
        begin = text.rfind(_TAG, at, end)
        at = end + len(_END)
        if begin >= 0:
            yield begin, at, text[begin + len(_TAG) : end]


def _without_fence(text: str) -> str:
    """Return the inside of a code fence without a language or of JSON; any other text as it is."""
    fenced = re.fullmatch(rf"{_FENCE}[^\S\n]*(?:json)?[^\S\n]*\n(.*){_FENCE}", text, re.DOTALL)
    return fenced[1] if fenced else text


def _parse_call(text: str, offered: frozenset[str], call_id: str) -> ToolCall | None:
    try:
        data = object_of(decode(text))
    except ValueError:
        return None
    data = object_of(data.get("function")) or data
    name, arguments = data.get("name"), data.get("arguments", data.get("parameters"))
    if not isinstance(name, str) or name not in offered:
        return None
    if isinstance(arguments, dict):
        arguments = encode(cast("object", arguments)).decode()
    return ToolCall(call_id, name, arguments) if isinstance(arguments, str) else None


class _TextStream:
    """Streams text up to where a call may begin, and holds back the rest until the reply is whole."""

    def __init__(self, on_chunk: OnChunk) -> None:
        self._on_chunk = on_chunk
        self._pending = ""
        self._text = StreamedText()
        self._streamed = False
        self._call_begun = False

    def restart(self) -> bool:
        """Begin again, if nothing was passed on; see `restart` in `agentkit.core.model`."""
        if self._streamed and not restart(self._on_chunk):
            return False
        self._pending = ""
        self._text = StreamedText()
        self._streamed = self._call_begun = False
        return True

    def __call__(self, chunk: ChatChunk) -> None:
        self._pending += self._text.add(first_choice(chunk))
        if self._call_begun:
            return
        mark = (_INSIDE if self._streamed else _AT_THE_START).search(self._pending)
        self._call_begun = mark is not None
        self._send(mark.start() if mark else len(self._pending) - self._undecided())

    def release(self) -> None:
        """Stream what was held back: it was text."""
        self._send(len(self._pending))

    def _send(self, end: int) -> None:
        text, self._pending = self._pending[:end], self._pending[end:]
        if text:
            self._streamed = True
            self._on_chunk(text_chunk(text))

    def _undecided(self) -> int:
        """Return how many characters at the end may be the start of a tag or a fence."""
        text = self._pending
        if not self._streamed and _FENCE.startswith(text.strip()):
            return len(text)
        return next((size for size in range(len(_TAG) - 1, 0, -1) if text.endswith(_TAG[:size])), 0)
