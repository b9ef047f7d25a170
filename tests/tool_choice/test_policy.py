# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any, cast

import pytest

from agentkit import ConfigurationError, PolicyContradiction, State, Tool, Toolbox, ToolChoice, tool, tool_choice
from agentkit.tool_choice import (
    Policy,
    auto,
    before_answer,
    both,
    budget,
    cooldown,
    first,
    fixed,
    force,
    no_repeat,
    none,
    only,
    policy_of,
    prerequisite,
    required,
    rule,
    sequence,
    until_called,
    when,
)
from tests.tool_choice import Made, late, state

HISTORIES: list[list[Made | list[Made]]] = [[], [("a", "ok")], [("a", "error")], [("a", "ok"), ("b", "ok")]]
NARROW = ToolChoice("required", tools=frozenset({"a", "b"}), withheld=frozenset({"b"}))


def plain(query: str) -> str:
    return query


@tool(name="marked")
def function(query: str) -> str:
    return query


def calm(state: State) -> str:
    return "none" if state.step > 1 else "auto"


class Odd(Policy):
    """A policy of one's own, as the manual has it."""

    mode: ToolChoice

    def __call__(self, state: State) -> ToolChoice:
        return self.mode if state.step % 2 else ToolChoice()


@pytest.mark.parametrize(
    ("policy", "choice"),
    [
        (auto, ToolChoice("auto")),
        (none, ToolChoice("none")),
        (required, ToolChoice("required")),
        (force("a"), ToolChoice("tool", "a")),
        (fixed(NARROW), NARROW),
    ],
)
def test_some_choose_the_same_whatever_came_before(policy: Policy, choice: ToolChoice) -> None:
    for history in HISTORIES:
        assert policy(state(*history)) == choice


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({"type": "function", "function": {"name": "search"}}, force("search")),
        ("auto", auto),
        ("none", none),
        ("required", required),
        ("search", force("search")),
        (Tool.of(plain), force("plain")),
        (Tool.of(plain, name="other"), force("other")),
        (function, force("marked")),
        (NARROW, fixed(NARROW)),
        (ToolChoice("none"), none),
        (budget(3), budget(3)),
        (calm, rule(calm)),
        (plain, rule(cast("Any", plain))),
    ],
)
def test_what_is_taken_for_a_policy(given: Any, policy: Policy) -> None:
    assert policy_of(given) == policy
    assert type(policy_of(given)) is type(policy)


async def soon(state: State) -> str:
    return "auto"


@pytest.mark.parametrize("nonsense", [None, 5, 2.5, [], ["a"], {"type": "function"}, no_repeat, dict, soon, Toolbox()])
def test_what_is_not(nonsense: Any) -> None:
    with pytest.raises(ConfigurationError):
        policy_of(nonsense)


@pytest.mark.parametrize(
    "give",
    [
        first,
        lambda policy: auto & policy,
        lambda policy: policy & auto,
        lambda policy: only("a", policy=policy),
        lambda policy: until_called("a", policy),
    ],
)
@pytest.mark.parametrize("given", ["none", none, ToolChoice("none"), lambda state: "none"])
def test_whatever_is_a_policy_is_taken_wherever_one_is(give: Callable[[Any], Policy], given: Any) -> None:
    assert give(given)(state()).mode == "none"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("search", "search"),
        (plain, "plain"),
        (function, "marked"),
        (Tool.of(plain), "plain"),
        (Tool.of(function, name="x"), "x"),
        (Toolbox.get, "get"),
    ],
)
def test_what_is_taken_for_a_tool(value: Any, name: str) -> None:
    assert force(value) == force(name)
    assert sequence(value).names == (name,)
    assert before_answer(value).tool == name
    assert only(value).names == (name,)
    assert until_called(value, required).tool == name
    assert prerequisite("pay", value).needs == (name,)


@pytest.mark.parametrize("nonsense", [None, 5, auto, partial(plain, "x"), ToolChoice()])
def test_what_is_no_tool(nonsense: Any) -> None:
    with pytest.raises(ConfigurationError):
        force(nonsense)


@pytest.mark.parametrize(
    "choice",
    [
        ToolChoice("tool"),
        ToolChoice("auto", "a"),
        ToolChoice("sometimes"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        ToolChoice("tool", "a", frozenset({"b"})),
        ToolChoice("tool", "a", withheld=frozenset({"a"})),
        ToolChoice("none", firm=True),
        ToolChoice("auto", firm=True),
    ],
)
def test_a_choice_that_is_none_is_refused(choice: ToolChoice) -> None:
    with pytest.raises(ConfigurationError):
        fixed(choice)
    with pytest.raises(ConfigurationError):
        rule(lambda state: choice)(state())


@pytest.mark.parametrize("policy", [auto, none, required], ids=repr)
def test_a_policy_that_is_called_as_if_it_made_one_says_so(policy: Any) -> None:
    for given in ((), ("search",), (auto,)):
        with pytest.raises(ConfigurationError, match="leave out the parentheses"):
            policy(*given)


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("none", ToolChoice("none")),
        ("search", ToolChoice("tool", "search")),
        (function, ToolChoice("tool", "marked")),
        (NARROW, NARROW),
        (first("required"), ToolChoice("required")),
        (lambda state: "required", ToolChoice("required")),
    ],
)
def test_a_rule_may_say_anything_that_stands_for_a_policy(answer: Any, choice: ToolChoice) -> None:
    assert rule(lambda state: answer)(state()) == choice


def test_a_rule_reads_the_state() -> None:
    policy = policy_of(lambda state: "none" if state.step > 1 else "auto")
    assert [policy(state(*history)).mode for history in HISTORIES] == ["auto", "auto", "auto", "none"]


def test_a_rule_that_says_nonsense_is_told_so() -> None:
    with pytest.raises(ConfigurationError):
        policy_of(lambda state: None)(state())


A, B, AB = frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("parts", "choice"),
    [
        ([auto, auto], ToolChoice()),
        ([auto, required], ToolChoice("required")),
        ([required, force("a")], ToolChoice("tool", "a")),
        ([force("a"), force("a")], ToolChoice("tool", "a")),
        ([force("a"), none], ToolChoice("none")),
        ([force("a"), force("b"), none], ToolChoice("none")),
        ([required, none], ToolChoice("none")),
        ([required, before_answer("a")], ToolChoice("required", firm=True)),
        ([auto, before_answer("a")], ToolChoice("required", firm=True)),
        ([force("b"), before_answer("a")], ToolChoice("tool", "b", firm=True)),
        ([only("a"), only("b")], ToolChoice(tools=frozenset())),
        ([only("a", "b"), only("b", "c"), required], ToolChoice("required", tools=B)),
        ([prerequisite("a", "c"), prerequisite("b", "c")], ToolChoice(withheld=AB)),
        ([only("a", "b"), prerequisite("b", "c")], ToolChoice(tools=AB, withheld=B)),
        ([force("a"), only("a"), prerequisite("b", "c")], ToolChoice("tool", "a", A, B)),
        ([only("a"), force("b"), none], ToolChoice("none", tools=A)),
        ([auto], ToolChoice()),
    ],
)
def test_all_of_them_at_once(parts: list[Policy], choice: ToolChoice) -> None:
    assert both(*parts)(state()) == choice
    assert both(*reversed(parts))(state()) == choice


@pytest.mark.parametrize(
    ("parts", "blamed"),
    [
        ([force("a"), force("b")], ["force('a')", "force('b')"]),
        ([force("a"), auto, force("a"), force("b")], ["force('a')", "force('b')"]),
        ([force("a"), only("b", "c")], ["force('a')", "only('b', 'c')"]),
        ([prerequisite("a", "b"), force("a")], ["force('a')", "prerequisite('a', 'b')"]),
        ([budget(0), before_answer("a")], ["budget(0)", "before_answer('a')"]),
        ([first(force("a")), sequence("b")], ["first(force('a'))", "sequence('b')"]),
        ([only("b", policy=force("a")), none], ["only('b', policy=force('a'))"]),
    ],
)
def test_a_contradiction_names_both(parts: list[Policy], blamed: list[str]) -> None:
    with pytest.raises(PolicyContradiction) as caught:
        both(*parts)(state())
    assert all(policy in str(caught.value) for policy in blamed)


def test_brackets_do_not_matter() -> None:
    assert (auto & none) & required == auto & (none & required) == both(auto, none, required)
    assert both(both(auto)) == both(auto)


def test_and_takes_what_stands_for_a_policy_on_either_side() -> None:
    assert force("a") & "required" == both(force("a"), required)
    assert "required" & force("a") == both(required, force("a"))
    assert calm & auto == both(rule(calm), auto)
    assert function & auto == force("marked") & auto
    assert Tool.of(plain) & auto == force("plain") & auto
    assert ToolChoice("none") & auto == none & auto


def test_nothing_at_once_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        both()


VALUES: list[Callable[[], Policy]] = [
    *(lambda: auto, lambda: none, lambda: required, lambda: fixed(NARROW), lambda: fixed(ToolChoice("tool", "a"))),
    *(lambda: force("a"), lambda: first("a"), lambda: first("a", then="none"), lambda: sequence("a", "b")),
    *(lambda: sequence("a", then=budget(2)), lambda: until_called("a", "required"), lambda: before_answer("a")),
    *(lambda: prerequisite("a", "b", "c"), lambda: only("a"), lambda: only("b", "a", policy="required")),
    *(lambda: budget(3), lambda: cooldown("a"), lambda: cooldown("a", 2), lambda: no_repeat(2), lambda: both("auto")),
    *(lambda: both("auto", "none"), lambda: before_answer("a") & budget(8) & no_repeat(3)),
    lambda: first(force("a") & only("a", "b"), then=auto & no_repeat(2)),
]


@pytest.mark.parametrize("make", VALUES)
def test_a_policy_is_a_frozen_value_and_its_repr_is_the_code_that_makes_it(make: Callable[[], Policy]) -> None:
    policy = make()
    assert policy == make()
    assert {policy: 1}[make()] == 1
    assert eval(repr(policy), {name: getattr(tool_choice, name) for name in tool_choice.__all__}) == policy  # noqa: S307 (our own text)
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 (our own bytes)
    for name in ("policy", "tool", "new"):
        with pytest.raises(FrozenInstanceError):
            setattr(policy, name, auto)


def test_others_are_not_equal() -> None:
    different = [make() for make in VALUES]
    assert len(set(different)) == len(different)
    assert rule(calm) == rule(calm) != rule(lambda state: "auto")
    assert no_repeat(2).bound(Toolbox([plain])) == no_repeat(2)


class Callback:
    def __call__(self, state: State) -> str:
        return "none"


def test_the_repr_names_a_function_of_yours() -> None:
    assert repr(rule(calm)) == "rule(calm)"
    assert repr(policy_of(lambda state: "auto")) == "rule(<lambda>)"
    assert repr(policy_of(Callback())) == "rule(Callback)"
    assert repr(when(late, "none")) == "when(late, none)"
    assert repr(auto & calm) == "auto & rule(calm)"


@pytest.mark.parametrize(
    ("policy", "can_answer", "silences"),
    [
        (auto, True, False),
        (none, True, True),
        (required, False, False),
        (fixed(NARROW), False, False),
        (fixed(ToolChoice("none", tools=A)), True, True),
        (force("a"), False, False),
        (rule(calm), True, True),
        (Odd(ToolChoice("none")), True, False),
        (both(required), False, False),
        (required & auto, False, False),
        (auto & before_answer("a"), True, False),
        (required & none, True, True),
        (required & budget(3), True, True),
        (required & first("required", then="none"), True, True),
        (required & when(late, "none"), True, True),
        (required & late, True, True),
        (required & no_repeat(3), False, False),
        (required & prerequisite("a", "b"), False, False),
        (required & only("a"), False, False),
        (required & only("a", policy=budget(2)), True, True),
        (force("a") & sequence("a", then="none"), True, True),
        (force("a") & until_called("a", none), True, True),
    ],
)
def test_whether_the_model_may_ever_answer(policy: Policy, can_answer: bool, silences: bool) -> None:
    assert (policy.can_answer, policy.silences) == (can_answer, silences)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (auto, ""),
        (fixed(NARROW), "ab"),
        (fixed(ToolChoice("tool", "c")), "c"),
        (force("a"), "a"),
        (rule(calm), ""),
        (force("a") & (before_answer("b") & only("c", "d")), "abcd"),
        (first("a", then="b"), "ab"),
        (when(late, "a", "b"), "ab"),
    ],
)
def test_the_tools_that_it_speaks_of(policy: Policy, names: str) -> None:
    assert policy.tools == set(names)


def test_the_parts() -> None:
    assert first("a", then=none).parts == (force("a"), none)
    assert (auto & none & required).parts == (auto, none, required)
    assert auto.parts == sequence("a").then.parts == ()


def test_a_policy_of_ones_own_holds_together_with_others() -> None:
    policy = Odd(ToolChoice("required")) & budget(2)
    assert [policy(state(*history)).mode for history in HISTORIES] == ["auto", "required", "required", "none"]
    assert Odd(ToolChoice()) == Odd(ToolChoice()) != Odd(ToolChoice("none"))
    assert policy.bound(Toolbox()) == policy
    assert policy.remark(state()) is None
    assert Policy()(state()) == ToolChoice()
