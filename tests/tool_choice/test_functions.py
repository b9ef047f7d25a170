# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportArgumentType=false
# mypy: disable-error-code="arg-type, return-value"
from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ConfigurationError,
    PolicyContradiction,
    PolicyError,
    State,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolMessage,
)
from agentkit.tool_choice import (
    Call,
    Policy,
    auto,
    budget,
    each,
    force,
    from_results,
    given,
    machine,
    permitted,
    phase,
    rule,
    sequence,
    when,
    where,
)
from agentkit.tool_choice.functions import read_result
from tests.scripted import Scripted, called, said
from tests.tool_choice import GO, state

pytestmark = pytest.mark.anyio

AFTER = State.of((GO, AssistantMessage(tool_calls=(ToolCall("c", "list", "{}"),)), ToolMessage("c", "[1]")))


def cheap(call: Call, state: State) -> bool:
    return bool(call["amount"] <= 100)


def raises(*_: Any) -> Any:
    raise KeyError("gone")


@pytest.mark.parametrize(("policy", "name"), [
    (where("a", raises), "where('a', raises)"),
    (from_results("a", "n", "list", raises), "from_results"),
    (permitted(raises), "permitted(raises)"),
    (rule(raises), "rule(raises)"),
    (when(raises, "auto"), "when(raises"),
])  # fmt: skip
def test_a_function_that_raises_is_one_error_that_names_the_policy(policy: Policy, name: str) -> None:
    policy = (
        (policy & auto).bound(Toolbox([Tool.of(lambda n=0: None, name="a")]))
        if not isinstance(policy, rule)
        else policy
    )
    with pytest.raises(PolicyError, match="KeyError") as caught:
        policy.judge(Call("a", {"n": 1}), AFTER)
    assert name in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_contradiction_in_a_rule_is_one() -> None:
    def contradicts(state: State) -> ToolChoice:
        return (force("a") & force("b"))(state)

    with pytest.raises(PolicyContradiction):
        rule(contradicts)(state())


async def not_plain(*_: object) -> bool:
    return True


@pytest.mark.parametrize("make", [
    lambda: where("a", not_plain), lambda: where("a", cheap, ""), lambda: where("a", 5),
    lambda: from_results("a", "n", "b", not_plain), lambda: from_results("a", "", "b"), lambda: from_results("a", "n", "a"),
    lambda: permitted(not_plain), lambda: when(not_plain, auto), lambda: given("a", n=object()),
])  # fmt: skip
def test_what_says_nothing_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize(("text", "result"), [
    ("[1]", [1]),
    ("text", "text"),
    ('["a"]\n\nNote: after this, 1 more call may be made.', ["a"]),
    ("text\n\nNote: after this, 1 more call may be made.", "text"),
    ("The user changed the arguments to {}.\n\n[2]", [2]),
])  # fmt: skip
def test_a_result_is_read_without_what_is_around_it(text: str, result: object) -> None:
    assert read_result(text) == result


async def test_a_note_does_not_hide_the_values_of_a_result() -> None:
    cancelled: list[str] = []

    def list_orders() -> list[str]:
        return ["x", "y"]

    def cancel(order: str) -> None:
        cancelled.append(order)

    policy = from_results(cancel, "order", of=list_orders) & budget(2, of=cancel) & budget(2)
    model = Scripted(
        called(("list_orders", {})), called(("cancel", {"order": "z"}), ("cancel", {"order": "y"})), said("ok")
    )
    result = await Agent(model, tools=[list_orders, cancel], tool_choice=policy).run("go")
    assert "Note: " in str(result.messages[2].content)
    assert cancelled == ["y"]


def cancel(order: int) -> None:
    """Cancel."""


def log(**more: int) -> None:
    """Log."""


@pytest.mark.parametrize(("policy", "known"), [
    (from_results(cancel, "order", of=log), True),
    (from_results(cancel, "ordr", of=log), False),
    (given(cancel, order=1), True),
    (given(cancel, order=1, why="x"), False),
    (given(log, why=1), True),
    (each(cancel, "order", over=log), True),
    (each(cancel, "ordr", over=log), False),
    (machine("a", a=phase(each(cancel, "ordr", over=log), "b"), b=sequence(given(log))), False),
])  # fmt: skip
def test_a_parameter_that_a_policy_names_is_one_of_the_tool(policy: Policy, known: bool) -> None:
    assert policy.bound(Toolbox()) == policy
    if known:
        assert policy.bound(Toolbox([cancel, log])) == policy
        return
    with pytest.raises(ConfigurationError, match="parameter"):
        (policy & auto).bound(Toolbox([cancel, log]))


async def test_a_result_is_kept_where_a_rule_raises_after_it() -> None:
    def early(state: State) -> bool:
        return 1 / (1 - len(state.calls)) > 0

    model = Scripted(called(("log", {})), said("ok"))
    with pytest.raises(PolicyError, match="ZeroDivisionError") as caught:
        await Agent(model, tools=[log], tool_choice=when(early, "auto")).run("go")
    assert caught.value.partial is not None
    assert (caught.value.partial.messages[-1].content, len(model.requests)) == ("null", 1)


async def test_a_resumed_run_knows_who_asks() -> None:
    def allows(deps: Any, tool: Tool) -> bool:
        return bool(deps["rights"])

    call = AssistantMessage(tool_calls=(ToolCall("c", "log", "{}"),))
    agent = Agent(Scripted(said("ok")), tools=[log], tool_choice=permitted(allows), deps_type=dict)
    for rights, outcome in ((["log"], "ok"), ([], "refused")):
        result = await agent.run([GO, call], deps={"rights": rights})
        assert isinstance(result.messages[2], ToolMessage)
        assert result.messages[2].outcome == outcome
