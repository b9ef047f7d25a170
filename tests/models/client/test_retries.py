import itertools
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelError,
    ModelTimeout,
    QuotaExceeded,
    RateLimited,
    ReplyTooLarge,
    RequestRefused,
)
from agentkit.models.client.endpoint_errors import endpoint_error, error_event
from agentkit.models.client.retries import Retries, RetryBudget, is_transient


def of_status(status: int, body: bytes = b"", **headers: str) -> EndpointError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return endpoint_error(status, named, body, "http://a.b", 0.0)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionFailed("no"), True),
        (IncompleteReply("cut"), True),
        (MalformedReply("what", "{"), True),
        (MalformedReply("what"), True),
        (MalformedReply("a page", " <html>"), False),
        *[(ModelTimeout("slow", 1, phase), phase != "total") for phase in ("connect", "first_byte", "idle", "total")],
        *[(of_status(status), True) for status in (408, 409, 429, 500, 501, 502, 503, 504, 529, 599)],
        *[(of_status(status), False) for status in (300, 301, 307, 400, 401, 402, 403, 404, 405, 413, 422, 499)],
        (of_status(503, x_should_retry="false"), False),
        (of_status(429, x_should_retry="False"), False),
        (of_status(503, x_should_retry="true"), True),
        (of_status(400, x_should_retry="true"), False),
        (of_status(503, x_should_retry="what"), True),
        (of_status(429, b'{"error":{"code":"insufficient_quota"}}'), False),
        (of_status(429, b'{"error":{"type":"insufficient_quota","code":null}}'), False),
        (of_status(500, b'{"error":{"code":"context_length_exceeded"}}'), False),
        (error_event(b'{"error":{"type":"overloaded_error"}}'), True),
        (error_event(b'{"error":{"code":429}}'), True),
        (error_event(b'{"error":{"code":401}}'), False),
        (error_event(b'{"error":{"message":"who knows"}}'), False),
        (EndpointError("no", status=None), False),
        (RateLimited("no", status=429), True),
        (EndpointUnavailable("no", status=None), True),
        (AuthenticationFailed("no", status=401), False),
        (RequestRefused("no", status=400), False),
        (ContextTooLong("no", status=400), False),
        (QuotaExceeded("no", status=402), False),
        (ReplyTooLarge("no", "event", 1), False),
        (ContentFiltered("no"), False),
        (ModelError("no"), False),
    ],
)
def test_what_is_asked_again(error: ModelError, passes: bool) -> None:
    assert is_transient(error) is passes
    assert (Retries().delay(error, 1, 0.5) is not None) is passes


ERROR = ConnectionFailed("no")


@given(
    st.builds(
        Retries,
        attempts=st.integers(1, 5000),
        base=st.floats(1e-9, 100),
        max_delay=st.floats(1e-9, 100),
    ),
    st.integers(1, 6000),
    st.floats(0, 1),
)
def test_a_wait_is_random_below_a_bound_that_doubles(retries: Retries, attempt: int, chance: float) -> None:
    delay = retries.delay(ERROR, attempt, chance)
    if attempt >= retries.attempts:
        assert delay is None
        return
    bound = min(retries.max_delay, retries.base * 2.0 ** min(attempt - 1, 50))
    assert delay == pytest.approx(chance * bound)


def test_the_waits_of_the_defaults() -> None:
    assert [Retries().delay(ERROR, attempt, 1.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, None]
    assert [Retries(attempts=9).delay(ERROR, attempt, 1.0) for attempt in range(4, 9)] == [4.0, 8.0, 8.0, 8.0, 8.0]
    assert Retries(attempts=1).delay(ERROR, 1, 1.0) is None
    assert Retries(attempts=9999).delay(ERROR, 5000, 1.0) == 8.0


@given(st.floats(0, 1000), st.floats(0, 1), st.integers(1, 3))
def test_the_wait_that_the_endpoint_asks_for_is_the_least(asked: float, chance: float, attempt: int) -> None:
    error = RateLimited("no", status=429, retry_after=asked)
    delay = Retries(base=0.5, max_retry_after=120).delay(error, attempt, chance)
    if asked > 120:
        assert delay is None
    else:
        assert delay is not None
        assert asked <= delay <= asked + 0.5


def test_the_endpoint_may_ask_for_so_much_patience_and_no_more() -> None:
    def delay(asked: float) -> float | None:
        return Retries(max_retry_after=7).delay(EndpointUnavailable("no", status=503, retry_after=asked), 1, 0.0)

    assert [delay(0), delay(7), delay(7.001)] == [0, 7, None]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *[
            ({name: odd}, f"{name}=")
            for name in ("base", "max_delay", "max_retry_after")
            for odd in (0, -1, True, "1", None)
        ],
        ({"base": float("nan")}, "base="),
        *[({"attempts": odd}, "attempts=.* a whole number from 1 on, not ") for odd in (0, -1, 1.0, True, None)],
        *[({"budget": odd}, "budget=.* a whole number from 0 on, not ") for odd in (-1, 1.0, False, "1")],
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Retries(**options)


# The allowance


def test_an_allowance_is_used_up() -> None:
    allowance = RetryBudget(3)
    assert [allowance.take() for _ in range(5)] == [True, True, True, False, False]
    assert not RetryBudget(0).take()


def test_a_request_that_ends_well_gives_back_its_own_and_a_tenth() -> None:
    allowance = RetryBudget(2)
    assert [allowance.take(), allowance.take(), allowance.take()] == [True, True, False]
    allowance.give_back(1)
    assert [allowance.take(), allowance.take()] == [True, False]
    for _ in range(9):
        allowance.give_back(0)
    assert allowance.take()  # the tenth of the one before counts too
    assert not allowance.take()
    for _ in range(100):
        allowance.give_back(5)
    assert [allowance.take(), allowance.take(), allowance.take()] == [True, True, False]  # never more than at first


@given(st.integers(0, 10), st.lists(st.integers(0, 4), max_size=200))
def test_never_more_retries_than_the_allowance_and_what_came_back(most: int, ended: list[int]) -> None:
    """Of each number, that many are wanted, and where all were had the request ends well; else it ends badly."""
    allowance = RetryBudget(most)
    lost = won = 0
    for wanted in ended:
        taken = sum(itertools.takewhile(bool, (allowance.take() for _ in range(wanted))))
        if taken == wanted:
            allowance.give_back(taken)
            won += 1
        else:
            lost += taken
        assert lost <= most + won * 0.1 + 1e-9


def test_threads_share_an_allowance() -> None:
    allowance = RetryBudget(1000)
    taken: list[int] = []

    def work() -> None:
        taken.append(sum(allowance.take() for _ in range(500)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(taken) == 1000
