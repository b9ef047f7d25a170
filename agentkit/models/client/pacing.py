"""Pacing: requests wait for their turn here, and are not refused there."""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from agentkit.core.checks import check_number
from agentkit.models.client.rate_headers import Quota, quotas, retry_after

_MINUTE = 60.0
_BURST = 0.05
_LONGEST = 120.0
_STEP = 0.1
_KEPT = 10_000
_SAME = 1e-6


class Pacing:
    """Says when a request may be sent, so that an endpoint's limits per minute are kept. Threads may share it.

    Each limit is a level that a booking lowers and that time raises again, by the limit's worth in a minute. Who does
    not find enough waits behind all that wait, so these are sent at the pace of the limit. Who needs more than a whole
    limit waits until the level is full.

    A limit that you give is kept strictly: no 60 seconds have more than it (of tokens, more by the last request's at
    most), unless bookings are given back. A twentieth may go at once, and nobody goes before who booked earlier.

    A limit that the endpoint names begins at what remains there, less what was booked after the request that this was
    an answer to: what was sent before is taken as counted. An answer to an older request than the last one heard of
    is not used. The level rises at once if all resets so far were as short as the used part of a minute, for such an
    endpoint's own level rises all the time (OpenAI, Groq, Anthropic, Cerebras), else from the reset on. Nothing is
    known before the first answer, so nothing waits for it. What is wrong in all this, for others may send with the same
    key, costs a wait or a refusal, and the next answer sets it right.

    A limit that resets later than in 120 seconds is one of an hour or a day, and is not waited for.

    Args:
        requests_per_minute: Your limit of requests; without it only what the endpoint says holds.
        tokens_per_minute: The same for tokens.

    Raises:
        ConfigurationError: If a limit is not above 0.
    """

    __slots__ = ("_booked", "_held", "_last", "_learned", "_lock", "_now", "_own", "_sent", "_strict")

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._lock = threading.Lock()
        self._strict = requests_per_minute is not None or tokens_per_minute is not None
        self._own = (_own("requests", requests_per_minute), _own("tokens", tokens_per_minute))
        self._learned = (_Limit(), _Limit())
        self._booked: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        self._held = self._last = self._now = self._sent = -inf

    def reserve(self, tokens: int, now: float) -> float:
        """Book a request.

        Args:
            tokens: About how many tokens it will cost, the answer's with them; 0 if that is not known.
            now: The time in seconds, by a clock that all who share this read, such as `time.monotonic`.

        Returns:
            How many seconds to wait before it is sent; 0 as a rule.
        """
        with self._lock:
            own = tuple(zip(self._own, (1.0, tokens), strict=True))
            learned = tuple(
                (limit, min(amount, limit.spare.capacity))
                for limit, (_, amount) in zip(self._learned, own, strict=True)
            )
            at = max(now, self._held)
            if self._strict:
                at = _behind(own, max(at, self._last))
            if at > now or any(limit.spare.earliest(now, amount) > now for limit, amount in learned):
                at = _behind(learned, max(at, self._last))
            for limit, amount in own + learned:
                limit.spare.book(now, amount)
                limit.queue.book(at, amount)
            if self._held > now:
                self._held += _STEP  # those that were refused together do not come back together
            self._last, self._now = max(self._last, at), now
            self._booked.append((at, tokens))
            return at - now

    def give_back(self, tokens: int) -> None:
        """Take back a booking of so many tokens whose request was not sent, such as one that was cancelled."""
        with self._lock:
            found = next((each for each in reversed(self._booked) if each[1] == tokens), None)
            if found is None:
                return
            self._booked.remove(found)
            last = max((at for at, _ in self._booked), default=-inf)
            self._last = max(last, min(self._last, found[0])) if last > self._now else -inf
            for limit, amount in zip(self._own + self._learned, (1, tokens) * 2, strict=True):
                limit.spare.free += amount
                limit.queue.free += amount
                if last <= self._now:  # nobody waits any more
                    limit.queue.free, limit.queue.since = limit.spare.free, limit.spare.since

    def learn(self, headers: Mapping[str, str], now: float, wall: float, *, sent: float, refused: bool = False) -> None:
        """Take what a response says of the limits; one that is an error says it too.

        Args:
            headers: The response's headers.
            now: The time by the clock of `reserve`.
            wall: The time in seconds since 1970.
            sent: When its request was sent, by the clock of `reserve`.
            refused: Whether it is a 429. Then nothing is sent for as long as it asks to wait.
        """
        found = quotas(headers, wall)
        asked = (retry_after(headers, wall) if refused else None) or 0.0
        with self._lock:
            if 0 < asked <= _LONGEST:
                self._held = max(self._held, now + asked)
            if sent < self._sent:
                return
            self._sent = sent
            counted = now if refused else sent + _SAME  # what was sent behind a refused one has been refused too
            self._booked = deque(sorted(each for each in self._booked if each[0] > counted), _KEPT)
            for kind, (limit, quota) in enumerate(zip(self._learned, found, strict=True)):
                if quota is not None:
                    limit.learn(quota, [(at, (1, tokens)[kind]) for at, tokens in self._booked], now)


class _Level:
    """How much of a limit is free: `free` at the time `since`, from when on it rises to the capacity.

    What is free in one window is not in the next, so a level that does not save begins at 0 behind each booking.
    """

    __slots__ = ("capacity", "free", "rate", "saves", "since")

    def __init__(self, capacity: float, rate: float, free: float, since: float, *, saves: bool = True) -> None:
        self.capacity, self.rate, self.free, self.since, self.saves = capacity, rate, free, since, saves

    def at(self, time: float) -> float:
        """Tell how much is free at a time."""
        return min(self.capacity, self.free + max(0.0, time - self.since) * self.rate)

    def earliest(self, time: float, amount: float) -> float:
        """Tell from when on, but not before a time, an amount may be taken."""
        lacking = min(amount, self.capacity) - self.at(time)
        return time if lacking <= _SAME else max(time, self.since) + lacking / self.rate

    def book(self, time: float, amount: float) -> None:
        """Take an amount at a time."""
        self.free = self.at(time) - amount
        if time > self.since:
            self.since = time
            self.free = self.free if self.saves else min(self.free, 0.0)


class _Limit:
    """A limit: what is spare when all that wait are taken off, and what is free behind them."""

    __slots__ = ("queue", "spare", "steady")

    def __init__(self, capacity: float = inf, rate: float = 0.0) -> None:
        self.spare, self.queue = (_Level(capacity, rate, capacity, 0.0) for _ in range(2))
        self.steady = True

    def learn(self, quota: Quota, booked: list[tuple[float, int]], now: float) -> None:
        """Take what the endpoint says remains, of which something is booked already."""
        limit, remaining = quota.limit, quota.remaining
        if limit is None or remaining is None:
            return
        reset = _MINUTE if quota.reset is None else quota.reset
        if limit < 1 or reset > _LONGEST:
            self.spare, self.queue = (_Level(inf, 0.0, inf, now) for _ in range(2))
            return
        used = max(0.0, 1 - remaining / limit) * _MINUTE
        self.steady = self.steady and quota.reset is not None and reset <= used * 1.05 + 2
        since = now if self.steady else now + reset
        self.spare = _Level(limit, limit / _MINUTE, remaining, since)
        self.queue = _Level(limit, limit / _MINUTE, remaining, since, saves=self.steady)
        for at, amount in booked:
            self.spare.free -= min(amount, limit)
            self.queue.book(at, min(amount, limit))


def _behind(limits: Iterable[tuple[_Limit, float]], at: float) -> float:
    """Tell from when on, but not before a time, each limit has the amount that is wanted of it."""
    for limit, amount in limits:
        at = limit.queue.earliest(at, amount)
    return at


def _own(name: str, limit: float | None) -> _Limit:
    if limit is None:
        return _Limit()
    check_number(f"{name}_per_minute", limit, above=0)
    return _Limit(limit * _BURST, limit * (1 - _BURST) / _MINUTE)
