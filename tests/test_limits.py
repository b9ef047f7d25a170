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
    assert Limits().steps == 30
