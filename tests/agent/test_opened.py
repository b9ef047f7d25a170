from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any

import pytest

from agentkit import Agent, ConfigurationError
from agentkit.agent.opened import is_agent, open_agent
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio


async def test_an_agent_is_open_as_long_as_the_stack() -> None:
    held: list[str] = []

    @asynccontextmanager
    async def opens() -> AsyncGenerator[Agent]:
        held.append("open")
        yield Agent(Scripted(said("Hi")))
        held.append("closed")

    assert not is_agent(opens)
    async with AsyncExitStack() as stack:
        assert (await (await open_agent(opens, stack)).run("Hello")).output == "Hi"
        assert held == ["open"]
    assert held == ["open", "closed"]


async def test_something_else_is_not_opened() -> None:
    no_agent: Any = nullcontext
    with pytest.raises(ConfigurationError, match="opened a NoneType, not an agent"):
        async with AsyncExitStack() as stack:
            await open_agent(no_agent, stack)
