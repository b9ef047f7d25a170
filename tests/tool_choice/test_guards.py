# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
import time
from collections.abc import Callable

import pytest

from agentkit import ConfigurationError, PolicyContradiction, State, ToolChoice
from agentkit.tool_choice import (
    Policy,
    all_of,
    any_of,
    before_answer,
    budget,
    cooldown,
    fallback,
    first,
    force,
    must_follow,
    never_after,
    none,
    one_at_a_time,
    only,
    prerequisite,
    sequence,
)
from tests.tool_choice import Made, state, turn
from tests.tool_choice.judging import judged

AUTO, NONE, REQUIRED = ToolChoice("auto"), ToolChoice("none"), ToolChoice("required", firm=True)
MADE: Made = ("a", "ok")
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
        (cooldown("a"), [("a", "ok"), ("a", "refused"), ("b", "ok"), ("a", "refused")], AUTO),
        (all_of("a", "b"), [("a", "ok"), ("b", "error")], REQUIRED),
        (all_of("a", "b"), [[("b", "ok"), ("a", "ok")]], AUTO),
        (any_of("a", "b"), [("a", "error"), ("c", "ok")], REQUIRED),
        (any_of("a", "b"), [("b", "ok")], AUTO),
        (prerequisite("a", "b", each=True), [("b", "ok"), ("a", "error")], ToolChoice(withheld=A)),
        (prerequisite("a", "b", each=True), [("b", "ok"), ("b", "ok"), ("a", "ok"), ("a", "refused")], AUTO),
        (never_after("a", "b", "c"), [("c", "error")], ToolChoice(withheld=A)),
        (never_after("a", "b"), [("a", "ok"), ("b", "refused")], AUTO),
        (must_follow("a", "b"), [("b", "ok"), ("a", "error")], AUTO),
        (must_follow("a", "b"), [("a", "ok"), ("a", "ok"), ("b", "ok"), ("b", "error")], REQUIRED),
        (must_follow("a", "b"), [("a", "ok"), ("a", "ok"), ("b", "ok"), ("b", "ok")], AUTO),
        (fallback("a", "b"), [("a", "error"), ("a", "refused")], ToolChoice(withheld=frozenset("b"))),
        (fallback("a", "b"), [("a", "error"), ("a", "ok"), ("a", "error")], ToolChoice(withheld=frozenset("b"))),
        (fallback("a", "b"), [("a", "error"), ("c", "ok"), ("a", "cancelled")], ToolChoice(withheld=A)),
        (fallback("a", "b"), [[("a", "error"), ("a", "error")], ("b", "error")], ToolChoice(withheld=A)),
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


@pytest.mark.parametrize(
    ("policy", "history", "calls", "verdicts"),
    [
        # What is in the same reply has not ended: nothing that a call needs has happened by it ...
        (prerequisite("a", "b"), [], "baa", "allow deny deny"),
        (prerequisite("a", "b"), [("b", "ok")], "aca", "allow allow allow"),
        (prerequisite("a", "b", each=True), [("b", "ok"), ("b", "ok")], "abaa", "allow allow allow deny"),
        (sequence("a", "b"), [], "abaa", "allow deny allow allow"),
        (sequence("a", "b"), [("a", "ok")], "ba", "allow deny"),
        (sequence("a", then=one_at_a_time()), [("a", "ok")], "ab", "allow deny"),
        (fallback("a", "b"), [("a", "error")], "aab", "allow allow deny"),
        (fallback("a", "b"), [("a", "error"), ("a", "error")], "abc", "deny allow allow"),
        (first(force("a", once=True)), [], "aab", "allow deny allow"),
        (first(force("a", once=True)), [("a", "ok")], "aab", "allow allow allow"),
        # ... and what it uses up or rules out, it has.
        (cooldown("a"), [], "aba", "allow allow deny"),
        (cooldown("a", 2), [("a", "ok"), ("b", "ok")], "ab", "deny allow"),
        (never_after("a", "b"), [], "aba", "allow allow deny"),
        (never_after("a", "b"), [("b", "ok")], "ac", "deny allow"),
        (only("a", "b", policy=one_at_a_time()), [], "ab", "allow deny"),
    ],
)
def test_which_calls_of_a_reply_run(policy: Policy, history: list[Made], calls: str, verdicts: str) -> None:
    assert judged(policy, state(*history), calls) == verdicts.split()


@pytest.mark.parametrize(
    ("policy", "history", "memory"),
    [
        (before_answer("a"), [("a", "ok")], True),
        (all_of("a", "b"), [("a", "ok")], frozenset("b")),
        (any_of("a", "b"), [("a", "error")], False),
        (never_after("a", "b"), [("b", "ok")], True),
        (must_follow("a", "b"), [("a", "ok")], 1),
        (must_follow("a", "b"), [("a", "ok")] * 5, 5),
        (prerequisite("a", "b", "c", each=True), [("b", "ok")] * 5, (5, 0)),
        (prerequisite("a", "b", "c"), [("b", "ok")] * 5, (1, 0)),
        (cooldown("a", 3), [("a", "ok"), ("b", "ok")], 2),
        (fallback("a", "b", 2), [("a", "error")] * 5, 2),
        (only("a", policy=before_answer("a")), [("a", "ok")], True),
    ],
)
def test_what_is_remembered(policy: Policy, history: list[Made], memory: object) -> None:
    assert policy.memory(state(*history)) == memory


@pytest.mark.parametrize(
    ("make", "before", "after"),
    [
        (before_answer, REQUIRED, AUTO),
        (lambda tool, scope: any_of(tool, "b", scope=scope), REQUIRED, AUTO),
        (lambda tool, scope: prerequisite("b", tool, scope=scope), ToolChoice(withheld=frozenset("b")), AUTO),
        (lambda tool, scope: never_after("b", tool, scope=scope), AUTO, ToolChoice(withheld=frozenset("b"))),
        (lambda tool, scope: must_follow(tool, "b", scope=scope), AUTO, REQUIRED),
        (lambda tool, scope: cooldown(tool, scope=scope), AUTO, ToolChoice(withheld=A)),
        (lambda tool, scope: budget(1, of=tool, scope=scope), AUTO, ToolChoice(withheld=A)),
    ],
)
def test_what_is_remembered_over_turns(make: Callable[..., Policy], before: ToolChoice, after: ToolChoice) -> None:
    again = State.of((*turn(("a", "ok")), *turn()))
    assert make("a", scope="turn")(again) == before
    assert make("a", scope="conversation")(again) == after


def test_a_cooldown_of_the_conversation_counts_its_steps() -> None:
    policy = cooldown("a", 2, scope="conversation")
    assert policy(State.of((*turn(("a", "ok"), ("b", "ok")), *turn()))) == ToolChoice(withheld=A)
    assert policy(State.of((*turn(("a", "ok"), ("b", "ok")), *turn(("b", "ok"))))) == AUTO


def test_a_long_conversation_is_read_quickly() -> None:
    again = State.of((*turn(*[[MADE] * 100] * 30), *turn(("b", "ok"))))
    policy = never_after("b", "c", scope="conversation") & cooldown("a", scope="conversation")
    began = time.process_time()
    for _ in range(100):
        policy(again)
    assert time.process_time() - began < 1


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
        lambda: prerequisite("a", "b", "b"),
        lambda: all_of("a"),
        lambda: all_of("a", "a"),
        lambda: any_of("a"),
        lambda: any_of("a", "a"),
        lambda: never_after("a"),
        lambda: never_after("a", "a"),
        lambda: never_after("a", "b", "b"),
        lambda: must_follow("a", "a"),
        lambda: only("a", "a"),
        lambda: cooldown("a", 0),
        lambda: cooldown("a", True),
        lambda: fallback("a", "a"),
        lambda: fallback("a", "b", 0),
        lambda: fallback("a", "b", 1.5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: before_answer(""),
        lambda: before_answer("a", scope="run"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: sequence("a", scope="run"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
def test_guards_of_nothing_are_refused(make: Callable[[], Policy]) -> None:
    with pytest.raises(ConfigurationError):
        make()
