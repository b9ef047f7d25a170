"""The port for sessions: a conversation as a journal of entries."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.core.repair import UNKNOWN, is_placeholder


@dataclass(frozen=True, slots=True)
class Started:
    """The record that a call is about to run. If no result follows, nobody knows whether the tool had its effect.

    Attributes:
        call_id: The id of the call; a sub-agent's has the ids of the calls in which it runs before it.
        name: The name of the tool.
        arguments: The arguments with which the tool is about to be called.
        key: The idempotency key of its effect.
        run: The id of the run.
    """

    call_id: str
    name: str
    arguments: str
    key: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The record that a started call has its result.

    Attributes:
        call_id: The id of the call, as in its `Started`.
        key: The idempotency key of its effect.
        run: The id of the run that wrote this.
        answer: The result, if it is a message of a sub-agent's conversation. `None` if it is the message before this.
    """

    call_id: str
    key: str
    run: str
    answer: ToolMessage | None = None


Entry: TypeAlias = Message | Started | Ended
"""What a session stores: a message, or the record that a call is about to run, or that it has its result."""

_Id: TypeAlias = tuple[str, str]


class StoredConversation(NamedTuple):
    """A conversation as a session stores it.

    Attributes:
        messages: The messages, in the order in which they were stored. `repaired` puts results into the order of their
            calls.
        started: The calls that were about to run and have no result.
        ended: The others, each with its result: the last one that is not a placeholder. If the conversation went on
            without one, the result says that nobody knows.
        size: How many entries it has.
    """

    messages: tuple[Message, ...] = ()
    started: tuple[Started, ...] = ()
    ended: tuple[tuple[Started, ToolMessage], ...] = ()
    size: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "StoredConversation":
        """Read the entries of a journal."""
        reading = _Reading()
        count = 0
        for count, entry in enumerate(entries, 1):  # noqa: B007 (the last one counts)
            reading.add(entry)
        return cls(tuple(reading.messages), tuple(reading.started.values()), tuple(reading.ended), count)


class _Reading:
    """Reads a journal entry by entry.

    Runs may write to it at the same time, and models use ids again. So a result belongs to the start with its id and
    its key. In older files a start has no `run`, and its result is the next message with the id.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.started: dict[_Id, Started] = {}
        self.ended: list[tuple[Started, ToolMessage]] = []
        self._results: dict[str, ToolMessage] = {}
        self._late: dict[_Id, int] = {}  # where in `ended` a placeholder stands for a result that may still come
        self._reused: set[str] = set()  # ids of other calls now, whose results come first

    def add(self, entry: Entry) -> None:
        match entry:
            case Started():
                self.started[entry.call_id, entry.key if entry.run else ""] = entry
                return
            case Ended():
                if answer := entry.answer or self._results.get(entry.call_id):
                    self._end((entry.call_id, entry.key), answer)
                return
            case ToolMessage():
                self._results[entry.tool_call_id] = entry
                self._add_result(entry)
            case AssistantMessage():
                self._abandon({call.id for call in entry.tool_calls})
            case _:
                pass
        self.messages.append(entry)

    def _add_result(self, result: ToolMessage) -> None:
        call_id = result.tool_call_id
        if call_id in self._reused:
            self._reused.remove(call_id)
            if (call_id, "") not in self.started:
                return
        self._end((call_id, ""), result)

    def _end(self, id_: _Id, answer: ToolMessage) -> None:
        if id_ in self.started:
            if is_placeholder(answer):
                self._late[id_] = len(self.ended)
            self.ended.append((self.started.pop(id_), answer))
        elif id_ in self._late and not is_placeholder(answer):
            at = self._late.pop(id_)
            self.ended[at] = self.ended[at][0], answer

    def _abandon(self, call_ids: AbstractSet[str]) -> None:
        """Take note of a reply: an id that is used again belongs to another call."""
        self._reused |= {call_id for call_id, key in self._late if call_id in call_ids and not key}
        for id_ in [id_ for id_ in self.started if id_[0] in call_ids]:
            if id_[1]:
                self._late[id_] = len(self.ended)
            self.ended.append((self.started.pop(id_), ToolMessage(id_[0], UNKNOWN, "cancelled")))


@runtime_checkable
class Session(Protocol):
    """One stored conversation. Any class with these two methods is a session.

    A session MUST be usable from several event loops, threads and tasks at once.
    """

    async def load(self) -> StoredConversation:
        """Read the conversation; without entries it is empty.

        Raises:
            SessionError: If it cannot be read.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries: all of them or none. When this returns, they are stored.

        A cancellation before the write began adds nothing; later, it waits for the end of the write.

        Raises:
            SessionError: If they could not be stored. Then none of them was.
        """
        ...


@runtime_checkable
class SharedSession(Session, Protocol):
    """A session whose conversation several runs may continue at the same time, and no call with an effect runs twice.

    The stores of agentkit are such sessions. In one without `start`, only runs of the same process know of each other.
    """

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        """Append the record of a call that is about to run, unless another run wrote about its calls meanwhile.

        Reading and writing are one step: no other run writes in between. `written_by_others` says what is in the way.

        Args:
            started: The record.
            seen: How many entries of the conversation the run knows.

        Returns:
            The entries after these, without the new one. If some are of other runs' calls, nothing was appended.

        Raises:
            SessionError: As for `append`.
        """
        ...


@runtime_checkable
class HeldSession(Session, Protocol):
    """A session that a run holds from its beginning to its end, such as `Exclusive`."""

    def held(self) -> AbstractAsyncContextManager[Session]:
        """Keep other runs out until the block is left; yield the session to read and write.

        Raises:
            SessionBusy: If another run holds it.
            SessionError: If it cannot be held.
        """
        ...


def written_by_others(entries: Iterable[Entry], run: str) -> bool:
    """Whether another run recorded that a call started, or ended."""
    return any(isinstance(entry, Started | Ended) and entry.run != run for entry in entries)
