"""A process that forks workers, each of which kills itself at a point of one of the runs; the next one resumes.

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
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from dbos import DBOS

from agentkit import Agent, ChatClient, ToolContext, approve, tool
from agentkit.durable import Runs, Worker, worker
from agentkit.durable.recording import Record
from tests.durable.test_recording import History
from tests.promises.once import Ledger, forked
from tests.scripted import called, said

Reach = Callable[[str, str], None]


def agent_of(ledger: Ledger, url: str, reach: Reach) -> Agent:
    @tool
    async def note(at: int, ctx: ToolContext[None]) -> str:
        reach(ctx.run_id, f"note {at} begins")
        ledger.add("note", ctx.run_id, str(at))
        return f"noted {at}"

    @tool(effect="once", key="invoice", on_interrupted="again")
    def pay(invoice: int, ctx: ToolContext[None]) -> str:
        reach(ctx.run_id, "pay begins")
        if ["pay", ctx.run_id, ctx.key] not in ledger.lines():  # the service knows the key
            ledger.add("pay", ctx.run_id, ctx.key)
        return f"paid {invoice}"

    @tool(effect="once", on_interrupted="done")
    async def send(mail: int, ctx: ToolContext[None]) -> str:
        reach(ctx.run_id, "send begins")
        ledger.add("send", ctx.run_id, str(mail))
        return f"sent {mail}"

    client = ChatClient("m", base_url=url, api_key="k")
    return Agent(client, tools=[note, pay, send], instructions="Be exact.", name="sweeper")


def be_a_worker(folder: Path, url: str, kills: dict[str, str], wanted: list[str]) -> None:
    """Take runs until all are done, or until a run comes to the point where this process is to die."""
    ledger = Ledger(folder / "ledger")

    def reach(run: str, where: str) -> None:
        if not kills:
            ledger.add("point", run, where)
        elif kills.get(run) == where and not (folder / f"{run}.killed").exists():
            (folder / f"{run}.killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    write: Callable[[str, Record], Awaitable[None]] = worker._write

    async def pointed(name: str, record: Record) -> None:
        run = str(DBOS.workflow_id)
        first: Any = record["entries"]
        used: Any = record["budget"]
        which = first[0]["tool_call_id"] if name == "agentkit.answer" else used["usage"]["requests"]
        reach(run, f"writes {name} {which}")
        await write(name, record)
        if name == "agentkit.reply":
            reach(run, f"wrote {name} {which}")

    worker._write, worker._LOOK, worker._POLL = pointed, 0.05, 0.05
    runs = Runs(folder / "runs.db")
    agent = agent_of(ledger, url, reach)

    async def submit_and_wait() -> None:
        handles = [await runs.submit(agent, f"run {name}", id=name) for name in wanted]
        for handle in handles:
            await handle.result()

    with Worker(runs, agent):
        anyio.run(submit_and_wait)
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


def go_past(run_id: str, point: str) -> None: ...


def main(folder: Path, url: str) -> None:
    ledger = Ledger(folder / "ledger")
    assert forked(lambda: be_a_worker(folder, url, {}, ["calm"])) == 0
    points = sorted({line[2] for line in ledger.lines() if line[0] == "point"})
    kills = {f"k{at}": where for at, where in enumerate(points)}
    deaths = 0
    while (ended := forked(lambda: be_a_worker(folder, url, kills, [*kills]))) == -signal.SIGKILL:
        deaths += 1
        ledger.add("killed", json.dumps(replies_in(folder / "runs.db")))
    assert ended == 0
    for part in ("first", "decides", "last"):
        assert forked(partial(of_two_minds, folder, part)) == 0
    runs, agent = Runs(folder / "runs.db"), agent_of(ledger, url, go_past)

    async def told() -> None:
        calm = await runs.run("calm", agent).result()
        for name, where in kills.items():
            result, info = await runs.run(name, agent).result(), await runs.run(name, agent).info()
            line = {
                "run": name,
                "at": where,
                "killed": (folder / f"{name}.killed").exists(),
                "attempts": info.attempts,
                "output": result.output,
                "same": replace(result, messages=result.messages[2:]) == replace(calm, messages=calm.messages[2:]),
                "sent": [message.to_dict() for message in result.messages],
            }
            sys.stdout.write(json.dumps(line) + "\n")

    anyio.run(told)
    runs.close()
    sys.stdout.write(json.dumps({"deaths": deaths}) + "\n")


if __name__ == "__main__":
    for thread in threading.enumerate():
        assert thread is threading.current_thread()
    gc.freeze()
    main(Path(sys.argv[1]), sys.argv[2])
