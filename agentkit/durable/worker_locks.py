"""Who is alive: each worker holds a lock that ends with its process, so that others see at once when it died."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import make_url

from agentkit.core.files import lock, unlock

_KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
_UNHEARD = {"tcp_user_timeout": "11000"}  # milliseconds; where something was sent, nothing is sent to keep alive
_OF_THE_SERVER = {f"tcp_{name}": value for name, value in _KEEPALIVES.items()} | _UNHEARD
_FLAGS = os.O_RDONLY | os.O_CREAT  # which is enough for a lock, also on a file of another user
_files: set[int] = set()  # the locks of this process


class Presence(Protocol):
    """Locks by the names of workers, beside what they share."""

    def take(self, name: str) -> bool:
        """Take the lock of a worker: one's own, or that of another, which is dead if it can be taken.

        One that was taken is kept; if it was lost meanwhile, it is taken again.
        """
        ...

    def release(self, name: str) -> None:
        """Give a lock back that was taken."""
        ...

    def close(self) -> None:
        """Give back whatever was taken."""
        ...


class FileLocks:
    """Locks in a folder beside an SQLite file; the operating system ends them with the process.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str) -> bool:
        """Take a lock."""
        if name in self._held:
            return True
        fd = os.open(self._place(name), _FLAGS, 0o666)
        if not lock(fd):
            os.close(fd)
            return False
        self._held[name] = fd
        _files.add(fd)
        return True

    def release(self, name: str) -> None:
        """Give a lock back. Names are used once, so its file goes too."""
        fd = self._held.pop(name)
        _files.remove(fd)
        unlock(fd)
        os.close(fd)
        self._place(name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give all locks back."""
        for name in [*self._held]:
            self.release(name)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class PostgresLocks:
    """Advisory locks of a connection to Postgres; the server ends them with the connection.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        address = make_url(url).set(drivername="postgresql").update_query_dict(_KEEPALIVES | _UNHEARD)
        self._url = address.render_as_string(hide_password=False)
        self._held: set[str] = set()
        self._connection = self._connected()

    def take(self, name: str) -> bool:
        """Take a lock. Where the connection was lost, so were all locks: they are taken again as they are asked for."""
        if self._connection.closed:
            self._held.clear()
            self._connection = self._connected()
        if name in self._held:
            self._connection.execute("SELECT 1")  # which tells whether the connection is there
        elif self._locked(name):
            self._held.add(name)
        return name in self._held

    def release(self, name: str) -> None:
        """Give a lock back."""
        self._connection.execute("SELECT pg_advisory_unlock(%s)", (_number(name),))
        self._held.remove(name)

    def close(self) -> None:
        """Give all locks back."""
        self._connection.close()

    def _connected(self) -> "psycopg.Connection[tuple[object, ...]]":
        connection = psycopg.connect(self._url, autocommit=True)
        for setting in _OF_THE_SERVER.items():  # it is to notice, too, that a machine is gone
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        return connection

    def _locked(self, name: str) -> bool:
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_number(name),)).fetchone()
        return row == (True,)


def presence_at(url: str) -> Presence:
    """Give the locks that belong to a database."""
    path = make_url(url).database if url.startswith("sqlite") else None
    return PostgresLocks(url) if path is None else FileLocks(Path(f"{Path(path).resolve()}.workers"))


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)


def _forget() -> None:
    """Close, in a process that was forked, the locks of the one that it comes from: they end with that."""
    while _files:
        os.close(_files.pop())


_at_fork: Any = getattr(os, "register_at_fork", dict)  # where nothing forks, there is nothing to do
_at_fork(after_in_child=_forget)
