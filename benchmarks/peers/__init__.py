"""What is measured, behind one interface. A peer is a file here with a class `P`, and a line in `PEERS`.

Nothing here imports a library under measure: the measuring process of each peer imports its file alone.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from functions import Function


class Entry(NamedTuple):
    """Where a peer is.

    Attributes:
        file: Its file in this folder.
        imports: The line that a program with it begins with.
        packages: What its own environment has.
        here: Whether this project's environment will do.
    """

    file: str
    imports: str
    packages: tuple[str, ...] = ()
    here: bool = False


PROJECT = str(Path(__file__).parents[2])
IMPORT = "from agentkit import Agent, ChatClient, tool"
PEERS = {
    "agentkit": Entry("agentkit_", IMPORT, (PROJECT,), here=True),
    "httpx": Entry("by_httpx", "import httpx; from pydantic import BaseModel", ("httpx", "pydantic"), here=True),
    "httpx+sniffio": Entry("by_httpx", "import httpx, pydantic", ("httpx", "pydantic", "sniffio"), here=True),
    "httpx2": Entry("by_httpx2", "import httpx2, pydantic", ("httpx2", "pydantic"), here=True),
    "asyncio": Entry("by_asyncio", "import asyncio, orjson", ("orjson",), here=True),
    "openai-agents": Entry("openai_agents_", "from agents import Agent, function_tool", ("openai-agents",)),
    "pydantic-ai": Entry("pydantic_ai_", "from pydantic_ai import Agent, Tool", ("pydantic-ai-slim[openai]",)),
    "langchain": Entry(
        "langchain_",
        "from langchain.agents import create_agent; from langchain_core.tools import StructuredTool",
        ("langchain", "langchain-openai"),
    ),
    "agno": Entry("agno_", "from agno.agent import Agent; from agno.tools import tool", ("agno", "openai")),
    "agent-framework": Entry(
        "agent_framework_",
        "from agent_framework import Agent, tool",
        ("agent-framework-core", "agent-framework-openai"),
    ),
}
if before := os.environ.get("AGENTKIT_BEFORE"):  # another checkout of agentkit
    PEERS["before"] = Entry("agentkit_", IMPORT, (str(Path(before).resolve()),))
USUAL = ("agentkit", "httpx", "httpx+sniffio", "httpx2", "asyncio")
FRAMEWORKS = ("openai-agents", "pydantic-ai", "langchain", "agno", "agent-framework")
CLEAN = ("agentkit", "httpx", "httpx+sniffio", "httpx2", "asyncio", *FRAMEWORKS)
"""Where each has an environment of its own: httpx also with sniffio, which it tries to import in each request."""


class Peer:
    """A way to run agents."""

    base_url = ""
    longest = 2000
    """How many turns one run can take."""
    most_runs = 300
    """How many runs at once it can take in reasonable time."""

    def open(self, base_url: str) -> None:
        """Begin, within a running event loop; the endpoint is at this address with `/v1` behind it."""
        self.base_url = base_url

    async def close(self) -> None:
        """End."""

    def tools(self, functions: Sequence[Function]) -> Any:
        """Make tools of functions."""
        raise NotImplementedError

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:
        """Make an agent."""
        raise NotImplementedError

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:
        """Run it on a new conversation, and give the answer."""
        raise NotImplementedError

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:
        """Run it streamed, and give the answer, and in how many pieces it came."""
        raise NotImplementedError


def load(name: str) -> Peer:
    """Import a peer."""
    peer: Peer = importlib.import_module(f"peers.{PEERS[name].file}").P()
    return peer
