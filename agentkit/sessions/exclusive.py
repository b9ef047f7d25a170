"""A session that one run at a time continues.

Its lock is a file beside the store, which one process at a time can lock, and whose lock ends with the process. The run
that held it removes the file; another one that had opened the file by then sees that it is gone, and tries again. A
store without a file has a lock in this process.
"""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic

from anyio import sleep

from agentkit.core.checks import check_number
from agentkit.core.errors import ConfigurationError, SessionBusy, SessionError
from agentkit.core.files import lock, unlock
from agentkit.core.session import Entry, Session, StoredConversation

_PAUSE = 0.01
_PRIVATE = 0o600
_LOCK = Lock()
_HELD: set[object] = set()  # the sessions without a file that a run of this process continues


class Exclusive:
    """A session that one run at a time continues: a second run is an error, or waits for the end of the first.

    That holds for the processes of one machine in `JsonLines` and `Sqlite`, and for this process in other sessions. A
    run that waits in a tool for another run of the same conversation would wait for itself.

    Args:
        session: The session.
        wait: How many seconds a run waits for another one to end. After that, or at once with 0, it raises
            `SessionBusy`, and nothing was sent or stored. This time is not part of `Limits(seconds=…)`.

    Raises:
        ConfigurationError: If `session` is no session, or `wait` is negative.

    Example:
        ```python
        chat = Exclusive(JsonLines("ann.jsonl"), wait=60)
        agent.run_sync("And in Rome?", session=chat)
        ```
    """

    __slots__ = ("_session", "_wait")

    def __init__(self, session: Session, *, wait: float = 0.0) -> None:
        check_number("Exclusive(wait=…)", wait, least=0)
        self._session = _checked(session)
        self._wait = wait

    def __repr__(self) -> str:
        return f"Exclusive({self._session!r}, wait={self._wait:g})"

    @property
    def name(self) -> str | None:
        """The name of the conversation, if the session has one."""
        return getattr(self._session, "name", None)

    async def load(self) -> StoredConversation:
        """Read the conversation, also while a run continues it; see `Session.load`."""
        return await self._session.load()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries, also while a run continues the conversation; see `Session.append`."""
        await self._session.append(entries)

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[Session]:
        """Keep other runs out until the block is left; see `HeldSession.held`."""
        path: Path | None = getattr(self._session, "lock_path", None)
        end = monotonic() + self._wait
        while (release := _hold(self._session) if path is None else _hold_file(path)) is None:
            if monotonic() >= end:
                raise SessionBusy(
                    f"another run continues {self._session!r}, so this one did not begin. Try again when that has "
                    "ended, or allow more time: Exclusive(…, wait=…)"
                )
            await sleep(_PAUSE)
        try:
            yield self._session
        finally:
            release()


def _checked(session: object) -> Session:
    if isinstance(session, Session):
        return session
    raise ConfigurationError(f"Exclusive takes a session, such as JsonLines(…), not {session!r}")


def _hold(session: Session) -> Callable[[], object] | None:
    key: object = session
    try:
        hash(key)
    except TypeError:
        key = id(session)
    with _LOCK:
        if key in _HELD:
            return None
        _HELD.add(key)
    return lambda: _HELD.discard(key)


def _hold_file(path: Path) -> Callable[[], object] | None:
    """Lock a file and return what releases it; `None` if somebody else holds the lock."""
    held = False
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE)
        with suppress(FileNotFoundError):  # the run that held the lock removed the file
            held = lock(fd) and os.path.samestat(os.fstat(fd), path.stat())
    except (OSError, ValueError) as error:  # a path may have what no path can have
        raise SessionError(
            f"{path} cannot be locked: {getattr(error, 'strerror', None) or error}. Nothing was sent or stored. Check "
            "that its folder exists and that this user may write to it"
        ) from error
    if not held:
        os.close(fd)
        return None

    def release() -> None:
        with suppress(OSError):  # an open file cannot be removed on Windows, and one that stays does no harm
            path.unlink()
        unlock(fd)
        os.close(fd)

    return release
