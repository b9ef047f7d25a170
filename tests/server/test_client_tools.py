from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import State, ToolCall, UserMessage
from agentkit.core.choice import AUTO, ToolChoice, Values
from agentkit.core.state import Call
from agentkit.server.client_tools import WithClientTools, parse_tool_choice, parse_tools
from agentkit.server.errors import HttpError
from agentkit.tool_choice import auto, fixed, no_repeat, policy_of, where

STATE = State.of((UserMessage("Hello"),))
THEIRS = frozenset({"ask_user", "open_page"})
OWN = frozenset({"search", "send"})
FINAL = frozenset({"final_answer"})
NONE, REQUIRED, FORCED = ToolChoice("none"), ToolChoice("required"), ToolChoice("tool", "ask_user")


DEEP = reduce(lambda inner, _: {"items": inner}, range(70), dict[str, Any]())


def entry(name: Any = "ask_user", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def test_tools_as_the_model_sees_them() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string", "pattern": "(a+)+$"}}}
    one, two = parse_tools([entry(description="Ask.", parameters=schema, strict=True), entry("open_page")], 2)
    assert one.spec.to_dict() == entry(description="Ask.", parameters=schema, strict=True)
    assert two.spec.to_dict() == entry("open_page", parameters={"type": "object", "properties": {}})
    assert one.options.approval is True
    assert parse_tools(None, 1) == parse_tools([], 1) == ()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_such_a_tool_does_not_run() -> None:
    (tool,) = parse_tools([entry()], 1)
    with pytest.raises(AssertionError):
        await tool.function()  # type: ignore[misc]


@pytest.mark.parametrize(("data", "param"), [
    ({}, "tools"), ("x", "tools"), ([entry("a"), entry("b"), entry("c")], "tools"), ([entry("a"), entry("a")], "tools[1].function.name"),
    (["x"], "tools[0]"), ([{"type": "function"}], "tools[0]"), ([{"type": "custom", "function": {"name": "a"}}], "tools[0]"),
    ([entry("a"), entry("")], "tools[1].function.name"), ([entry("a b")], "tools[0].function.name"), ([entry("a" * 65)], "tools[0].function.name"),
    ([entry(None)], "tools[0].function.name"), ([entry(3)], "tools[0].function.name"),
    ([entry(description=3)], "tools[0].function.description"), ([entry(parameters="x")], "tools[0].function.parameters"),
    ([entry(parameters={"maximum": float("inf")})], "tools[0].function.parameters"), ([entry(parameters=DEEP)], "tools[0].function.parameters"),
    ([entry(parameters={"enum": [0] * 60_000})], "tools[0].function.parameters"),
])  # fmt: skip
def test_what_is_no_tool_is_refused_by_its_place(data: Any, param: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_tools(data, 2)
    assert (caught.value.status, caught.value.param) == (400, param)


def only_some(mode: Any, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}


SOME, SOME_REQUIRED = ToolChoice(tools=frozenset({"ask_user"})), ToolChoice("required", tools=frozenset({"ask_user"}))


@pytest.mark.parametrize(("data", "choice"), [
    (None, AUTO), ("auto", AUTO), ("none", NONE), ("required", REQUIRED), (entry(), FORCED),
    (only_some("auto", entry()), SOME), (only_some("required", entry()), SOME_REQUIRED),
])  # fmt: skip
def test_choices(data: Any, choice: ToolChoice) -> None:
    assert parse_tool_choice(data, THEIRS) == choice


@pytest.mark.parametrize(("data", "names"), [
    ("any", THEIRS), (3, THEIRS), ({"type": "function"}, THEIRS), (entry("search"), THEIRS), ({"type": "allowed_tools"}, THEIRS), ("required", ()),
    (only_some("auto"), THEIRS), (only_some("none", entry()), THEIRS), (only_some("auto", entry("search")), THEIRS), (only_some("auto", "ask_user"), THEIRS),
])  # fmt: skip
def test_what_is_no_choice(data: Any, names: Any) -> None:
    with pytest.raises(HttpError) as caught:
        parse_tool_choice(data, names)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


VALUES = (Values("send", "to", ("ann",)),)
ANSWERING = ToolChoice("required", firm=True)
CASES: list[tuple[Any, ToolChoice, ToolChoice]] = [
    # the agent's policy, the client's choice, and both
    ("auto", AUTO, AUTO), ("none", AUTO, ToolChoice("auto", tools=THEIRS)), ("required", AUTO, ToolChoice("required", withheld=THEIRS)),
    ("search", AUTO, ToolChoice("tool", "search", withheld=THEIRS)),
    (ToolChoice("auto", tools=frozenset({"search"})), AUTO, ToolChoice("auto", tools=THEIRS | {"search"})),
    (ToolChoice("auto", withheld=OWN), AUTO, ToolChoice("auto", withheld=OWN)), ("auto", NONE, ToolChoice("auto", withheld=THEIRS)),
    ("none", NONE, NONE), ("required", NONE, ToolChoice("required", withheld=THEIRS)), ("auto", REQUIRED, REQUIRED),
    ("none", REQUIRED, ToolChoice("required", tools=THEIRS)), ("search", REQUIRED, ToolChoice("tool", "search", withheld=THEIRS)),
    # of the client's tools, only some
    ("auto", SOME, ToolChoice(withheld=frozenset({"open_page"}))), ("auto", SOME_REQUIRED, ToolChoice("required", withheld=frozenset({"open_page"}))),
    ("none", SOME, ToolChoice(tools=frozenset({"ask_user"}), withheld=frozenset({"open_page"}))), ("search", SOME, ToolChoice("tool", "search", withheld=THEIRS)),
    # what else the agent's policy says of its own tools
    (ToolChoice(values=VALUES), AUTO, ToolChoice(values=VALUES)), (ToolChoice(values=VALUES, once=True), REQUIRED, ToolChoice("required", values=VALUES, once=True)),
    ("auto", FORCED, FORCED), ("none", FORCED, FORCED), ("required", FORCED, ToolChoice("required", withheld=THEIRS)),
]  # fmt: skip
TYPED: list[tuple[Any, ToolChoice, ToolChoice]] = [
    # a call of `final_answer` is an answer
    (ANSWERING, AUTO, ANSWERING), (ANSWERING, NONE, ToolChoice("required", withheld=THEIRS, firm=True)),
    (ANSWERING, REQUIRED, ToolChoice("required", withheld=FINAL)), (ANSWERING, FORCED, FORCED),
    ("final_answer", AUTO, ToolChoice("required", tools=THEIRS | FINAL)),
    ("final_answer", REQUIRED, ToolChoice("required", tools=THEIRS | FINAL, withheld=FINAL)),
    ("search", AUTO, ToolChoice("tool", "search", withheld=THEIRS)),
    (ToolChoice("required", withheld=FINAL), AUTO, ToolChoice("required", withheld=FINAL | THEIRS)),
]  # fmt: skip
BOTH = [(*case, frozenset[str]()) for case in CASES] + [(*case, FINAL) for case in TYPED]


@pytest.mark.parametrize(("own", "client", "both", "output_tools"), BOTH)
def test_each_decides_on_its_own_tools(own: Any, client: ToolChoice, both: ToolChoice, output_tools: Any) -> None:
    assert WithClientTools(policy_of(own), client, THEIRS, output_tools)(STATE) == both


own_choices = st.sampled_from([AUTO, NONE, REQUIRED, ToolChoice("tool", "search")])
client_choices = st.sampled_from([AUTO, NONE, REQUIRED, FORCED])


@given(own_choices, client_choices, st.frozensets(st.sampled_from(sorted(OWN))))
def test_laws(own: ToolChoice, client: ToolChoice, withheld: frozenset[str]) -> None:
    if own.tool in withheld:
        withheld = frozenset()
    own = ToolChoice(own.mode, own.tool, None, withheld)
    policy = WithClientTools(fixed(own), client, THEIRS)
    choice = policy(STATE)
    assert choice == policy(STATE)  # pure
    offered = {name for name in OWN | THEIRS if choice.offers(name) and choice.mode != "none"}
    if choice.mode == "tool":
        offered &= {choice.tool or ""}
    if client.mode == "none":
        assert not offered & THEIRS
    if own.mode == "none":
        assert not offered & OWN
    assert not offered & withheld
    if own.mode in ("required", "tool"):  # the agent's requirement comes first
        assert (choice.mode, choice.tool) == (own.mode, own.tool)
        assert not offered & THEIRS
    elif client.mode in ("required", "tool"):  # and then only a call will do
        assert (choice.mode, choice.tool) == (client.mode, client.tool)
        assert offered & THEIRS


def call(name: str) -> Call:
    return Call(name, {}, ToolCall("c", name, "{}"))


@pytest.mark.parametrize(("name", "pending", "parallel", "kind"), [
    ("send", (), True, "deny"), ("search", (), True, "allow"), ("ask_user", (), True, "allow"),
    ("ask_user", ("open_page",), True, "allow"), ("ask_user", ("open_page",), False, "deny"), ("ask_user", ("search",), False, "allow"),
    ("search", ("ask_user",), False, "allow"),
])  # fmt: skip
def test_each_judges_its_own_calls(name: str, pending: Any, parallel: bool, kind: str) -> None:
    def never(call: Call, state: State) -> bool:
        return False

    policy = WithClientTools(where("send", never) & where("ask_user", never), AUTO, THEIRS, parallel=parallel)
    state = replace(STATE, pending=tuple(map(call, pending)))
    assert policy.judge(call(name), state).kind == kind


def test_its_repr_and_its_parts() -> None:
    policy = WithClientTools(auto & no_repeat(3), REQUIRED, THEIRS)
    assert repr(policy) == "auto & no_repeat(3) with the client's required"
    assert policy.every(no_repeat)
