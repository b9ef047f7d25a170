import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated, Any

import anyio
import pytest

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError
from agentkit.tools.context import Depends, InjectedParameter, ToolContext
from agentkit.tools.dependencies import Dependencies, injected_parameters
from tests.tools.test_context import context

pytestmark = pytest.mark.anyio


def wanted(function: Any, name: str = "x") -> tuple[InjectedParameter, ...]:
    return (InjectedParameter(name, Depends(function)),)


def made(**overrides: Any) -> Dependencies:
    return Dependencies(Threads(4), overrides.get("overrides", {}))


def sync() -> str:
    return threading.current_thread().name


async def coroutine() -> int:
    await anyio.lowlevel.checkpoint()
    return 7


def of_both(ctx: ToolContext[str], number: Annotated[int, Depends(coroutine)], more: int = 1) -> str:
    return f"{ctx.deps}{number}{more}"


async def test_the_context_and_what_functions_give() -> None:
    async with made() as found:
        ctx = context(deps="d")
        assert await found.resolve((InjectedParameter("c", None),), ctx) == {"c": ctx}
        assert await found.resolve(wanted(of_both), ctx) == {"x": "d71"}
        assert await found.resolve((), ctx) == {}


async def test_a_sync_function_runs_in_a_thread() -> None:
    async with made() as found:
        given = await found.resolve(wanted(sync), context())
        assert given["x"] != threading.current_thread().name


async def test_a_sync_function_may_give_an_awaitable() -> None:
    async with made() as found:
        assert await found.resolve(wanted(lambda: coroutine()), context()) == {"x": 7}  # noqa: PLW0108 (that it is a lambda is the point)


async def test_each_is_called_once_in_a_run() -> None:
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    async with made() as found:
        for _ in range(3):
            assert await found.resolve(wanted(count), context()) == {"x": 1}
    async with made() as found:
        assert await found.resolve(wanted(count), context()) == {"x": 2}


async def test_generators_are_cleaned_up_in_reverse_order_at_the_end() -> None:
    log: list[str] = []

    def first() -> Iterator[str]:
        log.append("open first")
        yield "1"
        log.append("close first")

    async def second(one: Annotated[str, Depends(first)]) -> AsyncIterator[str]:
        log.append("open second")
        yield one + "2"
        await anyio.lowlevel.checkpoint()
        log.append("close second")

    async with made() as found:
        assert await found.resolve(wanted(second), context()) == {"x": "12"}
        assert log == ["open first", "open second"]
    assert log == ["open first", "open second", "close second", "close first"]


async def test_what_is_open_is_closed_however_the_run_ends() -> None:
    closed: list[str] = []

    def opened() -> Iterator[int]:
        yield 1
        closed.append("yes")

    async def run() -> None:
        async with made() as found:
            await found.resolve(wanted(opened), context())
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await run()
    assert closed == ["yes"]


async def test_what_is_open_is_closed_where_the_run_is_cancelled() -> None:
    closed: list[str] = []

    async def waits() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await anyio.lowlevel.checkpoint()
            closed.append("async")

    def blocks() -> Iterator[int]:
        try:
            yield 1
        finally:
            closed.append("sync")

    with anyio.CancelScope() as scope:
        async with made() as found:
            await found.resolve(wanted(blocks), context())
            await found.resolve(wanted(waits), context())
            scope.cancel()
            await anyio.sleep_forever()
    assert closed == ["async", "sync"]


async def test_another_function_stands_in() -> None:
    def fake() -> int:
        return -1

    async with made(overrides={coroutine: fake}) as found:
        assert await found.resolve(wanted(of_both), context(deps="d")) == {"x": "d-11"}


async def test_what_a_function_raises_is_told() -> None:
    def fails() -> int:
        raise LookupError("no database")

    async with made() as found:
        with pytest.raises(LookupError, match="no database"):
            await found.resolve(wanted(fails), context())


async def test_a_circle_is_refused() -> None:
    def one(x: int) -> int:
        return x

    def other(x: Annotated[int, Depends(one)]) -> int:
        return x

    one.__annotations__["x"] = Annotated[int, Depends(other)]
    async with made() as found:
        with pytest.raises(ConfigurationError, match=r"one depends on itself, through .*one, .*other"):
            await found.resolve(wanted(one), context())


async def test_variables_of_the_context_reach_a_thread() -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")
    async with made() as found:
        assert await found.resolve(wanted(variable.get), context()) == {"x": "here"}


def needy(x: int, *args: int, y: int = 2, **more: int) -> int:
    return x + y + sum(args) + sum(more.values())


def test_a_parameter_that_nothing_fills_is_refused() -> None:
    assert injected_parameters(partial(needy, 1)) == ()
    with pytest.raises(ConfigurationError, match=r"needy gives a value to tools, and nothing fills its parameter 'x'"):
        injected_parameters(needy)
