"""A support desk: the message is sorted, then goes one of three ways.

Run it: python examples/triage.py "Order 1042 is broken. I want my money back."
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os
import sys
from typing import Literal

from agentkit import Agent, Result, ToolError, tool
from agentkit.tool_choice import force, machine, none, phase

ORDERS = {1042: "a lamp, 40 euros", 1043: "an office chair, 310 euros"}
HELP = {"warranty": "Lamps have a warranty of two years."}


@tool
def classify(kind: Literal["refund", "question", "other"]) -> str:
    """Say what the customer wants.

    Args:
        kind: "refund" for money back, "question" for how things work.
    """
    return kind


@tool
def find_order(number: int) -> str:
    """Find an order by its number."""
    if number not in ORDERS:
        raise ToolError(
            f"there is no order {number}; use a number from the message"
        )
    return ORDERS[number]


@tool
def refund(number: int) -> str:
    """Refund an order."""
    return f"refunded {ORDERS[number]}"


@tool
def search_help(word: str) -> str:
    """Search the help pages by one word."""
    return HELP.get(word.lower(), "nothing found")


@tool
def file_ticket(title: str) -> str:
    """Leave a message for a person."""
    return f"ticket filed: {title}"


# --8<-- [start:policy]
desk = machine(
    start="triage",
    triage=phase(
        force(classify),
        {"refund": "find", "question": "help", "other": "ticket"},
    ),
    find=phase(force(find_order), "pay_back"),
    pay_back=phase(force(refund), "answer"),
    help=phase(force(search_help), "answer"),
    ticket=phase(force(file_ticket), "answer"),
    answer=none,
)
# --8<-- [end:policy]


def support() -> Agent:
    """Return the agent."""
    return Agent(
        os.environ.get("AGENTKIT_MODEL", "local"),
        instructions="You work at the support desk of a furniture shop.",
        tools=[classify, find_order, refund, search_help, file_ticket],
        tool_choice=desk,
    )


def main(message: str) -> Result[str]:
    """Answer one message, and print the calls and the answer."""
    result = support().run_sync(message)
    for step in result.steps:
        for call in step.message.tool_calls:
            print(f"→ {call.name}({call.arguments})")
    print(result.output)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
