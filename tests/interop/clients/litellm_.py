"""LiteLLM."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
import json
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches a list

import litellm
from cells import ASK, TRIP, URL, key_for, run, weather
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = [{"type": "function", "function": {"name": "weather", "description": "Look up.", "parameters": PARAMETERS}}]


def complete(content: str, name: str = "agent", **more: Any) -> Any:
    asked = {"messages": [{"role": "user", "content": content}], **more}
    return litellm.completion(f"openai/{name}", api_base=URL, api_key=key_for(name), **asked)


def text() -> str:
    return complete(ASK).choices[0].message.content


def stream() -> list[str]:
    return [chunk.choices[0].delta.content or "" for chunk in complete(ASK, stream=True)]


def tools() -> str:
    """The loop is by hand: this client has none."""
    messages = [{"role": "user", "content": ASK}]
    while True:
        message = complete("", messages=messages, tools=WEATHER).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def structured(name: str = "agent") -> dict[str, Any]:
    return json.loads(complete(TRIP, name, response_format=Trip).choices[0].message.content)


run(
    "litellm",
    lambda name: complete(ASK, name),
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
