import errno
import fcntl
import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from agentkit.core.errors import SessionError
from agentkit.core.messages import UserMessage
from agentkit.sessions import JsonLines, StoredConversation
from tests.sessions import ENTRIES, KEPT, lines

pytestmark = pytest.mark.anyio


async def test_wherever_a_line_is_cut_the_rest_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    session = JsonLines(path, sync=False)
    await session.append([UserMessage("ä"), UserMessage("{}")])
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    first = whole.index(b"\n", header) + 1
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        if 0 < end < header - 1:  # its end says how many entries there were
            with pytest.raises(SessionError, match=r"line 1 of .* it is cut"):
                await session.load()
            continue
        read = [UserMessage("ä"), UserMessage("{}")][: (end >= first - 1) + (end >= len(whole) - 1)]
        assert (await session.load()).messages == tuple(read)
        await session.append([UserMessage("next")])
        assert (await session.load()).messages == (*read, UserMessage("next"))


@pytest.mark.parametrize("torn", [b"\x00" * 10, b"[1]", b'{"a": ' * 100_000, b"5", b"\xff"])
async def test_whatever_a_crash_leaves_at_the_end_is_taken_away(torn: bytes, tmp_path: Path) -> None:
    session = lines(tmp_path)
    await session.append(ENTRIES)
    with (tmp_path / "chat.jsonl").open("ab") as file:
        file.write(torn)
    assert await session.load() == KEPT
    await session.append(ENTRIES)
    assert await session.load() == StoredConversation.of(ENTRIES * 2)


async def test_a_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"role":"user","content":"a"}\n\n{"role":"us\n{"role":"user","content":"b"}\n')
    with pytest.raises(SessionError, match=r"line 3 of .*chat"):
        await JsonLines(path).load()


async def test_what_no_path_can_have(tmp_path: Path) -> None:
    for name in ("a\0b", "a\ud800b"):
        for attempt in (JsonLines(tmp_path / name).load, partial(JsonLines(tmp_path / name).append, ENTRIES)):
            with pytest.raises(SessionError, match="cannot be read or written"):
                await attempt()


async def test_entries_are_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    await JsonLines(tmp_path / "a").append(ENTRIES)
    assert len(synced) == 1
    await JsonLines(tmp_path / "a", sync=False).append(ENTRIES)
    assert len(synced) == 1


async def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = lines(tmp_path)
    await session.append(ENTRIES)
    before, write = (tmp_path / "chat.jsonl").read_bytes(), os.write

    def write_some(fd: int, data: bytes) -> int:
        return write(fd, data[:7])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_some)
        with pytest.raises(SessionError, match=os.strerror(errno.ENOSPC)):
            await session.append(ENTRIES)
    assert (tmp_path / "chat.jsonl").read_bytes() == before


async def test_a_file_that_another_program_locks(tmp_path: Path) -> None:
    session = JsonLines(tmp_path / "a", patience=0.05)
    await session.append(ENTRIES)
    with (tmp_path / "a").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for attempt in (session.load, partial(session.append, ENTRIES)):
            with pytest.raises(SessionError, match="was locked"):
                await attempt()


async def test_a_lock_that_is_released_in_time(tmp_path: Path) -> None:
    session = lines(tmp_path)
    await session.append(ENTRIES[:1])
    with (tmp_path / "chat.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        async with anyio.create_task_group() as group:
            group.start_soon(session.append, ENTRIES[1:])
            await anyio.sleep(0.05)
            fcntl.flock(file, fcntl.LOCK_UN)
    assert await session.load() == KEPT
