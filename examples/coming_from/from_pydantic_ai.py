"""Tools that know the user."""

from dataclasses import dataclass

from agentkit import Agent, ToolContext, tool


@dataclass
class Deps:
    user: str


@tool
def get_weather(ctx: ToolContext[Deps], city: str) -> str:
    """Look up the current weather in a city."""
    return f"{ctx.deps.user}, light rain in {city}"


agent = Agent(
    "m",
    tools=[get_weather],
    deps_type=Deps,
    instructions="Be brief.",
)
result = agent.run_sync("Will it rain in Paris?", deps=Deps("Ann"))
print(result.output)
