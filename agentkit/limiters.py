"""A limit on what may be under way at once, in each event loop."""

from weakref import WeakKeyDictionary

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar


class Limiter:
    """Lets `capacity` in at once in each event loop; a value, which any number of loops and threads may share.

    Args:
        capacity: How many.
    """

    __slots__ = ("__weakref__", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def here(self) -> CapacityLimiter:
        """Give the running event loop's own: one limiter belongs to one loop."""
        try:
            limiters = _limiters.get()
        except LookupError:
            limiters = WeakKeyDictionary[Limiter, CapacityLimiter]()
            _limiters.set(limiters)
        limiter = limiters.get(self)
        if limiter is None:
            limiter = limiters[self] = CapacityLimiter(self.capacity)
        return limiter


# One for each loop and limiter, as long as both live.
_limiters: RunVar[WeakKeyDictionary[Limiter, CapacityLimiter]] = RunVar("agentkit_limiters")
