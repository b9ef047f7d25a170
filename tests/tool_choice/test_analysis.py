import pytest

from agentkit import State
from agentkit.tool_choice import (
    Call,
    Policy,
    PolicyLike,
    before_answer,
    budget,
    first,
    force,
    from_results,
    given,
    machine,
    none,
    phase,
    prerequisite,
    required,
    rule,
    sequence,
    where,
)
from agentkit.tool_choice.analysis import explore

ROUND = prerequisite("a", "b") & prerequisite("b", "a")
LINE = machine("begin", begin=phase(force("a"), {"x": "one", "y": "two"}), one=force("b"), two=force("c"))


@pytest.mark.parametrize(("policy", "states"), [
    ("auto", 1),
    (sequence("a", "b"), 3),
    (before_answer("a"), 2),
    (budget(3), 4),
    (first("a"), 2),
    (given("a"), 1),
    (from_results("a", "n", of="b"), 2),
    (LINE, 3),
])  # fmt: skip
def test_histories_that_are_remembered_alike_are_one_state(policy: PolicyLike, states: int) -> None:
    report = explore(policy, "abc")
    assert (len(report.nodes), report.complete) == (states, True)
    assert str(report).startswith(f"{states} state")


@pytest.mark.parametrize(("policy", "paths"), [
    (sequence("a", "b") & prerequisite("a", "b"), [()]),
    (sequence("a", "b") & sequence("a", "c"), [("a:ok",)]),
    (before_answer("a") & budget(0), [()]),
    (before_answer("a") & budget(1), [("a:error",), ("b:ok",)]),
    (required & ROUND & prerequisite("c", "a"), [()]),
])  # fmt: skip
def test_a_contradiction_has_the_shortest_way_there(policy: Policy, paths: list[tuple[str, ...]]) -> None:
    report = explore(policy, "abc")
    assert report.contradictions[0].path in paths
    assert str(report.contradictions[0]) in str(report)
    assert not report.sound


def test_tools_that_can_never_be_called() -> None:
    assert explore(ROUND, "abc").dead == {"a", "b"}
    assert "a, b can never be called" in str(explore(ROUND, "abc"))
    assert explore(ROUND & rule(lambda state: "none"), "a").dead == {"a"}
    assert explore("auto", "abc").sound


def test_states_from_which_no_answer_can_be_reached() -> None:
    report = explore(LINE, "abc")
    assert report.stuck == ((), ("a:x",), ("a:y",))
    assert "stuck after a:x" in str(report)
    assert explore(force("a"), "a", stop_at="a").stuck == ()
    assert explore(required, "a", stop_at="a").sound


def fussy(call: Call, state: State) -> bool:
    return call["n"] > 1  # type: ignore[no-any-return]


def test_a_rule_on_arguments_may_allow_some() -> None:
    assert explore(where("a", fussy), "ab").sound


def late(state: State) -> str:
    return "none" if state.step > 3 else "auto"


def test_a_policy_of_ones_own_is_explored_to_a_limit() -> None:
    report = explore(rule(late), "a", most=20)
    assert (len(report.nodes), report.complete, report.stuck, report.dead) == (20, False, (), frozenset())
    assert str(report).startswith("more than 20 states")


def test_the_graph() -> None:
    drawn = explore(sequence("a", "b", then=none), "ab").graph.mermaid()
    assert 's0["a"]' in drawn
    assert 's0 -->|"a:ok"| s1' in drawn
    assert 's2(["none"])' in drawn
    assert "#c92a2a" not in drawn
    assert "#c92a2a" in explore(sequence("a") & prerequisite("a", "b"), "ab").graph.mermaid()
