from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ConfigurationError, LimitReached, Limits, Usage
from agentkit.runs.limits import Budget, Reached

HUGE = 10**9
OPEN = Limits(steps=HUGE, requests=None, calls=None, tokens=None, depth=HUGE)


@pytest.mark.parametrize("name", ["steps", "requests", "calls", "tokens", "result", "depth"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", float("nan"), float("inf")])
def test_a_number_is_whole_and_above_nothing(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Limits(**{name: value})
    assert str(caught.value) == f"Limits({name}=…) is a whole number above 0, not {value!r}"
    fits: dict[str, Any] = {name: 1}
    assert getattr(Limits(**fits), name) == 1


@pytest.mark.parametrize("name", ["seconds", "grace"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "1", True])
def test_a_time_is_above_nothing(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Limits(**{name: value})
    assert str(caught.value) == f"Limits({name}=…) must be seconds above 0, or None for no limit, not {value!r}"


@pytest.mark.parametrize("name", ["steps", "depth", "grace"])
def test_some_limits_every_run_has(name: str) -> None:
    options: dict[str, Any] = {name: None}
    with pytest.raises(ConfigurationError, match=rf"Limits\({name}=…\) is what every run needs"):
        Limits(**options)


@pytest.mark.parametrize("name", ["seconds", "result", "requests", "calls", "tokens", "cost"])
def test_the_others_may_be_left_open(name: str) -> None:
    options: dict[str, Any] = {name: None}
    assert getattr(Limits(**options), name) is None


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), True, "1"])
def test_a_cost_is_above_nothing(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Limits\(cost=…\) is a number above 0, not "):
        Limits(cost=value)
    assert Limits(cost=1).cost == 1


@pytest.mark.parametrize("value", [{"a": -1}, {"a": 1.0}, {"a": True}, {1: 1}, ["a"], None])
def test_calls_are_counted_by_name(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Limits\(calls_of=…\) takes whole numbers by the names of tools"):
        Limits(calls_of=value)
    assert Limits(calls_of={"a": 0}).calls_of == {"a": 0}


@pytest.mark.parametrize("value", ["stop", None, [], 1])
def test_what_becomes_of_a_run_at_a_limit(value: Any) -> None:
    with pytest.raises(ConfigurationError, match='at_end is "error" or "answer", not '):
        Limits(at_end=value)


def test_limits_are_a_value() -> None:
    assert Limits() == Limits()
    assert hash(Limits(calls_of={"a": 1})) == hash(Limits())
    assert Limits(calls_of={"a": 1}) != Limits()


def test_what_is_said_at_a_limit() -> None:
    error = Budget(Limits(seconds=2.5)).out_of_time().error()
    assert isinstance(error, LimitReached)
    assert (error.limit, error.allowed) == ("seconds", 2.5)
    assert str(error) == (
        "the run took more than 2.5 s; the history so far is in this error's `partial`. If the task needs more, allow "
        "it: Agent(…, limits=Limits(seconds=…))"
    )


def spends(usage: Usage, tokens: int = 0) -> Callable[[Budget], object]:
    return lambda budget: budget.spend(usage, tokens)


@pytest.mark.parametrize(
    ("limits", "spend", "reached"),
    [
        (Limits(requests=2), spends(Usage(1)), Reached("requests", 2, "models have answered 2 requests")),
        (Limits(tokens=2000), spends(Usage(1), 1000), Reached("tokens", 2000, "2,000 tokens were used")),
        (Limits(cost=0.5), spends(Usage(1, cost=0.25)), Reached("cost", 0.5, "the run has cost 0.5")),
    ],
)
def test_what_is_used_up(limits: Limits, spend: Callable[[Budget], object], reached: Reached) -> None:
    budget = Budget(limits)
    spend(budget)
    assert budget.check(1) is None
    spend(budget)
    assert budget.check(2) == reached
    assert budget.reached == reached


def test_steps() -> None:
    budget = Budget(Limits(steps=2))
    assert budget.check(1) is None
    assert budget.check(2) == Reached("steps", 2, "the model was asked 2 times and has not answered")
    # The first limit that was reached is the one that is told, whatever comes after it.
    budget.spend(Usage(1000), 0)
    assert budget.check(3) == Reached("steps", 2, "the model was asked 2 times and has not answered")


def test_a_call_that_is_not_allowed_is_not_counted() -> None:
    budget = Budget(Limits(calls=3, calls_of={"a": 1, "never": 0}))
    assert budget.take("a") is None
    assert budget.check(0) is None
    assert budget.take("a") == Reached("calls_of", 1, "a was run 1 times, and called once more")
    assert budget.take("never") == Reached("calls_of", 0, "never was run 0 times, and called once more")
    assert [budget.take("b"), budget.take("b")] == [None, None]
    assert budget.take("b") == Reached("calls", 3, "3 tools were run, and one more was called")
    assert budget.calls == {"a": 1, "b": 2}
    assert budget.check(0) == Reached("calls", 3, "3 tools were run, and one more was called")


def test_the_answer_is_always_to_be_had() -> None:
    around = Budget(Limits(calls=1))
    budget = Budget(Limits(calls=1), around, "final_answer")
    assert [budget.take("final_answer") for _ in range(3)] == [None] * 3
    assert budget.take("a") is None
    assert budget.take("a") is not None
    assert budget.take("final_answer") is None
    assert around.calls == {"a": 1}


def test_what_the_run_around_has_used_up_ends_the_one_within() -> None:
    around = Budget(Limits(requests=2, calls=1))
    one, other = Budget(Limits(), around), Budget(Limits(), around)
    one.spend(Usage(2), 0)
    assert other.check(0) == Reached("requests", 2, "models have answered 2 requests")
    around = Budget(Limits(calls=1))
    between = Budget(Limits(), around)
    one, other = Budget(Limits(), between), Budget(Limits(), between)
    assert one.take("a") is None
    reached = one.take("a")
    assert reached == Reached("calls", 1, "1 tools were run, and one more was called")
    assert [each.check(0) for each in (one, other, between, around)] == [reached] * 4
    assert around.calls == {"a": 1}


def test_what_a_run_within_may_use_up_is_its_own() -> None:
    around = Budget(Limits())
    within = Budget(Limits(requests=1, calls=1, steps=1), around)
    within.spend(Usage(1), 0)
    within.take("a")
    within.take("a")
    assert within.check(1) is not None
    assert around.check(5) is None


@pytest.mark.parametrize(
    ("depths", "reached"),
    [
        ([1], None),
        ([1, 5], Reached("depth", 1, "agents are nested 1 deep already")),
        ([5, 1], None),
        ([2, 5], None),
        ([2, 5, 5], Reached("depth", 2, "agents are nested 2 deep already")),
        ([5, 5, 1], None),
        ([5, 5, 5, 5, 5], None),
        ([5, 5, 5, 5, 5, 9], Reached("depth", 5, "agents are nested 5 deep already")),
    ],
)
def test_each_run_says_how_deep_there_may_be_others_within(depths: list[int], reached: Reached | None) -> None:
    budget: Budget | None = None
    for depth in depths:  # from the outermost
        budget = Budget(Limits(depth=depth), budget)
    assert budget is not None
    assert budget.check_depth() == reached


def test_who_pays() -> None:
    around = Budget(Limits(cost=1))
    assert Budget(Limits(), around).limits_cost
    assert around.limits_cost
    assert not Budget(Limits()).limits_cost


@pytest.mark.parametrize("corrections", [0, 1, 2])
def test_last_words_are_bounded(corrections: int) -> None:
    budget = Budget(Limits(at_end="answer"))
    assert [budget.take_last_word(corrections) for _ in range(corrections + 3)] == [True] * (corrections + 1) + [False] * 2
    assert not Budget(Limits()).take_last_word(corrections)


@given(st.data())
def test_a_run_has_used_up_what_it_and_those_within_it_have(data: st.DataObject) -> None:
    budgets = [Budget(OPEN)]
    parents: list[int | None] = [None]
    for at in range(data.draw(st.integers(0, 8))):
        parents.append(data.draw(st.integers(0, at)))
        budgets.append(Budget(OPEN, budgets[parents[-1] or 0]))
    counts = st.none() | st.integers(0, 1000)
    usages = st.builds(Usage, st.integers(0, 3), counts, counts, counts, counts)
    spent: list[list[tuple[Usage, int, str]]] = [[] for _ in budgets]
    for _ in range(data.draw(st.integers(0, 20))):
        at = data.draw(st.integers(0, len(budgets) - 1))
        spend = data.draw(st.tuples(usages, st.integers(0, 1000), st.sampled_from("abc")))
        spent[at].append(spend)
        budgets[at].spend(spend[0], spend[1])
        budgets[at].take(spend[2])

    def within(at: int) -> list[tuple[Usage, int, str]]:
        return spent[at] + [each for child, parent in enumerate(parents) if parent == at for each in within(child)]

    for at, budget in enumerate(budgets):
        known = within(at)
        assert budget.usage == sum([usage for usage, _, _ in known], Usage())
        assert budget.tokens == sum(tokens for _, tokens, _ in known)
        assert sorted(budget.calls.elements()) == sorted(tool for _, _, tool in known)
