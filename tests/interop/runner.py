"""Runs a client, and judges each of its cells."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agentkit.core.json import list_of, object_of
from tests.interop.clients.cells import REFUSALS, weather
from tests.interop.environments import Client, run
from tests.interop.served_agents import ANSWER, TRIP, serving

CLIENTS: Mapping[str, Client] = {
    "openai": Client("openai, Python", "openai_.py", ("openai",)),
    "openai-node": Client("openai, node", "openai_node.mjs", ("openai", "zod")),
    "vercel-ai": Client("Vercel AI SDK", "vercel_ai.mjs", ("ai", "@ai-sdk/openai-compatible", "zod")),
    "langchain": Client("LangChain, `langchain-openai`", "langchain_.py", ("langchain-openai", "langchain")),
    "litellm": Client("LiteLLM", "litellm_.py", ("litellm",)),
    "pydantic-ai": Client("pydantic-ai", "pydantic_ai_.py", ("pydantic-ai-slim[openai]",)),
    "openai-agents": Client("openai-agents", "openai_agents_.py", ("openai-agents",)),
    "instructor": Client("Instructor", "instructor_.py", ("instructor",)),
    "smolagents": Client("smolagents", "smolagents_.py", ("smolagents[openai]",)),
    "llm": Client("llm", "llm_.py", ("llm",)),
    "llama-index": Client(
        "LlamaIndex, `llama-index-llms-openai-like`", "llama_index_.py", ("llama-index-llms-openai-like",)
    ),
}
EXPECTED = {"text": ANSWER, "tools": weather("Paris"), "structured": TRIP, "typed": TRIP}
PASSING = (429, 502)
"""Statuses after which the same request may succeed."""
CELLS = ("text", "stream", "tools", "structured", "typed")


class Row(NamedTuple):
    """What came of a client.

    Attributes:
        version: The version of its package.
        cells: By cell, the empty text if it is right, else what is wrong; cells that the client does not have are left
            out.
        requests: By status, how many requests the client made until it raised.
        errors: By status, the type that it raised, or what is wrong.
    """

    version: str
    cells: Mapping[str, str]
    requests: Mapping[int, int]
    errors: Mapping[int, str]

    @property
    def wrong(self) -> list[str]:
        """What is wrong."""
        cells = [f"{cell}: {what}" for cell, what in self.cells.items() if what]
        errors = [f"{status}: {what}" for status, what in self.errors.items() if not what.isidentifier()]
        repeated = [
            f"{status}: {count} requests" for status, count in self.requests.items() if not _is_right(status, count)
        ]
        return cells + errors + repeated


def _is_right(status: int, requests: int) -> bool:
    """Whether a client sent a refused request again only where that may help."""
    return requests >= 1 if status in PASSING else requests == 1


def tried(command: Sequence[str], home: str) -> Row:
    """Run a client's script against the agents; `home` is where it may keep files."""
    with serving() as (url, statuses):
        variables = {"AGENTKIT_INTEROP_URL": url, "HOME": home, "LLM_USER_PATH": home}
        results: dict[str, Any] = json.loads(run(command, variables).splitlines()[-1])
        requests = {status: statuses[status] for status in REFUSALS.values()}
    errors = {status: error_of(results["errors"][name], status) for name, status in REFUSALS.items()}
    return Row(
        results["version"], {cell: verdict(cell, results[cell]) for cell in CELLS if cell in results}, requests, errors
    )


def verdict(cell: str, result: object) -> str:
    """Return what is wrong with the result of a cell."""
    if failed := object_of(result).get("failed"):
        return str(failed)
    if cell == "stream":
        pieces = [str(piece) for piece in list_of(result) if piece]
        return "" if "".join(pieces) == ANSWER and len(pieces) > 1 else f"streamed {pieces}"
    return "" if result == EXPECTED[cell] else f"got {result!r}"


def error_of(raised: Mapping[str, Any], status: int) -> str:
    """Return the type of the error that a client raised, or what is wrong with it."""
    if "answer" in raised:
        return f"answered {raised['answer']!r}"
    return (
        raised["type"]
        if raised["status"] == status
        else f"{raised['type']} of status {raised['status']}: {raised.get('text')}"
    )
