"""A conversation in memory."""

from collections.abc import Sequence

from agentkit.core.session import Entry, StoredConversation


class Memory:
    """A conversation that lasts as long as this object."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    async def load(self) -> StoredConversation:
        """Read the conversation; see `Session.load`."""
        return StoredConversation.of(tuple(self._entries))

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries; see `Session.append`."""
        self._entries.extend(entries)
