"""The official Python client. It has no tool loop, so that one is by hand."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
import json
from typing import Any

import openai
from cells import ASK, KEY, TRIP, URL, key_for, run, weather
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


class Weather(BaseModel):
    city: str


client: Any = openai.OpenAI(base_url=URL, api_key=KEY)
QUESTION = [{"role": "user", "content": ASK}]
WEATHER = [openai.pydantic_function_tool(Weather, name="weather", description="Look up the weather.")]


def text() -> str | None:
    return client.chat.completions.create(model="agent", messages=QUESTION).choices[0].message.content


def stream() -> list[str]:
    chunks = client.chat.completions.create(model="agent", messages=QUESTION, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def tools() -> str:
    messages = list(QUESTION)
    while True:
        message = client.chat.completions.parse(model="agent", messages=messages, tools=WEATHER).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured(name: str = "agent") -> dict[str, Any]:
    asked = {"model": name, "messages": [{"role": "user", "content": TRIP}], "response_format": Trip}
    with client.chat.completions.stream(**asked) as streamed:
        final = streamed.get_final_completion().choices[0].message.parsed
    parsed = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert parsed == final
    return final.model_dump()


def ask(model: str) -> Any:
    other: Any = openai.OpenAI(base_url=URL, api_key=key_for(model))
    return other.chat.completions.create(model=model, messages=QUESTION)


run("openai", ask, text=text, stream=stream, tools=tools, structured=structured, typed=lambda: structured("typed"))
