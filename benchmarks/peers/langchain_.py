"""LangChain, whose agents run on LangGraph, for comparison; it is installed only when it is asked for."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from peers import Peer


class P(Peer):
    """One model, with its clients, for all agents that ask for the same."""

    longest = 400

    def open(self, base_url: str) -> None:
        """Keep the address."""
        self.models: dict[str, ChatOpenAI] = {}
        self.base_url = base_url

    def tools(self, functions: Sequence[Any]) -> Any:
        """Make tools, whose descriptions are those of the docstrings."""
        return [
            StructuredTool.from_function(
                coroutine=function if iscoroutinefunction(function) else None,
                func=None if iscoroutinefunction(function) else function,
                parse_docstring=True,
            )
            for function in functions
        ]

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (a run is told)
        """Make an agent."""
        if model not in self.models:
            self.models[model] = ChatOpenAI(model=model, base_url=f"{self.base_url}/v1", api_key="x")
        return create_agent(self.models[model], tools=tools)

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:
        """Run it."""
        asked, config = _asked(prompt, max_turns)
        return (await agent.ainvoke(asked, config=config))["messages"][-1].content

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:
        """Run it and watch."""
        asked, config = _asked(prompt, max_turns)
        told = [
            chunk.content
            async for chunk, about in agent.astream(asked, config=config, stream_mode="messages")
            if about["langgraph_node"] == "model" and chunk.content
        ]
        return "".join(told), len(told)


def _asked(prompt: str, turns: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state that a run begins with, and its configuration: two steps of the graph are a turn."""
    return {"messages": [{"role": "user", "content": prompt}]}, {"recursion_limit": 2 * turns + 10}
