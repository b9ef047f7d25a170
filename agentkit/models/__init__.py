"""Models that hold another model."""

from agentkit.models.prompted import Prompted

__all__ = ["Prompted"]
