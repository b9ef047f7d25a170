"""What a model is to agentkit: one method."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from agentkit.wire import ChatChunk, ChatRequest, ChatResponse

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
