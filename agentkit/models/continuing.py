"""A text that broke off as one that its length limit cut: the run can go on from there."""

from agentkit.core.chat import ChatRequest, ChatResponse, Choice
from agentkit.core.errors import ConnectionFailed, IncompleteReply, ModelTimeout
from agentkit.core.messages import AssistantMessage
from agentkit.core.model import OnChunk
from agentkit.models.wrapper import Wrapper


class Continuing(Wrapper):
    """A model whose broken answers count as cut ones: what was received of a text is its reply, with `length`.

    `Agent(on_truncated="continue")` uses it, so that a stream which breaks after its text was told goes on where it broke off. A
    reply with calls stays the error that it was: no call is run from it.

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
            return ChatResponse((Choice(AssistantMessage(error.text), "length"),), sent=error.sent)
