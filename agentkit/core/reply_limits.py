"""The largest reply that a client accepts, so that no endpoint can fill the memory."""

from dataclasses import dataclass, fields
from sys import maxsize

from agentkit.core.checks import check_number
from agentkit.core.errors import ReplyTooLarge


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """The largest reply that a client accepts. A larger one raises `ReplyTooLarge` while it arrives.

    Attributes:
        event: Bytes of one event of a stream, or of a plain body; also of a reply's unknown fields together.
        body: Bytes of a whole reply, unpacked.
        arguments: Characters of the arguments of one call.
        calls: Calls in one answer.
        choices: Answers in one reply.
        values: JSON values, and their keys, in one event or plain body; also in a reply's unknown fields together.
            Decoded, each takes up to about 100 bytes of memory however short it is.
    """

    event: int = 8_000_000
    body: int = 64_000_000
    arguments: int = 1_000_000
    calls: int = 128
    choices: int = 128
    values: int = 1_000_000

    def __post_init__(self) -> None:
        for limit in fields(self):
            check_number(f"ReplyLimits({limit.name}=…)", getattr(self, limit.name), least=1, whole=True)

    @classmethod
    def unlimited(cls) -> "ReplyLimits":
        """Return limits that no reply reaches, for one that was checked before."""
        return cls(**{limit.name: maxsize for limit in fields(cls)})

    def too_large(self, limit: str) -> ReplyTooLarge:
        """Return the error for a reply that exceeds the limit with this name."""
        allowed: int = getattr(self, limit)
        what = _WHAT[limit].format(f"{allowed:,}")
        return ReplyTooLarge(
            f"the reply has {what}, and was dropped. If you expect that, allow it: ChatClient(…, "
            f"reply_limits=ReplyLimits({limit}=…))",
            limit,
            allowed,
        )


class Room:
    """What is left of the limits `event` and `values` for the unknown fields of one reply."""

    __slots__ = ("_bytes", "_reply_limits", "_values")

    def __init__(self, reply_limits: ReplyLimits) -> None:
        self._reply_limits = reply_limits
        self._bytes = reply_limits.event
        self._values = reply_limits.values

    def take(self, values: int, size: int = 0) -> None:
        """Take values, or give them back if negative, and bytes; `ReplyTooLarge` if there are fewer left."""
        self._bytes -= size
        self._values -= values
        if self._bytes < 0 or self._values < 0:
            raise self._reply_limits.too_large("event" if self._bytes < 0 else "values")


def values_in(data: bytes) -> int:
    """Return how many values JSON has at most, without decoding it: brackets, colons and commas in strings count."""
    return 1 + data.count(b",") + data.count(b":") + data.count(b"{") + data.count(b"[")


_WHAT = {
    "event": "an event, a body or unknown fields of more than {} bytes",
    "body": "more than {} bytes",
    "arguments": "a call with arguments of more than {} characters",
    "calls": "more than {} calls",
    "choices": "more than {} answers",
    "values": "an event, a body or unknown fields of more than {} values",
}
