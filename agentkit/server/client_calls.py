"""Calls that the client is to run, and the steps before them, kept until their results come.

A run pauses at calls of the client's tools. The client sees one reply with those calls under ids of this server; what
the agent did before stays here. When the client sends its results, the steps are put back into its conversation.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from secrets import token_hex
from time import monotonic
from typing import NamedTuple, TypeAlias

from agentkit.core.json import decode, encode
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage
from agentkit.runs.result import Result
from agentkit.server.client_tools import ANY_OBJECT
from agentkit.server.limits import Bounds
from agentkit.tools.argument_repair import parse_arguments

Owner: TypeAlias = tuple[str, str]
"""To whom calls belong: the name of the agent, and the digest of the client's key."""


class ClientCalls(NamedTuple):
    """The end of a run in calls of the client's tools.

    Attributes:
        messages: What the run added to the conversation: the reply with the calls, the steps before it, and the results
            of its other calls.
        calls: The calls for the client, under ids of this server.
    """

    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...]


def client_calls_of(result: Result[object]) -> ClientCalls:
    """Return the client's calls of a paused run."""
    calls = {
        call.id: replace(call, id=f"call_{token_hex(16)}", arguments=_object_arguments(call.arguments))
        for call in result.pending
    }
    reply = [message for message in result.new_messages if isinstance(message, AssistantMessage)][-1]
    renamed = replace(reply, tool_calls=tuple([calls.get(call.id, call) for call in reply.tool_calls]))
    messages = [renamed if message is reply else message for message in result.new_messages]
    return ClientCalls(tuple(messages), tuple(calls.values()))


def _object_arguments(arguments: str) -> str:
    """Return arguments that are a JSON object: as the model wrote them if they are, otherwise repaired."""
    try:
        if isinstance(decode(arguments), dict):
            return arguments
    except ValueError:
        pass
    return encode(parse_arguments(ANY_OBJECT, arguments)[0]).decode()


class _Entry(NamedTuple):
    client_calls: ClientCalls
    size: int
    expires: float


class ClientCallStore:
    """Remembers clients' calls within the `kept` limits. The least recently used go first.

    Args:
        bounds: The server's limits.
        clock: Returns the time in seconds.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._entries: OrderedDict[tuple[Owner, str], _Entry] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, owner: Owner, client_calls: ClientCalls) -> None:
        size = sum(map(_size_of, client_calls.messages))
        entry = _Entry(client_calls, size, self._clock() + self._bounds.kept_seconds)
        self._entries[owner, client_calls.calls[0].id] = entry
        self.size += size
        while self._is_full():
            self._drop(next(iter(self._entries)))

    def restore(self, owner: Owner, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Put the steps before the owner's calls back into a conversation; what is forgotten stays as it was sent."""
        restored: list[Message] = []
        used: set[str] = set()
        for message in messages:
            client_calls = self._find(owner, message)
            if client_calls is None or client_calls.calls[0].id in used:
                restored.append(message)
            else:
                used.add(client_calls.calls[0].id)  # once, or a short request could make a conversation of any length
                restored += client_calls.messages
        return tuple(restored)

    def _find(self, owner: Owner, message: Message) -> ClientCalls | None:
        if not isinstance(message, AssistantMessage) or not message.tool_calls:
            return None
        key = (owner, message.tool_calls[0].id)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires < self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        same = [call.id for call in message.tool_calls] == [call.id for call in entry.client_calls.calls]
        return entry.client_calls if same else None

    def _is_full(self) -> bool:
        if len(self._entries) > self._bounds.kept or self.size > self._bounds.kept_bytes:
            return True
        oldest = next(iter(self._entries.values()), None)
        return oldest is not None and oldest.expires < self._clock()

    def _drop(self, key: tuple[Owner, str]) -> None:
        self.size -= self._entries.pop(key).size


def _size_of(message: Message) -> int:
    """Return the bytes of a message, with those that are not sent to the model."""
    if not isinstance(message, ToolMessage):
        return len(message.encoded)
    return (
        len(message.encoded) + len(message.full or "") + sum([len(encode(part.to_dict())) for part in message.images])
    )
