"""A stored conversation, and a limit."""

from agentkit import Agent, Limits, Sqlite, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = Agent(
    "m",
    name="weather",
    tools=[get_weather],
    instructions="Be brief.",
    limits=Limits(steps=5),
)
session = Sqlite("chats.db").conversation("ann")
result = agent.run_sync(
    "Will it rain in Paris?",
    session=session,
)
print(result.output)
