"""Calling a tool's function in the event loop, in a thread or in a process; what it raises becomes a value."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, closing, nullcontext
from inspect import isasyncgen, isawaitable, isgenerator
from threading import Event, get_ident
from typing import Any, NamedTuple, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from agentkit.core.concurrency import Threads
from agentkit.core.errors import RunCancelled
from agentkit.core.messages import ToolCall
from agentkit.runs.events import Emit, ToolProgress
from agentkit.tools.results import ToolResult, to_tool_result
from agentkit.tools.schema.callables import wraps_generator
from agentkit.tools.schema.signature import Bound
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

_IN_THE_LOOP = nullcontext()


class Raised(NamedTuple):
    """What a tool raised, as a value: it cannot get lost or change its type on the way from where the tool runs."""

    error: BaseException


class Pending(NamedTuple):
    """What a sync function returned, if it must be awaited."""

    awaitable: Awaitable[object]


class Turn(NamedTuple):
    """The place of a sync function among those of one reply: threads race, and a model writes calls in an order."""

    before: Event | None
    begun: Event

    def take(self) -> None:
        """Wait, in the function's thread, until the one before it has begun."""
        if self.before is not None:
            self.before.wait()
        self.begun.set()


def batches(calls: tuple[ToolCall, ...], toolbox: Toolbox) -> Iterator[list[ToolCall]]:
    """Split the calls into groups that run concurrently; a sequential tool is a group of its own."""
    batch: list[ToolCall] = []
    for call in calls:
        tool = toolbox.get(call.name)
        if tool and tool.options.sequential:
            if batch:
                yield batch
            yield [call]
            batch = []
        else:
            batch.append(call)
    if batch:
        yield batch


def turns(tools: Iterable[Tool]) -> Iterator[Turn | None]:
    """Yield the turn of each call whose function runs in a thread: they begin in the order of the calls."""
    before: Event | None = None
    for tool in tools:
        if tool.flavour in ("sync", "generator"):
            turn = Turn(before, Event())
            before = turn.begun
            yield turn
        else:
            yield None


class Progress:
    """Emits `ToolProgress` while the call is open: for what a generator yields, and for `ToolContext.progress`."""

    def __init__(self, call: ToolCall, emit: Emit, run_id: str) -> None:
        self._call = call
        self._run_id = run_id
        self._emit = emit
        self._thread = get_ident()
        self.error: Exception | None = None
        self.over = False

    def report(self, value: object) -> None:
        """Emit a value, from any thread."""
        if get_ident() == self._thread:
            self(value)
        else:
            anyio.from_thread.run_sync(self, value)

    def __call__(self, value: object) -> None:
        """Emit a value, in the event loop's thread."""
        if self.over:
            raise RunCancelled("the call is over")  # ends the generator
        try:
            self._emit(ToolProgress(self._call, value, run_id=self._run_id))
        except Exception as error:
            self.error = error  # the observer's, not the tool's
            raise


def acquire_worker(tool: Tool, threads: Threads) -> AbstractAsyncContextManager[object]:
    """Wait until a thread or a process is free, if the tool needs one."""
    match tool.flavour:
        case "sync" | "generator":
            return threads.entered()
        case "process":
            from agentkit.runs.processes import worker_process  # noqa: PLC0415

            return worker_process(tool.function)
        case _:
            return _IN_THE_LOOP


async def call_function(  # noqa: PLR0913, PLR0917 (what a call has)
    tool: Tool, bound: Bound, progress: Progress, threads: Threads, worker: object, turn: Turn | None = None
) -> ToolResult | Raised:
    """Call a tool's function, with the worker from `acquire_worker`, and return the result or what it raised."""
    function, (args, kwargs) = tool.function, bound
    returned: ToolResult | Raised | Pending
    try:
        match tool.flavour:
            case "async":
                returned = await _await_result(function(*args, **kwargs), progress)
            case "async generator":
                returned = await _await_result(_drain_async(cast("Any", function(*args, **kwargs)), progress), progress)
            case "generator":
                returned = await _call_in_thread(
                    lambda: _drain(cast("Any", function(*args, **kwargs)), progress), threads, turn
                )
            case "process":
                returned = await _call_in_process(worker, function, args, kwargs)
            case _:
                returned = await _call_in_thread(
                    lambda: _drained(function(*args, **kwargs), tool, progress), threads, turn
                )
        if isinstance(returned, Pending):
            returned = await _await_result(returned.awaitable, progress)
    finally:
        progress.over = True
    if progress.error is not None:
        raise progress.error
    return returned


async def _await_result(awaitable: Any, progress: Callable[[object], None]) -> ToolResult | Raised:
    try:
        value = await awaitable
        return to_tool_result(await _drain_async(value, progress) if isasyncgen(value) else value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises becomes a value)
        return Raised(error)
    except BaseException as error:
        if not await _cancelled_inside(error):
            raise
        return Raised(error)


async def _cancelled_inside(error: BaseException) -> bool:
    """Whether something inside the tool was cancelled, and not the run."""
    import asyncio  # noqa: PLC0415

    if not _is_cancelled_task(error):
        return False
    if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return False
        await checkpoint_if_cancelled()
    return True


def _is_cancelled_task(error: BaseException) -> bool:
    """Whether an error is asyncio's cancellation, which may come from a task of the tool's own, on trio too."""
    import asyncio  # noqa: PLC0415

    return isinstance(error, asyncio.CancelledError)


async def _call_in_thread(
    function: Callable[[], object], threads: Threads, turn: Turn | None
) -> ToolResult | Raised | Pending:
    def attempt() -> ToolResult | Raised | Pending:
        try:
            if turn is not None:
                turn.take()
            value = function()
            # An awaitable must be awaited in the event loop; anything else becomes text before it can change.
            return Pending(value) if isawaitable(value) else to_tool_result(value)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises becomes a value)
            return Raised(error)
        except BaseException as error:
            if not _is_cancelled_task(error):
                raise
            return Raised(error)

    return await threads.run(attempt)


async def _call_in_process(worker: Any, function: Callable[..., object], args: Any, kwargs: Any) -> ToolResult | Raised:
    if isinstance(worker, Exception):
        return Raised(worker)
    try:
        return cast("ToolResult", await worker.call(function, args, kwargs, to_tool_result))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises becomes a value)
        return Raised(error)


def _drained(value: object, tool: Tool, progress: Callable[[object], None]) -> object:
    """Run the generator that a decorated function returned; any other value stays as it is."""
    if isasyncgen(value):
        return _drain_async(value, progress)
    if isgenerator(value) and wraps_generator(tool.function):
        return _drain(cast("Generator[object, object, object]", value), progress)
    return value


def _drain(values: Generator[object, object, object], progress: Callable[[object], None]) -> object:
    """Run a generator in its thread. Its result is its return value, or else the last value that it yielded."""
    last: object = None
    with closing(values):
        while True:
            try:
                last = next(values)
            except StopIteration as end:
                return last if end.value is None else end.value
            anyio.from_thread.run_sync(progress, last)


async def _drain_async(values: Any, progress: Callable[[object], None]) -> object:
    last: object = None
    async with aclosing(values):
        async for last in values:
            progress(last)
    return last
