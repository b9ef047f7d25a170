"""What is recorded of a durable run, step by step, and the run as it stood, made from that."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import TypeAlias, cast

from anyio import Lock

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.choice import ToolChoice
from agentkit.core.codec import read, write
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, Usage
from agentkit.core.model import Model, OnChunk
from agentkit.core.repair import repaired
from agentkit.core.session import Entry, Started, StoredConversation, entries_of, line_of
from agentkit.core.state import State, Step, ToolResults
from agentkit.models.wrapper import Wrapper
from agentkit.runs.enforcement import INVALID_OUTPUT, judge_reply
from agentkit.runs.events import Event, ToolStarted
from agentkit.runs.lifecycle import Checkpoint, beginning, budget_of
from agentkit.runs.limits import Budget, Reached
from agentkit.runs.plan import Plan, Scope
from agentkit.tools.approval import Decision

Record: TypeAlias = Mapping[str, object]
"""One step of a run as plain JSON data: entries, and what the run had used up by then."""

Write: TypeAlias = Callable[[str, Record], Awaitable[None]]
"""Records a step under a name."""

PREFIX = "agentkit."
"""What the names of steps begin with."""


class Journal:
    """The session of a durable run: what is added to it is recorded before anything follows from it.

    Args:
        prompt: What the run began with.
        records: What was recorded of it since.
        earlier: The run as it stood.
        write: Records a step.
    """

    def __init__(
        self, prompt: tuple[Message, ...], records: Sequence[Record], earlier: Checkpoint, write: Write
    ) -> None:
        self.heard: Record = {}
        self._prompt = prompt
        self._records = records
        self._earlier = earlier
        self._write = write
        self._ran: set[str] = set()
        self._lock = Lock()
        self._began = monotonic()

    def __call__(self, event: Event) -> None:
        """Learn from an event which calls are run."""
        if isinstance(event, ToolStarted):
            self._ran.add(event.call.id)

    async def load(self) -> StoredConversation:
        """Give what was recorded. Calls that were open in the prompt count as started: nobody knows."""
        opened = [Started(call.id, call.name, call.arguments) for call in State.of(self._prompt).unanswered]
        return StoredConversation.of(
            [*self._prompt, *opened, *[each for record in self._records for each in entries_in(record)]]
        )

    async def append(self, entries: Sequence[Entry]) -> None:
        """Record entries as one step; when this returns, they are on the disk."""
        record: dict[str, object] = {
            "entries": [json.loads(line_of(each)) for each in entries],
            "budget": _used(self._earlier.budget),
        }
        first = entries[0]
        if isinstance(first, AssistantMessage):
            record |= self.heard
            self._ran.clear()
        if isinstance(first, ToolMessage):
            answered = [each.tool_call_id for each in entries if isinstance(each, ToolMessage)]
            record["ran"] = [each for each in answered if each in self._ran]
        async with self._lock:  # what is recorded has no gaps
            record["seconds"] = round(self._earlier.seconds + monotonic() - self._began, 3)
            await self._write(_name_of(first), record)


class Heard(Wrapper):
    """A model whose replies are handed to a journal, with the choice under which they came.

    Args:
        model: The model that is held.
        journal: Records the reply, once it was held against the choice.
    """

    __slots__ = ("_journal",)

    def __init__(self, model: Model, journal: Journal) -> None:
        super().__init__(model)
        self._journal = journal

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        reply = await self._model.complete(request, on_chunk)
        self._journal.heard = {"choice": write(request.tool_choice), "reply": write(reply)}
        return reply


def entries_in(record: Record) -> list[Entry]:
    """Read the entries of a record.

    Raises:
        SessionError: If one cannot be read.
    """
    return [*entries_of(("a record of the run", json.dumps(each)) for each in list_of(record.get("entries")))]


def restored(plan: Plan, prompt: tuple[Message, ...], records: Iterable[Record]) -> Checkpoint:
    """Give a run as it stood when the last of its records was made.

    Args:
        plan: What it goes by.
        prompt: What it began with.
        records: What was recorded since.

    Raises:
        SessionError: If a record cannot be read.
    """
    state, budget, seconds = beginning(plan, repaired(prompt).messages), budget_of(plan), 0.0
    for record in records:
        entries = entries_in(record)
        _use(budget, object_of(record.get("budget")), whole="reply" in record)
        seconds = cast("float", record.get("seconds", seconds))
        if "reply" in record:
            state = state.with_reply(_step(plan, state, record, entries, budget))
            continue
        for answer in [each for each in entries if isinstance(each, ToolMessage)]:
            names = {call.id: call.name for call in state.unanswered}
            if answer.tool_call_id in list_of(record["ran"]):
                budget.calls[names[answer.tool_call_id]] += 1
            state = state.with_results(ToolResults((answer,)))
    return Checkpoint(state, budget, seconds)


def standing(decisions: Iterable[Decision], state: State, records: Sequence[Record]) -> tuple[Decision, ...]:
    """Give the decisions that still hold: on calls that wait, and had not started when a worker died.

    Args:
        decisions: What was decided.
        state: The run as it stands.
        records: What was recorded since the decisions.
    """
    if any("reply" in each for each in records):
        return ()  # an id that comes again is that of another call
    started = {each.call_id for record in records for each in entries_in(record) if isinstance(each, Started)}
    waiting = {call.id for call in state.unanswered} - started
    return tuple([each for each in decisions if each.call.id in waiting])


def _step(plan: Plan, state: State, record: Record, entries: Sequence[Entry], budget: Budget) -> Step:
    """Give the step that a record of a reply is of: it is held against its choice once more."""
    choice, reply = read(ToolChoice, record["choice"]), read(ChatResponse, record["reply"])
    reply = replace(plan, scope=Scope(budget=budget_of(plan))).paid(plan.request(state, choice), reply)
    step = judge_reply(reply, choice, replace(plan, scope=Scope(budget=budget)), state, _unheard)
    message, *correction = entries
    violation = step.violation or (INVALID_OUTPUT if correction else None)
    changes: dict[str, object] = {"message": message, "correction": tuple(correction), "violation": violation}
    return replace(step, **changes)  # type: ignore[arg-type]


def _name_of(first: Entry) -> str:
    if isinstance(first, Started):
        return f"{PREFIX}start {first.name}"
    return f"{PREFIX}reply" if isinstance(first, AssistantMessage) else f"{PREFIX}answer"


def _used(budget: Budget) -> dict[str, object]:
    """Write what a run has used up."""
    return {
        "usage": write(budget.usage),
        "tokens": budget.tokens,
        "calls": dict(budget.calls),
        "last_words": budget.last_words,
        "reached": None if budget.reached is None else list(budget.reached),
    }


def _use(budget: Budget, used: Mapping[str, object], *, whole: bool) -> None:
    """Learn what a run has used up; how many calls, where none was open: one that did not end is run again."""
    budget.usage = read(Usage, used["usage"])
    budget.tokens = cast("int", used["tokens"])
    budget.last_words = cast("int", used["last_words"])
    reached = list_of(used["reached"]) if used["reached"] is not None else None
    budget.reached = None if reached is None else Reached(str(reached[0]), cast("float", reached[1]), str(reached[2]))
    if whole:
        budget.calls = Counter(cast("dict[str, int]", used["calls"]))


def _unheard(_: Event) -> None:
    """Tell nobody."""
