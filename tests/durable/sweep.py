"""A process that forks a worker, which kills itself when each of its runs waits at a point of its own; the next resumes.

Every point is just before something changes that outlives the process, a record or an effect, or just after a reply is
recorded: a death anywhere between two points leaves the same world. The model is an endpoint elsewhere, which writes
into the same ledger. At the end it prints a line for each run.

    python -m tests.durable.sweep FOLDER ENDPOINT
"""

import gc
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from dbos import DBOS

from agentkit import Agent, ChatClient, ToolContext, approve, tool
from agentkit.durable import Runs, Served, Worker, worker
from agentkit.durable.recording import Record
from tests.durable.test_recording import History
from tests.promises.once import Ledger, forked
from tests.scripted import called, said

WRITE = worker._write
Stops = Callable[[str, str], bool]
"""Whether a run is to wait for the death of the process at a point."""


def agent_of(ledger: Ledger, url: str, stops: Stops) -> Agent:
    @tool
    async def note(at: int, ctx: ToolContext[None]) -> str:
        if stops(ctx.run_id, f"note {at} begins"):
            await anyio.sleep_forever()
        ledger.add("note", ctx.run_id, str(at))
        return f"noted {at}"

    @tool(effect="once", key="invoice", on_interrupted="again")
    def pay(invoice: int, ctx: ToolContext[None]) -> str:
        if stops(ctx.run_id, "pay begins"):
            threading.Event().wait()
        if ["pay", ctx.run_id, ctx.key] not in ledger.lines():  # the service knows the key
            ledger.add("pay", ctx.run_id, ctx.key)
        return f"paid {invoice}"

    @tool(effect="once", on_interrupted="done")
    async def send(mail: int, ctx: ToolContext[None]) -> str:
        if stops(ctx.run_id, "send begins"):
            await anyio.sleep_forever()
        ledger.add("send", ctx.run_id, str(mail))
        return f"sent {mail}"

    client = ChatClient("m", base_url=url, api_key="k")
    return Agent(client, tools=[note, pay, send], instructions="Be exact.", name="sweeper")


@dataclass
class Killing:
    """Kills this process as soon as each of its runs is done or waits at the point where it is to be killed."""

    folder: Path
    points: dict[str, str]
    """By run; without any, the points are noted in the ledger."""
    wanted: list[str]
    settled: list[str] = field(default_factory=list[str])

    def stops(self, run: str, where: str) -> bool:
        if not self.points:
            Ledger(self.folder / "ledger").add("point", run, where)
        if self.points.get(run) != where:
            return False
        with (self.folder / "killed").open("a") as killed:
            killed.write(f"{run}\n")
        self.settle(run)
        return True

    def settle(self, run: str) -> None:
        self.settled.append(run)
        if self.points and len(self.settled) == len(self.wanted):
            os.kill(os.getpid(), signal.SIGKILL)

    async def stop(self, run: str, where: str) -> None:
        if self.stops(run, where):
            await anyio.sleep_forever()

    async def write(self, name: str, record: Record) -> None:
        """Take the place of the function that writes a record."""
        run = str(DBOS.workflow_id)
        first: Any = record["entries"]
        used: Any = record["budget"]
        which = first[0]["tool_call_id"] if name == "agentkit.answer" else used["usage"]["requests"]
        await self.stop(run, f"writes {name} {which}")
        await WRITE(name, record)
        if name == "agentkit.reply":
            await self.stop(run, f"wrote {name} {which}")


def be_a_worker(folder: Path, url: str, points: dict[str, str], wanted: list[str]) -> None:
    """Take runs until all are done, or until each is done or waits where it is to be killed."""
    killing = Killing(folder, points, wanted)
    worker._write, worker._LOOK, worker._POLL = killing.write, 0.05, 0.05
    runs = Runs(folder / "runs.db")
    agent = agent_of(Ledger(folder / "ledger"), url, killing.stops)

    async def submit_and_wait(name: str) -> None:
        handle = await runs.submit(agent, f"run {name}", id=name)
        await handle.result()
        killing.settle(name)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for name in wanted:
                group.start_soon(submit_and_wait, name)

    with Worker(runs, Served(agent, at_once=None)):
        anyio.run(all_of_them)
    runs.close()


def of_two_minds(folder: Path, part: str) -> None:
    """A run waits for approval in one process, is decided on in another, and resumes in a third."""

    @tool(approval=True)
    def sign(page: int) -> str:
        Ledger(folder / "ledger").add("sign", "approved", str(page))
        return f"signed {page}"

    runs, model = Runs(folder / "runs.db"), History([called(("sign", {"page": 1})), said("signed")])
    handle = runs.run("approved", Agent(model, tools=[sign], name="signer"))

    async def decide() -> None:
        await handle.decide([approve(call) for call in await handle.pending()])

    async def wait() -> None:
        if part == "first":
            await runs.submit(handle._agent, "Sign.", id="approved")
        result = await handle.result()
        assert (result.stop, result.output) == (("paused", "") if part == "first" else ("answer", "signed"))
        assert model.asked == ([0] if part == "first" else [1])

    if part == "decides":
        anyio.run(decide)
    else:
        with Worker(runs, handle._agent):
            anyio.run(wait)
    runs.close()


def replies_in(place: Path) -> dict[str, int]:
    """Count the recorded replies of each run."""
    with sqlite3.connect(place) as connection:
        rows = connection.execute(
            "SELECT workflow_uuid, count(*) FROM operation_outputs WHERE function_name = 'agentkit.reply' GROUP BY 1"
        ).fetchall()
    connection.close()
    return dict(rows)


def goes_on(run_id: str, point: str) -> bool:
    return False


def main(folder: Path, url: str) -> None:
    ledger = Ledger(folder / "ledger")
    assert forked(lambda: be_a_worker(folder, url, {}, ["calm"])) == 0
    points = sorted({line[2] for line in ledger.lines() if line[0] == "point"})
    kills = {f"k{at}": where for at, where in enumerate(points)}
    assert forked(lambda: be_a_worker(folder, url, kills, [*kills])) == -signal.SIGKILL
    ledger.add("killed", json.dumps(replies_in(folder / "runs.db")))
    killed = (folder / "killed").read_text().splitlines()
    assert forked(lambda: be_a_worker(folder, url, {}, [*kills])) == 0
    for part in ("first", "decides", "last"):
        assert forked(partial(of_two_minds, folder, part)) == 0
    runs, agent = Runs(folder / "runs.db"), agent_of(ledger, url, goes_on)

    async def told() -> None:
        calm = await runs.run("calm", agent).result()
        for name, where in kills.items():
            result, info = await runs.run(name, agent).result(), await runs.run(name, agent).info()
            line = {
                "run": name,
                "at": where,
                "killed": name in killed,
                "attempts": info.attempts,
                "output": result.output,
                "same": replace(result, messages=result.messages[2:]) == replace(calm, messages=calm.messages[2:]),
                "sent": [message.to_dict() for message in result.messages],
            }
            sys.stdout.write(json.dumps(line) + "\n")

    anyio.run(told)
    runs.close()


if __name__ == "__main__":
    for thread in threading.enumerate():
        assert thread is threading.current_thread()
    gc.freeze()
    main(Path(sys.argv[1]), sys.argv[2])
