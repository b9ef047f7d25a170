"""A run under way: watched as it happens, waited for, or waited for from code that is not async."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from math import inf
from secrets import token_hex
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
import sniffio
from anyio.from_thread import start_blocking_portal

from agentkit.approval import Approver, Decision, decision_of
from agentkit.dependencies import Dependencies
from agentkit.endings import end_of
from agentkit.errors import Partial, RunCancelled
from agentkit.events import Emit, Event, HistoryRepaired, StepFinished, ToolFinished
from agentkit.loop import drive
from agentkit.messages import ToolCall, ToolMessage
from agentkit.plan import Plan, Scope
from agentkit.repair import Repair
from agentkit.results import Result
from agentkit.state import State
from agentkit.threads import Threads

T = TypeVar("T")


class _Tape:
    """Follows a run by its events, so that what it had done is known however it ends."""

    def __init__(self, state: State, emit: Emit) -> None:
        self._state = state
        self._emit = emit
        self._answers: dict[str, ToolMessage] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self._state = self._settled().heard(event.step)
        elif isinstance(event, ToolFinished):
            self._answers[event.call.id] = event.message
        self._emit(event)

    def _settled(self) -> State:
        """Give the state in which every call is answered: those that were not, as stopped."""
        calls = self._state.unanswered
        stopped = "The run was stopped before this call was answered; it may have had effects."
        answers = [self._answers.get(call.id) or ToolMessage(call.id, stopped, "cancelled") for call in calls]
        self._answers = {}
        return self._state.answered(tuple(answers)) if answers else self._state

    def partial(self) -> Partial:
        state = self._settled()
        return Partial(state.messages, state.usage)


class Given(NamedTuple):
    """What a run is given beside its history.

    Attributes:
        repairs: What was done to the history.
        deps: What its tools may ask for.
        approver: Who decides on calls that need approval.
    """

    repairs: tuple[Repair, ...] = ()
    deps: object = None
    approver: Approver | None = None


async def perform(plan: Plan, state: State, emit: Emit, given: Given = Given()) -> Result[Any]:  # noqa: B008 (frozen)
    """Run to the end.

    Args:
        plan: What the run goes by.
        state: Where it begins.
        emit: Takes the events.
        given: What it is given beside.

    Raises:
        AgentkitError: If the run ends without an answer; `partial` has what it had done.
    """
    tape = _Tape(state, emit)
    try:
        for repair in given.repairs:
            tape(HistoryRepaired(repair))
        state = await _in_time(plan, state, tape, given)
        return _result(plan, state)
    except BaseException as stopped:
        # A cancellation must stay what it is (under trio it may be a group of them, from a socket that was connecting);
        # this tells whoever looks what the run had done.
        with suppress(AttributeError):  # an observer's error may have no room for it
            stopped.partial = tape.partial()  # type: ignore[attr-defined]
        raise


def _result(plan: Plan, state: State) -> Result[Any]:
    ending = state.ending
    output: Any
    output, stop = end_of(state) if ending is None else (ending.full or ending.content, "tool")
    if state.paused:
        output, stop = "", "paused"
    elif plan.output is not None:
        output, stop = plan.output.at_end(output, state), "answer"
    return Result(output, state.messages, state.steps, state.usage, stop, state.start)


async def _in_time(plan: Plan, state: State, emit: Emit, given: Given) -> State:
    ends = inf if plan.limits.seconds is None else monotonic() + plan.limits.seconds
    with anyio.move_on_after(plan.limits.seconds):
        async with Dependencies(plan.threads, plan.overrides) as dependencies:
            ask = partial(_decision, given.approver, plan.threads)
            plan = replace(plan, scope=Scope(token_hex(8), given.deps, dependencies, ends, ask))
            return await drive(plan, state, emit)
    raise plan.limits.out_of_time()


async def _decision(approver: Approver | None, threads: Threads, call: ToolCall) -> Decision | None:
    """Ask an approver; one that is not async may wait for a person, so it does in a thread."""
    if approver is None:
        return None
    if iscoroutinefunction(approver):
        return decision_of(call, await approver(call))
    async with threads.here():
        (said,) = await threads.run(lambda: (approver(call),))
    return decision_of(call, await said if isawaitable(said) else said)


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
