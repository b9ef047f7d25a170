"""smolagents."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
import json
from typing import Any

from cells import ASK, TRIP, URL, key_for, run, weather
from smolagents import OpenAIServerModel, ToolCallingAgent, models, tool

models.RETRY_WAIT = 1  # after a 429, a minute by default
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def model(name: str = "agent") -> OpenAIServerModel:
    return OpenAIServerModel(name, api_base=URL, api_key=key_for(name))


def question(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": content}]}]


def text() -> str:
    return model().generate(question(ASK)).content


def stream() -> list[str]:
    return [delta.content or "" for delta in model().generate_stream(question(ASK))]


def tools() -> str:
    """Its agents require a call in each step; the last one is of `final_answer`."""
    return ToolCallingAgent(tools=[tool(weather)], model=model(), verbosity_level=0).run(ASK)


def structured(name: str = "agent") -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}
    return json.loads(model(name).generate(question(TRIP), response_format=form).content)


def ask(name: str) -> Any:
    return model(name).generate(question(ASK)).content


run("smolagents", ask, text=text, stream=stream, tools=tools, structured=structured, typed=lambda: structured("typed"))
