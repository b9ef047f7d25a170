import errno
import gc
import os
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit.core.errors import ConfigurationError, InvalidRequest, SessionError
from agentkit.core.messages import AssistantMessage, UserMessage
from agentkit.core.session_lines import line_of
from agentkit.sessions import Sqlite, StoredConversation
from tests.programs import PATIENCE
from tests.sessions import ENTRIES, KEPT, modes, program, table

pytestmark = pytest.mark.anyio


async def test_a_file_has_many_conversations(tmp_path: Path) -> None:
    file = Sqlite(tmp_path / "chats.db", sync=False)
    assert await file.conversations() == ()
    assert await file.delete("ann") is False
    assert modes(tmp_path) == {}
    for name in ("ann", "bob\x00", "ann"):
        await file.conversation(name).append([UserMessage(name)])
    assert await file.conversations() == ("ann", "bob\x00")
    assert (await file.conversation("bob\x00").load()).messages == (UserMessage("bob\x00"),)
    assert await file.conversation("bob").load() == StoredConversation()
    assert await file.delete("ann") is True
    assert await file.delete("ann") is False
    assert await file.conversations() == ("bob\x00",)


@pytest.mark.parametrize("name", ["", None, 5, "\ud800"])
def test_a_conversation_has_a_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        Sqlite("chats.db").conversation(name)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_what_would_be_lost_at_once_is_no_file(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use Memory\(\)"):
        Sqlite(path)


async def test_an_entry_that_is_damaged_is_named(tmp_path: Path) -> None:
    session = table(tmp_path)
    await session.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        connection.execute("UPDATE entries SET entry = '{' WHERE id = 2")
        connection.commit()
    with pytest.raises(SessionError, match=r"^entry 2 of .*chats\.db cannot be read"):
        await session.load()


DAMAGE = {
    "DELETE FROM conversations": "the end of the conversation 'ann' .* is missing",
    "DELETE FROM entries WHERE id = 5": "it has 5 entries, and 4 of them are there",
    "DELETE FROM entries": "it has 5 entries, and 0 of them are there",
    "DELETE FROM entries WHERE id = 2": "entry 3 of .* it is entry 3, where entry 2 belongs",
    "UPDATE entries SET entry = CAST(x'ff' AS TEXT) WHERE id = 1": "entry 2 of .* its checksum is another one",
    "UPDATE entries SET entry = '' WHERE id = 5": "entry 5 of .* no whole check",
    "UPDATE conversations SET last = 'x'": "the end of the conversation 'ann' .* it is 'x'",
    "UPDATE conversations SET last = x'ff'": "the end of the conversation 'ann' .* it is ",
    "UPDATE entries SET conversation = 'bob'; UPDATE conversations SET name = 'bob'": "entry 1 of .* checksum",
}


@pytest.mark.parametrize(("script", "said"), DAMAGE.items())
async def test_damage_is_named(script: str, said: str, tmp_path: Path) -> None:
    session = table(tmp_path)
    await session.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        connection.executescript(script)
    with pytest.raises(SessionError, match=said):
        await (Sqlite(tmp_path / "chats.db").conversation("bob") if "bob" in script else session).load()


async def test_a_conversation_without_an_end_is_read_before_it_goes_on(tmp_path: Path) -> None:
    session = table(tmp_path)
    await session.append([])
    await session.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        connection.executescript("DELETE FROM conversations")
    with pytest.raises(SessionError, match="is missing"):
        await session.append(ENTRIES)


async def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        connection.executescript(
            "CREATE TABLE entries (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, entry TEXT NOT NULL);"
            "CREATE INDEX entries_of_conversation ON entries (conversation, id);"
            f"PRAGMA application_id = {0x61676B74}; PRAGMA user_version = 1"
        )
        rows = [("ann", line_of(entry)) for entry in ENTRIES]
        connection.executemany("INSERT INTO entries (conversation, entry) VALUES (?, ?)", rows)
        connection.commit()
    session = table(tmp_path)
    assert await session.load() == KEPT
    await session.append(ENTRIES)
    assert await session.load() == StoredConversation.of(ENTRIES * 2)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
async def test_what_no_path_can_have(name: str, tmp_path: Path) -> None:
    session = Sqlite(tmp_path / name).conversation("ann")
    for attempt in (session.load, partial(session.append, ENTRIES)):
        with pytest.raises(SessionError, match="cannot be read or written"):
            await attempt()


async def test_a_file_that_cannot_be_made_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", chmod)
    with pytest.raises(SessionError, match="Operation not permitted"):
        await table(tmp_path).append(ENTRIES)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    path.write_bytes(b"These are no entries. " * 100)
    for attempt in (table(tmp_path).load, partial(table(tmp_path).append, ENTRIES)):
        with pytest.raises(SessionError, match="no SQLite file"):
            await attempt()
    assert path.read_bytes() == b"These are no entries. " * 100


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("CREATE TABLE mine (a)", "is a database of another program"),
        ("CREATE TABLE mine (a); PRAGMA user_version = 1", "is a database of another program"),
        (
            f"CREATE TABLE entries (a); PRAGMA application_id = {0x61676B74}; PRAGMA user_version = 3",
            "was written by a newer agentkit: its schema is 3, and this version knows 2",
        ),
    ],
)
async def test_a_database_that_is_not_ours_stays_as_it_is(script: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = path.read_bytes()
    for attempt in (table(tmp_path).load, partial(table(tmp_path).append, ENTRIES)):
        with pytest.raises(SessionError, match=said):
            await attempt()
    assert path.read_bytes() == before


async def test_an_empty_file_is_begun(tmp_path: Path) -> None:
    (tmp_path / "chats.db").touch()
    assert await table(tmp_path).load() == StoredConversation()
    await table(tmp_path).append(ENTRIES)
    assert await table(tmp_path).load() == KEPT


async def test_two_that_begin_a_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one makes the tables after this one has looked."""
    ready = Sqlite._is_ready
    looked: list[bool] = []

    def look(file: Sqlite, connection: sqlite3.Connection) -> bool:
        if looked:
            return ready(file, connection)
        looked.append(ready(file, connection))
        monkeypatch.setattr(Sqlite, "_is_ready", ready)
        anyio.run(table(tmp_path).append, ENTRIES[:1])
        return looked[0]

    monkeypatch.setattr(Sqlite, "_is_ready", look)
    await table(tmp_path).append(ENTRIES[1:])
    assert looked == [False]
    assert await table(tmp_path).load() == KEPT


async def test_entries_are_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    chats = Sqlite(tmp_path / "b").conversation("ann")
    await chats.append(ENTRIES)
    assert await chats.load() == KEPT


async def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 8")
        return connection

    await table(tmp_path).append(ENTRIES)
    monkeypatch.setattr(sqlite3, "connect", small)
    chats = table(tmp_path)
    with pytest.raises(SessionError, match="full"):
        await chats.append([UserMessage("a"), UserMessage("x" * 100_000)])
    assert await chats.load() == KEPT


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that are opened."""
    connect, connections = sqlite3.connect, list[sqlite3.Connection]()

    def listed(*args: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*args, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", listed)
    return connections


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_a_connection_is_kept_as_long_as_its_object(tmp_path: Path, opened: list[sqlite3.Connection]) -> None:
    before = set(threading.enumerate())
    file = Sqlite(tmp_path / "chats.db", sync=False)
    for name in ("ann", "bob"):
        anyio.run(file.conversation(name).append, ENTRIES)
        assert anyio.run(file.conversation(name).load) == KEPT
    assert [is_open(connection) for connection in opened] == [True]
    assert modes(tmp_path) == dict.fromkeys(("chats.db", "chats.db-wal", "chats.db-shm"), 0o600)
    del file
    gc.collect()
    for thread in set(threading.enumerate()) - before:  # which may hold the object for a moment
        thread.join(PATIENCE)
    assert [is_open(connection) for connection in opened] == [False]
    assert modes(tmp_path) == {"chats.db": 0o600}
    assert anyio.run(table(tmp_path).load) == KEPT


async def test_what_fails_closes_the_connection_so_that_nothing_of_it_stays(
    tmp_path: Path, opened: list[sqlite3.Connection]
) -> None:
    chats = table(tmp_path)
    await chats.append(ENTRIES)
    with pytest.raises(InvalidRequest):
        await chats.append([AssistantMessage("a", extra={"a": object()})])
    assert await chats.load() == KEPT
    assert [is_open(connection) for connection in opened] == [False, True]


async def test_a_file_that_is_deleted_or_replaced(tmp_path: Path) -> None:
    chats = table(tmp_path)
    await chats.append(ENTRIES[:1])
    for name in modes(tmp_path):
        (tmp_path / name).unlink()
    assert await chats.load() == StoredConversation()
    await chats.append(ENTRIES)
    assert await table(tmp_path).load() == await chats.load() == KEPT


async def test_a_forked_process_neither_uses_nor_closes_what_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[sqlite3.Connection]
) -> None:
    monkeypatch.setattr("agentkit.sessions.sqlite._of_a_parent", left := list[sqlite3.Connection]())
    chats = table(tmp_path)
    await chats.append(ENTRIES[:1])
    gc.collect()  # or a store of another test might end in between
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        await chats.append(ENTRIES[1:])
        assert await chats.load() == KEPT
    assert left == opened[:1]
    assert [is_open(connection) for connection in opened] == [True, True]
    left.pop().close()
    await chats.append([])
    left.pop().close()


FORKED = """
import os, sys, anyio
from agentkit.core.messages import UserMessage
from agentkit.sessions import Sqlite

chats = Sqlite(sys.argv[1]).conversation("ann")
anyio.run(chats.append, [UserMessage("before")])
if child := os.fork():
    os.waitpid(child, 0)
else:
    anyio.run(chats.append, [UserMessage("child")])
    os._exit(0)
anyio.run(chats.append, [UserMessage("parent")])
"""


def test_a_process_that_forks(tmp_path: Path) -> None:
    with program(FORKED, tmp_path / "chats.db") as forked:
        assert forked.wait(PATIENCE) == 0
    messages = anyio.run(table(tmp_path).load).messages
    assert messages == tuple([UserMessage(text) for text in ("before", "child", "parent")])


async def test_a_file_that_another_program_locks(tmp_path: Path) -> None:
    chats = Sqlite(tmp_path / "b", patience=0.05).conversation("ann")
    await chats.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "b", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SessionError, match="was locked"):
            await chats.append(ENTRIES)
        assert await chats.load() == KEPT
    assert await chats.load() == KEPT


async def test_a_lock_that_is_released_in_time(tmp_path: Path) -> None:
    chats = table(tmp_path)
    await chats.append(ENTRIES[:1])
    with closing(sqlite3.connect(tmp_path / "chats.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(chats.append, ENTRIES[1:])
            await anyio.sleep(0.05)
            connection.execute("ROLLBACK")
    assert await chats.load() == KEPT


async def test_where_sqlite_does_not_wait_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    refused: list[str] = []

    def busy(*args: Any, **options: Any) -> sqlite3.Connection:
        if len(refused) < 3:
            refused.append("locked")
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error
        connection: sqlite3.Connection = connect(*args, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", busy)
    await table(tmp_path).append(ENTRIES)
    assert len(refused) == 3
    assert await table(tmp_path).load() == KEPT
