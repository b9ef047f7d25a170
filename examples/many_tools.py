"""300 tools: each request has the few that fit the conversation.

Run it: python examples/many_tools.py "Export the invoices of October."
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os
import sys
from itertools import product

from agentkit import Agent, Result, Tool
from agentkit.tool_choice import relevant

ACTIONS = ("list", "find", "create", "change", "delete", "export")
NAMES = """
account address asset audit bank bill branch budget calendar campaign card
category claim client comment company contact contract coupon course customer
delivery department device discount document employee event expense feature
flight goal group holiday invoice job lead licence location meeting order
partner payment payslip plan project refund report shipment ticket
"""
THINGS = NAMES.split()


def make(action: str, thing: str) -> Tool:
    """Return a tool; in real life they come from an API or over MCP."""

    def run(what: str) -> str:
        return f"{action} {thing} {what}: done"

    description = f"{action.capitalize()} one {thing} or several."
    return Tool.of(run, name=f"{action}_{thing}", description=description)


# --8<-- [start:agent]
tools = [make(action, thing) for action, thing in product(ACTIONS, THINGS)]


def clerk() -> Agent:
    """Return an agent with 300 tools, of which a request has eight."""
    model = os.environ.get("AGENTKIT_MODEL", "local")
    return Agent(model, tools=tools, tool_choice=relevant(k=8))


# --8<-- [end:agent]


def main(prompt: str) -> Result[str]:
    """Run it once, and print what was offered and called."""
    result = clerk().run_sync(prompt)
    for step in result.steps:
        for call in step.message.tool_calls:
            print(f"→ {call.name}({call.arguments})")
    print(result.output)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
