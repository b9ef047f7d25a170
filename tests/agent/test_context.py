import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import (
    Agent,
    Depends,
    Event,
    HistoryRepaired,
    InvalidRequest,
    LimitReached,
    Limits,
    ToolContext,
    ToolFinished,
    ToolMessage,
    ToolProgress,
    tool,
)
from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.context import InjectedParameter
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@dataclass
class Shop:
    name: str
    open_files: int = 0


LOG: list[str] = []


async def get_session(ctx: ToolContext[Shop]) -> AsyncIterator[str]:
    ctx.deps.open_files += 1
    yield f"session of {ctx.deps.name}"
    await anyio.lowlevel.checkpoint()
    ctx.deps.open_files -= 1


@tool
def sync(item: str, ctx: ToolContext[Shop]) -> str:
    """Look an item up."""
    ctx.progress("half")
    return f"{item} at {ctx.deps.name}, step {ctx.step}, call {ctx.call.name}, {len(ctx.messages)} messages"


@tool
async def coroutine(item: str, session: Annotated[str, Depends(get_session)], *, ctx: ToolContext[Shop]) -> str:
    """Look an item up."""
    ctx.progress("half")
    await anyio.lowlevel.checkpoint()
    return f"{item} by {session}, {ctx.remaining > 3000}"


@tool
def generator(ctx: ToolContext[Shop]) -> Iterator[str]:
    """Look an item up."""
    ctx.progress("said")
    yield "yielded"


BOTH = called(("sync", {"item": "a"}), ("coroutine", {"item": "b"}))


async def test_what_tools_get_and_the_model_does_not_see() -> None:
    model = Scripted(BOTH, called(("coroutine", {"item": "c"})), said("done"))
    told: list[Event] = []
    agent = Agent(model, tools=[sync, coroutine], deps_type=Shop, observers=[told.append])
    shop = Shop("Rialto")
    result = await agent.run("Look.", deps=shop)
    answers = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert answers == [
        "a at Rialto, step 0, call sync, 2 messages",
        "b by session of Rialto, True",
        "c by session of Rialto, True",
    ]
    assert shop.open_files == 0
    assert [event.value for event in told if isinstance(event, ToolProgress)] == ["half"] * 3
    for spec in model.requests[0].tools:
        assert list(spec.parameters["properties"]) == ["item"]  # type: ignore[call-overload]


async def test_progress_of_a_generator_comes_both_ways() -> None:
    model = Scripted(called(("generator", {})), said("done"))
    async with Agent(model, tools=[generator], deps_type=Shop).stream("Look.", deps=Shop("x")) as run:
        told = [event.value async for event in run if isinstance(event, ToolProgress)]
    assert told == ["said", "yielded"]


def test_without_an_event_loop() -> None:
    agent = Agent(Scripted(called(("sync", {"item": "a"})), said("done")), tools=[sync], deps_type=Shop)
    assert agent.run_sync("Look.", deps=Shop("s")).output == "done"


async def test_a_stand_in_for_tests() -> None:
    def fake() -> str:
        return "a fake"

    model = Scripted(called(("coroutine", {"item": "b"})), said("done"))
    agent = Agent(model, tools=[coroutine], deps_type=Shop)
    other = agent.override(get_session, fake)
    answers = [m.content for m in (await other.run("Look.", deps=Shop("x"))).messages if isinstance(m, ToolMessage)]
    assert answers == ["b by a fake, True"]
    model.requests.clear()
    answers = [m.content for m in (await agent.run("Look.", deps=Shop("x"))).messages if isinstance(m, ToolMessage)]
    assert answers == ["b by session of x, True"]


async def test_a_function_that_fails_is_an_answer() -> None:
    def no_database() -> str:
        raise OSError("no database")

    @tool
    def look(session: Annotated[str, Depends(no_database)]) -> str:
        return session

    events: list[Event] = []
    agent = Agent(Scripted(called(("look", {})), said("sorry")), tools=[look], observers=[events.append])
    result = await agent.run("Look.")
    (answer,) = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert (answer.content, answer.outcome) == ("OSError: no database", "error")
    assert [type(event.error) for event in events if isinstance(event, ToolFinished)] == [OSError]


async def test_a_run_needs_what_its_tools_ask_for() -> None:
    agent = Agent(Scripted(said("x")), tools=[sync], deps_type=Shop)
    with pytest.raises(InvalidRequest, match="ask for a Shop"):
        await agent.run("Look.")


async def test_many_runs_of_one_agent_see_nothing_of_each_other() -> None:
    async def get_name(ctx: ToolContext[Shop]) -> str:
        await anyio.lowlevel.checkpoint()
        return ctx.deps.name

    @tool
    async def who(n: int, name: Annotated[str, Depends(get_name)], ctx: ToolContext[Shop]) -> str:
        await anyio.lowlevel.checkpoint()
        return f"{n}:{name}:{ctx.deps.name}:{ctx.run_id}"

    def reply(request: Any) -> Any:
        asked = [each for each in request.messages if isinstance(each, ToolMessage)]
        return said("done") if len(asked) == 4 else called(("who", {"n": 1}), ("who", {"n": 2}))

    agent = Agent(Scripted(reply), tools=[who], deps_type=Shop)
    ids: set[str] = set()

    async def one(name: str) -> None:
        result = await agent.run("Who?", deps=Shop(name))
        answers = [m.content.split(":") for m in result.messages if isinstance(m, ToolMessage)]
        assert [answer[:3] for answer in answers] == [[n, name, name] for n in "1212"]
        (run_id,) = {answer[3] for answer in answers}
        ids.add(run_id)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, f"shop {number}")
    assert len(ids) == 200


async def test_what_is_open_is_closed_at_the_deadline() -> None:
    @tool
    async def wait(session: Annotated[str, Depends(get_session)]) -> str:
        await anyio.sleep_forever()
        return session

    shop = Shop("x")
    agent = Agent(Scripted(called(("wait", {}))), tools=[wait], deps_type=Shop, limits=Limits(seconds=0.2))
    with pytest.raises(LimitReached):
        await agent.run("Look.", deps=shop)
    assert shop.open_files == 0


async def test_progress_from_any_thread_of_the_tool() -> None:
    @tool
    async def helped(ctx: ToolContext[None]) -> str:
        await anyio.to_thread.run_sync(ctx.progress, threading.current_thread().name)
        return "ok"

    told: list[Event] = []
    agent = Agent(Scripted(called(("helped", {})), said("done")), tools=[helped], observers=[told.append])
    assert (await agent.run("Go.")).output == "done"
    assert len([event for event in told if isinstance(event, ToolProgress)]) == 1


def needs_context(ctx: ToolContext[Shop]) -> str:
    return ctx.deps.name


def test_a_process_has_no_context() -> None:
    with pytest.raises(ToolDefinitionError, match="'ctx' belongs to this process"):
        tool(isolate="process")(needs_context)
    assert InjectedParameter("ctx", None).depends is None


async def test_a_history_that_endpoints_would_refuse_is_mended() -> None:
    history: list[dict[str, object]] = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "sync", "arguments": "{}"}}],
        },
        {"role": "user", "content": "Still there?"},
        {"role": "tool", "tool_call_id": "zz", "content": "an orphan"},
    ]
    told: list[Event] = []
    model = Scripted(said("Yes."))
    await Agent(model, tools=[sync], observers=[told.append]).run(history)
    assert [event.repair.what for event in told if isinstance(event, HistoryRepaired)] == ["closed", "orphan"]
    assert [type(message).__name__ for message in model.requests[0].messages] == [
        "UserMessage",
        "AssistantMessage",
        "ToolMessage",
        "UserMessage",
    ]
