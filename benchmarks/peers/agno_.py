"""Agno, for comparison; it is installed only when it is asked for."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from collections.abc import Sequence
from typing import Any

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.tools import tool

from peers import Peer


class P(Peer):
    """One model, with its client, for all agents that ask for the same."""

    longest = 400

    def open(self, base_url: str) -> None:
        """Keep the address."""
        self.models: dict[str, OpenAIChat] = {}
        self.base_url = base_url

    def tools(self, functions: Sequence[Any]) -> Any:
        """Decorate them."""
        return [tool(function) for function in functions]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (there is no limit)
        """Make an agent."""
        if model not in self.models:
            self.models[model] = OpenAIChat(id=model, base_url=f"{self.base_url}/v1", api_key="x")
        return Agent(model=self.models[model], tools=tools, telemetry=False)

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:  # noqa: ARG002 (as above)
        """Run it."""
        return (await agent.arun(prompt)).content

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:  # noqa: ARG002 (as above)
        """Run it and watch."""
        told = [
            event.content
            async for event in agent.arun(prompt, stream=True)
            if event.event == "RunContent" and event.content
        ]
        return "".join(told), len(told)
