"""An agent with few steps."""

from agentkit import Agent, Limits, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city.

    Args:
        city: The city.
    """
    return f"light rain in {city}"


agent = Agent(
    "m",
    tools=[get_weather],
    limits=Limits(steps=5),
)
result = agent.run_sync("Will it rain in Paris?")
print(result.output)
