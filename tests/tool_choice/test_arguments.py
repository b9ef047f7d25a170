from dataclasses import replace
from typing import Any

import pytest

from agentkit import AssistantMessage, State, ToolCall, ToolChoice, ToolMessage
from agentkit.core.choice import Values
from agentkit.tool_choice import Call, Policy, from_results, given, permitted, where
from agentkit.tool_choice.policy import ANY_RESULT
from tests.tool_choice import GO, state


def after(result: str) -> State:
    call = ToolCall("c", "list", "{}")
    return State.of((GO, AssistantMessage(tool_calls=(call,)), ToolMessage("c", result)))


def cheap(call: Call, state: State) -> bool:
    return bool(call["amount"] <= 100)


def ids(orders: Any) -> list[object]:
    return [order["id"] for order in orders]


@pytest.mark.parametrize(("otherwise", "kind", "reason"), [
    ("deny", "deny", "cheap"), ("ask", "ask", "cheap"), ("at most 100", "deny", "at most 100"),
])  # fmt: skip
def test_a_rule_on_arguments(otherwise: str, kind: str, reason: str) -> None:
    policy = where("pay", cheap, otherwise)
    verdict = policy.judge(Call("pay", {"amount": 101}), state())
    assert verdict.kind == kind
    assert reason in verdict.reason
    assert verdict.by == repr(policy)
    assert policy.judge(Call("pay", {"amount": 100}), state()).kind == "allow"
    assert policy.judge(Call("other", {}), state()).kind == "allow"
    assert policy.memory(state()) == policy.memory(state(("pay", "ok")))


@pytest.mark.parametrize(("policy", "result", "values"), [
    (from_results("cancel", "order", "list"), '["x", "y", "x"]', ("x", "y")),
    (from_results("cancel", "order", "list"), "42", (42,)),
    (from_results("cancel", "order", "list"), "not JSON", ("not JSON",)),
    (from_results("cancel", "order", "list", ids), '[{"id": 1}, {"id": 2}]', (1, 2)),
    (from_results("cancel", "order", "list", ids), "[1]", ()),
    (from_results("cancel", "order", "list"), ANY_RESULT, (ANY_RESULT,)),
])  # fmt: skip
def test_a_value_of_an_earlier_result(policy: Policy, result: str, values: tuple[object, ...]) -> None:
    now = after(result)
    withheld = ToolChoice(withheld=frozenset({"cancel"}))
    assert policy(state()) == withheld
    assert policy(now) == (ToolChoice(values=(Values("cancel", "order", values),)) if values else withheld)
    assert policy.memory(now) == values
    for value in values:
        assert policy.judge(Call("cancel", {"order": value}), now).kind == "allow"
    assert policy.judge(Call("cancel", {"order": "invented"}), now).kind == "deny"
    assert policy.judge(Call("cancel", {}), now).kind == "allow"
    assert policy.judge(Call("list", {"order": "invented"}), now).kind == "allow"
    assert (policy.results("list"), policy.results("cancel")) == (frozenset({ANY_RESULT}), frozenset())


def test_a_denied_value_says_what_is_known() -> None:
    policy = from_results("cancel", "order", "list")
    call = Call("cancel", {"order": "invented"})
    assert "'x'" in policy.judge(call, after('["x"]')).reason
    assert "call list first" in policy.judge(call, state()).reason


def test_a_call_whose_arguments_are_known() -> None:
    policy = given("fetch", day="today", most=3)
    assert policy(state()) == ToolChoice("tool", "fetch", arguments='{"day":"today","most":3}')
    assert repr(policy) == "given('fetch', day='today', most=3)"
    assert not policy.can_answer


def test_without_tools_anything_is_permitted() -> None:
    policy = permitted(lambda deps, tool: False)
    now = replace(state(), deps="someone")
    assert policy(now) == ToolChoice()
    assert policy.judge(Call("a"), now).kind == "allow"
