# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# mypy: disable-error-code="arg-type, return-value"
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import Field
from pydantic_core import ValidationError

from agentkit import (
    Agent,
    AssistantMessage,
    PolicyError,
    State,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMessage,
    tool,
)
from agentkit.core.choice import Values
from agentkit.core.json import encode
from agentkit.tool_choice import (
    Call,
    Policy,
    auto,
    from_results,
    given,
    permitted,
    where,
)
from agentkit.tool_choice.choices import as_json
from agentkit.tool_choice.policy import ANY_RESULT
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema.json_schema import arguments_from_schema
from agentkit.tools.toolbox import Toolbox
from tests.scripted import Scripted, called, said
from tests.tool_choice import GO, state

pytestmark = pytest.mark.anyio


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
    assert (policy & auto).judge(Call("pay", {"amount": 101}), state()).by == repr(policy)
    assert policy.judge(Call("pay", {"amount": 100}), state()).kind == "allow"
    assert policy.judge(Call("other", {}), state()).kind == "allow"
    assert policy.memory(state()) == policy.memory(state(("pay", "ok")))


@pytest.mark.parametrize(("policy", "result", "values"), [
    (from_results("cancel", "order", "list"), '["x", "y", "x"]', ("x", "y")),
    (from_results("cancel", "order", "list"), "42", (42,)),
    (from_results("cancel", "order", "list"), "not JSON", ("not JSON",)),
    (from_results("cancel", "order", "list", ids), '[{"id": 1}, {"id": 2}]', (1, 2)),
    (from_results("cancel", "order", "list", ids), "[]", ()),
    (from_results("cancel", "order", "list"), '{"x": 1}', ()),
    (from_results("cancel", "order", "list"), '[1, true, 1.0, {"a": [2]}, null]', (1, True, 1.0, {"a": [2]}, None)),
    (from_results("cancel", "order", "list"), ANY_RESULT, (ANY_RESULT,)),
])  # fmt: skip
def test_a_value_of_an_earlier_result(policy: Policy, result: str, values: tuple[object, ...]) -> None:
    now = after(result)
    withheld = ToolChoice(withheld=frozenset({"cancel"}))
    assert policy(state()) == withheld
    assert policy(now) == (ToolChoice(values=(Values("cancel", "order", values),)) if values else withheld)
    assert policy.memory(now) == tuple(map(as_json, values))
    for value in values:
        assert policy.judge(Call("cancel", {"order": value}), now).kind == "allow"
    assert policy.judge(Call("cancel", {"order": "invented"}), now).kind == "deny"
    assert policy.judge(Call("cancel", {}), now).kind == ("allow" if values else "deny")
    assert policy.judge(Call("list", {"order": "invented"}), now).kind == "allow"
    assert (policy.results("list"), policy.results("cancel")) == (frozenset({ANY_RESULT}), frozenset())


def test_a_denied_value_says_what_is_known() -> None:
    policy = from_results("cancel", "order", "list")
    call = Call("cancel", {"order": "invented"})
    assert '"x"' in policy.judge(call, after('["x"]')).reason
    assert "result of list" in policy.judge(call, state()).reason


def test_each_item_of_a_list_is_a_value() -> None:
    policy, now = from_results("cancel", "orders", "list"), after('["x", "y"]')
    verdicts = [policy.judge(Call("cancel", {"orders": orders}), now).kind for orders in (["y", "x"], [], ["x", "z"])]
    assert verdicts == ["allow", "allow", "deny"]


@pytest.mark.parametrize("value", [1, True, 1.0, UUID(int=1), {1, 2}, float("nan")])
def test_values_are_compared_as_json(value: object) -> None:
    results = {"1": 1, "true": True, "1.0": 1.0}
    for text, known in results.items():
        kind = from_results("cancel", "order", "list").judge(Call("cancel", {"order": value}), after(f"[{text}]")).kind
        assert kind == ("allow" if (value, type(value)) == (known, type(known)) else "deny")


class Order(Enum):
    X = "x"
    Z = "z"


def required_order(order: str) -> None: ...
def required_nullable(order: str | None) -> None: ...
def optional_nullable(order: str | None = None) -> None: ...
def default_all(order: str = "all") -> None: ...
def default_z(order: Order = Order.Z) -> None: ...
def named_null(order: Literal["x", "z"] | None = None) -> None: ...
def optional_number(order: int | str | None = 0) -> None: ...
def with_alias(order_id: Annotated[str | None, Field(alias="order")] = None) -> None: ...
def some_orders(order: list[str]) -> None: ...
def some_or_null(order: list[str | None] | None = None) -> None: ...
def set_of_orders(order: set[str] = frozenset()) -> None: ...  # type: ignore[assignment] # pyright: ignore[reportArgumentType]


LEFT_OUT: Any = ...
ONE: tuple[Any, ...] = ("x", "y", "z", "all", 0, 7, None, LEFT_OUT)
MANY: tuple[Any, ...] = (["x"], ["y", "x"], ["z"], ["x", None], [], None, LEFT_OUT)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("function", "sent", "allowed"), [
    (required_order, ONE, ("x", "y")),
    (required_nullable, ONE, ("x", "y", None)),
    (optional_nullable, ONE, ("x", "y", None, LEFT_OUT)),
    (default_all, ONE, ("x", "y", "all", None, LEFT_OUT)),
    (default_z, ONE, ("x", "z", None, LEFT_OUT)),
    (named_null, ONE, ("x", None, LEFT_OUT)),
    (optional_number, ONE, ("x", "y", 0, 7, None, LEFT_OUT)),
    (with_alias, ONE, ("x", "y", None, LEFT_OUT)),
    (some_orders, MANY, (["x"], ["y", "x"], [])),
    (some_or_null, MANY, (["x"], ["y", "x"], [], None, LEFT_OUT)),
    (set_of_orders, MANY, (["x"], ["y", "x"], [], None, LEFT_OUT)),
])  # fmt: skip
def test_a_parameter_may_be_left_open_where_its_schema_allows_it(
    function: Any, sent: tuple[Any, ...], allowed: tuple[Any, ...], strict: bool
) -> None:
    cancel = Tool.of(tool(strict=True, name="cancel")(function))
    spec = cancel.spec if strict else replace(cancel.spec, parameters=cancel.arguments.schema)
    policy = from_results("cancel", "order", "list").bound(Toolbox([cancel]))
    now = after('["x", "y", 7]')
    offered = arguments_from_schema("cancel", spec.limited(policy(now).values).parameters)
    ran: list[object] = []
    for value in sent:
        text = encode({} if value is LEFT_OUT else {"order": value})
        try:
            values, _ = parse_arguments(cancel.arguments, text.decode())
        except ValidationError:
            continue
        runs = policy.judge(Call("cancel", cancel.arguments.complete(values)), now).kind == "allow"
        ran += [value] if runs else []
        try:
            offered.validate(text)
        except ValidationError:
            # The strict form has another spelling of these: null.
            assert not runs or (strict and value in ("all", "z", 0, LEFT_OUT)) or value is None
        else:
            assert runs
    assert ran == list(allowed)


def by_rights(deps: Any, tool: Tool) -> bool:
    return tool.name in deps


async def test_a_tool_is_offered_to_those_who_may_use_it() -> None:
    ran: list[str] = []
    tools = [Tool.of(lambda: ran.append("a"), name="a"), Tool.of(lambda: ran.append("b"), name="b")]
    model = Scripted(called(("a", {}), ("b", {})), said("Done."))
    agent = Agent(model, tools=tools, tool_choice=permitted(by_rights), deps_type=str)
    result = await agent.run("go", deps="b")
    assert ran == ["b"]
    assert result.steps[0].choice == ToolChoice(withheld=frozenset("a"))


async def test_nothing_runs_where_a_rule_raises() -> None:
    ran: list[int] = []

    def a(n: int) -> None:
        ran.append(n)

    model = Scripted(called(("a", {"n": 1}), ("a", {"n": 0})), said("Done."))
    agent = Agent(model, tools=[a], tool_choice=where("a", lambda call, state: 1 / call["n"] > 0))
    with pytest.raises(PolicyError, match="ZeroDivisionError"):
        await agent.run("go")
    assert ran == []


def test_a_call_whose_arguments_are_known() -> None:
    policy = given("fetch", day="today", most=3)
    assert policy(state()) == ToolChoice("tool", "fetch", arguments='{"day":"today","most":3}')
    assert repr(policy) == "given('fetch', day='today', most=3)"
    assert not policy.can_answer
    assert policy.memory(state()) == policy.memory(state(("fetch", "ok")))


def test_without_tools_anything_is_permitted() -> None:
    policy = permitted(lambda deps, tool: False)
    now = replace(state(), deps="someone")
    assert policy(now) == ToolChoice()
    assert policy.judge(Call("a"), now).kind == "allow"
    assert policy.memory(now) == policy.memory(state())
