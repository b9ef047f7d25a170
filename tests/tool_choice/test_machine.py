from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    AssistantMessage,
    ConfigurationError,
    Message,
    State,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolMessage,
)
from agentkit.tool_choice import Call, auto, each, force, machine, none, permitted, phase
from tests.tool_choice import GO


def after(*made: tuple[str, str] | tuple[str, str, str]) -> State:
    """The state after these calls: the tool, its result, and its arguments."""
    messages: list[Message] = [GO]
    for number, (name, result, *arguments) in enumerate(made):
        call = ToolCall(f"c{number}", name, arguments[0] if arguments else "{}")
        messages += [AssistantMessage(tool_calls=(call,)), ToolMessage(call.id, result)]
    return State.of(tuple(messages))


def size(result: Any) -> str:
    return "many" if result > 1 else "few"


SHOP = machine(
    "triage",
    triage=phase(force("classify"), {"refund": "refund", "question": "answer", 3: "refund"}),
    refund=phase(each("pay", "order", over="list"), "count"),
    count=phase(force("count"), {"many": "refund", "few": "answer"}, key=size),
    answer=none,
)


@pytest.mark.parametrize(("made", "name"), [
    ([], "triage"),
    ([("classify", "who knows")], "triage"),
    ([("classify", "question")], "answer"),
    ([("classify", '"refund"')], "refund"),
    ([("classify", "3")], "refund"),
    ([("other", "question")], "triage"),
    ([("classify", "refund"), ("list", "[1, 2]"), ("pay", "ok", '{"order": 1}')], "refund"),
    ([("classify", "refund"), ("list", "[1, 2]"), ("pay", "ok", '{"order": 2}'), ("pay", "ok", '{"order": 1}')], "count"),
    ([("list", "[1]"), ("classify", "refund"), ("pay", "ok", '{"order": 1}'), ("count", "2")], "refund"),
    ([("list", "[1]"), ("classify", "refund"), ("pay", "ok", '{"order": 1}'), ("count", "1")], "answer"),
])  # fmt: skip
def test_the_phase_follows_from_the_results(made: list[Any], name: str) -> None:
    state = after(*made)
    assert SHOP.phase(state) == name
    assert SHOP(state) == dict(SHOP.phases)[name](state)
    assert SHOP.judge(Call("a"), state).kind == "allow"
    assert SHOP.memory(state) == (name, SHOP.active(state).memory(state))


@pytest.mark.parametrize(("made", "choice"), [
    ([], ToolChoice()),
    ([("list", "not JSON")], ToolChoice()),
    ([("list", '{"x": 1}')], ToolChoice()),
    ([("list", "[1, 2]")], ToolChoice("tool", "pay", arguments='{"order":1}')),
    ([("list", "[1, 2]"), ("pay", "", '{"order":1}'), ("pay", "", "[")], ToolChoice("tool", "pay", arguments='{"order":2}')),
    ([("list", "[1]"), ("pay", "", '{"order":1}')], ToolChoice()),
])  # fmt: skip
def test_one_call_for_each_item(made: list[Any], choice: ToolChoice) -> None:
    policy = each("pay", "order", "list")
    assert policy(after(*made)) == choice
    assert policy.judge(Call("pay"), after(*made)).kind == "allow"
    assert policy.results("list") == {"[]", '["an item"]'}
    assert policy.results("pay") == set()


@pytest.mark.parametrize("make", [
    lambda: machine("begin", end=auto),
    lambda: machine("begin", begin=phase(force("a"), "end")),
    lambda: machine("begin", begin=auto, lost=auto),
    lambda: phase(auto, "end"),
])  # fmt: skip
def test_a_machine_with_a_phase_missing_or_lost_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_the_code() -> None:
    assert repr(SHOP) == (
        "machine('triage', "
        "triage=phase(force('classify'), {'refund': 'refund', 'question': 'answer', 3: 'refund'}), "
        "refund=phase(each('pay', 'order', 'list'), 'count'), "
        "count=phase(force('count'), {'many': 'refund', 'few': 'answer'}, key=size), "
        "answer=phase(none))"
    )
    policy = machine("begin", begin=phase(auto, "end", on="a"), end=auto, scope="conversation")
    assert repr(policy) == "machine('begin', scope='conversation', begin=phase(auto, 'end', on='a'), end=phase(auto))"
    assert phase(force("a"), {"x": "end", 3: "end"}).results("a") == {"x", "3"}


def test_the_phases_know_the_tools() -> None:
    toolbox = Toolbox([Tool.of(lambda: None, name=name) for name in "ab"])
    policy = machine("one", one=phase(permitted(lambda deps, tool: tool.name == "a"), "two", on="a"), two=none)
    assert policy.bound(toolbox)(State.of((GO,))).withheld == {"b"}
