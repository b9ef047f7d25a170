"""LlamaIndex with `llama-index-llms-openai-like`."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from typing import Any

from cells import ASK, TRIP, URL, key_for, run, weather
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int


def model(name: str = "agent", **more: Any) -> OpenAILike:
    options = {"is_chat_model": True, "is_function_calling_model": True, **more}
    return OpenAILike(name, api_base=URL, api_key=key_for(name), **options)


def text() -> str:
    return model().complete(ASK).text


def stream() -> list[str]:
    return [piece.delta or "" for piece in model().stream_complete(ASK)]


async def tools() -> str:
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=model())
    return str(await agent.run(ASK))


def structured(name: str = "agent") -> dict[str, Any]:
    """By a tool, and by the response format."""
    models = (model(name), model(name, should_use_structured_outputs=True))
    answers = [each.as_structured_llm(Trip).complete(TRIP).raw.model_dump() for each in models]
    assert answers[0] == answers[1], answers
    return answers[0]


run(
    "llama-index-llms-openai-like",
    lambda name: model(name).complete(ASK).text,
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
