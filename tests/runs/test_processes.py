import contextlib
import gc
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe, process
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, NoReturn, cast

import anyio
import anyio.lowlevel
import pytest
from pydantic import AfterValidator

from agentkit import Agent, ImagePart, ToolFinished, ToolStarted, tool
from agentkit.core.errors import ToolDefinitionError, ToolError
from agentkit.runs import processes as module
from agentkit.runs.processes import Failure, Worker, answer_to, kill_all, read_answer, serve, worker_process
from agentkit.tools.results import to_tool_result
from tests.programs import PATIENCE, started
from tests.runs.test_tool_calls import NOTHING, answers_of
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio
one_backend = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # each process takes a second to start


@dataclass
class Item:
    name: str
    price: float


class Wrong(Exception):
    pass


class Awkward(Exception):
    """It cannot be made again from what it keeps."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def locked(value: int) -> Any:
    return threading.Lock()


@tool(isolate="process")
def double(number: int) -> int:
    return number * 2


@tool(isolate="process")
def bill(items: list[Item]) -> dict[str, object]:
    return {"first": items[0], "total": sum(item.price for item in items)}


@tool(isolate="process")
def photo() -> list[object]:
    return ["a cat", ImagePart("https://a.b/cat.png")]


@tool(isolate="process")
def where() -> int:
    return os.getpid()


RAISES: dict[str, Callable[[], object]] = {
    "Wrong: no such order": lambda: raise_(Wrong("no such order")),
    "Awkward: 1 and 2": lambda: raise_(Awkward(1, 2)),
    "Here: here only": lambda: raise_(type("Here", (Exception,), {})("here only")),
    "Mute: <Mute that cannot be shown>": lambda: raise_(Mute()),
    "Frozen: as it is": lambda: raise_(Frozen("as it is")),
    "KeyboardInterrupt": lambda: raise_(KeyboardInterrupt()),
    "ask again on Monday": lambda: raise_(ToolError("ask again on Monday")),
    "SystemExit: 3": lambda: sys.exit(3),
    "the process that ran the tool died (exit code 7)": lambda: os._exit(7),
    "the process that ran the tool died (exit code -9)": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def raise_(error: BaseException) -> NoReturn:
    raise error


@tool(isolate="process")
def fails(text: str) -> object:
    return RAISES[text]()


@tool(isolate="process")
def gives_a_lock() -> object:
    return threading.Lock()


@tool(isolate="process")
def takes_a_lock(lock: Annotated[int, AfterValidator(locked)]) -> object:
    return lock


@tool(isolate="process")
def speaks() -> str:
    """Writes and reads where a process with a pipe for its answers must not be disturbed by it."""
    done = subprocess.run(["/bin/sh", "-c", "echo; cat"], check=True)
    return f"ended with {done.returncode}"


@tool(isolate="process")
def spins(path: str) -> NoReturn:
    with Path(path).open("w") as told:
        told.write(f"{os.getpid()}\n")
        told.flush()
        while True:
            pass


@tool(isolate="process", timeout=1)
def starts_another(path: str) -> None:
    with Path(path).open("w") as told:
        told.write("0\n")
        told.flush()
        subprocess.run(["/bin/sleep", "120"], stdout=told, check=True)


@dataclass
class Shop:
    name: str

    @tool(isolate="process")
    def sell(self, what: str) -> str:
        self.name += "!"
        return f"{self.name} sells {what}"


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class ToldPipe:
    """A named pipe: what a process writes there first, and when all who hold it are gone."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self.said = anyio.Event()
        self.line = ""

    async def read(self) -> None:
        with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:  # noqa: ASYNC230, PTH123 (no thread, which could not be cancelled)
            await anyio.wait_readable(file)
            self.line = file.read(100).decode()
            self.said.set()
            while file.read(100) != b"":
                await anyio.wait_readable(file)

    @property
    def pid(self) -> int:
        return int(self.line)


@pytest.fixture
def pipe(tmp_path: Path) -> ToldPipe:
    return ToldPipe(tmp_path / "pipe")


@one_backend
@pytest.mark.parametrize(
    ("function", "arguments", "answer"),
    [
        (double, {"number": 4}, ("ok", "8")),
        (bill, {"items": [{"name": "pen", "price": 1.5}]}, ("ok", '{"first":{"name":"pen","price":1.5},"total":1.5}')),
        (photo, NOTHING, ("ok", "a cat")),
        (speaks, NOTHING, ("ok", "ended with 0")),
        *[(fails, {"text": text}, ("error", text)) for text in RAISES],
    ],
)
async def test_what_comes_of_a_call(function: Any, arguments: Any, answer: tuple[str, str]) -> None:
    # The second is not disturbed by the first.
    answers, _ = await answers_of((function.__name__, arguments), tools=[function])
    assert answers == [answer]
    assert (await answers_of(("double", {"number": 1}), tools=[double]))[0] == [("ok", "2")]


@one_backend
async def test_what_cannot_be_sent_is_told() -> None:
    answers, events = await answers_of(
        ("takes_a_lock", {"lock": 1}), ("gives_a_lock", NOTHING), tools=[takes_a_lock, gives_a_lock]
    )
    assert answers[0][0] == "error"
    assert answers[0][1].startswith("TypeError")
    # A result is made into text there, so anything may be one.
    assert answers[1][0] == "ok"
    assert "lock" in answers[1][1]
    errors = [event.error for event in events if isinstance(event, ToolFinished)]
    assert any(isinstance(error, TypeError) for error in errors)


@one_backend
async def test_an_error_is_what_it_was_and_says_where() -> None:
    _, events = await answers_of(("fails", {"text": "Wrong: no such order"}), tools=[fails])
    (error,) = [event.error for event in events if isinstance(event, ToolFinished)]
    assert type(error) is Wrong
    assert "test_processes.py" in error.__notes__[0]
    calls = [("fails", {"text": text}) for text in ("Here: here only", "Wrong: no such order")]
    hidden, _ = await answers_of(*calls, tools=[fails], errors="hide")
    assert all(text.startswith("The tool failed (incident ") for _, text in hidden)


@one_backend
async def test_a_process_is_kept_for_the_next_call_and_replaced_when_it_died() -> None:
    first, _ = await answers_of(*[("where", NOTHING)] * 6, tools=[where], max_repeats=None)
    assert {outcome for outcome, _ in first} == {"ok"}
    assert len({*first}) <= (os.cpu_count() or 2)
    assert ("ok", str(os.getpid())) not in first
    ((outcome, pid),), _ = await answers_of(("where", NOTHING), tools=[where])
    assert (outcome, pid) in first
    kill_all()
    ((outcome, other),), _ = await answers_of(("where", NOTHING), tools=[where])
    assert (outcome, other != pid) == ("ok", True)


@one_backend
async def test_a_method_takes_its_object_along() -> None:
    shop = Shop("Ann")
    for _ in range(2):
        answers, _ = await answers_of(("sell", {"what": "pens"}), tools=[shop.sell])
        assert answers == [("ok", "Ann! sells pens")]
    assert shop.name == "Ann"


async def test_what_it_started_is_killed_too(pipe: ToldPipe) -> None:
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(pipe.read)  # ends when no one holds the pipe any more
            answers, _ = await answers_of(("starts_another", {"path": pipe.path}), tools=[starts_another])
            assert answers == [("error", "starts_another did not finish in 1 s")]


async def test_it_is_killed_when_the_run_is_cancelled(pipe: ToldPipe) -> None:
    agent = Agent(Scripted(called(("spins", {"path": pipe.path})), said("x")), tools=[spins])
    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as running:
            group.start_soon(pipe.read)
            running.start_soon(agent.run, "go")
            await pipe.said.wait()
            assert not is_gone(pipe.pid)
            running.cancel_scope.cancel()
        assert is_gone(pipe.pid)


async def test_it_is_killed_when_it_is_cancelled_before_it_could_begin() -> None:
    kill_all()
    assert not module._workers
    async with anyio.create_task_group() as group:
        group.start_soon(partial(answers_of, ("double", {"number": 1}), tools=[double]))
        while not module._workers:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert not module._workers


@one_backend
async def test_that_there_can_be_no_more_processes_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: object) -> None:
        raise OSError("no more processes")

    kill_all()
    monkeypatch.setattr(process.BaseProcess, "start", start)
    answers, events = await answers_of(("double", {"number": 1}), tools=[double])
    assert answers == [("error", "OSError: no more processes")]
    assert [type(event) for event in events].count(ToolStarted) == 1


@one_backend
async def test_one_that_belongs_to_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a fork, where both would use one pipe."""
    kill_all()
    ((_, pid),), _ = await answers_of(("where", NOTHING), tools=[where])
    (worker,) = module._idle
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_owner", 0)
        assert not worker.usable
        ((_, other),), _ = await answers_of(("where", NOTHING), tools=[where])
    assert other != pid
    assert not is_gone(int(pid))
    kill_all()
    assert not module._workers


@one_backend
async def test_an_answer_in_a_process_that_never_began_says_why() -> None:
    async with worker_process(double) as worker:
        assert isinstance(worker, Worker)
        worker._begun = False
        with pytest.raises(ToolError, match=r"\(exit code 7\) before it could begin.*if __name__ =="):
            await worker.call(os._exit, (7,), {}, str)


SCRIPT = """
import os
from agentkit import Agent, tool
from tests.runs.test_tool_calls import NOTHING, answers_of
from tests.scripted import Scripted, called, said
@tool(isolate="process")
def where() -> int:
    return os.getpid()
if __name__ == "__main__":
    model = Scripted(called(("where", {})), said("done"))
    print(Agent(model, tools=[where]).run_sync("go").messages[2].content)
"""


def test_a_script(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, env=environment, check=True
    )
    assert is_gone(int(done.stdout))  # it does not outlive the script


async def later() -> int:
    await anyio.lowlevel.checkpoint()
    return 1


def values() -> Iterator[int]:
    yield 1


async def values_async() -> AsyncIterator[int]:
    yield 1


def nested() -> Callable[[], int]:
    def inner() -> int:
        return 1

    return inner


@pytest.mark.parametrize("function", [later, values, values_async, nested(), lambda: 1])
def test_what_no_process_could_find_or_run_is_refused(function: Any) -> None:
    with pytest.raises(ToolDefinitionError, match='isolate="process"'):
        tool(isolate="process", name="it")(function)


TOKEN = "0123456789abcdef"


def test_a_request_is_answered() -> None:
    def answer(*request: Any) -> Any:
        return read_answer(answer_to(TOKEN.encode() + pickle.dumps(request)), TOKEN)

    assert answer(max, (1, 2), {}, str) == "2"
    image = ImagePart("data:,1")
    assert answer(list, ([image],), {}, to_tool_result) == to_tool_result([image])
    assert answer(sorted, ([1, 2],), {"reverse": True}, str) == "[2, 1]"
    failed = answer(double, ("x", "y"), {}, str)
    assert isinstance(failed, Failure)
    assert (failed.name, type(failed.error())) == ("TypeError", TypeError)
    assert isinstance(read_answer(answer_to(TOKEN.encode() + b"nonsense"), TOKEN), Failure)
    for how, kind, text in [
        ("SystemExit: 3", SystemExit, "3"),
        ("KeyboardInterrupt", Exception, ""),
        ("Here: here only", Exception, "here only"),
        ("Frozen: as it is", Frozen, "as it is"),
    ]:
        error = answer(fails, (how,), {}, str).error()
        assert (isinstance(error, kind), str(error)) == (True, text)
    assert answer(fails, ("Mute: <Mute that cannot be shown>",), {}, str).text == ""
    # An error whose result cannot be sent is one too.
    assert answer(threading.Lock, (), {}, cast("Any", id)) > 0
    assert "a value of type lock" in answer(threading.Lock, (), {}, locked).text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONGEST", 100)
        assert "answers with 100 at most" in answer(double, ("x" * 60,), {}, str).text


class Told(Exception):
    """One with fields."""

    def __init__(self, code: int, what: object) -> None:
        super().__init__(f"code {code}")
        self.code, self.what = code, what


class Detailed(Exception):
    def __str__(self) -> str:
        return f"{self.args[0]} and more, as of {id(self)}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Told(3, [1]), Told),
        (ToolError("no"), ToolError),
        (KeyError("a"), KeyError),
        (FileNotFoundError(2, "No such file", "a"), FileNotFoundError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), None),
        (ExceptionGroup("several", [ValueError()]), None),
        (Told(4, object()), Told),
        (ValueError(object()), None),
        (Detailed("this"), None),
    ],
)
def test_an_error_is_made_again_without_running_anything_of_it(error: Exception, kind: type[Exception] | None) -> None:
    def fail() -> NoReturn:
        raise error

    call: tuple[object, ...] = (fail, (), dict[str, object](), str)

    def loads(_: bytes) -> tuple[object, ...]:
        return call

    with pytest.MonkeyPatch.context() as patch:  # what it says is called, in this process
        patch.setattr(pickle, "loads", loads)
        failure = read_answer(answer_to(TOKEN.encode()), TOKEN)
    assert isinstance(failure, Failure)
    made = failure.error()
    assert (str(made), type(made).__name__) == (failure.text, type(error).__name__)
    assert type(made) is kind or kind is None
    if isinstance(error, Told):
        assert made.__dict__.get("code") == error.code
        assert made.__dict__.get("what") == ([1] if error.code == 3 else None)


HOSTILE = [b"", b"[]", b"\xff", b"[" * 100_000, b'{"token": "other", "value": 1}', pickle.dumps((print, ("x",)))]


@pytest.mark.parametrize("answer", [*HOSTILE, b'{"token": "0123456789abcdef", "failure": {}}'])
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_answer(answer, TOKEN)


def writes_first(data: bytes, *, then: str = "") -> str:
    """Write to the pipe of the process, which no tool has a reason to do."""
    own_connection().send_bytes(data)
    return then


def own_connection() -> "Connection[Any, Any]":
    """Find the pipe of the process that this runs in."""
    objects: list[object] = gc.get_objects()
    connections: list[Any] = [found for found in objects if isinstance(found, Connection)]
    (connection,) = connections
    return cast("Connection[Any, Any]", connection)


@one_backend
async def test_what_a_tool_writes_to_the_pipe_is_neither_run_nor_the_answer_to_another_call(tmp_path: Path) -> None:
    harm = tmp_path / "harm"

    class Harm:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (harm,)

    async with worker_process(double) as worker:
        assert isinstance(worker, Worker)
        with pytest.raises(ToolError, match="something else than its answer"):
            await worker.call(writes_first, (pickle.dumps(Harm()),), {}, str)
        assert not worker.usable
    assert not harm.exists()


@one_backend
async def test_a_process_with_more_to_say_is_not_used_again() -> None:
    async with worker_process(double) as worker:
        assert isinstance(worker, Worker)
        assert await worker.call(answers_twice, (), {}, str) == "once"
        while worker._process.is_alive() and not worker._connection.poll():
            await anyio.lowlevel.checkpoint()
        assert not worker.usable


def answers_twice() -> str:
    def again() -> None:
        own_connection().send_bytes(b'{"token": "", "value": "twice"}')

    threading.Timer(0.2, again).start()
    return "once"


SPINS = """
import sys
from agentkit import Agent, tool
from tests.runs.test_processes import spins_in_c
from tests.scripted import Scripted, called
if __name__ == "__main__":
    Agent(Scripted(called(("spins_in_c", {"path": sys.argv[1]}))), tools=[spins_in_c]).run_sync("go")
"""


@tool(isolate="process")
def spins_in_c(path: str) -> None:
    with Path(path).open("w") as told:
        told.write(f"{os.getpid()}\n")
        told.flush()
        re.match(r"(a+)+$", "a" * 80 + "b")


@one_backend
async def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path, pipe: ToldPipe) -> None:
    script = tmp_path / "script.py"
    script.write_text(SPINS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with anyio.fail_after(PATIENCE):
        with started([sys.executable, str(script), pipe.path], env=environment) as program:
            async with anyio.create_task_group() as group:
                group.start_soon(pipe.read)  # ends when no one holds the pipe any more
                await pipe.said.wait()
                program.kill()


def test_how_a_process_learns_that_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    ended = threading.Event()

    def told(*what: object) -> int:
        asked.append(what)
        return 0

    def end(code: int) -> None:
        asked.append((code,))
        ended.set()

    names = dict(zip(("F_SETOWN", "F_SETSIG", "F_SETFL", "F_GETFL"), "abcd", strict=True))

    def answer(value: object) -> Callable[[object], object]:
        return lambda _: value

    monkeypatch.setattr(module, "import_module", answer(SimpleNamespace(fcntl=told, **names)))
    monkeypatch.setattr(os, "getpgid", answer(os.getpid()))
    monkeypatch.setattr(os, "killpg", told)
    monkeypatch.setattr(os, "_exit", end)
    ours, theirs = os.pipe()
    module._end_with(ours)
    assert asked == [(ours, "a", os.getpid()), (ours, "b", signal.SIGKILL), (ours, "d"), (ours, "c", os.O_ASYNC)]
    os.close(theirs)
    assert ended.wait(PATIENCE)
    assert asked[4:] == [(0, signal.SIGKILL), (1,)]
    os.close(ours)
    # Where there is neither a signal nor a session, only the process itself ends.
    ended.clear()
    asked.clear()
    monkeypatch.setattr(module, "import_module", told)
    monkeypatch.setattr(os, "getpgid", answer(0))
    ours, theirs = os.pipe()
    os.close(theirs)
    module._end_with(ours)
    assert ended.wait(PATIENCE)
    assert asked == [("fcntl",), (1,)]
    os.close(ours)


@pytest.mark.parametrize("sessions", [True, False])
def test_requests_are_answered_until_the_other_side_is_gone(monkeypatch: pytest.MonkeyPatch, *, sessions: bool) -> None:
    made, ended = list[int](), list[int]()
    if not sessions:  # as in a process that another one started
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=5))
    monkeypatch.setattr(module, "_end_with", ended.append)
    if sessions:
        monkeypatch.setattr(os, "setsid", lambda: made.append(1))
    else:
        monkeypatch.delattr(os, "setsid")
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs,))
    thread.start()
    with ours:
        for number in range(3):
            ours.send_bytes(TOKEN.encode() + pickle.dumps((double, (number,), {}, str)))
            assert read_answer(ours.recv_bytes(), TOKEN) == str(number * 2)
    thread.join(30)
    assert ended == ([] if sessions else [5])
    assert not thread.is_alive()
    assert made == ([1] if sessions else [])
    with contextlib.suppress(OSError):
        theirs.close()
