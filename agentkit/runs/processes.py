"""Tools with `isolate="process"`: functions that run in a process of their own, so that they can be killed.

A process is reused for the next call. It has its own pipe, which nothing that a tool prints or starts can disturb, and
its own session, so that what a tool started is killed with it. It ends when the process that started it is gone, also
in the middle of a call.

The process answers in JSON: reading a pickle would run here what the tool put into it. Each answer repeats the token of
its call. What the tool itself wrote to the pipe has another one, or comes when nobody waits for it: then the process is
killed. Errors are made here, of a class that this process has already loaded.
"""

import json
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from multiprocessing import util
from multiprocessing.connection import Connection, wait
from secrets import token_hex
from threading import Thread
from typing import Any

from anyio import CancelScope, CapacityLimiter, to_thread

from agentkit.core.codec import read, write
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import ToolError
from agentkit.core.json import list_of, object_of
from agentkit.core.parts import ImagePart
from agentkit.tools.results import ToolResult

PROCESSES = Limiter(os.cpu_count() or 2)
"""As many run concurrently as there are processors, in each event loop."""

_SPAWN = multiprocessing.get_context("spawn")
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_NOT_BEGUN = (
    " before it could begin. It imports the main module too, so the code of a script must stand under "
    '`if __name__ == "__main__":`'
)


_LONGEST = 100_000_000  # bytes of an answer
_TOKEN = 16  # characters that begin a request


@dataclass(frozen=True)
class Failure:
    """What was raised in the process: its class, and what of it is plain data."""

    module: str
    name: str
    arguments: object  # a tuple; `None` if they are no plain data
    fields: object
    text: str
    trace: str

    def error(self) -> Exception | SystemExit:
        """Return an exception of the class if it is loaded here and can be made; else one with its name and text."""
        error: Exception | SystemExit | None = None
        with suppress(Exception):
            error = self._of_its_class()
        if error is None:
            error = type(self.name, (Exception,), {})(self.text)
        with suppress(Exception):  # some exceptions allow no notes
            error.add_note(f"In its process:\n{self.trace}")
        return error

    def _of_its_class(self) -> Exception | SystemExit | None:
        """Make it with nothing but what Python's own class does: neither an import nor an `__init__` runs for it."""
        module = "__main__" if self.module == "__mp_main__" else self.module
        kind = vars(sys.modules[module]).get(self.name)
        if not (isinstance(kind, type) and issubclass(kind, Exception | SystemExit)):
            return None
        builtin: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        arguments: Any = self.arguments
        error: Exception | SystemExit = builtin.__new__(kind, *arguments)
        builtin.__init__(error, *arguments)
        error.__dict__.update(object_of(self.fields))
        return error if _text_of(error) == self.text else None


class Worker:
    """A process that calls functions, one at a time. `OSError` says that no more can be started."""

    def __init__(self) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=serve, args=(theirs,), name="agentkit tool")
        self._owner = os.getpid()
        self._free = True
        self._begun = False
        with theirs:
            self._process.start()
        _workers.add(self)

    @property
    def usable(self) -> bool:
        """Whether it can take a call: this process started it, it lives, and it answered every request, and no more."""
        alive = self._owner == os.getpid() and self._free and self._process.is_alive()
        return alive and not self._connection.poll()

    async def prepare(self, function: Callable[..., object]) -> None:
        """Start it, and import the function's module there. An error shows in the call that follows."""
        with suppress(Exception):
            await self._send(pickle.dumps((bool, (function,), {}, bool)))

    async def call(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        convert: Callable[[object], object],
    ) -> object:
        """Call a function in the process, and return its result as `convert` makes it there, or raise its error.

        Both functions stand at the top of a module: the process finds them by name. `ToolError` says that it died.
        """
        try:
            request = pickle.dumps((function, args, dict(kwargs), convert))
        except Exception as error:
            raise TypeError(f"the call cannot be sent to another process: {error}") from error
        answer = await self._send(request)
        if isinstance(answer, Failure):
            raise answer.error()
        return answer

    async def _send(self, request: bytes) -> object:
        self._free = False
        token = token_hex(_TOKEN // 2)
        try:
            answer = await to_thread.run_sync(
                self._exchange, token.encode() + request, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        except (EOFError, OSError):
            await self.end()
            died = f"the process that ran the tool died (exit code {self._process.exitcode})"
            raise ToolError(died if self._begun else died + _NOT_BEGUN) from None
        try:
            value = read_answer(answer, token)
        except (ValueError, RecursionError):
            await self.end()
            raise ToolError("the process that ran the tool wrote something else than its answer") from None
        self._free = self._begun = True
        return value

    def _exchange(self, request: bytes) -> bytes:
        self._connection.send_bytes(request)
        return self._connection.recv_bytes(2 * _LONGEST)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        self._free = False
        _workers.discard(self)
        if self._owner == os.getpid() and self._process.is_alive():
            with suppress(AttributeError, OSError):  # no sessions on this platform, or it has not made its own yet
                os.killpg(self._process.pid or 0, _KILL)
            self._process.kill()

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        self.kill()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._process.join, limiter=CapacityLimiter(1))


_workers: set[Worker] = set()
_idle: list[Worker] = []


@asynccontextmanager
async def worker_process(function: Callable[..., object]) -> AsyncGenerator[Worker | Exception, None]:
    """Wait for a free process and prepare it for a function; yield the error if none can be started.

    A process that is still busy at the end is killed.
    """
    async with PROCESSES.here():
        worker = _idle_or_new()
        try:
            if isinstance(worker, Worker):
                await worker.prepare(function)
            yield worker
        finally:
            if isinstance(worker, Worker):
                await _put_back(worker)


def _idle_or_new() -> Worker | Exception:
    while _idle:
        worker = _idle.pop()
        if worker.usable:
            return worker
        worker.kill()
    try:
        return Worker()
    except (OSError, AssertionError) as error:  # too many processes, or this one may not start any
        return error


async def _put_back(worker: Worker) -> None:
    if worker.usable:
        _idle.append(worker)
    else:
        await worker.end()


def kill_all() -> None:
    for worker in tuple(_workers):
        worker.kill()


# At exit Python waits for its processes, and these wait for calls, so they are killed before.
util.Finalize(None, kill_all, exitpriority=10)


def serve(connection: Connection) -> None:
    """Answer requests until the other side is gone. This is the main function of the process."""
    with suppress(AttributeError, OSError):  # no sessions on this platform, or it has its own already
        os.setsid()
    if parent := multiprocessing.parent_process():
        _end_with(parent.sentinel)
    with connection, suppress(EOFError, OSError):
        while True:
            connection.send_bytes(answer_to(connection.recv_bytes()))


def _end_with(sentinel: int) -> None:
    """End this process, and what it started, when its parent is gone, whatever it does then.

    A thread kills all of them. It does not run while C code holds the interpreter, as a regular expression does, so
    Linux also sends a signal to this process.
    """
    with suppress(ImportError, AttributeError, OSError):
        fcntl: Any = import_module("fcntl")
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, _KILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)

    def kill() -> None:
        wait([sentinel])
        with suppress(AttributeError, OSError):
            if os.getpgid(0) == os.getpid():
                os.killpg(0, _KILL)
        os._exit(1)

    Thread(target=kill, daemon=True).start()


def answer_to(request: bytes) -> bytes:
    """Make the call of a request, and return its result or failure as JSON, with the token of the request."""
    token, call = request[:_TOKEN].decode(), request[_TOKEN:]
    try:
        function, args, kwargs, convert = pickle.loads(call)  # noqa: S301 (the process that started this one wrote it)
        answer = _answer(token, "value", _plain(convert(function(*args, **kwargs))))
    except BaseException as error:  # noqa: BLE001 (raised where the answer is read)
        answer = _answer(token, "failure", write(_failure(error)))
    if len(answer) > _LONGEST:
        longer = ValueError(f"the result has {len(answer):,} bytes, and a process answers with {_LONGEST:,} at most")
        answer = _answer(token, "failure", write(_failure(longer)))
    return answer


def _answer(token: str, kind: str, value: object) -> bytes:
    return json.dumps({"token": token, kind: value}).encode()


def _plain(value: object) -> object:
    """Return a result as plain data; a tool's result has its images beside the text."""
    if isinstance(value, ToolResult):
        return {"text": write(value.text), "images": [write(image) for image in value.images]}
    return write(value)


def read_answer(answer: bytes, token: str) -> object:
    """Read the answer to the request with a token; `ValueError` if it is none."""
    fields = object_of(json.loads(answer))
    if fields.get("token") != token:
        raise ValueError("this answers another request")
    if "failure" in fields:
        return read(Failure, fields["failure"])
    if "images" in (data := object_of(fields["value"])):
        return ToolResult(read(str, data["text"]), tuple([read(ImagePart, image) for image in list_of(data["images"])]))
    return read(object, fields["value"])


def _failure(error: BaseException) -> Failure:
    kind = type(error)
    arguments: object = error.__reduce__()[1] if isinstance(error, OSError) else error.args  # a path is not in `args`
    fields = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return Failure(
        kind.__module__ if kind.__name__ == kind.__qualname__ else "",
        kind.__name__,
        arguments if _is_plain(arguments) else None,
        fields,
        _text_of(error),
        "".join(traceback.format_exception(error)),
    )


def _is_plain(value: object) -> bool:
    try:
        write(value)
    except (ValueError, RecursionError):
        return False
    return not is_dataclass(value)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (a `__str__` may raise anything)
        return ""
