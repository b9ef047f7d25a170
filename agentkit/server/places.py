"""The places for requests that run at once, and how they end when the server stops.

A place is taken before the body is read, because unfinished bodies fill memory too. So a client that never finishes
its uploads could take all places. Where they are full, and unfinished uploads of one client hold more than half of
them, the oldest of those makes room for another client.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from anyio import CancelScope, Event, move_on_after

from agentkit.server.errors import HttpError
from agentkit.server.limits import Bounds


@dataclass(slots=True, eq=False)
class Place:
    """A request that runs.

    Attributes:
        owner: Whose it is.
        scope: The cancel scope of the request.
        uploading: Whether its body is not complete yet.
        evicted: Whether it made room for another one.
    """

    owner: str
    scope: CancelScope = field(default_factory=CancelScope)
    uploading: bool = True
    evicted: bool = False


class Places:
    """The places of a server."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._taken: list[Place] = []  # the oldest first
        self._idle = Event()
        self.stopping = False

    @contextmanager
    def take(self, owner: str) -> Generator[Place]:
        """Take a place for a request, whose block is cancelled if it is evicted, or when the server stops.

        Raises:
            HttpError: 429 if there is none; 503 if the server stops.
        """
        if self.stopping:
            raise _stopping()
        if len(self._taken) >= self._bounds.requests and not self._evict_for(owner):
            raise _busy()
        place = Place(owner)
        with place.scope:
            self._taken.append(place)
            try:
                yield place
            finally:
                self._leave(place)
        if place.scope.cancelled_caught:
            raise self._reason(place)

    async def drain(self) -> None:
        """Refuse new requests, and wait for those that run; cancel them after `Bounds(grace=…)` seconds."""
        self.stopping = True
        if self._taken:
            self._idle = Event()
            with move_on_after(self._bounds.grace):
                await self._idle.wait()
            for place in self._taken:
                place.scope.cancel()
            await self._idle.wait()

    def _evict_for(self, owner: str) -> bool:
        """Cancel the oldest upload of another client, if that one's uploads hold more than half of the places."""
        uploads = [place for place in self._taken if place.uploading and place.owner != owner]
        for greedy, count in Counter([place.owner for place in uploads]).most_common(1):
            if count > self._bounds.requests // 2:
                place = next(place for place in uploads if place.owner == greedy)
                place.evicted = True
                place.scope.cancel()
                self._leave(place)
                return True
        return False

    def _reason(self, place: Place) -> HttpError:
        if place.evicted:
            return _busy()
        return _stopping() if self.stopping else HttpError(504, "there was no answer in time", code="timeout")

    def _leave(self, place: Place) -> None:
        if place in self._taken:
            self._taken.remove(place)
        if not self._taken:
            self._idle.set()


def _busy() -> HttpError:
    text = "too many requests are running; try again soon"
    return HttpError(429, text, code="server_busy", headers={"retry-after": "1"})


def _stopping() -> HttpError:
    headers = {"retry-after": "5", "connection": "close"}
    return HttpError(503, "the server is stopping", code="stopping", headers=headers)
