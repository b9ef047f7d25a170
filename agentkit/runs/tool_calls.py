"""The calls of one reply: checked, run at once, and answered in order."""

from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple

from anyio import create_task_group, move_on_after
from pydantic_core import ValidationError

from agentkit.core.errors import ConfigurationError, ToolError
from agentkit.core.messages import Outcome, ToolCall, ToolMessage
from agentkit.core.state import CallRecord, State, ToolResults
from agentkit.runs.events import ApprovalNeeded, ArgumentsRepaired, Emit, ToolFinished, ToolStarted
from agentkit.runs.invoke import Progress, Raised, returned_by, turn_of
from agentkit.runs.plan import Plan
from agentkit.runs.recorder import Effect, key_of
from agentkit.tools.argument_repair import NULL_LEFT_OUT, parse_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.results import ToolResult, error_text, invalid_arguments_text
from agentkit.tools.schema.signature import Bound
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import truncate

_HAD_STARTED = "This had been started before, and it is not known how that ended"


class Job(NamedTuple):
    """A call that is ready to run.

    Attributes:
        call: The call.
        tool: Its tool.
        bound: What the function is called with.
        values: The arguments, validated.
        arguments: The same as JSON.
        progress: Tells how far the tool is.
        note: What the model is told before the result.
        effect: What is known of its effect, if it must run once.
    """

    call: ToolCall
    tool: Tool
    bound: Bound
    values: dict[str, Any]
    arguments: str
    progress: Progress
    note: str = ""
    effect: Effect | None = None


async def execute(calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> ToolResults:
    """Answer every call, in order.

    Calls run at once; a sequential tool runs alone, after the calls before it. What a tool raises is an answer too.

    Args:
        calls: The open calls of the last reply.
        plan: What the run goes by.
        state: Where the run is.
        emit: Takes the events.

    Returns:
        A tool result for each call, in the order of the calls, except for those that wait for approval.
    """
    return await _Round(calls, plan.at(state), state, emit).run()


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


class _Round:
    """The calls of one reply, on their way to their answers."""

    def __init__(self, calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> None:
        self._calls = calls
        self._plan = plan
        self._state = state
        self._emit = emit
        self._answers: dict[str, ToolMessage] = {}
        self._twins: list[Job] = []  # which have the effect of another call that is running

    async def run(self) -> ToolResults:
        """Answer every call."""
        for batch in _batches(self._calls, self._plan.toolbox):
            # What tools ask for is made here, in the run's own task, where it is cleaned up too.
            await self._do_at_once([await self._ready(self._calls[at]) for at in batch])
            while self._twins:
                twins, self._twins = self._twins, []
                await self._do_at_once([await self._allowed(job) for job in twins])
        answered = [self._answers[call.id] for call in self._calls if call.id in self._answers]
        return ToolResults(tuple(answered), paused=len(answered) < len(self._calls))

    async def _do_at_once(self, ready: list[Job | None]) -> None:
        jobs = [each for each in ready if each is not None]
        if len(jobs) == 1:
            await self._do(jobs[0])
            return
        try:
            async with create_task_group() as group:
                for job in jobs:
                    group.start_soon(self._do, job)
        except BaseExceptionGroup as several:
            # No tool raises here, so this is an observer's or a session's error, and it is told as what it is.
            errors = [each for each in several.exceptions if isinstance(each, Exception)] or several.exceptions
            raise errors[0] from errors[0].__cause__

    async def _do(self, job: Job) -> None:
        """Run a call, and answer it."""
        call, tool, options = job.call, job.tool, job.tool.options
        returned: ToolResult | Raised | None = None
        async with turn_of(tool, self._plan.threads) as turn:
            if options.recorded:
                await self._plan.scope.recorder.start(call, job.arguments, job.effect)
            self._emit(ToolStarted(call))
            began = perf_counter()
            with move_on_after(options.timeout) as time:
                returned = await returned_by(tool, job.bound, job.progress, self._plan.threads, turn)
            seconds = perf_counter() - began
            stopped = time.cancel_called or not getattr(turn, "usable", True)
        if isinstance(returned, ToolResult):
            await self._finish(call, self._message(job, returned), None, seconds)
            return
        if returned is None:
            error: BaseException = ToolError(f"{tool.name} did not finish in {options.timeout} s")
        else:
            error = returned.error
        message = ToolMessage(call.id, error_text(error, options.errors or self._plan.errors), "error")
        if stopped and job.effect is not None:
            # What it says then is not its word that nothing happened.
            message = replace(message, content=f"{message.content}; it may have taken effect", outcome="cancelled")
        await self._finish(call, message, error, seconds)

    def _message(self, job: Job, returned: ToolResult) -> ToolMessage:
        longest = job.tool.options.max_result or self._plan.limits.result
        text = f"{job.note}\n\n{returned.text}" if job.note else returned.text
        part = truncate(text, longest, job.call.id, self._state.messages)
        if part is None:
            return ToolMessage(job.call.id, text, images=returned.images)
        return ToolMessage(job.call.id, part, full=text, images=returned.images)

    async def _finish(
        self, call: ToolCall, message: ToolMessage, error: BaseException | None = None, seconds: float = 0.0
    ) -> None:
        """Answer a call: the answer is kept before anyone is told."""
        records, step = self._state.calls, self._state.open_step
        for each in self._calls[: self._calls.index(call) + 1]:
            answer = message if each is call else self._answers.get(each.id)
            answer = answer or ToolMessage(each.id, "")
            records = (*records, CallRecord(each, answer.outcome, step, answer.content))
        if remark := self._plan.policy.remark(records):
            message = replace(message, content=f"{message.content}\n\n{remark}")
        self._answers[call.id] = message
        await self._plan.scope.recorder.keep(message)
        self._emit(ToolFinished(call, message, seconds, error))

    async def _refuse(
        self, call: ToolCall, why: str, error: BaseException | None = None, outcome: Outcome = "error"
    ) -> None:
        """Answer a call that is not run."""
        if self._plan.scope.recorder.had_started(call):
            outcome = "cancelled"  # for that is all that is known of it
        await self._finish(call, ToolMessage(call.id, why, outcome), error or ToolError(why))

    async def _ready(self, call: ToolCall) -> Job | None:
        """Make a call ready to run, with what its tool asks for; `None` if it is answered, or waits for approval."""
        job = await self._job(call, call.arguments)
        return None if job is None else await self._allowed(job)

    async def _allowed(self, job: Job) -> Job | None:
        """Find out whether a call may run; `None` if it is answered, or waits."""
        found = await self._once(job)
        if found is not None and (_needs_approval(found) or _may_have_run(found)):
            found = await self._approved(found)
        if found is None:
            return None
        job = found
        if reached := self._plan.scope.budget.take(job.tool.name):
            await self._refuse(job.call, f"Not run: {reached.said}.", outcome="refused")
            return None
        if job.tool.arguments.injected:
            try:
                given = await self._given(job)
            except (Exception, SystemExit) as error:  # noqa: BLE001 (what a function raises that a tool depends on is an answer)
                await self._refuse(job.call, error_text(error, job.tool.options.errors or self._plan.errors), error)
                return None
            args, kwargs = job.bound
            job = job._replace(bound=Bound(args, kwargs | given))
        if job.effect is not None:
            job.effect.standing = "running"
        return job

    async def _job(self, call: ToolCall, arguments: str) -> Job | None:
        """Make a call ready to run, or answer it: no such tool, or arguments that do not fit."""
        tool = self._plan.toolbox.get(call.name)
        if tool is None:
            known = ", ".join(sorted(self._plan.toolbox.names)) or "none"
            await self._refuse(call, f"There is no tool {call.name[:64]!r}. The tools are: {known}.")
            return None
        try:
            values, repairs = parse_arguments(tool.arguments, arguments)
        except ValidationError as error:
            await self._refuse(call, invalid_arguments_text(error, tool.name), error)
            return None
        if tool.options.strict:
            # There null is how a model leaves something out.
            repairs = tuple([each for each in repairs if each.what != NULL_LEFT_OUT])
        if repairs:
            self._emit(ArgumentsRepaired(call, repairs))
        return Job(call, tool, tool.arguments.bind(values), values, arguments, Progress(call, self._emit))

    async def _once(self, job: Job) -> Job | None:
        """Find out what is known of a call that must run once; `None` if that answers it, or it waits for its twin."""
        call, options = job.call, job.tool.options
        if options.effect is None:
            return job
        try:
            key = key_of(job.tool, job.values)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (the user's function; without a key nothing may run)
            await self._refuse(call, "Not run: it cannot be told whether this was done before.", error)
            return None
        effect = self._plan.scope.recorder.effect(call, key)
        if effect.standing == "open":
            # A history does not say what had started; but what waits for approval had not.
            effect.standing = "fresh" if _needs_approval(job) else "started"
        match effect.standing:
            case "running":
                self._twins.append(job)
            case "done" if effect.answer is not None:
                said = f"Done before, and not done again. The result was:\n\n{effect.answer.content}"
                await self._finish(call, replace(effect.answer, tool_call_id=call.id, content=said))
            case "started" if options.on_interrupted == "done":
                said = f"{_HAD_STARTED}. It is taken as done, and was not run again."
                await self._finish(call, ToolMessage(call.id, said))
            case _:
                return job._replace(effect=effect)
        return None

    async def _approved(self, job: Job) -> Job | None:
        """Ask for a decision on a call; give it as it may run, answer it, or leave it to wait."""
        call = job.call
        started = _may_have_run(job) or self._plan.scope.recorder.had_started(call)
        self._emit(ApprovalNeeded(call, started))
        decision = await self._plan.scope.ask(call)
        if decision is None:
            return None
        if not decision.approved:
            why = f": {decision.reason}" if decision.reason else ""
            said = f"{_HAD_STARTED}. It was not run again" if started else "Not run: the user did not allow this call"
            await self._refuse(call, f"{said}{why}.", outcome="refused")
            return None
        if decision.arguments is None:
            return job
        edited = await self._job(call, decision.arguments)
        note = f"The user changed the arguments to {decision.arguments}."
        return None if edited is None else await self._once(edited._replace(note=note))

    async def _given(self, job: Job) -> dict[str, object]:
        """Give the arguments that the model does not see."""
        scope = self._plan.scope
        if scope.dependencies is None:
            raise ConfigurationError(f"{job.tool.name} asks for the context of a run, and there is none")
        context = ToolContext(
            deps=scope.deps,
            run_id=scope.run_id,
            call=job.call,
            step=self._state.open_step,
            messages=self._state.messages,
            usage=scope.budget.usage,
            ends=scope.ends,
            key="" if job.effect is None else job.effect.key,
            _tell=job.progress.tell,
            plan=self._plan,
        )
        return await scope.dependencies.resolve(job.tool.arguments.injected, context)


def _needs_approval(job: Job) -> bool:
    approval = job.tool.options.approval
    if not callable(approval):
        return approval
    try:
        return approval(dict(job.values)) is not False
    except Exception:  # noqa: BLE001 (one that cannot tell does not let a call through)
        return True


def _may_have_run(job: Job) -> bool:
    """Tell whether nobody knows if a call took effect, and someone is to decide."""
    return job.effect is not None and job.effect.standing == "started" and job.tool.options.on_interrupted == "ask"
