from collections.abc import Callable

import pytest

from agentkit import ConfigurationError, PolicyContradiction, ToolChoice
from agentkit.tool_choice import (
    Policy,
    before_answer,
    budget,
    cooldown,
    force,
    none,
    only,
    prerequisite,
)
from tests.tool_choice import Made, state

AUTO, NONE, REQUIRED = ToolChoice("auto"), ToolChoice("none"), ToolChoice("required", firm=True)
A, AB = frozenset({"a"}), frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("policy", "history", "choice"),
    [
        (before_answer("a"), [], REQUIRED),
        (before_answer("a"), [("b", "ok"), ("a", "error")], REQUIRED),
        (before_answer("a"), [("a", "refused")], REQUIRED),
        (before_answer("a"), [("a", "ok"), ("a", "error")], AUTO),
        (prerequisite("a", "b"), [], ToolChoice(withheld=A)),
        (prerequisite("a", "b"), [("b", "error")], ToolChoice(withheld=A)),
        (prerequisite("a", "b"), [("b", "ok")], AUTO),
        (prerequisite("a", "b", "c"), [("b", "ok")], ToolChoice(withheld=A)),
        (prerequisite("a", "b", "c"), [[("c", "ok"), ("b", "ok")]], AUTO),
        (only("a"), [], ToolChoice(tools=A)),
        (only("a", "b"), [("c", "ok")], ToolChoice(tools=AB)),
        (only("a", "b", policy="required"), [], ToolChoice("required", tools=AB)),
        (only("a", "b", policy="a"), [], ToolChoice("tool", "a", AB)),
        (only("a", policy=only("b")), [], ToolChoice(tools=frozenset())),
        (only("a", policy=budget(1)), [("a", "ok")], ToolChoice("none", tools=A)),
        (only("a", policy=before_answer("a")), [], ToolChoice("required", tools=A, firm=True)),
        (cooldown("a"), [], AUTO),
        (cooldown("a"), [("a", "error")], ToolChoice(withheld=A)),
        (cooldown("a"), [("a", "ok"), ("b", "ok")], AUTO),
        (cooldown("a", steps=2), [("a", "ok"), ("b", "ok")], ToolChoice(withheld=A)),
        (cooldown("a", steps=2), [("a", "ok"), ("b", "ok"), ("b", "ok")], AUTO),
        (budget(0), [], NONE),
        (budget(2), [], AUTO),
        (budget(2), [("a", "ok")], AUTO),
        (budget(2), [("a", "ok"), ("a", "refused"), ("a", "refused")], AUTO),
        (budget(2), [("a", "error"), ("b", "cancelled")], NONE),
        (budget(2), [[("a", "ok"), ("a", "ok"), ("a", "ok")]], NONE),
    ],
)
def test_what_is_chosen(policy: Policy, history: list[Made | list[Made]], choice: ToolChoice) -> None:
    assert policy(state(*history)) == choice


def test_what_is_forced_must_be_offered() -> None:
    with pytest.raises(PolicyContradiction):
        only("a", policy="b")(state())


@pytest.mark.parametrize(
    ("policy", "can_answer", "silences"),
    [
        (before_answer("a"), True, False),
        (prerequisite("a", "b"), True, False),
        (only("a"), True, False),
        (only("a", policy="required"), False, False),
        (only("a", policy=force("a")), False, False),
        (only("a", policy=none), True, True),
        (budget(5), True, True),
    ],
)
def test_whether_the_model_may_ever_answer(policy: Policy, can_answer: bool, silences: bool) -> None:
    assert (policy.can_answer, policy.silences) == (can_answer, silences)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (before_answer("a"), "a"),
        (prerequisite("a", "b", "c"), "abc"),
        (only("a", "b", policy=force("c")), "abc"),
        (budget(5), ""),
    ],
)
def test_the_tools_that_it_speaks_of(policy: Policy, names: str) -> None:
    assert policy.tools == set(names)


@pytest.mark.parametrize(
    "make",
    [
        only,
        lambda: prerequisite("a"),
        lambda: prerequisite("a", "b", "a"),
        lambda: budget(-1),
        lambda: cooldown("a", 0),
    ],
)
def test_guards_of_nothing_are_refused(make: Callable[[], Policy]) -> None:
    with pytest.raises(ConfigurationError):
        make()
