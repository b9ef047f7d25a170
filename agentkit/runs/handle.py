"""A run under way: watched as it happens, waited for, or waited for from code that is not async."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
import sniffio
from anyio.from_thread import start_blocking_portal

from agentkit.core.errors import RunCancelled
from agentkit.runs.events import Emit, Event
from agentkit.runs.result import Result

T = TypeVar("T")


class Run(Generic[T]):
    """A run under way. Iterate it for its events; then `result` is what it came to."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._wake: anyio.Event | None = None
        self._result: Result[T] | None = None
        self._error: BaseException | None = None

    @property
    def result(self) -> Result[T]:
        """What the run came to.

        Raises:
            AgentkitError: What ended the run, if it ended without an answer: `RunCancelled` if it was left before its
                end.
        """
        if self._result is not None:
            return self._result
        raise self._error or RunCancelled(
            "the run is not at its end; its result is there once all its events were read"
        )

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._error is not None:
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

    async def perform(self, performance: Callable[[Emit], Awaitable[Result[T]]]) -> None:
        """Do what the run is; for the one who starts it."""
        try:
            self._result = await performance(self._emit)
        except Exception as error:  # noqa: BLE001 (it is raised where the run is read)
            self._error = error
        except BaseException as cancelled:
            self._error = RunCancelled("the run was left before its end")
            self._error.partial = getattr(cancelled, "partial", None)
            raise
        finally:
            self._notify()


@asynccontextmanager
async def watched(performance: Callable[[Emit], Awaitable[Result[T]]]) -> AsyncGenerator[Run[T], None]:
    """Start a run beside the block, and stop it where the block ends."""
    run = Run[T]()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run.perform, performance)
            yield run
            group.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The run keeps its own errors, so what is in the group is the one that left the block.
        raise group.exceptions[0] from group.exceptions[0].__cause__


def blocking(function: Callable[[], Awaitable[T]]) -> T:
    """Call an async function from code that is not async, whether or not an event loop runs in this thread."""
    if not _in_event_loop():
        return anyio.run(function)
    with start_blocking_portal() as portal:
        future = portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return False
    return True
