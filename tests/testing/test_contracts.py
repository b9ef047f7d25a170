from collections.abc import Hashable
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.core.choice import ToolChoice, Verdict, allow, deny
from agentkit.core.state import Call, State
from agentkit.testing import policy_contract
from agentkit.tool_choice import Policy, PolicyLike, ToolName, auto, force, none, required, rule
from tests.tool_choice import EXAMPLES, NAMES

_numbers = count()


def free(state: State) -> str:
    return "auto"


def within() -> Policy:
    """A rule that cannot be pickled."""

    def inner(state: State) -> str:
        return free(state)

    return rule(inner)


class quiet(Policy):  # noqa: N801 (as the policies are named)
    """Right in everything: after an error of the tool, none of it."""

    tool: ToolName

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(withheld=frozenset({self.tool} if self.memory(state) else ()))

    def memory(self, state: State) -> bool:
        return any(record.outcome == "error" and record.call.name == self.tool for record in state.calls)


class impure(Policy):  # noqa: N801
    def judge(self, call: Call, state: State) -> Verdict:
        return allow if next(_numbers) % 7 else deny("not now")

    def memory(self, state: State) -> Hashable:
        return ()


class silent(Policy):  # noqa: N801
    @property
    def can_answer(self) -> bool:
        return False


class mute(Policy):  # noqa: N801
    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice("none")


class loose(Policy):  # noqa: N801
    def __and__(self, other: PolicyLike) -> Policy:
        return auto

    def judge(self, call: Call, state: State) -> Verdict:
        return deny("never")


class forgetful(quiet):  # noqa: N801
    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice("required" if len(state.calls) > 2 else "auto")

    def memory(self, state: State) -> bool:
        return False


class delayed(quiet):  # noqa: N801
    def memory(self, state: State) -> bool:
        return len(state.calls) > 3


class open_(Policy):  # noqa: N801
    def __setattr__(self, name: str, value: object) -> None:
        vars(self)[name] = value


class copied(Policy):  # noqa: N801
    def __reduce__(self) -> Any:
        return (quiet, ("a",))


@pytest.mark.parametrize("policy", [quiet("a"), rule(free), within(), none, force("a"), required])
def test_a_policy_that_keeps_it(policy: PolicyLike) -> None:
    policy_contract(policy, ["a", "b"])


@pytest.mark.parametrize(("policy", "reason"), [
    (impure(), "is not pure"),
    (silent(), "can_answer of"),
    (mute(), "silences of"),
    (loose(), "allows more than"),
    (forgetful("a"), "leaves out what it reads"),
    (delayed("a"), "leaves out what it reads"),
    (open_(), "is not frozen"),
    (copied(), "is another policy"),
])  # fmt: skip
def test_a_policy_that_does_not(policy: Policy, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        policy_contract(policy, ["a", "b"])


# `relevant` lets through what another part forces, so `&` loosens it.
@pytest.mark.no_cover
@pytest.mark.parametrize("kind", sorted(EXAMPLES.keys() - {"relevant"}))
def test_every_policy_keeps_it(kind: str) -> None:
    simple = st.sampled_from([auto, required, none, force("a")])

    @settings(deadline=None, max_examples=1)
    @given(EXAMPLES[kind](simple))
    def check(policy: Policy) -> None:
        policy_contract(policy, NAMES)

    check()
