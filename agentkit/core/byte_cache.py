"""A cache that is bounded in bytes: what it keeps may come from strangers."""

from collections.abc import Callable
from threading import Lock


class ByteCache:
    """Keeps the results of a function of bytes, the newest, up to a size.

    Args:
        function: The function.
        most: The bytes of all keys and results together. A result that takes more than a sixteenth is not kept.
    """

    def __init__(self, function: Callable[[bytes], bytes], most: int) -> None:
        self._function = function
        self._most = most
        self._kept: dict[bytes, bytes] = {}
        self._lock = Lock()
        self.size = 0

    def __call__(self, key: bytes) -> bytes:
        result = self._kept.get(key)
        if result is not None:
            return result
        result = self._function(key)
        size = len(key) + len(result)
        with self._lock:
            if size <= self._most // 16 and key not in self._kept:
                self._kept[key] = result
                self.size += size
            while self.size > self._most:
                oldest = next(iter(self._kept))
                self.size -= len(oldest) + len(self._kept.pop(oldest))
        return result
