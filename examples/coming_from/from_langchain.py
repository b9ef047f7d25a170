"""A thread of its own for each user."""

from agentkit import Agent, Memory, Settings, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = Agent(
    "m",
    tools=[get_weather],
    instructions="Be brief.",
    settings=Settings(temperature=0),
)
threads = {"ann": Memory()}
result = agent.run_sync(
    "Will it rain in Paris?",
    session=threads["ann"],
)
print(result.output)
