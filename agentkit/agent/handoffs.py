"""Handing a conversation over from one agent to another."""

from collections.abc import Callable
from typing import Any

from agentkit.agent.agent import Agent
from agentkit.agent.subagents import conversation, performed_within
from agentkit.core.errors import ConfigurationError
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool


def handoff(
    agent: Agent[Any, Any] | Callable[[], Agent[Any, Any]], name: str | None = None, description: str | None = None
) -> Tool:
    """Give a tool by which an agent hands the conversation over to another, which sees all of it and answers the user.

    Its answer is the output of the run. Otherwise it is as `Agent.as_tool` has it.

    Args:
        agent: The other agent, or a function that gives it, for two that hand over to each other.
        name: The name that the model calls it by; `transfer_to_` and the agent's name unless given.
        description: When to hand over.

    Raises:
        ConfigurationError: If there is a function, and no name.
    """
    if name is None:
        if callable(agent):
            raise ConfigurationError("handoff to what a function gives needs a name: handoff(function, name=…)")
        name = f"transfer_to_{agent.name}"

    async def hand_over(ctx: ToolContext[Any]) -> object:
        other = agent() if callable(agent) else agent
        return (await performed_within(ctx, other.plan, conversation(ctx))).output

    said = description or "Hand the conversation over to another agent, who answers the user."
    return Tool.of(tool(name=name, description=said, ends=True)(hand_over))
