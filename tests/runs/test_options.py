"""The options of one run, on every door."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentkit import Agent, Input, LimitReached, Limits, Settings, UserMessage, approve, tool
from agentkit.core.chat import settings_of
from agentkit.core.errors import ConfigurationError, InvalidRequest
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio

OWN: dict[str, Any] = {"settings": {"temperature": 0, "seed": 7}, "limits": Limits(steps=1)}
SENT = Settings(temperature=0, max_tokens=50, seed=7, extra={"safe": True})


@tool
def look(place: str) -> str:
    return place


@tool(approval=True)
def pay() -> str:
    return "paid"


async def plain(agent: Agent, **options: Any) -> object:
    return await agent.run("Hi", **options)


async def streamed(agent: Agent, **options: Any) -> object:
    async with agent.stream("Hi", **options) as run:
        _ = [event async for event in run]
    return run.result


async def resumed(agent: Agent, **options: Any) -> object:
    (call,) = (waiting := called(("pay", {}))).tool_calls
    return await agent.resume([UserMessage("Pay."), waiting], [approve(call)], **options)


async def mapped(agent: Agent, **options: Any) -> object:
    return (await agent.map(["Hi"], progress=False, **options)).outputs[0]


async def one_input(agent: Agent, **options: Any) -> object:
    return (await agent.map([Input("Hi", **options)], progress=False)).outputs[0]


async def as_a_tool(agent: Agent, **options: Any) -> object:
    caller = Scripted(called(("ask", {"prompt": "Hi"})), said("Asked."))
    return await Agent(caller, tools=[agent.as_tool("ask", "Asks.", **options)]).run("Hi")


DOORS: list[Callable[..., Awaitable[object]]] = [
    plain,
    streamed,
    resumed,
    mapped,
    one_input,
    as_a_tool,
]


@pytest.mark.parametrize("door", DOORS)
async def test_a_run_has_its_own_model_settings_and_limits(door: Callable[..., Awaitable[object]]) -> None:
    usual, other = Scripted(said("Usual.")), Scripted(said("Other."))
    agent = Agent(usual, tools=[look, pay], settings=Settings(temperature=1, max_tokens=50, extra={"safe": True}))
    await door(agent, model=other, **OWN)
    assert [request.settings for request in other.requests] == [SENT]
    assert usual.requests == []
    await door(agent)
    assert usual.requests[0].settings == agent.plan.settings


async def test_the_limits_are_those_of_the_run() -> None:
    agent = Agent(Scripted(called(("look", {"place": "Rome"})), said("Done.")), tools=[look])
    with pytest.raises(LimitReached):
        await agent.run("Hi", limits=Limits(steps=1))
    assert (await agent.run("Hi")).output == "Done."


async def test_several_answers_of_one_run_are_selected_from() -> None:
    agent = Agent(Scripted(said("One.")))
    assert (await agent.run("Hi", settings=Settings(n=2))).output == "One."
    several = Agent(Scripted(said("One.")), settings=Settings(n=3))
    assert (await several.run("Hi", settings={"n": 1})).output == "One."


def test_settings_from_a_mapping() -> None:
    assert settings_of({"temperature": 0, "seed": 7, "top_k": 4, "extra": {"a": 1}}) == Settings(
        temperature=0, seed=7, extra={"a": 1, "top_k": 4}
    )
    assert Settings(temperature=1, n=2).merged(Settings(temperature=0)) == Settings(temperature=0, n=2)
    with pytest.raises(InvalidRequest):
        settings_of({"temperature": 9})
    nothing: Any = 5
    with pytest.raises(ConfigurationError):
        settings_of(nothing)
