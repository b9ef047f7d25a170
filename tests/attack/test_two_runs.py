"""Two runs at once on one conversation: a double click, a retry of a gateway, two workers with the same message.

Each pair has the same calls, with the same ids. However the two meet, what must happen once happens once, and the
conversation knows how it ended. The long form: `ATTACK=200 pytest tests/attack/test_two_runs.py`.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from threading import Barrier, Thread
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from agentkit import Agent, JsonLines, Memory, Result, Session, Sqlite, ToolMessage, approve, tool
from agentkit.core.chat import ChatRequest
from agentkit.core.messages import AssistantMessage
from tests.programs import PATIENCE, started
from tests.scripted import Scripted, called, said

MANY = max(4, int(os.environ.get("ATTACK", "20")) // 5)  # pairs for each store and way to meet
ROOT = Path(__file__).parents[2]
KEYED, PLAIN = ("pay", {"invoice": 1}), ("send", {"mail": "a"})


def sessions(folder: Path, kind: str) -> Callable[[int], Session]:
    def make(number: int) -> Session:
        if kind == "memory":
            return Memory()
        if kind == "lines":
            return JsonLines(folder / f"{number}.jsonl", sync=False)
        return Sqlite(folder / "chats.db", sync=False).conversation(str(number))

    return make


class Bank:
    """Tools with effects, and agents that use them, which wait where they are told to."""

    def __init__(self, random: Random) -> None:
        self.paid: list[object] = []
        self._random = random

        async def act(effect: object) -> str:
            self.paid.append(effect)
            await self.pause()
            return f"done {effect}"

        @tool(effect="once", key="invoice")
        async def pay(invoice: int) -> str:
            return await act(invoice)

        @tool(effect="once")
        async def send(mail: str) -> str:
            return await act(mail)

        @tool(approval=True)
        async def delete(row: int) -> str:
            return await act(row)

        self.tools: list[Callable[..., object]] = [pay, send, delete]

    async def pause(self) -> None:
        for _ in range(self._random.randrange(8)):
            await checkpoint()

    def agent(
        self, *replies: AssistantMessage, asked: anyio.Event | None = None, go: anyio.Event | None = None
    ) -> Agent:
        async def reply(request: ChatRequest) -> AssistantMessage:
            if asked is not None and go is not None:
                asked.set()
                await go.wait()
            await self.pause()
            turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
            return replies[min(turn, len(replies) - 1)]

        return Agent(Scripted(reply), tools=self.tools)


def answers(result: Result[Any]) -> list[str]:
    return [message.outcome for message in result.messages if isinstance(message, ToolMessage)]


@asynccontextmanager
async def both(*runs: Any) -> AsyncGenerator[list[Result[Any]]]:
    results: list[Result[Any]] = []

    async def go(run: Any) -> None:
        results.append(await run())

    async with anyio.create_task_group() as group:
        for run in runs:
            group.start_soon(go, run)
    yield results


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["memory", "lines", "table"])
@pytest.mark.parametrize("calls", [(KEYED,), (PLAIN,), (KEYED, PLAIN)])
async def test_two_runs_at_once(kind: str, calls: Any, tmp_path: Path) -> None:
    make = sessions(tmp_path, kind)
    for number in range(MANY):
        bank = Bank(Random(number))
        run = [bank.agent(called(*calls), said("done")).run for _ in "ab"]
        session = make(number)
        async with both(*[partial(one, "Go.", session=session) for one in run]) as results:
            assert sorted(map(str, bank.paid)) == sorted(str(*call[1].values()) for call in calls), f"pair {number}"
            assert len(results) == 2
        kept = await session.load()
        assert (kept.started, [answer.outcome for _, answer in kept.ended]) == ((), ["ok"] * len(calls))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["memory", "lines", "table"])
@pytest.mark.parametrize("calls", [(KEYED,), (PLAIN,), (KEYED, PLAIN)])
async def test_a_run_that_began_before_the_other_ended(kind: str, calls: Any, tmp_path: Path) -> None:
    """It read the conversation when nothing was paid, and pays when everything is."""
    make = sessions(tmp_path, kind)
    for number in range(MANY):
        bank, begun, ended = Bank(Random(number)), anyio.Event(), anyio.Event()
        session, other = make(number), make(number)
        if kind == "memory":
            other = session

        async def first(
            bank: Bank = bank, begun: anyio.Event = begun, ended: anyio.Event = ended, session: Session = session
        ) -> Result[Any]:
            await begun.wait()  # the other one has read the conversation
            result = await bank.agent(called(*calls), said("done")).run("Go.", session=session)
            ended.set()
            return result

        second = bank.agent(called(*calls), said("done"), asked=begun, go=ended).run
        async with both(partial(second, "Go.", session=other), first) as results:
            assert sorted(map(str, bank.paid)) == sorted(str(*call[1].values()) for call in calls), f"pair {number}"
            texts = [message.content for message in results[1].messages if isinstance(message, ToolMessage)]
            assert all(text.startswith("Done before") for text in texts)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["memory", "lines", "table"])
@pytest.mark.parametrize("call", [KEYED, PLAIN, ("delete", {"row": 1})])
async def test_a_double_click_on_approve(kind: str, call: Any, tmp_path: Path) -> None:
    """Also of a call whose process died, which someone allows to run again."""
    make = sessions(tmp_path, kind)
    for number in range(MANY):
        bank, session = Bank(Random(number)), make(number)
        paused = await bank.agent(called(("delete", {"row": 1})), said("done")).run("Go.", session=session)
        decisions = [approve(call) for call in paused.pending]
        click = [partial(bank.agent(said("done")).resume, session, decisions) for _ in "ab"]
        async with both(*click) as results:
            assert bank.paid == [1], f"pair {number}"
            assert sorted(answers(result)[0] for result in results) == ["ok", "refused"]


@pytest.mark.parametrize("kind", ["memory", "lines", "table"])
def test_two_threads(kind: str, tmp_path: Path) -> None:
    make = sessions(tmp_path, kind)
    for number in range(MANY // 2):
        bank, session, barrier = Bank(Random(number)), make(number), Barrier(2)

        def run(bank: Bank = bank, session: Session = session, barrier: Barrier = barrier) -> None:
            barrier.wait(PATIENCE)
            bank.agent(called(KEYED, PLAIN), said("done")).run_sync("Go.", session=session)

        threads = [Thread(target=run) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, bank.paid)) == ["1", "a"], f"pair {number}"


PROGRAM = """
import os, sys, anyio
from agentkit import Agent, JsonLines, Sqlite, UserMessage, tool
from tests.scripted import Scripted, called, said

kind, folder, many = sys.argv[1:]
calls = called(("pay", {"invoice": 1}), ("send", {"mail": "a"}))

def act(effect):
    file = os.open(f"{folder}/effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{effect}\\n".encode())
    os.close(file)
    return "done"

async def main():
    for number in range(int(many)):
        @tool(effect="once", key="invoice")
        def pay(invoice: int):
            return act(f"{number} pay")
        @tool(effect="once", on_interrupted="done")
        def send(mail: str):
            return act(f"{number} send")
        session = JsonLines(f"{folder}/{number}", sync=False)
        if kind == "table":
            session = Sqlite(f"{folder}/chats", sync=False).conversation(str(number))
        print(number, flush=True)
        if sys.stdin.readline() == "write\\n":
            await session.append([UserMessage("Go."), calls])
            print("written", flush=True)
            sys.stdin.readline()
        message = number % 2 == 0
        replies = (calls, said("done")) if message else (said("done"),)
        await Agent(Scripted(*replies), tools=[pay, send]).run("Go on." if message else None, session=session)

anyio.run(main)
"""


@pytest.mark.parametrize("kind", ["lines", "table"])
def test_two_processes(kind: str, tmp_path: Path) -> None:
    """They resume a conversation with open calls, or get a message each: then the mail may be another one each time."""
    command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path), str(MANY)]

    def tell(program: "subprocess.Popen[str]", line: str) -> None:
        assert program.stdin is not None
        program.stdin.write(f"{line}\n")
        program.stdin.flush()

    def hear(program: "subprocess.Popen[str]") -> str:
        assert program.stdout is not None
        return program.stdout.readline().strip()

    with ExitStack() as stack:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        programs = [stack.enter_context(started(command, cwd=ROOT, **pipes)) for _ in "ab"]
        for number in range(MANY):
            assert [hear(program) for program in programs] == [str(number)] * 2
            if number % 2:
                tell(programs[0], "write")
                assert hear(programs[0]) == "written"
            for program in programs:
                tell(program, "go")
        assert [program.wait(PATIENCE) for program in programs] == [0, 0]
    effects = Counter((tmp_path / "effects").read_text().splitlines())
    for number in range(MANY):
        assert effects[f"{number} pay"] == 1
        assert effects[f"{number} send"] in ((1,) if number % 2 else (1, 2))
