"""The runs of all clients, for whoever may see them: those that go on, and the last that ended.

A run that goes on is in memory anyway. Of one that ended, only its data is kept, within bounds. A reader asks again and
again, and gets the runs that changed since, so the server remembers nothing of readers.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic, time_ns
from urllib.parse import parse_qs

from anyio import move_on_after, to_thread

from agentkit.core.concurrency import Limiter
from agentkit.core.json import encode
from agentkit.core.messages import Message
from agentkit.runs.events import (
    Emit,
    Event,
    RunFinished,
    RunStarted,
    StepStarted,
    TextDelta,
    TimedEvent,
    kept_of,
)
from agentkit.runs.timeline import run_of_events
from agentkit.server.asgi import JSON_HEADERS, HttpExchange
from agentkit.viewer import masked

_RUNS, _BYTES = 100, 16_000_000
"""How many runs that ended are kept, and the bytes of their data together."""
_READERS, _SECONDS, _PIECE = 4, 10.0, 65_536
"""Readers that are answered at once, the seconds that each has to take its answer, and the bytes of a piece of it."""
_DIGITS = 19  # of a version


@dataclass(slots=True, eq=False)
class _Run:
    began: float = field(default_factory=monotonic)
    at: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(" ", "seconds"))
    version: int = 0
    events: list[TimedEvent] = field(default_factory=list[TimedEvent])
    prompt: tuple[Message, ...] | None = None
    text: list[str] = field(default_factory=list[str])  # of the reply that is being written
    data: bytes = b""
    encoded: int = 0  # the version that `data` is of

    def note(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self.text.append(event.text)
        elif (kept := kept_of(event)) is not None:
            self.events.append((monotonic() - self.began, kept))
        if isinstance(event, StepStarted):
            self.text = []
            if self.prompt is None and event.request is not None:
                self.prompt = (*event.request.messages,)


class ShownRuns:
    """Keeps the runs, each by its id.

    A version is the time when the server started, plus the number of changes since: it never falls, also not when
    another server takes the place of this one.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._version = time_ns()
        self._turn = Limiter(_READERS)

    def showing(self, emit: Emit) -> Emit:
        """Return an `emit` that also shows the events of its run."""
        run = _Run()

        def both(event: Event) -> None:
            self._note(run, event)
            emit(event)

        return both

    def _note(self, run: _Run, event: Event) -> None:
        run.note(event)
        self._version += 1
        run.version = self._version
        if isinstance(event, RunStarted):
            self._runs[event.run_id] = run
        elif isinstance(event, RunFinished):
            run.data, run.encoded = _encoded(event.run_id, run, run.events), run.version
            run.events, run.prompt = [], ()
            self._forget()

    def _forget(self) -> None:
        """Forget those that ended first, as far as the bounds ask for it."""
        ended = [(id_, run) for id_, run in self._runs.items() if not run.events]
        ended.sort(key=lambda item: item[1].version)
        size = sum(len(run.data) for _, run in ended)
        for at, (id_, run) in enumerate(ended):
            if len(ended) - at <= _RUNS and size <= _BYTES:
                break
            size -= len(run.data)
            del self._runs[id_]

    async def send(self, exchange: HttpExchange) -> None:
        """Answer a reader, who asks for what is newer than `?after=VERSION`. One who is slow gets half an answer."""
        (after, *_) = parse_qs(exchange.query).get("after", ["0"])
        async with self._turn.here():
            body = await self._news(int(after) if after.isdecimal() and len(after) <= _DIGITS else 0)
            with move_on_after(_SECONDS):
                await exchange.begin(200, {"content-length": str(len(body)), **JSON_HEADERS})
                for at in range(0, len(body), _PIECE):
                    await exchange.write(body[at : at + _PIECE])
                await exchange.end()

    async def _news(self, after: int) -> bytes:
        """Return the ids of all runs in order, and the data of those that changed after a version."""
        head = {"object": "list", "version": self._version, "ids": [*self._runs]}
        changed = [(id_, run, run.version) for id_, run in self._runs.items() if run.version > after]
        for id_, run, version in changed:
            if run.encoded < version:
                made = await to_thread.run_sync(partial(_encoded, id_, run, [*run.events]))
                if run.encoded < version:  # it has not ended meanwhile
                    run.data, run.encoded = made, version
        return encode(head)[:-1] + b',"data":[' + b",".join([run.data for _, run, _ in changed]) + b"]}"


def _encoded(id_: str, run: _Run, events: list[TimedEvent]) -> bytes:
    """Return the data of a run as JSON, with keys masked."""
    shown = run_of_events(events, run.prompt or (), "".join(run.text))
    return masked(json.dumps({"kind": "run", "id": id_, "at": run.at, **shown}, separators=(",", ":"))).encode()
