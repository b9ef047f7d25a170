import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import ConfigurationError, Journal, JournalError, Usage
from agentkit.core.checked_lines import without_check
from agentkit.runs.batch.journal import OpenJournal, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


AGENT = {"model": "m", "tools": "none"}
HEAD = '{"batch":1,"agent":{"model":"m","tools":"none"}}\n'
DONE = '{"key":"a","output":"A","stop":"answer","usage":{"requests":1,"prompt_tokens":2}}\n'
FAILED = '{"key":"b","error":{"kind":"RateLimited","text":"slow down"},"usage":{"requests":2}}\n'


def lines_of(path: Path) -> str:
    """What a journal has, without what shows damage."""
    lines = [without_check(line) for line in path.read_bytes().splitlines()]
    return "".join([f"{line.decode()}\n" for line in lines if not line.startswith(b'{"agentkit":')])


def keys(journal: OpenJournal, *names: str) -> list[str]:
    return [name for name in names if journal.has(name)]


async def test_what_is_added_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    async with opened(Journal(path), AGENT) as journal:
        assert (journal.usage, journal.name) == (Usage(), str(path))
        await journal.add(json.loads(DONE))
        await journal.add({"key": "ü", "output": "Ü", "stop": "answer"})
        assert not journal.has("a")  # it is not needed twice in one batch
    assert lines_of(path).startswith(HEAD + DONE + '{"key":"ü"')
    assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o600
    async with opened(Journal(str(path)), AGENT) as journal:
        assert keys(journal, "a", "b", "ü") == ["a", "ü"]
        assert journal.usage == Usage(1, 2)
        assert journal.ended("a") == json.loads(DONE)
        assert journal.ended("a") is None
        await journal.add({"key": "c", "output": "C", "stop": "answer"})
        assert journal.ended("ü") == {"key": "ü", "output": "Ü", "stop": "answer"}


@pytest.mark.parametrize(
    ("line", "ended", "begun"),
    [
        (DONE, "again keep", ""),
        (FAILED, "keep", "again"),
        ('{"key":"b","error":{},"again":true}', "", "again keep"),
        ('{"key":"b","output":"","stop":"paused"}', "", "again keep"),
        ('{"key":"b","started":true}', "", "again keep"),
        ('{"key":"b","started":true}\n{"key":"b","output":"","stop":"answer"}', "again keep", ""),
        ('{"key":"b","output":"","stop":"answer"}\n{"key":"b","started":true}', "", "again keep"),
    ],
)
async def test_what_is_run_again(line: str, ended: str, begun: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_text(HEAD + line.strip() + "\n")
    key = "a" if line == DONE else "b"
    for failures in ("again", "keep"):
        async with opened(Journal(path, failures=failures), AGENT) as journal:
            assert journal.has(key) == (failures in ended)
            assert journal.begun(key) == (failures in begun)


async def test_a_line_of_a_newer_version_may_say_that_it_can_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_text(HEAD + '{"forked":1,"skippable":true}\n' + DONE)
    async with opened(Journal(path), AGENT) as journal:
        assert journal.has("a")


async def test_the_usage_of_earlier_runs(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    usages = [{"requests": 1}, {"requests": 2, "cached_tokens": 0, "cost": 0.5}, {"prompt_tokens": None, "cost": 1}]
    path.write_text(HEAD + "".join([json.dumps({"key": "a", "error": {}, "usage": usage}) + "\n" for usage in usages]))
    async with opened(Journal(path), AGENT) as journal:
        assert journal.usage == Usage(3, None, None, 0, 1.5)


async def test_a_key_with_the_hash_of_another(tmp_path: Path) -> None:
    class Other(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return hash("a")

    path = tmp_path / "batch.jsonl"
    path.write_text(HEAD + DONE)
    async with opened(Journal(path), AGENT) as journal:
        assert journal.ended(Other("b")) is None


async def test_a_line_that_was_cut_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    for cut in range(1, len(DONE)):
        path.write_text(HEAD + FAILED + DONE[:-cut])
        async with opened(Journal(path, sync=False), AGENT) as journal:
            assert journal.has("a") == (cut == 1)  # of that, only the end of the line is missing
            await journal.add(json.loads(DONE))
        assert lines_of(path) == HEAD + FAILED + DONE + (DONE if cut == 1 else "")
    for cut in [*range(1, len(HEAD) - len('{"batch"')), len(HEAD)]:
        path.write_text(HEAD[:-cut])
        async with opened(Journal(path, sync=False), AGENT):
            pass
        assert lines_of(path) == HEAD


async def test_a_number_of_lines_that_no_file_has_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    async with opened(Journal(path), AGENT) as journal:
        await journal.add({"key": "a", "output": "A", "stop": "answer"})
    written = path.read_bytes()
    path.write_bytes(written.replace(b',"check":"2 ', b',"check":"999999999999999999 '))
    with pytest.raises(JournalError, match="it is entry 999999999999999999"):
        async with opened(Journal(path), AGENT):
            raise AssertionError("it was opened")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Dear diary", "line 1"),
        ("Dear diary\n", "line 1"),
        ("[]\n", "line 1"),
        ('{"role":"user","content":"hello"}\n', "no journal of a batch"),
        ('{"batch":2}\n', "that this version knows"),
        (HEAD + "oh\n" + DONE, "line 2"),
        (HEAD + '{"oh":1}\n' + DONE, "line 2"),
        ('{"agentkit":"session","stored":"0000000000 00000000"}\n', "no journal of a batch"),
        ('{"agentkit":"batch","stored":"0000000001 00000000"}\n', "line 2 .* entries 1 to 1 are missing"),
        (HEAD + '{"key":"a","output":"A","stop":"answer","usage":{"cost":"much"}}\n', "line 2"),
        (HEAD + '{"key":"a","output":"A","stop":"answer","usage":5}\n', "line 2"),
    ],
)
async def test_a_file_that_is_no_journal_is_left_alone(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_text(content)
    with pytest.raises(JournalError, match=said):
        async with opened(Journal(path), AGENT):
            pass
    assert path.read_text() == content


async def test_another_agent_is_refused_or_accepted(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_text(HEAD + DONE)
    other = AGENT | {"tools": "some"}
    with pytest.raises(JournalError, match=r"differs in tools\. Nothing was run"):
        async with opened(Journal(path), other):
            pass
    for _ in range(2):
        async with opened(Journal(path, changed="accept"), other) as journal:
            assert journal.has("a")
    assert lines_of(path) == HEAD + DONE + HEAD.replace("none", "some")
    async with opened(Journal(path), other) as journal:
        assert journal.has("a")


async def test_one_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "batch.jsonl")
    async with opened(journal, AGENT):
        with pytest.raises(JournalError, match="is in use by another batch"):
            async with opened(journal, AGENT):
                pass
    async with opened(journal, AGENT):
        pass
    for name, said in (("not/there", "No such file"), ("a\0b", "null byte"), ("a\ud800b", "surrogates")):
        with pytest.raises(JournalError, match=said):
            async with opened(Journal(tmp_path / name), AGENT):
                pass


def full(_fd: int, data: bytes) -> int:
    return len(data) - 1


def broken(_fd: int, _data: bytes) -> int:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(("write", "said"), [(full, "No space left"), (broken, "Input/output error")])
async def test_a_disk_that_is_full(
    write: Callable[[int, bytes], int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "batch.jsonl"
    async with opened(Journal(path), AGENT) as journal:
        with monkeypatch.context() as patched:
            patched.setattr("agentkit.core.files.os.write", write)
            with pytest.raises(JournalError, match=said):
                await journal.add(json.loads(DONE))
        with pytest.raises(JournalError, match=said):  # what is not kept in order is not kept
            await journal.add(json.loads(DONE))
    assert lines_of(path) == HEAD
    path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr("agentkit.core.files.os.write", write)
        with pytest.raises(JournalError, match=said):
            async with opened(Journal(path), AGENT):
                pass


async def test_lines_that_come_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    monkeypatch.setattr("agentkit.core.files.os.fsync", syncs.append)
    async with opened(Journal(tmp_path / "batch.jsonl"), AGENT) as journal:
        syncs.clear()
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(journal.add, {"key": str(number), "output": "", "stop": "answer"})
    assert 1 <= len(syncs) < 10
    async with opened(Journal(tmp_path / "batch.jsonl", sync=False), AGENT) as journal:
        before = len(syncs)
        assert all(journal.has(str(number)) for number in range(100))
        await journal.add({"key": "x", "output": "", "stop": "answer"})
        assert len(syncs) == before


async def test_a_cancellation_comes_after_the_line_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    async with opened(Journal(path), AGENT) as journal:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.add(json.loads(DONE))
            await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
    assert lines_of(path) == HEAD + DONE


@pytest.mark.parametrize("wrong", [{"failures": "never"}, {"changed": "yes"}])
async def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Journal("batch.jsonl", **wrong)
