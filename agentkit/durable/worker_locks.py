"""Locks that tell which workers are alive.

Each worker holds a lock under its own name for as long as it runs. The operating system, or the Postgres server, frees
it when the process or the connection ends, however that happens. So a worker is dead exactly if another one can acquire
its lock. That needs no heartbeats, no timeouts to configure and no clocks that agree.

With SQLite the locks are files in a folder beside the database. With Postgres they are advisory locks of a connection.
Two things need care. A forked child inherits open files, so it closes the locks of its parent. A machine that vanishes
closes no connection, so both ends of it give up after 11 seconds of silence.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any, LiteralString, Protocol

import psycopg
from sqlalchemy import make_url

from agentkit.core.files import lock, unlock

_KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}  # seconds, and how many
_UNACKNOWLEDGED = {"tcp_user_timeout": "11000"}  # milliseconds; keepalives are not sent while data is unacknowledged
_SERVER_SETTINGS = {f"tcp_{name}": value for name, value in _KEEPALIVES.items()} | _UNACKNOWLEDGED
_FLAGS = os.O_RDONLY | os.O_CREAT  # enough for a lock, also on a file of another user
_lock_files: set[int] = set()  # the open lock files of this process


class WorkerLocks(Protocol):
    """Locks by the names of workers, shared by all workers of a database."""

    def acquire(self, name: str) -> bool:
        """Return whether this process holds the lock of a worker now: its own, or that of one that is dead.

        A lock that it held and lost is acquired again if it is free.
        """
        ...

    def release(self, name: str) -> None: ...

    def close(self) -> None:
        """Release all locks."""


class FileLocks:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def acquire(self, name: str) -> bool:
        if name in self._held:
            return True
        fd = os.open(self._path(name), _FLAGS, 0o666)
        if not lock(fd):
            os.close(fd)
            return False
        self._held[name] = fd
        _lock_files.add(fd)
        return True

    def release(self, name: str) -> None:
        fd = self._held.pop(name)
        _lock_files.remove(fd)
        unlock(fd)
        os.close(fd)
        self._path(name).unlink(missing_ok=True)  # the name of a worker is never used again

    def close(self) -> None:
        for name in [*self._held]:
            self.release(name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class PostgresLocks:
    def __init__(self, url: str) -> None:
        address = make_url(url).set(drivername="postgresql").update_query_dict(_KEEPALIVES | _UNACKNOWLEDGED)
        self._url = address.render_as_string(hide_password=False)
        self._held: set[str] = set()
        self._connection = self._connect()

    def acquire(self, name: str) -> bool:
        if self._connection.closed:  # all locks were lost with it; each is acquired again when it is asked for
            self._held.clear()
            self._connection = self._connect()
        if name in self._held:
            self._connection.execute("SELECT 1")  # raises if the connection is lost
        elif self._query("SELECT pg_try_advisory_lock(%s)", name).fetchone() == (True,):
            self._held.add(name)
        return name in self._held

    def release(self, name: str) -> None:
        self._query("SELECT pg_advisory_unlock(%s)", name)
        self._held.remove(name)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        connection = psycopg.connect(self._url, autocommit=True)
        for setting in _SERVER_SETTINGS.items():  # the server, too, is to notice that a machine is gone
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        return connection

    def _query(self, statement: LiteralString, name: str) -> "psycopg.Cursor[tuple[object, ...]]":
        key = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
        return self._connection.execute(statement, (key,))


def locks_for(url: str) -> WorkerLocks:
    path = make_url(url).database if url.startswith("sqlite") else None
    return PostgresLocks(url) if path is None else FileLocks(Path(f"{Path(path).resolve()}.workers"))


class Alive:
    """Tells whether workers are alive. Each is looked up once, when it is asked for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._locks: WorkerLocks | None = None
        self._known: dict[str, bool] = {}

    def __call__(self, worker: str) -> bool:
        if worker not in self._known:
            self._locks = self._locks or locks_for(self._url)
            self._known[worker] = not self._locks.acquire(worker)
        return self._known[worker]

    def close(self) -> None:
        """Release the locks of the dead."""
        if self._locks is not None:
            self._locks.close()


def _close_inherited() -> None:
    """Close the locks of the parent process in a forked child, so that they end with the parent."""
    while _lock_files:
        os.close(_lock_files.pop())


_at_fork: Any = getattr(os, "register_at_fork", dict)  # a system that cannot fork has no such function
_at_fork(after_in_child=_close_inherited)
