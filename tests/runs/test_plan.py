import pytest

from agentkit import ConfigurationError, Limits, Price, State, TextDelta, Toolbox, ToolChoice
from agentkit.core.chat import ChatRequest, ChatResponse, Choice, Settings
from agentkit.core.choice import Values
from agentkit.core.concurrency import Threads
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.runs.limits import Budget
from agentkit.runs.plan import Plan, Scope
from agentkit.tool_choice import auto
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio


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
    assert request.all_tools == PLAN.toolbox.specs


def test_a_request_lists_the_values_that_the_choice_allows() -> None:
    def cancel(order: str) -> None: ...

    plan = PLAN._replace(toolbox=Toolbox([a, cancel]))
    request = plan.request(State.of(()), ToolChoice(values=(Values("cancel", "order", ("A1",)),)))
    assert request.tools[0] is plan.toolbox.specs[0]
    assert request.tools[1].parameters["properties"] == {"order": {"type": "string", "enum": ["A1"]}}
    assert request.all_tools is request.tools


def test_the_rest_of_a_result_can_be_read_where_one_was_shortened() -> None:
    go = (UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c0", "a", "{}"),)))
    whole = State.of((*go, ToolMessage("c0", "all of it")))
    shortened = State.of((*go, ToolMessage("c0", "all … it", full="all of it")))
    assert PLAN.at(whole) is PLAN
    assert [tool.name for tool in PLAN.at(shortened).toolbox] == ["a", "b", "c", "read_result"]

    def read_result() -> str:
        return "mine"

    own = PLAN._replace(toolbox=Toolbox([read_result]))
    assert own.at(shortened) is own


# -------------------------------------------------------------------------------------------------------------- costs


def plan_with(limits: Limits, around: Limits | None = None, prices: Price | None = None) -> Plan:
    budget = Budget(limits, None if around is None else Budget(around))
    return PLAN._replace(limits=limits, prices=prices or {}, scope=Scope(budget=budget))


ASKED = ChatRequest((UserMessage("x" * 400),), Toolbox([a]).specs)


def reply(usage: Usage | None, model: str | None = None) -> ChatResponse:
    return ChatResponse((Choice(AssistantMessage("y" * 40)), Choice(AssistantMessage("z" * 40))), usage, model=model)


def test_a_reply_is_counted_once() -> None:
    plan, said = plan_with(Limits()), reply(Usage(2, 10, 5, 3))
    assert plan.paid(ASKED, said) is said
    assert (plan.scope.budget.usage, plan.scope.budget.tokens) == (Usage(2, 10, 5, 3), 15)


def test_a_reply_that_does_not_say_what_it_cost_is_estimated_and_not_changed() -> None:
    plan = plan_with(Limits(), prices=Price(0, 1_000_000))
    paid = plan.paid(ASKED, reply(None))
    budget = plan.scope.budget
    written = 2 * len(AssistantMessage("y" * 40).encoded) // 4
    read = (len(ASKED.messages[0].encoded) + len(ASKED.tools[0].encoded)) // 4
    assert budget.tokens == read + written
    # The tokens are not what an endpoint said, so they are not told as if it had; the cost is the best that is known.
    assert paid.usage == budget.usage == Usage(1, cost=written)
    assert paid.choices == reply(None).choices


def test_what_a_reply_cost_is_added() -> None:
    plan = plan_with(Limits(), prices=Price(100_000, 200_000))
    assert plan.paid(ASKED, reply(Usage(1, 10, 5))).usage == Usage(1, 10, 5, cost=2.0)
    assert plan.paid(ASKED, reply(Usage(1, 10, 5, cost=0.5))).usage == Usage(1, 10, 5, cost=0.5)
    assert plan.scope.budget.usage == Usage(2, 20, 10, cost=2.5)


@pytest.mark.parametrize(("limits", "around"), [(Limits(cost=1), None), (Limits(), Limits(cost=1))])
@pytest.mark.parametrize(("model", "named"), [(None, "scripted"), ("m-2026", "m-2026")])
def test_a_limit_on_the_cost_needs_a_price(
    limits: Limits, around: Limits | None, model: str | None, named: str
) -> None:
    plan = plan_with(limits, around)
    with pytest.raises(ConfigurationError, match=f"no price is known for '{named}'"):
        plan.paid(ASKED, reply(Usage(1, 10, 5), model))
    assert plan.scope.budget.usage == Usage(1, 10, 5)
    assert plan.paid(ASKED, reply(Usage(1, 10, 5, cost=0.1), model)).usage == Usage(1, 10, 5, cost=0.1)


async def test_outside_a_run_nobody_decides_and_nobody_listens() -> None:
    assert await Scope().ask(ToolCall("c0", "a", "{}")) is None
    Scope().emit(TextDelta("a"))
