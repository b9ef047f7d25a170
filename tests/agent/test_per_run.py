"""A run with a policy of its own, started in every way that there is."""

from typing import Any

import pytest
from anyio import to_thread

from agentkit import Agent, ConfigurationError, Input, Memory, Result, Tool, ToolMessage, tool
from agentkit.tool_choice import first, no_repeat, permitted, where
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio

WAYS = ["run", "run_sync", "stream", "resume", "map", "map of inputs", "session"]


async def by(way: str, agent: Agent[Any, Any], tool_choice: Any) -> Result[Any]:
    if way == "run_sync":
        return await to_thread.run_sync(lambda: agent.run_sync("go", tool_choice=tool_choice))
    if way == "stream":
        async with agent.stream("go", tool_choice=tool_choice) as run:
            assert [event async for event in run]
        return run.result
    if way == "resume":
        return await agent.resume("go", [], tool_choice=tool_choice)
    if way == "map":
        (outcome,) = await agent.map(["go"], tool_choice=tool_choice)
        assert outcome.result is not None
        return outcome.result
    if way == "map of inputs":
        (outcome,) = await agent.map([Input("go", tool_choice=tool_choice)], tool_choice="none")
        assert outcome.result is not None
        return outcome.result
    session = Memory() if way == "session" else None
    return await agent.run("go", session=session, tool_choice=tool_choice)


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_may_have_a_policy_of_its_own(way: str) -> None:
    @tool
    def look(n: int = 0) -> str:
        return str(n)

    agent = Agent(Scripted(called(("look", {"n": 1})), said("done")), tools=[look], tool_choice="none", max_repeats=3)
    result = await by(way, agent, first(look))
    assert [step.policy for step in result.steps] == ["first(force('look')) & no_repeat(3)"] * 2
    assert [step.choice.mode for step in result.steps] == ["tool", "auto"]
    assert agent.tool_choice == "none" & no_repeat(3)


async def test_a_policy_of_a_run_must_fit_the_agent() -> None:
    agent = Agent(Scripted(said("done")), tools=[])
    with pytest.raises(ConfigurationError, match="teleport"):
        await agent.run("go", tool_choice=first("teleport"))
    with pytest.raises(ConfigurationError, match="could never answer"):
        agent.stream("go", tool_choice="required")
    with pytest.raises(ConfigurationError):
        agent.map(["go"], tool_choice="required")


async def test_a_policy_of_a_run_goes_with_a_structured_output() -> None:
    @tool
    def look(n: int) -> str:
        return str(n)

    model = Scripted(called(("look", {"n": 1})), called(("look", {"n": 2})), called(("final_answer", {"answer": 3})))
    agent = Agent(model, tools=[look], output=int)
    result = await agent.run("go", tool_choice=where(look, lambda call, _: call["n"] > 1) & permitted(is_look))
    assert result.output == 3
    outcomes = [message.outcome for message in result.messages if isinstance(message, ToolMessage)]
    assert outcomes == ["refused", "ok", "ok"]


def is_look(deps: object, of: Tool) -> bool:
    return of.name == "look"
