"""A streamed run, and running from code that is not async."""

import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

import anyio
import sniffio
from anyio.lowlevel import checkpoint_if_cancelled

from agentkit.core.concurrency import beside
from agentkit.core.errors import ConfigurationError, RunCancelled
from agentkit.core.messages import UserMessage
from agentkit.core.parts import Content
from agentkit.runs.events import Emit, Event
from agentkit.runs.inbox import Inbox
from agentkit.runs.result import Result

T = TypeVar("T")
Begin: TypeAlias = Callable[[Emit, Inbox], Awaitable[Result[T]]]
"""Runs, gives its events to the one and reads from the other."""

_ENTER_IT = "a streamed run is a block: async with agent.stream(…) as run, and in it: async for event in run"


class Run(Generic[T]):
    """A run in progress. Iterate it for its events; afterwards `result` has its result.

    `send` and `stop` may be called from any task and any thread.
    """

    def __init__(self) -> None:
        self._inbox = Inbox()
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

    def send(self, message: Content | UserMessage) -> None:
        """Send a message to the run, which reads it before its next request.

        It is then in the history, in the session, and a `MessageReceived` event tells so. A message that comes with the
        answer is read too: the run goes on.

        Args:
            message: A text, blocks, or a message. It belongs to the turn that is under way, so policies go on.

        Raises:
            InvalidRequest: If the run has ended.
        """
        self._inbox.send(message)

    def stop(self) -> None:
        """End the run after this step: the request that is under way, and the calls of its reply.

        Unless that was the answer, `result.stop` is `"stopped"`. The history has every result, and can go on. To stop
        at once, leave the block.
        """
        self._inbox.stop()

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

    async def perform(self, run: Begin[T]) -> None:
        """Run, and keep the result or the error. `StreamedRun` calls it."""
        try:
            self._result = await run(self._emit, self._inbox)
        except Exception as error:  # noqa: BLE001 (raised where the events are read)
            self._error = error
        except BaseException as cancelled:
            self._error = RunCancelled("the run was left before its end")
            self._error.partial = getattr(cancelled, "partial", None)
            raise
        finally:
            self._notify()


class StreamedRun(AbstractAsyncContextManager[Run[T]]):
    """A block with a run beside it. Enter it with `async with`: leaving it cancels the run, if it has not ended."""

    def __init__(self, run: Begin[T]) -> None:
        self._block = _running(run)

    async def __aenter__(self) -> Run[T]:
        return await self._block.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:  # noqa: PYI036 (passed on)
        return await self._block.__aexit__(*error)

    if not TYPE_CHECKING:  # checkers say themselves that it cannot be used like this

        def __aiter__(self) -> NoReturn:
            raise ConfigurationError(_ENTER_IT)

        __enter__ = __await__ = __aiter__

        def __exit__(self, *error: object) -> NoReturn:
            raise ConfigurationError(_ENTER_IT)


@asynccontextmanager
async def _running(run: Begin[T]) -> AsyncGenerator[Run[T], None]:
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
