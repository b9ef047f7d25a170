"""Tools that know the user."""

from dataclasses import dataclass

from pydantic_ai import Agent, RunContext
from pydantic_ai.models.openai import OpenAIChatModel


@dataclass
class Deps:
    user: str


agent = Agent(
    OpenAIChatModel("m"),
    deps_type=Deps,
    instructions="Be brief.",
)


@agent.tool
def get_weather(ctx: RunContext[Deps], city: str) -> str:
    """Look up the current weather in a city."""
    return f"{ctx.deps.user}, light rain in {city}"


result = agent.run_sync("Will it rain in Paris?", deps=Deps("Ann"))
print(result.output)
