"""Conversations in an SQLite file.

Each call does its work in a thread, in one transaction: what fails leaves the file as it was. SQLite's write-ahead log
lets readers in while another process writes. A connection is kept for the next call: closing the last one of a file
copies the log into it and waits for the disk several times, which took ten times as long as the write itself.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, TypeAlias, TypeVar
from weakref import finalize
from zlib import crc32

from agentkit.core.checked_lines import MEND, Chain, Check, with_check, without_check
from agentkit.core.concurrency import Limiter, to_its_end
from agentkit.core.errors import ConfigurationError, InvalidRequest, SessionError
from agentkit.core.session import Entry, Session, Started, StoredConversation, written_by_others
from agentkit.core.session_lines import entries_of, line_of

T = TypeVar("T")

_PAUSE = 0.002
_PRIVATE = 0o600
_APPLICATION = 0x61676B74  # marks the file as one of agentkit's
_SCHEMA = 2
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

_of_a_parent: list[sqlite3.Connection] = []
"""Connections that a forked child inherited. SQLite forbids the child to use or close them."""

_FileId: TypeAlias = tuple[int, int]


class _Opened(NamedTuple):
    connection: sqlite3.Connection
    process: int
    file: _FileId | None
    close: Callable[[], object]


class Sqlite:
    """Conversations in an SQLite file, for any number of processes and threads at once.

    The file stays open as long as this object exists. Meanwhile the newest entries may be in `PATH-wal` beside it.

    Args:
        path: The file. It is created with the first entry, readable for its owner only. Its folder must exist, on a
            disk of this machine: SQLite's locks do not work on every network share.
        sync: Whether `append` waits until the entries are on the disk. Without that, they survive the death of the
            process, but not a power cut.
        patience: How many seconds to wait while others write.
    """

    __slots__ = ("__weakref__", "_idle", "_path", "_patience", "_sync", "_turn")

    def __init__(self, path: str | os.PathLike[str], *, sync: bool = True, patience: float = 10.0) -> None:
        if str(path) in ("", ":memory:"):
            raise ConfigurationError(f"Sqlite({str(path)!r}) would lose everything at once; use Memory(), or a file")
        self._path = Path(path)
        self._sync = sync
        self._patience = patience
        self._turn = Limiter(1)
        self._idle = deque[_Opened]()  # at most one per event loop that uses it at once

    def __repr__(self) -> str:
        return f"Sqlite({str(self._path)!r})"

    def conversation(self, name: str) -> Session:
        """Return the session of one conversation, a `SharedSession`. It exists once it has an entry.

        Args:
            name: Any string: the id of a user, of a chat, of a job.
        """
        try:
            fine = bool(name.encode())
        except (AttributeError, UnicodeEncodeError):
            fine = False
        if not fine:
            raise ConfigurationError(f"a conversation's name must be a text that is not empty, not {name!r}")
        return _Conversation(self, name)

    def lock_path(self, name: str) -> Path:
        """Return the file that `Exclusive` locks for a conversation, whose name may have what no path can have."""
        return self._path.with_name(f"{self._path.name}.{sha256(name.encode()).hexdigest()[:16]}.lock")

    async def conversations(self) -> tuple[str, ...]:
        """Return the names of all conversations, the one with the newest entry first.

        Raises:
            SessionError: If they cannot be read.
        """
        names = "SELECT conversation FROM entries GROUP BY conversation ORDER BY max(id) DESC"
        return await self._do(lambda connection: tuple([name for (name,) in connection.execute(names)]), ())

    async def delete(self, name: str) -> bool:
        """Delete a conversation; return whether it existed.

        Raises:
            SessionError: If it could not be deleted.
        """
        return await self._do(lambda connection: _delete(connection, name), missing=False)

    async def load(self, name: str) -> StoredConversation:
        """Read a conversation; see `Session.load`."""
        nothing: tuple[list[tuple[str, bytes]], Check] = [], Check()
        lines, last = await self._do(lambda connection: self._verified(connection, name), nothing)
        return StoredConversation.of(entries_of(lines))._replace(size=last.number)

    async def append(self, name: str, entries: Sequence[Entry]) -> None:
        """Append entries to a conversation; see `Session.append`."""
        await self._do(partial(self._append, name=name, entries=tuple(entries)))

    async def start(self, name: str, started: Started, seen: int) -> Sequence[Entry]:
        """Append the record of a call that is about to run; see `SharedSession.start`."""
        return await self._do(partial(self._start, name=name, started=started, seen=seen))

    def _append(self, connection: sqlite3.Connection, name: str, entries: tuple[Entry, ...]) -> None:
        lines = [line_of(entry).encode() for entry in entries]
        with _transaction(connection):
            _insert(connection, name, lines, self._last(connection, name))

    def _start(self, connection: sqlite3.Connection, name: str, started: Started, seen: int) -> Sequence[Entry]:
        line = line_of(started).encode()
        with _transaction(connection):
            last = self._last(connection, name)
            rows = "SELECT id, CAST(entry AS BLOB) FROM entries WHERE conversation = ? ORDER BY id DESC LIMIT ?"
            lines = list(connection.execute(rows, (name, max(0, last.number - seen))))[::-1]
            news = [*entries_of((self._place(at), without_check(line)) for at, line in lines)]
            if not written_by_others(news, started.run):
                _insert(connection, name, [line], last)
            return news

    def _place(self, at: int) -> str:
        return f"entry {at} of {self._path}"

    def _last(self, connection: sqlite3.Connection, name: str) -> Check:
        """Return the check of the last entry of a conversation."""
        stored = connection.execute("SELECT last FROM conversations WHERE name = ?", (name,)).fetchone()
        return self._verified(connection, name)[1] if stored is None else self._check_in(stored[0], name)

    def _check_in(self, stored: object, name: str) -> Check:
        check = Check.at_end(b',"check":"%b"}' % str(stored).encode(errors="replace"))
        if check is None:
            raise self._damaged(f"the end of the conversation {name!r} in {self._path}", f"it is {stored!r:.40}")
        return check

    def _verified(self, connection: sqlite3.Connection, name: str) -> tuple[list[tuple[str, bytes]], Check]:
        """Read the lines of a conversation, each with its place, and the check of the last one."""
        rows = (
            "SELECT 0, last FROM conversations WHERE name = ? UNION ALL "
            "SELECT id, CAST(entry AS BLOB) FROM entries WHERE conversation = ? ORDER BY 1"
        )
        lines: list[tuple[str, bytes]] = []
        chain, last = Chain(_first(name)), None
        for at, line in connection.execute(rows, (name, name)):
            if at == 0:
                last = self._check_in(line, name)
                continue
            try:
                lines.append((self._place(at), chain.verify(line or b"")))
            except ValueError as error:
                raise self._damaged(self._place(at), str(error)) from None
        if last is None and chain.is_checked:
            raise self._damaged(f"the end of the conversation {name!r} in {self._path}", "it is missing")
        if last is not None and last != chain.last:
            raise self._damaged(
                f"the conversation {name!r} in {self._path}",
                f"it has {last.number} entries, and {chain.last.number} of them are there",
            )
        return lines, chain.last

    def _damaged(self, what: str, error: str) -> SessionError:
        return SessionError(f"{what} cannot be read: {error}. Nothing was changed; {MEND}")

    async def _do(self, work: Callable[[sqlite3.Connection], T], missing: T | None = None) -> T:
        """Do work in the file. If there is none, return `missing`, or create the file if that is `None`."""
        return await to_its_end(self._turn, partial(self._retry_while_busy, work, missing))

    def _retry_while_busy(self, work: Callable[[sqlite3.Connection], T], missing: T | None) -> T:
        end = monotonic() + self._patience
        while True:
            try:
                file = self._file_id()
                if file is None and missing is not None:
                    return missing
                return self._connect_and_do(work, file)
            except sqlite3.Error as error:
                if _code(error) not in _BUSY or monotonic() > end:
                    raise SessionError(self._explain(error)) from error
            except InvalidRequest:
                raise
            except (OSError, ValueError) as error:  # of the path, or of a text in the file that is damaged
                raise SessionError(self._explain(error)) from error
            sleep(_PAUSE)

    def _connect_and_do(self, work: Callable[[sqlite3.Connection], T], file: _FileId | None) -> T:
        opened = self._kept(file) or self._open(file)
        try:
            done = work(opened.connection)
        except BaseException:
            opened.close()
            raise
        self._idle.append(opened)
        return done

    def _kept(self, file: _FileId | None) -> _Opened | None:
        """Return a connection of an earlier call, if the file is still the same and this process is no fork."""
        with suppress(IndexError):
            while (opened := self._idle.pop())[1:3] != (os.getpid(), file):
                opened.close()
            return opened
        return None

    def _open(self, file: _FileId | None) -> _Opened:
        connection = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        process = os.getpid()
        close = finalize(self, _close, connection, process)
        try:
            if file is None:  # creating it here would undo the locks that SQLite holds on it in other threads
                self._path.chmod(_PRIVATE)
                file = self._file_id()
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
            if not self._is_ready(connection):
                self._create_tables(connection)
        except BaseException:
            close()
            raise
        return _Opened(connection, process, file, close)

    def _file_id(self) -> _FileId | None:
        """Return what tells the file from another one in its place, or `None` if there is none."""
        try:
            status = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def _is_ready(self, connection: sqlite3.Connection) -> bool:
        """Whether the tables exist. If not, the file is empty, or it is refused."""
        has_tables = _number(connection, "schema_version")  # read first: the other two change together with the tables
        version, application = _number(connection, "user_version"), _number(connection, "application_id")
        if application != _APPLICATION and has_tables:
            raise SessionError(f"{self._path} is a database of another program. Nothing was changed; use another file")
        if version > _SCHEMA:
            raise SessionError(
                f"{self._path} was written by a newer agentkit: its schema is {version}, and this version knows "
                f"{_SCHEMA}. Nothing was changed; update agentkit, or use another file"
            )
        return version == _SCHEMA

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            if self._is_ready(connection):
                return  # another process was faster
            if not _number(connection, "user_version"):
                connection.execute(
                    "CREATE TABLE entries (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, entry TEXT NOT NULL)"
                )
                connection.execute("CREATE INDEX entries_of_conversation ON entries (conversation, id)")
            connection.execute("CREATE TABLE conversations (name TEXT PRIMARY KEY, last TEXT NOT NULL) WITHOUT ROWID")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")

    def _explain(self, error: Exception) -> str:
        if _code(error) in _BUSY:
            return (
                f"{self._path} was locked by another program for {self._patience:g} s, so nothing was read or kept. "
                "Try again, or allow more time: Sqlite(…, patience=…)"
            )
        if _code(error) in _DAMAGED or isinstance(error, UnicodeDecodeError):
            return (
                f"{self._path} is no SQLite file, or is damaged: {error}. Nothing was changed; use another file, or "
                "save what can be read with `sqlite3 FILE .recover`"
            )
        return (
            f"{self._path} cannot be read or written: {error}. Nothing was kept of this. Check that its folder exists, "
            "that this user may write to it, and that the disk has room"
        )


class _Conversation:
    __slots__ = ("_file", "_name")

    def __init__(self, file: Sqlite, name: str) -> None:
        self._file = file
        self._name = name

    @property
    def name(self) -> str:
        """The name of the conversation in its file."""
        return self._name

    @property
    def lock_path(self) -> Path:
        """The file that `Exclusive` locks."""
        return self._file.lock_path(self._name)

    def __repr__(self) -> str:
        return f"{self._file!r}.conversation({self._name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Conversation) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    async def load(self) -> StoredConversation:
        return await self._file.load(self._name)

    async def append(self, entries: Sequence[Entry]) -> None:
        await self._file.append(self._name, entries)

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        return await self._file.start(self._name, started, seen)


def _close(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():
        connection.close()
    else:
        _of_a_parent.append(connection)


def _code(error: Exception) -> int:
    """Return SQLite's primary code for an error."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _number(connection: sqlite3.Connection, name: str) -> int:
    number: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return number


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Do all of it or nothing: what fails is undone when the connection closes."""
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")


def _first(name: str) -> Check:
    """Return the check before the first entry of a conversation, so that no entry passes for one of another."""
    return Check(0, crc32(name.encode()))


def _insert(connection: sqlite3.Connection, name: str, lines: Iterable[bytes], last: Check) -> None:
    for line in lines:
        checked, last = with_check(line, last)
        row = "INSERT INTO entries (conversation, entry) VALUES (?, ?)"
        connection.execute(row, (name, checked.decode()))
    if last.number:
        connection.execute("INSERT OR REPLACE INTO conversations VALUES (?, ?)", (name, str(last)))


def _delete(connection: sqlite3.Connection, name: str) -> bool:
    with _transaction(connection):
        connection.execute("DELETE FROM conversations WHERE name = ?", (name,))
        return connection.execute("DELETE FROM entries WHERE conversation = ?", (name,)).rowcount > 0
