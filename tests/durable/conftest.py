"""One worker for the tests of a file: a process has one, and to start it takes a second.

Files with laws do without it: where one of its threads draws a random number, hypothesis takes that for the law's own.
"""

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import anyio
import pytest

from agentkit import Agent, AssistantMessage, ChatRequest, ChatResponse, Limits, RateLimited, ToolContext, tool
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.durable import Runs, Served, Worker, worker
from tests.durable.test_recording import History, Trip, add, pay, refund
from tests.scripted import called, said


class Failing:
    """A model that does not answer."""

    name = "failing"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        last: Any = request.messages[-1]
        if last.content == "odd":
            raise KeyError("an error of its own")
        error = RateLimited("too many requests", status=429, code="slow_down", retry_after=2.5)
        error.attempts = 3
        raise error


class Endless:
    """A model that never answers; what it is asked and when it is stopped can be waited for."""

    name = "endless"

    def __init__(self) -> None:
        self.asked, self.stopped = Event(), Event()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        self.asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped.set()
        return ChatResponse((Choice(AssistantMessage("never")),))


@dataclass(frozen=True)
class Till:
    money: int


@tool
async def count(ctx: ToolContext[Till]) -> str:
    return f"{ctx.deps.money} in {ctx.run_id}"


BEGUN, GO_ON = Semaphore(0), (Event(), Event())
RAN: list[str] = []


@tool
def wait() -> str:
    RAN.append("wait")
    go_on = GO_ON[len(RAN) - 1]
    BEGUN.release()
    assert go_on.wait(20)
    return f"waited {GO_ON.index(go_on) + 1}"


@tool(effect="once")
def ring() -> str:
    RAN.append("ring")
    return "rang"


WAITER = Agent(History([called(("wait", {})), called(("ring", {})), said("done")]), tools=[wait, ring], name="waiter")
ADDER = Agent(
    History([called(("add", {"a": 1, "b": 2}), ("pay", {"invoice": 1})), said("3")]), tools=[add, pay], name="adder"
)
TRAVELLER = Agent(History([called(("final_answer", {"city": "Rome", "days": 2}))]), output=Trip, name="traveller")
CLERK = Agent(
    History([called(("refund", {"order": 1}), ("refund", {"order": 2})), said("done")]), tools=[refund], name="clerk"
)
FAILER = Agent(Failing(), name="failer")
LIMITED = Agent(History([called(("add", {"a": 1, "b": 2}))]), tools=[add], limits=Limits(steps=1), name="limited")
OPEN_IN: list[AbstractEventLoop] = []


@tool
async def look() -> bool:
    return [get_running_loop()] == OPEN_IN


OPENED = Agent(History([called(("look", {})), said("looked")]), tools=[look], name="opened")


@asynccontextmanager
async def opens() -> AsyncGenerator[Agent]:
    OPEN_IN[:] = [get_running_loop()]
    yield OPENED


ENDLESS = Endless()
SLEEPER = Agent(ENDLESS, name="sleeper")
TILL = Agent(History([called(("count", {})), said("counted")]), tools=[count], deps_type=Till, name="till")
"""Its tools ask for what a worker has."""
NOBODYS = Agent(History([said("never")]), name="nobodys")
"""No worker takes its runs."""


def set_row(runs: Runs, workflow_id: str, values: str) -> None:
    """Change a workflow's row in the database, as another process does or a crash leaves it."""
    with runs.client()._sys_db.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE workflow_status SET {values} WHERE workflow_uuid = ?", (workflow_id,))  # noqa: S608 (the tests' own)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs, and a worker that takes them."""
    patched = pytest.MonkeyPatch()
    patched.setattr(worker, "_LOOK", 0.05)
    patched.setattr(worker, "_POLL", 0.05)
    runs = Runs(Path(tmp_path_factory.mktemp("durable"), "runs.db"))
    sleeper, limited = Served(SLEEPER, at_once=2), Served(LIMITED, at_once=3, global_concurrency=5, rate=(100, 60.0))
    clerk = Served(CLERK, global_concurrency=9)
    till, opened = Served(TILL, deps=Till(7)), Served(opens, name="opened")
    with Worker(runs, ADDER, TRAVELLER, clerk, FAILER, WAITER, limited, sleeper, till, opened):
        yield runs
    runs.close()
    patched.undo()
