"""agentkit as a client of MCP's conformance suite, which runs this with the address of one of its servers.

An agent calls each tool of the server, or those that the suite asks for.
"""

import json
import os
import sys
from contextlib import suppress
from typing import Any

import anyio

from agentkit import Agent
from agentkit.core.errors import ConfigurationError
from agentkit.core.model import Model
from agentkit.mcp import HttpServer, mcp_tools
from agentkit.testing import EveryTool, Scripted, calling

ECHO, SHOWN = "json_schema_echo", "json_schema_2020_12_tool"


async def call_tools(url: str, wanted: dict[str, Any]) -> None:
    async with mcp_tools(HttpServer(url), timeout=60) as tools:
        calls = [(call["name"], call["arguments"]) for call in wanted.get("toolCalls", [])]
        if ECHO in tools.names:
            calls = [(ECHO, {"schema": spec.parameters}) for spec in tools.specs if spec.name == SHOWN]
        model: Model = Scripted(calling(*calls), "Done.") if calls else EveryTool()
        with suppress(ConfigurationError):  # a schema that refers to another document has no sample
            result = await Agent(model, tools=[tools]).run("Call the tools.")
            print(result.messages, file=sys.stderr)  # noqa: T201 (the suite keeps it)


if __name__ == "__main__":
    anyio.run(call_tools, sys.argv[1], json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")))
