"""The worker threads that an agent's sync tools run in."""

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")


class Threads:
    """A share of threads: at most `capacity` at once in each event loop.

    Args:
        capacity: How many.
    """

    __slots__ = ("__weakref__", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. Cancelling does not wait for it: it ends in its own time, its result dropped."""
        return await to_thread.run_sync(function, limiter=self._limiter(), abandon_on_cancel=True)

    def _limiter(self) -> CapacityLimiter:
        try:
            limiters = _limiters.get()
        except LookupError:
            limiters = WeakKeyDictionary[Threads, CapacityLimiter]()
            _limiters.set(limiters)
        limiter = limiters.get(self)
        if limiter is None:
            limiter = limiters[self] = CapacityLimiter(self.capacity)
        return limiter


# A limiter belongs to one event loop; this keeps one for each loop and share, as long as both live.
_limiters: RunVar[WeakKeyDictionary[Threads, CapacityLimiter]] = RunVar("agentkit_threads")
