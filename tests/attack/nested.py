"""A process that forks children, each of which runs an agent whose sub-agent, or the agent it hands over to, pays.

Each child kills itself at one of its points. Then the parent resumes them all, and prints a line for each.

    python -m tests.attack.nested FOLDER EACH
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from agentkit import Agent, JsonLines, Sqlite, Tool, ToolContext, handoff, tool
from agentkit.core.chat import ChatRequest
from agentkit.core.messages import AssistantMessage
from agentkit.core.session import Entry, SharedSession, Started, StoredConversation
from agentkit.runs.events import Event, StepFinished, ToolFinished, ToolStarted
from agentkit.tools.options import OnInterrupted
from tests.promises.once import POLICIES, Ledger, die, forked
from tests.promises.scenario import Point, Points
from tests.scripted import Scripted, called, said

WAYS = ("tool", "tool in a tool", "handoff")
STORES = ("lines", "table")
INNER = (
    called(("pay", {"invoice": 1}), ("send", {"mail": "a"})),
    called(("pay", {"invoice": 1}), ("pay", {"invoice": 2})),
    said("inner done"),
)
PROMPT = {"prompt": "Pay."}


class PointedSession:
    """A session of which the beginning and the end of each write is a point."""

    def __init__(self, session: SharedSession, points: Points) -> None:
        self._session = session
        self._points = points

    async def load(self) -> StoredConversation:
        return await self._session.load()

    async def append(self, entries: Sequence[Entry]) -> None:
        self._points.reach("append begins")
        await self._session.append(entries)
        self._points.reach("append ended")

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        self._points.reach("start begins")
        news = await self._session.start(started, seen)
        self._points.reach("start ended")
        return news


def scripted(*replies: AssistantMessage) -> Scripted:
    """Play the reply that comes next in a conversation, after its last user message."""

    def play(request: ChatRequest) -> AssistantMessage:
        roles = [message.to_dict()["role"] for message in request.messages]
        asked = roles[len(roles) - roles[::-1].index("user") :].count("assistant")
        return replies[min(asked, len(replies) - 1)]

    return Scripted(play)


def agent_of(way: str, ledger: Ledger, points: Points, interrupted: OnInterrupted) -> Agent:
    def act(effect: str, key: str) -> str:
        points.reach("effect begins")
        if interrupted != "again" or [effect, key] not in ledger.lines():  # as a service that knows the key
            ledger.add(effect, key)
        points.reach("effect ends")
        return effect

    @tool(effect="once", key="invoice", on_interrupted=interrupted)
    async def pay(invoice: int, ctx: ToolContext[None]) -> str:
        return act(f"pay {invoice}", ctx.key)

    @tool(effect="once", on_interrupted=interrupted)
    def send(mail: str, ctx: ToolContext[None]) -> str:
        return act(f"send {mail}", ctx.key)

    def observe(event: Event) -> None:
        if isinstance(event, StepFinished | ToolStarted | ToolFinished):
            points.reach(f"told {type(event).__name__}")

    def agent(model: Scripted, *tools: Any) -> Agent:
        return Agent(model, tools=tools, observers=[observe])

    inner = agent(scripted(*INNER), pay, send)
    if way == "handoff":
        first: Tool = handoff(agent(scripted(*INNER), pay, send), name="ask")
        return agent(scripted(called(("ask", {})), said("outer done")), first, pay)
    if way == "tool in a tool":
        inner = agent(scripted(called(("ask", PROMPT)), said("middle done")), inner.as_tool("ask", "Ask."))
    replies = called(("ask", PROMPT)), called(("pay", {"invoice": 1})), said("outer done")
    return agent(scripted(*replies), inner.as_tool("ask", "Ask."), pay)


def session_at(place: Path, store: str) -> SharedSession:
    if store == "lines":
        return JsonLines(place.with_suffix(".jsonl"), sync=False)
    chat = Sqlite(place.with_suffix(".db"), sync=False).conversation("ann")
    assert isinstance(chat, SharedSession)
    return chat


def run_to(at: Point | None, place: Path, way: str, store: str, interrupted: OnInterrupted) -> list[Point]:
    """Run from the beginning, to a point; return all of them."""
    points = Points(at, die, waits=False)
    agent = agent_of(way, Ledger(place.with_suffix(".effects")), points, interrupted)
    anyio.run(partial(agent.run, "Go.", session=PointedSession(session_at(place, store), points)))
    return points.passed


async def resume(place: Path, way: str, store: str, interrupted: OnInterrupted) -> dict[str, object]:
    ledger, session = Ledger(place.with_suffix(".effects")), session_at(place, store)
    kept, before = await session.load(), Counter(effect for effect, _ in ledger.lines())
    agent = agent_of(way, ledger, Points(), interrupted)
    result = await agent.run(None if kept.messages else "Go.", session=session)
    return {
        "started": [f"{started.name} {next(iter(json.loads(started.arguments).values()))}" for started in kept.started],
        "before": before,
        "effects": ledger.lines(),
        "stop": result.stop,
    }


def main(folder: str, each: int) -> None:
    sets = [(way, store) for way in WAYS for store in STORES]
    points = {(way, store): run_to(None, Path(folder, f"{way} {store}"), way, store, "ask") for way, store in sets}
    dead: list[tuple[Path, str, str, OnInterrupted, Point, int]] = []
    number = 0
    for way, store in sets:
        for at in points[way, store]:
            for interrupted in POLICIES:
                number += 1
                if number % each == 0:
                    place = Path(folder, str(number))
                    ended = forked(partial(run_to, at, place, way, store, interrupted))
                    dead.append((place, way, store, interrupted, at, ended))
    for place, way, store, interrupted, at, ended in dead:
        found = anyio.run(resume, place, way, store, interrupted)
        about = {"way": way, "store": store, "policy": interrupted, "at": at, "ended": ended}
        sys.stdout.write(json.dumps(about | found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
