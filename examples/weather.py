"""A weather bot: one tool, on the small model in this process.

Run it: python examples/weather.py "What is the weather in Paris?"
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os
import sys
from typing import Literal

from agentkit import Agent, Event, ToolFinished, ToolStarted, tool

# Degrees Celsius and the sky, as a weather service might return them.
WEATHER = {
    "paris": (18.0, "light rain"),
    "rome": (27.0, "clear"),
    "oslo": (9.5, "cloudy"),
    "cairo": (34.0, "sunny"),
}


@tool
def get_weather(
    city: str, unit: Literal["celsius", "fahrenheit"] = "celsius"
) -> dict[str, str | float]:
    """Look up the current weather in a city.

    Args:
        city: City name, such as "Paris".
        unit: Temperature unit.
    """
    if city.lower() not in WEATHER:
        raise ValueError(f"no weather for {city}; known are {', '.join(WEATHER)}")
    celsius, sky = WEATHER[city.lower()]
    temperature = celsius if unit == "celsius" else celsius * 9 / 5 + 32
    return {"city": city, "temperature": temperature, "unit": unit, "sky": sky}


def show(event: Event) -> None:
    """Print the tool calls as they happen."""
    match event:
        case ToolStarted(call=call):
            print(f"→ {call.name}({call.arguments})")
        case ToolFinished(message=message):
            print(f"← {message.content}")
        case _:
            pass


MODEL = os.environ.get("AGENTKIT_MODEL", "local")
agent = Agent(MODEL, tools=[get_weather])


def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is the weather in Paris?"
    print(question)
    print(agent.with_observers(show).run_sync(question).output)


if __name__ == "__main__":
    main()
