"""Models that hold another model."""

from agentkit.models.prompted import Prompted
from agentkit.models.text_calls import TextCalls

__all__ = ["Prompted", "TextCalls"]
