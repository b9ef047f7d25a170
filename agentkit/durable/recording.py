"""What is recorded of a durable run, and the run made again from its records.

A record is one step of a DBOS workflow. It has the entries that a session would get: a reply, the start of a call, or
results. A reply's record also has the tool choice and the whole reply, and every record has the budget so far.

`RecordingSession` and `RecordingModel` write records while the loop runs. `checkpoint_from` reads them: it judges each
reply again, as the loop did, so that steps, usage and limits are those of a run that was never interrupted.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import TypeAlias, cast

from anyio import Lock

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.choice import ToolChoice
from agentkit.core.codec import read, write
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, Usage, UserMessage
from agentkit.core.model import Model, OnChunk
from agentkit.core.repair import repaired
from agentkit.core.session import Entry, Started, StoredConversation
from agentkit.core.session_lines import entries_of, line_of
from agentkit.core.state import State, Step, ToolResults
from agentkit.models.wrapper import Wrapper
from agentkit.runs.enforcement import INVALID_OUTPUT, judge_reply, known_step
from agentkit.runs.events import Event, StepStarted, ToolStarted
from agentkit.runs.lifecycle import Checkpoint, beginning, budget_of
from agentkit.runs.limits import Budget, Reached
from agentkit.runs.plan import Plan, Scope
from agentkit.tools.approval import Decision

Record: TypeAlias = Mapping[str, object]
"""One step of a run as plain JSON data."""

Write: TypeAlias = Callable[[str, Record], Awaitable[None]]
"""Records a step under a name."""

PREFIX = "agentkit."
"""How the names of agentkit's steps begin; a tool may make other steps."""


class RecordingSession:
    """The session of a durable run: it records entries before anything follows from them. It is an observer, too.

    `checkpoint` is the run as `records`, those so far, leave it.
    """

    def __init__(
        self, prompt: tuple[Message, ...], records: Sequence[Record], checkpoint: Checkpoint, write: Write
    ) -> None:
        self.reply: dict[str, object] = {}  # the last tool choice and the reply to it, for the next record
        self._prompt = prompt
        self._records = records
        self._checkpoint = checkpoint
        self._write = write
        self._ran: set[str] = set()
        self._lock = Lock()
        self._began = monotonic()

    def __call__(self, event: Event) -> None:
        """Note the tool choice of the step, and which calls run: only they count toward `Limits(calls=…)`."""
        if isinstance(event, StepStarted):
            self.reply = {"choice": write(event.choice), "by": event.choice.by}
        elif isinstance(event, ToolStarted):
            self._ran.add(event.call.id)

    async def load(self) -> StoredConversation:
        """Return the recorded conversation. Calls that the prompt leaves open count as started: they may have run."""
        opened = [Started(call.id, call.name, call.arguments) for call in State.of(self._prompt).unanswered]
        recorded = [entry for record in self._records for entry in entries_in(record)]
        return StoredConversation.of([*self._prompt, *opened, *recorded])

    async def append(self, entries: Sequence[Entry]) -> None:
        """Record entries as one step; when this returns, they are on the disk."""
        record: dict[str, object] = {
            "entries": [json.loads(line_of(entry)) for entry in entries],
            "budget": _budget_record(self._checkpoint.budget),
        }
        first, name = entries[0], "answer"
        if isinstance(first, AssistantMessage):
            name = "reply"
            record |= self.reply
            self._ran.clear()
        elif isinstance(first, Started):
            name = f"start {first.name}"
        else:
            answered = [entry.tool_call_id for entry in entries if isinstance(entry, ToolMessage)]
            record["ran"] = [call_id for call_id in answered if call_id in self._ran]
        async with self._lock:  # so that the steps have no gaps
            record["seconds"] = round(self._checkpoint.seconds + monotonic() - self._began, 3)
            await self._write(f"{PREFIX}{name}", record)


class RecordingModel(Wrapper):
    """A model that hands each reply to the session, which records it once the loop judged it."""

    __slots__ = ("_session",)

    def __init__(self, model: Model, session: RecordingSession) -> None:
        super().__init__(model)
        self._session = session

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        reply = await self._model.complete(request, on_chunk)
        self._session.reply["reply"] = write(reply)
        return reply


def entries_in(record: Record) -> list[Entry]:
    return [*entries_of(("a record of the run", json.dumps(entry)) for entry in list_of(record.get("entries")))]


def checkpoint_from(plan: Plan, prompt: tuple[Message, ...], records: Iterable[Record]) -> Checkpoint:
    """Return a run as its records leave it."""
    state, budget, seconds = beginning(plan, repaired(prompt).messages), budget_of(plan), 0.0
    for record in records:
        entries = entries_in(record)
        _read_budget(object_of(record.get("budget")), budget, calls="choice" in record)
        seconds = cast("float", record.get("seconds", seconds))
        if "choice" in record:
            state = state.with_reply(_step_from(record, entries, plan, state, budget))
            continue
        if sent := [entry for entry in entries if isinstance(entry, UserMessage)]:
            state = state.with_messages(sent)
        for result in [entry for entry in entries if isinstance(entry, ToolMessage)]:
            budget.calls += result.tool_call_id in list_of(record["ran"])
            state = state.with_results(ToolResults((result,)))
    return Checkpoint(state, budget, seconds)


def decisions_in_force(decisions: Iterable[Decision], state: State, records: Sequence[Record]) -> tuple[Decision, ...]:
    """Return the decisions that still apply: on calls that wait, and had not started when a worker died.

    `records` are those since the decisions.
    """
    if any("choice" in record for record in records):
        return ()  # a later reply may use the id of a call again, for another one
    started = {entry.call_id for record in records for entry in entries_in(record) if isinstance(entry, Started)}
    waiting = {call.id for call in state.unanswered} - started
    return tuple([decision for decision in decisions if decision.call.id in waiting])


def _step_from(record: Record, entries: Sequence[Entry], plan: Plan, state: State, budget: Budget) -> Step:
    """Return the step of a reply's record, judged again."""
    choice = replace(read(ToolChoice, record["choice"]), by=str(record["by"]))
    if choice.arguments is not None:
        return known_step(choice, plan, state)
    reply = read(ChatResponse, record["reply"])
    # The recorded budget has this reply already, so its price is counted in a new one.
    reply = plan._replace(scope=Scope(budget=budget_of(plan))).paid(plan.request(state, choice), reply)
    scope = Scope(budget=budget)
    step = judge_reply(reply, choice, plan._replace(scope=scope), state, scope.emit)
    message, *correction = entries
    violation = step.violation or (INVALID_OUTPUT if correction else None)
    changes: dict[str, object] = {"message": message, "correction": tuple(correction), "violation": violation}
    return replace(step, **changes)  # type: ignore[arg-type]


def _budget_record(budget: Budget) -> dict[str, object]:
    return {
        "usage": write(budget.usage),
        "tokens": budget.tokens,
        "calls": budget.calls,
        "last_words": budget.last_words,
        "reached": None if budget.reached is None else list(budget.reached),
    }


def _read_budget(record: Mapping[str, object], budget: Budget, *, calls: bool) -> None:
    """Read a recorded budget into another one; calls only where none was open, as an open one is counted again."""
    budget.usage = read(Usage, record["usage"])
    budget.tokens = cast("int", record["tokens"])
    budget.last_words = cast("int", record["last_words"])
    reached = list_of(record["reached"]) if record["reached"] is not None else None
    budget.reached = None if reached is None else Reached(str(reached[0]), cast("float", reached[1]), str(reached[2]))
    if calls:
        budget.calls = cast("int", record["calls"])
