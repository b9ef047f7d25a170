"""Conversations in an SQLite file."""

import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

from agentkit.core.concurrency import Limiter, to_its_end
from agentkit.core.errors import ConfigurationError, SessionError
from agentkit.core.session import Entry, Session, StoredConversation, entries_of, line_of

T = TypeVar("T")

_PAUSE = 0.002
_PRIVATE = 0o600
_APPLICATION = 0x61676B74  # an SQLite file says what it is the file of
_SCHEMA = 1
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class Sqlite:
    """Conversations in an SQLite file, for any number of processes and threads at once.

    Args:
        path: The file. It is made when the first entry is added, readable for its owner only; its folder must be there,
            on a disk of this machine: SQLite's locks do not work on every network share.
        sync: Whether an entry is on the disk when it is told as kept. Without that, entries survive the death of the
            process, but not a power cut.
        patience: How many seconds to wait while others write.
    """

    __slots__ = ("_path", "_patience", "_sync", "_turn")

    def __init__(self, path: str | os.PathLike[str], *, sync: bool = True, patience: float = 10.0) -> None:
        if str(path) in ("", ":memory:"):
            raise ConfigurationError(f"Sqlite({str(path)!r}) would lose everything at once; use Memory(), or a file")
        self._path = Path(path)
        self._sync = sync
        self._patience = patience
        self._turn = Limiter(1)

    def __repr__(self) -> str:
        return f"Sqlite({str(self._path)!r})"

    def conversation(self, name: str) -> Session:
        """Give one conversation; it is there once something was added to it.

        Args:
            name: Any text: the id of a user, of a chat, of a job.
        """
        try:
            fine = bool(name.encode())
        except (AttributeError, UnicodeEncodeError):
            fine = False
        if not fine:
            raise ConfigurationError(f"a conversation's name must be a text that is not empty, not {name!r}")
        return _Conversation(self, name)

    async def conversations(self) -> tuple[str, ...]:
        """Give the names of all conversations, the one that was added to last first.

        Raises:
            SessionError: If they cannot be read.
        """
        names = "SELECT conversation FROM entries GROUP BY conversation ORDER BY max(id) DESC"
        return await self._do(lambda connection: tuple([name for (name,) in connection.execute(names)]), ())

    async def delete(self, name: str) -> bool:
        """Delete a conversation.

        Args:
            name: Its name.

        Returns:
            Whether there was one.

        Raises:
            SessionError: If it could not be deleted.
        """
        return await self._do(lambda connection: _delete(connection, name), missing=False)

    async def load(self, name: str) -> StoredConversation:
        """Read a conversation; see `Session.load`."""
        rows = "SELECT id, entry FROM entries WHERE conversation = ? ORDER BY id"
        read: list[tuple[int, str]] = await self._do(lambda connection: list(connection.execute(rows, (name,))), [])
        return StoredConversation.of(entries_of((f"entry {at} of {self._path}", entry) for at, entry in read))

    async def append(self, name: str, entries: Sequence[Entry]) -> None:
        """Add entries to a conversation; see `Session.append`."""
        given = tuple(entries)
        await self._do(lambda connection: _add(connection, name, given))

    async def _do(self, work: Callable[[sqlite3.Connection], T], missing: T | None = None) -> T:
        """Do something in the file, which is made if there is nothing to be given where it is missing."""
        return await to_its_end(self._turn, partial(self._patiently, work, missing))

    def _patiently(self, work: Callable[[sqlite3.Connection], T], missing: T | None) -> T:
        end = monotonic() + self._patience
        while True:
            try:
                fresh = not self._path.exists()
                if fresh and missing is not None:
                    return missing
                return self._done(work, max(end - monotonic(), 0), fresh=fresh)
            except sqlite3.Error as error:
                if _code(error) not in _BUSY or monotonic() > end:
                    raise SessionError(self._told(error)) from error
            except OSError as error:
                raise SessionError(self._told(error)) from error
            sleep(_PAUSE)

    def _done(self, work: Callable[[sqlite3.Connection], T], patience: float, *, fresh: bool) -> T:
        """Do something with a connection of its own, in one transaction; what fails leaves the file as it was."""
        with closing(sqlite3.connect(self._path, timeout=patience, isolation_level=None)) as connection:
            if fresh:  # opening and closing it here would undo the locks that SQLite has on it in other threads
                self._path.chmod(_PRIVATE)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
            if not self._is_ready(connection):
                self._begin(connection)
            return work(connection)

    def _is_ready(self, connection: sqlite3.Connection) -> bool:
        """Say whether the tables are there. Else the file is empty, or not ours."""
        has_tables = _number(connection, "schema_version")  # the first: the rest came to be at once with the tables
        version, application = _number(connection, "user_version"), _number(connection, "application_id")
        if application != _APPLICATION and has_tables:
            raise SessionError(f"{self._path} is a database of another program. Nothing was changed; take another file")
        if version > _SCHEMA:
            raise SessionError(
                f"{self._path} was written by a newer agentkit: its schema is {version}, and this version knows "
                f"{_SCHEMA}. Nothing was changed; update agentkit, or take another file"
            )
        return version == _SCHEMA

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Make the tables in an empty file."""
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            if self._is_ready(connection):
                return  # another process was faster
            connection.execute(
                "CREATE TABLE entries (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, entry TEXT NOT NULL)"
            )
            connection.execute("CREATE INDEX entries_of_conversation ON entries (conversation, id)")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")

    def _told(self, error: Exception) -> str:
        if _code(error) in _BUSY:
            return (
                f"{self._path} was locked by another program for {self._patience:g} s, so nothing was read or kept. "
                "Try again, or allow more time: Sqlite(…, patience=…)"
            )
        if _code(error) in _DAMAGED:
            return (
                f"{self._path} is no SQLite file, or is damaged: {error}. Nothing was changed; take another file, or "
                "save what can be read with `sqlite3 FILE .recover`"
            )
        return (
            f"{self._path} cannot be read or written: {error}. Nothing was kept of this; see that its folder is there, "
            "that this user may write there, and that the disk has room"
        )


class _Conversation:
    """One conversation of an SQLite file."""

    __slots__ = ("_file", "_name")

    def __init__(self, file: Sqlite, name: str) -> None:
        self._file = file
        self._name = name

    def __repr__(self) -> str:
        return f"{self._file!r}.conversation({self._name!r})"

    async def load(self) -> StoredConversation:
        return await self._file.load(self._name)

    async def append(self, entries: Sequence[Entry]) -> None:
        await self._file.append(self._name, entries)


def _code(error: Exception) -> int:
    """Give what kind of error of SQLite's it is."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _number(connection: sqlite3.Connection, name: str) -> int:
    number: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return number


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Do all of it or nothing: what fails is undone when the connection is closed."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")


def _add(connection: sqlite3.Connection, name: str, entries: tuple[Entry, ...]) -> None:
    rows = [(name, line_of(each)) for each in entries]
    with _transaction(connection):
        connection.executemany("INSERT INTO entries (conversation, entry) VALUES (?, ?)", rows)


def _delete(connection: sqlite3.Connection, name: str) -> bool:
    with _transaction(connection):
        return connection.execute("DELETE FROM entries WHERE conversation = ?", (name,)).rowcount > 0
