"""Instructor. It has no tool loop."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from typing import Any

import instructor
from cells import ASK, TRIP, URL, key_for, run
from openai import OpenAI
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


def create(content: str, name: str = "agent", mode: instructor.Mode = instructor.Mode.TOOLS, **more: Any) -> Any:
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=key_for(name)), mode=mode)
    return client.chat.completions.create(model=name, messages=[{"role": "user", "content": content}], **more)


def text() -> str:
    return create(ASK, response_model=None).choices[0].message.content


def stream() -> list[str]:
    chunks = create(ASK, response_model=None, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def structured(name: str = "agent") -> dict[str, Any]:
    """By a tool, by the response format with and without a schema, and streamed."""
    modes = (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON)
    answers = [create(TRIP, name, mode, response_model=Trip).model_dump() for mode in modes]
    answers.append(list(create(TRIP, name, response_model=instructor.Partial[Trip], stream=True))[-1].model_dump())
    assert answers == answers[:1] * 4, answers
    return answers[0]


run(
    "instructor",
    lambda name: create(ASK, name, response_model=Trip),
    text=text,
    stream=stream,
    structured=structured,
    typed=lambda: structured("typed"),
)
