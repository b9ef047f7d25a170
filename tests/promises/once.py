"""A process that forks children, each of which runs a conversation with calls that must happen once.

The conversation is kept in a file of lines, and the tools have effects: a line in a file, on the disk. A child kills
itself at one of its points; another goes on. For each child one line is printed: what became of it.

    python -m tests.promises.once FOLDER INTERRUPTED
"""

import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import anyio

from agentkit import Agent, JsonLines, Result, ToolContext, approve, deny, tool
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.model import OnChunk
from agentkit.core.session import Entry, Session, Started, StoredConversation
from agentkit.runs.events import ApprovalNeeded, Event, StepFinished, ToolFinished, ToolStarted
from agentkit.tools.options import OnInterrupted
from tests.promises.scenario import Point, Points

PROMPT = "Pay, send, and pay."
ROUNDS = (
    (ToolCall("call_0", "pay", '{"invoice": 1}'), ToolCall("call_1", "send", '{"mail": 1}')),
    (ToolCall("call_0", "pay", '{"invoice": 2}'), ToolCall("call_1", "look", '{"at": 1}')),
    (ToolCall("call_0", "pay", '{"invoice": 1.0}'), ToolCall("call_1", "send", '{"mail": 2}')),
)
"""Ids come again with each reply; the last calls pay an invoice for the second time, and send another mail."""

_SECONDS = 60
Decide: TypeAlias = Callable[[ToolCall], Any]


class Model:
    """What it says follows from the history."""

    name = "once"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        heard = [each for each in request.messages if isinstance(each, AssistantMessage)]
        if len(heard) < len(ROUNDS):
            reply = AssistantMessage(tool_calls=ROUNDS[len(heard)])
        else:
            reply = AssistantMessage("all done")
            if on_chunk is not None:
                on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": "all done"}}]}))
        return ChatResponse((Choice(reply, "tool_calls" if reply.tool_calls else "stop"),))


@dataclass
class Pointed:
    """A session of which the beginning and the end of each addition is a point."""

    session: Session
    points: Points

    async def load(self) -> StoredConversation:
        return await self.session.load()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.points.reach("append begins")
        await self.session.append(entries)
        self.points.reach("append ended")


@dataclass(frozen=True)
class Ledger:
    """Effects in a file: one line each, on the disk when it is told."""

    path: Path

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def add(self, *line: str) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
        os.close(file)


def agent_of(ledger: Ledger, points: Points, interrupted: OnInterrupted, observe: Callable[[Event], object]) -> Agent:
    def act(name: str, what: float, key: str) -> str:
        points.reach(f"{name} begins")
        effect = f"{name} {what:g}"
        # Who runs it again has a service that knows the key.
        if interrupted != "again" or [effect, key] not in ledger.lines():
            ledger.add(effect, key)
        points.reach(f"{name} ends")
        return effect

    @tool(effect="once", key="invoice", on_interrupted=interrupted)
    def pay(invoice: float, ctx: ToolContext[None]) -> str:
        return act("pay", invoice, ctx.key)

    @tool(effect="once", on_interrupted=interrupted)
    async def send(mail: int, ctx: ToolContext[None]) -> str:
        return act("send", mail, ctx.key)

    @tool
    def look(at: int) -> str:
        points.reach("look begins")
        return f"looked {at}"

    def observer(event: Event) -> None:
        observe(event)
        if isinstance(event, StepFinished | ToolStarted | ToolFinished):
            points.reach(f"told {type(event).__name__}")

    return Agent(Model(), tools=[pay, send, look], instructions="Be exact.", observers=[observer])


@dataclass
class Seen:
    """What was seen of calls that wait, and of calls that ran."""

    asked: list[tuple[str, bool]]
    ran: list[str]

    def __call__(self, event: Event) -> None:
        if isinstance(event, ApprovalNeeded):
            self.asked.append((effect_of(event.call), event.started))
        elif isinstance(event, ToolStarted):
            self.ran.append(effect_of(event.call))


async def begin(agent: Agent, session: Session, form: str) -> Result[str]:
    if form == "plain":
        return await agent.run(PROMPT, session=session)
    async with agent.stream(PROMPT, session=session) as run:
        async for _ in run:
            pass
    return run.result


def effect_of(call: ToolCall | Started) -> str:
    (value,) = json.loads(call.arguments).values()
    return f"{call.name} {value:g}"


async def go_on(place: Path, interrupted: OnInterrupted, decide: Decide) -> dict[str, Any]:
    """Go on from what a child left behind, and tell what was found and what became of it."""
    ledger, seen = Ledger(place.with_suffix(".effects")), Seen([], [])
    session = JsonLines(place.with_suffix(".jsonl"))
    kept = await session.load()
    before = [effect for effect, _ in ledger.lines()]
    agent = agent_of(ledger, Points(), interrupted, seen)
    result = await agent.run(None if kept.messages else PROMPT, session=session)
    pending, asked = result.pending, list(seen.asked)
    if pending:
        result = await agent.resume(session, [decide(call) for call in pending])
    last = await agent.run(session=session)  # which finds that nothing is to be done
    assert (last.messages, last.steps) == (result.messages, ())
    return {
        "started": sorted(effect_of(each) for each in kept.started),
        "answered": [effect_of(each) for each, _ in kept.ended],
        "before": before,
        "pending": sorted(effect_of(each) for each in pending),
        "asked": sorted(asked),
        "ran": seen.ran,
        "stop": result.stop,
        "output": result.output,
        "messages": [each.to_dict() for each in result.messages],
        "effects": ledger.lines(),
    }


def forked(work: Callable[[], None]) -> int:
    """Do something in a child; give how it ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(_SECONDS)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (told, and then the child ends)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(_where: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def first(place: Path, at: Point | None, interrupted: OnInterrupted, form: str) -> list[Point]:
    """Run from the beginning, to a point; give all of them."""
    points = Points(at, die, waits=False)
    session = Pointed(JsonLines(place.with_suffix(".jsonl")), points)
    anyio.run(begin, agent_of(Ledger(place.with_suffix(".effects")), points, interrupted, bool), session, form)
    return points.passed


def one(place: Path, at: Point, interrupted: OnInterrupted, form: str, decide: Decide) -> None:
    """Have a child die at a point, another go on, and tell what became of it."""
    told = place.with_suffix(".told")

    def begins() -> None:
        first(place, at, interrupted, form)

    def goes_on() -> None:
        told.write_text(json.dumps(anyio.run(go_on, place, interrupted, decide)))

    ended, resumed = forked(begins), forked(goes_on)
    found: dict[str, Any] = json.loads(told.read_text()) if resumed == 0 else {}
    decided = "approve" if decide is approve else "deny"
    line = {"at": at, "form": form, "decided": decided, "ended": ended, "resumed": resumed, **found}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()  # no child is to have it too


def main(folder: str, interrupted: OnInterrupted) -> None:
    points: dict[str, list[Point]] = {}
    for form in ("plain", "streamed"):
        # One run that comes through tells the points, and has the children find everything imported.
        points[form] = first(Path(folder, form), None, interrupted, form)
    # No thread may be left where a fork is.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.freeze()
    for form, points_of_form in points.items():
        for number, at in enumerate(points_of_form):
            even = (number % 2 == 0) == (form == "plain")
            if interrupted == "ask" or even == (interrupted == "done"):  # of these each point has one form
                one(Path(folder, f"{form} {number}"), at, interrupted, form, approve if even else deny)


if __name__ == "__main__":
    policy: Any = sys.argv[2]
    main(sys.argv[1], policy)
