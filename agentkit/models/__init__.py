"""What answers: the HTTP client, the model inside the process, and wrappers of other models.

`client` speaks to chat-completions endpoints, `local` runs a small model in this process (the extra `local`). The
others are models that hold a model: `fallback`, `prompted`, `text_calls`, `trimmed`, `continuing`.

May import only `core`. A new wrapper is a file with one class that derives from `wrapper.Wrapper`, and a line here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from agentkit.models.client.chat_client import ChatClient

if TYPE_CHECKING:
    from agentkit.models.continuing import Continuing
    from agentkit.models.fallback import Fallback
    from agentkit.models.local import LocalModel
    from agentkit.models.prompted import Prompted
    from agentkit.models.text_calls import TextToolCalls
    from agentkit.models.trimmed import Trimmed

__all__ = ["ChatClient", "Continuing", "Fallback", "LocalModel", "Prompted", "TextToolCalls", "Trimmed"]

_LATER = {
    "Continuing": "agentkit.models.continuing",
    "Fallback": "agentkit.models.fallback",
    "LocalModel": "agentkit.models.local",
    "Prompted": "agentkit.models.prompted",
    "TextToolCalls": "agentkit.models.text_calls",
    "Trimmed": "agentkit.models.trimmed",
}
"""What few programs need, loaded when it is first asked for: the client is in this package, and in every program."""

# To a type checker, a module with `__getattr__` has every name.
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATER[name]), name)
