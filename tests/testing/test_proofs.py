from collections.abc import Callable

import pytest

from agentkit import Agent, tool
from agentkit.testing import assert_that
from agentkit.testing.proofs import Proof
from agentkit.tool_choice import (
    PolicyLike,
    auto,
    before_answer,
    budget,
    first,
    never_after,
    prerequisite,
    rule,
    sequence,
)
from tests.scripted import Scripted


@tool
def pay() -> str:
    """Pay."""
    return "paid"


@tool
def approve() -> str:
    """Approve."""
    return "approved"


def proof(policy: PolicyLike) -> Proof:
    return assert_that(Agent(Scripted(), tools=[pay, approve], tool_choice=policy))


def test_what_holds_can_be_chained() -> None:
    held = proof(sequence(approve, pay)).never("pay").before("approve").every_tool_reachable().always_answers(within=2)
    assert isinstance(held, Proof)
    proof(prerequisite(pay, approve)).never(pay).before(approve).always_answers()
    proof(never_after(pay, approve)).never(pay).after(approve)
    proof(budget(0, of=pay)).never(pay).at_all().always_answers(within=0)


REFUTED: list[tuple[PolicyLike, Callable[[Proof], object], str]] = [
    (auto, lambda proof: proof.never("pay").before("approve"), "pay can run before approve has succeeded: pay:ok, at"),
    (first(approve), lambda proof: proof.never("pay").before("approve"), "pay:ok, after approve:error, under first"),
    (auto, lambda proof: proof.never("pay").after("approve"), "approve:ok+pay:ok, at the beginning"),
    (first(approve), lambda proof: proof.never("pay").at_all(), "pay can run: pay:ok, after approve:ok"),
    (auto & budget(0, of=pay), lambda proof: proof.every_tool_reachable(), "pay can never be called"),
    (before_answer(pay) & budget(1), lambda proof: proof.always_answers(), "no answer comes after approve:ok: "),
    (
        before_answer(pay) & budget(2, of=pay),
        lambda proof: proof.always_answers(),
        "after pay:error, then pay:error, u",
    ),
    (
        sequence(approve, pay),
        lambda proof: proof.always_answers(within=1),
        "takes 2 replies with calls at the beginning",
    ),
    ("auto" & rule(lambda state: "auto"), lambda proof: proof.always_answers(), "not proven under auto & rule"),
    (rule(lambda state: "none"), lambda proof: proof.never("pay").at_all(), "not proven"),
    (auto, lambda proof: proof.never("delete"), "has no tool 'delete'"),
    (auto, lambda proof: proof.never("pay").before("delete"), "has no tool 'delete'"),
]


@pytest.mark.parametrize(("policy", "asserted", "counter_example"), REFUTED)
def test_what_does_not_hold_is_refuted(
    policy: PolicyLike, asserted: Callable[[Proof], object], counter_example: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        asserted(proof(policy))
    assert counter_example in str(caught.value)


def test_an_assertion_that_is_not_completed_warns() -> None:
    with pytest.warns(RuntimeWarning, match="asserts nothing"):
        proof(auto).never("pay")
