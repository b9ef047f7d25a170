"""Agents that something has to be opened for, such as the connection to an MCP server."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeAlias

from typing_extensions import TypeIs

from agentkit.agent.agent import Agent, DepsT
from agentkit.core.errors import ConfigurationError

OpensAgent: TypeAlias = Callable[[], AbstractAsyncContextManager[Agent[Any, Any]]]
"""A function that returns an async context manager, which gives an agent as long as it is open."""


def is_agent(agent: Agent[DepsT, Any] | OpensAgent) -> TypeIs[Agent[DepsT, Any]]:
    return isinstance(agent, Agent)


async def open_agent(opens: OpensAgent, stack: AsyncExitStack) -> Agent[Any, Any]:
    """Open an agent until the end of the stack.

    Raises:
        ConfigurationError: If what it opens is not an agent.
    """
    agent = await stack.enter_async_context(opens())
    if not is_agent(agent):
        raise ConfigurationError(f"{opens!r} opened a {type(agent).__name__}, not an agent")
    return agent
