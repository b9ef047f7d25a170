"""When to send a request again, and after how long. No I/O, no clock, no randomness of its own.

A request is retried where that may help and cannot harm. Tools run only after a whole reply, so a retry never runs one
twice. The delay is random between 0 and a bound that doubles ("full jitter", see
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter), and never shorter than the endpoint asks.
"""

from dataclasses import dataclass
from threading import Lock

from agentkit.core.checks import check_number, check_seconds
from agentkit.core.errors import (
    ConnectionFailed,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelError,
    ModelTimeout,
    RateLimited,
)

_MAX_DOUBLINGS = 50


@dataclass(frozen=True, slots=True)
class Retries:
    """How a client retries transient failures.

    Retried: failed or broken connections, 408, 409, 429 and every 5xx, truncated or unreadable replies, and timeouts
    other than the total. None of these is retried once someone was streamed a part of the reply. Never
    retried: other 4xx, an exhausted quota, errors on this side, and whatever the endpoint marks with
    `x-should-retry: false`.

    Attributes:
        attempts: The most requests for one answer, the first included.
        base: The longest delay before the first retry, in seconds. It doubles with each retry.
        max_delay: The bound of that doubling, in seconds.
        max_retry_after: The longest delay that an endpoint may ask for, in seconds. If it asks for more, the error is
            raised.
        budget: The retries that a client has in hand, over all its requests. A retry takes one. A request that
            succeeds returns those that it took, and a tenth more. So an endpoint that is down gets no retry storm.
    """

    attempts: int = 4
    base: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float = 120.0
    budget: int = 50

    def __post_init__(self) -> None:
        for name in ("base", "max_delay", "max_retry_after"):
            check_seconds(f"Retries({name}=…)", getattr(self, name), optional=False)
        check_number("Retries(attempts=…)", self.attempts, least=1, whole=True)
        check_number("Retries(budget=…)", self.budget, least=0, whole=True)

    def delay(self, error: ModelError, attempt: int, chance: float) -> float | None:
        """Return the seconds to wait before the next request, or `None` for no retry.

        Args:
            error: Why the last request failed.
            attempt: How many requests were sent.
            chance: A random number from 0 to 1.
        """
        if attempt >= self.attempts or not is_transient(error):
            return None
        backoff = chance * min(self.max_delay, self.base * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
        retry_after = error.retry_after if isinstance(error, EndpointError) else None
        if retry_after is None:
            return backoff
        return None if retry_after > self.max_retry_after else retry_after + chance * self.base


def is_transient(error: ModelError) -> bool:
    """Whether the same request may succeed another time."""
    match error:
        case RateLimited() | EndpointUnavailable():
            return error.should_retry is not False
        case ModelTimeout():
            return error.phase != "total"
        case MalformedReply():
            return not error.excerpt.lstrip().startswith("<")  # a web page: the address is wrong
        case _:
            return isinstance(error, ConnectionFailed | IncompleteReply)


class RetryBudget:
    """The retries that a client has left: never more than it starts with. Threads may share it."""

    __slots__ = ("_left", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = self._left = float(most)
        self._lock = Lock()

    def take(self) -> bool:
        """Take one retry; return False if there is none."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def give_back(self, retries: int) -> None:
        """Return the retries that a successful request took, and a tenth more."""
        with self._lock:
            self._left = min(self._most, self._left + retries + 0.1)
