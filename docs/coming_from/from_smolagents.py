"""An agent with few steps."""

from smolagents import OpenAIModel, ToolCallingAgent, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city.

    Args:
        city: The city.
    """
    return f"light rain in {city}"


agent = ToolCallingAgent(
    tools=[get_weather],
    model=OpenAIModel("m"),
    max_steps=5,
    verbosity_level=0,
)
print(agent.run("Will it rain in Paris?"))
