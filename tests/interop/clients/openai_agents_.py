"""OpenAI's Agents SDK."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from cells import ASK, TRIP, URL, key_for, run, weather
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(disabled=True)


class Trip(BaseModel):
    city: str
    days: int


def agent(name: str = "agent", **more: Any) -> Agent:
    client = AsyncOpenAI(base_url=URL, api_key=key_for(name))
    return Agent(name="client", model=OpenAIChatCompletionsModel(name, client), **more)


async def answer(prompt: str, **more: Any) -> Any:
    return (await Runner.run(agent(**more), prompt)).final_output


async def text() -> str:
    return await answer(ASK)


async def stream() -> list[str]:
    events = Runner.run_streamed(agent(), ASK).stream_events()
    pieces: list[Any] = [getattr(event, "data", None) async for event in events]
    return [piece.delta for piece in pieces if getattr(piece, "type", "") == "response.output_text.delta"]


async def tools() -> str:
    streamed = Runner.run_streamed(agent(tools=[function_tool(weather)]), ASK)
    assert [event async for event in streamed.stream_events()]
    plain = await answer(ASK, tools=[function_tool(weather)])
    assert plain == streamed.final_output
    return plain


async def structured(name: str = "agent") -> dict[str, Any]:
    return (await answer(TRIP, name=name, output_type=Trip)).model_dump()


async def ask(name: str) -> Any:
    return await answer(ASK, name=name)


run(
    "openai-agents",
    ask,
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
