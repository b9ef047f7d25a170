"""Work that goes on to its end, under asyncio. It is imported at its first use: asyncio is slow to import."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import anyio
from anyio.lowlevel import RunVar

T = TypeVar("T")

_MOST_THREADS = 64
_pools = RunVar[tuple[ThreadPoolExecutor, AsyncGenerator[ThreadPoolExecutor]]]("agentkit_pool")


async def call_to_its_end(function: Callable[[], T]) -> T:
    """Call a function in a thread; a cancellation waits for its end."""
    call = asyncio.get_running_loop().run_in_executor(await _pool(), function)
    await _ended(call)
    return call.result()


async def run_to_its_end(work: Callable[[], Awaitable[T]]) -> T:
    """Await work in a task of its own; a cancellation waits for its end. A task group would cost twice as much."""
    outcome: list[tuple[T, None] | tuple[None, BaseException]] = []

    async def attempt() -> None:
        try:
            outcome.append((await work(), None))
        except BaseException as error:  # noqa: BLE001 (it is raised below, outside of the task)
            outcome.append((None, error))

    await _ended(asyncio.ensure_future(attempt()))
    value, error = outcome[0]
    if error is not None:
        raise error
    return cast("T", value)


@asynccontextmanager
async def in_own_task(work: Callable[[], Coroutine[Any, Any, object]]) -> AsyncGenerator[None]:
    """Do work beside the block, which another task than the one that entered it may leave.

    Only the task that entered a task group can leave it, and asyncio closes dropped generators in another one.
    """
    scope = anyio.CancelScope()

    async def attempt() -> None:
        with scope:
            await work()

    task = asyncio.ensure_future(attempt())
    try:
        yield
    finally:
        scope.cancel()
        await _ended(task)
        _ = task.cancelled() or task.exception()  # or asyncio would log that nobody looked at it
    await task


async def _ended(work: "asyncio.Future[Any]") -> None:
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


async def _pool() -> ThreadPoolExecutor:
    """Return the threads of the running event loop for short work of our own.

    anyio's take twice as long to reach. Those that the loop itself has may all wait in functions of the user.
    """
    try:
        return _pools.get()[0]
    except LookupError:
        opened = _opened()
        pool = await anext(opened)
        _pools.set((pool, opened))
        return pool


async def _opened() -> AsyncGenerator[ThreadPoolExecutor]:
    """Yield threads, which end when the loop closes its generators: not only when somebody collects the garbage."""
    with ThreadPoolExecutor(_MOST_THREADS, "agentkit") as pool:
        yield pool
