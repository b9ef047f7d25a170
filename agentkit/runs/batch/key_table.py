"""A table from keys to numbers that does not keep the keys.

A million keys take 33 MB, where a dict of texts takes 160 MB. Instead of a key, the table keeps its 64-bit hash. The
chance that any two of a million keys share a hash is 3 in 100 million; the journal compares the key itself as well.
"""

from array import array
from typing import Literal

_SMALLEST = 1024


class KeyTable:
    """Numbers by keys; 0 for a key without one.

    Args:
        kind: How large the numbers may be: `"I"` takes 4 bytes per number, `"Q"` 8 bytes.
        expected: How many keys there will be. The table has room for more, but making room takes time.
    """

    __slots__ = ("_hashes", "_kind", "_numbers", "_used")

    def __init__(self, kind: Literal["I", "Q"], expected: int = 0) -> None:
        self._kind: Literal["I", "Q"] = kind
        size = _SMALLEST
        while size * 3 < expected * 4:
            size *= 2
        self._resize(size)

    def __getitem__(self, key: str) -> int:
        return self._numbers[self._slot(hash(key) or 1)]

    def __setitem__(self, key: str, number: int) -> None:
        own = hash(key) or 1  # 0 is a free place
        slot = self._slot(own)
        self._numbers[slot] = number
        if not self._hashes[slot]:
            self._hashes[slot] = own
            self._used += 1
            if self._used * 4 > len(self._hashes) * 3:
                self._grow()

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        self._resize(2 * len(hashes))
        for own, number in zip(hashes, numbers, strict=True):
            if number:
                slot = self._slot(own)
                self._hashes[slot], self._numbers[slot] = own, number
                self._used += 1

    def _slot(self, own: int) -> int:
        """Return the place of a hash: where it is, or else the free place that is next to where it belongs."""
        hashes = self._hashes
        last = len(hashes) - 1
        slot = own & last
        while (there := hashes[slot]) and there != own:
            slot = (slot + 1) & last
        return slot

    def _resize(self, size: int) -> None:
        self._used = 0
        self._hashes = array("q", bytes(8 * size))
        self._numbers = array(self._kind, bytes(array(self._kind).itemsize * size))
