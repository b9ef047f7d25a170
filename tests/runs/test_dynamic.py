"""Instructions, settings and tools from functions."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit import (
    Agent,
    ChatClient,
    ConfigurationError,
    DeveloperMessage,
    Limits,
    Memory,
    PolicyContradiction,
    Settings,
    State,
    SystemMessage,
    Toolbox,
    ToolMessage,
    UserMessage,
    approve,
    tool,
)
from agentkit.core.repair import NEVER_RAN
from agentkit.runs.dynamic import instructed
from agentkit.testing import assert_that
from agentkit.tool_choice import analyse, before_answer, budget, first, force, relevant
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


# -------------------------------------------------------------------------------------------------------------- tools


@tool
def login(name: str) -> str:
    return f"{name} is in"


@tool(approval=True)
def remove(place: str) -> str:
    return "removed"


@tool(ends=True)
def done(place: str) -> str:
    return place


def by_login(state: State) -> list[Any]:
    return [look, remove] if state.conversation.succeeded("login") else [login]


async def slowly(state: State) -> list[Any]:
    return by_login(state)


LOGIN = called(("login", {"name": "Ann"}))
LOOK = called(("look", {"place": "Rome"}))


def offered(model: Scripted) -> list[list[str]]:
    return [[spec.name for spec in request.tools] for request in model.requests]


@pytest.mark.parametrize("tools", [by_login, slowly])
async def test_tools_are_asked_for_before_each_request(tools: Any) -> None:
    """The calls of a reply have the tools of its request, whatever the function would give now."""
    model = Scripted(LOOK, LOGIN, LOOK, said("Done."))
    result = await Agent(model, tools=tools).run("Hi")
    assert offered(model) == [["login"], ["login"], ["look", "remove"], ["look", "remove"]]
    assert [(message.outcome, message.content[:14]) for message in result.messages if isinstance(message, ToolMessage)] == [
        ("error", "There is no to"), ("ok", "Ann is in"), ("ok", "Rome"),
    ]  # fmt: skip


async def test_the_function_is_asked_once_for_a_request_and_its_calls() -> None:
    asked: list[int] = []

    def give(state: State) -> Any:
        asked.append(len(state.messages))
        assert state.deps == "Ann"
        return Toolbox([look]) if len(asked) < 3 else {look}

    model = Scripted(LOOK, said(""), said("Done."))
    await Agent(model, tools=give, deps_type=str).run("Hi", deps="Ann")
    assert asked == [1, 3, 5]


async def test_a_policy_holds_for_the_tools_of_each_request() -> None:
    model = Scripted(LOGIN, LOOK, LOOK, said("Done."))
    agent = Agent(model, tools=by_login, tool_choice=first(force(login)) & before_answer(look) & budget(1, of=look))
    result = await agent.run("Hi")
    assert [str(step.choice).split(",")[0] for step in result.steps][:2] == ["login", "required"]
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == [
        "ok",
        "ok",
        "refused",
    ]
    with pytest.raises(PolicyContradiction):
        await agent.run("Hi", tool_choice=force("look") & budget(3))
    with pytest.raises(ConfigurationError, match="never answer"):
        Agent(model, tools=by_login, tool_choice="required")


async def test_a_paused_call_of_such_a_tool_resumes_and_one_left_open_did_not_run() -> None:
    def give(state: State) -> list[Any]:
        assert state.deps == "Ann"
        return by_login(state)

    model = Scripted(LOGIN, called(("remove", {"place": "Rome"})), said("Done."))
    agent, session = Agent(model, tools=give, deps_type=str), Memory()
    paused = await agent.run("Hi", session=session, deps="Ann")
    assert [call.name for call in paused.pending] == ["remove"]
    resumed = await agent.resume(paused.messages, [approve(call) for call in paused.pending], deps="Ann")
    assert (resumed.output, resumed.messages[-2].content) == ("Done.", "removed")
    await agent.run("Never mind.", session=session, deps="Ann")
    assert model.requests[-1].messages[-2].content == NEVER_RAN


async def test_a_typed_answer_and_a_tool_that_ends_the_run() -> None:
    model = Scripted(LOOK, called(("final_answer", {"answer": 5})))
    result = await Agent(model, tools=lambda _: [look], output=int).run("Hi")
    assert (result.output, offered(model)[0]) == (5, ["final_answer", "look"])
    ending = called(("done", {"place": "Rome"}))
    assert (await Agent(Scripted(ending), tools=lambda _: [done], stop_at="done").run("Hi")).output == "Rome"
    with pytest.raises(ConfigurationError, match="stop_at='done'"):
        await Agent(Scripted(ending), tools=lambda _: [done]).run("Hi")


async def test_what_a_policy_brings_and_a_truncated_result_come_with_them() -> None:
    model = Scripted(called(("look", {"place": "x" * 300})), said("Done."))
    agent = Agent(model, tools=lambda _: [look], tool_choice=relevant(3), limits=Limits(result=100))
    await agent.run("look at a place")
    assert [sorted(spec.name for spec in request.all_tools) for request in model.requests] == [
        ["find_tools", "look"], ["find_tools", "look", "read_result"],
    ]  # fmt: skip


async def test_tools_that_cannot_be_are_refused() -> None:
    def wrong(_: State) -> Any:
        return 5

    def no_state(place: str) -> Any: ...

    with pytest.raises(ConfigurationError, match="not a list of tools"):
        await Agent(Scripted(said("x")), tools=wrong).run("Hi")
    for tools in (look, no_state, 5):
        with pytest.raises(ConfigurationError, match="list of functions"):
            Agent(Scripted(said("x")), tools=wrong(None) if tools == 5 else tools)  # type: ignore[arg-type]
    agent = Agent(Scripted(said("x")), tools=by_login)
    for ask in (lambda: agent.tools, lambda: analyse(agent), lambda: assert_that(agent).every_tool_reachable()):
        with pytest.raises(ConfigurationError, match="a function gives"):
            ask()
    assert "by_login" not in repr(agent)


def test_a_dry_run_has_the_tools_of_the_first_request() -> None:
    client = ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key="")
    body = json.loads(Agent(client, tools=slowly).dry_run("Hi").body)
    assert [spec["function"]["name"] for spec in body["tools"]] == ["login"]
