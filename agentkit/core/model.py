"""What a model is to agentkit: one method; another one shows what it would send."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import HttpRequest

OnChunk: TypeAlias = Callable[[ChatChunk], None]


class Model(Protocol):
    """Anything that answers a request: a client, or a wrapper that holds another model.

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
            on_chunk: If given, the reply is streamed, and each chunk MUST be handed over as it comes. The chunks
                together are the reply that is returned.

        Returns:
            The whole reply, with at least one choice.

        Raises:
            ModelError: If there is no whole reply. A reply that was cut MUST NOT be returned as if it were whole.
        """
        ...


@runtime_checkable
class Sends(Protocol):
    """What a model may be besides: one that shows what it would send. Those of agentkit do; your own need not."""

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what would be sent for a request. Nothing is sent.

        Args:
            request: What to answer.
            streamed: Whether the reply is to be streamed.

        Returns:
            The first request that would go out.

        Raises:
            ConfigurationError: If a model inside of this one does not show what it sends.
            InvalidRequest: If there is nothing that could be sent.
        """
        ...


def preview(model: Model, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
    """Show what a model would send for a request.

    Args:
        model: The model, which may be one that does not show it.
        request: What to answer.
        streamed: Whether the reply is to be streamed.

    Raises:
        ConfigurationError: If the model does not show it.
        InvalidRequest: If there is nothing that could be sent.
    """
    if not isinstance(model, Sends):
        raise ConfigurationError(
            f"{model.name} does not show what it sends: its class {type(model).__name__} has no method "
            "sends(request, *, streamed=False)"
        )
    return model.sends(request, streamed=streamed)
