"""The worker threads that an agent's sync tools run in."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from agentkit.limiters import Limiter

T = TypeVar("T")


class Threads(Limiter):
    """A share of threads: at most `capacity` at once in each event loop. Who has a turn, `here()`, may use one."""

    __slots__ = ()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. Cancelling does not wait for it: it ends in its own time, its result dropped."""
        return await to_thread.run_sync(function, limiter=CapacityLimiter(1), abandon_on_cancel=True)
