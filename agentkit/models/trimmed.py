"""A model that is sent only what fits its context window: old parts are left out, or summarised."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple, cast

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.checks import check_number
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.growing import folded
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import encode
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, Usage, UserMessage
from agentkit.core.model import Model, OnChunk
from agentkit.core.parts import Media
from agentkit.core.repair import is_sound, repaired
from agentkit.models.summaries import Cut, Summaries, Summarise, note_of
from agentkit.models.wrapper import Wrapper

_BYTES_PER_TOKEN = 4
_MEDIA_TOKENS = 1_000
_LONGEST_NOTE = 10**6
_MAX_CACHED_COUNTS = 50_000


def estimated(message: Message) -> int:
    """Return an estimate of a message's tokens: one for four bytes, and 1,000 for an image, a recording or a file."""
    size = len(message.encoded)
    if isinstance(message, UserMessage) and not isinstance(message.content, str):
        media = [part for part in message.content if isinstance(part, Media)]
        size += sum(_MEDIA_TOKENS * _BYTES_PER_TOKEN - len(encode(part.to_dict())) for part in media)
    return -(-size // _BYTES_PER_TOKEN)


class Trimmed(Wrapper):
    """A model that is sent only as much history as fits a token budget. The run's own history stays whole.

    An exchange is a user's message and everything up to the next one. The oldest exchanges are left out first. If the
    newest exchange alone is too long, its oldest calls go, with their results. The messages before the first exchange,
    the newest user message and the last calls always stay. A short note or a summary replaces what is left out.

    Requests keep the same beginning, byte by byte, until the budget forces a cut, so that prompt caches hit. A cut
    leaves room, so cuts are rare. Cuts depend on the messages alone: a run that is resumed anywhere sends the same.

    Args:
        model: The model to send requests to.
        tokens: The most tokens of a request, tools included. Leave room for the answer.
        exchanges: The most exchanges of a request.
        keep: The share of the budget that a cut leaves, above 0 and at most 1.
        count: A function that returns the tokens of a message. The default estimates them.
        summarise: A model, or an async function of the messages, that summarises what is left out, once per cut.
            The cost of the model's summaries is added to the usage of the reply.
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
        self._count = estimated if count is None else _CachedCount(count)
        self._summaries = None if summarise is None else Summaries(summarise, tokens)

    def _options(self) -> list[str]:
        budget = {"tokens": self._tokens, "exchanges": self._exchanges}
        return [f"{name}={value}" for name, value in budget.items() if value is not None]

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`.

        Raises:
            InvalidRequest: If what must stay exceeds the budget. Nothing was sent.
        """
        trimming = self._trim(request)
        summary, cost = await self._summaries.summary(trimming.cut) if self._summaries else ("", None)
        reply = await self._model.complete(self._trimmed_request(request, trimming, summary), on_chunk)
        return reply if cost is None else replace(reply, usage=(reply.usage or Usage(1)) + cost)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what would be sent for a request; see `Sends.sends`.

        This writes no summary: where none was written yet, a note alone replaces what is left out.
        """
        trimming = self._trim(request)
        summary = self._summaries.cached_summary(trimming.cut) if self._summaries else ""
        return super().sends(self._trimmed_request(request, trimming, summary), streamed=streamed)

    def _trim(self, request: ChatRequest) -> "_Trimming":
        messages, tools = request.messages, self._tokens_of_tools(request)
        if not is_sound(messages):
            messages = repaired(tuple(messages)).messages

        def with_messages(window: _Window | None, _: Iterable[Message]) -> _Window:
            if window is None or window.tools != tools:
                reserve = self._summaries.max_tokens if self._summaries else self._count(note_of(_LONGEST_NOTE))
                window = _Window(self._tokens or inf, self._exchanges or inf, self._keep, tools, reserve)
            for at in range(len(window.sizes), len(messages)):
                window.add(messages, at, self._count(messages[at]))
            return window

        # A longer history goes on where a shorter one stopped, so a step costs what it adds.
        window = cast("_Window", folded(messages, self, None, with_messages))
        if window.fixed + window.size > window.tokens:
            raise InvalidRequest(
                f"the newest exchange does not fit: the request would have about {window.fixed + window.size:,} "
                f"tokens, and Trimmed(tokens={self._tokens:,}) allows fewer. Tools: {tools:,}; system messages: "
                f"{window.fixed - tools:,}; the newest user message and the last calls: {window.size:,}; the largest "
                f"message: {max(window.sizes):,}. Nothing was sent. Allow more tokens, offer fewer tools, or shorten "
                "long results: Agent(…, limits=Limits(result=…))"
            )
        if window.cut is None:
            return _Trimming(messages)
        before, after = window.kept(len(messages))
        room = window.tokens - window.fixed - window.size
        return _Trimming((*messages[: window.head], *messages[before]), messages[after], window.cut, room)

    def _tokens_of_tools(self, request: ChatRequest) -> int:
        """Count the tokens of a request's tools and response format."""
        schema = b"" if request.response_format is None else encode(request.response_format)
        data = b"".join([schema, *[tool.encoded for tool in request.tools]])
        if self._count is estimated:
            return -(-len(data) // _BYTES_PER_TOKEN)
        return self._count(SystemMessage(data.decode())) if data else 0

    def _trimmed_request(self, request: ChatRequest, trimming: "_Trimming", summary: str) -> ChatRequest:
        """Return the request with the messages that fit, and a note about the others if there is room for one."""
        messages = trimming.before
        if trimming.cut is not None:
            number = trimming.cut.number
            room = min(trimming.room, self._summaries.max_tokens if self._summaries else inf)
            while summary and self._count(note_of(number, summary)) > room:
                summary = summary[: len(summary) * 9 // 10]
            note = note_of(number, summary)
            messages = (*messages, *([note] if self._count(note) <= room else []), *trimming.after)
        return request if messages is request.messages else replace(request, messages=messages)


class _CachedCount:
    """The caller's token counter, called once per message."""

    def __init__(self, count: Callable[[Message], int]) -> None:
        self._count = count
        self._counts: dict[int, int] = {}

    def __call__(self, message: Message) -> int:
        key = hash(message.encoded)
        if (tokens := self._counts.get(key)) is None:
            if len(self._counts) >= _MAX_CACHED_COUNTS:
                self._counts = {}
            tokens = self._counts[key] = self._count(message)
        return tokens


class _Window:
    """The part of a conversation that is kept, as the conversation grows message by message.

    Cuts are found by replaying the history, so each one depends only on what came before it. A conversation is a row of
    exchanges. An exchange is a row of units: the user's message, which may be missing, then each reply with its
    results. Units are kept or left out whole.
    """

    def __init__(self, tokens: float, exchanges: float, keep: float, tools: int, reserve: int) -> None:
        self.tokens, self.tools = tokens, tools
        self.sizes: list[int] = []  # of all messages
        self.head, self.fixed = 0, tools  # how many messages are before the first exchange; their tokens and the tools'
        self.size = 0
        self.cut: Cut | None = None  # the last one
        self._exchanges, self._keep, self._reserve = exchanges, keep, reserve
        self._starts: list[int] = []  # the index of each unit's first message
        self._sizes: list[int] = []  # of each unit
        self._firsts: list[int] = []  # the first unit of each exchange
        self._exchange = 0  # the first exchange that is kept,
        self._step = 1  # and its first unit that is kept after the user's message

    def add(self, messages: Sequence[Message], at: int, size: int) -> None:
        """Add the next message, and cut if the budget is exceeded."""
        message = messages[at]
        self.sizes.append(size)
        if self.head == at and isinstance(message, SystemMessage | DeveloperMessage):
            self.head, self.fixed = at + 1, self.fixed + size
            return
        begins = isinstance(message, UserMessage) and not message.note
        if begins or not self._firsts:
            self._firsts.append(len(self._starts))
            self._begin_unit(at)
        if isinstance(message, AssistantMessage):
            self._begin_unit(at)
        self._sizes[-1] += size
        self.size += size
        room = self.tokens - self.fixed - (0 if self.cut is None else self._reserve)
        full, many = self.size > room, len(self._firsts) - self._exchange > self._exchanges
        if (full or many) and (cut := self._cut(full=full, many=many)):
            left_out = tuple([messages[index] for index in cut])
            self.cut = Cut.after(self.cut, left_out, sum([self.sizes[index] for index in cut]))

    def kept(self, end: int) -> tuple[slice, slice]:
        """Return the slices of messages kept before and after the gap; the second one reaches to `end`."""
        first = self._firsts[self._exchange]
        if self._step == first + 1:
            return slice(0, 0), slice(self._starts[first], end)
        return slice(self._starts[first], self._starts[first + 1]), slice(self._starts[self._step], end)

    def _begin_unit(self, at: int) -> None:
        self._starts.append(at)
        self._sizes.append(0)

    def _cut(self, *, full: bool, many: bool) -> list[int]:
        """Leave out the oldest exchanges, and where the newest alone is too long, its oldest units."""
        cut: list[int] = []
        room = self.tokens - self.fixed - self._reserve
        target = room * self._keep if full else room
        most = max(1, int(self._exchanges * self._keep)) if many else self._exchanges
        newest = len(self._firsts) - 1
        while self._exchange < newest and (self.size > target or newest - self._exchange + 1 > most):
            cut += self._leave_exchange()
        if self.size > room:
            question = self._sizes[self._firsts[self._exchange]]
            target = question + (room - question) * self._keep
            while self._step < len(self._starts) - 1 and self.size > target:
                cut += range(self._starts[self._step], self._starts[self._step + 1])
                self.size -= self._sizes[self._step]
                self._step += 1
        return cut

    def _leave_exchange(self) -> list[int]:
        first, end = self._firsts[self._exchange], self._firsts[self._exchange + 1]
        self.size -= self._sizes[first] + sum(self._sizes[self._step : end])
        question = range(self._starts[first], self._starts[first + 1])
        steps = range(self._starts[self._step], self._starts[end])
        self._exchange += 1
        self._step = end + 1
        return [*question, *steps]


class _Trimming(NamedTuple):
    before: Sequence[Message]
    after: Sequence[Message] = ()
    cut: Cut | None = None  # the last one
    room: float = 0  # tokens that are free for a note
