"""The port for sessions: a conversation as a journal of entries, and each entry as a line of JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from agentkit.core.codec import read, write
from agentkit.core.dicts import json_of, message_of, stored
from agentkit.core.errors import SessionError
from agentkit.core.json import object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.core.repair import UNKNOWN, is_placeholder


@dataclass(frozen=True, slots=True)
class Started:
    """The record that a call is about to run. If no result follows, nobody knows whether the tool had its effect.

    Attributes:
        call_id: The id of the call.
        name: The name of the tool.
        arguments: The arguments with which the tool is about to be called.
        key: The idempotency key of its effect.
    """

    call_id: str
    name: str
    arguments: str
    key: str = ""


Entry: TypeAlias = Message | Started
"""What a session stores: a message, or the record that a call is about to run."""


class StoredConversation(NamedTuple):
    """A conversation as a session stores it.

    Attributes:
        messages: The messages, in the order in which they were stored. `repaired` puts results into the order of their
            calls.
        started: The calls that were about to run and have no result.
        ended: The others, each with its result: the last one that is not a placeholder. If the conversation went on
            without one, the result says that nobody knows.
    """

    messages: tuple[Message, ...] = ()
    started: tuple[Started, ...] = ()
    ended: tuple[tuple[Started, ToolMessage], ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "StoredConversation":
        """Read the entries of a journal."""
        messages: list[Message] = []
        started: dict[str, Started] = {}
        ended: list[tuple[Started, ToolMessage]] = []
        reused: set[str] = set()  # ids of other calls now, whose results come first
        replaceable: dict[str, int] = {}  # where in `ended` a placeholder stands for a result that may still come
        for entry in entries:
            if isinstance(entry, Started):
                started[entry.call_id] = entry
                continue
            messages.append(entry)
            if isinstance(entry, ToolMessage) and entry.tool_call_id in started:
                if is_placeholder(entry):
                    replaceable[entry.tool_call_id] = len(ended)
                reused.discard(entry.tool_call_id)
                ended.append((started.pop(entry.tool_call_id), entry))
            elif isinstance(entry, ToolMessage):
                if entry.tool_call_id in reused:
                    reused.remove(entry.tool_call_id)
                elif entry.tool_call_id in replaceable and not is_placeholder(entry):
                    at = replaceable.pop(entry.tool_call_id)
                    ended[at] = ended[at][0], entry
            elif isinstance(entry, AssistantMessage):
                # An id that is used again belongs to another call.
                reused |= {call.id for call in entry.tool_calls if call.id in replaceable}
                left = [call.id for call in entry.tool_calls if call.id in started]
                ended += [(started.pop(call_id), ToolMessage(call_id, UNKNOWN, "cancelled")) for call_id in left]
        return cls(tuple(messages), tuple(started.values()), tuple(ended))


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


def line_of(entry: Entry) -> str:
    """Write an entry as JSON in one line; `InvalidRequest` if `extra` has a value with no JSON form."""
    return json_of({"started": write(entry)} if isinstance(entry, Started) else stored(entry))


def entries_of(lines: Iterable[tuple[str, str | bytes]]) -> Iterator[Entry]:
    """Read lines, each with its place for a `SessionError`; records of a newer version's kinds are skipped."""
    for where, line in lines:
        try:
            data: object = json.loads(line)
            fields = object_of(data)
            if "started" in fields:
                yield read(Started, fields["started"], where="started")
            elif "role" in fields or fields is not data:
                yield message_of(data, "the entry")
        except (ValueError, RecursionError) as error:
            raise SessionError(
                f"{where} cannot be read: {error}. Nothing was changed; mend that entry or take it out"
            ) from error
