import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
import trio

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    LimitReached,
    Limits,
    ModelError,
    Partial,
    RunCancelled,
    StepFinished,
    ToolMessage,
    ToolStarted,
    UserMessage,
)
from agentkit.runs import blocking
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    return a + b


async def never() -> None:
    await anyio.sleep_forever()


def valid(partial: Partial | None) -> bool:
    return partial is not None and fault_in([message.to_dict() for message in partial.messages]) is None


async def test_leaving_the_block_stops_the_run_and_keeps_what_it_had() -> None:
    agent = Agent(Scripted(called(("add", {"a": 1, "b": 1}), ("never", {})), said("done")), tools=[add, never])
    async with agent.stream("go") as run:
        async for event in run:
            if isinstance(event, ToolStarted) and event.call.name == "never":
                break
    with pytest.raises(RunCancelled) as caught:
        _ = run.result
    partial = caught.value.partial
    assert valid(partial)
    assert partial is not None
    answers = [message for message in partial.messages if isinstance(message, ToolMessage)]
    assert [answer.outcome for answer in answers][1] == "cancelled"


async def test_the_result_is_not_there_before_the_end() -> None:
    async with Agent(Scripted(said("hi"))).stream("go") as run:
        with pytest.raises(RunCancelled, match="not at its end"):
            _ = run.result
        events = [event async for event in run]
        assert [event async for event in run] == []
    assert run.result.output == "hi"
    assert isinstance(events[-1], StepFinished)


async def test_what_ends_the_run_is_raised_where_it_is_read() -> None:
    async with Agent(Scripted(ModelError("down"))).stream("go") as run:
        with pytest.raises(ModelError, match="down"):
            async for _ in run:
                pass
    with pytest.raises(ModelError, match="down") as caught:
        _ = run.result
    assert valid(caught.value.partial)


async def test_what_is_raised_in_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError) as caught:
        async with Agent(Scripted(said("hi"))).stream("go"):
            raise KeyError("mine")
    assert caught.value.args == ("mine",)


async def test_several_errors_in_the_block_stay_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Agent(Scripted(said("hi"))).stream("go"):
            raise ExceptionGroup("several", [KeyError("a"), KeyError("b")])
    assert len(caught.value.exceptions) == 2


async def test_an_error_of_ours_carries_what_the_run_had_done() -> None:
    agent = Agent(Scripted(called(("add", {"a": 1, "b": 1})), ModelError("down")), tools=[add])
    with pytest.raises(AgentkitError) as caught:
        await agent.run("go")
    partial = caught.value.partial
    assert partial is not None
    assert [type(message) for message in partial.messages] == [UserMessage, AssistantMessage, ToolMessage]
    assert partial.usage.requests == 1


async def test_a_partial_history_can_be_continued() -> None:
    model = Scripted(called(("add", {"a": 1, "b": 1})), ModelError("down"), said("2"))
    agent = Agent(model, tools=[add])
    with pytest.raises(AgentkitError) as caught:
        await agent.run("go")
    assert caught.value.partial
    assert (await agent.run(caught.value.partial.messages)).output == "2"


async def test_cancelling_is_prompt_and_tells_what_was_done() -> None:
    started = anyio.Event()
    watching = Agent(
        Scripted(called(("never", {})), said("done")),
        tools=[never],
        observers=[lambda event: started.set() if isinstance(event, ToolStarted) else None],
    )
    caught: list[BaseException] = []

    async def run() -> None:
        try:
            await watching.run("go")
        except anyio.get_cancelled_exc_class() as cancelled:
            caught.append(cancelled)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        group.cancel_scope.cancel()
    assert valid(getattr(caught[0], "partial", None))


async def test_a_blocking_tool_does_not_hold_up_a_cancellation() -> None:
    release = threading.Event()
    started = anyio.Event()

    def hold() -> None:
        release.wait(10)

    agent = Agent(
        Scripted(called(("hold", {})), said("done")),
        tools=[hold],
        observers=[lambda event: started.set() if isinstance(event, ToolStarted) else None],
    )
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(agent.run, "go")
            await started.wait()
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    release.set()


async def test_several_streams_at_once_do_not_mix() -> None:
    agent = Agent(Scripted(lambda request: said(str(request.messages[0].to_dict()["content"]))))
    outputs: list[str] = []

    async def watch(prompt: str) -> None:
        async with agent.stream(prompt) as run:
            async for _ in run:
                await anyio.lowlevel.checkpoint()
        outputs.append(run.result.output)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(watch, f"prompt {number}")
    assert sorted(outputs) == sorted(f"prompt {number}" for number in range(20))


def inside_asyncio(function: Callable[[], Awaitable[int]]) -> int:
    async def outer() -> int:
        return blocking(function)

    return asyncio.run(outer())


def inside_trio(function: Callable[[], Awaitable[int]]) -> int:
    async def outer() -> int:
        return blocking(function)

    return trio.run(outer)


@pytest.mark.parametrize("call", [blocking, inside_asyncio, inside_trio])
def test_blocking_gives_back_what_comes_out(call: Callable[[Callable[[], Awaitable[int]]], int]) -> None:
    async def value() -> int:
        await anyio.lowlevel.checkpoint()
        return 5

    assert call(value) == 5


def test_blocking_keeps_the_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("kept")

    async def read() -> str:
        return variable.get()

    async def outer() -> str:
        return blocking(read)

    assert blocking(read) == "kept"
    assert asyncio.run(outer()) == "kept"


def test_blocking_raises_what_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async def outer() -> None:
        blocking(fail)

    with pytest.raises(KeyError):
        blocking(fail)
    with pytest.raises(KeyError):
        asyncio.run(outer())


def test_a_thousand_turns() -> None:
    turns = 1000

    def play(request: object) -> AssistantMessage:
        count = len(model.requests)
        return called(("add", {"a": count, "b": 1})) if count <= turns else said("done")

    model = Scripted(play)
    result = Agent(model, tools=[add], limits=Limits(steps=turns + 1)).run_sync("go")
    assert len(result.steps) == turns + 1
    with pytest.raises(LimitReached):
        Agent(Scripted(called(("add", {"a": 1, "b": 1}))), tools=[add], repeats=None).run_sync("go")
