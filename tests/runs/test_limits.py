from typing import Any

import pytest

from agentkit import ConfigurationError, LimitReached, Limits, Usage
from agentkit.runs.limits import Budget, Reached

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("names", "wrong", "right"),
    [
        ("steps depth", [0, -1, 1.5, True, "3", NAN, INFINITE, None], [1]),
        ("requests calls tokens result", [0, -1, 1.5, True, "3", NAN, INFINITE], [1, None]),
        ("seconds", [0, -1.0, NAN, "1", True], [0.5, None]),
        ("grace", [0, -1.0, NAN, "1", True, None], [0.5]),
        ("cost", [0, -0.5, NAN, True, "1"], [1, None]),
        ("at_end", ["stop", None, 1], ["error", "answer"]),
    ],
)
def test_the_values_of_limits(names: str, wrong: list[Any], right: list[Any]) -> None:
    for name in names.split():
        for value in wrong:
            with pytest.raises(ConfigurationError, match=name):
                Limits(**{name: value})
        for value in right:
            assert getattr(Limits(**{name: value}), name) == value


def names(*reached: Reached | None) -> list[str | None]:
    return [limit and limit.limit for limit in reached]


def test_the_error_at_a_limit() -> None:
    error = Budget(Limits(seconds=2.5)).out_of_time().error()
    assert isinstance(error, LimitReached)
    assert (error.limit, error.allowed) == ("seconds", 2.5)
    assert "limits=Limits(seconds=…)" in str(error)


@pytest.mark.parametrize(
    ("limits", "usage", "tokens", "name", "allowed"),
    [
        (Limits(requests=2), Usage(1), 0, "requests", 2),
        (Limits(tokens=2000), Usage(1), 1000, "tokens", 2000),
        (Limits(cost=0.5), Usage(1, cost=0.25), 0, "cost", 0.5),
    ],
)
def test_what_is_used_up(limits: Limits, usage: Usage, tokens: int, name: str, allowed: float) -> None:
    budget = Budget(limits)
    budget.spend(usage, tokens)
    assert budget.check(1) is None
    budget.spend(usage, tokens)
    reached = budget.check(2)
    assert reached is not None
    assert (reached.limit, reached.allowed, budget.reached) == (name, allowed, reached)


def test_a_call_that_is_not_allowed_is_not_counted() -> None:
    budget = Budget(Limits(calls=2))
    assert names(budget.take("a"), budget.check(0)) == [None, None]
    assert names(*[budget.take("b") for _ in range(3)], budget.check(0)) == [None, "calls", "calls", "calls"]
    assert budget.calls == 2


def test_the_final_answer_is_not_limited() -> None:
    parent = Budget(Limits(calls=1))
    budget = Budget(Limits(calls=1), parent, "final_answer")
    taken = [budget.take(name) for name in ("final_answer", "final_answer", "a", "a", "final_answer")]
    assert names(*taken) == [None, None, None, "calls", None]
    assert parent.calls == 1


def test_a_limit_of_the_parent_ends_the_nested_runs() -> None:
    parent = Budget(Limits(requests=2, calls=1))
    one, other = Budget(Limits(), parent), Budget(Limits(), parent)
    one.spend(Usage(2), 0)
    assert names(other.check(0)) == ["requests"]
    parent = Budget(Limits(calls=1))
    between = Budget(Limits(), parent)
    one, other = Budget(Limits(), between), Budget(Limits(), between)
    assert names(one.take("a"), one.take("a")) == [None, "calls"]
    assert names(*[budget.check(0) for budget in (one, other, between, parent)]) == ["calls"] * 4
    assert parent.calls == 1


@pytest.mark.parametrize(
    ("depths", "allowed"),
    [
        ([1], None),
        ([1, 5], 1),
        ([5, 1], None),
        ([2, 5], None),
        ([2, 5, 5], 2),
        ([5, 5, 1], None),
        ([5, 5, 5, 5, 5], None),
        ([5, 5, 5, 5, 5, 9], 5),
    ],
)
def test_each_run_limits_the_depth_below_it(depths: list[int], allowed: int | None) -> None:
    budget: Budget | None = None
    for depth in depths:  # from the outermost
        budget = Budget(Limits(depth=depth), budget)
    assert budget is not None
    reached = budget.check_depth()
    assert (reached and reached.allowed) == allowed


def test_whether_the_cost_is_limited() -> None:
    parent = Budget(Limits(cost=1))
    assert [budget.limits_cost for budget in (Budget(Limits(), parent), Budget(Limits()))] == [True, False]
