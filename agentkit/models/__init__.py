"""What answers: the HTTP client, the model inside the process, and wrappers of other models.

`client` speaks to chat-completions endpoints, `local` runs a small model in this process (the extra `local`). The
others are models that hold a model: `fallback`, `prompted`, `text_calls`, `trimmed`, `continuing`.

May import only `core`. A new wrapper is a file with one class that derives from `wrapper.Wrapper`.
"""

from agentkit.models.client.chat_client import ChatClient
from agentkit.models.continuing import Continuing
from agentkit.models.fallback import Fallback
from agentkit.models.local import LocalModel
from agentkit.models.prompted import Prompted
from agentkit.models.text_calls import TextToolCalls
from agentkit.models.trimmed import Trimmed

__all__ = ["ChatClient", "Continuing", "Fallback", "LocalModel", "Prompted", "TextToolCalls", "Trimmed"]
