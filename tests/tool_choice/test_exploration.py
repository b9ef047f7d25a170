import pytest

from agentkit import State
from agentkit.core.choice import ToolChoice, Verdict, allow, deny
from agentkit.tool_choice import (
    Call,
    Policy,
    PolicyLike,
    auto,
    before_answer,
    both,
    budget,
    each,
    first,
    force,
    from_results,
    given,
    machine,
    never_after,
    no_repeat,
    none,
    one_at_a_time,
    permitted,
    phase,
    policy_of,
    prerequisite,
    relevant,
    required,
    rule,
    sequence,
    when,
    where,
)
from agentkit.tool_choice.exploration import Exploration, MadeCall, parts_of
from agentkit.tool_choice.report import Report

ROUND = prerequisite("a", "b") & prerequisite("b", "a")
LINE = machine("begin", begin=phase(force("a"), {"x": "one", "y": "two"}), one=force("b"), two=force("c"))


def explore(policy: PolicyLike, tools: str = "abc", stop_at: str = "", most: int = 500, longest: int = 2) -> Report:
    return Exploration(policy_of(policy), tools, stop_at, most=most, longest=longest).report()


def labels(report: Report, number: int = 0) -> set[str]:
    return {label for label, _ in report.nodes[number].moves}


@pytest.mark.parametrize(("policy", "states"), [
    ("auto", 1),
    (sequence("a", "b"), 3),
    (before_answer("a"), 2),
    (budget(3), 4),
    (first("a"), 2),
    (given("a"), 1),
    (from_results("a", "n", of="b"), 2),
    (each("b", "n", over="a"), 2),
    (LINE, 3),
    (before_answer("a") & never_after("a", "b"), 4),
    ("auto" & no_repeat(1), 1),
])  # fmt: skip
def test_histories_that_are_remembered_alike_are_one_state(policy: PolicyLike, states: int) -> None:
    report = explore(policy)
    assert (len(report.nodes), report.complete) == (states, True)


@pytest.mark.parametrize(("policy", "path"), [
    (sequence("a", "b") & prerequisite("a", "b"), ()),
    (sequence("a", "b") & sequence("a", "c"), ("a:ok",)),
    (before_answer("a") & budget(0), ()),
    (before_answer("a") & budget(1), ("a:error",)),
    (required & ROUND & prerequisite("c", "a"), ()),
    # In the first turn all is well.
    (first("a", then="none") & budget(1, of="a", scope="conversation"), ("a:ok", "user")),
])  # fmt: skip
def test_a_contradiction_has_the_shortest_way_there(policy: Policy, path: tuple[str, ...]) -> None:
    assert explore(policy).contradictions[0].path == path


def test_tools_that_can_never_be_called() -> None:
    assert explore(ROUND).dead == {"a", "b"}
    assert explore(none, "a").dead == {"a"}
    assert explore("auto").dead == frozenset()


def test_states_from_which_no_answer_can_be_reached() -> None:
    assert explore(before_answer("a") & never_after("a", "b"), "ab").stuck == (("b:ok",), ("b:ok", "b:ok"))[:1]
    assert explore(LINE).stuck == ((), ("a:x",), ("a:y",))
    assert explore(force("a"), "a", stop_at="a").stuck == ()
    assert explore(required, "a", stop_at="a").sound


def test_replies_of_two_calls() -> None:
    assert labels(explore(budget(2), "a")) == {"a:ok", "a:error", "a:ok+a:ok"}
    assert labels(explore(budget(2), "a", longest=1)) == {"a:ok", "a:error"}
    assert labels(explore(budget(2) & one_at_a_time(), "a")) == {"a:ok", "a:error"}
    assert labels(explore(first(given("a"), then=budget(2)), "a")) == {"a:ok", "a:error"}
    # The call that is judged second sees the first, whose end is not known yet.
    assert "a:ok+b:ok" not in labels(explore(never_after("b", "a") & before_answer("b") & before_answer("a"), "ab"))


def test_calls_that_end_the_run() -> None:
    report = explore(sequence("a", "b"), "ab", stop_at="a")
    assert (len(report.nodes), report.nodes[0].answers) == (1, True)
    report = explore(sequence("a", scope="conversation"), "a", stop_at="a")
    assert labels(report) == {"a:ok, user", "a:error"}
    assert report.nodes[1].path == ("a:ok", "user")


def test_a_call_that_may_not_run_can_be_remembered() -> None:
    assert "c:refused" in labels(explore(rule(late), "abc", most=20))
    assert "c:refused" not in labels(explore(sequence("a"), "abc"))


def fussy(call: Call, state: State) -> bool:
    return "n" in call.arguments and bool(call["n"] > 1)


def late(state: State) -> str:
    return "none" if state.step > 3 else "auto"


def wordy(state: State) -> bool:
    return len(state.messages) > 3


def wrong(state: State) -> str:
    raise ValueError("no")


class listing(Policy):  # noqa: N801 (as the policies are named)
    def memory(self, state: State) -> list[str]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return [record.call.name for record in state.calls]


class rights(Policy):  # noqa: N801 (as above)
    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if state.deps.admin else ToolChoice("none")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    def judge(self, call: Call, state: State) -> Verdict:
        return allow if call.name == "a" else deny("only a")

    def memory(self, state: State) -> None:
        return None


@pytest.mark.parametrize(("policy", "assumed"), [
    (where("a", fussy), ["where('a', fussy) reads the arguments of a call"]),
    (relevant(3), ["relevant(3) reads the messages"]),
    (when(wordy, none), ["when(wordy, none) reads the messages"]),
    (rule(wrong), ["rule(wrong) raised ValueError('no')"]),
    (listing(), ["listing() raised TypeError(\"unhashable type: 'list'\")"]),
    (rights(), ["rights() reads the dependencies of the run"]),
])  # fmt: skip
def test_what_reads_more_than_the_calls_is_taken_to_allow_everything(policy: Policy, assumed: list[str]) -> None:
    report = explore(policy, most=20)
    assert report.assumed == tuple(assumed)
    assert not report.contradictions
    assert all(str(node.choice) == "auto" for node in report.nodes)


def test_what_does_not_read_more_is_still_judged() -> None:
    assert explore(rights(), "ab").dead == {"b"}
    assert explore(both(rights(), required) & budget(1), "ab").contradictions == ()
    assert explore(permitted(lambda deps, tool: tool.name == "a"), "ab").sound  # it is not bound to tools


def test_a_policy_of_ones_own_is_explored_to_a_depth() -> None:
    report = explore(rule(late), "a", most=20, longest=1)
    assert (len(report.nodes), report.complete, report.depth) == (20, False, 2)
    assert (report.stuck, report.dead) == ((), frozenset())
    assert any(number is None for node in report.nodes for _, number in node.moves)
    # What is found before the depth is found.
    assert explore(rule(late) & before_answer("a") & budget(0), "a", most=20).contradictions[0].path == ()
    assert explore(sequence("a", "a", "a", "a", then=none), "a", most=2).depth == 1


def test_a_rule_is_watched() -> None:
    def breach(policy: Policy, rule: Policy, stop_at: str = "") -> tuple[str, ...] | None:
        exploration = Exploration(policy, "abc", stop_at, most=100, rule=rule)
        exploration.report()
        return exploration.breach

    assert breach(sequence("a", "b", then=none), prerequisite("b", "a")) is None
    assert breach(sequence("c", "b"), prerequisite("b", "a")) == ("c:ok", "b:ok")
    assert breach(budget(1), never_after("b", "a")) is None
    assert breach(budget(2), never_after("b", "a")) == ("a:ok+b:ok",)
    assert breach(first(required, then=none), never_after("b", "a")) == ("a:ok+b:ok",)
    assert breach(sequence("a", "b"), never_after("b", "a"), stop_at="a") is None


def test_the_parts() -> None:
    assert parts_of(sequence("a") & no_repeat(2)) == (sequence("a"),)
    assert parts_of(no_repeat(2)) == (auto,)
    assert explore(no_repeat(2)).dead == frozenset()
    assert first(budget(2, scope="conversation")).remembers_turns
    assert not first(budget(2)).remembers_turns
    assert [str(MadeCall("a", "ok")), str(MadeCall("a", "ok", "x"))] == ["a:ok", "a:x"]
