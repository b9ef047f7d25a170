# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
from typing import Any

import pytest

from agentkit import ConfigurationError, Tool, ToolChoice
from agentkit.tool_choice import Call, budget, first, one_at_a_time
from tests.tool_choice import Made, state
from tests.tool_choice.judging import judged

MADE: Made = ("a", "ok")


@pytest.mark.parametrize(("policy", "history", "calls", "verdicts"), [
    (budget(3), [("a", "ok"), ("b", "refused")], "abca", "allow allow deny deny"),
    (budget(0), [], "a", "deny"),
    (budget(2, of="a"), [("a", "error")], "abab", "allow allow deny allow"),
    (budget(4, weights={"a": 3, "c": 0}), [], "abcab", "allow allow allow deny deny"),
    (one_at_a_time(), [], "abc", "allow deny deny"),
])  # fmt: skip
def test_which_calls_of_a_reply_run(policy: Any, history: list[Made], calls: str, verdicts: str) -> None:
    assert judged(policy, state(*history), calls) == verdicts.split()


@pytest.mark.parametrize(("policy", "history", "choice"), [
    (budget(1), [], ToolChoice()),
    (budget(1), [("a", "ok")], ToolChoice("none")),
    (budget(1, of="a"), [("a", "ok")], ToolChoice(withheld=frozenset("a"))),
    (budget(3, weights={"a": 3}), [("b", "ok")], ToolChoice(withheld=frozenset("a"))),
    (one_at_a_time(), [], ToolChoice(once=True)),
])  # fmt: skip
def test_what_is_chosen(policy: Any, history: list[Made], choice: ToolChoice) -> None:
    assert policy(state(*history)) == choice


def test_the_model_is_told_how_many_calls_are_left() -> None:
    assert budget(2).remark(state()) is None
    assert "1 more call " in str(budget(2).remark(state(("a", "ok"))))
    assert "0 more calls of a " in str(budget(2, of="a").remark(state(("a", "ok"), ("a", "ok"))))
    # Once for each call that counted, and not again with those that did not.
    assert budget(2, of="a").remark(state(("a", "ok"), ("b", "ok"))) is None
    assert budget(1).remark(state(("a", "ok"), ("a", "refused"))) is None
    # What no longer holds says nothing.
    assert first(budget(1)).remark(state(("a", "ok"))) is None


@pytest.mark.parametrize(
    "options",
    [
        {"calls": -1},
        {"calls": 1.5},
        {"calls": True},
        {"calls": 1, "weights": {"a": -1}},
        {"calls": 1, "weights": {"a": 0.5}},
        {"calls": 1, "weights": {"a": 1, Tool.of(lambda: None, name="a"): 2}},
        {"calls": 1, "of": "a", "weights": {"a": 2}},
        {"calls": 1, "of": ""},
        {"calls": 1, "scope": "run"},
    ],
)
def test_what_says_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        budget(**options)


def test_what_is_remembered() -> None:
    assert budget(2).memory(state(("a", "ok"), ("a", "refused"))) == 1
    assert budget(2).memory(state(*[MADE] * 5)) == 0
    assert one_at_a_time().memory(state()) == one_at_a_time().memory(state(("a", "ok")))


def test_the_code_and_the_tools() -> None:
    policy = budget(9, weights={"b": 2, "a": 3}, scope="conversation")
    assert repr(policy) == "budget(9, weights={'a': 3, 'b': 2}, scope='conversation')"
    assert (policy.tools, budget(1, of="a").tools, budget(1).tools) == (frozenset("ab"), frozenset("a"), frozenset())
    assert (budget(1).silences, budget(1, of="a").silences) == (True, False)
    assert budget(1).judge(Call("a"), state()) == budget(2).judge(Call("a"), state())
