"""Calls that are handed to the client, and what was done before them, kept until their answers come."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
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
"""Whose a hand-over is: the name of the agent, and what stands for the key."""

_ONE = "Not called: one call at a time is taken here. Call it again if it is still needed."


class Handover(NamedTuple):
    """A run that ended in calls of the client's tools.

    Attributes:
        messages: What the run added to the conversation, up to the reply with the calls and the answers to its others.
        calls: The calls that the client is to run, under ids of this server.
    """

    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...]


def handed_over(result: Result[object], *, parallel: bool) -> Handover:
    """Make a hand-over of a run that is paused.

    Args:
        result: What the run came to.
        parallel: Whether the client takes several calls at once.
    """
    waiting = result.pending if parallel else result.pending[:1]
    refused = [ToolMessage(call.id, _ONE, "refused") for call in result.pending if call not in waiting]
    calls = {each.id: replace(each, id=f"call_{token_hex(16)}", arguments=_whole(each)) for each in waiting}
    reply = [each for each in result.new_messages if isinstance(each, AssistantMessage)][-1]
    renamed = replace(reply, tool_calls=tuple([calls.get(call.id, call) for call in reply.tool_calls]))
    messages = [renamed if each is reply else each for each in result.new_messages]
    return Handover((*messages, *refused), tuple(calls.values()))


def _whole(call: ToolCall) -> str:
    """Give arguments that are an object for any client: as the model wrote them, if they are."""
    try:
        return call.arguments if isinstance(decode(call.arguments), dict) else _mended(call)
    except ValueError:
        return _mended(call)


def _mended(call: ToolCall) -> str:
    return encode(parse_arguments(ANY_OBJECT, call.arguments)[0]).decode()


class _Kept(NamedTuple):
    handover: Handover
    size: int
    until: float


class Handovers:
    """Remembers hand-overs: so many, of so many bytes, for so long. The one that was not used the longest goes first.

    Args:
        bounds: How many, how large, how long.
        clock: Tells the time.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._kept: OrderedDict[tuple[Owner, str], _Kept] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: Owner, handover: Handover) -> None:
        """Remember a hand-over."""
        kept = _Kept(handover, sum(map(_size, handover.messages)), self._clock() + self._bounds.kept_seconds)
        self._kept[owner, handover.calls[0].id] = kept
        self.size += kept.size
        while self._is_full():
            self._drop(next(iter(self._kept)))

    def restored(self, owner: Owner, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Put what was done before each hand-over back into a conversation; what is forgotten stays as it was sent.

        Args:
            owner: Who sends the conversation.
            messages: The conversation, in which a reply with the calls stands for all of it.
        """
        found: list[Message] = []
        used: set[str] = set()
        for message in messages:
            kept = self._of(owner, message)
            if kept is None or kept.calls[0].id in used:
                found.append(message)
                continue
            used.add(kept.calls[0].id)  # once only, or a short request could make a conversation of any length
            found += kept.messages
        return tuple(found)

    def _of(self, owner: Owner, message: Message) -> Handover | None:
        if not isinstance(message, AssistantMessage) or not message.tool_calls:
            return None
        key = (owner, message.tool_calls[0].id)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until < self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        same = [call.id for call in message.tool_calls] == [call.id for call in kept.handover.calls]
        return kept.handover if same else None

    def _is_full(self) -> bool:
        if len(self._kept) > self._bounds.kept or self.size > self._bounds.kept_bytes:
            return True
        return any(oldest.until < self._clock() for oldest in islice(self._kept.values(), 1))

    def _drop(self, key: tuple[Owner, str]) -> None:
        self.size -= self._kept.pop(key).size


def _size(message: Message) -> int:
    """Count the bytes of a message, also of what is not sent."""
    if not isinstance(message, ToolMessage):
        return len(message.encoded)
    return len(message.encoded) + len(message.full or "") + sum(len(image.url) for image in message.images)
