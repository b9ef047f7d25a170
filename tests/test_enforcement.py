import pytest

from agentkit import (
    AssistantMessage,
    Limits,
    PolicyContradiction,
    Settings,
    State,
    Step,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolChoiceIgnored,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.enforcement import check_obeyed, choose, held
from agentkit.plan import Plan
from agentkit.threads import Threads
from agentkit.tool_choice import PolicyLike, fixed, policy_of
from agentkit.wire import ChatResponse, Choice
from tests.scripted import Scripted, said

GO = State.of((UserMessage("go"),))
A, AB = frozenset({"a"}), frozenset({"a", "b"})


def hold(reply: ChatResponse, choice: ToolChoice, going_by: Plan) -> Step:
    return held(reply, choice, going_by, lambda _: None)


def plan(policy: PolicyLike = "auto", tools: str = "abc", corrections: int = 2) -> Plan:
    toolbox = Toolbox([Tool.of(lambda: None, name=name) for name in tools])
    return Plan(Scripted(said("")), toolbox, policy_of(policy), Settings(), Limits(), "show", Threads(1), corrections)


def reply(called: str, content: str | None = None) -> ChatResponse:
    calls = tuple(ToolCall(f"c{at}", name, "{}") for at, name in enumerate(called.split()))
    return ChatResponse((Choice(AssistantMessage(content, calls), "stop"),), Usage(1, 10, 5))


@pytest.mark.parametrize(
    ("chosen", "tools", "choice"),
    [
        (ToolChoice(), "abc", ToolChoice()),
        (ToolChoice(), "", ToolChoice()),
        (ToolChoice("none"), "", ToolChoice("none")),
        (ToolChoice("required"), "a", ToolChoice("required")),
        (ToolChoice("tool", "a"), "a", ToolChoice("tool", "a")),
        (ToolChoice(tools=A), "abc", ToolChoice(tools=A)),
        # Nothing is left to call, so the model can only answer; the tools stay in the request.
        (ToolChoice(tools=frozenset()), "abc", ToolChoice("none")),
        (ToolChoice(withheld=A), "a", ToolChoice("none")),
        (ToolChoice("none", tools=frozenset()), "abc", ToolChoice("none")),
    ],
)
def test_a_choice_is_settled_for_the_tools(chosen: ToolChoice, tools: str, choice: ToolChoice) -> None:
    assert choose(plan(chosen, tools), GO) == choice


@pytest.mark.parametrize(
    ("chosen", "tools", "said"),
    [
        (
            ToolChoice("required", withheld=AB),
            "ab",
            "asks for a call of some tool and does not offer it; the agent's tools: a, b",
        ),
        (ToolChoice("required"), "", "asks for a call of some tool and does not offer it; the agent's tools: none"),
        (ToolChoice("tool", "z"), "ab", "asks for a call of z and does not offer it; the agent's tools: a, b"),
    ],
)
def test_what_cannot_be_called_cannot_be_asked_for(chosen: ToolChoice, tools: str, said: str) -> None:
    with pytest.raises(PolicyContradiction) as caught:
        choose(plan(chosen, tools), GO)
    assert str(caught.value) == f"{fixed(chosen)!r} {said}"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (ToolChoice(), ""),
        (ToolChoice(), "a b a"),
        (ToolChoice(), "teleport"),
        (ToolChoice("none"), ""),
        (ToolChoice("required"), "a"),
        (ToolChoice("required"), "a b"),
        (ToolChoice("required"), "teleport"),
        (ToolChoice("tool", "a"), "a"),
        (ToolChoice("tool", "a", AB), "a"),
        (ToolChoice(tools=AB), "a b"),
        (ToolChoice(withheld=A), "b c"),
    ],
)
def test_what_obeys(choice: ToolChoice, called: str) -> None:
    step = hold(reply(called, "said"), choice, plan("required"))
    assert step == Step(reply(called, "said").message, choice, "required", None, (), "stop", Usage(1, 10, 5))


@pytest.mark.parametrize(
    ("choice", "called", "violation", "asked"),
    [
        (
            ToolChoice("none"),
            "a",
            "it called a tool where none may be called",
            "answer without calling a tool, with what you have",
        ),
        (
            ToolChoice("none"),
            "teleport a",
            "it called a tool where none may be called",
            "answer without calling a tool, with what you have",
        ),
        (ToolChoice("required"), "", "it answered where a tool must be called", "call one of the tools a, b, c"),
        (ToolChoice("required", tools=AB), "", "it answered where a tool must be called", "call one of the tools a, b"),
        (ToolChoice("required", tools=AB), "c", "it called c, which is not offered now", "call one of the tools a, b"),
        (ToolChoice("tool", "a"), "", "it answered where a must be called", "call the tool a, once"),
        (ToolChoice("tool", "a"), "b", "it called b where a must be called", "call the tool a, once"),
        (ToolChoice("tool", "a"), "a b", "it called a, b where a must be called", "call the tool a, once"),
        (ToolChoice("tool", "a"), "teleport", "it called teleport where a must be called", "call the tool a, once"),
        (ToolChoice("tool", "a"), "a functions.a a", "it called a 3 times at once", "call the tool a, once"),
        (ToolChoice(withheld=A), "a", "it called a, which is not offered now", "call one of the tools b, c, or answer"),
        (
            ToolChoice(withheld=A),
            "b functions.a",
            "it called a, which is not offered now",
            "call one of the tools b, c, or answer",
        ),
        (
            ToolChoice(tools=A),
            "c b teleport",
            "it called c, b, which is not offered now",
            "call one of the tools a, or answer",
        ),
    ],
)
def test_what_does_not(choice: ToolChoice, called: str, violation: str, asked: str) -> None:
    step = hold(reply(called), choice, plan("required"))
    assert step.violation == violation
    if called:
        assert step.correction == tuple(
            ToolMessage(call.id, f"Not run: {violation}; {asked}.", "refused") for call in step.message.tool_calls
        )
    else:
        assert step.correction == (UserMessage(f"This is not an answer yet: {asked}.", note=True),)
    assert (step.choice, step.policy, step.finish_reason) == (choice, "required", "stop")


def test_a_reply_that_does_not_say_what_it_cost_is_counted() -> None:
    assert hold(ChatResponse((Choice(AssistantMessage("x")),)), ToolChoice(), plan()).usage == Usage(1)


@pytest.mark.parametrize("corrections", [0, 1, 2, 5])
def test_a_model_is_corrected_a_bounded_number_of_times(corrections: int) -> None:
    state, going_by = GO, plan("required", corrections=corrections)
    step = hold(reply("", "No."), ToolChoice("required"), going_by)
    for _ in range(corrections):
        check_obeyed(step, going_by, state)
        state = state.heard(step)
    with pytest.raises(ToolChoiceIgnored) as caught:
        check_obeyed(step, going_by, state)
    assert (caught.value.reply, caught.value.choice, caught.value.policy) == (
        step.message,
        ToolChoice("required"),
        "required",
    )
    times = "once" if corrections == 0 else f"{corrections + 1} times in a row"
    assert str(caught.value) == (
        f"scripted was asked {times} and broke the tool choice, last 'required' by required: it answered where a tool must be "
        "called. If the endpoint does not support tool_choice, wrap the model: Prompted(model) makes it impossible to disobey; "
        "or use another model"
    )


def test_who_obeys_is_asked_again() -> None:
    going_by = plan("required", corrections=0)
    check_obeyed(hold(reply("a"), ToolChoice("required"), going_by), going_by, GO)
