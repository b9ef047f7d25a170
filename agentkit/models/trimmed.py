"""A model that is sent what fits: old parts of a long conversation are left out, or summarised."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.checks import check_number
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import encode
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import Model, OnChunk
from agentkit.core.repair import repaired
from agentkit.models.summaries import Cut, Summaries, Summarise, note_of
from agentkit.models.wrapper import Wrapper

_BYTES = 4
_IMAGE = 1_000
_MANY = 10**6
_COUNTS = 50_000


def estimated(message: Message) -> int:
    """Estimate the tokens of a message: one for four bytes, and 1,000 for an image."""
    size = len(message.encoded)
    if isinstance(message, UserMessage) and not isinstance(message.content, str):
        images = [part for part in message.content if isinstance(part, ImagePart)]
        size += sum(_IMAGE * _BYTES - len(part.url) for part in images)
    return -(-size // _BYTES)


class Trimmed(Wrapper):
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

    __slots__ = ("_count", "_exchanges", "_keep", "_summaries", "_tokens")

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
            check_number(f"Trimmed({name}=…)", value, least=1, whole=True, optional=True)
        check_number("Trimmed(keep=…)", keep, above=0, most=1)
        super().__init__(model)
        self._tokens = tokens
        self._exchanges = exchanges
        self._keep = keep
        self._count = estimated if count is None else _Counted(count)
        self._summaries = None if summarise is None else Summaries(summarise, tokens)

    def _options(self) -> list[str]:
        budget = {"tokens": self._tokens, "exchanges": self._exchanges}
        return [f"{name}={value}" for name, value in budget.items() if value is not None]

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`.

        Raises:
            InvalidRequest: If what must stay is over the budget. Nothing was sent.
        """
        fitted = self._fitted(request)
        text, cost = await self._summaries.of(fitted.cuts) if self._summaries else ("", None)
        reply = await self._model.complete(self._shortened(request, fitted, text), on_chunk)
        return reply if cost is None else replace(reply, usage=(reply.usage or Usage(1)) + cost)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what would be sent for a request; see `Sends.sends`.

        No summary is made for it: where there is none yet, the note alone stands for what is left out.
        """
        fitted = self._fitted(request)
        text = self._summaries.made(fitted.cuts) if self._summaries else ""
        return super().sends(self._shortened(request, fitted, text), streamed=streamed)

    def _fitted(self, request: ChatRequest) -> "_Fitted":
        """Give what fits."""
        messages = repaired(request.messages).messages
        sizes = [self._count(each) for each in messages]
        head = next((at for at, each in enumerate(messages) if not _is_system(each)), len(messages))
        tools = self._tools(request)
        fixed = tools + sum(sizes[:head])
        reserve = self._summaries.longest if self._summaries else self._count(note_of(_MANY))
        window = _Window(self._tokens or inf, self._exchanges or inf, self._keep, fixed, reserve)
        if fixed + sum(sizes[head:]) > window.tokens or self._exchanges is not None:
            for at in range(head, len(messages)):
                window.add(messages[at], at, sizes[at])
        if fixed + window.size > window.tokens:
            raise InvalidRequest(self._too_much(tools, fixed - tools, window.size, max(sizes)))
        if not window.cuts:
            return _Fitted(messages)
        cuts = [Cut(tuple([messages[at] for at in cut]), sum(sizes[at] for at in cut)) for cut in window.cuts]
        before, after = window.kept(len(messages))
        room = window.tokens - fixed - window.size
        return _Fitted((*messages[:head], *messages[before]), messages[after], cuts, room)

    def _tools(self, request: ChatRequest) -> int:
        """Count what a request has beside the messages."""
        schema = b"" if request.response_format is None else encode(request.response_format)
        data = b"".join([schema, *[each.encoded for each in request.tools]])
        if self._count is estimated:
            return -(-len(data) // _BYTES)
        return self._count(SystemMessage(data.decode())) if data else 0

    def _shortened(self, request: ChatRequest, fitted: "_Fitted", text: str) -> ChatRequest:
        """Give the request with what fits, and a note for what is left out, if there is room for one."""
        messages = fitted.before
        if fitted.cuts:
            number = sum(len(cut.messages) for cut in fitted.cuts)
            room = min(fitted.room, self._summaries.longest if self._summaries else inf)
            while text and self._count(note_of(number, text)) > room:
                text = text[: len(text) * 9 // 10]
            note = note_of(number, text)
            messages = (*messages, *([note] if self._count(note) <= room else []), *fitted.after)
        return request if messages is request.messages else replace(request, messages=messages)

    def _too_much(self, tools: int, head: int, rest: float, largest: int) -> str:
        return (
            f"the newest exchange cannot be made to fit: the request would have about {tools + head + rest:,} tokens, "
            f"and Trimmed(tokens={self._tokens:,}) allows less. Tools: {tools:,}; system messages: {head:,}; what the "
            f"user said last and the last calls: {rest:,}; the largest message: {largest:,}. Nothing was sent. Allow "
            "more tokens, offer fewer tools, or have long results shortened: Agent(…, limits=Limits(result=…))"
        )


def _is_system(message: Message) -> bool:
    return isinstance(message, SystemMessage | DeveloperMessage)


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


class _Fitted(NamedTuple):
    """What is sent of a conversation, before and after what is left out, and the room that there is for a note."""

    before: tuple[Message, ...]
    after: tuple[Message, ...] = ()
    cuts: Sequence[Cut] = ()
    room: float = 0
