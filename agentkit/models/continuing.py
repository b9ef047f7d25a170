"""A text that broke off counts as one that was cut at the length limit, so that a run can go on from there."""

from agentkit.core.chat import ChatRequest, ChatResponse, Choice
from agentkit.core.errors import ConnectionFailed, IncompleteReply, ModelTimeout
from agentkit.core.messages import AssistantMessage
from agentkit.core.model import OnChunk
from agentkit.models.wrapper import Wrapper


class Continuing(Wrapper):
    """A model that returns the text of a broken reply, with the finish reason `length`.

    `Agent(on_truncated="continue")` uses it, so that a stream that breaks after its first text continues where it
    stopped. A broken reply with tool calls still raises its error: no call runs from it.

    Args:
        model: The model whose replies may break off.
    """

    __slots__ = ()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        try:
            return await self._model.complete(request, on_chunk)
        except (ConnectionFailed, IncompleteReply, ModelTimeout) as error:
            if error.calls or not error.text:
                raise
            return ChatResponse((Choice(AssistantMessage(error.text), "length"),), error.usage, sent=error.sent)
