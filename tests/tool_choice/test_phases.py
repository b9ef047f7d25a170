import pytest

from agentkit import ConfigurationError, ToolChoice
from agentkit.tool_choice import (
    Policy,
    budget,
    first,
    fixed,
    force,
    given,
    none,
    only,
    sequence,
    until_called,
    when,
)
from tests.tool_choice import Made, failed, late, state

AUTO, NONE, REQUIRED = ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")


def forced(name: str) -> ToolChoice:
    return ToolChoice("tool", name)


@pytest.mark.parametrize(
    ("policy", "history", "choice"),
    [
        (first("a"), [], forced("a")),
        (first("a"), [("a", "ok")], AUTO),
        (first("a"), [("a", "error")], AUTO),
        (first("a"), [("a", "refused")], forced("a")),
        (first("a"), [("b", "refused"), ("a", "ok")], AUTO),
        (first("a", then="none"), [[("a", "ok"), ("b", "ok")]], NONE),
        (first("required", then=sequence("b")), [("a", "ok")], forced("b")),
        (sequence("a", "b", "c"), [], forced("a")),
        (sequence("a", "b", "c"), [("a", "ok")], forced("b")),
        (sequence("a", "b", "c"), [("a", "error")], forced("a")),
        (sequence("a", "b", "c"), [("a", "cancelled"), ("a", "refused")], forced("a")),
        (sequence("a", "b", "c"), [("b", "ok"), ("c", "ok")], forced("a")),
        (sequence("a", "b", "c"), [("a", "ok"), ("c", "ok"), ("b", "error")], forced("b")),
        (sequence("a", "b", "c"), [("a", "ok"), ("b", "error"), ("b", "ok")], forced("c")),
        (sequence("a", "b", "c"), [[("a", "ok"), ("b", "ok")]], forced("c")),
        (sequence("a", "b", "c"), [("a", "ok"), ("b", "ok"), ("c", "ok")], AUTO),
        (sequence("a", "b", then="none"), [("a", "ok"), ("b", "ok"), ("a", "ok")], NONE),
        (sequence("a", "a"), [("a", "ok")], forced("a")),
        (sequence(given("a", n=1), "b"), [], ToolChoice("tool", "a", arguments='{"n":1}')),
        (sequence(given("a", n=1), "b"), [("a", "ok")], forced("b")),
        (sequence("a", "a"), [("a", "ok"), ("b", "ok"), ("a", "ok")], AUTO),
        (until_called("b", "required"), [], REQUIRED),
        (until_called("b", "required"), [("a", "ok"), ("b", "error")], REQUIRED),
        (until_called("b", "required"), [("b", "ok"), ("a", "error")], AUTO),
        (until_called("b", only("a", "b", policy="required")), [], ToolChoice("required", tools=frozenset({"a", "b"}))),
        (until_called("b", "b"), [("a", "ok")], forced("b")),
        (when(late, "none"), [("a", "ok")], AUTO),
        (when(late, "none"), [("a", "ok"), ("a", "ok")], NONE),
        (when(late, "none", "required"), [], REQUIRED),
        (when(failed, force("b"), none), [("a", "error")], forced("b")),
    ],
)
def test_what_is_chosen(policy: Policy, history: list[Made | list[Made]], choice: ToolChoice) -> None:
    assert policy(state(*history)) == choice


@pytest.mark.parametrize(
    ("policy", "can_answer", "silences"),
    [
        (first("a"), True, False),
        (first("a", then="required"), False, False),
        (first("auto", then="required"), True, False),
        (first("none", then="required"), True, True),
        (first("a", then=budget(3)), True, True),
        (sequence("a"), True, False),
        (sequence("a", then="required"), False, False),
        (sequence(given("a"), then="required"), False, False),
        (sequence(given("a")), True, False),
        (sequence("a", then="none"), True, True),
        (until_called("a", "required"), True, False),
        (until_called("a", "a"), True, False),
        (until_called("a", "b"), False, False),
        (until_called("a", "none"), True, True),
        (when(late, "none", "required"), True, True),
        (when(late, "a", "required"), False, False),
        (when(late, "a", "auto"), True, False),
    ],
)
def test_whether_the_model_may_ever_answer(policy: Policy, can_answer: bool, silences: bool) -> None:
    assert (policy.can_answer, policy.silences) == (can_answer, silences)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (first("a", then=first("b", then="c")), "abc"),
        (sequence("a", "b", then="c"), "abc"),
        (sequence(given("a"), "b", then="c"), "abc"),
        (until_called("a", "b"), "ab"),
        (until_called("a", fixed(ToolChoice(withheld=frozenset({"c"})))), "ac"),
        (when(late, "a", only("b")), "ab"),
    ],
)
def test_the_tools_that_it_speaks_of(policy: Policy, names: str) -> None:
    assert policy.tools == set(names)


@pytest.mark.parametrize(
    ("policy", "history", "memory"),
    [
        (first("a", then=budget(2)), [("b", "refused")], (False, (), 2)),
        (first("a", then=budget(2)), [("a", "ok")], (True, (), 1)),
        (first(budget(2, scope="conversation")), [("a", "ok")], (True, 1, ())),
        (sequence("a", "b", then=budget(3)), [("a", "ok")], (1, 2)),
        (sequence("a", "b", then=budget(3)), [("a", "ok"), ("b", "ok")], (2, 1)),
        (until_called("a", "required"), [], (False, ())),
        (until_called("a", "required"), [("a", "ok")], (True, ())),
        (until_called("a", budget(2)), [("a", "ok")], (True, ())),
        (until_called("a", budget(2, scope="conversation")), [("a", "ok")], (True, 1)),
    ],
)
def test_what_is_remembered(policy: Policy, history: list[Made], memory: object) -> None:
    assert policy.memory(state(*history)) == memory


def test_a_step_is_a_tool_whatever_its_name() -> None:
    assert sequence("none")(state()) == forced("none")


def test_the_code_of_a_sequence() -> None:
    assert repr(sequence(given("a", n=1), "b", then="none")) == "sequence(given('a', n=1), 'b', then=none)"


def test_a_sequence_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        sequence()
