import pytest

from agentkit import AssistantMessage, ConfigurationError, LimitReached, Limits, State, Step, ToolChoice, UserMessage


def test_a_step_over_the_limit_is_refused() -> None:
    state = State.of((UserMessage("go"),))
    limits = Limits(steps=1)
    limits.check(state)
    with pytest.raises(LimitReached, match=r"Limits\(steps=…\)") as caught:
        limits.check(state.heard(Step(AssistantMessage("x"), ToolChoice(), "auto")))
    assert (caught.value.limit, caught.value.allowed) == ("steps", 1)


def test_limits_that_let_nothing_happen_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="steps=0"):
        Limits(steps=0)
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match=r"Limits\(seconds=…\)"):
            Limits(seconds=seconds)
    for result in (0, -1):
        with pytest.raises(ConfigurationError, match=f"above 0, or None, not {result}"):
            Limits(result=result)
    assert Limits() == Limits(30, 3600.0, 40_000)
    assert Limits(seconds=None, result=None) == Limits(30, None, None)


def test_what_is_said_when_the_time_is_over() -> None:
    error = Limits(seconds=2.5).out_of_time()
    assert (error.limit, error.allowed) == ("seconds", 2.5)
    assert str(error).startswith("the run took more than 2.5 s; the history so far is in this error's `partial`.")
