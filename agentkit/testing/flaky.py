"""A model that fails now and then."""

from collections.abc import Callable
from itertools import count
from random import Random

from anyio import sleep

from agentkit.core import errors
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.checks import check_number
from agentkit.core.model import Model, OnChunk
from agentkit.models.wrapper import Wrapper

_FAULTS: tuple[Callable[[], errors.ModelError], ...] = (
    lambda: errors.ConnectionFailed("flaky: the connection broke"),
    lambda: errors.EndpointUnavailable("flaky: answered 503", status=503),
    lambda: errors.RateLimited("flaky: answered 429", status=429, retry_after=0.0),
    lambda: errors.ModelTimeout("flaky: no answer in time", 1.0),
)


class Flaky(Wrapper):
    """A wrapper around a model that makes some requests fail: connection errors, 503, 429, timeouts, truncated replies.

    The seed and the number of a request decide whether and how it fails, so that a failing test fails again. To test a
    client, use `chaos`: its faults happen on the wire.

    Args:
        model: The wrapped model.
        rate: The share of requests that fail, from 0 to 1.
        seed: Another seed gives another sequence of faults.
        delay: The maximum delay of a reply, in seconds; each reply gets a random one.

    Raises:
        ConfigurationError: If `rate` or `delay` is out of range.
    """

    __slots__ = ("_delay", "_numbers", "_rate", "_seed")

    def __init__(self, model: Model, *, rate: float = 0.3, seed: int = 0, delay: float = 0.0) -> None:
        super().__init__(model)
        check_number("rate", rate, least=0, most=1)
        check_number("delay", delay, least=0)
        self._rate = rate
        self._seed = seed
        self._delay = delay
        self._numbers = count()

    def _options(self) -> tuple[str, ...]:
        return f"rate={self._rate}", f"seed={self._seed}"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request, or raise an error; see `Model.complete`."""
        random = Random(f"{self._seed}:{next(self._numbers)}")  # noqa: S311 (no secret)
        if self._delay:
            await sleep(random.random() * self._delay)
        if random.random() >= self._rate:
            return await self._model.complete(request, on_chunk)
        fault = random.choice((*_FAULTS, None))
        raise await self._cut(request, on_chunk, random) if fault is None else fault()

    async def _cut(self, request: ChatRequest, on_chunk: OnChunk | None, random: Random) -> errors.IncompleteReply:
        """Pass on the beginning of a reply, and return the error for the rest."""
        chunks: list[ChatChunk] = []
        reply = await self._model.complete(request, None if on_chunk is None else chunks.append)
        if on_chunk is None:
            text = reply.message.content or ""
            return errors.IncompleteReply("flaky: the reply was cut", text[: random.randrange(len(text) + 1)])
        chunks = chunks[: random.randrange(len(chunks) + 1)]
        for chunk in chunks:
            on_chunk(chunk)
        return errors.IncompleteReply("flaky: the reply was cut", "".join([chunk.text for chunk in chunks]))
