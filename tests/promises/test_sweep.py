"""Whatever goes wrong, and wherever: the history can be sent, nothing ran twice, and the run can go on.

One scenario is run again and again, and the first, the second, the third … of all its points fails, is cancelled, or
kills the process, until a run comes through.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import Any, Literal, TypeAlias

import anyio
import pytest
from anyio import CancelScope, from_thread

from agentkit import Agent, AgentkitError, Result, Run
from agentkit.core.messages import Message, ToolMessage
from agentkit.models.client.connections import connection_pool
from agentkit.testing import Chaos, chaos
from tests.endpoint import Json, fault_in
from tests.programs import PATIENCE, started
from tests.promises.forking import INTERRUPTED, LATE
from tests.promises.scenario import PROMPT, TOOLS, Log, Point, Points, Rounds, Wire, agent_of, fail

pytestmark = pytest.mark.anyio

How: TypeAlias = Literal["fail", "retry", "cancel", "cancel task"]

ROOT = Path(__file__).parent.parent.parent
MANY = 40
SELDOM = 2
PLACES = {
    *(f"{what} {when}" for what in ("connect", "read", "write") for when in ("begins", "ended")),
    *(f"told {event}" for event in ("StepStarted", "StepFinished", "ToolStarted", "ToolFinished")),
    *(f"{tool} {when}" for tool in TOOLS for when in ("begun", "ends")),
    *("model asked", "model answered"),
}

FORM = pytest.mark.parametrize("form", ["plain", "streamed"])


class Attempt:
    """A run that may not come to its end."""

    def __init__(self) -> None:
        self.result: Result[str] | None = None
        self.raised: BaseException | None = None
        self._run: Run[str] | None = None

    async def perform(self, agent: Agent, form: str) -> None:
        try:
            if form == "plain":
                self.result = await agent.run(PROMPT)
                return
            async with agent.stream(PROMPT) as self._run:
                async for _ in self._run:
                    pass
            self.result = self._run.result
        except BaseException as error:
            self.raised = error
            raise

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history that it came to, however it ended."""
        if self.result is not None:
            return self.result.messages
        raised = self.raised
        if self._run is not None:
            try:
                return self._run.result.messages
            except BaseException as error:  # noqa: BLE001 (its kind is held against the way it was stopped)
                raised = error
        partial = getattr(raised, "partial", None)
        assert partial is not None, repr(raised)
        messages: tuple[Message, ...] = partial.messages
        return messages


def here(function: Callable[[], object]) -> Callable[[str], None]:
    """Have something called in this thread, also from a tool in another."""
    loop = threading.get_ident()

    def call(_where: str) -> None:
        if threading.get_ident() == loop:
            function()
        else:
            from_thread.run_sync(function)

    return call


async def perform(how: How, agent: Agent, points: Points, form: str) -> Attempt:
    attempt = Attempt()
    if how == "cancel":
        with CancelScope() as scope:
            points.act = here(scope.cancel)
            await attempt.perform(agent, form)
    elif how == "cancel task":
        task = asyncio.create_task(attempt.perform(agent, form))
        points.act = here(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
    else:
        points.act = fail
        try:
            await attempt.perform(agent, form)
        except (AgentkitError, OSError):
            assert points.reached
    return attempt


async def check(attempt: Attempt, log: Log, endpoint: Chaos) -> None:
    """Hold a run against the promises, and go on from where it stopped."""
    history = attempt.messages
    answers = {each.tool_call_id: each.content for each in history if isinstance(each, ToolMessage)}
    assert log.answered.items() <= answers.items()
    assert fault_in([each.to_dict() for each in history]) is None
    result = attempt.result or await agent_of(endpoint.url, log, Points()).run(history)
    assert result.output == "all done"
    assert fault_in([each.to_dict() for each in result.messages]) is None
    assert len(set(log.began)) == len(log.began)
    assert log.early == []


async def sweep(how: How, form: str) -> list[Point]:
    """Have it go wrong at one point after the other, beginning with none; give those where it did."""
    wire = Wire()
    found: list[Point | None] = [None]
    swept: list[Point] = []
    with chaos(Rounds()) as endpoint, wire.laid():
        for point in found:
            await (await connection_pool()).aclose()
            log, points = Log(), Points(point, waits=how in ("cancel", "cancel task"))
            wire.points = points
            agent = agent_of(endpoint.url, log, points, attempts=2 if how == "retry" else 1)
            attempt = await perform(how, agent, points, form)
            wire.points = Points()
            await check(attempt, log, endpoint)
            found += [each for each in points.passed if each not in found]
            if point is None or not points.reached:
                assert attempt.result is not None
                continue
            swept.append(point)
            if how == "retry" and form == "plain" and point[0].startswith(("connect", "write", "read")):
                assert attempt.result is not None
        assert [fault_in(each["messages"]) for each in endpoint.requests] == [None] * len(endpoint.requests)
    return swept


@FORM
@pytest.mark.parametrize("how", ["fail", "retry", "cancel"])
async def test_sweep(how: How, form: str) -> None:
    swept = await sweep(how, form)
    assert len(swept) > MANY
    assert {where for where, _ in swept} >= PLACES | ({"wait"} if how == "cancel" else set())


@FORM
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_sweep_of_tasks_that_are_cancelled(form: str) -> None:
    assert len(await sweep("cancel task", form)) > MANY


# A process that is killed, or interrupted at its terminal


class Journal:
    """What a child that was stopped has left behind.

    Args:
        told: What the parent was told: the number of the child, and how it ended.
        folder: Where its files are.
    """

    def __init__(self, told: str, folder: Path) -> None:
        number, self.ended = map(int, told.split())
        self.began: list[str] = lines_of(folder / f"{number}.effects")
        self.messages: list[Json] = lines_of(folder / f"{number}.journal")

    def history(self) -> list[Json]:
        """Give the history to go on from. A call that was begun and has no answer gets one: nobody knows its outcome."""
        history: list[Json] = [{"role": "user", "content": PROMPT}]
        answers = {each["tool_call_id"]: each for each in self.messages if each["role"] == "tool"}
        for message in self.messages:
            if message["role"] == "assistant":
                history.append(message)
                for call in message.get("tool_calls", ()):
                    unknown = {
                        "role": "tool",
                        "tool_call_id": call["id"],
                        "content": "It is not known whether it was done.",
                    }
                    answer = answers.get(call["id"]) or (unknown if call["function"]["name"] in self.began else None)
                    history += [answer] if answer else []
        return history


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def go_on(url: str, journals: list[Journal]) -> None:
    for journal in journals:
        log = Log(list(TOOLS), list(journal.began))
        result = await agent_of(url, log, Points()).run(journal.history())
        assert result.output == "all done"
        assert fault_in([each.to_dict() for each in result.messages]) is None
        assert sorted(log.began) == sorted(TOOLS)


@pytest.mark.parametrize(("sent", "ended"), [(Signals.SIGKILL, -9), (Signals.SIGINT, INTERRUPTED)])
def test_sweep_of_processes_that_are_stopped(sent: Signals, ended: int, tmp_path: Path) -> None:
    with chaos(Rounds()) as endpoint, ExitStack() as stack:
        command = [sys.executable, "-m", "tests.promises.forking", endpoint.url]
        children: list[tuple[Path, subprocess.Popen[str]]] = []
        for form in ("plain", "streamed"):
            folder = tmp_path / form
            folder.mkdir()
            arguments = [*command, str(folder), sent.name, form]
            children.append((folder, stack.enter_context(started(arguments, cwd=ROOT, stdout=subprocess.PIPE))))
        for folder, child in children:
            told, _ = child.communicate(timeout=PATIENCE)
            journals = [Journal(line, folder) for line in told.splitlines()]
            assert {each.ended for each in journals} <= {ended, 0, LATE}  # some points are not always there
            assert sum(each.ended == LATE for each in journals) <= SELDOM
            assert sum(each.ended == ended for each in journals) > MANY
            anyio.run(go_on, endpoint.url, journals)
        assert [fault_in(each["messages"]) for each in endpoint.requests] == [None] * len(endpoint.requests)
