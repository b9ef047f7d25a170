"""Laws that hold for every store."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from agentkit.core.errors import InvalidRequest, SessionError
from agentkit.core.messages import AssistantMessage, UserMessage
from agentkit.sessions import (
    Ended,
    Entry,
    JsonLines,
    Memory,
    Session,
    SharedSession,
    Sqlite,
    Started,
    StoredConversation,
)
from tests.programs import PATIENCE
from tests.sessions import ENTRIES, KEPT, MESSAGES, STARTED, Make, Slow, lines, memory, modes, program, table

EACH = pytest.mark.parametrize("make", [memory, lines, table])
FILES = pytest.mark.parametrize("make", [lines, table])


@pytest.mark.anyio
@EACH
async def test_a_conversation_is_kept(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    assert await session.load() == StoredConversation()
    await session.append(ENTRIES[:3])
    assert await session.load() == StoredConversation(MESSAGES[:2], (STARTED,), size=3)
    await session.append([])
    await session.append(ENTRIES[3:])
    assert await session.load() == KEPT


@pytest.mark.anyio
@EACH
async def test_a_call_is_started_unless_another_run_wrote_about_its_calls(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    assert isinstance(session, SharedSession)
    first, second = Started("a", "pay", "{}", "key", "first"), Started("b", "pay", "{}", "key", "second")
    assert [*await session.start(first, 0)] == []
    assert [*await session.start(second, 0)] == [first]
    assert (await session.load()).started == (first,)
    assert [*await session.start(second, 1)] == []
    ended: list[Entry] = [UserMessage("a"), Ended("b", "key", "second")]
    await session.append(ended)
    again = Started("a", "pay", "{}", "other key", "second")
    assert [*await session.start(again, 2)] == ended  # its own
    assert [*await session.start(first, 2)] == [*ended, again]
    kept = await session.load()
    assert (kept.started, kept.size) == ((first, second, again), 5)


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
    assert [message.to_dict()["content"] for message in anyio.run(session.load).messages] == [
        "asyncio",
        "trio",
        "asyncio",
    ]


@pytest.mark.anyio
@FILES
async def test_the_file_is_for_its_owner_only(make: Make, tmp_path: Path) -> None:
    await make(tmp_path).append(ENTRIES)
    assert set(modes(tmp_path).values()) == {0o600}


def test_what_they_are_is_seen() -> None:
    assert repr(JsonLines("a")) == "JsonLines('a')"
    assert repr(Sqlite("a").conversation("b")) == "Sqlite('a').conversation('b')"
    assert len({Sqlite("a").conversation("b"), Sqlite("a").conversation("b"), Sqlite("a").conversation("c")}) == 2


@pytest.mark.anyio
@FILES
async def test_what_cannot_be_written_adds_nothing(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    await session.append(ENTRIES)
    with pytest.raises(InvalidRequest):
        await session.append([UserMessage("a"), AssistantMessage("a", extra={"a": object()})])
    assert await session.load() == KEPT


@pytest.mark.anyio
async def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "chat"
    for session in (JsonLines(missing), Sqlite(missing).conversation("ann")):
        assert await session.load() == StoredConversation()
        with pytest.raises(SessionError, match="missing/chat"):
            await session.append(ENTRIES)
    for session in (JsonLines(tmp_path), Sqlite(tmp_path).conversation("ann")):
        with pytest.raises(SessionError, match="cannot be read"):
            await session.append(ENTRIES)
        with pytest.raises(SessionError, match="cannot be read"):
            await session.load()


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


@pytest.mark.anyio
async def test_a_memory_starts_one_call_after_the_other() -> None:
    class Slow(Memory):
        async def append(self, entries: Sequence[Entry]) -> None:
            await anyio.sleep(0.01)
            await super().append(entries)

    session, found = Slow(), list[int]()

    async def start(run: str) -> None:
        found.append(len(await session.start(Started("a", "pay", "{}", "key", run), 0)))

    async with anyio.create_task_group() as group:
        for run in "abc":
            group.start_soon(start, run)
    assert sorted(found) == [0, 1, 1]


# Many at once, in threads and processes

THREADS, EACH_WRITES = 12, 20
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

every = [threading.Thread(target=write, args=(number,)) for number in range(int(threads))]
[thread.start() for thread in every]
[thread.join() for thread in every]
"""


@pytest.mark.parametrize("kind", ["table", "lines"])
def test_many_write_at_once_and_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "chats"
    with ExitStack() as stack:
        programs = [
            stack.enter_context(program(WRITER, kind, path, number, THREADS, EACH_WRITES)) for number in range(2)
        ]
        for writer in programs:
            _, printed = writer.communicate(timeout=PATIENCE)
            assert (writer.returncode, printed) == (0, "")
    kept: list[Session] = [JsonLines(path)]
    if kind == "table":
        assert sorted(anyio.run(Sqlite(path).conversations)) == ["chat 0", "chat 1"]
        kept = [Sqlite(path).conversation(f"chat {number}") for number in range(2)]
    texts = [[str(message.to_dict()["content"]) for message in anyio.run(session.load).messages] for session in kept]
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
        texts = [str(message.to_dict()["content"]) for message in anyio.run(session.load).messages]
        # All that it was told, in order, and at most what it was about to be told.
        numbers = [int(text.split()[0]) for text in texts]
        assert numbers[: 2 * told] == [number for number in range(told) for _ in "ab"]
        assert numbers[2 * told :] in ([], [told, told]) or (kind == "lines" and numbers[2 * told :] == [told])
        told = len(numbers) // 2
        if len(numbers) % 2:  # the writer goes on behind half of what it was about to be told
            anyio.run(session.append, [UserMessage(f"{told} b")])
            told += 1
