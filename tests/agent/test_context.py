"""What a run passes to its tools."""

import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated

import anyio
import pytest
from anyio.lowlevel import checkpoint

from agentkit import (
    Agent,
    Depends,
    InvalidRequest,
    LimitReached,
    Limits,
    Memory,
    ToolContext,
    ToolDefinitionError,
    tool,
)
from agentkit.core.repair import repaired
from agentkit.runs.events import Event, HistoryRepaired, ToolFinished, ToolProgress
from tests.agent import tool_messages
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@dataclass
class Shop:
    name: str = "Rialto"
    open_files: int = 0


async def get_session(ctx: ToolContext[Shop]) -> AsyncIterator[str]:
    ctx.deps.open_files += 1
    try:
        yield f"session of {ctx.deps.name}"
    finally:
        await checkpoint()
        ctx.deps.open_files -= 1


@tool
def sync(item: str, ctx: ToolContext[Shop]) -> str:
    """Look an item up."""
    ctx.progress("half")
    return f"{item} at {ctx.deps.name}, step {ctx.step}, call {ctx.call.name}, {len(ctx.messages)} messages"


@tool
async def coroutine(item: str, session: Annotated[str, Depends(get_session)], *, ctx: ToolContext[Shop]) -> str:
    """Look an item up."""
    await anyio.to_thread.run_sync(ctx.progress, threading.current_thread().name)
    return f"{item} by {session}, {3000 < ctx.remaining < 3601}"


@tool
def generator(item: str, ctx: ToolContext[Shop]) -> Iterator[str]:
    """Look an item up."""
    ctx.progress("reported")
    yield "yielded"


async def test_what_tools_get_and_the_model_does_not_see() -> None:
    both = called(("sync", {"item": "a"}), ("coroutine", {"item": "b"}))
    model = Scripted(both, called(("coroutine", {"item": "c"})), called(("generator", {"item": "d"})), said("done"))
    shop, limits = Shop(), Limits(seconds=3600)
    agent = Agent(model, tools=[sync, coroutine, generator], deps_type=Shop, limits=limits)
    async with agent.stream("Look.", deps=shop) as run:
        events = [event async for event in run]
    assert [message.content for message in tool_messages(run.result.messages)] == [
        "a at Rialto, step 0, call sync, 2 messages",
        "b by session of Rialto, True",
        "c by session of Rialto, True",
        "yielded",
    ]
    assert shop.open_files == 0
    reports = [event.value for event in events if isinstance(event, ToolProgress)]
    thread = threading.current_thread().name
    assert sorted(map(str, reports[:2])) == sorted(["half", thread])
    assert reports[2:] == [thread, "reported", "yielded"]
    for spec in model.requests[0].tools:
        assert list(spec.parameters["properties"]) == ["item"]  # type: ignore[call-overload]


async def test_a_dependency_is_overridden_in_a_copy_of_the_agent() -> None:
    model = Scripted(called(("coroutine", {"item": "b"})), said("done"))
    agent = Agent(model, tools=[coroutine], deps_type=Shop)
    outputs: list[str] = []
    for used in (agent.override(get_session, lambda: "a fake"), agent):
        model.requests.clear()  # and so the script restarts
        outputs += [message.content for message in tool_messages((await used.run("Look.", deps=Shop())).messages)]
    assert [output.split(",")[0] for output in outputs] == ["b by a fake", "b by session of Rialto"]


async def test_a_dependency_that_fails_is_a_result() -> None:
    def no_database() -> str:
        raise OSError("no database")

    @tool
    def look(session: Annotated[str, Depends(no_database)]) -> str:
        return session

    events: list[Event] = []
    agent = Agent(Scripted(called(("look", {})), said("sorry")), tools=[look], observers=[events.append])
    (message,) = tool_messages((await agent.run("Look.")).messages)
    assert (message.content, message.outcome) == ("OSError: no database", "error")
    assert [type(event.error) for event in events if isinstance(event, ToolFinished)] == [OSError]


async def test_a_run_needs_the_deps_of_its_tools() -> None:
    with pytest.raises(InvalidRequest, match="Shop"):
        await Agent(Scripted(said("x")), tools=[sync], deps_type=Shop).run("Look.")


async def test_an_open_dependency_is_closed_at_the_deadline() -> None:
    @tool
    async def wait(session: Annotated[str, Depends(get_session)]) -> str:
        await anyio.sleep_forever()
        return session

    shop = Shop()
    agent = Agent(Scripted(called(("wait", {}))), tools=[wait], deps_type=Shop, limits=Limits(seconds=0.2))
    with pytest.raises(LimitReached):
        await agent.run("Look.", deps=shop)
    assert shop.open_files == 0


def needs_context(ctx: ToolContext[Shop]) -> str:
    return ctx.deps.name


def test_a_tool_in_another_process_has_no_context() -> None:
    with pytest.raises(ToolDefinitionError, match="'ctx'"):
        tool(isolate="process")(needs_context)


async def test_a_history_that_endpoints_would_refuse_is_repaired() -> None:
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
    events: list[Event] = []
    model = Scripted(said("Yes."))
    session = Memory()
    result = await Agent(model, tools=[sync], observers=[events.append]).run(history, session=session)
    assert repaired((await session.load()).messages).messages == result.messages
    assert [event.repair.what for event in events if isinstance(event, HistoryRepaired)] == ["closed", "orphan"]
    kinds = [type(message).__name__.removesuffix("Message") for message in model.requests[0].messages]
    assert kinds == ["User", "Assistant", "Tool", "User"]
