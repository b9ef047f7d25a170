"""Summaries of what a model is not sent any more."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha256
from math import inf
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from agentkit.core.chat import ChatRequest
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import MalformedReply
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import Model

Summarise: TypeAlias = Callable[[tuple[Message, ...]], Awaitable[str]]
"""Makes a text of messages. They may begin with the text that was made of those before them."""

_SUMMARIES = 256
_LONGEST_SUMMARY = 2_000
_SHARE = 5
_INSTRUCTION = """Summarise this part of a conversation between a user and an assistant, so that the assistant can go \
on without it. Keep every fact, name, number, decision, promise and open question, what was asked for, and what tools \
returned that may still matter. Write at most {words} words, and nothing but the summary."""


class Cut(NamedTuple):
    """What one cut leaves out."""

    messages: tuple[Message, ...]
    size: int


class Summaries:
    """Summaries of what was left out, each made once: the next one is made of the last and of what has come since."""

    def __init__(self, summarise: Model | Summarise, tokens: int | None) -> None:
        self.longest = _LONGEST_SUMMARY if tokens is None else min(_LONGEST_SUMMARY, tokens // _SHARE)
        self._tokens = tokens or inf
        given: Any = summarise
        self._model: Model | None = given if hasattr(given, "complete") else None
        self._function: Summarise = given
        self._texts: dict[bytes, str] = {}
        self._lock = Lock()
        self._asking: dict[bytes, Limiter] = {}

    async def of(self, cuts: Sequence[Cut]) -> tuple[str, Usage | None]:
        """Give the summary of all that was left out, and what it cost, if it had to be made."""
        keys = list(_keys(cuts))
        begin, text, cost = 0, "", None
        for at in reversed(range(len(cuts))):
            if (known := self._known(keys[at])) is not None:
                begin, text = at + 1, known
                break
        while begin < len(cuts):
            earlier = (note_of(sum(len(cut.messages) for cut in cuts[:begin]), text),) if text else ()
            messages, begin = self._batch(cuts, begin)
            text, usage = await self._once(keys[begin - 1], (*earlier, *messages))
            cost = usage if cost is None or usage is None else cost + usage
        return text, cost

    def made(self, cuts: Sequence[Cut]) -> str:
        """Give the summary of all that was left out, if it was made before."""
        *_, last = (b"", *_keys(cuts))
        return self._known(last) or ""

    def _batch(self, cuts: Sequence[Cut], begin: int) -> tuple[list[Message], int]:
        """Give as many cuts as one request may have; there are several where a long history is taken up again."""
        messages, size, end = list(cuts[begin].messages), cuts[begin].size, begin + 1
        while end < len(cuts) and size + cuts[end].size <= self._tokens:
            messages += cuts[end].messages
            size += cuts[end].size
            end += 1
        return messages, end

    async def _once(self, key: bytes, messages: tuple[Message, ...]) -> tuple[str, Usage | None]:
        """Make a summary, unless another run in this event loop does; then wait for that."""
        asking = self._asking.setdefault(key, Limiter(1))
        try:
            async with asking.here():
                known = self._known(key)
                if known is not None:
                    return known, None
                text, usage = await self._made(messages)
                with self._lock:
                    self._texts[key] = text
                    if len(self._texts) > _SUMMARIES:
                        del self._texts[next(iter(self._texts))]
                return text, usage
        finally:
            self._asking.pop(key, None)

    def _known(self, key: bytes) -> str | None:
        with self._lock:
            if (text := self._texts.pop(key, None)) is not None:
                self._texts[key] = text  # the last that was used is the last to be dropped
            return text

    async def _made(self, messages: tuple[Message, ...]) -> tuple[str, Usage | None]:
        try:
            if self._model is not None:
                return await self._asked(self._model, messages)
            return await self._function(messages), None
        except Exception as error:
            error.add_note("This was raised where Trimmed had a summary made of what it leaves out.")
            raise

    async def _asked(self, model: Model, messages: tuple[Message, ...]) -> tuple[str, Usage]:
        system = SystemMessage(_INSTRUCTION.format(words=max(20, self.longest * 3 // 4)))
        reply = await model.complete(ChatRequest((system, UserMessage("\n\n".join(_told(messages))))))
        if not reply.message.content:
            raise MalformedReply(f"{model.name} was to write a summary and wrote nothing")
        return reply.message.content, reply.usage or Usage(1)


def note_of(number: int, summary: str = "") -> UserMessage:
    """Give the note that stands for so many messages which are left out."""
    left_out = f"{number} earlier message{'s' if number > 1 else ''} of this conversation"
    text = f"[A summary of {left_out}:]\n{summary}" if summary else f"[{left_out} left out here]"
    return UserMessage(text, note=True)


def _keys(cuts: Iterable[Cut]) -> Iterable[bytes]:
    """Give a key for each cut: of exactly what is left out from the beginning to there."""
    key = b""
    for cut in cuts:
        key = sha256(b"\n".join([key, *[each.encoded for each in cut.messages]])).digest()
        yield key


def _told(messages: Iterable[Message]) -> Iterable[str]:
    """Tell a conversation as a text, so that a model reads it and does not go on with it."""
    names: dict[str, str] = {}
    for each in messages:
        match each:
            case AssistantMessage():
                if said := each.content or each.refusal:
                    yield f"Assistant: {said}"
                for call in each.tool_calls:
                    names[call.id] = call.name
                    yield f"Assistant called {call.name}({call.arguments})"
            case ToolMessage():
                said = "returned" if each.outcome == "ok" else "failed"
                yield f"{names.get(each.tool_call_id, 'The tool')} {said}: {each.content}"
            case UserMessage():
                yield f"{'Note' if each.note else 'User'}: {_text(each.content)}"
            case _:
                yield f"System: {each.content}"


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return " ".join([part.text if isinstance(part, TextPart) else "[image]" for part in content])
