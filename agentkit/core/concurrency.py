"""Limits on concurrency, and work in threads, under asyncio and trio.

anyio's limiters belong to one event loop, but an agent or a client may be used in several loops and threads. So a
`Limiter` is a plain value that makes an anyio limiter for each loop in which it is used. They are kept weakly: they are
gone with the `Limiter`, or with the loop.

anyio loads its parts when a name of it is first used, so no name is taken from it at import.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast
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


_limiters: "RunVar[WeakKeyDictionary[Limiter, anyio.CapacityLimiter]]" = RunVar("agentkit_limiters")


class Threads(Limiter):
    """At most `capacity` threads at once in each event loop. Enter `here()` before `run`."""

    __slots__ = ()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. A cancellation does not wait for it: it ends later, and its result is dropped."""
        return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True)


async def to_its_end(turn: Limiter, function: Callable[[], T]) -> T:
    """Call a function in a thread, once there is room. After it has begun, a cancellation waits for its end."""
    limiter = turn.here()
    try:
        limiter.acquire_nowait()  # `acquire` would wait for another round of the event loop
    except anyio.WouldBlock:
        await limiter.acquire()
    try:
        if sniffio.current_async_library() != "asyncio":
            return await shielded(partial(anyio.to_thread.run_sync, function, limiter=anyio.CapacityLimiter(1)))
        call = asyncio.get_running_loop().run_in_executor(_pool(), function)
        await _despite_cancellation(call)
        return call.result()
    finally:
        limiter.release()


def _pool() -> ThreadPoolExecutor:
    """Return the threads of the running event loop for short work of our own; they end with the loop.

    anyio's take twice as long to reach. Those that the loop itself has may all wait in functions of the user.
    """
    try:
        return _pools.get()
    except LookupError:
        pool = ThreadPoolExecutor(_MOST_THREADS, "agentkit")
        _pools.set(pool)
        return pool


_MOST_THREADS = 64
_pools: "RunVar[ThreadPoolExecutor]" = RunVar("agentkit_pool")


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Await work to its end: a cancellation comes after it."""
    if sniffio.current_async_library() != "asyncio":
        with anyio.CancelScope(shield=True):
            return await work()
    outcome: list[tuple[T, None] | tuple[None, BaseException]] = []

    async def attempt() -> None:
        try:
            outcome.append((await work(), None))
        except BaseException as error:  # noqa: BLE001 (it is raised below, outside of the task)
            outcome.append((None, error))

    await _despite_cancellation(asyncio.ensure_future(attempt()))
    value, error = outcome[0]
    if error is not None:
        raise error
    return cast("T", value)


async def _despite_cancellation(work: "asyncio.Future[Any]") -> None:
    """Wait for the end of a future or task; raise a cancellation after that."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # against anyio's cancellations, which come again and again
        while not work.done():
            try:
                await asyncio.wait((work,))
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        work.exception()  # or asyncio would log that nobody looked at it
        raise cancelled
