"""The handle of a submitted run: wait for it, watch it, decide on its calls, cancel it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from anyio import sleep
from dbos import DBOSClient, WorkflowStatus, error

from agentkit.agent.agent import Agent
from agentkit.core.codec import write
from agentkit.core.errors import AgentkitError, InvalidRequest, RunCancelled
from agentkit.core.json import object_of
from agentkit.core.messages import Message, ToolCall
from agentkit.core.session import Entry
from agentkit.core.state import State, Stop
from agentkit.durable.recording import Record, checkpoint_from, entries_in
from agentkit.durable.worker_locks import Alive
from agentkit.durable.workflows import Part, RunInfo, enqueue, info_of, last_part, load_run, workflow_id_of
from agentkit.runs.lifecycle import result_of
from agentkit.runs.result import Result
from agentkit.tools.approval import Decision, match_decisions

OutT = TypeVar("OutT")
_T = TypeVar("_T")
_FIRST_POLL, _LONGEST_POLL = 0.05, 1.0  # seconds between two looks at a run
_FOREVER = 10.0**9  # seconds


class WithClient(Protocol):
    """Calls a function with DBOS's client, in a thread."""

    def __call__(self, function: Callable[[DBOSClient], _T]) -> Awaitable[_T]: ...


class Submitted(Generic[OutT]):
    """A submitted run. Any process that has its id and its agent can have such a handle: `runs.run(id, agent)`.

    Attributes:
        id: The id of the run.
    """

    def __init__(self, id: str, agent: Agent[Any, OutT], with_client: WithClient, url: str) -> None:  # noqa: A002 (the field's word)
        self.id = id
        self._agent = agent
        self._with_client = with_client
        self._url = url

    def __repr__(self) -> str:
        return f"Submitted({self.id!r})"

    async def info(self) -> RunInfo:
        """Return the state of the run.

        Raises:
            InvalidRequest: If there is no such run.
        """

        def load(client: DBOSClient) -> RunInfo:
            with closing(Alive(self._url)) as alive:
                return info_of(last_part(client, self.id)[0], alive)

        return await self._with_client(load)

    async def result(self) -> Result[OutT]:
        """Wait until the run ends, or until calls wait for approval: then `result.pending` has them.

        Raises:
            AgentkitError: The error that ended the run; `RunCancelled` if it was cancelled.
            InvalidRequest: If there is no such run, or another agent's has this id.
        """
        pause = _FIRST_POLL
        while (info := info_of((found := await self._last_part())[0])).state in ("queued", "running"):
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL)
        status, part = found
        if info.agent != self._agent.name:
            raise InvalidRequest(f"the run {self.id!r} is one of {info.agent}, not of {self._agent.name}")
        if info.state == "cancelled":
            raise RunCancelled(f"the run {self.id!r} was cancelled")
        if info.state == "failed":
            raise status.error or AgentkitError(
                f"the run {self.id!r} was given up: workers started it {info.attempts} times and it never ended"
            )
        return self._result(status, *await self._load(part))

    async def pending(self) -> tuple[ToolCall, ...]:
        """Return the calls that wait for approval; none if the run does not wait."""
        status, part = await self._last_part()
        if info_of(status).state != "waiting":
            return ()
        return self._result(status, *await self._load(part)).pending

    async def decide(self, decisions: Iterable[Decision]) -> None:
        """Resume a run that waits. When this returns, the decisions are on the disk.

        Args:
            decisions: `approve(call)` or `deny(call)` for the calls that wait. For other calls the run waits again.

        Raises:
            InvalidRequest: If the run does not wait, if a decided call does not wait, or if someone else decided first.
        """
        made = tuple(decisions)
        status, number = await self._last_part()
        if (state := info_of(status).state) != "waiting":
            raise InvalidRequest(f"the run {self.id!r} does not wait for a decision: it is {state}")
        match_decisions(made, self._result(status, *await self._load(number)).pending)
        part = self._next_part(number, made)
        try:
            await self._with_client(lambda client: enqueue(client, part, workflow_id_reuse_policy="reject"))
        except error.DBOSWorkflowIDInUseError:
            ids = [workflow_id_of(self.id, part["part"])]
            (other,) = await self._with_client(lambda client: client.list_workflows(workflow_ids=ids))
            if other.input is None or other.input["args"][0] != part:
                raise InvalidRequest(f"someone else decided first how the run {self.id!r} resumes") from None

    async def cancel(self) -> None:
        """Cancel the run. One that is running stops within about a second; one that ended stays as it is.

        Raises:
            InvalidRequest: If there is no such run.
        """
        status, number = await self._last_part()
        while (state := info_of(status).state) in ("queued", "running", "waiting"):
            if state == "waiting":  # one write both ends the wait and cancels: a next part that never starts
                part = self._next_part(number)
                number = part["part"]
                await self._with_client(partial(enqueue, part=part, delay_seconds=_FOREVER))
            workflow_id = workflow_id_of(self.id, number)
            await self._with_client(partial(DBOSClient.cancel_workflow, workflow_id=workflow_id))
            status, number = await self._last_part()  # the run may have come to wait meanwhile

    async def watch(self) -> AsyncIterator[Entry]:
        """Yield the records as they come: replies, starts of calls that run once, and results.

        This ends when the run does, or when calls wait for approval.
        """
        seen, pause, over = 0, _FIRST_POLL, False
        while not over:
            status, part = await self._last_part()
            over = info_of(status).state not in ("queued", "running")
            _, records = await self._load(part)
            for record in records[seen:]:
                for entry in entries_in(record):
                    yield entry
            pause = _FIRST_POLL if len(records) > seen else min(2 * pause, _LONGEST_POLL)
            seen = len(records)
            if not over:
                await sleep(pause)

    async def _last_part(self) -> tuple[WorkflowStatus, int]:
        return await self._with_client(lambda client: last_part(client, self.id))

    async def _load(self, parts: int) -> tuple[tuple[Message, ...], tuple[Record, ...]]:
        return await self._with_client(lambda client: load_run(client, self.id, parts))

    def _next_part(self, number: int, decisions: Iterable[Decision] = ()) -> Part:
        written = [write(decision) for decision in decisions]
        return {"run": self.id, "agent": self._agent.name, "part": number + 1, "decisions": written}

    def _result(self, status: WorkflowStatus, prompt: tuple[Message, ...], records: tuple[Record, ...]) -> Result[OutT]:
        plan, stop = self._agent.plan, cast("Stop", object_of(status.output)["stop"])
        checkpoint = checkpoint_from(plan, prompt, records)
        state: State = replace(checkpoint.state, paused=stop == "paused")
        return replace(result_of(plan, state, checkpoint.budget), stop=stop)
