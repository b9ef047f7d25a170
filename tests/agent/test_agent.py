import asyncio
import re
import threading
from typing import Any, Literal

import anyio
import pytest
import trio

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatClient,
    ConfigurationError,
    Event,
    InvalidRequest,
    LimitReached,
    Limits,
    RunFinished,
    RunStarted,
    Settings,
    State,
    StepFinished,
    StepStarted,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolMessage,
    ToolStarted,
    UserMessage,
    tool,
)
from agentkit.tool_choice import first, no_repeat
from tests.endpoint import Endpoint, calls, serving, text

pytestmark = pytest.mark.anyio


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, Any]:
    """Look up the current weather.

    Args:
        city: City name.
        unit: Temperature unit.
    """
    return {"city": city, "temperature": 18.0, "unit": unit}


PARIS = calls(("get_weather", {"city": "Paris"}))
RESULT = '{"city":"Paris","temperature":18.0,"unit":"celsius"}'


def agent_at(endpoint: Endpoint, **options: Any) -> Agent:
    return Agent(ChatClient("m", base_url=endpoint.url, api_key="sk-test"), tools=[get_weather], **options)


async def test_a_question_a_call_its_result_and_an_answer() -> None:
    with serving(PARIS, text("It is 18 degrees.")) as endpoint:
        result = await agent_at(endpoint).run("What is the weather in Paris?")
    assert result.output == "It is 18 degrees."
    assert result.stop == "answer"
    assert result.messages == (
        UserMessage("What is the weather in Paris?"),
        AssistantMessage(tool_calls=(ToolCall("call_get_weather_0", "get_weather", '{"city": "Paris"}'),)),
        ToolMessage("call_get_weather_0", RESULT),
        AssistantMessage("It is 18 degrees."),
    )
    assert result.new_messages == result.messages[1:]
    assert (result.usage.requests, result.usage.prompt_tokens, result.usage.total_tokens) == (2, 20, 30)
    assert [step.finish_reason for step in result.steps] == ["tool_calls", "stop"]


async def test_what_goes_over_the_wire() -> None:
    with serving(PARIS, text("18")) as endpoint:
        await agent_at(endpoint, instructions="Be brief.", settings=Settings(temperature=0.5)).run("Weather in Paris?")
    first, second = endpoint.requests
    assert first == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Look up the current weather.",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "description": "City name."},
                            "unit": {
                                "enum": ["celsius", "fahrenheit"],
                                "type": "string",
                                "description": "Temperature unit.",
                                "default": "celsius",
                            },
                        },
                        "required": ["city"],
                        "additionalProperties": False,
                    },
                },
            }
        ],
        "tool_choice": "auto",
        "temperature": 0.5,
    }
    assert second["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_get_weather_0",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_get_weather_0", "content": RESULT},
    ]
    assert endpoint.headers[0]["authorization"] == "Bearer sk-test"
    # What was sent before is the same bytes again.
    assert endpoint.bodies[1].startswith(endpoint.bodies[0].split(b'],"tools"')[0])


async def test_streaming_tells_everything_as_it_happens() -> None:
    with serving(
        calls(("get_weather", {"city": "Paris"}), content="Let me look."), text("It is 18 degrees.")
    ) as endpoint:
        async with agent_at(endpoint).stream("Weather?") as run:
            events = [event async for event in run]
    assert endpoint.requests[0]["stream"] is True
    assert endpoint.requests[0]["stream_options"] == {"include_usage": True}
    assert [event.text for event in events if isinstance(event, TextDelta)] == [
        "Let",
        " me",
        " look.",
        "It",
        " is",
        " 18",
        " degrees.",
    ]
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [
        RunStarted,
        StepStarted,
        StepFinished,
        ToolStarted,
        ToolFinished,
        StepStarted,
        StepFinished,
        RunFinished,
    ]
    assert run.result.output == "It is 18 degrees."
    assert run.result.usage.total_tokens == 30


async def test_streamed_and_plain_runs_come_to_the_same() -> None:
    script = [calls(("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})), text("Both 18.")]
    with serving(*script) as endpoint:
        plain = await agent_at(endpoint).run("Weather?")
    with serving(*script) as endpoint:
        async with agent_at(endpoint).stream("Weather?") as run:
            async for _ in run:
                pass
    assert run.result.messages == plain.messages
    assert run.result.usage == plain.usage


async def test_observers_see_every_run() -> None:
    seen: list[Event] = []
    with serving(PARIS, text("18")) as endpoint:
        await agent_at(endpoint, observers=[seen.append]).run("Weather?")
    assert [type(event).__name__ for event in seen] == [
        "RunStarted",
        "StepStarted",
        "StepFinished",
        "ToolStarted",
        "ToolFinished",
        "StepStarted",
        "StepFinished",
        "RunFinished",
    ]
    assert len({event.run_id for event in seen}) == 1


async def test_another_model_under_the_same_agent() -> None:
    with serving(text("first")) as endpoint, serving(text("second")) as other:
        agent = agent_at(endpoint, instructions="Be kind.", name="bot")
        copy = agent.with_model(ChatClient("m", base_url=other.url))
        assert [(await each.run("Hello?")).output for each in (agent, copy)] == ["first", "second"]
    assert (copy.name, copy.tools) == ("bot", agent.tools)
    assert (copy.with_name("other").name, copy.name) == ("other", "bot")
    assert other.requests[0]["messages"][0] == {"role": "system", "content": "Be kind."}


async def test_a_history_goes_on() -> None:
    with serving(text("Hello."), text("Your name is Ann.")) as endpoint:
        agent = agent_at(endpoint, instructions="Be kind.")
        first = await agent.run("I am Ann.")
        second = await agent.run([*first.messages, UserMessage("What is my name?")])
    assert second.output == "Your name is Ann."
    assert [message["role"] for message in endpoint.requests[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert second.new_messages == (AssistantMessage("Your name is Ann."),)


async def test_plain_dicts_are_a_history_too() -> None:
    with serving(text("Hi.")) as endpoint:
        await agent_at(endpoint, instructions="Be kind.").run(
            [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            ]
        )
    assert endpoint.requests[0]["messages"] == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    ]


async def test_open_calls_are_run_first() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    with serving(text("18")) as endpoint:
        result = await agent_at(endpoint).run(
            [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
        )
    assert [message["role"] for message in endpoint.requests[0]["messages"]] == ["user", "assistant", "tool"]
    assert result.output == "18"


async def test_a_history_that_ends_in_an_answer_is_finished() -> None:
    with serving(text("unused")) as endpoint:
        result = await agent_at(endpoint).run([UserMessage("Hi"), AssistantMessage("Hello")])
    assert (result.output, endpoint.requests, result.steps) == ("Hello", [], ())


@pytest.mark.parametrize("prompt", [[], [5], [{"role": "wizard"}], [{"role": "user", "content": 5}]])
async def test_what_is_not_a_message_is_refused_before_anything_is_sent(prompt: Any) -> None:
    with serving(text("unused")) as endpoint, pytest.raises(InvalidRequest):
        await agent_at(endpoint).run(prompt)
    assert endpoint.requests == []


async def test_a_run_that_does_not_end_is_ended_and_keeps_what_it_had() -> None:
    def again(request: dict[str, Any]) -> dict[str, Any]:
        return calls(("get_weather", {"city": f"Paris {len(request['messages'])}"}))

    with serving(again) as endpoint, pytest.raises(LimitReached) as caught:
        await agent_at(endpoint, limits=Limits(steps=3)).run("Weather?")
    assert len(endpoint.requests) == 3
    assert (caught.value.limit, caught.value.allowed) == ("steps", 3)
    partial = caught.value.partial
    assert partial is not None
    assert [type(message) for message in partial.messages] == [UserMessage, *[AssistantMessage, ToolMessage] * 3]
    assert partial.usage.requests == 3


def test_one_agent_in_several_event_loops_one_after_another() -> None:
    with serving(PARIS, text("18"), PARIS, text("18"), PARIS, text("18")) as endpoint:
        agent = agent_at(endpoint)

        async def once() -> str:
            return (await agent.run("Weather?")).output

        assert [asyncio.run(once()), trio.run(once), asyncio.run(once())] == ["18", "18", "18"]


def test_run_sync_over_and_over() -> None:
    with serving(PARIS, text("18"), PARIS, text("18")) as endpoint:
        agent = agent_at(endpoint)
        assert [agent.run_sync("Weather?").output for _ in range(2)] == ["18", "18"]


async def test_run_sync_inside_a_running_loop() -> None:
    with serving(PARIS, text("18")) as endpoint:
        assert agent_at(endpoint).run_sync("Weather?").output == "18"


async def test_run_sync_inside_a_running_loop_raises_what_the_run_raises() -> None:
    with serving(PARIS) as endpoint, pytest.raises(LimitReached):
        agent_at(endpoint, limits=Limits(steps=1)).run_sync("Weather?")


def test_one_agent_in_several_threads() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        question = request["messages"][0]["content"]
        if request["messages"][-1]["role"] == "tool":
            return text(f"{question}: {request['messages'][-1]['content']}")
        return calls(("get_weather", {"city": question}))

    outputs: dict[str, str] = {}
    with serving(reply) as endpoint:
        agent = agent_at(endpoint)

        def ask(city: str) -> None:
            outputs[city] = agent.run_sync(city).output

        threads = [threading.Thread(target=ask, args=(f"city {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outputs) == 8
    for city, output in outputs.items():
        assert output.startswith(f"{city}: ")
        assert f'"city":"{city}"' in output


async def test_many_runs_of_one_agent_at_once() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        question = request["messages"][0]["content"]
        return text(question) if len(request["messages"]) > 2 else calls(("get_weather", {"city": question}))

    outputs: dict[str, str] = {}
    with serving(reply) as endpoint:
        agent = agent_at(endpoint)

        async def ask(city: str) -> None:
            outputs[city] = (await agent.run(city)).output

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, f"city {number}")
    assert outputs == {f"city {number}": f"city {number}" for number in range(50)}


async def test_connections_are_used_again() -> None:
    with serving(PARIS, PARIS, PARIS, text("18")) as endpoint:
        agent = agent_at(endpoint)
        await agent.run("Weather?")
        await agent.run("And now?")
    assert endpoint.connections == 1


def test_a_name_without_an_endpoint_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AGENTKIT_BASE_URL"):
        Agent("m")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 0}, "at least 1 thread"),
        ({"max_corrections": -1}, "0 or more, not -1"),
        ({"errors": "hidden"}, 'errors is "show", "hide" or a function'),
        ({"on_truncated": "join"}, 'on_truncated is "error", "continue" or "accept", not \'join\''),
        ({"tools": None}, "tools takes a list of functions, not None"),
        ({"tools": get_weather}, "tools takes a list of functions"),
        ({"observers": [anyio.sleep]}, "an observer is an ordinary function"),
        ({"stop_at": "nothing"}, "stop_at names 'nothing', which is not a tool"),
        ({"tool_choice": "required", "tools": [get_weather]}, "could never answer"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        Agent(ChatClient("m", base_url="http://127.0.0.1:1"), **options)


def test_an_agent_is_frozen() -> None:
    agent = Agent(ChatClient("m", base_url="http://127.0.0.1:1"), tools=[get_weather], tool_choice=first(get_weather))
    with pytest.raises(AttributeError, match="frozen"):
        agent._plan = agent._plan
    assert repr(agent.tool_choice) == "first(force('get_weather'), then=auto) & no_repeat(5)"


def test_a_guard_of_ones_own_takes_the_place_of_the_usual_one() -> None:
    client = ChatClient("m", base_url="http://127.0.0.1:1")
    assert repr(Agent(client, tool_choice=no_repeat(8)).tool_choice) == "no_repeat(8)"
    assert (
        repr(Agent(client, tool_choice=first("none", then=no_repeat(2))).tool_choice)
        == "first(none, then=no_repeat(2))"
    )
    assert repr(Agent(client, max_repeats=None).tool_choice) == "auto"


async def test_a_function_that_is_a_tool_is_not_asked_for_a_policy() -> None:
    def search(query: str) -> str:
        return f"found {query}"

    with serving(calls(("search", {"query": "x"})), text("done")) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[search], tool_choice=first(search))
        await agent.run("go")
    assert [request["tool_choice"] for request in endpoint.requests] == [
        {"type": "function", "function": {"name": "search"}},
        "auto",
    ]


def test_a_function_that_is_neither_a_tool_nor_a_rule_is_refused() -> None:
    def delete(path: str) -> None:
        raise AssertionError(path)

    def two(state: State, other: int) -> str:
        return "auto"

    for function in (delete, two):
        with pytest.raises(ConfigurationError, match="neither a tool of the agent nor a function of the state"):
            Agent(ChatClient("m", base_url="http://127.0.0.1:1"), tools=[get_weather], tool_choice=first(function))


def test_a_name_is_a_model_at_the_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(text("Hi.")) as endpoint:
        monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        monkeypatch.setenv("AGENTKIT_API_KEY", "sk-environment")
        assert Agent("some-model").run_sync("Hello").output == "Hi."
    assert endpoint.requests[0]["model"] == "some-model"
    assert endpoint.headers[0]["authorization"] == "Bearer sk-environment"


def test_the_repr_says_what_it_is() -> None:
    agent = Agent(ChatClient("m", base_url="http://127.0.0.1:1", api_key="sk-secret"), tools=[get_weather])
    assert repr(agent) == (
        "Agent(ChatClient('m', base_url='http://127.0.0.1:1'), tools=Toolbox(get_weather), tool_choice=auto & no_repeat(5))"
    )
    assert agent.tools.names == {"get_weather"}


async def test_instructions_stand_first_once() -> None:
    with serving(text("Hi.")) as endpoint:
        result = await agent_at(endpoint, instructions="Be kind.").run("Hello")
        again = await agent_at(endpoint, instructions="Be kind.").run([*result.messages, UserMessage("More")])
    assert [type(message) for message in again.messages].count(SystemMessage) == 1


async def test_every_error_of_ours_has_one_base() -> None:
    with pytest.raises(AgentkitError):
        await Agent(ChatClient("m", base_url="http://127.0.0.1:1")).run("Hello")
