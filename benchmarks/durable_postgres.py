"""Durable runs on Postgres: three workers, one of them killed every second, and nothing lost or done twice.

    python benchmarks/durable_postgres.py                 300 runs of four tools on Postgres, three workers
    python benchmarks/durable_postgres.py --sqlite        the same on an SQLite file, one worker
    python benchmarks/durable_postgres.py --kill-every 0  nobody is killed

Postgres is started on loopback, in a folder that is thrown away; as root, by the user `postgres`. Its programs come
from Debian's package: apt-get install postgresql
"""

import argparse
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import IO, Any, NoReturn, cast
from uuid import uuid4

import anyio
import psycopg

from agentkit import Agent, ChatClient, ToolContext, tool
from agentkit.durable import Runs, Served, work

TOOLS = ("reserve", "charge", "ship", "note")
THINKING, WORKING = 0.1, 0.05  # seconds that the model and each tool take
REPLIES = "SELECT workflow_uuid, count(*) FROM {}operation_outputs WHERE function_name = 'agentkit.reply' GROUP BY 1"
STARTED = "LOG:  database system is ready"


class Effects:
    """A service with side effects: each is a file, which is there or not whoever dies, and a known key has none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def happen(self, tool_name: str, run: str, key: str) -> None:
        """Have an effect once for each key."""
        try:
            os.close(os.open(self.folder / f"{tool_name}~{run}~{key}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os.close(os.open(self.folder / f"known~{run}~{uuid4()}", os.O_CREAT | os.O_EXCL))

    def counted(self) -> dict[str, Counter[str]]:
        """Count the effects of each tool by run; under `known`, the calls that came again with their key."""
        found: dict[str, Counter[str]] = {name: Counter() for name in (*TOOLS, "known")}
        for effect in self.folder.glob("*~*~*"):
            name, run, _ = effect.name.split("~")
            found[name][run] += 1
        return found


def agent_of(url: str, effects: Effects) -> Agent:
    """Make the agent that workers run."""

    @tool(effect="once", on_interrupted="again")
    async def reserve(order: int, ctx: ToolContext[None]) -> str:
        """Reserve the goods."""
        await anyio.sleep(WORKING)
        effects.happen("reserve", ctx.run_id, ctx.key)
        return f"reserved {order}"

    @tool(effect="once", on_interrupted="again")
    def charge(order: int, ctx: ToolContext[None]) -> str:
        """Charge the card."""
        effects.happen("charge", ctx.run_id, ctx.key)
        time.sleep(WORKING)
        return f"charged {order}"

    @tool(effect="once", on_interrupted="done")
    async def ship(order: int, ctx: ToolContext[None]) -> str:
        """Ship the goods."""
        await anyio.sleep(WORKING)
        effects.happen("ship", ctx.run_id, ctx.key)
        return f"shipped {order}"

    @tool
    async def note(order: int, ctx: ToolContext[None]) -> str:
        """Note that it is done."""
        await anyio.sleep(WORKING)
        effects.happen("note", ctx.run_id, str(uuid4()))  # a service that knows no keys
        return f"noted {order}"

    return Agent(ChatClient("m", base_url=url, api_key="k"), tools=[reserve, charge, ship, note], name="shop")


class Endpoint(ThreadingHTTPServer):
    """A model that has each tool called, one after another, and knows what is recorded when it is asked."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, replies: Callable[[str], int]) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.in_vain: list[tuple[str, int]] = []
        self._replies = replies
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error here."""

    def answer(self, request: Any) -> dict[str, object]:
        """Return the reply to a request, and look whether it is recorded already."""
        run = request["messages"][0]["content"].removeprefix("Do order ")
        step = sum(message["role"] == "assistant" for message in request["messages"])
        self.asked[run, step] += 1
        if self._replies(run) > step:
            self.in_vain.append((run, step))
        time.sleep(THINKING)
        if step == len(TOOLS):
            return {"role": "assistant", "content": f"order {run} is done"}
        function = {"name": TOOLS[step], "arguments": json.dumps({"order": int(run)})}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call{step}", "type": "function", "function": function}],
        }


class Handler(BaseHTTPRequestHandler):
    """One request to the model."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        endpoint = self.server
        assert isinstance(endpoint, Endpoint)  # noqa: S101 (the server that this is the handler of)
        message = endpoint.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        body = json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # who asked was killed
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class has it so)
        """Log nothing."""


@contextmanager
def postgres() -> Generator[str]:
    """Run a Postgres server on loopback, in a folder of its own; give its address."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    initdb, server = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    if initdb is None or server is None:
        sys.exit("There is no Postgres here (neither initdb nor postgres was found): apt-get install postgresql")
    user = "postgres" if os.geteuid() == 0 else None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="durable-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        setup = [initdb, "-D", str(folder / "data"), "-U", "agentkit", "--auth=trust", "--no-instructions"]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)  # noqa: S603 (Postgres's own)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "max_connections=200"]
        command = [server, "-D", str(folder / "data"), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, user=user, cwd=folder) as running:  # noqa: S603 (as above)
            log = cast("IO[str]", running.stderr)
            while STARTED not in (line := log.readline()):
                if not line:
                    sys.exit("Postgres did not start")
            threading.Thread(target=log.read, daemon=True).start()
            admin = f"postgresql://agentkit@127.0.0.1:{port}/postgres"
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute("CREATE DATABASE runs")
            try:
                yield admin.removesuffix("postgres") + "runs"
            finally:
                running.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def counting(place: str) -> Callable[[], dict[str, int]]:
    """Return the query that counts the recorded replies of each run."""

    def count() -> dict[str, int]:
        if place.startswith("postgresql"):
            with psycopg.connect(place) as connection:
                return {str(run): int(n) for run, n in connection.execute(REPLIES.format("dbos.")).fetchall()}
        with closing(sqlite3.connect(place, timeout=30)) as connection:
            return dict(connection.execute(REPLIES.format("")).fetchall())

    return count


class Workers:
    """Worker processes, of which one after another is killed and started again.

    They are forked by a process that has imported everything: that alone takes a second and a half of processor time.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, "--nursery", *arguments]
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 (this very script)
        self.deaths = -1
        self.kill_one()

    def kill_one(self) -> None:
        """Kill the oldest worker with SIGKILL, and start another in its place; at first, start all of them."""
        told, said = cast("IO[str]", self._nursery.stdin), cast("IO[str]", self._nursery.stdout)
        told.write("kill\n")
        told.flush()
        said.readline()
        self.deaths += 1

    def stop(self) -> None:
        """End all of them."""
        self._nursery.communicate()


def nursery(number: int, *arguments: str) -> None:
    """Fork workers; kill one and fork another for each line that comes in, and all of them at its end."""
    children: list[int] = []
    for _ in sys.stdin:
        if children:
            victim = children.pop(0)
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
        while len(children) < number:
            child = os.fork()
            if not child:
                be_a_worker(*arguments)
            children.append(child)
        print("done", flush=True)
    for child in children:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def be_a_worker(place: str, url: str, folder: str, at_once: str) -> NoReturn:
    """Take runs until the process is killed or told to end."""
    work(Runs(place), Served(agent_of(url, Effects(Path(folder))), at_once=int(at_once)))
    os._exit(0)


async def demonstrate(place: str, folder: Path, options: argparse.Namespace) -> None:
    """Submit the runs, kill workers until all are done, and print what became of them."""
    runs, effects, count = Runs(place), Effects(folder), counting(place)
    runs.client()
    recorded: dict[str, int] = {}
    lock = threading.Lock()
    seen = [0.0]

    def replies(run: str) -> int:
        with lock:  # a worker takes longer to begin than a look is old
            if time.monotonic() - seen[0] > THINKING / 5:
                recorded.update(count())
                seen[0] = time.monotonic()
        return recorded.get(run, 0)

    endpoint = Endpoint(replies)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    agent = agent_of(url, effects)
    handles = [await runs.submit(agent, f"Do order {at}", id=str(at)) for at in range(options.runs)]
    began = due = time.monotonic()
    workers = Workers(str(options.workers), place, url, str(folder), str(options.at_once))
    try:
        while (done := len(await runs.list("done"))) < options.runs:
            print(f"{done} done after {time.monotonic() - began:.0f} s, {workers.deaths} killed", file=sys.stderr)
            due += options.kill_every or 1
            await anyio.sleep(max(0, due - time.monotonic()))
            if options.kill_every:
                workers.kill_one()
            if failed := await runs.list("failed"):
                sys.exit(f"{len(failed)} runs failed, such as {failed[0]}")
        seconds = time.monotonic() - began
    finally:
        workers.stop()
    outputs = [(await handle.result()).output for handle in handles]
    attempts = [run.attempts for run in await runs.list()]
    print_table(options, place, outputs, attempts, endpoint, count(), effects.counted(), workers.deaths, seconds)
    endpoint.shutdown()
    endpoint.server_close()
    runs.close()


def print_table(  # noqa: PLR0913, PLR0917 (each is a line or two)
    options: argparse.Namespace,
    place: str,
    outputs: list[str],
    attempts: list[int],
    endpoint: Endpoint,
    recorded: dict[str, int],
    effects: dict[str, Counter[str]],
    deaths: int,
    seconds: float,
) -> None:
    """Print the figures."""
    right = sum(output == f"order {at} is done" for at, output in enumerate(outputs))
    again = sum(endpoint.asked.values()) - len(endpoint.asked)
    rows: list[tuple[str, object]] = [
        ("database", "Postgres" if place.startswith("postgresql") else "SQLite"),
        ("worker processes, runs at once in each", f"{options.workers}, {options.at_once}"),
        ("runs submitted", options.runs),
        ("runs that came to the right answer", right),
        ("workers killed (SIGKILL) and started again", deaths),
        ("seconds, runs per second", f"{seconds:.1f}, {options.runs / seconds:.1f}"),
        ("times a run was taken up: median, most", f"{median(attempts):g}, {max(attempts)}"),
        ("requests to the model", sum(endpoint.asked.values())),
        ("replies recorded", sum(recorded.values())),
        ("asked again: who had asked was killed before the reply was recorded", again),
        ("asked again although the reply was recorded", len(endpoint.in_vain)),
    ]
    promises = {
        "reserve": "exactly once",
        "charge": "exactly once",
        "ship": "at most once",
        "note": "at least once",
    }
    for name, promise in promises.items():
        times = Counter(effects[name][str(at)] for at in range(options.runs))
        shown = ", ".join(f"{count} times in {runs} runs" for count, runs in sorted(times.items()))
        rows.append((f"side effect of {name} ({promise})", shown))
    rows.append(("calls that came again with a key that the service knew", effects["known"].total()))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    broken = right < options.runs or endpoint.in_vain
    for name, most, least in (("reserve", 1, 1), ("charge", 1, 1), ("ship", 1, 0), ("note", sys.maxsize, 1)):
        broken = broken or any(not least <= effects[name][str(at)] <= most for at in range(options.runs))
    print("A PROMISE WAS BROKEN" if broken else "every promise was kept")
    if broken:
        sys.exit(1)


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["--nursery"]:
        nursery(int(sys.argv[2]), *sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sqlite", action="store_true", help="an SQLite file and one worker")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--kill-every", type=float, default=None, help="seconds; 0 kills nobody")
    options = parser.parse_args()
    if options.workers is None:
        options.workers = 1 if options.sqlite else 3
    if options.kill_every is None:
        options.kill_every = 3.0 if options.sqlite else 1.0
    with tempfile.TemporaryDirectory(prefix="durable-") as name:
        if options.sqlite:
            anyio.run(demonstrate, str(Path(name, "runs.db")), Path(name), options)
        else:
            with postgres() as url:
                anyio.run(demonstrate, url, Path(name), options)


if __name__ == "__main__":
    main()
