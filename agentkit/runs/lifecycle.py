"""A run from its beginning to its end: its input, its time limit, and its result.

`perform` is the only way to run. It loads the session, repairs the history and drives the loop within the time limit. A
`_Tracker` follows the run by its events, so that the messages so far are known however the run ends.
"""

from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from itertools import takewhile
from math import inf
from os import urandom
from time import monotonic
from typing import Any, NamedTuple

import anyio

from agentkit.core.concurrency import Threads
from agentkit.core.errors import InvalidRequest, Partial
from agentkit.core.messages import DeveloperMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.repair import NEVER_RAN, RUNNING, UNKNOWN, repaired
from agentkit.core.session import HeldSession, Session, StoredConversation
from agentkit.core.state import State, Step, ToolResults
from agentkit.runs.events import (
    Emit,
    Event,
    HistoryRepaired,
    MessageReceived,
    RunFinished,
    RunStarted,
    StepFinished,
    TimedEvent,
    ToolFinished,
    kept_of,
)
from agentkit.runs.finish import answer_of, end_of
from agentkit.runs.inbox import Inbox, LeaveLoop
from agentkit.runs.limits import Budget
from agentkit.runs.loop import drive
from agentkit.runs.plan import Plan, Scope
from agentkit.runs.recorder import Recorder
from agentkit.runs.result import Result
from agentkit.tools.approval import Approver, Decision, as_decision, match_decisions
from agentkit.tools.dependencies import Dependencies

_STOPPED = "The run was stopped before this call was answered; it may have had effects."


class Checkpoint(NamedTuple):
    """What a run had done, used up, and how long it had taken before it stopped, for resuming it as the same run."""

    state: State
    budget: Budget
    seconds: float = 0.0


class RunInput(NamedTuple):
    """The input of one run."""

    messages: tuple[Message, ...] = ()  # with a session, they are added to its history
    deps: object = None
    approver: Approver | None = None
    session: Session | None = None
    decisions: tuple[Decision, ...] | None = None
    parent: Plan | None = None  # of the run in which this one is a tool
    emit: Emit | None = None  # besides the observers
    checkpoint: Checkpoint | None = None  # what the same run had done before; the session has it too
    run_id: str = ""
    recorder: Recorder | None = None  # of a sub-agent, which has no session of its own
    inbox: Inbox | None = None  # of whoever watches the run


class _Tracker:
    """Hands each event to the observers, and tracks the run's state by its events.

    Following the state is lazy: `catch_up` does it, where somebody asks.
    """

    def __init__(self, state: State, observers: tuple[Emit, ...]) -> None:
        self.state = state
        self.over = False
        self._events: list[Event] = []
        self._times: list[float] = []  # apart: a pair per event would be garbage to look through in many runs
        self._began = monotonic()
        self._observers = observers
        self._error: Exception | None = None
        self._news: list[Step | ToolMessage | UserMessage] = []
        self._results: dict[str, ToolMessage] = {}

    def __call__(self, event: Event) -> None:
        if (kept := kept_of(event)) is not None:
            self._events.append(kept)
            self._times.append(monotonic() - self._began)
            if isinstance(event, StepFinished):
                self._news.append(event.step)
            elif isinstance(event, ToolFinished | MessageReceived):
                self._news.append(event.message)
            self.over = isinstance(event, RunFinished)
        for observer in self._observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 (raised below, after the other observers)
                self._error = self._error or error
        if self._error is not None:
            raise self._error  # again at each event: a tool might catch it, and the run must end

    @property
    def events(self) -> tuple[TimedEvent, ...]:
        """What a result keeps of the events so far."""
        return tuple(zip(self._times, self._events, strict=True))

    def catch_up(self) -> None:
        """Bring the state to the last event. Results of a reply whose calls are still open wait."""
        for news in self._news:
            if isinstance(news, ToolMessage):
                self._results[news.tool_call_id] = news
                continue
            self._add_results()
            self.state = self.state.with_reply(news) if isinstance(news, Step) else self.state.with_messages((news,))
        self._news.clear()

    def open_calls(self) -> list[ToolCall]:
        self.catch_up()
        return [call for call in self.state.unanswered if call.id not in self._results]

    def settle(self) -> State:
        """Answer every open call as stopped, and return the state."""
        for call in self.open_calls():
            self._results[call.id] = _stopped(call)
        self._add_results()
        return self.state

    def _add_results(self) -> None:
        results = [self._results[call.id] for call in self.state.unanswered if call.id in self._results]
        self.state = self.state.with_results(ToolResults(tuple(results)))
        self._results.clear()


def _stopped(call: ToolCall) -> ToolMessage:
    return ToolMessage(call.id, _STOPPED, "cancelled")


async def perform(plan: Plan, given: RunInput) -> Result[Any]:
    """Run to the end. If that raises, the error's `partial` has what the run had done."""
    parent = None if given.parent is None else given.parent.scope
    budget = budget_of(plan, parent) if given.checkpoint is None else given.checkpoint.budget
    run_id = given.run_id or urandom(8).hex()
    observers = plan.observers if given.emit is None else (*plan.observers, given.emit)
    tracker = _Tracker(State(given.messages), observers)
    inbox = given.inbox or Inbox(None if parent is None else parent.inbox)
    try:
        outer, conversation = parent.run_id or None if parent else None, getattr(given.session, "name", None)
        tracker(RunStarted(plan.name, plan.model.name, outer, conversation, plan.streamed, run_id=run_id))
        async with Dependencies(plan.threads, plan.overrides) as dependencies, _held(given.session) as session:
            scope = Scope(run_id, given.deps, dependencies, budget=budget, emit=tracker, inbox=inbox, given={})
            plan = plan._replace(scope=scope)
            result = result_of(plan, await _run_in_time(plan, given, session, tracker), budget)
        if unread := inbox.close():
            result = replace(result, unread=unread)
        tracker(RunFinished(result.stop, budget.usage, run_id=run_id))
        result = replace(result, events=tracker.events)
    except BaseException as error:
        # A cancellation must stay what it is (under trio it may be a group of them, from a socket that was connecting),
        # so the messages so far are attached to it.
        with suppress(AttributeError):  # an observer's error may not allow new attributes
            messages = *tracker.settle().messages, *inbox.close()
            error.partial = Partial(messages, budget.usage, tracker.events)  # type: ignore[attr-defined]
        if not tracker.over:
            with suppress(Exception):  # an observer's error would hide this one
                tracker(RunFinished(None, budget.usage, error, run_id=run_id))
        raise
    return result


def _held(session: Session | None) -> AbstractAsyncContextManager[Session | None]:
    if session is None or not isinstance(session, HeldSession):
        return nullcontext(session)
    return session.held()


def budget_of(plan: Plan, parent: Scope | None = None) -> Budget:
    """Return a new budget for a run, which counts in the parent run's budget too."""
    final = None if plan.output is None or plan.output.final is None else plan.output.final.name
    return Budget(plan.limits, None if parent is None else parent.budget, final)


def result_of(plan: Plan, state: State, budget: Budget) -> Result[Any]:
    ending = state.ending
    output: Any
    output, stop = end_of(state) if ending is None else (ending.result, "tool")
    if state.paused:
        output, stop = "", "paused"
    elif not state.finished:
        output, stop = "" if plan.output is not None else answer_of(state), "stopped"
    elif plan.output is not None:
        output, stop = plan.output.at_end(output, state), "answer"
    if stop == "answer" and budget.last_words:
        stop = "limit"
    return Result(output, tuple(state.messages), tuple(state.steps), budget.usage, stop, state.start)


async def _run_in_time(plan: Plan, given: RunInput, session: Session | None, tracker: _Tracker) -> State:
    scope, limits = plan.scope, plan.limits
    seconds = limits.seconds
    if seconds is not None and given.checkpoint is not None:
        seconds = max(0.0, seconds - given.checkpoint.seconds)
    ends = inf if seconds is None else monotonic() + seconds
    state: State | None = None
    with anyio.move_on_after(seconds):
        state, recorder = await _begin(plan, given, session, tracker)
        approver = _approver_of(given, state)
        ask = scope.ask if approver is None else partial(ask_approver, approver, plan.threads)
        scope = scope._replace(ends=ends, ask=ask, recorder=recorder)
        return await _drive_and_read(plan._replace(scope=scope), state, tracker)
    reached = scope.budget.out_of_time()
    if limits.at_end == "answer" and state is not None:
        with anyio.move_on_after(limits.grace):
            calls = tracker.open_calls()
            await scope.recorder.keep(*map(_stopped, calls))
            for call in calls:
                tracker(ToolFinished(call, _stopped(call), error=reached.error(), run_id=scope.run_id))
            return await _drive_and_read(plan._replace(scope=scope), tracker.settle(), tracker)
    raise reached.error()


async def _drive_and_read(plan: Plan, state: State, tracker: _Tracker) -> State:
    """Drive the loop to its end, and enter it again with each message that is sent to the run.

    A message that came with the answer is read too. A run that waits for approval, or has given its last answer at a
    limit, reads nothing more; `Result.unread` has what is left.
    """
    scope = plan.scope
    inbox = scope.inbox
    while True:
        try:
            state = await drive(plan, state, tracker)
        except LeaveLoop:
            state = tracker.settle()
        if state.finished and (state.paused or scope.budget.last_words):
            return state
        if messages := inbox.messages:
            await scope.recorder.keep(*messages)
            for message in messages:
                inbox.remove_first()
                tracker(MessageReceived(message, run_id=scope.run_id))
            state = state.with_messages(messages)
        if inbox.stopping or (state.finished and inbox.close_if_empty()):
            return state


async def _begin(plan: Plan, given: RunInput, session: Session | None, tracker: _Tracker) -> tuple[State, Recorder]:
    """Load the session, repair the history and close the calls that it leaves open."""
    for guardrail in plan.hooks.input_guardrails if given.messages else ():
        returned = guardrail(given.messages)
        if isawaitable(returned):
            await returned
    kept = StoredConversation() if session is None else await session.load()
    messages, repairs = repaired(kept.messages)
    recorder, added = given.recorder or Recorder(session, kept, plan.scope.run_id), given.messages
    if added:
        before = replace(State.of(messages), deps=given.deps)
        equipped = await plan.equipped(before) if before.unanswered else plan
        added = (*_answers_to_abandoned(before.unanswered, added, recorder, equipped), *added)
        messages, more = repaired((*messages, *added))
        repairs = (*repairs, *more)
        await recorder.keep(*added)
        recorder.doubt(State.of(messages).unanswered)
    state = beginning(plan, messages) if given.checkpoint is None else given.checkpoint.state
    tracker.state = state = replace(state, deps=given.deps)
    for repair in repairs:
        # A session has results in the order in which they came, and images only with their results.
        if session is None or repair.what not in ("moved", "images", "replaced"):
            tracker(HistoryRepaired(repair, run_id=plan.scope.run_id))
    return state, recorder


def beginning(plan: Plan, messages: tuple[Message, ...]) -> State:
    """Return the state of a run that begins with a repaired history."""
    if not messages:
        raise InvalidRequest("a run needs at least one message")
    if plan.instructions is not None and not isinstance(messages[0], SystemMessage | DeveloperMessage):
        messages = (plan.instructions, *messages)
    return State.of(messages, plan.stop_at)


def _answers_to_abandoned(
    open_calls: tuple[ToolCall, ...], added: tuple[Message, ...], recorder: Recorder, plan: Plan
) -> list[ToolMessage]:
    """Return results for the calls that a conversation left open and that the added messages do not answer."""
    first = takewhile(lambda message: isinstance(message, ToolMessage), added)
    answered = {message.tool_call_id for message in first if isinstance(message, ToolMessage)}
    results: list[ToolMessage] = []
    for call in [call for call in open_calls if call.id not in answered]:
        tool = plan.toolbox.get(call.name)
        if recorder.runs_elsewhere(call):
            results.append(ToolMessage(call.id, RUNNING, "cancelled"))
        elif tool is not None and tool.options.recorded and not recorder.had_started(call):
            results.append(ToolMessage(call.id, NEVER_RAN, "refused"))
        else:
            results.append(ToolMessage(call.id, UNKNOWN, "cancelled"))
    return results


def _approver_of(given: RunInput, state: State) -> Approver | None:
    """Return the approver: the caller's, or on resuming, one that knows the decisions."""
    if given.decisions is None:
        return given.approver
    by_id = match_decisions(given.decisions, state.unanswered)
    decided = [(call, replace(by_id[call.id], call=call)) for call in state.unanswered if call.id in by_id]

    async def approver(call: ToolCall) -> Decision | None:
        # By identity: another call may have the same id, in a later reply or in a nested run.
        return next((decision for waiting, decision in decided if waiting is call), None)

    return approver


async def ask_approver(approver: Approver, threads: Threads, call: ToolCall) -> Decision | None:
    """Return an approver's decision; `None` if the call waits. A sync approver may wait for a person: use a thread."""
    if iscoroutinefunction(approver):
        return as_decision(call, await approver(call))
    async with threads.entered():
        (decision,) = await threads.run(lambda: (approver(call),))
    return as_decision(call, await decision if isawaitable(decision) else decision)
