"""An agent as a service: uvicorn service:app, or the Dockerfile beside it."""

import os

from agentkit import Agent, Limits, tool
from agentkit.server import Bounds, ChatServer


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "openai:gpt-5-mini"),
    tools=[get_weather],
    limits=Limits(seconds=120, tokens=200_000, at_end="answer"),
    errors="hide",
    name="weather",
)
keys = os.environ.get("SERVER_KEYS", "sk-your-key").split()
app = ChatServer(agent, keys=keys, bounds=Bounds(requests=200))
