"""Simon Willison's `llm`."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
import json
from typing import Any

from cells import ASK, TRIP, URL, key_for, run, weather
from llm.default_plugins.openai_models import Chat
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


def model(name: str = "agent") -> Chat:
    chat = Chat(name, model_name=name, api_base=URL, supports_tools=True, supports_schema=True)
    chat.key = key_for(name)
    return chat


def text() -> str:
    return model().prompt(ASK, stream=False).text()


def stream() -> list[str]:
    return list(model().prompt(ASK, stream=True))


def tools() -> str:
    return model().chain(ASK, tools=[weather]).text()


def structured(name: str = "agent") -> dict[str, Any]:
    answers = [json.loads(model(name).prompt(TRIP, schema=Trip, stream=stream).text()) for stream in (False, True)]
    assert answers[0] == answers[1], answers
    return answers[0]


run(
    "llm",
    lambda name: model(name).prompt(ASK, stream=False).text(),
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
