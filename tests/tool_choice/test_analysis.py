import pytest

from agentkit import Agent, ConfigurationError, tool
from agentkit.tool_choice import (
    Policy,
    analyse,
    before_answer,
    budget,
    first,
    force,
    none,
    only,
    prerequisite,
    required,
    rule,
    sequence,
    until_called,
)
from agentkit.tool_choice.analysis import breach_of, forgets_to_say, refusal
from tests.scripted import Scripted


@tool
def a() -> str:
    """A."""
    return "a"


@tool
def b() -> str:
    """B."""
    return "b"


AGENT = Agent(Scripted(), tools=[a, b], tool_choice=first(a) & budget(2), stop_at=b)


def test_of_an_agent_and_of_a_policy() -> None:
    assert analyse(AGENT) == analyse(first("a") & budget(2), ["a", "b"], stop_at=["b"])
    assert analyse(AGENT) == analyse(first(a) & budget(2), [a, b], stop_at=[b])
    assert len(analyse("auto", ["a"]).nodes) == 1
    assert analyse(budget(9), ["a"], most=3).depth == 2
    with pytest.raises(ConfigurationError, match="name its tools"):
        analyse("auto")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def refused(policy: Policy, tools: str = "abc", stop_at: str = "") -> str | None:
    return refusal(policy, frozenset(tools), frozenset(stop_at))


@pytest.mark.parametrize(("policy", "reason"), [
    (prerequisite("a", "b") & prerequisite("b", "a"), "'a' can never be called"),
    (sequence("a", "b") & prerequisite("a", "b"), "at the beginning: "),
    (sequence("a", "b") & sequence("c", "a"), "at the beginning: "),
    (sequence("a", "b") & sequence("a", "c"), "after a:ok: "),
    (before_answer("a") & budget(0), "at the beginning: "),
    (before_answer("a") & only("b"), "it asks for more calls"),
    (first("a", then=force("b")), "it asks for more calls"),
])  # fmt: skip
def test_what_an_agent_cannot_have(policy: Policy, reason: str) -> None:
    assert reason in (refused(policy) or "")


@pytest.mark.parametrize("policy", [
    before_answer("a") & budget(1),
    sequence("a", "b") & budget(2),
    until_called("a", required) & budget(0, of="b"),
    only("a") & prerequisite("b", "a"),
    first(none, then=force("a")),
    before_answer("a") & budget(0) & rule(lambda state: "none"),
    budget(9) & budget(9, of="a") & budget(9, of="b") & budget(9, of="c"),  # more states than are explored then
])  # fmt: skip
def test_what_an_agent_can_have(policy: Policy) -> None:
    assert refused(policy) is None


def test_where_only_a_reply_of_two_calls_leads_on() -> None:
    policy = first(required, then="none") & before_answer("a") & before_answer("b")
    assert analyse(policy, "ab").contradictions[0].path == ("a:ok",)
    assert refused(policy) is None


def test_a_call_that_ends_the_run_is_an_end() -> None:
    assert refused(required & budget(3), stop_at="a") is None
    assert refused(first("a", then=force("b")), stop_at="b") is None


def test_who_does_not_say_what_it_remembers() -> None:
    assert forgets_to_say(first(rule(lambda state: "auto")) & budget(2))
    assert not forgets_to_say(first("a") & budget(2))


def test_a_rule_that_is_broken_and_one_that_is_kept() -> None:
    assert breach_of(budget(2), AGENT)[0] is None
    path, report = breach_of(prerequisite("b", "a"), AGENT)
    assert path == ("a:error", "b:ok")
    assert report.complete
