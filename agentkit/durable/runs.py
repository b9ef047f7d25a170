"""Durable runs for who submits them, from any process and any event loop."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, TypeVar

from anyio import sleep, to_thread
from dbos import DBOS, DBOSClient
from sqlalchemy import make_url

from agentkit.agent.agent import Agent
from agentkit.core.checks import check_number
from agentkit.core.concurrency import Limiter
from agentkit.core.dicts import Prompt, messages_of, stored
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.json import whole
from agentkit.core.messages import Message
from agentkit.durable.outages import OUTAGE, is_away, typed
from agentkit.durable.recording import Record
from agentkit.durable.serializer import Json
from agentkit.durable.submitted import Submitted
from agentkit.durable.worker_locks import Alive
from agentkit.durable.workflows import (
    QUEUE,
    Part,
    RunInfo,
    RunState,
    enqueue,
    info_of,
    last_part,
    list_runs,
    load_run,
    part_of,
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts to reach the database
_PRIVATE = 0o600
_THREADS = Limiter(40)  # of its own: while the database is away, they all wait
T = TypeVar("T")
OutT = TypeVar("OutT")


class Runs:
    """Where durable runs are stored: an SQLite file, or a Postgres database that workers on several machines share.

    Args:
        place: The path of a file, or the address of a database: `postgresql://user@host/database`. A file that is
            missing is created, readable for its owner only.

    Raises:
        ConfigurationError: If it is the address of something else.
    """

    def __init__(self, place: str | Path) -> None:
        text = str(place)
        if "://" not in text:
            text = f"sqlite:///{Path(text).absolute()}"
        if not text.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ConfigurationError("durable runs are stored in an SQLite file or at a postgresql:// address")
        self.url = text
        self._lock = Lock()
        self._client: DBOSClient | None = None

    def __repr__(self) -> str:
        return f"Runs({make_url(self.url).render_as_string()!r})"  # hides a password

    async def submit(self, agent: Agent[Any, OutT], prompt: Prompt, *, id: str | None = None) -> Submitted[OutT]:  # noqa: A002 (the field's word)
        """Submit a run for a worker to take. When this returns, the run is on the disk.

        Args:
            agent: The agent. The workers that have an agent of its name may take the run.
            prompt: As for `Agent.run`.
            id: The id of the run, an idempotency key: if there is a run of this id, no other one is made.

        Raises:
            InvalidRequest: If there is no message, or the id is not valid.
            SessionError: If the database refuses it. While the database is away, this waits.
        """
        messages = messages_of(prompt)
        if not messages:
            raise InvalidRequest("a run needs at least one message")
        handle = self.run(token_hex(16) if id is None else id, agent)
        if "\0" in agent.name:
            raise InvalidRequest(f"{agent.name!r} cannot be the name of a queue: it has a NUL")
        stored_prompt = [stored(message) for message in messages]
        part: Part = {"run": handle.id, "agent": agent.name, "part": 1, "prompt": stored_prompt}
        await self.call(lambda client: enqueue(client, part))
        return handle

    def run(self, id: str, agent: Agent[Any, OutT]) -> Submitted[OutT]:  # noqa: A002 (as above)
        """Return a handle of a run that was submitted, here or elsewhere.

        Args:
            id: The id of the run.
            agent: Its agent, which determines the type of the output.

        Raises:
            InvalidRequest: If the id is not valid.
        """
        if not id.strip() or part_of(id)[0] != id or "\0" in id or whole(id) != id:
            raise InvalidRequest(
                f"{id!r} cannot be the id of a run: it must be a text without '#' and a number at the end, and without "
                "NUL and lone surrogates"
            )
        return Submitted(id, agent, self.call, self.url)

    async def list(
        self, state: RunState | None = None, *, agent: str | None = None, limit: int | None = None
    ) -> tuple[RunInfo, ...]:
        """Return the runs, the newest first.

        Args:
            state: Only runs in this state.
            agent: Only runs of the agent of this name.
            limit: How many at most.

        Raises:
            InvalidRequest: If the limit is below 1.
        """
        check_number("limit", limit, least=1, whole=True, optional=True, error=InvalidRequest)

        def load(client: DBOSClient) -> tuple[RunInfo, ...]:
            with closing(Alive(self.url)) as alive:
                return tuple(islice(list_runs(client, state, agent, alive), limit))

        return await self.call(load)

    def close(self) -> None:
        """Close the connections. The next use opens them again."""
        with self._lock:
            if self._client is not None:
                self._client.destroy()
                self._client = None

    def client(self) -> DBOSClient:
        """Return DBOS's own client. The first call creates the tables where there are none, and blocks meanwhile."""
        with self._lock:
            if self._client is None:
                if self.url.startswith("sqlite"):
                    path = make_url(self.url).database or ""
                    with suppress(OSError):  # SQLite says why
                        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
                    with sqlite3.connect(path) as connection:
                        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
                    connection.close()
                DBOS.migrate(self.url)
                self._client = DBOSClient(
                    system_database_url=self.url, serializer=Json(), application_name=QUEUE.strip(".")
                )
            return self._client

    async def call(self, function: Callable[[DBOSClient], T]) -> T:
        """Call a function in a thread. While the database is away, this waits; DBOS does so from the first use on."""
        pause = _FIRST_PAUSE
        while True:
            try:
                result = await to_thread.run_sync(lambda: function(self.client()), limiter=_THREADS.here())
            except Exception as error:  # noqa: BLE001 (of whatever library)
                if self._client is not None or not is_away(error):
                    raise typed(error) from None
                OUTAGE.begins(error)
            else:
                OUTAGE.ends()
                return result
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def wait_for(self, function: Callable[[], T]) -> T:
        """Call a function that needs the database, again and again while that is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return function()
            except Exception as error:  # noqa: BLE001 (of whatever library)
                if not is_away(error):
                    raise typed(error) from None
                OUTAGE.begins(error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


async def recorded(runs: Runs, run_id: str) -> tuple[RunInfo, tuple[Message, ...], tuple[Record, ...]]:
    """Return the state of a run, its prompt, and what is recorded of it, for which its agent is not needed."""

    def load(client: DBOSClient) -> tuple[RunInfo, tuple[Message, ...], tuple[Record, ...]]:
        status, number = last_part(client, run_id)
        return info_of(status), *load_run(client, run_id, number)

    return await runs.call(load)
