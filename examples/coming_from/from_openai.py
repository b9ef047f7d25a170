"""Ask about the weather."""

from agentkit import Agent, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = Agent("m", tools=[get_weather])
result = agent.run_sync("Will it rain in Paris?")
print(result.output)
