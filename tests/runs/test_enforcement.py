from dataclasses import replace

import pytest

from agentkit import (
    AssistantMessage,
    IncompleteReply,
    LimitReached,
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
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.concurrency import Threads
from agentkit.runs.enforcement import check_obeyed, check_reply, choose
from agentkit.runs.finish import CUT_ANSWER
from agentkit.runs.limits import Budget, Reached
from agentkit.runs.output import output_of
from agentkit.runs.plan import OnTruncated, Plan, Scope
from agentkit.tool_choice import PolicyLike, fixed, policy_of
from tests.scripted import Scripted, said

GO = State.of((UserMessage("go"),))
LONG = ToolMessage("c0", "head … tail", full="head and tail")
A, AB = frozenset({"a"}), frozenset({"a", "b"})


def hold(reply: ChatResponse, choice: ToolChoice, going_by: Plan, state: State = GO) -> Step:
    return check_reply(reply, choice, going_by, state, lambda _: None)


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
        state = state.with_reply(step)
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


def cut(called: str, content: str | None = None, arguments: str = "{}", reason: str = "length") -> ChatResponse:
    calls = tuple(ToolCall(f"c{at}", name, arguments) for at, name in enumerate(called.split()))
    return ChatResponse((Choice(AssistantMessage(content, calls), reason),), Usage(1, 10, 5))


NOT_RUN = "the reply was cut by its length limit before the call of a was complete"


@pytest.mark.parametrize(
    ("response", "mode", "violation", "correction"),
    [
        (
            cut("", "It is"),
            "error",
            CUT_ANSWER,
            "Your answer was cut. Go on exactly where it ends, and repeat nothing.",
        ),
        (
            cut("", "It is"),
            "continue",
            CUT_ANSWER,
            "Your answer was cut. Go on exactly where it ends, and repeat nothing.",
        ),
        (cut("", "It is"), "accept", None, None),
        (cut("a", None, '{"x'), "accept", NOT_RUN, f"Not run: {NOT_RUN}; make it shorter, or do it in several calls."),
        (cut("a", None, "{}"), "error", None, None),
        (cut("a", None, '{"x', "tool_calls"), "error", None, None),
        (cut("", " \n", reason="stop"), "error", "it said nothing", "Your reply was empty. Answer, or call a tool."),
        (cut("", None), "accept", "it said nothing", "Your reply was empty. Answer, or call a tool."),
        (cut("", None), "error", CUT_ANSWER, "Your answer was cut. Go on exactly where it ends, and repeat nothing."),
    ],
)
def test_what_is_no_whole_reply(
    response: ChatResponse, mode: OnTruncated, violation: str | None, correction: str | None
) -> None:
    step = hold(response, ToolChoice(), replace(plan(), on_truncated=mode))
    assert step.violation == violation
    assert [each.content for each in step.correction] == ([] if correction is None else [correction])


def test_a_broken_choice_comes_before_what_is_no_whole_reply() -> None:
    step = hold(cut("a", None, '{"x'), ToolChoice("none"), plan())
    assert step.violation == "it called a tool where none may be called"


def test_silence_is_taken_in_the_end() -> None:
    silence = cut("", None, reason="stop")
    going_by = plan(corrections=1)
    step = hold(silence, ToolChoice(), going_by)
    check_obeyed(step, going_by, GO)
    assert hold(silence, ToolChoice(), going_by, GO.with_reply(step)).violation is None


@pytest.mark.parametrize(
    ("response", "mode", "allowed"),
    [
        (cut("", "It is"), "error", 0),
        (cut("", "It is"), "continue", 2),
        (cut("a", "Wait", '{"x'), "error", 2),
        (cut("a", "Wait", '{"x'), "accept", 2),
    ],
)
def test_a_reply_is_cut_a_bounded_number_of_times(response: ChatResponse, mode: OnTruncated, allowed: int) -> None:
    state, going_by = GO, replace(plan(), on_truncated=mode)
    step = hold(response, ToolChoice(), going_by)
    for _ in range(allowed):
        check_obeyed(step, going_by, state)
        state = state.with_reply(step)
    with pytest.raises(IncompleteReply) as caught:
        check_obeyed(step, going_by, state)
    assert str(caught.value).startswith(f"{step.violation} ('length'); allow more: Settings(max_tokens=…).")
    assert caught.value.calls == step.message.tool_calls
    assert caught.value.text == ("It is" * (allowed + 1) if step.violation == CUT_ANSWER else "Wait")


def test_a_withheld_call_says_how_to_allow_it() -> None:
    going_by = plan("required", corrections=0)
    with pytest.raises(ToolChoiceIgnored, match=r"mark it @tool\(repeatable=True\) or set Agent\(max_repeats=…\)"):
        check_obeyed(hold(reply("a"), ToolChoice(withheld=A), going_by), going_by, GO)


def test_what_was_left_out_may_be_read_whatever_is_offered() -> None:
    call = ToolCall("c0", "b", "{}")
    state = State.of((UserMessage("go"), AssistantMessage(tool_calls=(call,)), LONG))
    going_by = plan(ToolChoice(tools=A))
    assert choose(going_by, GO).tools == A
    assert choose(going_by.at(state), state).tools == A | {"read_result"}
    # A tool of the user's own that has the name is as any other.
    own = Tool.of(lambda: None, name="read_result")
    going_by = replace(going_by, toolbox=Toolbox([*going_by.toolbox, own]))
    assert choose(going_by.at(state), state).tools == A


# ------------------------------------------------------------------------------------------------------------- limits


def used_up(going_by: Plan, limits: Limits) -> Plan:
    return replace(going_by, limits=limits, scope=Scope(budget=Budget(limits)))


def test_at_a_limit_the_run_ends_and_the_policy_is_not_asked() -> None:
    going_by = used_up(plan("required"), Limits(requests=1))
    assert choose(going_by, GO) == ToolChoice("required")
    going_by.scope.budget.spend(Usage(1), 0)
    with pytest.raises(LimitReached) as caught:
        choose(going_by, GO)
    assert (caught.value.limit, caught.value.allowed) == ("requests", 1)


@pytest.mark.parametrize(
    ("tools", "typed", "choice"),
    [
        ("abc", False, ToolChoice("none")),
        ("", False, ToolChoice()),
        ("abc", True, ToolChoice("tool", "final_answer")),
        ("", True, ToolChoice("tool", "final_answer")),
    ],
)
@pytest.mark.parametrize("corrections", [0, 2])
def test_at_a_limit_the_model_may_answer(tools: str, choice: ToolChoice, corrections: int, *, typed: bool) -> None:
    going_by = used_up(plan("required", tools, corrections), Limits(steps=1, at_end="answer"))
    going_by = replace(going_by, output=output_of(int) if typed else None)
    state = GO.with_reply(Step(reply("a").message, ToolChoice(), "required"))
    for _ in range(corrections + 1):
        assert choose(going_by, state) == choice
    with pytest.raises(LimitReached, match="the model was asked 1 times and has not answered"):
        choose(going_by, state)


def test_a_typed_answer_as_text_is_not_called_for() -> None:
    going_by = used_up(plan("required"), Limits(steps=1, at_end="answer"))
    going_by = replace(going_by, output=output_of(int, "format"))
    state = GO.with_reply(Step(reply("a").message, ToolChoice(), "required"))
    assert choose(going_by, state) == ToolChoice("none")


def test_a_step_says_which_limit_chose() -> None:
    going_by = used_up(plan("required"), Limits())
    assert hold(reply("a"), ToolChoice("required"), going_by).policy == "required"
    going_by.scope.budget.reached = Reached("tokens", 1, "")
    step = hold(reply("", "So."), ToolChoice("none"), going_by)
    assert (step.policy, step.violation) == ("limits: tokens", None)
    with pytest.raises(ToolChoiceIgnored, match="last 'none' by limits: tokens: it called a tool"):
        check_obeyed(hold(reply("a"), ToolChoice("none"), going_by), replace(going_by, max_corrections=0), GO)
