"""Tools with `isolate="process"`: functions that run in a process of their own, so that they can be killed.

A process is reused for the next call. It has its own pipe, which nothing that a tool prints or starts can disturb, and
its own session, so that what a tool started is killed with it.
"""

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from multiprocessing import util
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

from anyio import CancelScope, CapacityLimiter, to_thread

from agentkit.core.concurrency import Limiter
from agentkit.core.errors import ToolError

PROCESSES = Limiter(os.cpu_count() or 2)
"""As many run concurrently as there are processors, in each event loop."""

_SPAWN = multiprocessing.get_context("spawn")
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_NOT_BEGUN = (
    " before it could begin. It imports the main module too, so the code of a script must stand under "
    '`if __name__ == "__main__":`'
)


class Failure(NamedTuple):
    """What was raised in the process: pickled if possible, and as text."""

    pickled: bytes
    name: str
    text: str
    trace: str

    def error(self) -> Exception | SystemExit:
        """Return the exception; if it cannot be unpickled here, one with its name and text."""
        error: object = None
        with suppress(Exception):
            error = pickle.loads(self.pickled)  # noqa: S301 (our own process wrote it)
        if not isinstance(error, Exception | SystemExit):
            error = cast("Exception", type(self.name, (Exception,), {})(self.text))
        with suppress(Exception):  # some exceptions allow no notes
            error.add_note(f"In its process:\n{self.trace}")
        return error


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
        """Whether it can take a call: this process started it, it lives, and it has answered every request."""
        return self._owner == os.getpid() and self._free and self._process.is_alive()

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
        try:
            answer = await to_thread.run_sync(
                self._exchange, request, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        except (EOFError, OSError):
            await self.end()
            died = f"the process that ran the tool died (exit code {self._process.exitcode})"
            raise ToolError(died if self._begun else died + _NOT_BEGUN) from None
        self._free = self._begun = True
        return pickle.loads(answer)  # noqa: S301 (our own process wrote it)

    def _exchange(self, request: bytes) -> bytes:
        self._connection.send_bytes(request)
        return self._connection.recv_bytes()

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
    with connection, suppress(EOFError, OSError):
        while True:
            connection.send_bytes(answer_to(connection.recv_bytes()))


def answer_to(request: bytes) -> bytes:
    """Make the call of a request, and return its pickled result or failure."""
    try:
        function, args, kwargs, convert = pickle.loads(request)  # noqa: S301 (our own process wrote it)
        return pickle.dumps(convert(function(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001 (raised where the answer is read)
        return pickle.dumps(_failure(error))


def _failure(error: BaseException) -> Failure:
    pickled, text = b"", ""
    with suppress(Exception):
        text = str(error)
    with suppress(Exception):
        pickled = pickle.dumps(error)
    return Failure(pickled, type(error).__name__, text, "".join(traceback.format_exception(error)))
