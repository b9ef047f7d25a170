# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
import json
import pickle
from copy import copy
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ConfigurationError, Tool, Toolbox, ToolCall, ToolChoice, tool
from agentkit.core.state import CallRecord, changed
from agentkit.tool_choice import Call, Policy, auto, first, no_repeat
from tests.strategies import any_text
from tests.tool_choice import Made, state
from tests.tool_choice.judging import judged


def withheld(policy: Policy, *history: Made | list[Made]) -> str:
    choice = policy(state(*history))
    assert choice == ToolChoice("auto", withheld=choice.withheld)
    return "".join(sorted(choice.withheld))


def calls(letters: str) -> list[Made]:
    """Calls without arguments, a letter each."""
    return [(letter, "ok") for letter in letters]


@pytest.mark.parametrize(
    ("times", "made", "names"),
    [
        (1, "", ""),
        (1, "a", ""),
        (1, "aa", "a"),
        (1, "aba", ""),
        (1, "abab", "ab"),
        (1, "abcab", ""),
        (1, "abcabc", "abc"),
        (1, "abcdabcd", "abcd"),
        (1, "abcdeabcde", "abcde"),
        (1, "abcdefabcdef", ""),
        (2, "aa", ""),
        (2, "aaa", "a"),
        (2, "aaab", ""),
        (2, "aaaba", ""),
        (2, "abab", ""),
        (2, "ababa", ""),
        (2, "ababab", "ab"),
        (2, "bababa", "ab"),
        (2, "cababab", "ab"),
        (2, "abababc", ""),
        (2, "aabaabaab", "ab"),
        (2, "abcdeabcdeabcde", "abcde"),
        (2, "abcdeabcdeabcd", ""),
        (3, "aaa", ""),
        (3, "aaaa", "a"),
        (3, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a"),
        (5, "aaaaa", ""),
        (5, "aaaaaa", "a"),
    ],
)
def test_what_is_withheld(times: int, made: str, names: str) -> None:
    assert withheld(no_repeat(times), *calls(made)) == names


@pytest.mark.parametrize(
    ("times", "made", "words"),
    [
        *[(1, "a", ()), (2, "a", ()), (2, "aba", ()), (2, "ababa", ()), (3, "aaaab", ())],
        *[(1, "aa", ("call came 2", "a is")), (2, "aa", ("call came 2",)), (2, "aaa", ("call came 3", "a is"))],
        *[(2, "abab", ("cycle of 2 calls came 2",)), (2, "ababab", ("cycle of 2 calls came 3", "a, b is"))],
        (2, "abababa", ("cycle of 2 calls came 3", "a, b is")),
        *[(2, "aabaab", ("cycle of 3 calls came 2",)), (2, "aabaa", ("call came 2",))],
    ],
)
def test_the_note_to_the_model(times: int, made: str, words: tuple[str, ...]) -> None:
    note = no_repeat(times).remark(state(*calls(made)))
    assert (note is None) is (not words)
    assert all(word in (note or "") for word in words)
    assert ("withheld" in (note or "")) is (len(words) > 1)
    assert (first(auto, then=no_repeat(times)) & auto).remark(state(*calls(made))) == note


def test_how_it_ended_and_in_which_reply_it_came_do_not_matter() -> None:
    assert withheld(no_repeat(2), ("a", "error"), ("a", "ok"), ("a", "refused")) == "a"
    assert withheld(no_repeat(2), [("a", "ok"), ("a", "ok"), ("a", "ok")]) == "a"
    assert withheld(no_repeat(2), ("a", "ok"), [("a", "ok"), ("a", "ok"), ("b", "ok")]) == ""


def failing(*steps: int, result: str = "no") -> list[CallRecord]:
    return [CallRecord(ToolCall("c", "a", "{}"), "error", step, result) for step in steps]


def canonical(name: str, arguments: str) -> bytes:
    return ToolCall("c", name, arguments).canonical


REFUSED = [CallRecord(ToolCall("c", "a", "{}"), "refused", 3, "Not run")]
WORKED = [CallRecord(ToolCall("c", "a", "{}"), "ok", 3, "no")]
OTHER = [CallRecord(ToolCall("c", "b", "{}"), "error", 3, "no")]


@pytest.mark.parametrize(("times", "records", "stopped"), [
    (5, [], False), (5, failing(0, 1), False), (5, failing(0, 1, 2), True), (3, failing(0, 1, 2), True),
    (5, [*failing(0, 1, 2), *REFUSED], True), (5, [*failing(0, 1), *REFUSED], False),
    (5, failing(0, 1, 1, 1), False), (5, failing(0, 0, 1, 2), True),
    (5, [*failing(0, 1), *failing(2, result="other")], False), (5, [*failing(0, 1), *WORKED], False),
    (5, [*failing(0, 1, 2), *OTHER], False), (5, [*OTHER, *failing(4, 5)], False),
])  # fmt: skip
def test_a_call_that_keeps_failing_in_the_same_way_is_stopped_sooner(
    times: int, records: list[CallRecord], stopped: bool
) -> None:
    policy, at = no_repeat(times), changed(state(), calls=tuple(records))
    assert (policy(at).withheld == {"a"}) is stopped
    assert (policy.judge(Call("a", {}), at).kind == "deny") is stopped
    assert policy.judge(Call("a", {"x": 1}), at).kind == "allow"
    assert (policy.memory(at) == (times + 1, "a")) is stopped
    note = policy.remark(at)
    assert ("a is withheld" in (note or "")) is (stopped and records[-1].outcome == "error")


def test_it_is_released_by_something_else() -> None:
    history = calls("aaa")
    assert withheld(no_repeat(2), *history) == "a"
    assert withheld(no_repeat(2), *history, ("a", "refused")) == "a"
    assert withheld(no_repeat(2), *history, ("b", "ok")) == ""
    assert withheld(no_repeat(2), *history, ("b", "ok"), *history) == "a"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"x":1,"y":2}', '{ "y": 2, "x": 1 }', True),
        ('{"x":{"y":[{"b":1,"a":2}]}}', '{"x":{"y":[{"a":2,"b":1}]}}', True),
        ('{"x":1}', '{"x":1.0}', True),
        ('{"x":[1e2]}', '{"x":[100]}', True),
        ('{"x":-0.0}', '{"x":0}', True),
        ('{"x":1.5}', '{"x":1.50}', True),
        ('{"x":"\\u00e9"}', '{"x":"é"}', True),
        ('{"x":1}', '{"x":2}', False),
        ('{"x":1}', '{"x":true}', False),
        ('{"x":1}', '{"x":"1"}', False),
        ('{"x":[1,2]}', '{"x":[2,1]}', False),
        ('{"x":null}', "{}", False),
        ("not json", "not json", True),
        ("not json", "not  json", False),
        ("", "{}", False),
        ('{"x":NaN}', '{"x":NaN}', True),
        ('{"x":"\\ud800"}', '{"x":"\\ud800"}', True),
    ],
)
def test_the_same_call(one: str, other: str, same: bool) -> None:
    assert (canonical("a", one) == canonical("a", other)) is same
    assert canonical("a", one) != canonical("b", one)
    assert withheld(no_repeat(1), ("a", "ok", one), ("a", "ok", other)) == ("a" if same else "")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


def turned(value: Any) -> Any:
    """The same value with its keys the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(any_text(max_size=3), json_values, max_size=4))
def test_the_order_of_keys_never_matters(arguments: dict[str, Any]) -> None:
    assert canonical("a", json.dumps(turned(arguments), indent=1)) == canonical("a", json.dumps(arguments))


def bound(times: int, **options: Any) -> Policy:
    """`no_repeat` for a tool `a` with options and a tool `b` without."""

    @tool(name="a", **options)
    def function(order: int = 0, page: int = 0) -> str:
        return ""

    return (auto & no_repeat(times)).bound(Toolbox([function, Tool.of(lambda: "", name="b")]))


def test_a_tool_may_be_repeatable() -> None:
    assert withheld(bound(1, repeatable=True), *calls("aaaa")) == ""
    assert withheld(bound(1, repeatable=True), *calls("abab")) == ""
    assert withheld(bound(1, repeatable=True), *calls("aabb")) == "b"
    assert bound(2, repeatable=True).remark(state(*calls("aaaa"))) is None
    assert withheld(bound(1), *calls("aa")) == "a"


@pytest.mark.parametrize(
    ("key", "one", "other", "same"),
    [
        ("order", '{"order":1,"page":1}', '{"order":1,"page":2}', True),
        ("order", '{"order":1}', '{"order":1.0}', True),
        ("order", '{"order":1}', '{"order":2}', False),
        ("order", '{"page":1}', '{"page":2}', True),
        (("order", "page"), '{"order":1,"page":1}', '{"page":1,"order":1,"x":1}', True),
        (("order", "page"), '{"order":1,"page":1}', '{"order":1,"page":2}', False),
        (lambda given: given["order"] // 10, '{"order":11}', '{"order":12}', True),
        (lambda given: given["order"] // 10, '{"order":11}', '{"order":21}', False),
        # What the function cannot read is compared as it was written.
        (lambda given: given["order"] // 10, '{"page":1}', '{"page":1}', True),
        (lambda given: given["order"] // 10, '{"page":1}', '{"page":2}', False),
        ("order", "not json", "not json", True),
        ("order", "not json", "not  json", False),
        ("order", "5", "6", True),
    ],
)
def test_calls_may_be_told_apart_by_a_key(key: Any, one: str, other: str, same: bool) -> None:
    policy = bound(1, repeat_key=key)
    assert withheld(policy, ("a", "ok", one), ("a", "ok", other)) == ("a" if same else "")
    assert withheld(policy, ("b", "ok", one), ("b", "ok", one)) == "b"


def test_a_tool_that_nobody_knows_is_counted_too() -> None:
    assert withheld(bound(1), *calls("zz")) == "z"


@pytest.mark.parametrize(("times", "before", "reply", "verdicts"), [
    (1, "", "aab", "allow deny allow"),
    (2, "a", "aaba", "allow deny allow allow"),
    (2, "aa", "ab", "deny allow"),
    (2, "aba", "bab", "allow allow deny"),
    (3, "", "aaaa", "allow allow allow deny"),
])  # fmt: skip
def test_so_many_equal_calls_run(times: int, before: str, reply: str, verdicts: str) -> None:
    assert judged(no_repeat(times), state(*calls(before)), reply) == verdicts.split()


def test_a_call_that_did_not_run_is_not_counted_by_the_judge() -> None:
    policy, call = no_repeat(1), Call("a", {}, ToolCall("c", "a", "{}"))
    assert policy.judge(call, state(("a", "refused"))).kind == "allow"
    assert policy.judge(call, state(("a", "ok"), ("b", "refused"))).kind == "deny"
    assert policy.judge(Call("a", {}), state(("a", "ok"))).kind == "deny"
    assert policy.judge(Call("a", {"x": 1}), state(("a", "ok"))).kind == "allow"


def test_what_it_remembers() -> None:
    policy = no_repeat(2)
    assert policy.memory(state(*calls("abc"))) == policy.memory(state()) == ()
    assert policy.memory(state(*calls("aa"))) == (2, "a")
    assert policy.memory(state(*calls("aaa"))) == policy.memory(state(*calls("aaaaa"))) == (3, "a")
    assert policy.memory(state(*calls("abab"))) == (2, "a", "b")


def test_it_is_a_value() -> None:
    assert repr(bound(3)) == "auto & no_repeat(3)"
    assert (no_repeat(3).can_answer, no_repeat(3).silences, no_repeat(3).tools) == (True, False, frozenset())
    with pytest.raises(ConfigurationError):
        no_repeat(0)


@pytest.mark.parametrize("length", [10, 10_000])
def test_what_calls_are_compared_by_is_kept_unless_it_is_long(length: int) -> None:
    text = "1" * length
    one, other = ToolCall("1", "a", f'{{"x": "{text}", "y": 1}}'), ToolCall("2", "a", f'{{"y": 1.0, "x": "{text}"}}')
    assert one.canonical == other.canonical
    assert (one.canonical is one.canonical) is (length < 10_000)
    assert set(asdict(one)) == {"id", "name", "arguments", "extra"}
    assert pickle.loads(pickle.dumps(one)) == copy(one) == one  # noqa: S301 (our own)
