"""pydantic-ai, for comparison; it is installed only when it is asked for."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from collections.abc import Sequence
from typing import Any

from pydantic_ai import Agent, Tool, UsageLimits
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from peers import Peer

_NO_LIMITS = UsageLimits(request_limit=None)


class P(Peer):
    """One provider for all agents."""

    longest = 400

    def open(self, base_url: str) -> None:
        """Make the provider."""
        self.provider = OpenAIProvider(base_url=f"{base_url}/v1", api_key="x")
        self.base_url = base_url

    def tools(self, functions: Sequence[Any]) -> Any:
        """Make tools."""
        return [Tool(function, takes_ctx=False) for function in functions]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (there is no limit)
        """Make an agent."""
        return Agent(OpenAIChatModel(model, provider=self.provider), tools=tools)

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:  # noqa: ARG002 (as above)
        """Run it."""
        return (await agent.run(prompt, usage_limits=_NO_LIMITS)).output

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:  # noqa: ARG002 (as above)
        """Run it and watch."""
        text, pieces = "", 0
        async with agent.run_stream(prompt, usage_limits=_NO_LIMITS) as run:
            async for piece in run.stream_text(delta=True, debounce_by=None):
                text, pieces = text + piece, pieces + 1
        return text, pieces
