"""The journal of a batch: a line of JSON for each input that came to its end.

    {"batch":1,"agent":{"model":"…","instructions":"…","tools":"…",…}}
    {"key":"…","output":"…","stop":"answer","usage":{"requests":1,…}}
    {"key":"…","error":{"kind":"RateLimited","text":"…"},"usage":{…}}

The first line says whose answers these are. `"written"` stands in the place of `"output"` where JSON would not give the
answer back as it was: it is what the model wrote. `{"key":"…","started":true}` says that a run of an input with a
session is about to begin, and `"again":true` that a run failed because the whole batch stopped.
"""

import errno
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from anyio import CapacityLimiter, Lock, to_thread

from agentkit.core.checks import check_one_of
from agentkit.core.concurrency import shielded
from agentkit.core.errors import JournalError
from agentkit.core.files import lock, unlock
from agentkit.core.json import decode, object_of
from agentkit.core.messages import Usage

_HEAD = b'{"batch":'
_VERSION = 1
_PRIVATE = 0o600
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a batch keeps what its inputs came to, and how. A batch with the same journal goes on where it stopped.

    Attributes:
        path: The file: a line of JSON for each input. It is made if it is not there, readable for its owner only.
        sync: Whether an outcome is on the disk when it is told as kept. Without that, outcomes survive the death of
            the process, but not a power cut.
        failures: `"again"` runs inputs that failed again; `"keep"` takes the failure as what they came to.
        changed: `"error"` refuses a journal that was begun with other instructions, tools, settings or another model;
            `"accept"` takes its results as they are, and goes on with the agent as it is now.
    """

    path: str | os.PathLike[str]
    sync: bool = True
    failures: Literal["again", "keep"] = "again"
    changed: Literal["error", "accept"] = "error"

    def __post_init__(self) -> None:
        check_one_of("Journal(failures=…)", self.failures, ("again", "keep"))
        check_one_of("Journal(changed=…)", self.changed, ("error", "accept"))


class OpenJournal:
    """A journal in use: nobody else may use it meanwhile.

    Args:
        journal: Which.
        agent: What the agent is made of: a short text for each part, the same for the same part.

    Attributes:
        usage: What earlier runs used up.

    Raises:
        JournalError: If it cannot be used.
    """

    def __init__(self, journal: Journal, agent: Mapping[str, str]) -> None:
        self.usage = Usage()
        self._journal = journal
        self._ended: dict[str, int] = {}
        self._begun: set[str] = set()
        self._lines: list[bytes] = []
        self._turn = Lock()
        self._error: JournalError | None = None
        with ExitStack() as stack:
            try:
                self._fd = os.open(journal.path, _FLAGS, _PRIVATE)
                stack.callback(os.close, self._fd)
                if not lock(self._fd):
                    raise JournalError(
                        f"{self.name} is in use by another batch, here or in another process; wait for its end, or use "
                        "another file"
                    )
                stack.callback(unlock, self._fd)
                self._file = stack.enter_context(Path(journal.path).open("rb"))
                self._read(agent)
            except OSError as error:
                raise _unusable(self.name, error) from error
            self.close = stack.pop_all().close

    @property
    def name(self) -> str:
        """The file."""
        return os.fspath(self._journal.path)

    def begun(self, key: str) -> bool:
        """Tell whether an input was begun, in this run or an earlier one, and came to nothing that lasts."""
        return key in self._begun

    def has(self, key: str) -> bool:
        """Tell whether an input came to its end."""
        return key in self._ended

    def ended(self, key: str) -> dict[str, object] | None:
        """Give the line of an input that came to its end; `None` if there is none. It is given once."""
        at = self._ended.pop(key, None)
        if at is None:
            return None
        self._file.seek(at)
        return object_of(decode(self._file.readline()))

    async def add(self, line: Mapping[str, object]) -> None:
        """Write a line. When this returns, it is kept; a cancellation comes after it.

        Raises:
            JournalError: If it could not be kept.
        """
        self._lines.append(_written(line))
        await shielded(self._flush)

    async def _flush(self) -> None:
        """Write what waits to be written: at once, however many lines there are."""
        async with self._turn:
            if self._lines and self._error is None:
                lines, self._lines = self._lines, []
                await to_thread.run_sync(self._write, b"".join(lines), limiter=CapacityLimiter(1))
        if self._error is not None:
            raise self._error

    def _write(self, data: bytes) -> None:
        size = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            _write(self._fd, data, sync=self._journal.sync)
        except OSError as error:
            os.ftruncate(self._fd, size)
            self._error = _unusable(self.name, error)
            self._error.__cause__ = error

    def _read(self, agent: Mapping[str, str]) -> None:
        """Read what earlier runs kept, and see whose it is."""
        head: dict[str, object] = {}
        at = 0
        for number, line in enumerate(self._file, 1):
            fields = self._line(number, line, at)
            if fields is not None and number == 1 and fields.get("batch") != _VERSION:
                raise JournalError(f"{self.name} is no journal of a batch that this version knows; use another file")
            if fields is not None and "batch" in fields:
                head = fields
            elif fields is not None:
                self._note(fields, at)
            at += len(line)
            if not line.endswith(b"\n"):
                break  # it is healed, and what healed it is no line
        self._begin(object_of(head.get("agent")), agent, new=not head)

    def _line(self, number: int, line: bytes, at: int) -> dict[str, object] | None:
        """Read a line. The last may have been cut by a crash: then it is taken away."""
        try:
            fields = object_of(decode(line))
        except ValueError:
            fields = {}
        whole = line.endswith(b"\n")
        if fields:
            if not whole:
                self._write(b"\n")
            return fields
        ours = number > 1 or line.startswith(_HEAD) or _HEAD.startswith(line)
        if whole or not ours:
            raise JournalError(
                f"line {number} of {self.name} cannot be read. Nothing was changed; mend that line or take it out, or "
                "use another file"
            )
        os.ftruncate(self._fd, at)
        return None

    def _note(self, fields: Mapping[str, object], at: int) -> None:
        """Take in what a line says."""
        self.usage += usage_in(fields)
        key = str(fields.get("key"))
        kept = self._journal.failures == "keep" and not fields.get("again")
        if "started" not in fields and fields.get("stop") != "paused" and ("error" not in fields or kept):
            self._ended[key] = at
            self._begun.discard(key)
        else:
            self._ended.pop(key, None)
            self._begun.add(key)

    def _begin(self, was: Mapping[str, object], agent: Mapping[str, str], *, new: bool) -> None:
        """Hold the agent against the one of the journal."""
        changed = [name for name in {**agent, **was} if was.get(name) != agent.get(name)]
        if not changed:
            return
        if not new and self._journal.changed == "error":
            raise JournalError(
                f"{self.name} was begun with another agent: it differs in {', '.join(changed)}. Nothing was run or "
                "changed. Use another file; or let its results stand and go on, with "
                'agent.map(…, journal=Journal("…", changed="accept"))'
            )
        self._write(_written({"batch": _VERSION, "agent": dict(agent)}))
        if self._error is not None:
            raise self._error


@asynccontextmanager
async def opened(journal: Journal, agent: Mapping[str, str]) -> AsyncGenerator[OpenJournal, None]:
    """Open a journal, and keep others out of it until the block is left.

    Args:
        journal: Which.
        agent: What the agent is made of.

    Raises:
        JournalError: If it cannot be used.
    """
    found = await to_thread.run_sync(partial(OpenJournal, journal, agent))
    try:
        yield found
    finally:
        found.close()


def _write(fd: int, data: bytes, *, sync: bool) -> None:
    """Write at once: of several writes, a crash could leave the first."""
    if os.write(fd, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if sync:
        os.fsync(fd)


def _unusable(path: str, error: OSError) -> JournalError:
    return JournalError(
        f"{path} cannot be read or written: {error.strerror or error}. See that its folder is there, that this user "
        "may write to it, and that the disk has room; then the same call again goes on with what is left"
    )


def _written(line: Mapping[str, object]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def usage_of(usage: Usage) -> dict[str, object]:
    """Write a usage: what is known of it."""
    return {name: value for name, value in asdict(usage).items() if value is not None}


def usage_in(line: Mapping[str, object]) -> Usage:
    """Read the usage in a line; what is no number is not known."""
    said = object_of(line.get("usage"))
    known: dict[str, Any] = {name: said[name] for name in asdict(Usage()) if isinstance(said.get(name), int | float)}
    return Usage(**known)
