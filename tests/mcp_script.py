"""A server of tools over stdio, as a program of its own: `python -m tests.mcp_script`."""

import os
from collections.abc import AsyncIterator, Iterator
from threading import current_thread, main_thread
from typing import Any

import anyio

from agentkit import Agent, ImagePart, ToolContext, ToolError, tool
from agentkit.mcp import serve_mcp
from agentkit.tools.tool import AnyFunction
from tests.scripted import Scripted, said

LAMP = "data:image/png;base64,iVBORw0KGgo="
stopped: list[str] = []


@tool
def add(left: int, right: int) -> int:
    """Add two numbers."""
    print("this must not get into the protocol")  # noqa: T201 (that is what is tested)
    assert current_thread() is not main_thread()
    return left + right


@tool
def photograph(where: str) -> list[str | ImagePart]:
    return [f"the {where}", ImagePart(LAMP), ImagePart("https://example.com/lamp.png")]


@tool
def fail(how: str) -> str:
    """Fail."""
    raise ToolError(how) if how == "told" else RuntimeError(how)


@tool
def count(to: int) -> Iterator[str]:
    for number in range(1, to + 1):
        yield f"{number} of {to}"


@tool
async def wait() -> AsyncIterator[str]:
    try:
        yield "waiting"
        await anyio.sleep_forever()
    finally:
        stopped.append("wait")


@tool
async def was_stopped() -> list[str]:
    return stopped


@tool(approval=True)
def pay(amount: int) -> str:
    return f"paid {amount}"


@tool
async def whoami(ctx: ToolContext[Any]) -> str:
    return f"{ctx.deps} {os.environ.get('MCP_SCRIPT_KEY')}"


@tool
async def die() -> str:
    os._exit(3)


TOOLS: list[AnyFunction] = [add, photograph, fail, count, wait, was_stopped, pay, whoami, die]
poet = Agent(Scripted(said("Roses are red."))).as_tool("ask_poet", "Ask a poet.")

if __name__ == "__main__":
    anyio.run(lambda: serve_mcp([*TOOLS, poet], name="script", deps="Ann"))
