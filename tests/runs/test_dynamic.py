"""Instructions and settings from functions."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit import (
    Agent,
    ChatClient,
    ConfigurationError,
    DeveloperMessage,
    Settings,
    State,
    SystemMessage,
    UserMessage,
    tool,
)
from agentkit.runs.dynamic import instructed
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@dataclass
class User:
    name: str


@tool
def look(place: str) -> str:
    return place


def greet(state: State) -> str:
    assert isinstance(state.deps, User)
    return f"Greet {state.deps.name}. Step {len(state.steps)}."


async def slow(state: State) -> str:
    return greet(state)


def systems(model: Scripted) -> list[str]:
    return [str(request.messages[0].content) for request in model.requests]


@pytest.mark.parametrize("instructions", [greet, slow])
async def test_instructions_are_asked_for_before_each_request(instructions: Any) -> None:
    model = Scripted(called(("look", {"place": "Rome"})), said("Done."))
    agent = Agent(model, tools=[look], instructions=instructions, deps_type=User)
    result = await agent.run("Hi", deps=User("Ann"))
    assert systems(model) == ["Greet Ann. Step 0.", "Greet Ann. Step 1."]
    assert [type(message).__name__ for message in result.messages] == [
        "UserMessage", "AssistantMessage", "ToolMessage", "AssistantMessage",
    ]  # fmt: skip
    await agent.run([*result.messages, UserMessage("And?")], deps=User("Bob"))
    assert systems(model)[-1] == "Greet Bob. Step 0."


async def test_no_instructions_for_a_request() -> None:
    model = Scripted(said("Done."))
    await Agent(model, instructions=lambda _: "").run("Hi")
    assert model.requests[0].messages == (UserMessage("Hi"),)


async def test_a_system_prompt_of_the_history_follows() -> None:
    model = Scripted(said("Done."))
    await Agent(model, instructions=lambda _: "Be brief.").run([SystemMessage("Sell shoes."), UserMessage("Hi")])
    assert systems(model) == ["Be brief.\n\nSell shoes."]
    own = SystemMessage("Be brief.")
    assert instructed(own, ()) == (own,)
    assert instructed(own, (DeveloperMessage("x"),)) == (SystemMessage("Be brief.\n\nx"),)


async def test_settings_are_asked_for_and_those_of_a_run_replace_them() -> None:
    async def cooler(state: State) -> dict[str, object]:
        return {"temperature": 1 - len(state.steps), "max_tokens": 50}

    model = Scripted(called(("look", {"place": "Rome"})), said("Done."))
    agent = Agent(model, tools=[look], instructions="Be brief.", settings=cooler)
    await agent.run("Hi", settings=Settings(max_tokens=9))
    assert [request.settings for request in model.requests] == [
        Settings(temperature=1, max_tokens=9),
        Settings(temperature=0, max_tokens=9),
    ]
    assert systems(model) == ["Be brief.", "Be brief."]


def test_a_dry_run_asks_too() -> None:
    client = ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key="")
    agent = Agent(client, instructions=lambda state: f"{len(state.messages)} message.", settings=lambda _: {"n": 2})
    body = json.loads(agent.dry_run("Hi").body)
    assert (body["messages"][0]["content"], body["n"]) == ("1 message.", 2)


async def test_what_a_function_returns_is_checked() -> None:
    def wrong(_: State) -> Any:
        return 5

    model = Scripted(said("x"))
    for agent in (Agent(model, instructions=wrong), Agent(model, settings=wrong)):
        with pytest.raises(ConfigurationError):
            await agent.run("Hi")
    with pytest.raises(ConfigurationError):
        Agent(Scripted(said("x")), instructions=wrong(State(())))
