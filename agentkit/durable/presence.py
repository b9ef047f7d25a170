"""Who is alive: each worker holds a lock that ends with its process, so that others see at once when it died."""

import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy import make_url

_KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}


class Presence(Protocol):
    """Locks by the names of workers, beside what they share."""

    def take(self, name: str) -> bool:
        """Take the lock of a worker: one's own, or that of another, which is dead if it can be taken."""
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
        self._held: dict[str, sqlite3.Connection] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str) -> bool:
        """Take a lock."""
        connection = sqlite3.connect(self._place(name), timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=MEMORY")  # a file for the lock is enough
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            connection.close()
            return False
        self._held[name] = connection
        return True

    def release(self, name: str) -> None:
        """Give a lock back. Names are used once, so its file goes too."""
        self._held.pop(name).close()
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
        address = make_url(url).set(drivername="postgresql").update_query_dict(_KEEPALIVES)
        self._url = address.render_as_string(hide_password=False)
        self._held: list[str] = []
        self._connection = self._connected()

    def take(self, name: str) -> bool:
        """Take a lock, and first, where the connection was lost, one's own again."""
        if self._connection.closed:
            self._connection = self._connected()
            self._held = [each for each in self._held if self._locked(each)]
        if not self._locked(name):
            return False
        self._held.append(name)
        return True

    def release(self, name: str) -> None:
        """Give a lock back."""
        self._connection.execute("SELECT pg_advisory_unlock(%s)", (_number(name),))
        self._held.remove(name)

    def close(self) -> None:
        """Give all locks back."""
        self._connection.close()

    def _connected(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self._url, autocommit=True)

    def _locked(self, name: str) -> bool:
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_number(name),)).fetchone()
        return row == (True,)


def presence_at(url: str) -> Presence:
    """Give the locks that belong to a database."""
    path = make_url(url).database if url.startswith("sqlite") else None
    return PostgresLocks(url) if path is None else FileLocks(Path(f"{path}.workers"))


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
