"""Whatever goes wrong, and wherever: the history can be sent, nothing ran twice, and the run can go on.

One scenario is run again and again, and the first, the second, the third … of all its points fails, is cancelled, or
interrupts the process, until a run comes through. A process that is killed is in test_once.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias
from zlib import crc32

import anyio
import pytest
from anyio import CancelScope, from_thread

from agentkit import Agent, AgentkitError, Result, Run
from agentkit.core.messages import Message, ToolMessage, UserMessage
from agentkit.models.client.connections import connection_pool
from agentkit.testing import Chaos, chaos
from tests.endpoint import fault_in
from tests.promises.scenario import FORMS, PROMPT, SENT, TOOLS, Log, Point, Points, Rounds, Sockets, agent_of, fail

pytestmark = pytest.mark.anyio

How: TypeAlias = Literal["fail", "retry", "cancel"]

MANY = 40
PLACES = {
    *(f"{what} {when}" for what in ("connect", "read", "write") for when in ("begins", "ended")),
    *(f"told {event}" for event in ("StepStarted", "StepFinished", "ToolStarted", "ToolFinished")),
    *(f"{tool} {when}" for tool in TOOLS for when in ("begun", "ends")),
    *(f"around {what} {when}" for what in (*TOOLS, "a request") for when in ("begins", "ends")),
    *("model asked", "model answered", "tools asked for", "told MessageReceived"),
}


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


def in_loop(function: Callable[[], object]) -> Callable[[str], None]:
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
            points.act = in_loop(scope.cancel)
            await attempt.perform(agent, form)
    else:
        points.act = fail
        try:
            await attempt.perform(agent, form)
        except (AgentkitError, OSError):
            assert points.reached
    return attempt


async def check(attempt: Attempt, log: Log, endpoint: Chaos) -> None:
    """Check a run against the promises, and go on from where it stopped."""
    history = attempt.messages
    results = {message.tool_call_id: message.content for message in history if isinstance(message, ToolMessage)}
    assert log.results.items() <= results.items()
    assert fault_in([message.to_dict() for message in history]) is None
    result = attempt.result or await agent_of(endpoint.url, log, Points()).run(history)
    assert result.output == "all done"
    assert fault_in([message.to_dict() for message in result.messages]) is None
    assert len(set(log.begun)) == len(log.begun)
    assert log.early == []
    # What a tool sent is read once, or at least kept, wherever the run ended.
    sent = [message for message in result.messages if message == UserMessage(SENT, note=True)]
    assert len(sent) == log.sent


async def sweep(how: How, half: int) -> list[Point]:
    """Have it go wrong at one point after the other; return those where it did.

    Half of the points are swept in each form, and the other `half` of each by another test.
    """
    sockets = Sockets()
    swept: list[Point] = []
    with chaos(Rounds()) as endpoint, sockets.watched():
        for position, form in enumerate(FORMS):
            queue: list[Point | None] = [None]
            for point in queue:
                (await connection_pool()).close()
                log, points = Log(), Points(point, waits=how == "cancel")
                sockets.points = points
                agent = agent_of(endpoint.url, log, points, attempts=2 if how == "retry" else 1)
                attempt = await perform(how, agent, points, form)
                sockets.points = Points()
                await check(attempt, log, endpoint)
                known = {*queue}
                queue += [new for new in points.passed if new not in known and half_of(new) == (half + position) % 2]
                if point is None or not points.reached:
                    assert attempt.result is not None
                    continue
                swept.append(point)
                if how == "retry" and form == "plain" and point[0].startswith(("connect", "write", "read")):
                    assert attempt.result is not None
        requests = endpoint.requests
        assert [fault_in(request["messages"]) for request in requests] == [None] * len(requests)
    return swept


def half_of(point: Point) -> int:
    where, times = point
    return (crc32(where.encode()) + times) % 2


@pytest.mark.parametrize("how", ["fail", "retry", "cancel"])
async def test_sweep(how: How, anyio_backend: str) -> None:
    """Each backend sweeps each point in one form, and each form on one backend."""
    swept = await sweep(how, half=anyio_backend == "trio")
    assert len(swept) > MANY
    assert {where for where, _ in swept} >= PLACES | ({"wait"} if how == "cancel" else set())


def test_sweep_of_interruptions() -> None:
    """The process sends itself SIGINT, as a terminal does: asyncio cancels the task. Half of the points are in each form."""
    sockets, swept = Sockets(), 0
    queue: list[tuple[str, Point | None]] = [(form, None) for form in FORMS]
    with chaos(Rounds()) as endpoint, sockets.watched():
        for form, point in queue:
            attempt, log = Attempt(), Log()
            sockets.points = points = Points(point, lambda _: os.kill(os.getpid(), signal.SIGINT))
            with suppress(KeyboardInterrupt):
                anyio.run(attempt.perform, agent_of(endpoint.url, log, points), form)
            sockets.points = Points()
            anyio.run(check, attempt, log, endpoint)
            if point is None:
                queue += [(form, new) for new in points.passed if half_of(new) == FORMS.index(form)]
            swept += attempt.result is None
        assert [fault_in(request["messages"]) for request in endpoint.requests] == [None] * len(endpoint.requests)
    assert swept > MANY
