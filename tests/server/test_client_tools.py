from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import State, UserMessage
from agentkit.core.choice import AUTO, ToolChoice
from agentkit.server.client_tools import WithClientTools, parse_tools, parse_tool_choice
from agentkit.server.errors import HttpError
from agentkit.tool_choice import auto, fixed, no_repeat, policy_of

STATE = State.of((UserMessage("Hello"),))
THEIRS = frozenset({"ask_user", "open_page"})
OWN = frozenset({"search", "send"})
NONE, REQUIRED, FORCED = ToolChoice("none"), ToolChoice("required"), ToolChoice("tool", "ask_user")


def entry(name: Any = "ask_user", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def choose(own: Any, asked: ToolChoice, finals: frozenset[str] = frozenset()) -> ToolChoice:
    return WithClientTools(policy_of(own), asked, THEIRS, finals)(STATE)


def test_tools_as_the_model_is_told_of_them() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string", "pattern": "(a+)+$"}}}
    one, two = parse_tools([entry(description="Ask.", parameters=schema, strict=True), entry("open_page")], 2)
    assert one.spec.to_dict() == entry(description="Ask.", parameters=schema, strict=True)
    assert two.spec.to_dict() == entry("open_page", parameters={"type": "object", "properties": {}})
    assert one.options.approval is True
    assert parse_tools(None, 1) == parse_tools([], 1) == ()


@pytest.mark.anyio
async def test_such_a_tool_does_not_run() -> None:
    (tool,) = parse_tools([entry()], 1)
    with pytest.raises(AssertionError):
        await tool.function()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "tools"),
        ("x", "tools"),
        ([entry("a"), entry("b"), entry("c")], "tools"),
        ([entry("a"), entry("a")], "tools[1].function.name"),
        (["x"], "tools[0]"),
        ([{"type": "function"}], "tools[0]"),
        ([{"type": "custom", "function": {"name": "a"}}], "tools[0]"),
        ([entry("a"), entry("")], "tools[1].function.name"),
        ([entry("a b")], "tools[0].function.name"),
        ([entry("a" * 65)], "tools[0].function.name"),
        ([entry(None)], "tools[0].function.name"),
        ([entry(3)], "tools[0].function.name"),
        ([entry(description=3)], "tools[0].function.description"),
        ([entry(parameters="x")], "tools[0].function.parameters"),
    ],
)
def test_what_is_no_tool_is_refused_by_its_place(data: Any, param: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_tools(data, 2)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("data", "choice"),
    [
        (None, AUTO),
        ("auto", AUTO),
        ("none", NONE),
        ("required", REQUIRED),
        ({"type": "function", "function": {"name": "ask_user"}}, FORCED),
    ],
)
def test_choices(data: Any, choice: ToolChoice) -> None:
    assert parse_tool_choice(data, THEIRS) == choice


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("any", THEIRS),
        (3, THEIRS),
        ({"type": "function"}, THEIRS),
        ({"type": "function", "function": {"name": "search"}}, THEIRS),
        ({"type": "allowed_tools"}, THEIRS),
        ("required", ()),
    ],
)
def test_what_is_no_choice(data: Any, names: Any) -> None:
    with pytest.raises(HttpError) as caught:
        parse_tool_choice(data, names)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


CASES = [
    # the agent's policy, what the client asks for, and what holds
    ("auto", AUTO, AUTO),
    ("none", AUTO, ToolChoice("auto", tools=THEIRS)),
    ("required", AUTO, ToolChoice("required", withheld=THEIRS)),
    ("search", AUTO, ToolChoice("tool", "search", withheld=THEIRS)),
    (ToolChoice("auto", tools=frozenset({"search"})), AUTO, ToolChoice("auto", tools=THEIRS | {"search"})),
    (ToolChoice("auto", withheld=OWN), AUTO, ToolChoice("auto", withheld=OWN)),
    ("auto", NONE, ToolChoice("auto", withheld=THEIRS)),
    ("none", NONE, NONE),
    ("required", NONE, ToolChoice("required", withheld=THEIRS)),
    ("auto", REQUIRED, REQUIRED),
    ("none", REQUIRED, ToolChoice("required", tools=THEIRS)),
    ("search", REQUIRED, ToolChoice("tool", "search", withheld=THEIRS)),
    ("auto", FORCED, FORCED),
    ("none", FORCED, FORCED),
    ("required", FORCED, ToolChoice("required", withheld=THEIRS)),
]


@pytest.mark.parametrize(("own", "asked", "holds"), CASES)
def test_each_speaks_of_its_own_tools(own: Any, asked: ToolChoice, holds: ToolChoice) -> None:
    assert choose(own, asked) == holds


FINAL = frozenset({"final_answer"})
ANSWERING = ToolChoice("required", firm=True)
TYPED = [
    (ANSWERING, AUTO, ANSWERING),
    (ANSWERING, NONE, ToolChoice("required", withheld=THEIRS, firm=True)),
    (ANSWERING, REQUIRED, ToolChoice("required", withheld=FINAL)),
    (ANSWERING, FORCED, FORCED),
    ("final_answer", AUTO, ToolChoice("required", tools=THEIRS | FINAL)),
    ("final_answer", REQUIRED, ToolChoice("required", tools=THEIRS | FINAL, withheld=FINAL)),
    ("search", AUTO, ToolChoice("tool", "search", withheld=THEIRS)),
    (ToolChoice("required", withheld=FINAL), AUTO, ToolChoice("required", withheld=FINAL | THEIRS)),
]


@pytest.mark.parametrize(("own", "asked", "holds"), TYPED)
def test_a_typed_answer_is_an_answer(own: Any, asked: ToolChoice, holds: ToolChoice) -> None:
    assert choose(own, asked, FINAL) == holds


modes = st.sampled_from([AUTO, NONE, REQUIRED, ToolChoice("tool", "search")])
wishes = st.sampled_from([AUTO, NONE, REQUIRED, FORCED])


@settings(deadline=None)
@given(modes, wishes, st.frozensets(st.sampled_from(sorted(OWN))))
def test_laws(own: ToolChoice, asked: ToolChoice, withheld: frozenset[str]) -> None:
    if own.tool in withheld:
        withheld = frozenset()
    own = ToolChoice(own.mode, own.tool, None, withheld)
    both = WithClientTools(fixed(own), asked, THEIRS)
    choice = both(STATE)
    assert choice == both(STATE)  # pure
    callable_now = {name for name in OWN | THEIRS if choice.offers(name) and choice.mode != "none"}
    if choice.mode == "tool":
        callable_now &= {choice.tool or ""}
    if asked.mode == "none":
        assert not callable_now & THEIRS
    if own.mode == "none":
        assert not callable_now & OWN
    assert not callable_now & withheld
    if own.mode in ("required", "tool"):  # the agent's own wish comes first
        assert (choice.mode, choice.tool) == (own.mode, own.tool)
        assert not callable_now & THEIRS
    elif asked.mode in ("required", "tool"):  # and then no answer but a call will do
        assert (choice.mode, choice.tool) == (asked.mode, asked.tool)
        assert callable_now & THEIRS


def test_it_says_what_it_is_and_has_the_parts_of_the_agents_policy() -> None:
    policy = WithClientTools(auto & no_repeat(3), REQUIRED, THEIRS)
    assert repr(policy) == "auto & no_repeat(3) with the client's required"
    assert policy.has(no_repeat)
