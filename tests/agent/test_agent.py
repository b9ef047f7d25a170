import asyncio
import threading
from typing import Any, Literal

import pytest
import trio
from anyio import to_thread

from agentkit import (
    Agent,
    ChatClient,
    ConfigurationError,
    Event,
    Input,
    InvalidRequest,
    Memory,
    Result,
    Settings,
    TextDelta,
    Tool,
    tool,
)
from agentkit.core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.tool_choice import first, no_repeat, permitted, where
from tests.endpoint import Endpoint, calls, serving, text
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, Any]:
    """Look up the current weather."""
    return {"city": city, "temperature": 18.0, "unit": unit}


PARIS = calls(("get_weather", {"city": "Paris"}), content="Let me look.")
RESULT = '{"city":"Paris","temperature":18.0,"unit":"celsius"}'
CALL = {
    "id": "call_get_weather_0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
EVENTS = "RunStarted StepStarted StepFinished ToolStarted ToolFinished StepStarted StepFinished RunFinished"


def agent_at(endpoint: Endpoint, **options: Any) -> Agent:
    return Agent(ChatClient("m", base_url=endpoint.url, api_key="sk-test"), tools=[get_weather], **options)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_its_result_and_an_answer(*, streamed: bool) -> None:
    observed: list[Event] = []
    with serving(PARIS, text("It is 18 degrees.")) as endpoint:
        agent = agent_at(
            endpoint, instructions="Be brief.", settings=Settings(temperature=0.5), observers=[observed.append]
        )
        if streamed:
            async with agent.stream("Weather?") as run:
                assert [event async for event in run] == observed
            result = run.result
        else:
            result = await agent.run("Weather?")
    assert (result.output, result.stop) == ("It is 18 degrees.", "answer")
    assert result.messages == (
        SystemMessage("Be brief."),
        UserMessage("Weather?"),
        AssistantMessage("Let me look.", (ToolCall("call_get_weather_0", "get_weather", '{"city": "Paris"}'),)),
        ToolMessage("call_get_weather_0", RESULT),
        AssistantMessage("It is 18 degrees."),
    )
    assert result.new_messages == result.messages[2:]
    assert (result.usage.requests, result.usage.prompt_tokens, result.usage.total_tokens) == (2, 20, 30)
    assert [step.finish_reason for step in result.steps] == ["tool_calls", "stop"]
    # Its events.
    assert [type(event).__name__ for event in observed if not isinstance(event, TextDelta)] == EVENTS.split()
    pieces = [event.text for event in observed if isinstance(event, TextDelta)]
    assert pieces == (["Let", " me", " look.", "It", " is", " 18", " degrees."] if streamed else [])
    assert len({event.run_id for event in observed}) == 1
    # Its requests.
    sent = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
    (spec,) = endpoint.requests[0].pop("tools")
    assert (spec["function"]["name"], [*spec["function"]["parameters"]["properties"]]) == (
        "get_weather",
        ["city", "unit"],
    )
    assert endpoint.requests[0] == {
        "model": "m",
        "messages": sent,
        "tool_choice": "auto",
        "temperature": 0.5,
        **({"stream": True, "stream_options": {"include_usage": True}} if streamed else {}),
    }
    assert endpoint.requests[1]["messages"] == [
        *sent,
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_get_weather_0", "content": RESULT},
    ]
    assert endpoint.headers[0]["authorization"] == "Bearer sk-test"
    assert endpoint.connections == 1
    # The second request begins with the bytes of the first, so that the endpoint's cache holds.
    assert endpoint.bodies[1].startswith(endpoint.bodies[0].split(b'],"tools"')[0])


async def test_an_agent_with_another_model_or_name() -> None:
    agent = Agent(Scripted(said("first")), tools=[get_weather], instructions="Be kind.", name="bot")
    other = Scripted(said("second"))
    copy = agent.with_model(other)
    assert [(await one.run("Hello?")).output for one in (agent, copy)] == ["first", "second"]
    assert (copy.name, copy.tools) == ("bot", agent.tools)
    assert (copy.with_name("other").name, copy.name) == ("other", "bot")
    assert other.requests[0].messages[0] == SystemMessage("Be kind.")


async def test_an_agent_with_more_observers() -> None:
    seen: list[str] = []
    agent = Agent(Scripted(said("Hi.")), observers=[lambda event: seen.append("one")])
    watched = agent.with_observers(lambda event: seen.append("other"))
    await watched.run("Hello?")
    assert seen == ["one", "other"] * (len(seen) // 2) != []
    seen.clear()
    await agent.run("Hello?")
    assert set(seen) == {"one"}

    async def late(event: object) -> None:
        """Do nothing."""

    with pytest.raises(ConfigurationError):
        agent.with_observers(late)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("history", "roles"),
    [
        ("Hi", "system user"),
        (UserMessage("Hi"), "system user"),
        ([UserMessage("Hi"), AssistantMessage("Hello"), UserMessage("How?")], "system user assistant user"),
        ([SystemMessage("Be kind."), UserMessage("Hi")], "system user"),
        ([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "developer user"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "system user"),
        (
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
            "system user assistant tool",  # calls without results run first
        ),
        ([UserMessage("Hi"), AssistantMessage("Hello")], None),  # the run is over
    ],
)
async def test_a_history_continues(history: Any, roles: str | None) -> None:
    model = Scripted(said("Hello"))
    result = await Agent(model, tools=[get_weather], instructions="Be kind.").run(history)
    assert result.output == "Hello"
    sent = [" ".join(str(message.to_dict()["role"]) for message in request.messages) for request in model.requests]
    assert sent == ([] if roles is None else [roles])
    assert len(result.steps) == len(sent)


@pytest.mark.parametrize("prompt", [None, [], [5], [{"role": "wizard"}], [{"role": "user", "content": 5}]])
async def test_a_prompt_that_is_no_history_is_refused_before_anything_happens(prompt: Any) -> None:
    model, events = Scripted(said("unused")), list[Event]()
    agent = Agent(model, observers=[events.append])
    with pytest.raises(InvalidRequest):
        await agent.run(prompt)
    for start in (agent.run_sync, agent.stream):
        with pytest.raises(InvalidRequest):
            start(prompt)
    assert (model.requests, events) == ([], [])


def test_one_agent_in_any_event_loop_thread_and_without_one() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        city, last = request["messages"][0]["content"], request["messages"][-1]
        return text(f"{city}: {last['content']}") if last["role"] == "tool" else calls(("get_weather", {"city": city}))

    outputs: dict[str, str] = {}
    with serving(reply) as endpoint:
        agent = agent_at(endpoint)

        async def ask(city: str) -> None:
            outputs[city] = (await agent.run(city)).output

        async def ask_blocking(city: str) -> None:
            outputs[city] = agent.run_sync(city).output

        asyncio.run(ask("Oslo"))
        trio.run(ask, "Rome")
        asyncio.run(ask("Bern"))
        asyncio.run(ask_blocking("Bonn"))
        trio.run(ask_blocking, "Cork")
        cities = [f"city {number}" for number in range(6)]
        threads = [threading.Thread(target=trio.run, args=(ask_blocking, city)) for city in cities]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outputs.keys() == {"Oslo", "Rome", "Bern", "Bonn", "Cork", *cities}
    for city, output in outputs.items():
        assert output.startswith(f'{city}: {{"city":"{city}"')


def test_many_inputs_without_an_event_loop() -> None:
    batch = Agent(Scripted(said("Hi."))).map_sync(["Hello", "Hello again"])
    assert [outcome.result.output for outcome in batch if outcome.result] == ["Hi.", "Hi."]


def test_an_agent_is_frozen_and_says_what_it_is() -> None:
    agent = Agent(ChatClient("m", base_url="http://127.0.0.1:1", api_key="sk-secret"), tools=[get_weather])
    with pytest.raises(AttributeError):
        agent._plan = agent._plan
    for word in ("ChatClient('m'", "get_weather", "auto & no_repeat(5)"):
        assert word in repr(agent)
    assert "secret" not in repr(agent)
    assert agent.tools.names == {"get_weather"}

    class Labelled(Agent):
        def __init__(self) -> None:
            self.label = "mine"  # before it is frozen
            super().__init__(Scripted())

    assert Labelled().label == "mine"


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ({}, "auto & no_repeat(5)"),
        ({"tool_choice": first(get_weather)}, "first(force('get_weather')) & no_repeat(5)"),
        ({"tool_choice": no_repeat(8)}, "no_repeat(8)"),
        ({"tool_choice": first("none", then=no_repeat(2))}, "first(none, then=no_repeat(2))"),
        ({"max_repeats": None}, "auto"),
    ],
)
def test_a_guard_of_your_own_replaces_the_usual_one(options: dict[str, Any], policy: str) -> None:
    assert repr(Agent(Scripted(), tools=[get_weather], **options).tool_choice) == policy


async def test_a_function_that_is_a_tool_is_no_policy() -> None:
    def search(query: str) -> str:
        return f"found {query}"

    model = Scripted(called(("search", {"query": "x"})), said("done"))
    await Agent(model, tools=[search], tool_choice=first(search)).run("go")
    assert [str(request.tool_choice) for request in model.requests] == ["search", "auto"]


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
