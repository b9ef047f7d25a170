"""A database that is away: at the first use, and under load.

    python benchmarks/durable_outage.py

A worker and a client are started while Postgres is stopped. Once it runs, 100 runs are submitted, and it is stopped and
started again three times meanwhile. This prints what the worker logged and how many runs got their answer. Postgres is
started on loopback, in a folder that is thrown away; as root, by the user `postgres`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from agentkit import Agent, AssistantMessage, ChatRequest, ChatResponse, ToolCall, tool
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.durable import Runs, work

RUNS, OUTAGES, AWAY = 100, 3, 8.0


class Model:
    """Calls the tool three times, then answers."""

    name = "model"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:  # noqa: ARG002 (a model's signature)
        await anyio.sleep(0.1)
        turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
        call = ToolCall(f"c{turn}", "note", f'{{"turn": {turn}}}')
        message = AssistantMessage(tool_calls=(call,)) if turn < 3 else AssistantMessage("done")  # noqa: PLR2004 (three calls)
        return ChatResponse((Choice(message, "stop"),))


@tool
async def note(turn: int) -> str:
    """Note a turn."""
    await anyio.sleep(0.05)
    return f"noted {turn}"


agent = Agent(Model(), tools=[note], name="noter")


class Postgres:
    """A server that is started and stopped."""

    def __init__(self, folder: Path) -> None:
        places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        self._path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", "data", "-U", "agentkit", "--auth=trust", "--no-instructions")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c max_connections=200"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        found = shutil.which(program, path=self._path)
        if found is None:
            sys.exit(f"{program} was not found: apt-get install postgresql")
        subprocess.run([found, *words], check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self._folder)  # noqa: S603 (Postgres's own)


async def client(url: str, postgres: Postgres) -> None:
    runs, answers = Runs(url), Counter[str]()

    async def one() -> None:
        result = await (await runs.submit(agent, "Note three turns.")).result()
        answers[result.output] += 1

    async with anyio.create_task_group() as group:
        for _ in range(RUNS):
            group.start_soon(one)
        await anyio.sleep(AWAY)
        postgres.start()
        for _ in range(OUTAGES):
            await anyio.sleep(AWAY)
            postgres.stop()
            await anyio.sleep(AWAY)
            postgres.start()
    print(f"runs: {RUNS}, answers: {dict(answers)}")
    runs.close()


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="durable-outage-"))
    postgres = Postgres(folder)
    url = f"postgresql://agentkit@127.0.0.1:{postgres.port}/postgres"
    began = time.monotonic()
    command = [sys.executable, __file__, "worker", url]
    try:
        log = folder / "worker.log"
        with log.open("w") as logged, subprocess.Popen(command, stderr=logged) as worker:  # noqa: S603 (this program)
            try:
                anyio.run(client, url, postgres)
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(timeout=60)
        lines = log.read_text().splitlines()
        print(
            f"{time.monotonic() - began:.0f} s; the worker ended with {worker.returncode} and logged {len(lines)} lines"
        )
        print(*lines[:20], sep="\n")
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(Runs(sys.argv[2]), agent, grace=5)
    else:
        main()
