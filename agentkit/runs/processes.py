"""Functions that run in a process of their own, so that they can be killed.

A process is kept for the next call. It has a pipe of its own, so what a tool writes or starts cannot disturb it, and a
session of its own, so what a tool started is killed with it.
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
"""As many at once as there are processors, in each event loop."""

_SPAWN = multiprocessing.get_context("spawn")
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_NOT_BEGUN = (
    " before it could begin. The main module is imported there too, so what a script does must stand under "
    '`if __name__ == "__main__":`'
)


class Failure(NamedTuple):
    """What was raised in the process: pickled, if that can be done, and in words in any case."""

    pickled: bytes
    name: str
    text: str
    trace: str

    def error(self) -> Exception | SystemExit:
        """Give the exception; for one that cannot be had here, one with its name and text."""
        error: object = None
        with suppress(Exception):
            error = pickle.loads(self.pickled)  # noqa: S301 (the process is ours)
        if not isinstance(error, Exception | SystemExit):
            error = cast("Exception", type(self.name, (Exception,), {})(self.text))
        with suppress(Exception):  # there are exceptions that let nothing be set
            error.add_note(f"In its process:\n{self.trace}")
        return error


class Worker:
    """A process that calls functions, one at a time.

    Raises:
        OSError: If there can be no more processes.
    """

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
        """Whether it can take a call: it is ours, lives, and has answered all that it was asked."""
        return self._owner == os.getpid() and self._free and self._process.is_alive()

    async def prepare(self, function: Callable[..., object]) -> None:
        """Have it begin, and import what a function needs. What goes wrong is told by the call."""
        with suppress(Exception):
            await self._asked(pickle.dumps((bool, (function,), {}, bool)))

    async def call(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        of: Callable[[object], object],
    ) -> object:
        """Call a function there.

        Args:
            function: One that stands at the top of a module: it is found by its name there.
            args: Its arguments; they are pickled.
            kwargs: Its arguments by name.
            of: What is made of its result there, to be sent back; also a function at the top of a module.

        Returns:
            What was made of the result.

        Raises:
            ToolError: If the process died.
            Exception: What the function raised.
        """
        try:
            request = pickle.dumps((function, args, dict(kwargs), of))
        except Exception as error:
            raise TypeError(f"the call cannot be handed to another process: {error}") from error
        answer = await self._asked(request)
        if isinstance(answer, Failure):
            raise answer.error()
        return answer

    async def _asked(self, request: bytes) -> object:
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
        return pickle.loads(answer)  # noqa: S301 (the process is ours)

    def _exchange(self, request: bytes) -> bytes:
        self._connection.send_bytes(request)
        return self._connection.recv_bytes()

    def kill(self) -> None:
        """Kill it, and what it started."""
        self._free = False
        _workers.discard(self)
        if self._owner == os.getpid() and self._process.is_alive():
            with suppress(AttributeError, OSError):  # where there are no sessions, or it has not made its own yet
                os.killpg(self._process.pid or 0, _KILL)
            self._process.kill()

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._process.join, limiter=CapacityLimiter(1))


_workers: set[Worker] = set()
_idle: list[Worker] = []


@asynccontextmanager
async def a_process(function: Callable[..., object]) -> AsyncGenerator[Worker | Exception, None]:
    """Wait for a turn, and give a process that is ready to call a function; it is killed if it is still busy then.

    Args:
        function: What it is to call.

    Returns:
        The process, or why there is none.
    """
    async with PROCESSES.here():
        worker = _taken()
        try:
            if isinstance(worker, Worker):
                await worker.prepare(function)
            yield worker
        finally:
            if isinstance(worker, Worker):
                await _put_back(worker)


def _taken() -> Worker | Exception:
    while _idle:
        worker = _idle.pop()
        if worker.usable:
            return worker
        worker.kill()
    try:
        return Worker()
    except (OSError, AssertionError) as error:  # there can be no more, or none may be started from this process
        return error


async def _put_back(worker: Worker) -> None:
    if worker.usable:
        _idle.append(worker)
    else:
        await worker.end()


def end_all() -> None:
    """Kill every process that there is."""
    for worker in tuple(_workers):
        worker.kill()


# At the end processes are waited for, and these wait for calls; so they are ended before.
util.Finalize(None, end_all, exitpriority=10)


def serve(connection: Connection) -> None:
    """Answer requests until the other side is gone. This is what the process runs.

    Args:
        connection: Where they come from.
    """
    with suppress(AttributeError, OSError):  # where there are no sessions, or it has its own
        os.setsid()
    with connection, suppress(EOFError, OSError):
        while True:
            connection.send_bytes(answer_to(connection.recv_bytes()))


def answer_to(request: bytes) -> bytes:
    """Make the call that is asked for, and give what came of it, pickled.

    Args:
        request: The pickled function, arguments, and what is made of the result.
    """
    try:
        function, args, kwargs, of = pickle.loads(request)  # noqa: S301 (the process that asks is ours)
        return pickle.dumps(of(function(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001 (told where the answer is read)
        return pickle.dumps(_failure(error))


def _failure(error: BaseException) -> Failure:
    pickled, text = b"", ""
    with suppress(Exception):
        text = str(error)
    with suppress(Exception):
        pickled = pickle.dumps(error)
    return Failure(pickled, type(error).__name__, text, "".join(traceback.format_exception(error)))
