import pytest

from agentkit import Limits, Settings, State, Toolbox, ToolChoice, UserMessage
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
