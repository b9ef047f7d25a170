"""LangChain with `langchain-openai`."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false
from typing import Any

from cells import ASK, TRIP, URL, key_for, run, weather
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int


def model(name: str = "agent") -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=URL, api_key=key_for(name))


def text() -> str:
    return model().invoke(ASK).content


def stream() -> list[str]:
    return [chunk.content for chunk in model().stream(ASK)]


def tools() -> str:
    question = {"messages": [{"role": "user", "content": ASK}]}
    agent = create_agent(model(), [weather])
    text = agent.invoke(question)["messages"][-1].content
    pieces = [piece.content for piece, _ in agent.stream(question, stream_mode="messages") if piece.type != "tool"]
    assert "".join(pieces) == text, pieces
    return text


def structured(name: str = "agent") -> dict[str, Any]:
    """By the response format, by a tool, and by an agent in both ways."""
    messages = {"messages": [{"role": "user", "content": TRIP}]}
    answers = [
        model(name).with_structured_output(Trip).invoke(TRIP),
        model(name).with_structured_output(Trip, method="function_calling").invoke(TRIP),
        create_agent(model(name), [], response_format=ToolStrategy(Trip)).invoke(messages)["structured_response"],
        create_agent(model(name), [], response_format=Trip).invoke(messages)["structured_response"],
    ]
    assert answers == answers[:1] * 4, answers
    return answers[0].model_dump()


def ask(name: str) -> Any:
    return model(name).invoke(ASK)


run(
    "langchain-openai",
    ask,
    text=text,
    stream=stream,
    tools=tools,
    structured=structured,
    typed=lambda: structured("typed"),
)
