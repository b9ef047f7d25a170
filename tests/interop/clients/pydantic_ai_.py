"""pydantic-ai."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from typing import Any

from cells import ASK, TRIP, URL, key_for, run, weather
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Trip(BaseModel):
    city: str
    days: int


def model(name: str = "agent") -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=URL, api_key=key_for(name)))


def text() -> str:
    return Agent(model()).run_sync(ASK).output


async def stream() -> list[str]:
    async with Agent(model()).run_stream(ASK) as result:
        return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]


async def tools() -> str:
    agent = Agent(model(), tools=[weather])
    async with agent.run_stream(ASK) as streamed:
        text = await streamed.get_output()
    assert (await agent.run(ASK)).output == text
    return text


def structured(name: str = "agent") -> dict[str, Any]:
    """By a tool, by the response format, and by the prompt."""
    kinds = (Trip, NativeOutput(Trip), PromptedOutput(Trip))
    answers = [Agent(model(name), output_type=kind).run_sync(TRIP).output for kind in kinds]
    assert answers == answers[:1] * 3, answers
    return answers[0].model_dump()


def ask(name: str) -> Any:
    return Agent(model(name)).run_sync(ASK).output


run(
    "pydantic-ai-slim",
    ask,
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
