import contextvars
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, ConfigurationError, ModelError, RunCancelled, RunFinished, ToolMessage, ToolStarted
from agentkit.runs.handle import run_blocking
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
