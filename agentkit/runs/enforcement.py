"""Enforcement: a choice is settled before each request, and each reply is held against the choice that was sent."""

from dataclasses import replace

from agentkit.core.chat import ChatResponse
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import AnswerInvalid, IncompleteReply, PolicyContradiction, ToolChoiceIgnored
from agentkit.core.finish_reasons import ending_of
from agentkit.core.messages import AssistantMessage, ToolMessage, Usage, UserMessage
from agentkit.core.state import State, Step
from agentkit.runs.candidates import named, picked
from agentkit.runs.candidates import violation as broken
from agentkit.runs.events import ArgumentsRepaired, Emit
from agentkit.runs.finish import CUT_ANSWER, answer_of, check_ended, cut_call, is_cut_answer, is_empty
from agentkit.runs.plan import Plan
from agentkit.tools.argument_repair import Mend
from agentkit.tools.truncation import READ_RESULT, reads_results

UNFIT = "its answer does not fit the type that is wanted"


def choose(plan: Plan, state: State) -> ToolChoice:
    """Ask the policy for a choice and settle it for the agent's tools.

    Where nothing is left to offer, the model can only answer; the tools stay in the request then, as under `none`. At a
    limit it is to answer, if it may do that.

    Raises:
        LimitReached: If the run has used up what it may.
        PolicyContradiction: If a call is asked for and that tool, or any, is not there to be called.
    """
    budget = plan.scope.budget
    if reached := budget.check(len(state.steps)):
        if not budget.last_word(plan.max_corrections):
            raise reached.error()
        final = None if plan.output is None else plan.output.final
        return ToolChoice("none" if plan.toolbox.names else "auto") if final is None else ToolChoice("tool", final.name)
    choice = plan.policy(state)
    if choice.tools is not None and reads_results(plan.toolbox.get(READ_RESULT)):
        choice = replace(choice, tools=choice.tools | {READ_RESULT})  # whatever else is offered, a note asks for it
    names = plan.toolbox.names
    wanted = names if choice.tool is None else names & {choice.tool}
    if any(choice.offers(name) for name in wanted):
        return choice
    if choice.mode in ("required", "tool"):
        raise PolicyContradiction(
            f"{plan.policy_text} asks for a call of {choice.tool or 'some tool'} and does not offer it; "
            f"the agent's tools: {', '.join(sorted(names)) or 'none'}"
        )
    return ToolChoice("none") if names else choice


def check_reply(reply: ChatResponse, choice: ToolChoice, plan: Plan, state: State, emit: Emit) -> Step:
    """Hold a reply against the choice, and against what a whole reply is.

    Args:
        reply: What the model said.
        choice: What it was allowed to do.
        plan: What the run goes by.
        state: What it was asked about.
        emit: Is told where a call has another name than its tool, as `functions.search` has.

    Returns:
        The step. If the reply was not taken, it says why, and has what answers it: each call answered as not run, or a
        note after a text.

    Raises:
        ContentFiltered: If the endpoint's filter stopped the reply.
        IncompleteReply: If the endpoint failed within it.
    """
    if plan.selector is not None:
        reply = picked(reply, choice, plan.toolbox, plan.output, plan.selector)
    check_ended(reply)
    message = named(reply.message, plan.toolbox.names)
    for wrote, meant in zip(reply.message.tool_calls, message.tool_calls, strict=True):
        if wrote.name != meant.name:
            emit(ArgumentsRepaired(wrote, (Mend("name", f"{wrote.name!r} read as {meant.name!r}"),)))
    violation, correction = _correction(message, reply.finish_reason, choice, plan, state)
    budget = plan.scope.budget
    policy = f"limits: {budget.reached.limit}" if budget.reached else plan.policy_text
    usage = reply.usage or Usage(1)
    return Step(message, choice, policy, violation, correction, reply.finish_reason, usage, reply)


def _correction(
    message: AssistantMessage, finish_reason: str | None, choice: ToolChoice, plan: Plan, state: State
) -> tuple[str | None, tuple[ToolMessage, ...] | tuple[UserMessage]]:
    """Say why a reply is not taken, if it is not, and what answers it."""
    if violation := broken(message, choice, plan.toolbox.names):
        asked = _asked(choice, plan.toolbox.names)
        return violation, _answers(message, f"{violation}; {asked}", f"This is not an answer yet: {asked}.")
    if (name := cut_call(message, finish_reason)) is not None:
        violation = f"the reply was cut by its length limit before the call of {name[:64]} was complete"
        return violation, _answers(message, f"{violation}; make it shorter, or do it in several calls")
    if is_cut_answer(message, finish_reason) and plan.on_truncated != "accept":
        said = "Your answer was cut. Go on exactly where it ends, and repeat nothing."
        return CUT_ANSWER, _answers(message, note=said)
    if is_empty(message) and state.violations < plan.max_corrections:
        return "it said nothing", _answers(message, note="Your reply was empty. Answer, or call a tool.")
    return None, ()


def _answers(message: AssistantMessage, why: str = "", note: str = "") -> tuple[ToolMessage, ...] | tuple[UserMessage]:
    """Answer a reply that is not taken: each call as not run, or a note after a text."""
    if message.tool_calls:
        return tuple([ToolMessage(call.id, f"Not run: {why}.", "refused") for call in message.tool_calls])
    return (UserMessage(note, note=True),)


async def vetted(step: Step, plan: Plan) -> Step:
    """Hold a text that is to be a typed answer against the type, and have the checks look at it."""
    text = step.message.content or ""
    answers = step.violation is None and not step.message.tool_calls and not step.message.refusal and text
    if plan.output is None or plan.output.final is not None or not answers:
        return step
    fault = await plan.output.fault(text)
    if fault is None:
        return step
    return replace(step, violation=UNFIT, correction=(UserMessage(f"{fault}\n\nAnswer again.", note=True),))


def check_obeyed(step: Step, plan: Plan, state: State) -> None:
    """End a run whose model keeps giving replies that cannot be taken.

    Raises:
        ToolChoiceIgnored: If the step is one violation more than the run allows in a row.
        IncompleteReply: If it was one because its length limit cut it.
        AnswerInvalid: If it was one because the answer does not fit its type.
    """
    cut = step.violation is not None and ending_of(step.finish_reason) == "cut"
    if step.violation is None or (state.violations < plan.max_corrections and not (cut and _ends_run(step, plan))):
        return
    if cut:
        raise IncompleteReply(
            f"{step.violation} ({step.finish_reason!r}); allow more: Settings(max_tokens=…). To have a cut answer "
            'continued: Agent(on_truncated="continue"); to take it as it is: Agent(on_truncated="accept")',
            answer_of(state.with_reply(replace(step, correction=()))),
            step.message.tool_calls,
        )
    if step.violation == UNFIT:
        raise AnswerInvalid(
            f"{UNFIT}, {state.violations + 1} times in a row; why, is in the history", step.message.content or ""
        )
    hint = ""
    if step.choice.withheld:
        hint = "If calls of a withheld tool may repeat, mark it @tool(repeatable=True) or set Agent(max_repeats=…). "
    times = f"{state.violations + 1} times in a row" if state.violations else "once"
    raise ToolChoiceIgnored(
        f"{plan.model.name} was asked {times} and broke the tool choice, last {str(step.choice)!r} by {step.policy}: "
        f"{step.violation}. {hint}If the endpoint does not support tool_choice, wrap the model: "
        "Prompted(model) makes it impossible to disobey; or use another model",
        step.message,
        step.choice,
        step.policy,
    )


def _ends_run(step: Step, plan: Plan) -> bool:
    return is_cut_answer(step.message, step.finish_reason) and plan.on_truncated == "error"


def _asked(choice: ToolChoice, names: frozenset[str]) -> str:
    """Say what the model is to do under a choice."""
    if choice.mode == "none":
        return "answer without calling a tool, with what you have"
    if choice.mode == "tool":
        return f"call the tool {choice.tool}, once"
    answer = ", or answer" if choice.mode == "auto" else ""
    return f"call one of the tools {', '.join(sorted(name for name in names if choice.offers(name)))}{answer}"
