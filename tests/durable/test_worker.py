"""Workers: which runs they take and recover, and how they end."""

import logging
import os
import signal
import time
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
from dbos import DBOS

from agentkit import Agent, ConfigurationError, ToolMessage
from agentkit.durable import Runs, Served, Worker, worker
from agentkit.durable.worker_locks import FileLocks
from agentkit.durable.workflows import QUEUE
from tests.durable.conftest import ADDER, BEGUN, ENDLESS, GO_ON, LIMITED, RAN, SLEEPER, TILL, WAITER, Till
from tests.durable.test_recording import History
from tests.scripted import said


def test_a_worker_has_agents_with_names(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.db")
    for agents in ((), (ADDER, LIMITED, ADDER)):
        with pytest.raises(ConfigurationError, match="at least one agent"):
            Worker(runs, *agents)
    with pytest.raises(ConfigurationError, match="Till"):
        Worker(runs, TILL)
    Worker(runs, Served(TILL, deps=Till(1)))


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
    ended: list[object] = []

    def destroy(**given: object) -> None:
        ended.append(given)

    monkeypatch.setattr(DBOS, "destroy", destroy)
    other = Runs(tmp_path / "runs.db")
    with pytest.raises(OSError, match="no database"), Worker(other, ADDER):
        pass
    assert (working, len(ended)) == ([], 1)  # for the next worker DBOS is to be made anew
    assert [*(tmp_path / "runs.db.workers").iterdir()] == []
    other.close()


def test_it_keeps_its_lock(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    (own,) = worker._open_workers
    taken = Event()

    def acquire(name: str) -> bool:
        assert name == own.id
        taken.set()
        return True

    monkeypatch.setattr(own._locks, "acquire", acquire)
    assert taken.wait(10)


def test_it_looks_again_after_the_database_was_down(runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    (own,) = worker._open_workers
    failed = Event()

    def fails() -> None:
        failed.set()
        raise OSError("the database is down")

    monkeypatch.setattr(own, "_recover", fails)
    assert failed.wait(10)
    monkeypatch.undo()
    looked = Event()
    monkeypatch.setattr(own, "_recover", looked.set)
    assert looked.wait(10)
    assert "cannot look for" in caplog.text


def test_work_ends_with_a_signal(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[object] = []
    waits: list[float | None] = []

    class Standing:
        def __init__(self, *given: object, grace: int) -> None:
            entered.append((given, grace))

        def __enter__(self) -> None:
            entered.append("open")

        def __exit__(self, *_: object) -> None:
            entered.append("closed")

    class Told(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) > 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(0)

    monkeypatch.setattr(worker, "Worker", Standing)
    monkeypatch.setattr(worker, "Event", Told)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.work(runs, ADDER, grace=3)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert entered == [((runs, ADDER), 3), "open", "closed"]
    assert len(waits) > 1  # it looks now and then, as a signal may come before the wait begins


def test_the_runs_of_the_dead_are_resumed(runs: Runs) -> None:
    """The rows of a worker that died are handed on; tests/durable/sweep.py kills real ones."""
    (own,) = worker._open_workers
    agent = Agent(History([said("done")]), name="adder")

    async def submit() -> str:
        handle = await runs.submit(agent, "Hello")
        return handle.id

    engine = runs.client()._sys_db.engine
    name = anyio.run(submit)
    deadline = time.monotonic() + 20
    while anyio.run(runs.run(name, ADDER).info).state != "done":
        assert time.monotonic() < deadline
    locks = FileLocks(Path(f"{engine.url.database}.workers"))
    assert locks.acquire("dead")  # as one that lives
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'dead', output = NULL WHERE workflow_uuid = ?",
            (name,),
        )
    own._recover()
    assert anyio.run(runs.run(name, ADDER).info).state == "running"
    locks.release("dead")
    result = anyio.run(runs.run(name, ADDER).result)
    info = anyio.run(runs.run(name, ADDER).info)
    assert (result.output, info.worker, info.attempts) == ("3", own.id, 2)


def test_an_idle_run_is_started_again(runs: Runs) -> None:
    """As where the connection is lost while it takes one: that it has it is written, and it is not told."""
    (own,) = worker._open_workers

    async def submit(agent: Agent) -> str:
        return (await runs.submit(agent, "Hello")).id

    name = anyio.run(submit, ADDER)
    anyio.run(runs.run(name, ADDER).result)
    with runs.client()._sys_db.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE workflow_status SET status = 'PENDING', output = NULL WHERE workflow_uuid = ?", (name,)
        )
    deadline = time.monotonic() + 20
    while anyio.run(runs.run(name, ADDER).info).state != "done":
        assert time.monotonic() < deadline
    assert anyio.run(runs.run(name, ADDER).info).attempts == 2
    ENDLESS.asked.clear()
    name = anyio.run(submit, SLEEPER)
    assert ENDLESS.asked.wait(20)
    for _ in range(2 * worker._PATIENCE):
        own._recover()
    assert (own._idle, anyio.run(runs.run(name, SLEEPER).info).attempts) == ({}, 1)  # one that is under way is not
    anyio.run(runs.run(name, SLEEPER).cancel)


@pytest.mark.parametrize("late", [True, False])
def test_a_worker_that_lost_its_run_does_and_records_nothing(runs: Runs, *, late: bool) -> None:
    """As a worker that is cut off from the database, and comes back: when all was done without it, or before."""
    for state in (RAN, *GO_ON):
        state.clear()
    stopped = Event()
    logger = logging.getLogger("dbos")

    def heard(record: logging.LogRecord) -> bool:
        if "is no longer owned by this execution" in record.getMessage():
            stopped.set()
        return False

    async def submit() -> str:
        return (await runs.submit(WAITER, "Wait and ring.")).id

    name = anyio.run(submit)
    assert BEGUN.acquire(timeout=20)
    with runs.client()._sys_db.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE workflow_status SET status = 'ENQUEUED', owner_xid = NULL WHERE workflow_uuid = ?", (name,)
        )
    assert BEGUN.acquire(timeout=20)  # the same run is under way twice
    lost, owns = GO_ON
    logger.addFilter(heard)
    try:
        if not late:
            lost.set()
            assert stopped.wait(20)
        owns.set()
        result = anyio.run(runs.run(name, WAITER).result)
        lost.set()
        assert stopped.wait(20)
    finally:
        logger.removeFilter(heard)
    assert (result.output, RAN) == ("done", ["wait", "wait", "ring"])
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == ["waited 2", "rang"]
