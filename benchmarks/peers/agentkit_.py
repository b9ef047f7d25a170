"""agentkit, with its defaults but for the limits and the time to connect, which a measure may go beyond."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from agentkit import Agent, ChatClient, Limits, TextDelta, Timeouts, tool
from peers import Peer

_TIMEOUTS = Timeouts(connect=None)


class P(Peer):
    """One client for all agents that ask the same model."""

    longest = 5000
    most_runs = 3000

    def tools(self, functions: Sequence[Any]) -> Any:
        """Mark them."""
        return [tool(function) for function in functions]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:
        """Make an agent."""
        if model not in self.clients:
            address = f"{self.base_url}/v1"
            self.clients[model] = ChatClient(model, base_url=address, api_key="x", timeout=_TIMEOUTS)
        return Agent(self.clients[model], tools=tools, limits=_limits(max_turns))

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:  # noqa: ARG002 (the agent has it)
        """Run it."""
        answer: str = (await agent.run(prompt)).output
        return answer

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:  # noqa: ARG002 (as above)
        """Run it and watch."""
        pieces = 0
        async with agent.stream(prompt) as run:
            async for event in run:
                pieces += isinstance(event, TextDelta)
        return run.result.output, pieces

    def open(self, base_url: str) -> None:
        """Keep the address; clients share their connections by themselves."""
        self.clients: dict[str, ChatClient] = {}
        self.base_url = base_url


@cache
def _limits(turns: int) -> Limits:
    return Limits(steps=turns + 1, requests=None, calls=None, tokens=None)
