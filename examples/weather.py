"""A weather bot: one tool, on the small model in this process.

It knows 590 cities. It measures nothing: it estimates what is usual for the
season from the latitude, and says so.

Run it: python examples/weather.py "What is the weather in Paris?"
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import math
import os
import sys
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from agentkit import Agent, Event, ToolFinished, ToolStarted, tool

# A city and its latitude in each line, from GeoNames (geonames.org, CC BY 4.0).
TABLE = Path(__file__).with_name("cities.txt").read_text(encoding="utf-8")
LATITUDES = {
    city.lower(): float(latitude)
    for city, _, latitude in (line.rpartition(" ") for line in TABLE.splitlines())
}


def usual(latitude: float, day: datetime) -> float:
    """Estimate the temperature at a latitude and a time of year, in Celsius."""
    summer = math.cos(2 * math.pi * (day.timetuple().tm_yday - 200) / 365)
    swing = 0.2 * latitude * summer  # in the south, summer is in January
    return 27 - 0.006 * latitude**2 + swing


@tool
def get_weather(
    city: str, unit: Literal["celsius", "fahrenheit"] = "celsius"
) -> dict[str, str | int]:
    """Look up the usual temperature of today's season in a city.

    Args:
        city: City name in English, such as "Paris".
        unit: Temperature unit.
    """
    name = city.partition(",")[0].strip()
    key = normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    if key not in LATITUDES:
        near = ", ".join(get_close_matches(key, LATITUDES, 3)).title()
        return {"answer": f"I do not know {name}.", "similar": near}
    today = datetime.now().astimezone()
    celsius = usual(LATITUDES[key], today)
    temperature = celsius if unit == "celsius" else celsius * 9 / 5 + 32
    return {
        "city": name,
        "temperature": round(temperature),
        "unit": unit,
        "estimate": f"usual in {today:%B}",
    }


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
