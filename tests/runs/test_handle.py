import asyncio
import contextvars
import gc
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, ConfigurationError, ModelError, RunCancelled, RunFinished, ToolMessage, ToolStarted
from agentkit.core.concurrency import beside
from agentkit.runs.events import Event, RunStarted, StepStarted
from agentkit.runs.handle import run_blocking
from agentkit.testing import FunctionModel
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    return a + b


async def never() -> None:
    await anyio.sleep_forever()


async def test_leaving_the_block_stops_the_run_and_keeps_what_it_had() -> None:
    agent = Agent(Scripted(called(("add", {"a": 1, "b": 1}), ("never", {})), said("done")), tools=[add, never])
    async with agent.stream("go") as run:
        async for event in run:
            if isinstance(event, ToolStarted) and event.call.name == "never":
                break
    with pytest.raises(RunCancelled) as caught:
        _ = run.result
    partial = caught.value.partial
    assert partial is not None
    assert fault_in([message.to_dict() for message in partial.messages]) is None
    answers = [message for message in partial.messages if isinstance(message, ToolMessage)]
    assert [answer.outcome for answer in answers][1] == "cancelled"


async def _events(agent: Agent[Any, Any]) -> AsyncGenerator[Event]:
    async with agent.stream("go") as run:
        async for event in run:
            yield event


async def _outcomes(agent: Agent[Any, Any]) -> AsyncGenerator[object]:
    async with agent.map(["a", "b", "c"], concurrency=1) as batch:
        async for outcome in batch:
            yield outcome


def _endless() -> Agent[Any, str]:
    return Agent(Scripted(called(("never", {}))), tools=[never])


class TestAsyncio:
    """pydantic-ai#4204: a generator that streams may be closed by another task than the one that began it."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_a_dropped_generator_ends_its_run(self) -> None:
        loop, errors = asyncio.get_running_loop(), list[object]()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        before = asyncio.all_tasks()
        for generator in (_events(_endless()), _outcomes(Agent(FunctionModel(lambda _: said("hi"))))):
            await anext(generator)
        del generator
        gc.collect()
        while tasks := asyncio.all_tasks() - before:
            await asyncio.wait(tasks)
        assert errors == []

    async def test_each_step_of_a_generator_may_be_in_another_task(self) -> None:
        generator = _events(_endless())
        first = [type(await asyncio.create_task(generator.__anext__())) for _ in range(2)]
        assert first == [RunStarted, StepStarted]
        with pytest.raises(TimeoutError):
            _ = [await asyncio.wait_for(anext(generator), 0.01) for _ in range(9)]
        await asyncio.create_task(generator.aclose())

    async def test_an_exit_in_a_tool_leaves_the_block(self) -> None:
        class Exit(BaseException):
            pass

        async def leave() -> None:
            raise Exit

        with pytest.raises(Exit):
            async with beside(leave):
                await anyio.lowlevel.checkpoint()


async def test_a_timeout_in_a_shielded_part_stays_a_timeout() -> None:
    with anyio.CancelScope() as scope:
        async with _endless().stream("go") as run:
            async for event in run:
                if isinstance(event, ToolStarted):
                    scope.cancel()
                    with anyio.CancelScope(shield=True):  # as uvicorn's `send` to a slow client
                        await anyio.wait_all_tasks_blocked()
    assert scope.cancelled_caught


async def test_the_result_is_not_there_before_the_end() -> None:
    async with Agent(Scripted(said("hi"))).stream("go") as run:
        with pytest.raises(RunCancelled, match="not ended"):
            _ = run.result
        events = [event async for event in run]
        assert [event async for event in run] == []
    assert run.result.output == "hi"
    assert isinstance(events[-1], RunFinished)


async def test_the_error_of_the_run_is_raised_where_it_is_read() -> None:
    async with Agent(Scripted(ModelError("down"))).stream("go") as run:
        with pytest.raises(ModelError, match="down"):
            async for _ in run:
                pass
    with pytest.raises(ModelError, match="down") as caught:
        _ = run.result
    assert caught.value.partial is not None


@pytest.mark.parametrize("error", [KeyError("mine"), ExceptionGroup("several", [KeyError("a"), KeyError("b")])])
async def test_an_error_in_the_block_leaves_it_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with Agent(Scripted(said("hi"))).stream("go"):
            raise error
    assert (type(caught.value), caught.value.args) == (type(error), error.args)


@pytest.mark.parametrize("backend", [None, "asyncio", "trio"])
def test_blocking_returns_and_raises_and_keeps_the_context(backend: str | None) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("kept")

    async def read() -> object:
        await anyio.lowlevel.checkpoint()
        return variable.get()

    async def fail() -> object:
        raise KeyError("mine")

    def call(function: Callable[[], Awaitable[object]]) -> object:
        async def outer() -> object:
            return run_blocking(function)

        return run_blocking(function) if backend is None else anyio.run(outer, backend=backend)

    assert call(read) == "kept"
    with pytest.raises(KeyError, match="mine"):
        call(fail)


@pytest.mark.parametrize("patched", [True, False])
def test_another_greenlet_of_gevent_is_told_what_to_do(patched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gevent, a new thread is a greenlet, for which asyncio reports the loop of another one."""

    def is_patched(name: str) -> bool:
        return patched and name == "threading"

    monkey = SimpleNamespace(is_module_patched=is_patched)
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)

    async def one() -> int:
        return 1

    async def outer() -> int:
        return run_blocking(one)

    assert run_blocking(one) == 1
    if patched:
        with pytest.raises(ConfigurationError, match="threadpool"):
            anyio.run(outer)
    else:
        assert anyio.run(outer) == 1
