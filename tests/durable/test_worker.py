"""Workers: which runs they take and recover, and how they end."""

import logging
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import Mock

import anyio
import psycopg
import pytest
from dbos import DBOS
from sqlalchemy import make_url

from agentkit import Agent, ConfigurationError, ToolMessage
from agentkit.durable import Runs, Served, Worker, worker
from agentkit.durable.worker_locks import FileLocks
from agentkit.durable.workflows import QUEUE
from tests.durable.conftest import (
    ADDER,
    BEGUN,
    ENDLESS,
    GO_ON,
    LIMITED,
    OPENED,
    RAN,
    SLEEPER,
    TILL,
    WAITER,
    Till,
    set_row,
)


def test_a_worker_has_agents_with_names(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.db")
    for agents in ((), (ADDER, LIMITED, ADDER)):
        with pytest.raises(ConfigurationError, match="at least one agent"):
            Worker(runs, *agents)
    with pytest.raises(ConfigurationError, match="Till"):
        Worker(runs, TILL)
    Worker(runs, Served(TILL, deps=Till(1)))
    with pytest.raises(ConfigurationError, match="a list of them"):
        Worker(runs, Agent(ADDER.plan.model, tools=lambda _: []))


@asynccontextmanager
async def opens_nothing() -> AsyncGenerator[Any]:
    yield None


@asynccontextmanager
async def closes_badly() -> AsyncGenerator[Agent]:
    try:
        yield ADDER
    finally:
        raise OSError("gone")


def test_an_agent_that_is_opened_needs_a_name_and_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(tmp_path / "runs.db")
    with pytest.raises(ConfigurationError, match="a name of its own"):
        Worker(runs, Served(opens_nothing))
    own = Worker(runs, Served(opens_nothing, name="nothing"), Served(closes_badly, name="badly"))
    anyio.run(own._keep_open, "nothing", opens_nothing, None)
    with pytest.raises(ConfigurationError, match="not an agent"):
        own._plans["nothing"].result()

    async def close() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(own._keep_open, "badly", closes_badly, None)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    anyio.run(close)
    assert own._plans["badly"].result() is ADDER.plan
    assert "badly could not be closed" in caplog.text


def test_an_agent_is_opened_in_the_event_loop_of_the_runs(runs: Runs) -> None:
    run = anyio.run(runs.submit, OPENED, "Look.")
    results = [message for message in anyio.run(run.result).messages if isinstance(message, ToolMessage)]
    assert [message.content for message in results] == ["true"]


def test_a_process_has_one_worker(runs: Runs) -> None:
    with pytest.raises(ConfigurationError, match="a worker already"), Worker(runs, ADDER):
        pass


def test_its_queues_have_the_limits_of_its_agents(runs: Runs) -> None:
    queue: Any = runs.client().retrieve_queue(f"{QUEUE}limited")
    assert (queue.worker_concurrency, queue.global_concurrency, queue.limiter) == (3, 5, {"limit": 100, "period": 60.0})
    other: Any = runs.client().retrieve_queue(f"{QUEUE}adder")
    assert (other.worker_concurrency, other.global_concurrency, other.limiter) == (16, None, None)
    fewer: Any = runs.client().retrieve_queue(f"{QUEUE}clerk")
    assert (fewer.worker_concurrency, fewer.global_concurrency) == (9, 9)  # of 16 that it may have, and 9 everywhere


def test_one_that_cannot_start_leaves_nothing(tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    working: list[Worker] = []
    monkeypatch.setattr(worker, "_open_workers", working)

    def fails(_: Worker) -> None:
        raise OSError("no database")

    monkeypatch.setattr(Worker, "_launch", fails)
    destroy = Mock()
    monkeypatch.setattr(DBOS, "destroy", destroy)
    other = Runs(tmp_path / "runs.db")
    with pytest.raises(OSError, match="no database"), Worker(other, ADDER):
        pass
    assert (working, destroy.call_count) == ([], 1)  # for the next worker DBOS is to be made anew
    assert [*(tmp_path / "runs.db.workers").iterdir()] == []
    other.close()


@pytest.mark.parametrize(("error", "text"), [
    (OSError("the database is down"), "cannot look for"), (psycopg.OperationalError("connection failed"), "is away"),
])  # fmt: skip
def test_it_keeps_its_lock_also_after_the_database_was_down(
    error: Exception, text: str, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    (own,) = worker._open_workers
    failed, looked = Event(), Event()

    def acquire(name: str) -> None:
        assert name == own.id
        if not failed.is_set():
            failed.set()
            raise error
        looked.set()

    monkeypatch.setattr(own._locks, "acquire", acquire)
    assert looked.wait(10)
    assert text in caplog.text


def test_work_ends_with_a_signal(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[object] = []
    waits: list[float | None] = []

    @contextmanager
    def standing(*given: object, grace: int) -> Generator[None]:
        entered.append((given, grace))
        yield
        entered.append("closed")

    class Told(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) > 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(0)

    monkeypatch.setattr(worker, "Worker", standing)
    monkeypatch.setattr(worker, "Event", Told)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    worker.work(runs, ADDER, grace=3)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert entered == [((runs, ADDER), 3), "closed"]
    assert len(waits) > 1  # it looks now and then, as a signal may come before the wait begins


def test_a_signal_ends_a_worker_that_waits_for_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_open_workers", [])

    def migrate(_: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise psycopg.OperationalError("connection failed: Connection refused")

    monkeypatch.setattr(DBOS, "migrate", migrate)
    worker.work(Runs(tmp_path / "runs.db"), ADDER)
    assert worker._open_workers == []


def test_the_runs_of_the_dead_are_resumed(runs: Runs) -> None:
    """Here the dead worker is only a name in a row; tests/durable/sweep.py kills real ones."""
    (own,) = worker._open_workers
    run = anyio.run(runs.submit, ADDER, "Hello")
    anyio.run(run.result)
    locks = FileLocks(Path(f"{make_url(runs.url).database}.workers"))
    assert locks.acquire("dead")  # as if it lived
    set_row(runs, run.id, "status = 'PENDING', executor_id = 'dead', output = NULL")
    own._recover()
    assert anyio.run(run.info).state == "running"
    locks.release("dead")
    result, info = anyio.run(run.result), anyio.run(run.info)
    assert (result.output, info.worker, info.attempts) == ("3", own.id, 2)


def test_an_idle_run_is_started_again(runs: Runs) -> None:
    """As when the connection is lost while the worker takes a run: the row says so, but the worker never knew."""
    (own,) = worker._open_workers
    run = anyio.run(runs.submit, ADDER, "Hello")
    anyio.run(run.result)
    set_row(runs, run.id, "status = 'PENDING', output = NULL")
    anyio.run(run.result)
    assert anyio.run(run.info).attempts == 2
    ENDLESS.asked.clear()
    run = anyio.run(runs.submit, SLEEPER, "Hello")
    assert ENDLESS.asked.wait(20)
    for _ in range(2 * worker._PATIENCE):
        own._recover()
    assert (own._idle, anyio.run(run.info).attempts) == ({}, 1)  # a run that is active here is not idle
    anyio.run(run.cancel)


@pytest.mark.parametrize("late", [True, False])
def test_a_worker_that_lost_its_run_does_and_records_nothing(runs: Runs, *, late: bool) -> None:
    """As a worker that is cut off from the database and comes back: before the other one ended the run, or after."""
    for state in (RAN, *GO_ON):
        state.clear()
    stopped = Event()
    logger = logging.getLogger("dbos")

    def notice(record: logging.LogRecord) -> bool:
        if "is no longer owned by this execution" in record.getMessage():
            stopped.set()
        return False

    run = anyio.run(runs.submit, WAITER, "Wait and ring.")
    assert BEGUN.acquire(timeout=20)
    set_row(runs, run.id, "status = 'ENQUEUED', owner_xid = NULL")
    assert BEGUN.acquire(timeout=20)  # the same run is now active twice
    lost, owns = GO_ON
    logger.addFilter(notice)
    try:
        if not late:
            lost.set()
            assert stopped.wait(20)
        owns.set()
        result = anyio.run(run.result)
        lost.set()
        assert stopped.wait(20)
    finally:
        logger.removeFilter(notice)
    assert (result.output, RAN) == ("done", ["wait", "wait", "ring"])
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == ["waited 2", "rang"]
