import asyncio
import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from agentkit.core import files as file_locks
from agentkit.core.errors import ConfigurationError, InvalidRequest, SessionError
from agentkit.core.messages import AssistantMessage, ImagePart, ToolCall, ToolMessage, UserMessage
from agentkit.core.session import line_of
from agentkit.sessions import Entry, JsonLines, Memory, Session, Sqlite, Started, StoredConversation, jsonl
from tests.programs import PATIENCE, started

CALL = ToolCall("a", "pay", '{"sum": 5}', {"signature": "x"})
ENTRIES: tuple[Entry, ...] = (
    UserMessage("Pay\nthis. \u2028\x00\ud800"),
    AssistantMessage(tool_calls=(CALL,), extra={"reasoning": "hm"}, origin="https://a.example/v1"),
    Started("a", "pay", '{"sum": 5}', "pay:5"),
    ToolMessage("a", "paid…", full="paid 5", images=(ImagePart("data:,1"),)),
    UserMessage("Go on.", note=True),
)
MESSAGES = tuple([each for each in ENTRIES if not isinstance(each, Started)])
KEPT = StoredConversation(
    MESSAGES,
    (),
    (
        (
            Started("a", "pay", '{"sum": 5}', "pay:5"),
            ToolMessage("a", "paid…", full="paid 5", images=(ImagePart("data:,1"),)),
        ),
    ),
)

Make: TypeAlias = Callable[[Path], Session]


def memory(_: Path) -> Session:
    return Memory()


def lines(path: Path) -> Session:
    return JsonLines(path / "chat.jsonl", sync=False)


def table(path: Path) -> Session:
    return Sqlite(path / "chats.db", sync=False).conversation("ann")


def modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


EACH = pytest.mark.parametrize("make", [memory, lines, table])
FILES = pytest.mark.parametrize("make", [lines, table])


@pytest.mark.anyio
@EACH
async def test_a_conversation_is_kept(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    assert await session.load() == StoredConversation()
    await session.append(ENTRIES[:3])
    assert await session.load() == StoredConversation(MESSAGES[:2], (Started("a", "pay", '{"sum": 5}', "pay:5"),))
    await session.append([])
    await session.append(ENTRIES[3:])
    assert await session.load() == KEPT


@pytest.mark.anyio
@FILES
async def test_another_object_reads_the_same(make: Make, tmp_path: Path) -> None:
    await make(tmp_path).append(ENTRIES)
    assert await make(tmp_path).load() == KEPT


@pytest.mark.parametrize("make", [lines, table])
def test_any_event_loop_may_use_it(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(session.append, [UserMessage(backend)], backend=backend)
    assert [each.to_dict()["content"] for each in anyio.run(session.load).messages] == ["asyncio", "trio", "asyncio"]


@pytest.mark.anyio
@FILES
async def test_the_file_is_for_its_owner_only(make: Make, tmp_path: Path) -> None:
    await make(tmp_path).append(ENTRIES)
    assert list(modes(tmp_path).values()) == [0o600]


@pytest.mark.anyio
async def test_it_may_be_on_the_disk_when_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    await JsonLines(tmp_path / "a").append(ENTRIES)
    assert len(synced) == 1
    await JsonLines(tmp_path / "a", sync=False).append(ENTRIES)
    assert len(synced) == 1
    await Sqlite(tmp_path / "b").conversation("ann").append(ENTRIES)
    assert await Sqlite(tmp_path / "b").conversation("ann").load() == KEPT


@pytest.mark.anyio
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
    with pytest.raises(ConfigurationError, match="name must be a text that is not empty"):
        Sqlite("chats.db").conversation(name)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_what_would_be_lost_at_once_is_no_file(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use Memory\(\)"):
        Sqlite(path)


def test_what_they_are_is_seen() -> None:
    assert repr(JsonLines("a")) == "JsonLines('a')"
    assert repr(Sqlite("a").conversation("b")) == "Sqlite('a').conversation('b')"


@pytest.mark.anyio
@FILES
async def test_what_cannot_be_written_adds_nothing(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    await session.append(ENTRIES)
    with pytest.raises(InvalidRequest):
        await session.append([UserMessage("a"), AssistantMessage("a", extra={"a": object()})])
    assert await session.load() == KEPT


# Lines that a crash cut short, and what else may have become of a file.


@pytest.mark.anyio
async def test_wherever_a_line_is_cut_the_rest_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    session = JsonLines(path, sync=False)
    await session.append([UserMessage("ä"), UserMessage("{}")])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        read = [UserMessage("ä"), UserMessage("{}")][: (end >= first - 1) + (end >= len(whole) - 1)]
        assert (await session.load()).messages == tuple(read)
        await session.append([UserMessage("next")])
        assert (await session.load()).messages == (*read, UserMessage("next"))


@pytest.mark.anyio
@pytest.mark.parametrize("torn", [b"\x00" * 10, b"[1]", b'{"a": ' * 100_000, b"5", b"\xff"])
async def test_whatever_a_crash_leaves_at_the_end_is_taken_away(torn: bytes, tmp_path: Path) -> None:
    session = lines(tmp_path)
    await session.append(ENTRIES)
    with (tmp_path / "chat.jsonl").open("ab") as file:
        file.write(torn)
    assert await session.load() == KEPT
    await session.append(ENTRIES)
    assert await session.load() == StoredConversation.of(ENTRIES * 2)


@pytest.mark.anyio
async def test_a_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"role":"user","content":"a"}\n\n{"role":"us\n{"role":"user","content":"b"}\n')
    with pytest.raises(SessionError, match=r"^line 3 of .*chat\.jsonl cannot be read: .*mend that entry"):
        await JsonLines(path).load()


@pytest.mark.anyio
async def test_an_entry_that_is_damaged_is_named(tmp_path: Path) -> None:
    session = table(tmp_path)
    await session.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        connection.execute("UPDATE entries SET entry = '{' WHERE id = 2")
        connection.commit()
    with pytest.raises(SessionError, match=r"^entry 2 of .*chats\.db cannot be read"):
        await session.load()


@pytest.mark.anyio
async def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "chat"
    for session in (JsonLines(missing), Sqlite(missing).conversation("ann")):
        assert await session.load() == StoredConversation()
        with pytest.raises(SessionError, match=r"missing/chat cannot be read or written: .*see that its folder is"):
            await session.append(ENTRIES)
    for session in (JsonLines(tmp_path), Sqlite(tmp_path).conversation("ann")):
        with pytest.raises(SessionError, match="cannot be read or written"):
            await session.append(ENTRIES)
        with pytest.raises(SessionError, match="cannot be read or written"):
            await session.load()


@pytest.mark.anyio
async def test_a_file_that_cannot_be_made_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", chmod)
    with pytest.raises(SessionError, match="Operation not permitted"):
        await table(tmp_path).append(ENTRIES)


@pytest.mark.anyio
async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    path.write_bytes(b"These are no entries. " * 100)
    for attempt in (table(tmp_path).load, partial(table(tmp_path).append, ENTRIES)):
        with pytest.raises(SessionError, match=r"is no SQLite file, or is damaged: .*Nothing was changed"):
            await attempt()
    assert path.read_bytes() == b"These are no entries. " * 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("CREATE TABLE mine (a)", "is a database of another program"),
        ("CREATE TABLE mine (a); PRAGMA user_version = 1", "is a database of another program"),
        (
            f"CREATE TABLE entries (a); PRAGMA application_id = {0x61676B74}; PRAGMA user_version = 2",
            "was written by a newer agentkit: its schema is 2, and this version knows 1",
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


@pytest.mark.anyio
async def test_an_empty_file_is_begun(tmp_path: Path) -> None:
    (tmp_path / "chats.db").touch()
    assert await table(tmp_path).load() == StoredConversation()
    await table(tmp_path).append(ENTRIES)
    assert await table(tmp_path).load() == KEPT


@pytest.mark.anyio
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


@pytest.mark.anyio
async def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = lines(tmp_path)
    await session.append(ENTRIES)
    write = os.write

    def short(fd: int, data: bytes) -> int:
        return write(fd, data[:7])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(SessionError, match=f"{os.strerror(errno.ENOSPC)}. Nothing was kept of this"):
            await session.append(ENTRIES)
    assert await session.load() == KEPT
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 8")
        return connection

    chats = table(tmp_path)
    await chats.append(ENTRIES)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(SessionError, match="database or disk is full"):
            await chats.append([UserMessage("a"), UserMessage("x" * 100_000)])
    assert await chats.load() == KEPT


# Locks


@pytest.mark.anyio
async def test_a_file_that_another_program_locks(tmp_path: Path) -> None:
    session = JsonLines(tmp_path / "a", patience=0.05)
    await session.append(ENTRIES)
    with (tmp_path / "a").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for attempt in (session.load, partial(session.append, ENTRIES)):
            with pytest.raises(SessionError, match=r"was locked by another program for 0\.05 s, so nothing"):
                await attempt()
    chats = Sqlite(tmp_path / "b", patience=0.05).conversation("ann")
    await chats.append(ENTRIES)
    with closing(sqlite3.connect(tmp_path / "b", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SessionError, match=r"was locked by another program for 0\.05 s, so nothing"):
            await chats.append(ENTRIES)
        assert await chats.load() == KEPT
    assert await chats.load() == KEPT


@pytest.mark.anyio
async def test_a_lock_that_is_let_go_in_time(tmp_path: Path) -> None:
    session, chats = lines(tmp_path), table(tmp_path)
    await session.append(ENTRIES[:1])
    await chats.append(ENTRIES[:1])
    with (
        (tmp_path / "chat.jsonl").open("rb") as file,
        closing(sqlite3.connect(tmp_path / "chats.db", isolation_level=None)) as connection,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        connection.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(session.append, ENTRIES[1:])
            group.start_soon(chats.append, ENTRIES[1:])
            await anyio.sleep(0.05)
            fcntl.flock(file, fcntl.LOCK_UN)
            connection.execute("ROLLBACK")
    assert await session.load() == await chats.load() == KEPT


@pytest.mark.anyio
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


@pytest.mark.anyio
async def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file_locks, "_LOCKS", SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0))
    with pytest.raises(SessionError, match="No locks available"):
        await JsonLines(tmp_path / "a").append(ENTRIES)


class Windows:
    """The locks that Windows has, on top of those that are here: of bytes from where the file stands."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self.done: list[tuple[int, int]] = []

    def locking(self, fd: int, mode: int, count: int) -> None:
        assert count == 1
        assert os.lseek(fd, 0, os.SEEK_CUR) == 2**31 - 2
        if mode == self.LK_UNLCK and (not self.done or self.done[-1] != (fd, self.LK_NBLCK)):
            raise PermissionError(errno.EACCES, "not locked")
        how = fcntl.LOCK_UN if mode == self.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.flock(fd, how)
        self.done.append((fd, mode))


@pytest.mark.anyio
async def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = Windows()
    monkeypatch.setattr(file_locks, "_LOCKS", locks)
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    session = JsonLines(tmp_path / "chat.jsonl", patience=0.05)
    await session.append(ENTRIES)
    assert await session.load() == KEPT
    assert [mode for _, mode in locks.done] == [2, 0, 2, 0]
    with (tmp_path / "chat.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SessionError, match="was locked by another program"):
            await session.append(ENTRIES)


# Cancelling


class Slow:
    """Holds what writes to the disk until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

        def slow(entry: Entry) -> str:
            self.begun.set()
            assert self.go.wait(60)
            return line_of(entry)

        monkeypatch.setattr("agentkit.sessions.jsonl.line_of", slow)


@pytest.mark.anyio
@FILES
async def test_cancelling_leaves_all_or_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make(tmp_path)
    slow = Slow(monkeypatch)
    ended: list[str] = []

    async def write(text: str) -> None:
        await session.append([UserMessage(text), UserMessage(f"{text} too")])
        ended.append(text)

    async with anyio.create_task_group() as group:
        group.start_soon(write, "begun")
        await to_thread.run_sync(slow.begun.wait, 60)
        group.start_soon(write, "waits for its turn")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
        slow.go.set()
    assert ended == ["begun"]
    assert (await session.load()).messages == (UserMessage("begun"), UserMessage("begun too"))


@FILES
def test_a_task_that_asyncio_cancels_waits_for_what_has_begun(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is kept next cannot come before it."""
    session = make(tmp_path)
    slow = Slow(monkeypatch)

    async def main() -> None:
        task = asyncio.create_task(session.append([UserMessage("first")]))
        assert await asyncio.to_thread(slow.begun.wait, 60)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        slow.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await session.append([UserMessage("second")])

    asyncio.run(main())
    assert anyio.run(session.load).messages == (UserMessage("first"), UserMessage("second"))


@pytest.mark.anyio
async def test_the_event_loop_goes_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = lines(tmp_path)
    slow = Slow(monkeypatch)
    async with anyio.create_task_group() as group:
        group.start_soon(session.append, ENTRIES)
        await to_thread.run_sync(slow.begun.wait, 60)
        await anyio.lowlevel.checkpoint()
        slow.go.set()
    assert await session.load() == KEPT


# Many at once, in threads and processes

THREADS, EACH_WRITES = 20, 25
WRITER = """
import sys, threading, anyio
from agentkit.core.messages import UserMessage
from agentkit.sessions import JsonLines, Sqlite

kind, path, process, threads, count = sys.argv[1:]

def write(thread):
    session = JsonLines(path, sync=False, patience=120)
    if kind == "table":
        session = Sqlite(path, sync=False, patience=120).conversation(f"chat {thread % 2}")
    async def main():
        for number in range(int(count)):
            tag = f"{process} {thread} {number}"
            await session.append([UserMessage(tag + " a"), UserMessage(tag + " b")])
    anyio.run(main)

every = [threading.Thread(target=write, args=(each,)) for each in range(int(threads))]
[each.start() for each in every]
[each.join() for each in every]
"""


def program(code: str, *arguments: object) -> "AbstractContextManager[subprocess.Popen[str]]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    root = Path(jsonl.__file__).parents[2]
    return started(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kind", ["table", "lines"])
def test_many_write_at_once_and_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "chats"
    with ExitStack() as stack:
        programs = [
            stack.enter_context(program(WRITER, kind, path, number, THREADS, EACH_WRITES)) for number in range(2)
        ]
        for each in programs:
            _, said = each.communicate(timeout=PATIENCE)
            assert (each.returncode, said) == (0, "")
    kept: list[Session] = [JsonLines(path)]
    if kind == "table":
        assert sorted(anyio.run(Sqlite(path).conversations)) == ["chat 0", "chat 1"]
        kept = [Sqlite(path).conversation(f"chat {number}") for number in range(2)]
    texts = [[str(each.to_dict()["content"]) for each in anyio.run(session.load).messages] for session in kept]
    every = [text for conversation in texts for text in conversation]
    assert len(every) == len(set(every)) == 2 * THREADS * EACH_WRITES * 2
    for conversation in texts:
        # What one append added stands together, and what one writer added stands in its order.
        for first, second in zip(conversation[::2], conversation[1::2], strict=True):
            assert (first[:-2], first[-1], second[:-2], second[-1]) == (first[:-2], "a", first[:-2], "b")
        written: dict[str, list[int]] = {}
        for text in conversation[::2]:
            process, thread, number, _ = text.split()
            written.setdefault(f"{process} {thread}", []).append(int(number))
        assert all(numbers == list(range(EACH_WRITES)) for numbers in written.values())


KILLED = """
import os, sys, anyio
from agentkit.core.messages import UserMessage
from agentkit.sessions import JsonLines, Sqlite

kind, path, begin = sys.argv[1:]
session = JsonLines(path, sync=False) if kind == "lines" else Sqlite(path, sync=False).conversation("ann")

async def main():
    for number in range(int(begin), int(begin) + 100_000):
        await session.append([UserMessage(f"{number} " + "x" * 2000), UserMessage(f"{number} b")])
        os.write(1, f"{number}\\n".encode())

anyio.run(main)
"""


@pytest.mark.parametrize("kind", ["table", "lines"])
def test_what_a_killed_writer_was_told_is_kept(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "chats"
    session = JsonLines(path) if kind == "lines" else Sqlite(path).conversation("ann")
    told = 0
    for round_ in range(4):
        with program(KILLED, kind, path, told) as writer:
            assert writer.stdout
            for _ in range(5 + round_ * 3):
                told = int(writer.stdout.readline()) + 1
            writer.kill()
            for line in writer.stdout.read().splitlines():
                told = int(line) + 1
        texts = [str(each.to_dict()["content"]) for each in anyio.run(session.load).messages]
        # All that it was told, in order, and at most what it was about to be told.
        numbers = [int(text.split()[0]) for text in texts]
        assert numbers[: 2 * told] == [number for number in range(told) for _ in "ab"]
        assert numbers[2 * told :] in ([], [told, told]) or (kind == "lines" and numbers[2 * told :] == [told])
        told = len(numbers) // 2
        if len(numbers) % 2:  # the writer goes on behind half of what it was about to be told
            anyio.run(session.append, [UserMessage(f"{told} b")])
            told += 1
