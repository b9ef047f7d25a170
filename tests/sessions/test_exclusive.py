import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest

from agentkit import Agent, Exclusive, JsonLines, Memory, Session, SessionBusy, Sqlite, UserMessage
from agentkit.core.chat import ChatRequest
from agentkit.core.errors import ConfigurationError, SessionError
from agentkit.core.messages import AssistantMessage
from agentkit.core.session import Entry, HeldSession, StoredConversation
from tests.programs import PATIENCE, started
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio

HOLDER = """
import sys, anyio
from agentkit import Exclusive, JsonLines, Sqlite
async def main():
    path = sys.argv[1]
    store = JsonLines(path) if path.endswith(".jsonl") else Sqlite(path).conversation("ann")
    async with Exclusive(store).held():
        print("held", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


class Own:
    """Somebody's own session, which has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def __eq__(self, other: object) -> bool:
        return self is other

    async def load(self) -> StoredConversation:
        return StoredConversation.of(self.entries)

    async def append(self, entries: Sequence[Entry]) -> None:
        self.entries += entries


def in_memory(_: Path) -> Callable[[], Session]:
    memory = Memory()
    return lambda: memory


def own(_: Path) -> Callable[[], Session]:
    session: Session = Own()
    return lambda: session


def lines(folder: Path) -> Callable[[], Session]:
    return lambda: JsonLines(folder / "ann.jsonl", sync=False)


def table(folder: Path) -> Callable[[], Session]:
    return lambda: Sqlite(folder / "chats.db", sync=False).conversation("ann\0/..")


STORES = [in_memory, own, lines, table]


def locks(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix == ".lock"]


class Slow:
    """An agent whose model waits until it may answer."""

    def __init__(self) -> None:
        self.asked, self.go, self.requests = anyio.Event(), anyio.Event(), 0

        async def reply(_: ChatRequest) -> AssistantMessage:
            self.requests += 1
            self.asked.set()
            await self.go.wait()
            return said("Hello.")

        self.agent = Agent(Scripted(reply))


@pytest.mark.parametrize("store", STORES)
async def test_a_second_run_is_an_error_and_sends_and_stores_nothing(
    store: Callable[[Path], Callable[[], Session]], tmp_path: Path
) -> None:
    make, slow = store(tmp_path), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(slow.agent.run, "First.", session=Exclusive(make())))
        await slow.asked.wait()
        with pytest.raises(SessionBusy):
            await slow.agent.run("Second.", session=Exclusive(make()))
        kept = await Exclusive(make()).load()
        assert (kept.messages, slow.requests) == ((UserMessage("First."),), 1)
        slow.go.set()
    await slow.agent.run("Third.", session=Exclusive(make()))
    assert [message.content for message in (await make().load()).messages] == ["First.", "Hello.", "Third.", "Hello."]
    assert locks(tmp_path) == []


@pytest.mark.parametrize("store", STORES)
async def test_runs_that_wait_come_one_after_the_other(
    store: Callable[[Path], Callable[[], Session]], tmp_path: Path
) -> None:
    make, slow = store(tmp_path), Slow()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(partial(slow.agent.run, "Hi.", session=Exclusive(make(), wait=PATIENCE)))
        await slow.asked.wait()
        await anyio.wait_all_tasks_blocked()
        assert slow.requests == 1
        slow.go.set()
    contents = [message.content for message in (await make().load()).messages]
    assert contents == ["Hi.", "Hello."] * 3  # no prompt stands between another one and its answer


@pytest.mark.parametrize("store", STORES)
async def test_whoever_ends_releases_also_by_a_cancellation_or_an_error(
    store: Callable[[Path], Callable[[], Session]], tmp_path: Path
) -> None:
    session, slow = Exclusive(store(tmp_path)()), Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(slow.agent.run, "First.", session=session))
        await slow.asked.wait()
        waiting = Exclusive(store(tmp_path)(), wait=PATIENCE)
        with anyio.move_on_after(0.05):
            await slow.agent.run("Second.", session=waiting)
        group.cancel_scope.cancel()
    slow.go.set()
    broken = Agent(Scripted(ValueError("broken")))
    with pytest.raises(ValueError, match="broken"):
        await broken.run("Third.", session=session)
    async with slow.agent.stream("Fourth.", session=session) as run:
        async for _ in run:
            pass
    assert run.result.output == "Hello."


@pytest.mark.parametrize("name", ["ann.jsonl", "chats.db"])
async def test_another_process_holds_it_until_it_dies(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    store = JsonLines(path) if name == "ann.jsonl" else Sqlite(path).conversation("ann")
    agent = Agent(Scripted(said("Hello."), said("Hello.")))
    command = [sys.executable, "-c", HOLDER, str(path)]
    with started(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SessionBusy):
            await agent.run("Hi.", session=Exclusive(store))
        holder.kill()
        holder.wait(PATIENCE)
        assert (await agent.run("Hi.", session=Exclusive(store))).output == "Hello."
    assert locks(tmp_path) == []


async def test_a_lock_of_a_file_that_was_removed_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that held the lock removed its file after another run had opened it."""
    store = JsonLines(tmp_path / "ann.jsonl")
    left = [1, 2]

    def removed(fd: int) -> bool:
        if left:
            store.lock_path.unlink()
            if left.pop() == 2:
                store.lock_path.touch()  # and a third one made it anew
        return True

    monkeypatch.setattr("agentkit.sessions.exclusive.lock", removed)
    async with Exclusive(store, wait=PATIENCE).held() as session:
        assert session is store
    assert left == []


async def test_what_cannot_be_locked(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "ann.jsonl", tmp_path / "a\0b"):
        with pytest.raises(SessionError):
            async with Exclusive(JsonLines(path)).held():
                raise AssertionError


async def test_what_it_is() -> None:
    store = Memory()
    session = Exclusive(store, wait=2)
    assert isinstance(session, HeldSession)
    await session.append([UserMessage("Hi.")])
    assert (await store.load()).messages == (UserMessage("Hi."),)
    assert session.name is None
    assert Exclusive(Sqlite("chats.db").conversation("ann")).name == "ann"
    assert repr(Exclusive(JsonLines("ann.jsonl"))) == "Exclusive(JsonLines('ann.jsonl'), wait=0)"
    with pytest.raises(ConfigurationError):
        Exclusive("ann.jsonl")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        Exclusive(store, wait=float("nan"))
