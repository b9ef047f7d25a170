import pytest

from agentkit import ConfigurationError, PolicyContradiction, ToolChoice
from agentkit.tool_choice import Policy, auto, before_answer, budget, force, none, only, prerequisite, required
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
    with pytest.raises(PolicyContradiction) as caught:
        only("a", policy="b")(state())
    assert str(caught.value) == "force('b') forces 'b', which only('a', policy=force('b')) does not offer"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (before_answer("a"), "before_answer('a')"),
        (prerequisite("a", "c", "b"), "prerequisite('a', 'c', 'b')"),
        (only("b", "a", "b"), "only('a', 'b')"),
        (only("a", policy=required & auto), "only('a', policy=required & auto)"),
        (budget(0), "budget(0)"),
    ],
)
def test_the_repr(policy: Policy, said: str) -> None:
    assert repr(policy) == said


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


def test_guards_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one tool; to offer none, use `none`"):
        only()
    with pytest.raises(ConfigurationError, match="at least one other tool"):
        prerequisite("a")
    with pytest.raises(ConfigurationError, match="at least one other tool"):
        prerequisite("a", "b", "a")
    with pytest.raises(ConfigurationError, match="not -1"):
        budget(-1)
