"""Handoffs: an agent passes the conversation on to another agent, which answers the user."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agentkit.agent.agent import Agent
from agentkit.agent.subagents import conversation_before, run_nested
from agentkit.core.errors import ConfigurationError
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool


def handoff(
    agent: Agent[Any, Any] | Callable[[], Agent[Any, Any]], name: str | None = None, description: str | None = None
) -> Tool:
    """Return a tool that hands the conversation over to another agent, which sees all of it and answers the user.

    The other agent's answer is the output of the run. A reply can hand over once: after its other calls, whose results
    the other agent sees. Deps, approver, usage and events are as for `Agent.as_tool`.

    Args:
        agent: The other agent; or a function that returns it, for two agents that hand over to each other.
        name: The tool's name; `transfer_to_` and the agent's name by default.
        description: When to hand over.

    Raises:
        ConfigurationError: If `agent` is a function and there is no name.
    """
    if name is None:
        if callable(agent):
            raise ConfigurationError("a handoff to the agent that a function returns needs a name: handoff(…, name=…)")
        name = f"transfer_to_{agent.name}"

    async def hand_over(ctx: ToolContext[Any]) -> object:
        other = agent() if callable(agent) else agent
        return (await run_nested(ctx, other.plan, conversation_before(ctx))).output

    description = description or "Hand the conversation over to another agent, who answers the user."
    return replace(Tool.of(tool(name=name, description=description, ends=True)(hand_over)), hands_over=True)
