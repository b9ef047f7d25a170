"""A process that forks children, each of which runs a conversation with calls that must happen once.

The conversation is kept in a file of lines, and the tools have effects: a line in a file, on the disk. Each child kills
itself at one of its points. Then the parent resumes them all, and prints one line for each: what became of it.

    python -m tests.promises.once FOLDER
"""

import gc
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import anyio

from agentkit import Agent, JsonLines, ToolContext, approve, deny, tool
from agentkit.core.chat import ChatRequest
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.session import Entry, Session, Started, StoredConversation
from agentkit.runs.events import ApprovalNeeded, Event, StepFinished, ToolFinished, ToolStarted
from agentkit.tools.middleware import CallNext
from agentkit.tools.options import OnInterrupted
from tests.promises.scenario import FORMS, Point, Points, finish
from tests.scripted import Scripted

PROMPT = "Pay, send, and pay."
ROUNDS = (
    (ToolCall("call_0", "pay", '{"invoice": 1}'), ToolCall("call_1", "send", '{"mail": 1}')),
    (ToolCall("call_0", "pay", '{"invoice": 2}'), ToolCall("call_1", "look", '{"at": 1}')),
    (ToolCall("call_0", "pay", '{"invoice": 1.0}'), ToolCall("call_1", "send", '{"mail": 2}')),
)
"""Ids come again with each reply; the last calls pay an invoice for the second time, and send another mail."""
POLICIES: tuple[OnInterrupted, ...] = ("ask", "done", "again")

_SECONDS = 300
Decide: TypeAlias = Callable[[ToolCall], Any]


def play(request: ChatRequest) -> AssistantMessage:
    replies = sum(isinstance(message, AssistantMessage) for message in request.messages)
    return AssistantMessage(tool_calls=ROUNDS[replies]) if replies < len(ROUNDS) else AssistantMessage("all done")


@dataclass
class PointedSession:
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
    """Effects in a file: one line each, on the disk before `add` returns."""

    path: Path

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def add(self, *line: str) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
        os.close(file)


def agent_of(ledger: Ledger, points: Points, interrupted: OnInterrupted, observe: Callable[[Event], object]) -> Agent:
    def act(name: str, number: float, key: str) -> str:
        points.reach(f"{name} begins")
        effect = f"{name} {number:g}"
        # A tool that is run again belongs to a service that knows the key.
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
    def look(at: int, ctx: ToolContext[None]) -> str:
        points.reach("look begins")
        ctx.send("Be quick.")
        return f"looked {at}"

    async def around(call: ToolCall, context: ToolContext[Any], call_next: CallNext) -> object:
        points.reach("around a call begins")
        result = await call_next(call)
        points.reach("around a call ends")
        return result

    def observer(event: Event) -> None:
        observe(event)
        if isinstance(event, StepFinished | ToolStarted | ToolFinished):
            points.reach(f"told {type(event).__name__}")

    return Agent(
        Scripted(play),
        tools=lambda _: [pay, send, look],
        instructions="Be exact.",
        middleware=[around],
        observers=[observer],
    )


def effect_of(call: ToolCall | Started) -> str:
    (value,) = json.loads(call.arguments).values()
    return f"{call.name} {value:g}"


async def resume(place: Path, interrupted: OnInterrupted, decide: Decide) -> dict[str, Any]:
    """Resume from what a child left behind, and return what was there and what became of it."""
    ledger, session = Ledger(place.with_suffix(".effects")), JsonLines(place.with_suffix(".jsonl"))
    asked: list[tuple[str, bool]] = []
    ran: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, ApprovalNeeded):
            asked.append((effect_of(event.call), event.started))
        elif isinstance(event, ToolStarted):
            ran.append(effect_of(event.call))

    kept = await session.load()
    before = [effect for effect, _ in ledger.lines()]
    agent = agent_of(ledger, Points(), interrupted, observe)
    result = await agent.run(None if kept.messages else PROMPT, session=session)
    pending, asked_first = result.pending, sorted(asked)
    if pending:
        result = await agent.resume(session, [decide(call) for call in pending])
    last = await agent.run(session=session)  # there is nothing left to do
    assert (last.messages, last.steps) == (result.messages, ())
    return {
        "started": sorted(effect_of(call) for call in kept.started),
        "answered": [effect_of(call) for call, _ in kept.ended],
        "before": before,
        "pending": sorted(effect_of(call) for call in pending),
        "asked": asked_first,
        "ran": ran,
        "stop": result.stop,
        "output": result.output,
        "messages": [message.to_dict() for message in result.messages],
        "effects": ledger.lines(),
    }


def die(_where: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_to(at: Point | None, place: Path, interrupted: OnInterrupted, form: str) -> list[Point]:
    """Run from the beginning, to a point; return all of them."""
    points = Points(at, die, waits=False)
    session = PointedSession(JsonLines(place.with_suffix(".jsonl")), points)
    agent = agent_of(Ledger(place.with_suffix(".effects")), points, interrupted, bool)
    anyio.run(partial(finish, agent, form, PROMPT, session=session))
    return points.passed


def forked(work: Callable[[], object]) -> int:
    """Do something in a child, and return how it ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(_SECONDS)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (printed, and then the child ends)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Death(NamedTuple):
    """A child that died, or came through."""

    at: Point
    place: Path
    policy: OnInterrupted
    form: str
    ended: int


async def resume_all(deaths: Sequence[Death]) -> None:
    """Resume after each death; where calls are pending, also with the other decision."""
    for number, death in enumerate(deaths):
        place, other = death.place, death.place.with_name(f"{death.place.name} other")
        for suffix in (".jsonl", ".effects"):
            if place.with_suffix(suffix).exists():
                shutil.copy(place.with_suffix(suffix), other.with_suffix(suffix))
        about = {"at": death.at, "form": death.form, "policy": death.policy, "ended": death.ended}
        decisions: list[tuple[str, Decide]] = [("approve", approve), ("deny", deny)]
        for (decided, decide), copy in zip(decisions[:: (-1) ** number], (place, other), strict=True):
            found = await resume(copy, death.policy, decide)
            sys.stdout.write(json.dumps({**about, "decided": decided, **found}) + "\n")
            if not found["pending"]:
                break


def main(folder: str) -> None:
    # One run that comes through finds the points, and has the children find everything imported.
    points = {form: run_to(None, Path(folder, form), "ask", form) for form in FORMS}
    # No thread may be left where a fork is.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.freeze()
    deaths: list[Death] = []
    for shift, interrupted in enumerate(POLICIES):
        for form in FORMS:
            # Threads and tasks pass their points in any order; sorted, each point has one form under each policy.
            for number, at in enumerate(sorted(points[form])):
                if (number + shift + FORMS.index(form)) % 2 == 0:
                    place = Path(folder, f"{interrupted} {form} {number}")
                    ended = forked(partial(run_to, at, place, interrupted, form))
                    deaths.append(Death(at, place, interrupted, form, ended))
    anyio.run(resume_all, deaths)


if __name__ == "__main__":
    main(sys.argv[1])
