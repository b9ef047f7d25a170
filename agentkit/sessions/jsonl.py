"""A conversation in a file of JSON lines."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agentkit.core.checked_lines import MEND, CheckedFile, Damaged
from agentkit.core.concurrency import Limiter, to_its_end
from agentkit.core.errors import SessionError
from agentkit.core.files import locked
from agentkit.core.session import Entry, Started, StoredConversation, written_by_others
from agentkit.core.session_lines import entries_of, line_of


class JsonLines:
    """A conversation in a file of its own: one JSON object in a line per entry, as `stored` writes it, with a checksum.

    Processes and threads may append to one file at once; a lock on the file admits one at a time (on Windows, a lock on
    a byte beyond its end). A line that a crash cut is ignored, and removed when the next entry is appended.

    Args:
        path: The file. It is created with the first entry, readable for its owner only; its folder must exist.
        sync: Whether `append` waits until the entries are on the disk. Without that, they survive the death of the
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonLines) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def lock_path(self) -> Path:
        """The file that `Exclusive` locks."""
        return self._path.with_name(f"{self._path.name}.lock")

    async def load(self) -> StoredConversation:
        """Read the conversation; see `Session.load`."""
        return await to_its_end(self._turn, self._load)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries; see `Session.append`."""
        await to_its_end(self._turn, partial(self._append, tuple(entries)))

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        """Append the record of a call that is about to run; see `SharedSession.start`."""
        return await to_its_end(self._turn, partial(self._start, started, seen))

    def _load(self) -> StoredConversation:
        try:
            with self._opened(write=False) as file:
                lines = [(f"line {number} of {self._path}", line) for number, _, line in file.read()]
                return StoredConversation.of(entries_of(lines))._replace(size=file.last.number)
        except SessionError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return StoredConversation()
            raise

    def _append(self, entries: tuple[Entry, ...]) -> None:
        lines = [line_of(entry).encode() for entry in entries]
        with self._opened(write=True) as file:
            file.append(lines, sync=self._sync)

    def _start(self, started: Started, seen: int) -> Sequence[Entry]:
        line = line_of(started).encode()
        with self._opened(write=True) as file:
            lines = enumerate(file.since(seen), seen + 1)
            news = [*entries_of((f"entry {number} of {self._path}", line) for number, line in lines)]
            if not written_by_others(news, started.run):
                file.append([line], sync=self._sync)
            return news

    @contextmanager
    def _opened(self, *, write: bool) -> Generator[CheckedFile]:
        try:
            with locked(self._path, write=write, patience=self._patience) as fd:
                yield CheckedFile(fd, "session")
        except Damaged as error:
            raise SessionError(
                f"line {error.line} of {self._path} cannot be read: {error}. Nothing was changed; {MEND}"
            ) from error
        except TimeoutError as error:
            raise SessionError(
                f"{self._path} was locked by another program for {self._patience:g} s, so nothing was read or kept. "
                "Try again, or allow more time: JsonLines(…, patience=…)"
            ) from error
        except (OSError, ValueError) as error:  # a path may have what no path can have
            raise SessionError(
                f"{self._path} cannot be read or written: {getattr(error, 'strerror', None) or error}. Nothing was "
                "kept of this. Check that its folder exists, that this user may write to it, and that the disk has room"
            ) from error
