"""What wrappers have in common."""

from collections.abc import Sequence

from agentkit.core.chat import ChatRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.model import Model, preview


class Wrapper:
    """The form of a model that holds another: it has its name, and sends what it sends.

    Args:
        model: The model that is held.
    """

    __slots__ = ("_model",)

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The name of the model that is held."""
        return self._model.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([repr(self._model), *self._options()])})"

    def _options(self) -> Sequence[str]:
        """Give what was set beside the model, as code."""
        return ()

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what would be sent for a request; see `Sends.sends`."""
        return preview(self._model, request, streamed=streamed)
