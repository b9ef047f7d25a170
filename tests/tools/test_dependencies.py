import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
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


@asynccontextmanager
async def resolving(overrides: dict[Any, Any] | None = None) -> AsyncGenerator[Callable[..., Awaitable[Any]], None]:
    """Yield what resolves a dependency within a run."""
    async with Dependencies(Threads(4), overrides or {}) as dependencies:

        async def resolve(function: Any, deps: object = None) -> Any:
            values = await dependencies.resolve((InjectedParameter("x", Depends(function)),), context(deps=deps))
            return values["x"]

        yield resolve


async def coroutine() -> int:
    await anyio.lowlevel.checkpoint()
    return 7


def of_both(ctx: ToolContext[str], number: Annotated[int, Depends(coroutine)], more: int = 1) -> str:
    return f"{ctx.deps}{number}{more}"


async def test_the_context_and_values() -> None:
    async with Dependencies(Threads(4), {}) as dependencies:
        ctx = context()
        assert await dependencies.resolve((InjectedParameter("c", None),), ctx) == {"c": ctx}
        assert await dependencies.resolve((), ctx) == {}
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")
    async with resolving() as resolve:
        assert await resolve(of_both, deps="d") == "d71"
        assert await resolve(threading.get_ident) != threading.get_ident(), "it runs in a thread"
        assert await resolve(lambda: coroutine()) == 7, "a sync function may return an awaitable"  # noqa: PLW0108 (that it is a lambda is the point)
        assert await resolve(variable.get) == "here", "context variables reach a thread"
    async with resolving({coroutine: lambda: -1}) as resolve:
        assert await resolve(of_both, deps="d") == "d-11", "another function stands in"


async def test_a_dependency_as_the_default_of_another() -> None:
    def doubled(number: int = Depends(coroutine)) -> int:  # type: ignore[assignment] # pyright: ignore[reportArgumentType]
        return 2 * number

    async with resolving() as resolve:
        assert await resolve(doubled) == 14


async def test_each_is_called_once_in_a_run() -> None:
    count = iter(range(10)).__next__
    for number in range(2):
        async with resolving() as resolve:
            assert [await resolve(count), await resolve(count)] == [number, number]


@pytest.mark.parametrize("fails", [False, True])
async def test_generators_are_cleaned_up_in_reverse_order_at_the_end(fails: bool) -> None:
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

    with suppress(OSError):
        async with resolving() as resolve:
            assert await resolve(second) == "12"
            assert log == ["open first", "open second"]
            if fails:
                raise OSError
    assert log == ["open first", "open second", "close second", "close first"]


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
        async with resolving() as resolve:
            await resolve(blocks)
            await resolve(waits)
            scope.cancel()
            await anyio.sleep_forever()
    assert closed == ["async", "sync"]


async def test_a_circle_is_refused_and_errors_are_raised() -> None:
    def one(x: int) -> int:
        return x

    def other(x: Annotated[int, Depends(one)]) -> int:
        return x

    def fails() -> int:
        raise LookupError("no database")

    one.__annotations__["x"] = Annotated[int, Depends(other)]
    async with resolving() as resolve:
        with pytest.raises(ConfigurationError, match=r"one depends on itself, through .*one, .*other"):
            await resolve(one)
        with pytest.raises(LookupError, match="no database"):
            await resolve(fails)


def needy(x: int, *args: int, y: int = 2, **more: int) -> int:
    return x + y + sum(args) + sum(more.values())


def test_a_parameter_that_nothing_fills_is_refused() -> None:
    assert injected_parameters(partial(needy, 1)) == ()
    with pytest.raises(ConfigurationError, match=r"'x' of the dependency needy"):
        injected_parameters(needy)
