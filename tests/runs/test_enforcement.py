import re
from dataclasses import replace

import pytest

from agentkit import Agent, Limits, Settings, State, Step, Tool, Toolbox, ToolChoice
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.concurrency import Threads
from agentkit.core.errors import AnswerInvalid, IncompleteReply, LimitReached, PolicyContradiction, ToolChoiceIgnored
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.state import Call, ToolResults, ViolationKind
from agentkit.runs.enforcement import (
    choose,
    enforce_max_corrections,
    judge_call,
    judge_reply,
    requested,
    validate_output,
)
from agentkit.runs.limits import Budget, Reached
from agentkit.runs.output import output_of
from agentkit.runs.plan import OnTruncated, Plan, Scope
from agentkit.tool_choice import PolicyLike, budget, no_repeat, policy_of, prerequisite, sequence, where
from tests.scripted import Scripted, called, said

GO = State.of((UserMessage("go"),))
A, AB = frozenset({"a"}), frozenset({"a", "b"})


def never(call: Call, state: State) -> bool:
    return False


def plan_of(policy: PolicyLike = "auto", tools: str = "abc", corrections: int = 2) -> Plan:
    toolbox = Toolbox([Tool.of(lambda: None, name=name) for name in tools])
    return Plan(Scripted(said("")), toolbox, policy_of(policy), Settings(), Limits(), "show", Threads(1), corrections)


def limited(plan: Plan, limits: Limits) -> Plan:
    return plan._replace(limits=limits, scope=Scope(budget=Budget(limits)))


def reply(called: str, content: str | None = None, arguments: str = "{}", reason: str = "stop") -> ChatResponse:
    calls = tuple(ToolCall(f"c{at}", name, arguments) for at, name in enumerate(called.split()))
    return ChatResponse((Choice(AssistantMessage(content, calls), reason),), Usage(1, 10, 5))


def cut(called: str, content: str | None = None, arguments: str = '{"x') -> ChatResponse:
    return reply(called, content, arguments, "length")


def judge(response: ChatResponse, choice: ToolChoice, plan: Plan, state: State = GO) -> Step:
    return judge_reply(response, choice, plan, state, lambda _: None)


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
        # What cannot be called cannot be asked for.
        (ToolChoice("required", withheld=AB), "ab", None),
        (ToolChoice("required"), "", None),
        (ToolChoice("tool", "z"), "ab", None),
    ],
)
def test_a_choice_is_settled_for_the_tools(chosen: ToolChoice, tools: str, choice: ToolChoice | None) -> None:
    if choice is not None:
        assert choose(plan_of(chosen, tools), GO) == choice
        return
    with pytest.raises(PolicyContradiction, match=chosen.tool or "some tool"):
        choose(plan_of(chosen, tools), GO)


def test_a_truncated_result_may_be_read_whatever_is_offered() -> None:
    call = ToolCall("c0", "b", "{}")
    short = ToolMessage("c0", "head … tail", full="head and tail")
    state = State.of((UserMessage("go"), AssistantMessage(tool_calls=(call,)), short))
    plan = plan_of(ToolChoice(tools=A))
    assert choose(plan, GO).tools == A
    assert choose(plan.at(state), state).tools == A | {"read_result"}
    # A tool of the user's own with that name is as any other.
    own = Tool.of(lambda: None, name="read_result")
    plan = plan._replace(toolbox=Toolbox([*plan.toolbox, own]))
    assert choose(plan.at(state), state).tools == A


# ------------------------------------------------------------------------------------------------------------ judging


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (ToolChoice(), ""),
        (ToolChoice(), "a b a"),
        (ToolChoice(), "teleport"),
        (ToolChoice("none"), ""),
        (ToolChoice("required"), "teleport"),
        (ToolChoice("tool", "a", AB), "a"),
        (ToolChoice(withheld=A), "b c"),
        # Whatever else was called is answered call by call.
        (ToolChoice("tool", "a"), "a a a"),
        (ToolChoice("tool", "a"), "b a"),
        (ToolChoice(withheld=A), "b a"),
        (ToolChoice(tools=A), "c b teleport"),
        # Where no call is demanded, so is each of several that are all forbidden.
        (ToolChoice("none"), "a b"),
        (ToolChoice(withheld=A), "a a"),
        (ToolChoice(tools=A), "c b"),
    ],
)
def test_an_obedient_reply_is_accepted(choice: ToolChoice, called: str) -> None:
    step = judge(reply(called, "said"), choice, plan_of("required"))
    assert step == Step(reply(called, "said").message, choice, "required", None, (), "stop", Usage(1, 10, 5))


@pytest.mark.parametrize(
    ("choice", "called", "advice"),
    [
        (ToolChoice("none"), "teleport a", "answer without calling a tool"),
        (ToolChoice("required", withheld=frozenset("abc")), "a", "answer"),
        (ToolChoice("required"), "", "call one of the tools a, b, c"),
        (ToolChoice("required", tools=AB), "c", "call one of the tools a, b"),
        (ToolChoice("tool", "a"), "", "call the tool a"),
        (ToolChoice("tool", "a"), "b c", "call the tool a"),
    ],
)
def test_a_disobedient_reply_is_rejected_and_corrected(choice: ToolChoice, called: str, advice: str) -> None:
    step = judge(reply(called), choice, plan_of("required"))
    assert step.violation is not None
    assert step.violation.kind == "tool_choice"
    assert (step.choice, step.policy, step.finish_reason) == (choice, "required", "stop")
    assert all(advice in str(message.content) for message in step.correction)
    if called:
        assert all(str(step.violation) in str(message.content) for message in step.correction)
        results = [(m.tool_call_id, m.outcome) for m in step.correction if isinstance(m, ToolMessage)]
        assert results == [(call.id, "refused") for call in step.message.tool_calls]
    else:
        (note,) = step.correction
        assert isinstance(note, UserMessage)
        assert note.note


@pytest.mark.parametrize(
    ("response", "mode", "kind"),
    [
        (cut("", "It is"), "error", "cut_answer"),
        (cut("", "It is"), "continue", "cut_answer"),
        (cut("", "It is"), "accept", None),
        (cut("a"), "accept", "cut_call"),
        (cut("a", arguments="{}"), "error", None),
        (reply("a", None, '{"x', "tool_calls"), "error", None),
        (reply("", " \n"), "error", "empty"),
        (cut("", None), "accept", "empty"),
        (cut("", None), "error", "cut_answer"),
    ],
)
def test_a_reply_that_is_not_whole_is_rejected(
    response: ChatResponse, mode: OnTruncated, kind: ViolationKind | None
) -> None:
    step = judge(response, ToolChoice(), plan_of()._replace(on_truncated=mode))
    assert (step.violation and step.violation.kind, len(step.correction)) == (kind, 0 if kind is None else 1)
    if kind == "cut_call":
        assert "a" in str(step.violation).split()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_typed_answer_as_text_is_validated() -> None:
    plan = plan_of()._replace(output=output_of(int, "format"))
    wrong, right = (judge(reply("", text), ToolChoice(), plan) for text in ('{"answer": "x"}', '{"answer": 1}'))
    assert await validate_output(right, plan) is right
    assert await validate_output(wrong, plan._replace(output=None)) is wrong
    assert await validate_output(wrong, plan._replace(output=output_of(int))) is wrong
    rejected = await validate_output(wrong, plan)
    assert rejected.violation is not None
    assert (rejected.violation.kind, len(rejected.correction)) == ("invalid_output", 1)
    with pytest.raises(AnswerInvalid):
        enforce_max_corrections(rejected, plan._replace(max_corrections=0), GO)


# --------------------------------------------------------------------------------------------------------- correcting


def corrected(step: Step, plan: Plan, times: int) -> State:
    """The state after a step that the run accepted to correct so many times."""
    state = GO
    for _ in range(times):
        enforce_max_corrections(step, plan, state)
        state = state.with_reply(step)
    return state


@pytest.mark.parametrize("corrections", [0, 1, 2, 5])
def test_a_model_is_corrected_a_bounded_number_of_times(corrections: int) -> None:
    plan = plan_of("required", corrections=corrections)
    step = judge(reply("", "No."), ToolChoice("required"), plan)
    state = corrected(step, plan, corrections)
    with pytest.raises(ToolChoiceIgnored, match=f"{corrections + 1} times" if corrections else "once") as caught:
        enforce_max_corrections(step, plan, state)
    error = caught.value
    assert (error.reply, error.choice, error.policy) == (step.message, ToolChoice("required"), "required")
    enforce_max_corrections(judge(reply("a"), ToolChoice("required"), plan), plan, state)


@pytest.mark.parametrize(
    ("response", "choice", "mode", "allowed", "text"),
    [
        (cut("", "It is"), ToolChoice(), "error", 0, "It is"),
        (cut("", "It is"), ToolChoice("required"), "error", 0, "It is"),
        (cut("", "It is"), ToolChoice(), "continue", 2, "It is" * 3),
        (cut("a", "Wait"), ToolChoice(), "error", 2, "Wait"),
        (cut("a", "Wait"), ToolChoice(), "accept", 2, "Wait"),
    ],
)
def test_a_reply_is_cut_a_bounded_number_of_times(
    response: ChatResponse, choice: ToolChoice, mode: OnTruncated, allowed: int, text: str
) -> None:
    plan = plan_of()._replace(on_truncated=mode)
    step = judge(response, choice, plan)
    state = corrected(step, plan, allowed)
    with pytest.raises(IncompleteReply, match="max_tokens") as caught:
        enforce_max_corrections(step, plan, state)
    assert (caught.value.calls, caught.value.text) == (step.message.tool_calls, text)


def test_a_withheld_call_says_how_to_allow_it() -> None:
    plan = plan_of("required", corrections=0)
    with pytest.raises(ToolChoiceIgnored, match=r"repeated the call a\(\{\}\).*repeatable.*max_repeats") as caught:
        enforce_max_corrections(judge(reply("a"), ToolChoice(withheld=A), plan), plan, GO)
    assert "Prompted" not in str(caught.value)  # it would repeat the call too
    with pytest.raises(ToolChoiceIgnored, match="Prompted"):
        enforce_max_corrections(judge(reply("", "No."), ToolChoice("required", withheld=A), plan), plan, GO)


def test_a_repeated_call_is_named_where_no_other_tool_is_left() -> None:
    def look(at: int) -> str:
        return str(at)

    agent = Agent(Scripted(*[called(("look", {"at": 1}))] * 9), tools=[look], tool_choice=no_repeat(2))
    with pytest.raises(ToolChoiceIgnored, match=r'repeated the call look\(\{"at": 1\}\)') as caught:
        agent.run_sync("go")
    assert "Prompted" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- limits


def test_at_a_limit_the_run_ends_and_the_policy_is_not_asked() -> None:
    plan = limited(plan_of("required"), Limits(requests=1))
    assert choose(plan, GO) == ToolChoice("required")
    plan.scope.budget.spend(Usage(1), 0)
    with pytest.raises(LimitReached) as caught:
        choose(plan, GO)
    assert (caught.value.limit, caught.value.allowed) == ("requests", 1)


@pytest.mark.parametrize(
    ("tools", "typed", "choice"),
    [
        ("abc", None, ToolChoice("none")),
        ("", None, ToolChoice()),
        ("abc", "tool", ToolChoice("tool", "final_answer")),
        ("", "tool", ToolChoice("tool", "final_answer")),
        ("abc", "format", ToolChoice("none")),
    ],
)
@pytest.mark.parametrize("corrections", [0, 2])
def test_at_a_limit_the_model_may_answer(tools: str, typed: str | None, choice: ToolChoice, corrections: int) -> None:
    plan = limited(plan_of("required", tools, corrections), Limits(steps=1, at_end="answer"))
    plan = plan._replace(output=None if typed is None else output_of(int, "tool" if typed == "tool" else "format"))
    state = GO.with_reply(Step(reply("a").message, ToolChoice(), "required"))
    for _ in range(corrections + 1):
        assert choose(plan, state) == choice
    with pytest.raises(LimitReached) as caught:
        choose(plan, state)
    assert caught.value.limit == "steps"


def test_a_step_says_which_limit_chose() -> None:
    plan = limited(plan_of("required"), Limits())
    assert judge(reply("a"), ToolChoice("required"), plan).policy == "required"
    plan.scope.budget.reached = Reached("tokens", 1, "")
    step = judge(reply("", "So."), ToolChoice("none"), plan)
    assert (step.policy, step.violation) == ("limits: tokens", None)


# -------------------------------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize(
    ("policy", "choice", "called", "reason"),
    [
        # The policy's own reason, and what the model can do instead.
        (
            prerequisite("a", "b"),
            ToolChoice(withheld=A),
            "a",
            "b must have succeeded.*; call one of the tools b, c, or answer",
        ),
        (sequence("a", "b"), ToolChoice("tool", "a"), "b", "a must succeed before b; call the tool a$"),
        (budget(0), ToolChoice("none"), "a", "has 0 left; answer without calling a tool"),
        ("auto", ToolChoice(withheld=A), "a", "a is not offered now; call one of the tools b, c, or answer"),
        ("auto", ToolChoice(tools=A), "b", "b is not offered now; call one of the tools a, or answer"),
        ("required", ToolChoice("required", tools=AB), "c", "c is not offered now; call one of the tools a, b$"),
        # A call of the only tool that may be called is not told to call it.
        (where("a", never, "at most 5"), ToolChoice("tool", "a"), "a", "^at most 5$"),
        (where("a", never, "at most 5"), ToolChoice("required", tools=A), "a", "^at most 5$"),
        (where("a", never, "at most 5"), ToolChoice(tools=A), "a", "^at most 5; answer$"),
        # Nor is one that came after the call that was demanded.
        (sequence("a", "b"), ToolChoice("tool", "a"), "a b", "^a must succeed before b$"),
    ],
)
def test_a_call_that_does_not_run_says_why_and_what_can_be_done(
    policy: PolicyLike, choice: ToolChoice, called: str, reason: str
) -> None:
    plan = plan_of(policy)
    *before, name = called.split()
    state = replace(GO, pending=tuple([Call(earlier) for earlier in before]))
    verdict = judge_call(Call(name), Tool.of(lambda: None, name=name), choice, plan, state)
    assert (verdict.kind, verdict.by) == ("deny", plan.policy_text)
    assert re.search(reason, verdict.reason)


def test_of_hundreds_of_tools_some_are_named() -> None:
    names = frozenset([f"tool{number}" for number in range(300)])
    assert requested(ToolChoice(), names).count("tool") == 21
    assert requested(ToolChoice(), names).endswith(" …, or answer")


def test_forbidden_calls_are_not_answered_for_ever() -> None:
    plan, state = plan_of(ToolChoice(withheld=A), corrections=2), GO
    for _ in range(2):
        step = judge(reply("a"), ToolChoice(withheld=A), plan, state)
        assert step.violation is None
        state = state.with_reply(step).with_results(ToolResults((ToolMessage("c0", "Not run", "refused"),)))
    assert state.violations == 2
    step = judge(reply("a"), ToolChoice(withheld=A), plan, state)
    with pytest.raises(ToolChoiceIgnored, match="3 times in a row"):
        enforce_max_corrections(step, plan, state)
    state = state.with_reply(judge(reply("b"), ToolChoice(withheld=A), plan, state))
    assert state.with_results(ToolResults((ToolMessage("c0", "done"),))).violations == 0


def test_calls_with_one_id_are_told_apart() -> None:
    said_twice = AssistantMessage(tool_calls=(ToolCall("1", "a", "{}"), ToolCall("1", "b", "{}")))
    step = judge(ChatResponse((Choice(said_twice),)), ToolChoice(), plan_of("auto"))
    assert [(call.id, call.name) for call in step.message.tool_calls] == [("1", "a"), ("1_2", "b")]
