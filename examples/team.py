"""Handoffs: a reception passes each question to the right agent; events show it.

Run it: python examples/team.py "What is the weather in Paris?"
        python examples/team.py "Where is order 1042?"
"""

import os
import sys

from agentkit import Agent, Event, Nested, RunStarted, ToolStarted, handoff, tool
from agentkit.tool_choice import first

MODEL = os.environ.get("AGENTKIT_MODEL", "local")


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city.

    Args:
        city: City name, such as "Paris".
    """
    return f"The weather in {city}: 18 degrees, light rain."


@tool
def find_order(number: int) -> str:
    """Find an order by its number.

    Args:
        number: The number of the order.
    """
    return f"Order {number} is on its way."


def show(event: Event, depth: int = 0) -> None:
    """Print agents and tool calls; events of a run inside another are nested."""
    match event:
        case RunStarted(agent=agent):
            print(f"{'  ' * depth}{agent}")
        case ToolStarted(call=call):
            print(f"{'  ' * depth}→ {call.name}({call.arguments})")
        case Nested(event=inner):
            show(inner, depth + 1)
        case _:
            pass


look_then_answer = first("required", then="none")
weather = Agent(
    MODEL, tools=[get_weather], tool_choice=look_then_answer, name="weather_desk"
)
orders = Agent(
    MODEL, tools=[find_order], tool_choice=look_then_answer, name="order_desk"
)
reception = Agent(
    MODEL,
    tools=[
        handoff(weather, "ask_weather_desk", "For questions about the weather."),
        handoff(orders, "ask_order_desk", "For questions about orders."),
    ],
    tool_choice="required",
    name="reception",
)


def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is the weather in Paris?"
    print(question)
    print(reception.with_observers(show).run_sync(question).output)


if __name__ == "__main__":
    main()
