"""The policy of a run fits its tools, or is refused."""

from typing import Any

import pytest

from agentkit import Agent, ConfigurationError, State, Tool, Toolbox, tool
from agentkit.runs.governing import governed
from agentkit.tool_choice import (
    Call,
    Policy,
    PolicyLike,
    all_of,
    analyse,
    auto,
    before_answer,
    budget,
    first,
    no_repeat,
    only,
    prerequisite,
    required,
    sequence,
    where,
)
from tests.scripted import Scripted


@tool
def search(query: str) -> str:
    return query


def find(query: str) -> str:
    return query


class bound(Policy):  # noqa: N801 (as the policies are named)
    def bound(self, toolbox: Toolbox) -> Policy:
        return bound()


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __call__(self, call: Call, state: State) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def silent(state: State) -> str:
    return "none"


def test_a_policy_that_lets_no_answer_be_needs_a_tool_that_ends_the_run() -> None:
    toolbox = Toolbox([search])
    assert repr(governed("required", toolbox, frozenset({"search"}), None, 2, None)[1]) == "required"
    with pytest.raises(ConfigurationError, match="never answer"):
        governed("required", toolbox, frozenset(), None, 2, None)


def test_tools_that_vary_may_be_missing() -> None:
    policy = budget(3, of="later")
    with pytest.raises(ConfigurationError, match="'later'"):
        governed(policy, Toolbox([search]), frozenset(), None, 2, None)
    assert governed(policy, Toolbox([search]), frozenset({"last"}), None, 2, None, varying=True)[1] == policy


def test_a_policy_is_prepared_once_for_many_agents() -> None:
    def policy(choice: PolicyLike, *tools: Any) -> Policy:
        return Agent(Scripted(), tools=tools, tool_choice=choice).tool_choice

    @tool(repeatable=True)
    def poll() -> str:
        """Poll."""
        return ""

    assert policy(before_answer(search) & budget(3), search) is policy(before_answer(search) & budget(3), search)
    # What takes something from the tools is made for each agent.
    assert policy("auto", search, poll) is not policy("auto", search, poll)
    assert policy(bound(), search) is not policy(bound(), search)
    assert policy(where(search, Unhashable()), search) == where(search, Unhashable()) & no_repeat(5)


@pytest.mark.parametrize(("policy", "reason"), [
    (prerequisite("search", "file") & prerequisite("file", "search"), "'file' can never be called under"),
    (sequence("search", "read") & only("search"), "after search:ok: "),
    (before_answer("search") & budget(0), "at the beginning: budget"),
    (all_of("search", "read") & only("search"), "it asks for more calls"),
])  # fmt: skip
def test_a_contradiction_is_refused_with_the_way_there(policy: Policy, reason: str) -> None:
    tools: list[Any] = [search, Tool.of(find, name="file"), Tool.of(find, name="read")]
    with pytest.raises(ConfigurationError, match="analyse") as caught:
        Agent(Scripted(), tools=tools, tool_choice=policy)
    assert reason in str(caught.value)


@pytest.mark.parametrize("policy", [
    before_answer("search") & budget(3),  # only a wasteful model comes to the contradiction
    auto & budget(0, of="search"),  # a part alone says so: it is meant
    sequence("search") & prerequisite("search", "read") & silent,  # it may choose `none`
])  # fmt: skip
def test_what_an_obedient_model_can_do_is_accepted(policy: Policy) -> None:
    Agent(Scripted(), tools=[search, Tool.of(find, name="read")], tool_choice=policy)


def test_a_structured_output_is_an_answer() -> None:
    agent = Agent(Scripted(), tools=[search], tool_choice=first("search", then=required) & budget(4), output=int)
    assert analyse(agent).sound
