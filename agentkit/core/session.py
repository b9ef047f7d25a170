"""Journals: what is kept of a conversation, entry by entry, and how an entry is written."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from agentkit.core.codec import read, write
from agentkit.core.dicts import json_of, message_of, stored
from agentkit.core.errors import SessionError
from agentkit.core.json import object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.core.repair import UNKNOWN


@dataclass(frozen=True, slots=True)
class Started:
    """The record that a call is about to run. If no answer follows it, nobody knows whether the tool took effect.

    Attributes:
        call_id: The id of the call.
        name: The name of the tool.
        arguments: The arguments, as the tool was about to be called with them.
        key: What tells its effect from others.
    """

    call_id: str
    name: str
    arguments: str
    key: str = ""


Entry: TypeAlias = Message | Started
"""What a session keeps: a message, or the record that a call is about to run."""


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """What a session has of a conversation.

    Attributes:
        messages: The messages, in the order in which they were kept: `repaired` puts answers of calls that ran at once
            into the order of the calls.
        started: The calls that were about to run and have no answer.
        ended: Those that have one, with it. Where the conversation went on without one, it says that nobody knows.
    """

    messages: tuple[Message, ...] = ()
    started: tuple[Started, ...] = ()
    ended: tuple[tuple[Started, ToolMessage], ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "StoredConversation":
        """Read a journal."""
        messages: list[Message] = []
        started: dict[str, Started] = {}
        ended: list[tuple[Started, ToolMessage]] = []
        for entry in entries:
            if isinstance(entry, Started):
                started[entry.call_id] = entry
                continue
            messages.append(entry)
            if isinstance(entry, ToolMessage) and entry.tool_call_id in started:
                ended.append((started.pop(entry.tool_call_id), entry))
            elif isinstance(entry, AssistantMessage):
                # An id that is used again is that of another call.
                again = [call.id for call in entry.tool_calls if call.id in started]
                ended += [(started.pop(each), ToolMessage(each, UNKNOWN, "cancelled")) for each in again]
        return cls(tuple(messages), tuple(started.values()), tuple(ended))


@runtime_checkable
class Session(Protocol):
    """One conversation, kept. Anything with these two methods is one.

    A session MUST be usable from several event loops, threads and tasks at once.
    """

    async def load(self) -> StoredConversation:
        """Read the conversation; one that was never written to is empty.

        Raises:
            SessionError: If it cannot be read.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end: all of them or none. When this returns, they are kept.

        A call that is cancelled before it began adds nothing; one that has begun goes on to its end.

        Raises:
            SessionError: If they could not be kept. Then none of them was.
        """
        ...


def line_of(entry: Entry) -> str:
    """Write an entry as JSON in one line.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    return json_of({"started": write(entry)} if isinstance(entry, Started) else stored(entry))


def entries_of(lines: Iterable[tuple[str, str | bytes]]) -> Iterator[Entry]:
    """Read lines, each with its place. A record of a kind that is not known here, as of a newer version, is left out.

    Raises:
        SessionError: If a line is no entry.
    """
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
