"""The port for models: one method. A second, optional one shows the HTTP request."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import HttpRequest

OnChunk: TypeAlias = Callable[[ChatChunk], None]
"""Takes the chunks of a streamed reply; see `restart` for its optional method."""


def restart(on_chunk: OnChunk | None) -> bool:
    """Have what takes the chunks forget the reply so far, and return whether the reply may begin again.

    An `on_chunk` with a method `restart() -> bool` decides: True if nobody was told anything of the reply yet, as of
    the fragments of a tool call. For a plain function, it is False.
    """
    decide = getattr(on_chunk, "restart", None)
    return decide is not None and bool(decide())


class Model(Protocol):
    """Anything that answers requests: a client, or a wrapper around another model.

    A model MUST be usable by many runs at once and from several event loops, one after another or in several threads.
    """

    @property
    def name(self) -> str:
        """A name for people to read."""
        ...

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request.

        Args:
            request: What to answer. MUST NOT be changed.
            on_chunk: If given, the model streams the reply, and MUST pass each chunk on as it comes. The chunks
                together are the reply that it returns.

        Returns:
            The whole reply, with at least one choice.

        Raises:
            ModelError: If there is no whole reply. A model MUST NOT return a reply that was cut.
        """
        ...


@runtime_checkable
class Sends(Protocol):
    """A model that can show its HTTP request. agentkit's models can; yours need not."""

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return the first HTTP request that `complete` would send. Nothing is sent.

        Args:
            request: What to answer.
            streamed: Whether the reply would be streamed.

        Raises:
            ConfigurationError: If a model inside of this one cannot show it.
            InvalidRequest: If the request could not be sent.
        """
        ...


def preview(model: Model, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
    """Return the HTTP request that any model would send; see `Sends.sends`."""
    if not isinstance(model, Sends):
        raise ConfigurationError(
            f"{model.name} cannot show what it sends: its class {type(model).__name__} has no method "
            "sends(request, *, streamed=False)"
        )
    return model.sends(request, streamed=streamed)
