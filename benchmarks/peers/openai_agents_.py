"""OpenAI's Agents SDK, for comparison; it is installed only when it is asked for."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from collections.abc import Sequence
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from peers import Peer


class P(Peer):
    """One client for all agents."""

    longest = 400

    def open(self, base_url: str) -> None:
        """Make the client."""
        set_tracing_disabled(disabled=True)
        self.client = AsyncOpenAI(base_url=f"{base_url}/v1", api_key="x")
        self.base_url = base_url

    async def close(self) -> None:
        """Close the client."""
        await self.client.close()

    def tools(self, functions: Sequence[Any]) -> Any:
        """Decorate them."""
        return [function_tool(function) for function in functions]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (a run is told)
        """Make an agent."""
        return Agent(name="agent", model=OpenAIChatCompletionsModel(model, self.client), tools=tools)

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:
        """Run it."""
        return (await Runner.run(agent, prompt, max_turns=max_turns + 1)).final_output

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:
        """Run it and watch."""
        pieces, run = 0, Runner.run_streamed(agent, prompt, max_turns=max_turns + 1)
        async for event in run.stream_events():
            pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        return run.final_output, pieces
