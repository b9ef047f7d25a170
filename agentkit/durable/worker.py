"""A worker: it takes runs from the queues of its agents, and resumes those of workers that died.

DBOS takes the runs, in an event loop of its own. Beside it, a thread looks every half second: it keeps the worker's own
lock, stops runs that were cancelled, and has the runs of dead workers put back into their queues.
"""

import logging
from asyncio import AbstractEventLoop, get_running_loop, run_coroutine_threadsafe, shield, wrap_future
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from secrets import token_hex
from signal import SIGINT, SIGTERM, signal
from threading import Event, Thread
from types import NoneType
from typing import Any, Generic, Self

from anyio import CancelScope, sleep_forever, to_thread
from dbos import DBOS
from dbos import error as dbos_errors
from typing_extensions import TypeVar

from agentkit.agent.agent import Agent
from agentkit.agent.opened import OpensAgent, is_agent, open_agent
from agentkit.core.codec import read
from agentkit.core.errors import ConfigurationError
from agentkit.durable.dbos_internals import active_workflows, enqueue_again, event_loop_of, recover_workflows_of
from agentkit.durable.outages import OUTAGE, is_away
from agentkit.durable.recording import Record, RecordingModel, RecordingSession, checkpoint_from, decisions_in_force
from agentkit.durable.runs import Runs
from agentkit.durable.serializer import Json
from agentkit.durable.worker_locks import locks_for
from agentkit.durable.workflows import QUEUE, VERSION, WORKFLOW, Part, load_run, records_in
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.plan import Plan
from agentkit.tools.approval import Decision

DepsT = TypeVar("DepsT", default=None)
_LOOK = 0.5  # seconds between two looks for dead workers and cancelled runs
_POLL = 0.2  # seconds between two looks into a queue
_ATTEMPTS = 50
_PATIENCE = 10  # looks in which a run of this worker may stand idle before it is put back into its queue
_log = logging.getLogger("agentkit.durable")
_open_workers: list["Worker"] = []  # at most one; the workflow below has no other way to it


@dataclass(frozen=True, slots=True)
class Served(Generic[DepsT]):
    """An agent whose runs a worker takes, with its concurrency limits.

    The limits are stored with the queue of the agent, so all workers use those of the worker that started last.

    Attributes:
        agent: The agent; or a function that returns an async context manager, which gives the agent. It is opened when
            the worker is, in the event loop of the runs, and closed with it: for tools of an MCP server, for example.
        deps: The dependencies of its tools; every run gets the same.
        at_once: How many of its runs each worker runs concurrently at most; `None` is no limit.
        global_concurrency: How many all workers together run concurrently at most; `None` is no limit.
        rate: How many runs start in how many seconds at most, over all workers: `(100, 60.0)`.
        name: The name of the queue, which is that of the agent. Needed if `agent` is a function.
    """

    agent: Agent[DepsT, Any] | OpensAgent
    deps: DepsT | None = None
    at_once: int | None = 16
    global_concurrency: int | None = None
    rate: tuple[int, float] | None = None
    name: str | None = None

    @property
    def queue(self) -> str:
        """The name of the queue; "" if it has none."""
        return self.name or (self.agent.name if is_agent(self.agent) else "")


class Worker:
    """Takes runs while it is open: `with Worker(runs, agent): …`. A process has at most one.

    Runs and their tools run in an event loop of the worker's own, on asyncio. When the worker is closed or dies, other
    workers resume its runs, or the next one that starts.

    Args:
        runs: Where the runs are stored.
        agents: The agents, or each as `Served`. A worker takes no runs of other agents.
        grace: Seconds that concurrent runs have to end when the worker is closed.

    Raises:
        ConfigurationError: If there is no agent, two have the same name, or one lacks the dependencies of its tools.
            On entering, if this process has an open worker.
    """

    def __init__(self, runs: Runs, *agents: Agent[Any, Any] | Served[Any], grace: int = 0) -> None:
        served = [agent if isinstance(agent, Served) else Served(agent) for agent in agents]
        self._served = {entry.queue: entry for entry in served}
        if not served or len(self._served) < len(served) or "" in self._served:
            raise ConfigurationError("a worker has at least one agent, and each has a name of its own: Agent(name=…)")
        self._plans: dict[str, Future[Plan]] = {name: Future() for name in self._served}
        for name, entry in self._served.items():
            if is_agent(entry.agent):
                self._plans[name].set_result(_checked_plan(name, entry.agent, entry.deps))
        self.id = token_hex(8)
        self._runs = runs
        self._grace = grace
        self._closing = Event()
        self._looking = Thread(target=self._look, daemon=True)
        self._active: dict[CancelScope, tuple[str, AbstractEventLoop]] = {}
        self._idle: dict[str, int] = {}

    def __enter__(self) -> Self:
        if _open_workers:
            raise ConfigurationError("this process has a worker already; one worker can have several agents")
        _open_workers.append(self)
        with ExitStack() as undo:
            undo.callback(_open_workers.remove, self)
            self._runs.wait_for(self._runs.client)
            self._locks = self._runs.wait_for(lambda: locks_for(self._runs.url))
            undo.callback(self._locks.close)
            self._locks.acquire(self.id)
            # DBOS makes its own event loop if it is launched in a thread without one.
            undo.callback(_in_thread, lambda: DBOS.destroy(workflow_completion_timeout_sec=self._grace))
            _in_thread(self._launch)
            for name, entry in self._served.items():
                if not is_agent(entry.agent):
                    opening = self._keep_open(name, entry.agent, entry.deps)
                    run_coroutine_threadsafe(opening, event_loop_of(self._dbos))
                    self._plans[name].result()
            self._undo = undo.pop_all()
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._looking.join()
        self._undo.close()

    async def run_part(self, part: Part, workflow_id: str) -> dict[str, object]:
        """Run a part of a run from its last record, and return the output of the workflow: how the part ended."""
        run, served, client = part["run"], self._served[part["agent"]], self._runs.client()
        plan = await shield(wrap_future(self._plans[part["agent"]]))
        prompt, records = await to_thread.run_sync(load_run, client, run, part["part"])
        steps = await to_thread.run_sync(client.list_workflow_steps, workflow_id)
        for _ in range(max([step["function_id"] for step in steps], default=0)):
            DBOS.reserve_step()  # the records are read above at once, and not replayed step by step
        checkpoint = checkpoint_from(plan, prompt, records)
        session = RecordingSession(prompt, records, checkpoint, _write)
        plan = plan._replace(model=RecordingModel(plan.model, session))
        decisions = [read(Decision, decision) for decision in part.get("decisions", ())]
        in_force = decisions_in_force(decisions, checkpoint.state, records_in(steps))
        given = RunInput((), served.deps, None, session, in_force, emit=session, checkpoint=checkpoint, run_id=run)
        with CancelScope() as scope:
            self._active[scope] = (workflow_id, get_running_loop())
            try:
                result = await perform(plan, given)
            finally:
                del self._active[scope]
            return {"stop": result.stop}
        return {"stop": "cancelled"}

    async def _keep_open(self, name: str, opens: OpensAgent, deps: object) -> None:
        """Open an agent and keep it open, in a task that DBOS cancels when the worker is closed."""
        opened = self._plans[name]
        try:
            async with AsyncExitStack() as stack:
                opened.set_result(_checked_plan(name, await open_agent(opens, stack), deps))
                await sleep_forever()
        except Exception as error:  # noqa: BLE001 (raised where the worker is opened)
            if opened.done():
                _log.warning("%s could not be closed", name, exc_info=True)
            else:
                opened.set_exception(error)

    def _launch(self) -> None:
        self._dbos = DBOS(
            config={
                "name": QUEUE.strip("."),
                "system_database_url": self._runs.url,
                "application_version": VERSION,
                "executor_id": self.id,
                "serializer": Json(),
                "log_level": "WARNING",
            }
        )
        DBOS.listen_queues([f"{QUEUE}{name}" for name in self._served])
        for name, served in self._served.items():
            limits = [limit for limit in (served.at_once, served.global_concurrency) if limit is not None]
            self._runs.client().register_queue(
                f"{QUEUE}{name}",
                worker_concurrency=min(limits, default=None),
                global_concurrency=served.global_concurrency,
                limiter=None if served.rate is None else {"limit": served.rate[0], "period": served.rate[1]},
                polling_interval_sec=_POLL,
            )
        DBOS.launch()

    def _look(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            wait = _LOOK
            try:
                self._locks.acquire(self.id)
                self._stop_cancelled()
                self._recover()
            except Exception as error:  # noqa: BLE001 (the database may be down for a while)
                if is_away(error):
                    OUTAGE.begins(error)
                else:
                    _log.warning("cannot look for dead workers and cancelled runs; trying again", exc_info=True)
            else:
                OUTAGE.ends()

    def _recover(self) -> None:
        client = self._runs.client()
        pending = client.list_workflows(name=WORKFLOW, status="PENDING", load_input=False, load_output=False)
        self._recover_idle({status.workflow_id for status in pending if status.executor_id == self.id})
        for worker in {status.executor_id or "" for status in pending} - {"", self.id}:
            if self._locks.acquire(worker):
                try:
                    recover_workflows_of(worker)
                finally:
                    self._locks.release(worker)

    def _recover_idle(self, own: set[str]) -> None:
        """Put runs back into their queues that this worker has but does not run: it failed to start or to end them."""
        idle = own - active_workflows(self._dbos)
        self._idle = {workflow_id: self._idle.get(workflow_id, 0) + 1 for workflow_id in idle}
        for workflow_id in [workflow_id for workflow_id, looks in self._idle.items() if looks > _PATIENCE]:
            del self._idle[workflow_id]
            enqueue_again(self._dbos, workflow_id, self.id)

    def _stop_cancelled(self) -> None:
        active = dict(self._active)
        if not active:
            return
        ids, client = [workflow_id for workflow_id, _ in active.values()], self._runs.client()
        found = client.list_workflows(workflow_ids=ids, status="CANCELLED", load_input=False, load_output=False)
        cancelled = {status.workflow_id for status in found}
        for scope, (workflow_id, loop) in active.items():
            if workflow_id in cancelled:
                loop.call_soon_threadsafe(scope.cancel)


def work(runs: Runs, *agents: Agent[Any, Any] | Served[Any], grace: int = 0) -> None:
    """Be a `Worker`, with the same arguments, until SIGTERM or Ctrl-C. Call this in the main thread of a script."""
    stop, opened = Event(), False

    def handle(*_: object) -> None:
        stop.set()
        if not opened:  # it may wait for the database, and has no run
            raise _Stopped

    before = {number: signal(number, handle) for number in (SIGTERM, SIGINT)}
    try:
        with suppress(_Stopped), Worker(runs, *agents, grace=grace):
            opened = True
            while not stop.wait(_LOOK):
                pass  # handles a signal that came just before the wait began
    finally:
        for number, handler in before.items():
            signal(number, handler)


class _Stopped(BaseException):
    """A signal came before the worker was open."""


def _checked_plan(name: str, agent: Agent[Any, Any], deps: object) -> Plan:
    deps_type = agent.plan.deps_type
    if deps is None and deps_type is not NoneType:
        raise ConfigurationError(f"the tools of {name} need a {deps_type.__name__}: Served(agent, deps=…)")
    if agent.plan.gives_tools:  # a client reads the records without the dependencies that the function may need
        raise ConfigurationError(f"{name} has its tools from a function; a durable run needs a list of them")
    return agent.plan


def _in_thread(function: Callable[[], object]) -> None:
    """Call a function in a thread, where no event loop runs."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()


async def _write(name: str, record: Record) -> None:
    """Record a step of the workflow that runs here."""
    written: list[Record] = []

    def step() -> Record:
        written.append(record)
        return record

    await DBOS.run_step_async({"name": name}, step)
    if not written:  # another worker has the run by now and recorded this step; DBOS ends it here without an outcome
        raise dbos_errors.DBOSWorkflowConflictIDError(str(DBOS.workflow_id))


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_ATTEMPTS)
async def _run(part: Part) -> dict[str, object]:
    return await _open_workers[0].run_part(part, str(DBOS.workflow_id))
