"""Damaged stores: whatever happens to a file, nothing of it is lost without an error that says where.

Each damage is made to a whole file: bytes that change, vanish, come twice or trade places, lines that do, and an end
that is missing. Then the store is read. It has what was stored, or raises its own error; the batch runs no input again.

The long form: `ATTACK=1500 pytest tests/attack/test_stores.py`.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from shutil import copy

import anyio
import pytest

from agentkit import Journal, JournalError, JsonLines, Sqlite, UserMessage
from agentkit.core.errors import SessionError
from agentkit.core.session import Started
from agentkit.runs.batch.journal import OpenJournal
from agentkit.sessions import Session, StoredConversation
from tests.attack.before.make import write as write_conversation

MANY = int(os.environ.get("ATTACK", "60"))
BEFORE = Path(__file__).parent / "before"
PAGE = 4096


def flipped(data: bytearray, random: Random) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def changed(data: bytearray, random: Random) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def zeroed(data: bytearray, random: Random) -> None:
    begin, end = part(data, random)
    data[begin:end] = bytes(end - begin)


def overwritten(data: bytearray, random: Random) -> None:
    begin, end = part(data, random)
    data[begin:end] = random.randbytes(end - begin)


def removed(data: bytearray, random: Random) -> None:
    begin, end = part(data, random)
    del data[begin:end]


def doubled(data: bytearray, random: Random) -> None:
    begin, end = part(data, random)
    data[end:end] = data[begin:end]


def moved(data: bytearray, random: Random) -> None:
    begin, end = part(data, random)
    moving = data[begin:end]
    del data[begin:end]
    data[(at := random.randrange(len(data))) : at] = moving


def cut(data: bytearray, random: Random) -> None:
    del data[random.randrange(1, len(data)) :]


def without_a_line(data: bytearray, random: Random) -> None:
    lines = data.splitlines(keepends=True)
    del lines[random.randrange(len(lines))]
    data[:] = b"".join(lines)


def with_a_line_twice(data: bytearray, random: Random) -> None:
    lines = data.splitlines(keepends=True)
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    data[:] = b"".join(lines)


def with_lines_in_another_order(data: bytearray, random: Random) -> None:
    lines = data.splitlines(keepends=True)
    random.shuffle(lines)
    data[:] = b"".join(lines)


def part(data: bytearray, random: Random) -> tuple[int, int]:
    begin = random.randrange(len(data))
    return begin, min(len(data), begin + random.choice((1, 4, 30, 200, 600)))


BYTES = (flipped, changed, zeroed, overwritten, removed, doubled, moved, cut)
LINES = (*BYTES, without_a_line, with_a_line_twice, with_lines_in_another_order)


async def fill(session: Session) -> None:
    await write_conversation(session)
    await session.append([UserMessage("And now?"), Started("c9", "pay", "{}", "key 9", "run 9")])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each store, as it is on the disk when everything is closed."""
    folder = tmp_path_factory.mktemp("kept")
    file = Sqlite(folder / "chats.db")
    anyio.run(fill, JsonLines(folder / "chat.jsonl"))
    anyio.run(fill, file.conversation("ann"))
    anyio.run(file.conversation("bob").append, [UserMessage(f"{number} {'x' * 300}") for number in range(40)])
    del file
    journal = OpenJournal(Journal(folder / "batch.jsonl"), {"model": "m"})
    for number in range(8):
        line = {"key": f"row {number}", "output": f"answer {number}", "stop": "answer", "usage": {"requests": 1}}
        anyio.run(journal.add, line)
    journal.close()
    assert not [*folder.glob("*-wal")]
    return folder


def damaged(
    kept: Path, name: str, folder: Path, kinds: tuple[Callable[[bytearray, Random], None], ...], seed: int
) -> bool:
    """Write a damaged copy of a file, and return whether it differs."""
    random = Random(f"{name} {seed}")
    before = (kept / name).read_bytes()
    data = bytearray(before)
    kinds[seed % len(kinds)](data, random)
    (folder / name).write_bytes(data)
    return bytes(data) != before


def known(conversation: StoredConversation) -> tuple[object, ...]:
    return (conversation.messages, conversation.started, conversation.ended)


@pytest.mark.parametrize("name", ["chat.jsonl", "chats.db"])
def test_a_conversation_is_read_whole_or_not_at_all(name: str, kept: Path, tmp_path: Path) -> None:
    def session_in(folder: Path) -> Session:
        return JsonLines(folder / name) if name == "chat.jsonl" else Sqlite(folder / name).conversation("ann")

    whole = anyio.run(session_in(kept).load)
    assert whole.size > 12
    told: list[str] = []

    async def attack() -> None:
        for seed in range(MANY):
            damaged(kept, name, tmp_path, LINES if name == "chat.jsonl" else BYTES, seed)
            for suffix in ("-wal", "-shm"):
                (tmp_path / f"{name}{suffix}").unlink(missing_ok=True)
            try:
                read = await session_in(tmp_path).load()
            except SessionError as error:
                told.append(str(error))
            else:
                assert known(read) == known(whole), f"seed {seed}"

    anyio.run(attack)
    assert len(told) > MANY // 4
    assert all(str(tmp_path / name) in text for text in told)


def test_a_batch_runs_nothing_again(kept: Path, tmp_path: Path) -> None:
    told: list[str] = []
    for seed in range(MANY):
        damaged(kept, "batch.jsonl", tmp_path, LINES, seed)
        try:
            journal = OpenJournal(Journal(tmp_path / "batch.jsonl", failures="keep"), {"model": "m"})
        except JournalError as error:
            told.append(str(error))
            continue
        answers = [(journal.ended(f"row {number}") or {}).get("output") for number in range(8)]
        journal.close()
        assert answers == [f"answer {number}" for number in range(8)], f"seed {seed}"
        assert journal.usage.requests == 8
    assert len(told) > MANY // 2
    assert all(str(tmp_path / "batch.jsonl") in text for text in told)


def test_each_byte_of_a_page_of_the_schema(kept: Path, tmp_path: Path) -> None:
    """The schema has names and SQL, which SQLite quotes in its errors."""
    step = max(1, PAGE // (MANY * 4))
    whole = anyio.run(Sqlite(kept / "chats.db").conversation("ann").load)
    data = (kept / "chats.db").read_bytes()

    async def attack() -> None:
        for at in range(0, PAGE, step):
            (tmp_path / "chats.db").write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            try:
                read = await Sqlite(tmp_path / "chats.db").conversation("ann").load()
            except SessionError:
                continue
            assert known(read) == known(whole), f"at {at}"

    anyio.run(attack)


# Stores from before


def answers(conversation: StoredConversation) -> list[tuple[str, str, str]]:
    return [(started.name, started.arguments, answer.outcome) for started, answer in conversation.ended]


@pytest.mark.parametrize("name", ["chat.jsonl", "chats.db"])
def test_a_conversation_from_before_goes_on(name: str, tmp_path: Path) -> None:
    copy(BEFORE / name, tmp_path)
    session: Session = (
        JsonLines(tmp_path / name) if name == "chat.jsonl" else Sqlite(tmp_path / name).conversation("ann")
    )

    async def go_on(session: Session) -> None:
        read = await session.load()
        assert answers(read) == [
            ("pay", '{"invoice": 1}', "ok"),
            ("pay", '{"invoice": 2}', "error"),
            ("send", '{"mail": "a"}', "ok"),
        ]
        assert [started.key for started in read.started] == ["the key of invoice 3"]
        assert (len(read.messages), read.size) == (7, 11)
        await session.append([UserMessage("Go on.")])
        again = await session.load()
        assert again.messages == (*read.messages, UserMessage("Go on."))
        assert again._replace(messages=read.messages, size=11) == read

    anyio.run(go_on, session)
    # From then on it shows damage, also of what was there before.
    del session
    if name == "chat.jsonl":
        data = (tmp_path / name).read_text()
        (tmp_path / name).write_text(data.replace("paid 1", "paid 7"))
        with pytest.raises(SessionError, match=r"line 12 of .* its checksum"):
            anyio.run(JsonLines(tmp_path / name).load)
        return
    with closing(sqlite3.connect(tmp_path / name)) as connection:
        connection.execute("UPDATE entries SET entry = replace(entry, 'paid 1', 'paid 7')")
        connection.commit()
    with pytest.raises(SessionError, match="its checksum"):
        anyio.run(Sqlite(tmp_path / name).conversation("ann").load)


def test_a_journal_from_before_goes_on(tmp_path: Path) -> None:
    copy(BEFORE / "batch.jsonl", tmp_path)
    for _ in range(2):
        journal = OpenJournal(Journal(tmp_path / "batch.jsonl", changed="accept"), {"model": "another"})
        outcomes = [journal.ended(key) for key in ("6821cbfc8fd5bc4a6f0d5c59", "1173c566f0e3880078f82812")]
        journal.close()
        assert [line and line["output"] for line in outcomes] == ["a", "c"]
        assert journal.usage.requests == 3
