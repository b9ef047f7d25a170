"""The calls of one reply: checked, run at once, and answered in order."""

from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from inspect import isawaitable
from time import perf_counter
from typing import Any, NamedTuple, cast

from anyio import create_task_group, from_thread, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled
from pydantic_core import ValidationError

from agentkit.answers import text_of, text_of_error, text_of_invalid
from agentkit.errors import ToolError
from agentkit.events import CallMended, Emit, ToolFinished, ToolProgress, ToolStarted
from agentkit.mending import NULL_LEFT_OUT, mended_arguments
from agentkit.messages import ToolCall, ToolMessage
from agentkit.plan import Plan
from agentkit.schema import Bound
from agentkit.state import CallRecord, State
from agentkit.threads import Threads
from agentkit.tools import Tool, Toolbox


class Raised(NamedTuple):
    """What a tool raised, as a value: tools run where an exception could be lost or change its kind."""

    error: BaseException


class Pending(NamedTuple):
    """What a sync function returned, if that must be awaited."""

    awaitable: Awaitable[object]


class Job(NamedTuple):
    """A call that is ready to run."""

    call: ToolCall
    tool: Tool
    bound: Bound


async def execute(calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> tuple[ToolMessage, ...]:
    """Answer every call, in order.

    Calls run at once; a sequential tool runs alone, after the calls before it. What a tool raises is an answer too.

    Args:
        calls: The open calls of the last reply.
        plan: What the run goes by.
        state: Where the run is.
        emit: Takes the events.

    Returns:
        One message for each call, in the order of the calls.
    """
    answers: dict[int, ToolMessage] = {}
    for batch in _batches(calls, plan.toolbox):
        if len(batch) == 1:
            answers[batch[0]] = await _answer(calls[batch[0]], plan, emit)
            continue
        async with create_task_group() as group:
            for at in batch:
                group.start_soon(_answer_into, answers, at, calls[at], plan, emit)
    return _remarked(calls, [answers[at] for at in range(len(calls))], plan, state)


def _remarked(
    calls: tuple[ToolCall, ...], answers: list[ToolMessage], plan: Plan, state: State
) -> tuple[ToolMessage, ...]:
    """Add to each answer what the policy has the model told with it."""
    records = state.calls
    for at, (call, answer) in enumerate(zip(calls, answers, strict=True)):
        records = (*records, CallRecord(call, answer.outcome))
        if remark := plan.policy.remark(records):
            answers[at] = replace(answer, content=f"{answer.content}\n\n{remark}")
    return tuple(answers)


def _batches(calls: tuple[ToolCall, ...], toolbox: Toolbox) -> Iterator[list[int]]:
    batch: list[int] = []
    for at, call in enumerate(calls):
        tool = toolbox.get(call.name)
        if tool and tool.options.sequential:
            if batch:
                yield batch
            yield [at]
            batch = []
        else:
            batch.append(at)
    if batch:
        yield batch


async def _answer_into(answers: dict[int, ToolMessage], at: int, call: ToolCall, plan: Plan, emit: Emit) -> None:
    answers[at] = await _answer(call, plan, emit)


async def _answer(call: ToolCall, plan: Plan, emit: Emit) -> ToolMessage:
    job = _job(call, plan.toolbox, emit)
    if isinstance(job, ToolMessage):
        return job
    emit(ToolStarted(call))
    began = perf_counter()
    options = job.tool.options
    returned: str | Raised = Raised(ToolError(f"{job.tool.name} did not finish in {options.timeout} s"))
    with move_on_after(options.timeout):
        returned = await _run(job, plan, emit)
    if isinstance(returned, str):
        message, error = ToolMessage(call.id, returned), None
    else:
        error = returned.error
        message = ToolMessage(call.id, text_of_error(error, options.errors or plan.errors), "error")
    emit(ToolFinished(call, message, perf_counter() - began, error))
    return message


def _job(call: ToolCall, toolbox: Toolbox, emit: Emit) -> Job | ToolMessage:
    """Make a call ready to run, or answer it: no such tool, or arguments that do not fit."""
    tool = toolbox.get(call.name)
    if tool is None:
        known = ", ".join(sorted(toolbox.names)) or "none"
        return _not_run(call, f"There is no tool {call.name[:64]!r}. The tools are: {known}.", None, emit)
    try:
        values, mends = mended_arguments(tool.arguments, call.arguments)
    except ValidationError as error:
        return _not_run(call, text_of_invalid(error, tool.name), error, emit)
    if tool.options.strict:
        # There null is how a model leaves something out.
        mends = tuple([each for each in mends if each.what != NULL_LEFT_OUT])
    if mends:
        emit(CallMended(call, mends))
    return Job(call, tool, tool.arguments.bind(values))


def _not_run(call: ToolCall, why: str, error: Exception | None, emit: Emit) -> ToolMessage:
    message = ToolMessage(call.id, why, "error")
    emit(ToolFinished(call, message, error=error or ToolError(why)))
    return message


async def _run(job: Job, plan: Plan, emit: Emit) -> str | Raised:
    function, (args, kwargs) = job.tool.function, job.bound

    def progress(value: object) -> None:
        emit(ToolProgress(job.call, value))

    match job.tool.flavour:
        case "async":
            return await _awaited(function(*args, **kwargs))
        case "async generator":
            return await _awaited(_last_async(cast("Any", function(*args, **kwargs)), progress))
        case "generator":
            returned = await _in_thread(lambda: _last(cast("Any", function(*args, **kwargs)), progress), plan.threads)
        case _:
            returned = await _in_thread(lambda: function(*args, **kwargs), plan.threads)
    return await _awaited(returned.awaitable) if isinstance(returned, Pending) else returned


async def _awaited(awaitable: Any) -> str | Raised:
    try:
        return text_of(await awaitable)
    except CancelledError as error:
        if get_cancelled_exc_class() is CancelledError:
            task = current_task()
            if task is not None and task.cancelling():
                raise
            await checkpoint_if_cancelled()
        return Raised(error)  # of something inside the tool, and not of the run
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
        return Raised(error)


async def _in_thread(function: Callable[[], object], threads: Threads) -> str | Raised | Pending:
    def attempt() -> str | Raised | Pending:
        try:
            value = function()
            # An awaitable must be awaited in the event loop; anything else becomes text before it can change.
            return Pending(value) if isawaitable(value) else text_of(value)
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
            return Raised(error)

    return await threads.run(attempt)


def _last(values: Iterable[object], progress: Callable[[object], None]) -> object:
    """Run a generator in its thread: each value is progress; what it returns, or else the last, is the result."""
    iterator = iter(values)
    last: object = None
    while True:
        try:
            last = next(iterator)
        except StopIteration as end:
            return last if end.value is None else end.value
        from_thread.run_sync(progress, last)


async def _last_async(values: Any, progress: Callable[[object], None]) -> object:
    last: object = None
    async for last in values:
        progress(last)
    return last
