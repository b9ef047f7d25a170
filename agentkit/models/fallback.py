"""Several models as one: if the first fails, the next is asked."""

from agentkit.core import errors
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import ModelError
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import Usage
from agentkit.core.model import Model, OnChunk, preview, restart

FAILURES: tuple[type[ModelError], ...] = (
    *(errors.AuthenticationFailed, errors.ConnectionFailed, errors.EndpointUnavailable, errors.IncompleteReply),
    *(errors.MalformedReply, errors.ModelTimeout, errors.QuotaExceeded, errors.RateLimited),
)
"""Errors of an endpoint, not of the request: another endpoint may answer the same request."""


class Fallback:
    """A model that asks backup models if the first one fails.

    Every request starts with the first model, so a conversation may move between endpoints. Fields that only one
    endpoint knows go to that endpoint alone, and each client adapts ids and fields to its own endpoint. Once part of a
    reply was streamed, no other model is asked.

    Args:
        model: The model to ask first.
        backups: The models to ask after it, in order.
        on: The errors after which the next model is asked.
    """

    __slots__ = ("_models", "_on")

    def __init__(self, model: Model, *backups: Model, on: tuple[type[ModelError], ...] = FAILURES) -> None:
        self._models = (model, *backups)
        self._on = on

    @property
    def name(self) -> str:
        """The names of all models, such as `"gpt-4o else llama"`."""
        return " else ".join([model.name for model in self._models])

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self._models))})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`.

        Raises:
            ModelError: The last model's error. Its notes hold the errors of the models before it.
        """
        passing = None if on_chunk is None else _Passing(on_chunk)
        failures: list[str] = []
        lost = Usage()
        try:
            for model in self._models[:-1]:
                try:
                    return (await model.complete(request, passing)).with_lost(lost)
                except self._on as error:
                    if passing is not None and passing.streamed and not passing.restart():
                        raise
                    lost += error.usage or Usage()
                    failures.append(f"before it, {model.name} failed: {type(error).__name__}: {error}")
            return (await self._models[-1].complete(request, on_chunk)).with_lost(lost)
        except ModelError as error:
            error.usage = lost + error.usage if error.usage else lost if lost.requests else None
            for failure in failures:
                error.add_note(failure)
            raise

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what the first model would send for a request; see `Sends.sends`."""
        return preview(self._models[0], request, streamed=streamed)


class _Passing:
    """Passes chunks on, and knows whether there were any."""

    def __init__(self, on_chunk: OnChunk) -> None:
        self.streamed = False
        self._on_chunk = on_chunk

    def __call__(self, chunk: ChatChunk) -> None:
        self.streamed = True
        self._on_chunk(chunk)

    def restart(self) -> bool:
        self.streamed = not restart(self._on_chunk)
        return not self.streamed
