"""Wrappers of a model: a model that holds another."""

from agentkit.models.continuing import Continuing
from agentkit.models.fallback import Fallback
from agentkit.models.prompted import Prompted
from agentkit.models.text_calls import TextCalls
from agentkit.models.trimmed import Trimmed

__all__ = ["Continuing", "Fallback", "Prompted", "TextCalls", "Trimmed"]
