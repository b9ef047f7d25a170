"""Summaries of the messages that `Trimmed` leaves out.

A conversation is cut again and again as it grows. Each cut is summarised once: from the summary of the cuts before it
and the messages since. Summaries are cached by a hash of everything that was left out.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha256
from math import inf
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from agentkit.core.chat import ChatRequest
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import MalformedReply
from agentkit.core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, Usage, UserMessage
from agentkit.core.model import Model
from agentkit.models.wrapper import plain_text, tool_names

Summarise: TypeAlias = Callable[[tuple[Message, ...]], Awaitable[str]]
"""An async function from messages to their summary. The first message may be the summary of those before."""

_MAX_CACHED = 256
_MAX_SUMMARY_TOKENS = 2_000
_SHARE_OF_BUDGET = 5
_INSTRUCTION = """Summarise this part of a conversation between a user and an assistant, so that the assistant can go \
on without it. Keep every fact, name, number, decision, promise and open question, what was asked for, and what tools \
returned that may still matter. Write at most {words} words, and nothing but the summary."""


class Cut(NamedTuple):
    """What one cut leaves out, after the cuts before it.

    Attributes:
        messages: What it leaves out.
        tokens: Their tokens.
        before: The cut before this one.
        number: How many messages it and those before it leave out.
        key: A hash of all of these.
    """

    messages: tuple[Message, ...]
    tokens: int
    before: "Cut | None"
    number: int
    key: bytes

    @classmethod
    def after(cls, before: "Cut | None", messages: tuple[Message, ...], tokens: int) -> "Cut":
        """Return the next cut."""
        number, key = (0, b"") if before is None else (before.number, before.key)
        key = sha256(b"\n".join([key, *[message.encoded for message in messages]])).digest()
        return cls(messages, tokens, before, number + len(messages), key)


class Summaries:
    """The summaries of one `Trimmed` model, for all its runs; `tokens` is the budget of a request."""

    def __init__(self, summarise: Model | Summarise, tokens: int | None) -> None:
        self._budget = tokens or inf
        self.max_tokens = int(min(_MAX_SUMMARY_TOKENS, self._budget / _SHARE_OF_BUDGET))
        summariser: Any = summarise
        self._model: Model | None = summariser if hasattr(summariser, "complete") else None
        self._function: Summarise = summariser
        self._texts: dict[bytes, str] = {}
        self._lock = Lock()
        self._writing: dict[bytes, Limiter] = {}

    async def summary(self, last: Cut | None) -> tuple[str, Usage | None]:
        """Return the summary of all that was left out, and what it cost to write now, if anything."""
        known, cost = None, None
        cuts: list[Cut] = []  # those without a summary
        cut = last
        while cut is not None and (known := self._cached(cut.key)) is None:
            cuts.append(cut)
            cut = cut.before
        cuts.reverse()
        begin, text = 0, known or ""
        while begin < len(cuts):
            before = cuts[begin].before
            earlier = (note_of(before.number, text),) if before and text else ()
            messages, begin = self._batch(cuts, begin)
            text, usage = await self._write_once(cuts[begin - 1].key, (*earlier, *messages))
            cost = usage if cost is None or usage is None else cost + usage
        return text, cost

    def cached_summary(self, last: Cut | None) -> str:
        """Return the summary of all that was left out if it was written before, else `""`."""
        return "" if last is None else self._cached(last.key) or ""

    def _batch(self, cuts: Sequence[Cut], begin: int) -> tuple[list[Message], int]:
        """Return the messages of as many cuts as fit one request, and the index of the next cut."""
        messages, tokens, end = list(cuts[begin].messages), cuts[begin].tokens, begin + 1
        while end < len(cuts) and tokens + cuts[end].tokens <= self._budget:
            messages += cuts[end].messages
            tokens += cuts[end].tokens
            end += 1
        return messages, end

    async def _write_once(self, key: bytes, messages: tuple[Message, ...]) -> tuple[str, Usage | None]:
        """Write a summary, or wait for another run in this event loop that is writing the same one."""
        writing = self._writing.setdefault(key, Limiter(1))
        try:
            async with writing.here():
                if (known := self._cached(key)) is not None:
                    return known, None
                text, usage = await self._write(messages)
                with self._lock:
                    self._texts[key] = text
                    if len(self._texts) > _MAX_CACHED:
                        del self._texts[next(iter(self._texts))]
                return text, usage
        except Exception as error:
            error.add_note("Trimmed failed to summarise the messages that it leaves out.")
            raise
        finally:
            self._writing.pop(key, None)

    def _cached(self, key: bytes) -> str | None:
        with self._lock:
            if (text := self._texts.pop(key, None)) is not None:
                self._texts[key] = text  # least recently used goes first, so this moves to the end
            return text

    async def _write(self, messages: tuple[Message, ...]) -> tuple[str, Usage | None]:
        if self._model is None:
            return await self._function(messages), None
        system = SystemMessage(_INSTRUCTION.format(words=max(20, self.max_tokens * 3 // 4)))
        reply = await self._model.complete(ChatRequest((system, UserMessage("\n\n".join(_transcript(messages))))))
        if not reply.message.content:
            raise MalformedReply(f"{self._model.name} was asked for a summary and returned no text")
        return reply.message.content, reply.usage or Usage(1)


def note_of(number: int, summary: str = "") -> UserMessage:
    """Return the note that replaces so many messages."""
    left_out = f"{number} earlier message{'s' if number > 1 else ''} of this conversation"
    text = f"[A summary of {left_out}:]\n{summary}" if summary else f"[{left_out} left out here]"
    return UserMessage(text, note=True)


def _transcript(messages: Sequence[Message]) -> Iterable[str]:
    """Yield a conversation as text, so that a model reads it and does not continue it."""
    names = tool_names(messages)
    for message in messages:
        match message:
            case AssistantMessage():
                if text := message.content or message.refusal:
                    yield f"Assistant: {text}"
                for call in message.tool_calls:
                    yield f"Assistant called {call.name}({call.arguments})"
            case ToolMessage():
                outcome = "returned" if message.outcome == "ok" else "failed"
                yield f"{names.get(message.tool_call_id, 'The tool')} {outcome}: {message.content}"
            case UserMessage():
                yield f"{'Note' if message.note else 'User'}: {plain_text(message.content)}"
            case _:
                yield f"System: {message.content}"
