"""The base class of models that hold a model, and what several of them use."""

from collections.abc import Iterable, Sequence

from agentkit.core.chat import ChatChunk, ChatRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import AssistantMessage, Message
from agentkit.core.model import Model, preview
from agentkit.core.parts import AudioPart, Content, FilePart, ImagePart, TextPart

_WORDS = {ImagePart: "[image]", AudioPart: "[audio]", FilePart: "[file]"}


class Wrapper:
    """A model that holds another one. It takes over that model's name and its preview of requests."""

    __slots__ = ("_model",)

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self._model.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([repr(self._model), *self._options()])})"

    def _options(self) -> Sequence[str]:
        """Return the arguments after the model, as Python code."""
        return ()

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what would be sent for a request; see `Sends.sends`."""
        return preview(self._model, request, streamed=streamed)


def text_chunk(text: str) -> ChatChunk:
    """Return a chunk that adds a text to the first answer."""
    return ChatChunk({"choices": [{"index": 0, "delta": {"content": text}}]})


def plain_text(content: Content) -> str:
    """Return a message's content as one text; `[image]`, `[audio]` and `[file]` stand for these."""
    if isinstance(content, str):
        return content
    return " ".join([part.text if isinstance(part, TextPart) else _WORDS[type(part)] for part in content])


def tool_names(messages: Iterable[Message]) -> dict[str, str]:
    """Return the name of the tool of each call, by the id of the call."""
    replies = [message for message in messages if isinstance(message, AssistantMessage)]
    return {call.id: call.name for reply in replies for call in reply.tool_calls}
