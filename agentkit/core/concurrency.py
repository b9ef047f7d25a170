"""A limit on what may be under way at once, in each event loop."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")


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


class Threads(Limiter):
    """A share of threads: at most `capacity` at once in each event loop. Who has a turn, `here()`, may use one."""

    __slots__ = ()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. Cancelling does not wait for it: it ends in its own time, its result dropped."""
        return await to_thread.run_sync(function, limiter=CapacityLimiter(1), abandon_on_cancel=True)


async def to_its_end(turn: Limiter, function: Callable[[], T]) -> T:
    """Call a function in a thread when it is its turn. Once it has begun, nothing but its end ends the wait for it."""
    async with turn.here():
        return await shielded(partial(to_thread.run_sync, function, limiter=CapacityLimiter(1)))


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Do something to its end: a cancellation comes after it."""
    outcome: list[tuple[T, None] | tuple[None, BaseException]] = []

    async def attempt() -> None:
        with CancelScope(shield=True):
            try:
                outcome.append((await work(), None))
            except BaseException as error:  # noqa: BLE001 (it is raised by who called)
                outcome.append((None, error))

    # The scopes keep anyio's cancellations out. asyncio's own reach the group, which waits for its task too.
    with CancelScope(shield=True):
        async with create_task_group() as group:
            group.start_soon(attempt)
    value, error = outcome[0]
    if error is not None:
        raise error
    return cast("T", value)
