# pyright: reportUnknownLambdaType=false
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    AssistantMessage,
    ConfigurationError,
    Message,
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
    auto,
    before_answer,
    budget,
    each,
    force,
    from_results,
    machine,
    none,
    permitted,
    phase,
    sequence,
)
from tests.tool_choice import GO


def after(*made: tuple[str, str] | tuple[str, str, str]) -> State:
    """The state after these calls: the tool, its result, and its arguments."""
    messages: list[Message] = [GO]
    for number, (name, result, *arguments) in enumerate(made):
        call = ToolCall(f"c{number}", name, arguments[0] if arguments else "{}")
        messages += [AssistantMessage(tool_calls=(call,)), ToolMessage(call.id, result)]
    return State.of(tuple(messages))


NO_FUNCTION: Any = 5


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
    assert SHOP.judge(Call("a"), state).kind == "allow"


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
    lambda: machine("begin"),
    lambda: phase(auto, "end"),
    lambda: phase(force("a") & force("b"), "end"),
    lambda: phase(before_answer("a"), {"x": "end"}),
    lambda: phase(force("a"), "end", key=NO_FUNCTION),
    lambda: each("a", "n", "a"),
    lambda: each("a", "", "b"),
])  # fmt: skip
def test_a_machine_with_a_phase_missing_or_lost_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def pay(order: object) -> tuple[str, str, str]:
    return ("pay", "paid", f'{{"order": {order}}}')


AGAIN = machine("fetch", fetch=phase(force("list"), "pay"), pay=phase(each("pay", "order", "list"), "check"),
                check=phase(force("check"), {"again": "pay", "done": "answer"}), answer=none)  # fmt: skip


@pytest.mark.parametrize(("made", "name", "left"), [
    ([("list", "[1, 2]")], "pay", 1),
    ([("list", "[1, 2]"), pay(1)], "pay", 2),
    ([("list", "[1, 2]"), pay(1), pay(2)], "check", None),
    # A phase that begins again does its items again.
    ([("list", "[1, 2]"), pay(1), pay(2), ("check", "again")], "pay", 1),
    ([("list", "[1, 2]"), pay(1), pay(2), ("check", "again"), pay(1)], "pay", 2),
    ([("list", "[1, 2]"), pay(1), pay(2), ("check", "again"), ("list", "[3]")], "pay", 3),
    ([("list", "[1, 2]"), pay(1), pay(2), ("check", "done")], "answer", None),
    # A list of nothing is done at once.
    ([("list", "[]")], "check", None),
    ([("list", "[1]"), ("list", "[]")], "check", None),
    ([("list", "not JSON")], "check", None),
    # 1 and 1.0 and true are three items.
    ([("list", "[1, true, 1.0]"), pay(1)], "pay", True),
    ([("list", "[1, true, 1.0]"), pay(1), pay("true")], "pay", 1.0),
])  # fmt: skip
def test_a_phase_that_goes_over_a_list(made: list[Any], name: str, left: object) -> None:
    state = after(*made)
    assert AGAIN.phase(state) == name
    arguments = AGAIN(state).arguments
    assert (None if arguments is None else json.loads(arguments)) == (None if left is None else {"order": left})


def test_two_loops_over_nothing_in_a_circle_end() -> None:
    policy = machine("one", one=phase(each("a", "n", "list"), "two"), two=phase(each("b", "n", "list"), "one"))
    assert policy.phase(after(("list", "[]"))) in ("one", "two")


def test_a_loop_of_the_conversation_does_no_item_again() -> None:
    policy = machine("pay", pay=phase(each("pay", "order", "list", scope="conversation"), {"paid": "check"}),
                     check=phase(force("check"), "pay"))  # fmt: skip
    state = after(("list", "[1, 2]"), pay(1), pay(2), ("check", "x"))
    assert policy.phase(state) == "pay"
    assert policy(state) == ToolChoice()
    later = State.of((*state.messages, GO))
    assert policy(later) == ToolChoice()
    kept = machine("pay", scope="conversation", **dict(policy.phases))
    assert kept.phase(later) == "pay"


def test_what_a_phase_remembers_begins_with_it() -> None:
    policy = machine("work", work=phase(budget(2) & sequence("a", "b"), "rest", on="b"), rest=phase(force("c"), "work"))
    once = [("a", "x"), ("b", "x")]
    assert policy.phase(after(*once)) == "rest"
    assert policy(after(*once, ("c", "x"))) == ToolChoice("tool", "a")
    assert policy(after(*once, ("c", "x"), ("a", "x"))) == ToolChoice("tool", "b")
    assert policy.judge(Call("a"), after(*once, ("c", "x"))).kind == "allow"
    assert policy.remark(after(("a", "x"))) is not None
    assert policy.remark(after(*once, ("c", "x"))) is None


def test_a_phase_knows_the_tools_of_the_agent() -> None:
    toolbox = Toolbox([Tool.of(lambda: None, name="a")])
    policy = machine("begin", begin=phase(permitted(lambda deps, tool: False), "end", on="b"), end=auto)
    assert policy.bound(toolbox)(after()) == ToolChoice(withheld=frozenset("a"))


def test_what_is_remembered_of_a_list() -> None:
    policy = each("pay", "order", "list", then=before_answer("a"))
    assert policy.memory(after(("list", "[1, true]"))) == ((b"1", b"true"), False)
    assert policy.memory(after(("list", "[1]"), pay(1))) == ((), False)
    later = machine("begin", begin=phase(force("list"), "wait"), wait=phase(force("a"), "end"), end=policy)
    assert later.memory(after(("list", "[1]"))) != later.memory(after(("list", "[]")))


def test_a_machine_in_a_phase_has_the_lists_from_before_it() -> None:
    inner = machine("wait", wait=phase(force("a"), "pay"), pay=phase(each("pay", "order", "list"), "end"), end=none)
    policy = machine("begin", begin=phase(force("list"), "inner"), inner=inner)
    assert policy(after(("list", "[1]"))) == force("a")(after())
    assert policy(after(("list", "[1]"), ("a", "ok"))).arguments == '{"order":1}'
    assert policy(after(("list", "[1]"), ("a", "ok"), pay(1))) == none(after())


def test_what_a_phase_takes_values_from_are_several_results() -> None:
    known = from_results("pay", "order", "other")
    inner = machine("pay", pay=each("pay", "order", "list") & known)
    policy = machine("begin", begin=phase(force("list"), "next"), next=phase(force("other"), "end"), end=inner)
    choice = policy(after(("list", "[1]"), ("other", "[1, 2]")))
    assert (choice.arguments, choice.values) == ('{"order":1}', known(after(("other", "[1, 2]"))).values)


def test_values_may_come_from_the_results_before_a_phase() -> None:
    known = from_results("pay", "order", "list")
    policy = machine("begin", begin=phase(force("list"), "end"), end=known & budget(1, of="list"))
    assert policy(after(("list", "[1]"))).values == known(after(("list", "[1]"))).values != ()
    assert policy.memory(after(("list", "[1]"))) != policy.memory(after(("list", "[2]")))


def test_a_phase_alone_is_its_policy() -> None:
    policy = phase(before_answer("a"), "end", on="a")
    assert policy(after()) == before_answer("a")(after())
    assert policy.memory(after()) is False


def test_a_call_that_failed_is_not_done() -> None:
    call, failed = ToolCall("x", "pay", '{"order": 1}'), ToolMessage("x", "no", "error")
    made = after(("list", "[1]")).messages
    assert AGAIN(State.of((*made, AssistantMessage(tool_calls=(call,)), failed))).arguments == '{"order":1}'


def test_a_key_that_raises_is_named() -> None:
    policy = machine("begin", begin=phase(force("count"), {"many": "end"}, key=size), end=auto)
    with pytest.raises(PolicyError, match="TypeError"):
        policy(after(("count", '"x"')))
    assert policy.remark(after(("count", '"x"'))) is None


def test_three_thousand_calls_are_read_once() -> None:
    made: list[Any] = [("list", json.dumps(list(range(3000)))), *[pay(order) for order in range(2999)]]
    state = after(*made)
    began = time.process_time()
    assert AGAIN(state).arguments == '{"order":2999}'
    assert time.process_time() - began < 1  # a scan for each call takes many


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
