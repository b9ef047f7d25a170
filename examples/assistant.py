"""An assistant with several tools: it remembers the conversation and streams text.

Run it: python examples/assistant.py "Where is order 1042?" "What does it cost?"
The small local model finds orders. To choose between tools, use a larger one:
set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import date

from agentkit import Agent, Message, TextDelta, ToolStarted, UserMessage, tool
from agentkit.tool_choice import first


@dataclass
class Order:
    """An order in the shop."""

    number: int
    item: str
    status: str
    due: date


ORDERS = {
    1041: Order(1041, "desk lamp", "shipped", date(2026, 12, 1)),
    1042: Order(1042, "office chair", "in production", date(2026, 12, 18)),
}
NOTES: list[str] = []


@tool
def find_order(number: int) -> Order:
    """Look up an order by its number.

    Args:
        number: The order's number, such as 1041.
    """
    if number not in ORDERS:
        raise ValueError(f"there is no order {number}")
    return ORDERS[number]


@tool
async def shipping_cost(country: str, express: bool = False) -> float:
    """Compute what it costs to send a parcel, in euros.

    Args:
        country: The country to send it to.
        express: Whether it must arrive within two days.
    """
    base = 4.9 if country.lower() in ("germany", "france", "italy") else 12.5
    return base * 2 if express else base


@tool(sequential=True)
def take_note(text: str) -> str:
    """Write a note for the shop's staff.

    Args:
        text: The note.
    """
    NOTES.append(text)
    return f"note {len(NOTES)} taken"


agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    tools=[find_order, shipping_cost, take_note],
    instructions="You help the customers of a small furniture shop.",
    tool_choice=first("required", then="none"),  # look something up, then answer
)


async def converse(questions: list[str]) -> tuple[Message, ...]:
    """Ask the questions in one conversation, and print what happens."""
    history: tuple[Message, ...] = ()
    for question in questions:
        print(f"\n> {question}")
        async with agent.stream([*history, UserMessage(question)]) as run:
            async for event in run:
                match event:
                    case TextDelta(text=text):
                        print(text, end="", flush=True)
                    case ToolStarted(call=call):
                        print(f"→ {call.name}({call.arguments})")
                    case _:
                        pass
        print()
        history = run.result.messages
    return history


if __name__ == "__main__":
    asyncio.run(
        converse(
            sys.argv[1:] or ["Where is order 1042?", "And where is order 1041?"]
        )
    )
