"""A conversation in memory."""

from collections.abc import Sequence
from threading import Lock

from anyio import sleep

from agentkit.core.session import Entry, Started, StoredConversation, written_by_others

_PAUSE = 0.001


class Memory:
    """A conversation that lasts as long as this object."""

    __slots__ = ("_entries", "_turn")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._turn = Lock()

    async def load(self) -> StoredConversation:
        """Read the conversation; see `Session.load`."""
        return StoredConversation.of(tuple(self._entries))

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries; see `Session.append`."""
        self._entries.extend(entries)

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        """Append the record of a call that is about to run; see `SharedSession.start`."""
        while not self._turn.acquire(blocking=False):  # noqa: ASYNC110 (another thread may hold it)
            await sleep(_PAUSE)
        try:
            news = tuple(self._entries[seen:])
            if not written_by_others(news, started.run):
                await self.append([started])
            return news
        finally:
            self._turn.release()
