"""The calls of one reply, on their way to tool results.

Every call goes through a pipeline. Each stage hands the call on, answers it, or leaves it waiting:

1. resolve: find the tool. An unknown name is answered with the names that exist.
2. validate: repair and validate the arguments. Invalid ones are answered with what is wrong.
3. judge: deny the call, or have it approved, by the choice that was sent, the policy and the tool.
4. deduplicate: with `effect="once"`, answer from the earlier call that had this effect, or wait for the running one.
5. approve: ask for a decision. The approver may deny the call, edit its arguments, or leave it waiting.
6. count: refuse the call if it is over a limit.
7. inject: make the arguments that the model does not see.
8. run: call the function, through the middleware and within its timeout.
9. record: add the policy's remark, write the result to the session, then emit `ToolFinished`.

Stages 1 to 7 handle one call after another, in the run's own task: what dependencies open there is closed there. Then
the calls run concurrently; sync functions begin in the order of the calls. A sequential tool runs alone, after the
calls before it.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from operator import eq
from time import perf_counter
from typing import Any

import anyio
from pydantic_core import ValidationError

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import PolicyContradiction, ToolError
from agentkit.core.growing import grown
from agentkit.core.messages import Outcome, ToolCall, ToolMessage
from agentkit.core.state import Call, CallRecord, State, ToolResults, changed
from agentkit.runs.enforcement import judge_call, with_deps
from agentkit.runs.events import ApprovalNeeded, ArgumentsRepaired, Emit, ToolFinished, ToolStarted
from agentkit.runs.invoke import Progress, Raised, Turn, acquire_worker, batches, call_function, turns
from agentkit.runs.jobs import Job, run_through
from agentkit.runs.plan import Plan, RunContext
from agentkit.runs.recorder import Effect, effect_key
from agentkit.tools.argument_repair import NULL_LEFT_OUT, parse_arguments
from agentkit.tools.results import ToolResult, error_text, invalid_arguments_text
from agentkit.tools.schema.signature import Bound
from agentkit.tools.tool import Tool
from agentkit.tools.truncation import truncate

_HANDED_OVER = "Not run: a reply can end the run once, or hand the conversation over once."
_RUNNING_ELSEWHERE = "Not run: the same call is still running, and its result will be in the conversation."
_INTERRUPTED = "This had been started before, and it is not known how that ended"


async def execute(calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> ToolResults:
    """Return a tool result per open call, in order, except for those that wait for approval."""
    return await _Pipeline(calls, await plan.equipped(state), state, emit).run()


class _Pipeline:
    def __init__(self, calls: tuple[ToolCall, ...], plan: Plan, state: State, emit: Emit) -> None:
        self._calls = calls
        self._plan = plan
        self._state = with_deps(state, plan)
        self._step = state.open_step
        self._emit = emit
        self._run_id = plan.scope.run_id
        self._results: dict[str, ToolMessage] = {}
        self._asked = self._state.before_results  # the state for which the model was asked
        self._choice = _choice_of(plan, self._state)
        self._pending: Sequence[Call] = ()  # those that may run, in order
        self._places = {call.id: at for at, call in enumerate(calls)}
        self._records = [CallRecord(call, "ok", self._step) for call in calls]  # one that still runs counts as `ok`
        self._settled = self._state.calls, 0  # the records of the turn with those of so many calls, all answered
        self._duplicates: list[Job] = []  # each waits for a running call with the same effect
        self._admitted: list[Effect] = []

    async def run(self) -> ToolResults:
        try:
            return await self._run_all()
        finally:
            for effect in self._admitted:
                effect.abandon()

    async def _run_all(self) -> ToolResults:
        handing = [call for call in self._calls if self._hands_over(call)]
        for batch in batches(tuple([call for call in self._calls if call not in handing]), self._plan.toolbox):
            await self._run_concurrently([await self._prepare(call) for call in batch])
            while self._duplicates:
                waiting, self._duplicates = self._duplicates, []
                for effect in [job.effect for job in waiting if job.effect is not None]:
                    await effect.wait()  # its call may be one of a sub-agent that runs beside this run
                await self._run_concurrently([await self._admit(job) for job in waiting])
        if handing and len(self._results) == len(self._calls) - len(handing):
            await self._hand_over(*handing)
        results = self._in_order()
        return ToolResults(results, paused=len(results) < len(self._calls))

    def _in_order(self) -> tuple[ToolMessage, ...]:
        return tuple([self._results[call.id] for call in self._calls if call.id in self._results])

    def _hands_over(self, call: ToolCall) -> bool:
        tool = self._plan.toolbox.get(call.name)
        return tool is not None and tool.hands_over

    async def _hand_over(self, first: ToolCall, *others: ToolCall) -> None:
        """Hand over once, with the results of the other calls, unless one of these has ended the run."""
        self._state = self._state.with_results(ToolResults(self._in_order()))
        if self._state.ending is not None:
            others = (first, *others)
        else:
            await self._run_concurrently([await self._prepare(first)])
        for call in others:
            await self._reject(call, _HANDED_OVER, outcome="refused")

    async def _prepare(self, call: ToolCall) -> Job | None:
        """Take a call through stages 1 to 7; `None` if it is answered or waits."""
        tool = await self._resolve(call)
        job = None if tool is None else await self._validate(call, tool, call.arguments)
        job = None if job is None else await self._judge(job)
        return None if job is None else await self._admit(job)

    async def _admit(self, job: Job) -> Job | None:
        """Take a job through stages 4 to 7; `None` if its call is answered or waits."""
        for stage in (self._deduplicate, self._approve, self._count, self._inject):
            admitted = await stage(job)
            if admitted is None:
                return None
            job = admitted
        if job.effect is not None:
            job.effect.standing = "running"
            self._admitted.append(job.effect)
        return job

    async def _resolve(self, call: ToolCall) -> Tool | None:
        tool = self._plan.toolbox.get(call.name)
        if tool is None:
            names = ", ".join(sorted(self._plan.toolbox.names)) or "none"
            await self._reject(call, f"There is no tool {call.name[:64]!r}. The tools are: {names}.")
        return tool

    async def _validate(self, call: ToolCall, tool: Tool, arguments: str) -> Job | None:
        try:
            values, repairs = parse_arguments(tool.arguments, arguments)
        except ValidationError as error:
            await self._reject(call, invalid_arguments_text(error, tool.name), error)
            return None
        if tool.options.strict:  # a strict schema has no optional parameters: there null means "left out"
            repairs = tuple([repair for repair in repairs if repair.what != NULL_LEFT_OUT])
        if repairs:
            self._emit(ArgumentsRepaired(call, repairs, run_id=self._run_id))
        progress = Progress(call, self._emit, self._run_id)
        return Job(call, tool, tool.arguments.bind(values), values, arguments, progress)

    async def _judge(self, job: Job) -> Job | None:
        call = Call(job.call.name, job.tool.arguments.complete(job.values), job.call)
        state = changed(self._asked, pending=self._pending)
        verdict = judge_call(call, job.tool, self._choice, self._plan, state)
        if verdict.kind == "deny":
            await self._reject(job.call, f"Not run: {verdict.reason}.", outcome="refused", by=verdict.by)
            return None
        self._pending = grown(self._pending, (call,))
        return job._replace(asks=verdict) if verdict.kind == "ask" else job

    def _forget(self, call: ToolCall) -> None:
        """Take a call from those that may run: the calls after it are judged without it."""
        self._pending = tuple([pending for pending in self._pending if pending.written is not call])

    async def _deduplicate(self, job: Job) -> Job | None:
        call, options = job.call, job.tool.options
        if options.effect is None:
            return job
        try:
            key = effect_key(job.tool, job.values)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (the user's function; without a key nothing may run)
            await self._reject(call, "Not run: it cannot be told whether this was done before.", error)
            return None
        recorder = self._plan.scope.recorder
        if recorder.elsewhere(call, key, job.arguments):
            await self._reject(call, _RUNNING_ELSEWHERE, outcome="refused")
            return None
        effect = recorder.effect(call, key)
        if effect.standing == "open":
            # The history does not say whether the call had started; one that waits for approval had not.
            effect.standing = "fresh" if job.asks else "started"
        match effect.standing:
            case "running":
                self._duplicates.append(job._replace(effect=effect))
            case "done":
                await self._answer_from(call, effect)
            case "started" if options.on_interrupted == "done":
                await self._record(
                    call, ToolMessage(call.id, f"{_INTERRUPTED}. It is taken as done, and was not run again.")
                )
            case _:
                return job._replace(effect=effect)
        return None

    async def _answer_from(self, call: ToolCall, effect: Effect) -> None:
        """Answer a call whose effect another call has had, or is about to have."""
        if effect.answer is None:
            await self._reject(call, _RUNNING_ELSEWHERE, outcome="refused")
        else:
            text = f"Done before, and not done again. The result was:\n\n{effect.answer.content}"
            answer = replace(effect.answer, tool_call_id=call.id, content=text, returned=effect.answer.result)
            await self._record(call, answer)

    async def _approve(self, job: Job) -> Job | None:
        call = job.call
        if not (job.asks or job.asks_after_interruption):
            return job
        started = job.asks_after_interruption or self._plan.scope.recorder.had_started(call)
        self._emit(ApprovalNeeded(call, started, run_id=self._run_id))
        decision = await self._plan.scope.ask(call)
        if decision is None:
            return None
        if not decision.approved:
            reason = f": {decision.reason}" if decision.reason else ""
            self._forget(call)
            denied = f"{_INTERRUPTED}. It was not run again" if started else "Not run: the user did not allow this call"
            await self._reject(call, f"{denied}{reason}.", outcome="refused", by=job.by)
            return None
        if decision.arguments is None:
            return job
        edited = await self._validate(call, job.tool, decision.arguments)
        self._forget(call)
        edited = None if edited is None else await self._judge(edited)
        note = f"The user changed the arguments to {decision.arguments}."
        return None if edited is None else await self._deduplicate(edited._replace(note=note))

    async def _count(self, job: Job) -> Job | None:
        if reached := self._plan.scope.budget.take(job.tool.name):
            self._forget(job.call)
            await self._reject(job.call, f"Not run: {reached.text}.", outcome="refused")
            return None
        return job

    async def _inject(self, job: Job) -> Job | None:
        injected, scope = job.tool.arguments.injected, self._plan.scope
        if not injected:
            return job
        try:
            values = await scope.dependencies.resolve(injected, self._context(job))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (what a dependency raises becomes a tool result)
            await self._reject(job.call, self._error_text(job.tool, error), error)
            return None
        args, kwargs = job.bound
        return job._replace(bound=Bound(args, kwargs | values))

    def _context(self, job: Job) -> RunContext[Any]:
        scope = self._plan.scope
        return RunContext(
            deps=scope.deps,
            run_id=scope.run_id,
            call=job.call,
            step=self._step,
            messages=self._state.messages,
            usage=scope.budget.usage,
            ends=scope.ends,
            key="" if job.effect is None else job.effect.key,
            _on_progress=job.progress.report,
            _send=scope.inbox.send,
            plan=self._plan,
        )

    async def _run_concurrently(self, prepared: list[Job | None]) -> None:
        jobs = [job for job in prepared if job is not None]
        if len(jobs) == 1:
            await self._run(jobs[0])
            return
        try:
            async with anyio.create_task_group() as group:
                for job, turn in zip(jobs, turns([job.tool for job in jobs]), strict=True):
                    group.start_soon(self._run, job, turn)
        except BaseExceptionGroup as raised:
            # What a tool raises is a value, so this is an observer's or a session's error; it leaves as what it is.
            errors = [error for error in raised.exceptions if isinstance(error, Exception)] or raised.exceptions
            raise errors[0] from errors[0].__cause__

    async def _run(self, job: Job, turn: Turn | None = None) -> None:
        recorder, keyed = self._plan.scope.recorder, job.tool.options.key is not None
        try:
            with recorder.running(job.call, job.arguments, job.effect, keyed=keyed):
                await self._run_now(job, turn)
        finally:
            if turn is not None:
                turn.begun.set()  # whatever happened: others wait for it

    async def _run_now(self, job: Job, turn: Turn | None) -> None:
        call, tool, options = job.call, job.tool, job.tool.options
        returned: ToolResult | Raised | None = None
        async with acquire_worker(tool, self._plan.threads) as worker:  # waiting does not count toward the timeout
            if options.recorded:
                recorder, keyed = self._plan.scope.recorder, options.key is not None
                if other := await recorder.start(call, job.arguments, job.effect, keyed=keyed):
                    await self._answer_from(call, other)
                    return
            self._emit(ToolStarted(call, run_id=self._run_id))
            began = perf_counter()
            calling, stopped = self._calling(job, worker, turn), False
            if options.timeout is None:
                returned = await calling
            else:
                with anyio.move_on_after(options.timeout) as time:
                    returned = await calling
                stopped = time.cancel_called
            seconds = perf_counter() - began
            stopped = stopped or not getattr(worker, "usable", True)
        if isinstance(returned, ToolResult):
            await self._record(call, self._message_of(job, returned), None, seconds)
            return
        if returned is None:
            error: BaseException = ToolError(f"{tool.name} did not finish in {options.timeout} s")
        else:
            error = returned.error
        message = ToolMessage(call.id, self._error_text(tool, error), "error", by=job.by)
        if stopped and job.effect is not None:  # its error does not say that nothing happened
            message = replace(message, content=f"{message.content}; it may have taken effect", outcome="cancelled")
        await self._record(call, message, error, seconds)

    def _calling(self, job: Job, worker: object, turn: Turn | None) -> Awaitable[ToolResult | Raised]:
        """Call the function, through the middleware if there is any."""
        middleware = (*self._plan.hooks.middleware, *job.tool.options.middleware)
        if not middleware:
            return call_function(job.tool, job.bound, job.progress, self._plan.threads, worker, turn)
        attempt = partial(self._attempt, job, worker, turn)
        return run_through(middleware, job.call_as_it_runs, self._context(job), attempt)

    async def _attempt(self, job: Job, worker: object, turn: Turn | None, call: ToolCall) -> ToolResult | Raised:
        """Call the function from within the middleware, which may try again, and with other arguments."""
        if call.arguments != job.arguments:
            pending = tuple([other for other in self._pending if other.written is not job.call])
            asked = changed(self._asked, pending=pending)
            judge = partial(judge_call, tool=job.tool, choice=self._choice, plan=self._plan, state=asked)
            job = job.with_arguments(call.arguments, judge)
        progress = Progress(job.call, self._emit, self._run_id)
        return await call_function(job.tool, job.bound, progress, self._plan.threads, worker, turn)

    def _message_of(self, job: Job, result: ToolResult) -> ToolMessage:
        text = f"{job.note}\n\n{result.text}" if job.note else result.text
        longest = job.tool.options.max_result or self._plan.limits.result
        part = truncate(text, longest, job.call.id, self._state.messages)
        returned = result.text if job.note else None
        if part is None:
            return ToolMessage(job.call.id, text, images=result.images, returned=returned, by=job.by)
        return ToolMessage(job.call.id, part, full=text, images=result.images, returned=returned, by=job.by)

    def _error_text(self, tool: Tool, error: BaseException) -> str:
        return error_text(error, tool.options.errors or self._plan.errors)

    async def _reject(
        self, call: ToolCall, text: str, error: BaseException | None = None, outcome: Outcome = "error", by: str = ""
    ) -> None:
        """Answer a call that does not run."""
        if self._plan.scope.recorder.had_started(call):
            outcome = "cancelled"  # nobody knows more of it
        await self._record(call, ToolMessage(call.id, text, outcome, by=by), error or ToolError(text))

    async def _record(
        self, call: ToolCall, message: ToolMessage, error: BaseException | None = None, seconds: float = 0.0
    ) -> None:
        if remark := self._plan.policy.remark(changed(self._state, calls=self._records_up_to(call, message))):
            returned = message.result if message.full is None else message.returned
            message = replace(message, content=f"{message.content}\n\n{remark}", returned=returned)
        self._results[call.id] = message
        await self._plan.scope.recorder.keep(message)
        self._emit(ToolFinished(call, message, seconds, error, run_id=self._run_id))

    def _records_up_to(self, call: ToolCall, message: ToolMessage) -> Sequence[CallRecord]:
        """Return the records of the turn up to this call; a call before it that still runs counts as `ok`."""
        at = self._places[call.id]
        self._records[at] = CallRecord(call, message.outcome, self._step, message.result)
        self._results[call.id] = message
        records, begin = self._settled
        end = begin
        while end <= at and self._calls[end].id in self._results:
            end += 1
        records = grown(records, self._records[begin:end], eq)
        self._settled = records, end
        return records if end > at else grown(records, self._records[end : at + 1], eq)


def _choice_of(plan: Plan, state: State) -> ToolChoice:
    """Return the choice that was sent for the last reply; for a stored one, what the policy says of it now."""
    if state.steps and state.steps[-1].message is state.open_reply:
        return state.steps[-1].choice
    try:
        return plan.policy(state.before_results)
    except PolicyContradiction:
        return ToolChoice()
