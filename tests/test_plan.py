from dataclasses import replace

import pytest

from agentkit import (
    AssistantMessage,
    Limits,
    Settings,
    State,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from agentkit.plan import Plan
from agentkit.threads import Threads
from agentkit.tool_choice import auto
from tests.scripted import Scripted, said


def a() -> None: ...
def b() -> None: ...
def c() -> None: ...


PLAN = Plan(Scripted(said("x")), Toolbox([a, b, c]), auto, Settings(), Limits(), "show", Threads(1), 2)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice(), ["a", "b", "c"]),
        (ToolChoice("none"), ["a", "b", "c"]),
        (ToolChoice(tools=frozenset({"c", "a"})), ["a", "c"]),
        (ToolChoice(withheld=frozenset({"a"})), ["b", "c"]),
        (ToolChoice(tools=frozenset({"a", "b"}), withheld=frozenset({"a"})), ["b"]),
    ],
)
def test_a_request_offers_what_the_choice_offers(choice: ToolChoice, names: list[str]) -> None:
    state = State.of((UserMessage("go"),))
    request = PLAN.request(state, choice)
    assert [tool.name for tool in request.tools] == names
    assert (request.messages, request.tool_choice) == (state.messages, choice)


def test_the_rest_of_a_result_can_be_read_where_one_was_shortened() -> None:
    go = (UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c0", "a", "{}"),)))
    whole = State.of((*go, ToolMessage("c0", "all of it")))
    shortened = State.of((*go, ToolMessage("c0", "all … it", full="all of it")))
    assert PLAN.at(whole) is PLAN
    assert [tool.name for tool in PLAN.at(shortened).toolbox] == ["a", "b", "c", "read_result"]
    assert whole.answered(()).shortened is False
    assert State.of(go).answered((ToolMessage("c0", "all … it", full="all of it"),)).shortened is True

    def read_result() -> str:
        return "mine"

    own = replace(PLAN, toolbox=Toolbox([read_result]))
    assert own.at(shortened) is own
