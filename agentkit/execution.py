"""The calls of one reply: checked, run at once, and answered in order."""

from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, closing, nullcontext
from dataclasses import replace
from inspect import isawaitable
from threading import get_ident
from time import perf_counter
from typing import Any, NamedTuple, cast

from anyio import create_task_group, from_thread, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled
from pydantic_core import ValidationError

from agentkit.answers import Answer, answer_of, text_of_error, text_of_invalid
from agentkit.context import ToolContext
from agentkit.errors import ConfigurationError, RunCancelled, ToolError
from agentkit.events import CallMended, Emit, ToolFinished, ToolProgress, ToolStarted
from agentkit.mending import NULL_LEFT_OUT, mended_arguments
from agentkit.messages import Outcome, ToolCall, ToolMessage
from agentkit.plan import Plan
from agentkit.processes import Worker, a_process
from agentkit.schema import Bound
from agentkit.shortening import shortened
from agentkit.state import CallRecord, Paused, State
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
    values: dict[str, Any]
    progress: "Progress"
    note: str = ""


async def execute(calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> tuple[ToolMessage, ...]:
    """Answer every call, in order.

    Calls run at once; a sequential tool runs alone, after the calls before it. What a tool raises is an answer too.

    Args:
        calls: The open calls of the last reply.
        plan: What the run goes by.
        state: Where the run is.
        emit: Takes the events.

    Returns:
        One message for each call, in the order of the calls; `Paused` if some calls wait for approval.
    """
    plan = plan.at(state)
    answers: dict[int, ToolMessage] = {}
    waiting: set[int] = set()
    for batch in _batches(calls, plan.toolbox):
        # What tools ask for is made here, in the run's own task, where it is cleaned up too.
        jobs = [await _ready(calls[at], plan, state, emit) for at in batch]
        waiting |= {at for at, job in zip(batch, jobs, strict=True) if job is None}
        if len(batch) == 1:
            await _answer_into(answers, batch[0], jobs[0], plan, state, emit)
            continue
        try:
            async with create_task_group() as group:
                for at, job in zip(batch, jobs, strict=True):
                    group.start_soon(_answer_into, answers, at, job, plan, state, emit)
        except BaseExceptionGroup as several:
            # No tool raises here, so this is an observer's error, and it is told as what it is.
            errors = [each for each in several.exceptions if isinstance(each, Exception)] or several.exceptions
            raise errors[0] from errors[0].__cause__
    open_calls = tuple([call for at, call in enumerate(calls) if at not in waiting])
    answered = _remarked(open_calls, [answers[at] for at in sorted(answers)], plan, state)
    return Paused(answered) if waiting else answered


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


async def _answer_into(  # noqa: PLR0913, PLR0917 (one call, and what a run goes by)
    answers: dict[int, ToolMessage], at: int, job: Job | ToolMessage | None, plan: Plan, state: State, emit: Emit
) -> None:
    if job is not None:
        answers[at] = await _answer(job, plan, state, emit)


async def _answer(job: Job | ToolMessage, plan: Plan, state: State, emit: Emit) -> ToolMessage:
    if isinstance(job, ToolMessage):
        return job
    call = job.call
    options, seconds = job.tool.options, 0.0
    returned: Answer | Raised = Raised(ToolError(f"{job.tool.name} did not finish in {options.timeout} s"))
    async with _turn(job.tool, plan) as turn:
        emit(ToolStarted(call))
        began = perf_counter()
        with move_on_after(options.timeout):
            returned = await _run(job, plan, turn)
        seconds = perf_counter() - began
    if isinstance(returned, Raised):
        error = returned.error
        message = ToolMessage(call.id, text_of_error(error, options.errors or plan.errors), "error")
    else:
        error, text = None, f"{job.note}\n\n{returned.text}" if job.note else returned.text
        part = shortened(text, options.max_result or plan.limits.result, call.id, state.messages)
        message = (
            ToolMessage(call.id, text, images=returned.images)
            if part is None
            else ToolMessage(call.id, part, full=text, images=returned.images)
        )
    emit(ToolFinished(call, message, seconds, error))
    return message


def _turn(tool: Tool, plan: Plan) -> AbstractAsyncContextManager[object]:
    """Wait for a thread, or for a process to be ready, where a tool takes one; its time begins after that."""
    match tool.flavour:
        case "sync" | "generator":
            return plan.threads.here()
        case "process":
            return a_process(tool.function)
        case _:
            return nullcontext()


async def _ready(call: ToolCall, plan: Plan, state: State, emit: Emit) -> Job | ToolMessage | None:
    """Make a call ready to run, with what its tool asks for, or answer it; `None` if it waits for approval."""
    job: Job | ToolMessage | None = _job(call, plan.toolbox, emit)
    if isinstance(job, Job) and _needs_approval(job):
        job = await _approved(job, plan, emit)
    if not isinstance(job, Job) or not job.tool.arguments.hidden:
        return job
    try:
        given = await _given(job, plan, state)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (what a function raises that a tool depends on is an answer)
        said = text_of_error(error, job.tool.options.errors or plan.errors)
        return _not_run(call, said, error, emit)
    args, kwargs = job.bound
    return job._replace(bound=Bound(args, kwargs | given))


def _needs_approval(job: Job) -> bool:
    approval = job.tool.options.approval
    if not callable(approval):
        return approval
    try:
        return approval(dict(job.values)) is not False
    except Exception:  # noqa: BLE001 (one that cannot tell does not let a call through)
        return True


async def _approved(job: Job, plan: Plan, emit: Emit) -> Job | ToolMessage | None:
    """Ask for a decision on a call; give it as it may run, or its answer, or `None` if it waits."""
    call = job.call
    decision = None if plan.scope is None else await plan.scope.ask(call)
    if decision is None:
        return None
    if not decision.approved:
        why = f": {decision.reason}" if decision.reason else ""
        return _not_run(call, f"Not run: the user did not allow this call{why}.", None, emit, "refused")
    if decision.arguments is None:
        return job
    edited = _job(replace(call, arguments=decision.arguments), plan.toolbox, emit)
    note = f"The user changed the arguments to {decision.arguments}."
    return edited._replace(call=call, note=note) if isinstance(edited, Job) else edited


async def _given(job: Job, plan: Plan, state: State) -> dict[str, object]:
    """Give the arguments that the model does not see."""
    scope = plan.scope
    if scope is None:
        raise ConfigurationError(f"{job.tool.name} asks for the context of a run, and there is none")
    context = ToolContext(
        deps=scope.deps,
        run_id=scope.run_id,
        call=job.call,
        step=state.step,
        messages=state.messages,
        usage=state.usage,
        ends=scope.ends,
        _tell=job.progress.tell,
    )
    return await scope.dependencies.give(job.tool.arguments.hidden, context)


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
    return Job(call, tool, tool.arguments.bind(values), values, Progress(call, emit))


def _not_run(
    call: ToolCall, why: str, error: BaseException | None, emit: Emit, outcome: Outcome = "error"
) -> ToolMessage:
    message = ToolMessage(call.id, why, outcome)
    emit(ToolFinished(call, message, error=error or ToolError(why)))
    return message


class Progress:
    """Tells how far a tool is, as long as its call is open: what a generator yields, and what a tool says itself.

    Args:
        call: The call.
        emit: Takes the events.
    """

    def __init__(self, call: ToolCall, emit: Emit) -> None:
        self._call = call
        self._emit = emit
        self._thread = get_ident()
        self.error: Exception | None = None
        self.over = False

    def tell(self, value: object) -> None:
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
            self._emit(ToolProgress(self._call, value))
        except Exception as error:
            self.error = error  # an observer's, and not the tool's
            raise


async def _run(job: Job, plan: Plan, turn: object) -> Answer | Raised:
    function, (args, kwargs), progress = job.tool.function, job.bound, job.progress
    returned: Answer | Raised | Pending
    try:
        match job.tool.flavour:
            case "async":
                returned = await _awaited(function(*args, **kwargs))
            case "async generator":
                returned = await _awaited(_last_async(cast("Any", function(*args, **kwargs)), progress))
            case "generator":
                returned = await _in_thread(
                    lambda: _last(cast("Any", function(*args, **kwargs)), progress), plan.threads
                )
            case "process":
                returned = await _in_process(turn, function, args, kwargs)
            case _:
                returned = await _in_thread(lambda: function(*args, **kwargs), plan.threads)
        if isinstance(returned, Pending):
            returned = await _awaited(returned.awaitable)
    finally:
        progress.over = True
    if progress.error is not None:
        raise progress.error
    return returned


async def _awaited(awaitable: Any) -> Answer | Raised:
    try:
        return answer_of(await awaitable)
    except CancelledError as error:
        if get_cancelled_exc_class() is CancelledError:
            task = current_task()
            if task is not None and task.cancelling():
                raise
            await checkpoint_if_cancelled()
        return Raised(error)  # of something inside the tool, and not of the run
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
        return Raised(error)


async def _in_thread(function: Callable[[], object], threads: Threads) -> Answer | Raised | Pending:
    def attempt() -> Answer | Raised | Pending:
        try:
            value = function()
            # An awaitable must be awaited in the event loop; anything else becomes text before it can change.
            return Pending(value) if isawaitable(value) else answer_of(value)
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001 (whatever a tool raises is an answer)
            return Raised(error)

    return await threads.run(attempt)


async def _in_process(turn: object, function: Callable[..., object], args: Any, kwargs: Any) -> Answer | Raised:
    if not isinstance(turn, Worker):
        return Raised(cast("Exception", turn))
    try:
        return cast("Answer", await turn.call(function, args, kwargs, answer_of))
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
