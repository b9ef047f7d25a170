"""agent-framework, for comparison; it is installed only when it is asked for."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from collections.abc import Sequence
from typing import Any

from agent_framework import Agent, tool
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from peers import Peer


class P(Peer):
    """One HTTP client for all agents."""

    longest = 400

    def open(self, base_url: str) -> None:
        """Make the client."""
        self.client = AsyncOpenAI(base_url=f"{base_url}/v1", api_key="x")
        self.models: dict[tuple[str, int], OpenAIChatCompletionClient] = {}

    async def close(self) -> None:
        """Close the client."""
        await self.client.close()

    def tools(self, functions: Sequence[Any]) -> Any:
        """Make tools."""
        return [tool(function) for function in functions]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:
        """Make an agent."""
        if (model, max_turns) not in self.models:
            limit = {"max_iterations": max_turns + 2}
            self.models[model, max_turns] = OpenAIChatCompletionClient(
                model=model, async_client=self.client, function_invocation_configuration=limit
            )
        return Agent(client=self.models[model, max_turns], tools=tools)

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:  # noqa: ARG002 (the agent has it)
        """Run it."""
        return (await agent.run(prompt)).text

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:  # noqa: ARG002 (as above)
        """Run it and watch."""
        pieces = [update.text async for update in agent.run(prompt, stream=True) if update.text]
        return "".join(pieces), len(pieces)
