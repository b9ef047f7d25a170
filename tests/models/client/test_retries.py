import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core import errors
from agentkit.models.client.endpoint_errors import endpoint_error, error_event
from agentkit.models.client.retries import Retries, RetryBudget, is_transient

ERROR = errors.ConnectionFailed("no")


def of_status(status: int, body: bytes = b"", **headers: str) -> errors.EndpointError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return endpoint_error(status, named, body, "http://a.b", 0.0)


def test_what_is_transient() -> None:
    for error, transient in [
        (errors.ConnectionFailed("no"), True),
        (errors.IncompleteReply("cut"), True),
        (errors.MalformedReply("what", "{"), True),
        (errors.MalformedReply("what"), True),
        (errors.MalformedReply("a page", " <html>"), False),
        *[
            (errors.ModelTimeout("slow", 1, phase), phase != "total")
            for phase in ("connect", "first_byte", "idle", "total")
        ],
        *[(of_status(status), True) for status in (408, 409, 429, 500, 503, 529, 599)],
        *[(of_status(status), False) for status in (300, 307, 400, 401, 402, 403, 404, 413, 422, 499)],
        *[(of_status(503, x_should_retry=value), value != "False") for value in ("False", "true", "what")],
        (of_status(400, x_should_retry="true"), False),
        (of_status(429, b'{"error":{"code":"insufficient_quota"}}'), False),
        (of_status(500, b'{"error":{"code":"context_length_exceeded"}}'), False),
        (error_event(b'{"error":{"type":"overloaded_error"}}'), True),
        (error_event(b'{"error":{"code":429}}'), True),
        (error_event(b'{"error":{"code":401}}'), False),
        (error_event(b'{"error":{"message":"who knows"}}'), False),
        (errors.ReplyTooLarge("no", "event", 1), False),
        (errors.ContentFiltered("no"), False),
        (errors.ModelError("no"), False),
    ]:
        assert is_transient(error) is transient
        assert (Retries().delay(error, 1, 0.5) is not None) is transient


@given(
    st.builds(Retries, attempts=st.integers(1, 5000), base=st.floats(1e-9, 100), max_delay=st.floats(1e-9, 100)),
    st.integers(1, 6000),
    st.floats(0, 1),
)
def test_a_delay_is_random_below_a_bound_that_doubles(retries: Retries, attempt: int, chance: float) -> None:
    delay = retries.delay(ERROR, attempt, chance)
    bound = min(retries.max_delay, retries.base * 2.0 ** min(attempt - 1, 50))
    assert delay == (None if attempt >= retries.attempts else pytest.approx(chance * bound))


def test_the_delays_of_the_defaults() -> None:
    assert [Retries().delay(ERROR, attempt, 1.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, None]
    assert [Retries(attempts=9).delay(ERROR, attempt, 1.0) for attempt in range(4, 9)] == [4.0, 8.0, 8.0, 8.0, 8.0]
    assert Retries(attempts=9999).delay(ERROR, 5000, 1.0) == 8.0


@given(st.floats(0, 1000) | st.sampled_from([0.0, 120.0, 120.001]), st.floats(0, 1), st.integers(1, 3))
def test_a_delay_is_never_shorter_than_the_endpoint_asks(retry_after: float, chance: float, attempt: int) -> None:
    error = errors.RateLimited("no", status=429, retry_after=retry_after)
    delay = Retries(base=0.5, max_retry_after=120).delay(error, attempt, chance)
    assert (delay is None) == (retry_after > 120)
    assert delay is None or retry_after <= delay <= retry_after + 0.5


@pytest.mark.parametrize(("name", "value"), [
    *[(name, odd) for name in ("base", "max_delay", "max_retry_after") for odd in (0, -1, True, "1", None)],
    ("base", float("nan")),
    *[("attempts", odd) for odd in (0, -1, 1.0, True, None)],
    *[("budget", odd) for odd in (-1, 1.0, False, "1")],
])  # fmt: skip
def test_an_odd_option_is_refused(name: str, value: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"{name}="):
        Retries(**{name: value})


# The budget


def take(budget: RetryBudget, times: int) -> list[bool]:
    return [budget.take() for _ in range(times)]


def test_a_budget_is_used_up_and_success_returns_retries_and_a_tenth() -> None:
    assert not RetryBudget(0).take()
    budget = RetryBudget(2)
    assert take(budget, 3) == [True, True, False]
    budget.give_back(1)
    assert take(budget, 2) == [True, False]
    for _ in range(9):
        budget.give_back(0)
    assert take(budget, 2) == [True, False]  # the tenth of the one before counts too
    for _ in range(100):
        budget.give_back(5)
    assert take(budget, 3) == [True, True, False]  # never more than at first


@given(st.integers(0, 10), st.lists(st.integers(0, 4), max_size=200))
def test_failed_requests_never_retry_more_than_the_budget(most: int, requests: list[int]) -> None:
    """Each request wants so many retries. If it gets all of them it succeeds, otherwise it fails."""
    budget = RetryBudget(most)
    lost = won = 0
    for wanted in requests:
        taken = sum(itertools.takewhile(bool, (budget.take() for _ in range(wanted))))
        if taken == wanted:
            budget.give_back(taken)
            won += 1
        else:
            lost += taken
        assert lost <= most + won * 0.1 + 1e-9


def test_threads_share_a_budget() -> None:
    budget = RetryBudget(1000)
    with ThreadPoolExecutor(8) as threads:
        taken = [threads.submit(budget.take) for _ in range(4000)]
    assert sum(future.result() for future in taken) == 1000
