"""Several models as one: where the first does not answer, the next is asked."""

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelError,
    ModelTimeout,
    QuotaExceeded,
    RateLimited,
)
from agentkit.core.http_request import HttpRequest
from agentkit.core.model import Model, OnChunk, preview

FAILURES: tuple[type[ModelError], ...] = (
    AuthenticationFailed,
    ConnectionFailed,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelTimeout,
    QuotaExceeded,
    RateLimited,
)
"""The errors that are of an endpoint and not of the request: another endpoint may well answer."""


class Fallback:
    """A model that asks another one where the first does not answer.

    Every request begins with the first. A conversation may move back and forth: what only one endpoint knows is sent to
    that one alone, and each client writes ids and fields as its own endpoint takes them. A reply of which a part was
    told already is not begun anew by another model.

    Args:
        model: The one that is asked first.
        backups: Those that are asked after it, in order.
        on: The errors after which the next is asked.
    """

    __slots__ = ("_models", "_on")

    def __init__(self, model: Model, *backups: Model, on: tuple[type[ModelError], ...] = FAILURES) -> None:
        self._models = (model, *backups)
        self._on = on

    @property
    def name(self) -> str:
        """The names of all of them."""
        return " else ".join([each.name for each in self._models])

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self._models))})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`.

        Raises:
            ModelError: What the last model raised; what the others did is in its notes.
        """
        told = False
        failures: list[str] = []

        def telling(chunk: ChatChunk) -> None:
            nonlocal told
            told = True
            assert on_chunk is not None  # noqa: S101 (it is handed on only if there is one)
            on_chunk(chunk)

        try:
            for model in self._models[:-1]:
                try:
                    return await model.complete(request, telling if on_chunk else None)
                except self._on as error:
                    if told:
                        raise
                    failures.append(f"before it, {model.name} failed: {type(error).__name__}: {error}")
            return await self._models[-1].complete(request, on_chunk)
        except ModelError as error:
            for each in failures:
                error.add_note(each)
            raise

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what the first would send for a request; see `Sends.sends`."""
        return preview(self._models[0], request, streamed=streamed)
