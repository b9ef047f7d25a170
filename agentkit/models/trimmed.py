"""A model that is sent what fits: old parts of a long conversation are left out, or summarised."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from math import inf
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from agentkit._json import encode
from agentkit.errors import ConfigurationError, InvalidRequest, MalformedReply
from agentkit.limiters import Limiter
from agentkit.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.model import Model, OnChunk
from agentkit.repair import repaired
from agentkit.wire import ChatRequest, ChatResponse

Summarise: TypeAlias = Callable[[tuple[Message, ...]], Awaitable[str]]
"""Makes a text of messages. They may begin with the text that was made of those before them."""

_BYTES = 4
_IMAGE = 1_000
_MANY = 10**6
_COUNTS = 50_000
_SUMMARIES = 256
_LONGEST_SUMMARY = 2_000
_SHARE = 5
_INSTRUCTION = """Summarise this part of a conversation between a user and an assistant, so that the assistant can go \
on without it. Keep every fact, name, number, decision, promise and open question, what was asked for, and what tools \
returned that may still matter. Write at most {words} words, and nothing but the summary."""


def estimated(message: Message) -> int:
    """Estimate the tokens of a message: one for four bytes, and 1,000 for an image."""
    size = len(message.encoded)
    if isinstance(message, UserMessage) and not isinstance(message.content, str):
        images = [part for part in message.content if isinstance(part, ImagePart)]
        size += sum(_IMAGE * _BYTES - len(part.url) for part in images)
    return -(-size // _BYTES)


class Trimmed:
    """A model that is sent a history within a budget. The history of the run itself stays whole.

    Whole exchanges are left out, the oldest first: what a user said and all that followed until the user spoke again.
    Where the newest exchange alone is too long, its oldest calls go, each with its answers. What stands before the
    first exchange, the newest message of the user and the last calls always stay. A short note, or a summary, stands
    for what is left out.

    The beginning of the requests stays the same, byte by byte, until the budget forces a cut, so that the caches of
    endpoints work; and a cut leaves room, so that it is rare. Where it is made follows from the messages alone: a run
    that is resumed anywhere sends the same.

    Args:
        model: The one that is asked.
        tokens: How many tokens a request may have, with its tools; leave room for the answer.
        exchanges: How many exchanges it may have.
        keep: How much of the budget a cut leaves, from 0 to 1.
        count: Counts the tokens of a message; else they are estimated.
        summarise: Makes a summary of what is left out, once for each cut: a model, or an async function of the
            messages. What the model's summaries cost is added to the usage of the reply.
    """

    __slots__ = ("_count", "_exchanges", "_keep", "_model", "_summaries", "_tokens")

    def __init__(  # noqa: PLR0913 (each is a choice of its own)
        self,
        model: Model,
        *,
        tokens: int | None = None,
        exchanges: int | None = None,
        keep: float = 0.6,
        count: Callable[[Message], int] | None = None,
        summarise: Model | Summarise | None = None,
    ) -> None:
        if tokens is None and exchanges is None:
            raise ConfigurationError("Trimmed needs a budget: Trimmed(model, tokens=…) or Trimmed(model, exchanges=…)")
        for name, value in (("tokens", tokens), ("exchanges", exchanges)):
            if value is not None and value < 1:
                raise ConfigurationError(f"Trimmed({name}=…) must be above 0, not {value!r}")
        if not 0 < keep <= 1:
            raise ConfigurationError(f"Trimmed(keep=…) must be above 0 and at most 1, not {keep!r}")
        self._model = model
        self._tokens = tokens
        self._exchanges = exchanges
        self._keep = keep
        self._count = estimated if count is None else _Counted(count)
        self._summaries = None if summarise is None else _Summaries(summarise, tokens)

    @property
    def name(self) -> str:
        """The name of the model that is asked."""
        return self._model.name

    def __repr__(self) -> str:
        budget = {"tokens": self._tokens, "exchanges": self._exchanges}
        given = [f"{name}={value}" for name, value in budget.items() if value is not None]
        return f"Trimmed({', '.join([repr(self._model), *given])})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`.

        Raises:
            InvalidRequest: If what must stay is over the budget. Nothing was sent.
        """
        messages, cost = await self._fitted(request)
        if messages is not request.messages:
            request = replace(request, messages=messages)
        reply = await self._model.complete(request, on_chunk)
        return reply if cost is None else replace(reply, usage=(reply.usage or Usage(1)) + cost)

    async def _fitted(self, request: ChatRequest) -> tuple[tuple[Message, ...], Usage | None]:
        """Give the messages to send, and what it cost to make them."""
        messages = repaired(request.messages).messages
        sizes = [self._count(each) for each in messages]
        head = next((at for at, each in enumerate(messages) if not _is_system(each)), len(messages))
        tools = self._tools(request)
        fixed = tools + sum(sizes[:head])
        reserve = self._summaries.longest if self._summaries else self._count(_note(_MANY))
        window = _Window(self._tokens or inf, self._exchanges or inf, self._keep, fixed, reserve)
        if fixed + sum(sizes[head:]) > window.tokens or self._exchanges is not None:
            for at in range(head, len(messages)):
                window.add(messages[at], at, sizes[at])
        if fixed + window.size > window.tokens:
            raise InvalidRequest(self._too_much(tools, fixed - tools, window.size, max(sizes)))
        if not window.cuts:
            return messages, None
        cuts = [_Cut(tuple([messages[at] for at in cut]), sum(sizes[at] for at in cut)) for cut in window.cuts]
        room = window.tokens - fixed - window.size
        note, cost = await self._stand_in(cuts, room)
        before, after = window.kept(len(messages))
        return (*messages[:head], *messages[before], *note, *messages[after]), cost

    def _tools(self, request: ChatRequest) -> int:
        """Count what a request has beside the messages."""
        schema = b"" if request.response_format is None else encode(request.response_format)
        data = b"".join([schema, *[each.encoded for each in request.tools]])
        if self._count is estimated:
            return -(-len(data) // _BYTES)
        return self._count(SystemMessage(data.decode())) if data else 0

    async def _stand_in(self, cuts: Sequence["_Cut"], room: float) -> tuple[tuple[Message, ...], Usage | None]:
        """Give the note that stands for what is left out, if there is room for one."""
        number, cost, text = sum(len(cut.messages) for cut in cuts), None, ""
        if self._summaries is not None:
            text, cost = await self._summaries.of(cuts)
            room = min(room, self._summaries.longest)
            while text and self._count(_note(number, text)) > room:
                text = text[: len(text) * 9 // 10]
        note = _note(number, text)
        return ((note,) if self._count(note) <= room else ()), cost

    def _too_much(self, tools: int, head: int, rest: float, largest: int) -> str:
        return (
            f"the newest exchange cannot be made to fit: the request would have about {tools + head + rest:,} tokens, "
            f"and Trimmed(tokens={self._tokens:,}) allows less. Tools: {tools:,}; system messages: {head:,}; what the "
            f"user said last and the last calls: {rest:,}; the largest message: {largest:,}. Nothing was sent. Allow "
            "more tokens, offer fewer tools, or have long results shortened: Agent(…, limits=Limits(result=…))"
        )


def _is_system(message: Message) -> bool:
    return isinstance(message, SystemMessage | DeveloperMessage)


def _note(number: int, summary: str = "") -> UserMessage:
    left_out = f"{number} earlier message{'s' if number > 1 else ''} of this conversation"
    text = f"[A summary of {left_out}:]\n{summary}" if summary else f"[{left_out} left out here]"
    return UserMessage(text, note=True)


class _Counted:
    """Someone's own count of tokens, asked once for each message."""

    def __init__(self, count: Callable[[Message], int]) -> None:
        self._count = count
        self._known: dict[int, int] = {}

    def __call__(self, message: Message) -> int:
        key = hash(message.encoded)
        if (size := self._known.get(key)) is None:
            if len(self._known) >= _COUNTS:
                self._known = {}
            size = self._known[key] = self._count(message)
        return size


class _Window:
    """What is kept of a conversation as it grows, message by message: so each cut follows from what came before it.

    A conversation is a row of exchanges. An exchange is a row of units: what the user said, which may be nothing, then
    each reply with all that follows it. Units are kept or left out whole.
    """

    def __init__(self, tokens: float, exchanges: float, keep: float, fixed: int, reserve: int) -> None:
        self.tokens = tokens
        self.size = 0
        self.cuts: list[list[int]] = []
        self._exchanges = exchanges
        self._keep = keep
        self._fixed = fixed
        self._reserve = reserve
        self._starts: list[int] = []  # where each unit begins
        self._sizes: list[int] = []
        self._firsts: list[int] = []  # the first unit of each exchange
        self._exchange = 0  # the first exchange that is kept,
        self._step = 1  # and its first unit that is kept after what the user said

    def add(self, message: Message, at: int, size: int) -> None:
        """Add the next message, and cut if that is over the budget."""
        begins = isinstance(message, UserMessage) and not message.note
        if begins or not self._firsts:
            self._firsts.append(len(self._starts))
            self._begin_unit(at)
        if isinstance(message, AssistantMessage):
            self._begin_unit(at)
        self._sizes[-1] += size
        self.size += size
        room = self.tokens - self._fixed - (self._reserve if self.cuts else 0)
        full, many = self.size > room, len(self._firsts) - self._exchange > self._exchanges
        if full or many:
            self._cut(full=full, many=many)

    def kept(self, end: int) -> tuple[slice, slice]:
        """Give what is kept, before and after the place where something is left out; the second reaches to the end."""
        first = self._firsts[self._exchange]
        if self._step == first + 1:
            return slice(0, 0), slice(self._starts[first], end)
        return slice(self._starts[first], self._starts[first + 1]), slice(self._starts[self._step], end)

    def _begin_unit(self, at: int) -> None:
        self._starts.append(at)
        self._sizes.append(0)

    def _cut(self, *, full: bool, many: bool) -> None:
        """Leave out the oldest exchanges, and where the newest alone is too long, its oldest steps."""
        cut: list[int] = []
        room = self.tokens - self._fixed - self._reserve
        longest = room * self._keep if full else room
        most = max(1, int(self._exchanges * self._keep)) if many else self._exchanges
        newest = len(self._firsts) - 1
        while self._exchange < newest and (self.size > longest or newest - self._exchange + 1 > most):
            cut += self._leave_exchange()
        if self.size > room:
            said = self._sizes[self._firsts[self._exchange]]
            longest = said + (room - said) * self._keep
            while self._step < len(self._starts) - 1 and self.size > longest:
                cut += range(self._starts[self._step], self._starts[self._step + 1])
                self.size -= self._sizes[self._step]
                self._step += 1
        if cut:
            self.cuts.append(cut)

    def _leave_exchange(self) -> list[int]:
        first, end = self._firsts[self._exchange], self._firsts[self._exchange + 1]
        self.size -= self._sizes[first] + sum(self._sizes[self._step : end])
        said = range(self._starts[first], self._starts[first + 1])
        steps = range(self._starts[self._step], self._starts[end])
        self._exchange += 1
        self._step = end + 1
        return [*said, *steps]


class _Cut(NamedTuple):
    """What one cut leaves out."""

    messages: tuple[Message, ...]
    size: int


class _Summaries:
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

    async def of(self, cuts: Sequence[_Cut]) -> tuple[str, Usage | None]:
        """Give the summary of all that was left out, and what it cost, if it had to be made."""
        keys = list(_keys(cuts))
        begin, text, cost = 0, "", None
        for at in reversed(range(len(cuts))):
            if (known := self._known(keys[at])) is not None:
                begin, text = at + 1, known
                break
        while begin < len(cuts):
            earlier = (_note(sum(len(cut.messages) for cut in cuts[:begin]), text),) if text else ()
            messages, begin = self._batch(cuts, begin)
            text, usage = await self._once(keys[begin - 1], (*earlier, *messages))
            cost = usage if cost is None or usage is None else cost + usage
        return text, cost

    def _batch(self, cuts: Sequence[_Cut], begin: int) -> tuple[list[Message], int]:
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


def _keys(cuts: Iterable[_Cut]) -> Iterable[bytes]:
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
