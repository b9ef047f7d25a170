"""tool_choice as policy: what decides, before every request, which tools the model may or must call."""

from agentkit.tool_choice.protocol import Policy, policy_of

__all__ = ["Policy", "policy_of"]
