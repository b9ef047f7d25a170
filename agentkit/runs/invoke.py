"""One call of a tool's function: in the event loop, in a thread, or in a process; whatever it raises is a value."""

from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing, closing, nullcontext
from inspect import isawaitable
from threading import get_ident
from typing import Any, NamedTuple, cast

from anyio import from_thread, get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from agentkit.core.concurrency import Threads
from agentkit.core.errors import RunCancelled
from agentkit.core.messages import ToolCall
from agentkit.runs.events import Emit, ToolProgress
from agentkit.runs.processes import a_process
from agentkit.tools.results import ToolResult, to_tool_result
from agentkit.tools.schema.signature import Bound
from agentkit.tools.tool import Tool


class Raised(NamedTuple):
    """What a tool raised, as a value: tools run where an exception could be lost or change its kind."""

    error: BaseException


class Pending(NamedTuple):
    """What a sync function returned, if that must be awaited."""

    awaitable: Awaitable[object]


class Progress:
    """Tells how far a tool is, as long as its call is open: what a generator yields, and what a tool says itself.

    Args:
        call: The call.
        emit: Takes the events.
        run_id: The id of the run.
    """

    def __init__(self, call: ToolCall, emit: Emit, run_id: str) -> None:
        self._call = call
        self._run_id = run_id
        self._emit = emit
        self._thread = get_ident()
        self.error: Exception | None = None
        self.over = False

    def report(self, value: object) -> None:
        """Tell it from any thread."""
        if get_ident() == self._thread:
            self(value)
        else:
            from_thread.run_sync(self, value)

    def __call__(self, value: object) -> None:
        """Tell it in the event loop's thread."""
        if self.over:
            raise RunCancelled("the call is over")  # which ends the generator
        try:
            self._emit(ToolProgress(self._call, value, run_id=self._run_id))
        except Exception as error:
            self.error = error  # an observer's, and not the tool's
            raise


def acquire_worker(tool: Tool, threads: Threads) -> AbstractAsyncContextManager[object]:
    """Wait for a thread, or for a process to be ready, where a tool takes one; its time begins after that."""
    match tool.flavour:
        case "sync" | "generator":
            return threads.here()
        case "process":
            return a_process(tool.function)
        case _:
            return nullcontext()


async def call_function(
    tool: Tool, bound: Bound, progress: Progress, threads: Threads, turn: object
) -> ToolResult | Raised:
    """Run a tool's function.

    Args:
        tool: The tool.
        bound: What it is called with.
        progress: Is told what a generator yields.
        threads: Where sync functions run.
        turn: What `acquire_worker` gave.

    Returns:
        What it returned, or what it raised.
    """
    function, (args, kwargs) = tool.function, bound
    returned: ToolResult | Raised | Pending
    try:
        match tool.flavour:
            case "async":
                returned = await _awaited(function(*args, **kwargs))
            case "async generator":
                returned = await _awaited(_last_async(cast("Any", function(*args, **kwargs)), progress))
            case "generator":
                returned = await _in_thread(lambda: _last(cast("Any", function(*args, **kwargs)), progress), threads)
            case "process":
                returned = await _in_process(turn, function, args, kwargs)
            case _:
                returned = await _in_thread(lambda: function(*args, **kwargs), threads)
        if isinstance(returned, Pending):
            returned = await _awaited(returned.awaitable)
    finally:
        progress.over = True
    if progress.error is not None:
        raise progress.error
    return returned


async def _awaited(awaitable: Any) -> ToolResult | Raised:
    try:
        return to_tool_result(await awaitable)
    except CancelledError as error:
        if get_cancelled_exc_class() is CancelledError:
            task = current_task()
            if task is not None and task.cancelling():
                raise
            await checkpoint_if_cancelled()
        return Raised(error)  # of something inside the tool, and not of the run
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
        return Raised(error)


async def _in_thread(function: Callable[[], object], threads: Threads) -> ToolResult | Raised | Pending:
    def attempt() -> ToolResult | Raised | Pending:
        try:
            value = function()
            # An awaitable must be awaited in the event loop; anything else becomes text before it can change.
            return Pending(value) if isawaitable(value) else to_tool_result(value)
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
            return Raised(error)

    return await threads.run(attempt)


async def _in_process(turn: Any, function: Callable[..., object], args: Any, kwargs: Any) -> ToolResult | Raised:
    if isinstance(turn, Exception):
        return Raised(turn)
    try:
        return cast("ToolResult", await turn.call(function, args, kwargs, to_tool_result))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
        return Raised(error)


def _last(values: Generator[object, object, object], progress: Callable[[object], None]) -> object:
    """Run a generator in its thread: each value is progress; what it returns, or else the last, is the result."""
    last: object = None
    with closing(values):
        while True:
            try:
                last = next(values)
            except StopIteration as end:
                return last if end.value is None else end.value
            from_thread.run_sync(progress, last)


async def _last_async(values: Any, progress: Callable[[object], None]) -> object:
    last: object = None
    async with aclosing(values):
        async for last in values:
            progress(last)
    return last
