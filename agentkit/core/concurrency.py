"""Limits on concurrency, and work in threads, under asyncio and trio.

anyio's limiters belong to one event loop, but an agent or a client may be used in several loops and threads. So a
`Limiter` is a plain value that makes an anyio limiter per loop in which it is used. They are kept weakly: they are
gone with the `Limiter`, or with the loop.

anyio loads its parts when a name of it is first used, so no name is taken from it at import.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio
import sniffio
from anyio.lowlevel import RunVar

T = TypeVar("T")


class Limiter:
    """Admits `capacity` tasks at once in each event loop. Any number of loops and threads may share one."""

    __slots__ = ("__weakref__", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def here(self) -> "anyio.CapacityLimiter":
        """Return the limiter of the running event loop."""
        try:
            limiters = _limiters.get()
        except LookupError:
            limiters = WeakKeyDictionary[Limiter, anyio.CapacityLimiter]()
            _limiters.set(limiters)
        limiter = limiters.get(self)
        if limiter is None:
            limiter = limiters[self] = anyio.CapacityLimiter(self.capacity)
        return limiter

    @asynccontextmanager
    async def entered(self) -> AsyncGenerator[None]:
        """Wait until there is room, and take it."""
        limiter = self.here()
        try:
            limiter.acquire_nowait()  # `acquire` would wait for another round of the event loop
        except anyio.WouldBlock:
            await limiter.acquire()
        try:
            yield
        finally:
            limiter.release()


_limiters: "RunVar[WeakKeyDictionary[Limiter, anyio.CapacityLimiter]]" = RunVar("agentkit_limiters")


class Threads(Limiter):
    """At most `capacity` threads at once in each event loop. Call `run` within `entered()`."""

    __slots__ = ()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. A cancellation does not wait for it: it ends later, and its result is dropped."""
        return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True)


async def to_its_end(turn: Limiter, function: Callable[[], T]) -> T:
    """Call a function in a thread, once there is room. After it has begun, a cancellation waits for its end."""
    async with turn.entered():
        if sniffio.current_async_library() == "asyncio":
            from agentkit.core.on_asyncio import call_to_its_end  # noqa: PLC0415

            return await call_to_its_end(function)
        return await shielded(partial(anyio.to_thread.run_sync, function, limiter=anyio.CapacityLimiter(1)))


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, object]]) -> AsyncGenerator[None]:
    """Do work beside the block. The end of the block cancels it and waits for it; its error is raised there."""
    if sniffio.current_async_library() == "asyncio":
        from agentkit.core.on_asyncio import in_own_task  # noqa: PLC0415

        async with in_own_task(work):
            yield
        return
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            yield
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Await work to its end: a cancellation comes after it."""
    if sniffio.current_async_library() == "asyncio":  # its own cancellations pass a scope
        from agentkit.core.on_asyncio import run_to_its_end  # noqa: PLC0415

        return await run_to_its_end(work)
    outcome: list[T] = []
    with anyio.CancelScope(shield=True):
        outcome.append(await work())
    return outcome[0]
