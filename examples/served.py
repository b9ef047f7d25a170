"""The weather bot as a server, for any chat client, with a page to try it.

Run it: python examples/served.py        and open http://127.0.0.1:8000/
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
With a key for clients: SERVER_KEY=sk-my-key python examples/served.py 9000
"""

import os
import sys
from typing import Literal

from agentkit import Agent, tool
from agentkit.server import ChatServer, serve
from agentkit.tool_choice import first


@tool
def get_weather(
    city: str, unit: Literal["celsius", "fahrenheit"] = "celsius"
) -> dict[str, str | float]:
    """Look up the current weather in a city.

    Args:
        city: Name of the city, such as "Paris".
        unit: Temperature unit.
    """
    return {
        "city": city,
        "temperature": 18.0 if unit == "celsius" else 64.4,
        "unit": unit,
        "sky": "light rain",
    }


agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    tools=[get_weather],
    tool_choice=first("required", then="none"),  # look it up, then answer
    name="weather",
)

if __name__ == "__main__":
    port = (sys.argv[1:] or ["8000"])[0]
    keys = os.environ.get("SERVER_KEY", "").split()
    print(f"http://127.0.0.1:{port}/", flush=True)
    serve(ChatServer(agent, keys=keys, page=True, events=True), port=int(port))
