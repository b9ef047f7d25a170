"""Encoded messages in blocks, for bodies of requests.

A run of n steps sends n bodies, each a little longer than the one before. In one piece, each would be a copy of the one
before: at 10,000 messages, the copies took more than half of a turn. As blocks, a body shares all but the last.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence

from agentkit.core.growing import folded
from agentkit.core.messages import Message

_BLOCK = 32_768  # bytes


def joined(messages: Sequence[Message], key: Hashable, encode: Callable[[Message], bytes]) -> tuple[bytes, ...]:
    """Return the bytes of messages, with commas between them, in blocks; a longer history only adds to the last one.

    Args:
        messages: The messages.
        key: What is encoded; see `folded`.
        encode: Returns the bytes of one message.
    """

    def add(before: tuple[bytes, ...], new: Iterable[Message]) -> tuple[bytes, ...]:
        return lengthened(before, map(encode, new))

    return folded(messages, key, (), add)


def lengthened(blocks: tuple[bytes, ...], encoded: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return blocks with more encoded messages at their end."""
    more = b",".join(encoded)
    if not (blocks and more):
        return blocks or ((more,) if more else ())
    *full, last = blocks
    return (*blocks, b"," + more) if len(last) >= _BLOCK else (*full, b",".join([last, more]))
