"""A process that forks one child for each point of the scenario, in which the child sends itself a signal.

A child's observer writes a journal, the messages as the wire has them, and its tools write down what they do; both go
line by line to files that are only appended to. For each child one line is printed: where its files are, its signal, and
how it ended.

    python -m tests.promises.forking URL FOLDER
"""

import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import anyio

from agentkit import Agent, Event, Result, StepFinished, ToolFinished
from tests.promises.scenario import PROMPT, Log, Point, Points, Wire, agent_of

FORMS = ("plain", "streamed")
SIGNALS = (signal.SIGKILL, signal.SIGINT)
_SECONDS = 300
INTERRUPTED = 3
LATE = 5
_DONE, _OTHER = 0, 4


def appending(path: Path) -> Callable[[object], None]:
    """Return a function that appends a line of JSON to a file, in one write."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(line: object) -> None:
        os.write(file, json.dumps(line).encode() + b"\n")

    return append


class Written(Log):
    """A log that also writes to a file what begins."""

    def __init__(self, write: Callable[[object], None]) -> None:
        super().__init__()
        self._write = write

    def begin(self, name: str) -> None:
        super().begin(name)
        self._write(name)


async def _perform(agent: Agent, form: str) -> Result[str]:
    if form == "plain":
        return await agent.run(PROMPT)
    async with agent.stream(PROMPT) as run:
        async for _ in run:
            pass
    return run.result


def _child(place: Path, at: Point, url: str, sent: signal.Signals, form: str) -> int:
    signal.alarm(_SECONDS)
    journal = appending(place.with_suffix(".journal"))
    log = Written(appending(place.with_suffix(".effects")))

    def observe(event: Event) -> None:
        if isinstance(event, StepFinished):
            journal(event.step.message.to_dict())
        elif isinstance(event, ToolFinished):
            journal(event.message.to_dict())

    points, wire = Points(at, lambda _where: os.kill(os.getpid(), sent), waits=False), Wire()
    wire.points = points
    agent = agent_of(url, log, points, observe=observe)
    try:
        with wire.laid():
            result = anyio.run(_perform, agent, form)
    except KeyboardInterrupt:
        return INTERRUPTED
    if result.output != "all done":
        return _OTHER
    return LATE if points.reached else _DONE  # an interruption may come when all is done


def main(url: str, folder: str) -> None:
    # One run without a signal finds the points, and has the children find everything imported.
    passed: list[list[Point]] = []
    for form in FORMS:
        points, wire = Points(waits=False), Wire()
        wire.points = points
        with wire.laid():
            anyio.run(_perform, agent_of(url, Log(), points), form)
        passed.append(points.passed)
    # No thread may be left where a fork is.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.freeze()
    for position, (form, points_of_form) in enumerate(zip(FORMS, passed, strict=True)):
        for number, at in enumerate(points_of_form):
            sent = SIGNALS[(number + position) % 2]  # each signal at each point, in one of the forms
            child = os.fork()
            if not child:
                code = _OTHER
                try:
                    code = _child(Path(folder, f"{form}{number}"), at, url, sent, form)
                except BaseException:  # noqa: BLE001 (printed, and then the child ends)
                    traceback.print_exc()
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            sys.stdout.write(f"{form}{number} {sent.name} {os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
