"""A run from its beginning to its end: what it begins with, its time, and what it comes to."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from itertools import takewhile
from math import inf
from os import urandom
from time import monotonic
from typing import Any

import anyio

from agentkit.core.concurrency import Threads
from agentkit.core.errors import InvalidRequest, Partial
from agentkit.core.messages import DeveloperMessage, Message, SystemMessage, ToolCall, ToolMessage
from agentkit.core.repair import UNKNOWN, repaired
from agentkit.core.session import Session, StoredConversation
from agentkit.core.state import State, Step, ToolResults
from agentkit.runs.events import Emit, Event, HistoryRepaired, RunFinished, RunStarted, StepFinished, ToolFinished
from agentkit.runs.finish import end_of
from agentkit.runs.limits import Budget
from agentkit.runs.loop import drive
from agentkit.runs.plan import Plan, Scope
from agentkit.runs.recorder import Recorder
from agentkit.runs.result import Result
from agentkit.tools.approval import Approver, Decision, as_decision, match_decisions
from agentkit.tools.dependencies import Dependencies

_STOPPED = "The run was stopped before this call was answered; it may have had effects."
_NEVER_RAN = "Not run: the conversation went on before this call was allowed."


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a run had done before it was stopped, for one that goes on as the same run.

    Attributes:
        state: Where it was.
        budget: What it had used up.
        seconds: How long it had taken.
    """

    state: State
    budget: Budget
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RunInput:
    """What a run is given.

    Attributes:
        messages: What it begins with, or what is added to the session.
        deps: What its tools may ask for.
        approver: Who decides on calls that need approval.
        session: Where the conversation is kept.
        decisions: What was decided on the calls that wait.
        within: The plan of the run in which this one is a tool.
        emit: Takes its events, beside the observers.
        earlier: What the same run had done before; the session has it too.
        run_id: Its id, if it has one already.
    """

    messages: tuple[Message, ...] = ()
    deps: object = None
    approver: Approver | None = None
    session: Session | None = None
    decisions: tuple[Decision, ...] | None = None
    within: Plan | None = None
    emit: Emit | None = None
    earlier: Checkpoint | None = None
    run_id: str = ""


class _Tape:
    """Follows a run by its events, so that what it had done is known however it ends; it is put together when asked."""

    def __init__(self, run_id: str, told: tuple[Emit, ...]) -> None:
        self.run_id = run_id
        self.state = State(())
        self.over = False
        self._since: list[Step | ToolMessage] = []
        self._told = told
        self._failed: Exception | None = None
        self._answers: dict[str, ToolMessage] = {}

    def __call__(self, event: Event) -> None:
        object.__setattr__(event, "run_id", self.run_id)  # it was just made, and nobody has it yet
        self.over = isinstance(event, RunFinished)
        if isinstance(event, StepFinished):
            self._since.append(event.step)
        elif isinstance(event, ToolFinished):
            self._since.append(event.message)
        for told in self._told:
            try:
                told(event)
            except Exception as error:  # noqa: BLE001 (raised once everyone is told)
                self._failed = self._failed or error
        if self._failed is not None:
            raise self._failed  # it ends the run, also if it was raised in a tool, which answers what it catches

    def stopped(self) -> list[tuple[ToolCall, ToolMessage]]:
        """Give the calls that nobody answered, with what answers them."""
        since, self._since = self._since, []
        for each in since:
            if isinstance(each, Step):
                self.state = self.settled().with_reply(each)
            else:
                self._answers[each.tool_call_id] = each
        calls = [call for call in self.state.unanswered if call.id not in self._answers]
        return [(call, ToolMessage(call.id, _STOPPED, "cancelled")) for call in calls]

    def settled(self) -> State:
        """Give the state in which every call is answered: those that were not, as stopped."""
        stopped = {call.id: message for call, message in self.stopped()}
        found = self._answers | stopped
        answers = [found[call.id] for call in self.state.unanswered]
        self._answers = {}
        return self.state.with_results(ToolResults(tuple(answers))) if answers else self.state


async def perform(plan: Plan, given: RunInput) -> Result[Any]:
    """Run to the end.

    Args:
        plan: What the run goes by.
        given: What it is given.

    Raises:
        AgentkitError: If the run ends without an answer; `partial` has what it had done.
    """
    around = None if given.within is None else given.within.scope
    budget = budget_of(plan, around) if given.earlier is None else given.earlier.budget
    tape = _Tape(
        given.run_id or urandom(8).hex(), plan.observers if given.emit is None else (*plan.observers, given.emit)
    )
    tape.state = State(given.messages)
    try:
        tape(RunStarted(plan.name, plan.model.name, None if around is None else around.run_id or None))
        scope = Scope(tape.run_id, given.deps, budget=budget, emit=tape)
        result = result_of(plan, await _in_time(replace(plan, scope=scope), given, tape), budget)
        tape(RunFinished(result.stop, budget.usage))
    except BaseException as stopped:
        # A cancellation must stay what it is (under trio it may be a group of them, from a socket that was connecting);
        # this tells whoever looks what the run had done.
        with suppress(AttributeError):  # an observer's error may have no room for it
            stopped.partial = Partial(tape.settled().messages, budget.usage)  # type: ignore[attr-defined]
        if not tape.over:
            with suppress(Exception):  # what an observer says of this would hide it
                tape(RunFinished(None, budget.usage, stopped))
        raise
    return result


def budget_of(plan: Plan, around: Scope | None = None) -> Budget:
    """Give what a run may use up: all of it, less what the run around it has used up."""
    final = None if plan.output is None or plan.output.final is None else plan.output.final.name
    return Budget(plan.limits, None if around is None else around.budget, final)


def result_of(plan: Plan, state: State, budget: Budget) -> Result[Any]:
    """Give what a run came to.

    Args:
        plan: What it went by.
        state: Its end.
        budget: What it has used up.

    Raises:
        AnswerInvalid: If there is no answer of the type that is wanted.
    """
    ending = state.ending
    output: Any
    output, stop = end_of(state) if ending is None else (ending.full or ending.content, "tool")
    if state.paused:
        output, stop = "", "paused"
    elif plan.output is not None:
        output, stop = plan.output.at_end(output, state), "answer"
    if stop == "answer" and budget.last_words:
        stop = "limit"
    return Result(output, state.messages, state.steps, budget.usage, stop, state.start)


async def _in_time(plan: Plan, given: RunInput, tape: _Tape) -> State:
    scope, limits = plan.scope, plan.limits
    seconds = limits.seconds
    if seconds is not None and given.earlier is not None:
        seconds = max(0.0, seconds - given.earlier.seconds)
    ends = inf if seconds is None else monotonic() + seconds
    state: State | None = None
    async with Dependencies(plan.threads, plan.overrides) as dependencies:
        with anyio.move_on_after(seconds):
            state, recorder = await _begun(plan, given, tape)
            ask = partial(_decision, _approver(given, state), plan.threads)
            scope = replace(scope, dependencies=dependencies, ends=ends, ask=ask, recorder=recorder)
            return await drive(replace(plan, scope=scope), state, tape)
        reached = scope.budget.out_of_time()
        if limits.at_end == "answer" and state is not None:
            with anyio.move_on_after(limits.grace):
                stopped = tape.stopped()
                await scope.recorder.keep(*[message for _, message in stopped])
                for call, message in stopped:
                    tape(ToolFinished(call, message, error=reached.error()))
                tape.state = tape.settled()
                return await drive(replace(plan, scope=scope), tape.state, tape)
    raise reached.error()


async def _begun(plan: Plan, given: RunInput, tape: _Tape) -> tuple[State, Recorder]:
    """Give where the run begins, and what writes down what it does."""
    session = given.session
    kept = StoredConversation() if session is None else await session.load()
    messages, repairs = repaired(kept.messages)
    recorder, added = Recorder(session, kept), given.messages
    if added:
        added = (*_closed(State.of(messages).unanswered, added, recorder, plan), *added)
        messages, more = repaired((*messages, *added))
        repairs = (*repairs, *more)
        await recorder.keep(*added)
        recorder.doubt(State.of(messages).unanswered)
    tape.state = state = beginning(plan, messages) if given.earlier is None else given.earlier.state
    for repair in repairs:
        # A session has answers in the order in which they came, and images only with their answers.
        if session is None or repair.what not in ("moved", "images"):
            tape(HistoryRepaired(repair))
    return state, recorder


def beginning(plan: Plan, messages: tuple[Message, ...]) -> State:
    """Give the state of a run that begins with a sound history.

    Raises:
        InvalidRequest: If there is none.
    """
    if not messages:
        raise InvalidRequest("a run needs at least one message")
    if plan.instructions is not None and not isinstance(messages[0], SystemMessage | DeveloperMessage):
        messages = (plan.instructions, *messages)
    return State.of(messages, plan.stop_at)


def _closed(
    waiting: tuple[ToolCall, ...], added: tuple[Message, ...], recorder: Recorder, plan: Plan
) -> list[ToolMessage]:
    """Answer the calls that a conversation left open, and that what is added to it does not answer."""
    first = takewhile(lambda each: isinstance(each, ToolMessage), added)
    answered = {each.tool_call_id for each in first if isinstance(each, ToolMessage)}
    closed: list[ToolMessage] = []
    for call in [each for each in waiting if each.id not in answered]:
        tool = plan.toolbox.get(call.name)
        fresh = tool is not None and tool.options.recorded and not recorder.had_started(call)
        closed.append(
            ToolMessage(call.id, _NEVER_RAN, "refused") if fresh else ToolMessage(call.id, UNKNOWN, "cancelled")
        )
    return closed


def _approver(given: RunInput, state: State) -> Approver | None:
    if given.decisions is None:
        return given.approver
    found = match_decisions(given.decisions, state.unanswered)
    waiting = [(call, replace(found[call.id], call=call)) for call in state.unanswered if call.id in found]

    async def approver(call: ToolCall) -> Decision | None:
        # Another call may have the same id: in a later reply, or in a run within this one.
        return next((decision for each, decision in waiting if each is call), None)

    return approver


async def _decision(approver: Approver | None, threads: Threads, call: ToolCall) -> Decision | None:
    """Ask an approver; one that is not async may wait for a person, so it does in a thread."""
    if approver is None:
        return None
    if iscoroutinefunction(approver):
        return as_decision(call, await approver(call))
    async with threads.here():
        (said,) = await threads.run(lambda: (approver(call),))
    return as_decision(call, await said if isawaitable(said) else said)
