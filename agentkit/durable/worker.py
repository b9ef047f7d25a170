"""A worker: it takes runs from the queues of its agents, and goes on with those of workers that died."""

import logging
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from secrets import token_hex
from signal import SIGINT, SIGTERM, signal
from threading import Event, Thread
from types import NoneType, TracebackType
from typing import Any, Generic, Self, TypeVar

from anyio import CancelScope, to_thread
from dbos import DBOS
from dbos import error as dbos_errors

from agentkit.agent.agent import Agent
from agentkit.core.codec import read
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import list_of
from agentkit.durable.recording import Heard, Journal, Record, restored, standing
from agentkit.durable.runs import Runs
from agentkit.durable.serializer import Json
from agentkit.durable.worker_locks import presence_at
from agentkit.durable.workflows import QUEUE, VERSION, WORKFLOW, recorded, records_in
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.tools.approval import Decision

DepsT = TypeVar("DepsT")
_LOOK = 0.5  # seconds between two looks for workers that died and runs that were cancelled
_POLL = 0.2  # seconds between two looks into a queue
_ATTEMPTS = 50
_PATIENCE = 10  # looks in which a run of this worker is not under way before it is taken up again
_log = logging.getLogger("agentkit.durable")
_working: list["Worker"] = []


@dataclass(frozen=True, slots=True)
class Served(Generic[DepsT]):
    """An agent whose runs a worker takes, and how many of them.

    The numbers hold for all workers with an agent of that name; those of the worker that began last.

    Attributes:
        agent: The agent. Its name is that of its queue.
        deps: What its tools may ask for; each run gets the same.
        at_once: How many of its runs each worker has under way at most.
        global_concurrency: How many all workers together have under way at most; `None` is no limit.
        rate: How many begin in how many seconds at most, over all workers: `(100, 60.0)`.
    """

    agent: Agent[DepsT, Any]
    deps: DepsT | None = None
    at_once: int | None = 16
    global_concurrency: int | None = None
    rate: tuple[int, float] | None = None


class Worker:
    """Takes runs while it is open: `with Worker(runs, agent): …`. There is one in a process.

    Runs and their tools are in an event loop of the worker's own, on asyncio. Where the worker is closed or dies, its
    runs are taken up by other workers, or by the next one.

    Args:
        runs: Where the runs are kept.
        agents: The agents, or each with how it is `Served`. A worker takes no runs of others.
        grace: Seconds that runs under way have to come to their end when the worker is closed.

    Raises:
        ConfigurationError: If agents have the same name, or there is no agent, or one without what its tools ask for.
    """

    def __init__(self, runs: Runs, *agents: Agent[Any, Any] | Served[Any], grace: int = 0) -> None:
        served = [each if isinstance(each, Served) else Served(each) for each in agents]
        self._served = {each.agent.name: each for each in served}
        if not served or len(self._served) < len(served):
            raise ConfigurationError("a worker has at least one agent, and each has a name of its own: Agent(name=…)")
        for each in served:
            wanted = each.agent.plan.deps_type
            if each.deps is None and wanted is not NoneType:
                raise ConfigurationError(f"the tools of {each.agent.name} ask for a {wanted.__name__}: Served(deps=…)")
        self.id = token_hex(8)
        self._runs = runs
        self._grace = grace
        self._closing = Event()
        self._looking = Thread(target=self._look, daemon=True)
        self._active: dict[CancelScope, tuple[str, AbstractEventLoop]] = {}
        self._idle: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Begin to take runs.

        Raises:
            ConfigurationError: If this process has a worker already.
        """
        if _working:
            raise ConfigurationError("this process has a worker already, which can have several agents")
        _working.append(self)
        with ExitStack() as undone:
            undone.callback(_working.remove, self)
            self._runs.client()
            self._presence = presence_at(self._runs.url)
            undone.callback(self._presence.close)
            self._presence.take(self.id)
            undone.callback(in_a_thread, lambda: DBOS.destroy(workflow_completion_timeout_sec=self._grace))
            in_a_thread(self._launch)  # which finds no event loop there, and makes its own
            self._closing_up = undone.pop_all()
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more runs."""
        self._closing.set()
        self._looking.join()
        self._closing_up.close()

    async def take_up(self, order: dict[str, Any], workflow_id: str) -> dict[str, object]:
        """Run a part of a run, from its beginning or from where it was."""
        run, part = str(order["run"]), int(order["part"])
        served = self._served[str(order["agent"])]
        client = self._runs.client()
        known = await to_thread.run_sync(recorded, client, run, part)
        done = await to_thread.run_sync(client.list_workflow_steps, workflow_id)
        for _ in range(max([each["function_id"] for each in done], default=0)):
            DBOS.reserve_step()  # what is recorded is read above, and not step by step
        earlier = restored(served.agent.plan, known.prompt, known.records)
        journal = Journal(known.prompt, known.records, earlier, _write)
        plan = replace(served.agent.plan, model=Heard(served.agent.plan.model, journal))
        made = [read(Decision, each) for each in list_of(order.get("decisions"))]
        decisions = standing(made, earlier.state, records_in(done))
        given = RunInput((), served.deps, None, journal, decisions, emit=journal, checkpoint=earlier, run_id=run)
        with CancelScope() as scope:
            self._active[scope] = (workflow_id, get_running_loop())
            try:
                result = await perform(plan, given)
            finally:
                del self._active[scope]
            return {"stop": result.stop}
        return {"stop": "cancelled"}

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
        for name, each in self._served.items():
            most = [number for number in (each.at_once, each.global_concurrency) if number is not None]
            self._runs.client().register_queue(
                f"{QUEUE}{name}",
                worker_concurrency=min(most, default=None),
                global_concurrency=each.global_concurrency,
                limiter=None if each.rate is None else {"limit": each.rate[0], "period": each.rate[1]},
                polling_interval_sec=_POLL,
            )
        DBOS.launch()

    def _look(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            wait = _LOOK
            try:
                self._presence.take(self.id)
                self._stop_cancelled()
                self._recover()
            except Exception:  # noqa: BLE001 (the database may be away for a while)
                _log.warning("cannot look after runs", exc_info=True)

    def _recover(self) -> None:
        """Have the runs of workers that died taken up."""
        pending = self._runs.client().list_workflows(
            name=WORKFLOW, status="PENDING", load_input=False, load_output=False
        )
        self._recover_idle({each.workflow_id for each in pending if each.executor_id == self.id})
        for other in {each.executor_id or "" for each in pending} - {"", self.id}:
            if self._presence.take(other):
                try:
                    DBOS._recover_pending_workflows([other])  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (what DBOS's own recovery service calls)
                finally:
                    self._presence.release(other)

    def _recover_idle(self, own: set[str]) -> None:
        """Have runs of this worker taken up that are not under way: to take one, or to end it, had failed."""
        dbos: Any = self._dbos
        idle = own.difference(dbos._active_workflows_set.activeList())  # noqa: SLF001 (nothing else tells)
        self._idle = {each: self._idle.get(each, 0) + 1 for each in idle}
        for each in [name for name, looks in self._idle.items() if looks > _PATIENCE]:
            del self._idle[each]
            dbos._sys_db.reenqueue_for_recovery(each, [self.id], "")  # noqa: SLF001 (as DBOS does for those of others)

    def _stop_cancelled(self) -> None:
        """Stop what is under way of runs that were cancelled."""
        active = dict(self._active)
        if not active:
            return
        cancelled = self._runs.client().list_workflows(
            workflow_ids=[each for each, _ in active.values()],
            status="CANCELLED",
            load_input=False,
            load_output=False,
        )
        names = {each.workflow_id for each in cancelled}
        for scope, loop in [(scope, loop) for scope, (name, loop) in active.items() if name in names]:
            loop.call_soon_threadsafe(scope.cancel)


def work(runs: Runs, *agents: Agent[Any, Any] | Served[Any], grace: int = 0) -> None:
    """Be a worker until the process is told to end, by SIGTERM or Ctrl-C. For the main thread of a script.

    Args:
        runs: As for `Worker`.
        agents: As for `Worker`.
        grace: As for `Worker`.

    Raises:
        ConfigurationError: As for `Worker`.
    """
    told = Event()

    def tell(*_: object) -> None:
        told.set()

    for each in (SIGTERM, SIGINT):
        signal(each, tell)
    with Worker(runs, *agents, grace=grace):
        while not told.wait(_LOOK):
            pass  # a signal that came before the wait began is heard now


def in_a_thread(function: Callable[[], object]) -> None:
    """Call a function where no event loop runs; what it raises is raised."""
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (raised by who called)
            raised.append(error)

    thread = Thread(target=attempt)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


async def _write(name: str, record: Record) -> None:
    taken: list[Record] = []

    def step() -> Record:
        taken.append(record)
        return record

    await DBOS.run_step_async({"name": name}, step)
    if not taken:  # another worker has the run by now and was here first; DBOS gives what that one recorded
        raise dbos_errors.DBOSWorkflowConflictIDError(str(DBOS.workflow_id))


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_ATTEMPTS)
async def _run(order: dict[str, Any]) -> dict[str, object]:
    """Take up a run; the workflow that DBOS knows."""
    return await _working[0].take_up(order, str(DBOS.workflow_id))
