"""A conversation in a file of JSON lines."""

import errno
import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from agentkit.core.concurrency import Limiter, to_its_end
from agentkit.core.errors import SessionError
from agentkit.core.files import lock, unlock
from agentkit.core.session import Entry, StoredConversation, entries_of, line_of

_PAUSE = 0.002
_PRIVATE = 0o600


class JsonLines:
    """A conversation in a file of its own: one JSON object in a line for each entry, as `stored` has it.

    Processes and threads may add to one file at once; a lock on the file lets in one at a time (on Windows, a lock on a
    byte beyond its end). A line that a crash cut short is left out, and taken away when the next entry is added.

    Args:
        path: The file. It is made when the first entry is added, readable for its owner only; its folder must be there.
        sync: Whether an entry is on the disk when it is told as kept. Without that, entries survive the death of the
            process, but not a power cut.
        patience: How many seconds to wait while others hold the lock.
    """

    __slots__ = ("_path", "_patience", "_sync", "_turn")

    def __init__(self, path: str | os.PathLike[str], *, sync: bool = True, patience: float = 10.0) -> None:
        self._path = Path(path)
        self._sync = sync
        self._patience = patience
        self._turn = Limiter(1)

    def __repr__(self) -> str:
        return f"JsonLines({str(self._path)!r})"

    async def load(self) -> StoredConversation:
        """Read the conversation; see `Session.load`."""
        return await to_its_end(self._turn, self._load)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end; see `Session.append`."""
        await to_its_end(self._turn, partial(self._append, tuple(entries)))

    def _load(self) -> StoredConversation:
        try:
            with self._locked(os.O_RDONLY) as fd:
                *lines, last = _read(fd).split(b"\n")
        except SessionError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return StoredConversation()
            raise
        if _is_whole(last):
            lines.append(last)
        numbered = enumerate(lines, 1)
        return StoredConversation.of(
            entries_of((f"line {at} of {self._path}", each) for at, each in numbered if each.strip())
        )

    def _append(self, entries: tuple[Entry, ...]) -> None:
        data = "".join([f"{line_of(each)}\n" for each in entries]).encode()
        with self._locked(os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
            size, data = _healed(fd, data)
            try:
                _write(fd, data, sync=self._sync)
            except OSError:
                os.ftruncate(fd, size)
                raise

    @contextmanager
    def _locked(self, flags: int) -> Generator[int]:
        """Open the file and keep others out."""
        try:
            fd = os.open(self._path, flags | getattr(os, "O_BINARY", 0), _PRIVATE)
            try:
                end = monotonic() + self._patience
                while not lock(fd):
                    if monotonic() > end:
                        raise SessionError(
                            f"{self._path} was locked by another program for {self._patience:g} s, so nothing was read "
                            f"or kept. Try again, or allow more time: JsonLines(…, patience=…)"
                        )
                    sleep(_PAUSE)
                yield fd
            finally:
                unlock(fd)
                os.close(fd)
        except OSError as error:
            raise SessionError(
                f"{self._path} cannot be read or written: {error.strerror or error}. Nothing was kept of this; see "
                "that its folder is there, that this user may write to it, and that the disk has room"
            ) from error


def _read(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _write(fd: int, data: bytes, *, sync: bool) -> None:
    """Write at once: of several writes, a crash could leave the first."""
    if os.write(fd, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if sync:
        os.fsync(fd)


def _is_whole(line: bytes) -> bool:
    """Say whether the last line, without an end, is a whole entry; the beginning of an object is never one."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _healed(fd: int, data: bytes) -> tuple[int, bytes]:
    """Make the end of a file one that lines can be added to.

    Returns:
        Its size, and what to add.
    """
    size = os.lseek(fd, 0, os.SEEK_END)
    if size:
        os.lseek(fd, size - 1, os.SEEK_SET)
        if os.read(fd, 1) != b"\n":
            last = _read(fd).rpartition(b"\n")[2]
            if _is_whole(last):
                return size, b"\n" + data
            size -= len(last)
            os.ftruncate(fd, size)
    return size, data
