"""When to ask again, and after how long. No I/O, no clock, no chance of its own.

A request is asked again where it may help and cannot harm: tools run only after a whole reply, so a request that is
repeated never runs one twice. The wait is random between nothing and a bound that doubles ("full jitter", see
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

_DOUBLINGS = 50


@dataclass(frozen=True, slots=True)
class Retries:
    """How a client asks again after a failure that may pass.

    Asked again: no connection or a broken one, 408, 409, 429 and every 5xx, a reply that was cut or cannot be read, and
    a timeout other than that of the whole request; all of these only as long as nothing of the reply was told. Never:
    another 4xx, a quota that is used up, an error of this side, or what the endpoint says not to (`x-should-retry`).

    Attributes:
        attempts: How many requests may be sent for one answer, the first included.
        base: Seconds: the longest wait before the first retry; it doubles with each.
        max_delay: Seconds: the longest that it becomes.
        max_retry_after: Seconds: the longest wait that an endpoint may ask for. If it asks for more, the error is raised.
        budget: How many retries a client has in hand, over all its requests. A retry takes one; a request that ends
            well gives its own back, and a tenth. So an endpoint that is down gets no storm of retries.
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
        """Say how long to wait before the next request.

        Args:
            error: Why there is no answer.
            attempt: How many requests were sent.
            chance: A random number from 0 to 1.

        Returns:
            Seconds, or `None` if there is to be no other request.
        """
        if attempt >= self.attempts or not may_pass(error):
            return None
        backoff = chance * min(self.max_delay, self.base * 2.0 ** min(attempt - 1, _DOUBLINGS))
        asked = error.retry_after if isinstance(error, EndpointError) else None
        if asked is None:
            return backoff
        return None if asked > self.max_retry_after else asked + chance * self.base


def may_pass(error: ModelError) -> bool:
    """Tell whether the same request may be answered another time."""
    match error:
        case EndpointError():
            return error.should_retry is not False and isinstance(error, RateLimited | EndpointUnavailable)
        case ModelTimeout():
            return error.phase != "total"
        case MalformedReply():
            return not error.excerpt.lstrip().startswith("<")  # a page is what is behind a wrong address
        case _:
            return isinstance(error, ConnectionFailed | IncompleteReply)


class RetryBudget:
    """The retries that are left to a client.

    Args:
        most: How many it begins with, and never has more.
    """

    __slots__ = ("_left", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = self._left = float(most)
        self._lock = Lock()

    def take(self) -> bool:
        """Take one, if there is one."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def give_back(self, taken: int) -> None:
        """Take note of a request that ended well.

        Args:
            taken: How many retries it had taken.
        """
        with self._lock:
            self._left = min(self._most, self._left + taken + 0.1)
