"""Pacing: requests wait for their turn here, so that the endpoint does not refuse them.

Each limit is a level. A booking lowers it, and time raises it again by the whole limit per minute. A request that finds
too little waits behind all that wait, so waiting requests go out at the pace of the limit. A request that needs more
than a whole limit waits until the level is full.

- **Your own limits** hold strictly: no 60 seconds exceed them (of tokens, by the last request's at most), unless
  bookings are given back. A twentieth may go out at once, and no request overtakes an earlier booking.
- **The endpoint's limits** start at what its last response says remains, less what was booked after that response's
  request: what was sent before is taken as counted. Responses to older requests are ignored. The level rises at once if
  every reset so far was as short as the used share of a minute, because such an endpoint refills all the time (OpenAI,
  Groq, Anthropic, Cerebras); otherwise it rises from the reset on. Before the first response nothing is known, and
  nothing waits. Others may send with the same key, so all this is a guess, which the next response corrects.
- A limit that resets later than in 120 seconds is per hour or per day. It is not waited for.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from agentkit.core.checks import check_number
from agentkit.models.client.rate_headers import Quota, quotas, retry_after

_MINUTE = 60.0
_BURST_SHARE = 0.05
_MAX_WAIT = 120.0
_SPREAD = 0.1
_MAX_BOOKINGS = 10_000
_EPSILON = 1e-6


class Pacing:
    """Holds requests back to stay within an endpoint's limits per minute. Threads may share it.

    It learns the limits from the endpoint's response headers; limits of your own hold as well.

    Args:
        requests_per_minute: Your own limit of requests per minute.
        tokens_per_minute: Your own limit of tokens per minute.

    Raises:
        ConfigurationError: If a limit is not above 0.
    """

    __slots__ = ("_booked", "_held", "_last", "_learned", "_lock", "_now", "_own", "_sent", "_strict")

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._lock = threading.Lock()
        self._strict = requests_per_minute is not None or tokens_per_minute is not None
        self._own = (_own_limit("requests", requests_per_minute), _own_limit("tokens", tokens_per_minute))
        self._learned = (_Limit(), _Limit())
        self._booked: deque[tuple[float, int]] = deque(maxlen=_MAX_BOOKINGS)
        self._held = self._last = self._now = self._sent = -inf

    def reserve(self, tokens: int, now: float) -> float:
        """Book a request of so many tokens, its answer's included, and return the seconds to wait before it is sent.

        `now` is by a clock that everybody who shares this reads, such as `time.monotonic`.
        """
        with self._lock:
            own = tuple(zip(self._own, (1.0, tokens), strict=True))
            learned = tuple(
                (limit, min(amount, limit.spare.capacity))
                for limit, amount in zip(self._learned, (1.0, tokens), strict=True)
            )
            at = max(now, self._held)
            if self._strict:
                at = _earliest_behind(own, max(at, self._last))
            if at > now or any(limit.spare.earliest(now, amount) > now for limit, amount in learned):
                at = _earliest_behind(learned, max(at, self._last))
            for limit, amount in own + learned:
                limit.spare.book(now, amount)
                limit.queue.book(at, amount)
            if self._held > now:
                self._held += _SPREAD  # requests that were refused together do not come back together
            self._last, self._now = max(self._last, at), now
            self._booked.append((at, tokens))
            return at - now

    def give_back(self, tokens: int) -> None:
        """Take back a booking of so many tokens whose request was not sent, because it was cancelled."""
        with self._lock:
            booking = next((booking for booking in reversed(self._booked) if booking[1] == tokens), None)
            if booking is None:
                return
            self._booked.remove(booking)
            last = max((at for at, _ in self._booked), default=-inf)
            self._last = max(last, min(self._last, booking[0])) if last > self._now else -inf
            for limit, amount in zip(self._own + self._learned, (1, tokens) * 2, strict=True):
                limit.spare.free += amount
                limit.queue.free += amount
                if last <= self._now:  # nobody waits any more
                    limit.queue.free, limit.queue.since = limit.spare.free, limit.spare.since

    def learn(self, headers: Mapping[str, str], now: float, wall: float, *, sent: float, refused: bool = False) -> None:
        """Learn the limits from a response, which may be an error.

        `now`, and `sent` for its request, are by the clock of `reserve`; `wall` is in seconds since 1970. If it was
        `refused` with 429, nothing is sent for as long as it asks to wait.
        """
        limits = quotas(headers, wall)
        wait = (retry_after(headers, wall) if refused else None) or 0.0
        with self._lock:
            if 0 < wait <= _MAX_WAIT:
                self._held = max(self._held, now + wait)
            if sent < self._sent:
                return
            self._sent = sent
            counted = now if refused else sent + _EPSILON  # what was sent after a refused request is refused too
            self._booked = deque(sorted(booking for booking in self._booked if booking[0] > counted), _MAX_BOOKINGS)
            for kind, (limit, quota) in enumerate(zip(self._learned, limits, strict=True)):
                if quota is not None:
                    limit.learn(quota, [(at, (1, tokens)[kind]) for at, tokens in self._booked], now)


class _Level:
    """How much of a limit is free: `free` at the time `since`, from when on it rises to the capacity.

    A limit that counts in windows does not accumulate: it restarts at 0 behind each booking.
    """

    __slots__ = ("accumulates", "capacity", "free", "rate", "since")

    def __init__(self, capacity: float, rate: float, free: float, since: float, *, accumulates: bool = True) -> None:
        self.capacity, self.rate, self.free, self.since, self.accumulates = capacity, rate, free, since, accumulates

    def at(self, time: float) -> float:
        return min(self.capacity, self.free + max(0.0, time - self.since) * self.rate)

    def earliest(self, time: float, amount: float) -> float:
        """Return when an amount is free, not before a time."""
        lacking = min(amount, self.capacity) - self.at(time)
        return time if lacking <= _EPSILON else max(time, self.since) + lacking / self.rate

    def book(self, time: float, amount: float) -> None:
        self.free = self.at(time) - amount
        if time > self.since:
            self.since = time
            self.free = self.free if self.accumulates else min(self.free, 0.0)


class _Limit:
    """A limit: what is `spare` after all bookings, and what is free behind the `queue` of those that wait."""

    __slots__ = ("queue", "refills", "spare")

    def __init__(self, capacity: float = inf, rate: float = 0.0) -> None:
        self.spare, self.queue = (_Level(capacity, rate, capacity, 0.0) for _ in range(2))
        self.refills = True

    def learn(self, quota: Quota, booked: list[tuple[float, int]], now: float) -> None:
        """Restart from what the endpoint says remains, less what is booked already."""
        limit, remaining = quota.limit, quota.remaining
        if limit is None or remaining is None:
            return
        reset = _MINUTE if quota.reset is None else quota.reset
        if limit < 1 or reset > _MAX_WAIT:
            self.spare, self.queue = (_Level(inf, 0.0, inf, now) for _ in range(2))
            return
        used = max(0.0, 1 - remaining / limit) * _MINUTE
        self.refills = self.refills and quota.reset is not None and reset <= used * 1.05 + 2
        since = now if self.refills else now + reset
        self.spare = _Level(limit, limit / _MINUTE, remaining, since)
        self.queue = _Level(limit, limit / _MINUTE, remaining, since, accumulates=self.refills)
        for at, amount in booked:
            self.spare.free -= min(amount, limit)
            self.queue.book(at, min(amount, limit))


def _earliest_behind(limits: Iterable[tuple[_Limit, float]], at: float) -> float:
    """Return when every limit has its amount free behind its queue, not before a time."""
    for limit, amount in limits:
        at = limit.queue.earliest(at, amount)
    return at


def _own_limit(name: str, limit: float | None) -> _Limit:
    if limit is None:
        return _Limit()
    check_number(f"{name}_per_minute", limit, above=0)
    return _Limit(limit * _BURST_SHARE, limit * (1 - _BURST_SHARE) / _MINUTE)
