"""A streamed run, and running from code that is not async."""

import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import sniffio
from anyio.lowlevel import checkpoint_if_cancelled

from agentkit.core.concurrency import beside
from agentkit.core.errors import ConfigurationError, RunCancelled
from agentkit.runs.events import Emit, Event
from agentkit.runs.result import Result

T = TypeVar("T")


class Run(Generic[T]):
    """A run in progress. Iterate it for its events; afterwards `result` has its result."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._wake: anyio.Event | None = None
        self._result: Result[T] | None = None
        self._error: BaseException | None = None

    @property
    def result(self) -> Result[T]:
        """The result of the run.

        Raises:
            AgentkitError: The error that ended the run; `RunCancelled` if the block was left before its end.
        """
        if self._result is not None:
            return self._result
        raise self._error or RunCancelled("the run has not ended yet; read all its events, then its result is there")

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._error is not None:
                await checkpoint_if_cancelled()  # what cancelled the run may cancel this task too
                raise self._error
            if self._result is not None:
                raise StopAsyncIteration
            self._wake = anyio.Event()
            await self._wake.wait()
        return self._events.popleft()

    def _emit(self, event: Event) -> None:
        self._events.append(event)
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    async def perform(self, run: Callable[[Emit], Awaitable[Result[T]]]) -> None:
        """Run, and keep the result or the error. `stream_run` calls it."""
        try:
            self._result = await run(self._emit)
        except Exception as error:  # noqa: BLE001 (raised where the events are read)
            self._error = error
        except BaseException as cancelled:
            self._error = RunCancelled("the run was left before its end")
            self._error.partial = getattr(cancelled, "partial", None)
            raise
        finally:
            self._notify()


@asynccontextmanager
async def stream_run(run: Callable[[Emit], Awaitable[Result[T]]]) -> AsyncGenerator[Run[T], None]:
    """Run concurrently with the block, and cancel the run where the block ends."""
    handle = Run[T]()
    async with beside(partial(handle.perform, run)):
        yield handle


def run_blocking(function: Callable[[], Awaitable[T]]) -> T:
    """Call an async function from sync code, even if an event loop runs in this thread."""
    if not _in_event_loop():
        return anyio.run(function)
    if _threads_are_greenlets():
        raise ConfigurationError(
            "another greenlet of this thread runs an event loop, and gevent has one for all of them; run this one in a "
            "real thread: gevent.get_hub().threadpool.apply(lambda: agent.run_sync(…))"
        )
    with anyio.from_thread.start_blocking_portal() as portal:
        future = portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _threads_are_greenlets() -> bool:
    """Whether gevent has replaced threads, so that a new one is in the event loop of this one."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _in_event_loop() -> bool:
    import asyncio  # noqa: PLC0415

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return False
    return True
