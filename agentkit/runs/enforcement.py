"""Enforcement of the tool choice, on every endpoint.

Endpoints ignore `tool_choice`; replies are truncated, empty or of the wrong type. So agentkit checks each reply itself:

1. `choose` asks the policy and settles its choice for the tools that exist.
2. `judge_reply` checks the reply against that choice. A rejected reply gets a `Violation` and a correction: "Not run"
   as the result of each of its calls, or a note after a text. No tool ever runs from a rejected reply.
3. `validate_output` validates a typed answer that came as text.
4. The loop asks the model again. `enforce_max_corrections` ends the run after too many violations in a row.
"""

from dataclasses import replace
from typing import TypeAlias

from agentkit.core.chat import ChatResponse
from agentkit.core.choice import ToolChoice, Verdict
from agentkit.core.errors import AnswerInvalid, IncompleteReply, PolicyContradiction, ToolChoiceIgnored
from agentkit.core.finish_reasons import ending_of
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.repair import with_unique_ids
from agentkit.core.state import Call, State, Step, Violation, ViolationKind, changed
from agentkit.runs.candidates import select_candidate
from agentkit.runs.events import ArgumentsRepaired, Emit
from agentkit.runs.failed_steps import failed_step, out_of_retries, repeated_step, repeated_tools
from agentkit.runs.finish import answer_of, check_ended, cut_call, is_cut_answer, is_empty, with_tool_names
from agentkit.runs.output import error_of
from agentkit.runs.plan import Plan
from agentkit.tools.argument_repair import ArgumentRepair
from agentkit.tools.tool import Tool
from agentkit.tools.truncation import READ_RESULT, is_result_reader

INVALID_OUTPUT = Violation("invalid_output", "its answer does not fit the type that is wanted")

_SHOWN_OF = 200  # characters of arguments
_SHOWN = 20  # of hundreds of tools, the model needs no list of names: it has their schemas

_Correction: TypeAlias = tuple[ToolMessage, ...] | tuple[UserMessage]


def choose(plan: Plan, state: State) -> ToolChoice:
    """Ask the policy for a choice and settle it for the agent's tools.

    If no tool is left to offer, the model can only answer. The tools stay in the request then, as under `none`. At a
    limit the model must answer, if `Limits(at_end="answer")` allows a last answer.
    """
    budget, steps = plan.scope.budget, len(state.steps)
    if reached := budget.check(steps if steps < plan.limits.steps else state.asked):
        if not budget.take_last_word(plan.max_corrections):
            raise reached.error()
        final = None if plan.output is None else plan.output.final
        by = f"limits: {reached.limit}"
        if final is not None:
            return ToolChoice("tool", final.name, by=by)
        return ToolChoice("none" if plan.toolbox.names else "auto", by=by)
    if failed := out_of_retries(plan, state):
        raise failed
    try:
        choice = _settled(plan, state)
    except PolicyContradiction as error:
        raise repeated_step(error.tools, plan, state) or error from None
    if choice.mode in ("required", "tool") and (failed := failed_step(choice, plan, state)):
        raise failed
    return choice


def _settled(plan: Plan, state: State) -> ToolChoice:
    choice = plan.policy(with_deps(state, plan))
    if choice.tools is not None and is_result_reader(plan.toolbox.get(READ_RESULT)):
        choice = replace(choice, tools=choice.tools | {READ_RESULT})  # the note in a truncated result asks for it
    names = plan.toolbox.names
    wanted = names if choice.tool is None else names & {choice.tool}
    if any(choice.offers(name) for name in wanted):
        return choice
    if choice.mode in ("required", "tool"):
        raise PolicyContradiction(
            f"{plan.policy_text} asks for a call of {choice.tool or 'some tool'} and does not offer it; "
            f"the agent's tools: {', '.join(sorted(names)) or 'none'}",
            tuple(wanted),
        )
    return ToolChoice("none", by=choice.by) if names else choice


def with_deps(state: State, plan: Plan) -> State:
    """Return the state with the run's dependencies, as policies read it."""
    return state if state.deps is plan.scope.deps else changed(state, deps=plan.scope.deps)


def judge_reply(reply: ChatResponse, choice: ToolChoice, plan: Plan, state: State, emit: Emit) -> Step:
    """Check a reply against the choice, and for being whole. A rejected step has its violation and its correction.

    A call whose name was repaired, as `functions.search` is, emits `ArgumentsRepaired`.
    """
    if plan.selector is not None:
        reply = select_candidate(reply, choice, plan.toolbox, plan.output, plan.selector)
    check_ended(reply)
    said, finish_reason = reply.message, reply.finish_reason
    message = with_unique_ids(with_tool_names(said, plan.toolbox.names))
    for written, repaired in zip(said.tool_calls, message.tool_calls, strict=True):
        if written.name != repaired.name:
            repair = ArgumentRepair("name", f"{written.name!r} read as {repaired.name!r}")
            emit(ArgumentsRepaired(written, (repair,), run_id=plan.scope.run_id))
    violation, correction = _judge(message, finish_reason, choice, plan, state)
    budget = plan.scope.budget
    policy = f"limits: {budget.reached.limit}" if budget.reached else plan.policy_text
    usage = reply.usage or Usage(1)
    return Step(message, choice, policy, violation, correction, finish_reason, usage, reply)


def known_step(choice: ToolChoice, plan: Plan, state: State) -> Step:
    """Return the step of a call that the policy knows: as if the model had made it, at no cost.

    The id has nine letters and digits, as the strictest endpoints want it. It follows from the place in the history, so
    that the same run sends the same bytes.
    """
    call = ToolCall(f"known{len(state.messages):04d}", choice.tool or "", choice.arguments or "")
    return Step(AssistantMessage(tool_calls=(call,)), choice, plan.policy_text, usage=Usage())


def _judge(
    message: AssistantMessage, finish_reason: str | None, choice: ToolChoice, plan: Plan, state: State
) -> tuple[Violation | None, _Correction]:
    """Return the violation and its correction; `None` and `()` if the reply is accepted."""
    names = plan.toolbox.names
    called = [call.name for call in message.tool_calls]
    # Where no call is demanded, forbidden ones are answered one by one, each with its reason; but not for ever.
    free = choice.mode in ("auto", "none") and names.issuperset(called) and state.violations < plan.max_corrections
    if not free and (broken := choice.violated_by(called, names)):
        request = requested(choice, names)
        return _rejected(message, "tool_choice", broken, request, f"This is not an answer yet: {request}.")
    if (name := cut_call(message, finish_reason)) is not None:
        text = f"the reply was cut by its length limit before the call of {name[:64]} was complete"
        return _rejected(message, "cut_call", text, "make it shorter, or do it in several calls")
    if is_cut_answer(message, finish_reason) and plan.on_truncated != "accept":
        note = "Your answer was cut. Go on exactly where it ends, and repeat nothing."
        return _rejected(message, "cut_answer", "its answer was cut by its length limit", note=note)
    if is_empty(message) and state.violations < plan.max_corrections:
        note = "Your reply was empty. Answer, or call a tool."
        return _rejected(message, "empty", "it said nothing", note=note)
    return None, ()


def _rejected(
    message: AssistantMessage, kind: ViolationKind, text: str, advice: str = "", note: str = ""
) -> tuple[Violation, _Correction]:
    correction: _Correction = (UserMessage(note, note=True),)
    if message.tool_calls:
        why = f"Not run: {text}; {advice}."
        correction = tuple([ToolMessage(call.id, why, "refused") for call in message.tool_calls])
    return Violation(kind, text), correction


async def validate_output(step: Step, plan: Plan) -> Step:
    """Validate an answer that came as text, and call the output validators; reject the step if it is invalid."""
    text = step.message.content or ""
    answers = step.violation is None and not step.message.tool_calls and not step.message.refusal and text
    if not answers or (plan.output is not None and plan.output.final is not None):
        return step
    if plan.output is not None:
        error = await plan.output.error_in(text, plan.errors)
    else:
        validators = plan.hooks.text_validators
        error = await error_of(validators, text, plan.errors) if validators else None
    if error is None:
        return step
    correction = (UserMessage(f"{error}\n\nAnswer again.", note=True),)
    return replace(step, violation=INVALID_OUTPUT, correction=correction)


def enforce_max_corrections(step: Step, plan: Plan, state: State) -> None:
    """End a run whose model keeps giving replies that are rejected. `state` is the one before `step`."""
    if step.violation is None:
        return
    fatal = is_cut_answer(step.message, step.finish_reason) and plan.on_truncated == "error"
    if state.violations < plan.max_corrections and not fatal:
        return
    if ending_of(step.finish_reason) == "cut":
        raise IncompleteReply(
            f"{step.violation} ({step.finish_reason!r}); allow more: Settings(max_tokens=…). To have a cut answer "
            'continued: Agent(on_truncated="continue"); to take it as it is: Agent(on_truncated="accept")',
            answer_of(state.with_reply(replace(step, correction=()))),
            step.message.tool_calls,
        )
    if step.violation.kind == "invalid_output":
        raise AnswerInvalid(
            f"{step.violation}, {state.violations + 1} times in a row; why, is in the history",
            step.message.content or "",
        )
    times = f"{state.violations + 1} times in a row" if state.violations else "once"
    withheld = step.choice.withheld | repeated_tools(plan, state)
    repeated = next((call for call in step.message.tool_calls if call.name in withheld), None)
    if repeated is not None:
        raise ToolChoiceIgnored(
            f"{plan.model.name} was asked {times} and repeated the call "
            f"{repeated.name}({repeated.arguments[:_SHOWN_OF]}), which {step.decided_by} withholds because it led "
            "nowhere. If it may repeat, mark the tool @tool(repeatable=True) or set Agent(max_repeats=…); else say in "
            "its result or in the instructions what to do instead",
            step.message,
            step.choice,
            step.policy,
        )
    raise ToolChoiceIgnored(
        f"{plan.model.name} was asked {times} and broke the tool choice, last {str(step.choice)!r} by {step.policy}: "
        f"{step.violation}. If the endpoint does not support tool_choice, wrap the model: "
        "Prompted(model) makes it impossible to disobey; or use another model",
        step.message,
        step.choice,
        step.policy,
    )


def judge_call(call: Call, tool: Tool, choice: ToolChoice, plan: Plan, state: State) -> Verdict:
    """Return whether a call may run: by the choice that was sent, by the policy, and by the tool's own approval.

    Args:
        call: The call, with its validated arguments.
        tool: Its tool.
        choice: What the model was allowed to do.
        plan: The run's plan.
        state: The state for which the model was asked, with the calls before this one in `pending`.
    """
    verdict = plan.policy.judge(call, state).blamed(plan.policy)
    if verdict.kind != "deny" and not choice.permits(call.name):
        verdict = Verdict("deny", f"{call.name} is not offered now", plan.policy_text)
    if verdict.kind == "deny":
        advice = _way_out(call, choice, plan, state)
        return replace(verdict, reason=f"{verdict.reason}; {advice}") if advice else verdict
    asked = needs_approval(tool, call)
    return verdict & Verdict("ask", f"{tool.name} needs approval", "@tool(approval=…)") if asked else verdict


def _way_out(call: Call, choice: ToolChoice, plan: Plan, state: State) -> str:
    """Return what the model can do instead of a denied call; nothing if the choice left it only that tool."""
    if choice.mode == "tool":
        pending = [earlier.name for earlier in state.pending]
        return "" if choice.tool == call.name or choice.tool in pending else requested(choice, plan.toolbox.names)
    others = plan.toolbox.names - {call.name}
    can_act = choice.mode in ("auto", "none") or any(choice.offers(name) for name in others)
    return requested(choice, others) if can_act else ""


def needs_approval(tool: Tool, call: Call) -> bool:
    """Whether `@tool(approval=…)` has a person decide on a call."""
    approval = tool.options.approval
    if not callable(approval):
        return approval
    try:
        return approval(dict(call.arguments)) is not False
    except Exception:  # noqa: BLE001 (if it fails, a person decides)
        return True


def requested(choice: ToolChoice, names: frozenset[str]) -> str:
    """Return what the model must do under a choice, as an instruction to it."""
    if choice.mode == "none":
        return "answer without calling a tool, with what you have"
    if choice.mode == "tool":
        return f"call the tool {choice.tool}"
    offered = sorted(name for name in names if choice.offers(name))
    if not offered:
        return "answer"
    shown = ", ".join(offered[:_SHOWN]) + (" …" if len(offered) > _SHOWN else "")
    answer = ", or answer" if choice.mode == "auto" else ""
    return f"call one of the tools {shown}{answer}"
