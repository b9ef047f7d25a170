"""A run that was submitted: waited for, watched, decided on, stopped."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from anyio import sleep
from dbos import DBOSClient, WorkflowStatus, error

from agentkit.agent.agent import Agent
from agentkit.core.codec import write
from agentkit.core.errors import AgentkitError, InvalidRequest, RunCancelled
from agentkit.core.json import object_of
from agentkit.core.messages import ToolCall
from agentkit.core.session import Entry
from agentkit.core.state import State, Stop
from agentkit.durable.recording import entries_in, restored
from agentkit.durable.workflows import (
    Recorded,
    RunInfo,
    RunState,
    enqueue,
    id_of,
    info_of,
    latest,
    recorded,
)
from agentkit.runs.lifecycle import result_of
from agentkit.runs.result import Result
from agentkit.tools.approval import Decision, match_decisions

OutT = TypeVar("OutT")
_T = TypeVar("_T")
_FIRST, _LONGEST = 0.05, 1.0  # seconds between two looks
_NEVER = 10.0**9

__all__ = ["RunInfo", "RunState", "Submitted"]


class Call(Protocol):
    """Asks DBOS's client in a thread."""

    def __call__(self, function: Callable[[DBOSClient], _T]) -> Awaitable[_T]:
        """Ask it."""
        ...


class Submitted(Generic[OutT]):
    """A run that was submitted. Any process that has the id and the agent can have such a handle.

    Attributes:
        id: The id of the run.
    """

    def __init__(self, id: str, agent: Agent[Any, OutT], call: Call) -> None:  # noqa: A002 (the word for it)
        self.id = id
        self._agent = agent
        self._call = call

    def __repr__(self) -> str:
        return f"Submitted({self.id!r})"

    async def info(self) -> RunInfo:
        """Say where the run is.

        Raises:
            InvalidRequest: If there is no such run.
        """
        return info_of((await self._latest())[0])

    async def result(self) -> Result[OutT]:
        """Wait for the end, or until calls wait for approval: then `result.pending` has them.

        Raises:
            AgentkitError: What ended the run, if it ended without an answer: `RunCancelled` if it was cancelled.
            InvalidRequest: If there is no such run, or it is another agent's.
        """
        pause = _FIRST
        while (info := info_of((found := await self._latest())[0])).state in ("queued", "running"):
            await sleep(pause)
            pause = min(2 * pause, _LONGEST)
        if info.agent != self._agent.name:
            raise InvalidRequest(f"the run {self.id!r} is one of {info.agent}, not of {self._agent.name}")
        if info.state == "cancelled":
            raise RunCancelled(f"the run {self.id!r} was cancelled")
        if info.state == "failed":
            raise found[0].error or AgentkitError(
                f"the run {self.id!r} was given up: it was taken up {info.attempts} times and came to no end"
            )
        return self._result(found[0], await self._recorded(found[1]))

    async def pending(self) -> tuple[ToolCall, ...]:
        """Give the calls that wait for approval; none, if the run does not wait."""
        status, part = await self._latest()
        if info_of(status).state != "waiting":
            return ()
        return self._result(status, await self._recorded(part)).pending

    async def decide(self, decisions: Iterable[Decision]) -> None:
        """Have a run that waits go on. When this returns, the decisions are on the disk.

        Args:
            decisions: `approve(call)` or `deny(call)` for the calls that wait. On what is not decided it waits again.

        Raises:
            InvalidRequest: If the run does not wait, or a decision is on a call that does not, or others decided first.
        """
        made = tuple(decisions)
        status, part = await self._latest()
        if info_of(status).state != "waiting":
            raise InvalidRequest(f"the run {self.id!r} does not wait: it is {info_of(status).state}")
        match_decisions(made, self._result(status, await self._recorded(part)).pending)
        order = self._order(part + 1, made)
        try:
            await self._call(lambda client: enqueue(client, order, workflow_id_reuse_policy="reject"))
        except error.DBOSWorkflowIDInUseError:
            (other,) = await self._call(lambda client: client.list_workflows(workflow_ids=[id_of(self.id, part + 1)]))
            if other.input is None or other.input["args"][0] != order:
                raise InvalidRequest(f"how the run {self.id!r} goes on was decided by someone else") from None

    async def cancel(self) -> None:
        """Stop the run. One that is at work is stopped within about a second; one at its end stays as it is.

        Raises:
            InvalidRequest: If there is no such run.
        """
        status, part = await self._latest()
        while (state := info_of(status).state) in ("queued", "running", "waiting"):
            if state == "waiting":
                part += 1
                await self._call(partial(enqueue, order=self._order(part), delay_seconds=_NEVER))
            await self._call(partial(DBOSClient.cancel_workflow, workflow_id=id_of(self.id, part)))
            status, part = await self._latest()  # it may have come to wait in the meantime

    async def watch(self) -> AsyncIterator[Entry]:
        """Give what is recorded as it comes: replies, calls of tools that must run once, answers.

        It ends when the run does, or when calls wait for approval.
        """
        seen, pause, over = 0, _FIRST, False
        while not over:
            status, part = await self._latest()
            over = info_of(status).state not in ("queued", "running")
            records = (await self._recorded(part)).records
            for record in records[seen:]:
                for entry in entries_in(record):
                    yield entry
            pause = _FIRST if len(records) > seen else min(2 * pause, _LONGEST)
            seen = len(records)
            if not over:
                await sleep(pause)

    async def _latest(self) -> tuple[WorkflowStatus, int]:
        return await self._call(lambda client: latest(client, self.id))

    async def _recorded(self, parts: int) -> Recorded:
        return await self._call(lambda client: recorded(client, self.id, parts))

    def _order(self, part: int, decisions: Iterable[Decision] = ()) -> dict[str, object]:
        """Give what the next part of the run begins with."""
        made = [write(each) for each in decisions]
        return {"run": self.id, "agent": self._agent.name, "part": part, "decisions": made}

    def _result(self, status: WorkflowStatus, known: Recorded) -> Result[OutT]:
        """Give the result: it follows from what is recorded."""
        plan, stop = self._agent.plan, cast("Stop", object_of(status.output)["stop"])
        earlier = restored(plan, known.prompt, known.records)
        state: State = replace(earlier.state, paused=True) if stop == "paused" else earlier.state
        return replace(result_of(plan, state, earlier.budget), stop=stop)
