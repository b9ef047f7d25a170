"""Enforcement: a choice is settled before each request, and each reply is held against the choice that was sent."""

from dataclasses import replace

from agentkit.choice import ToolChoice
from agentkit.errors import PolicyContradiction, ToolChoiceIgnored
from agentkit.events import CallMended, Emit
from agentkit.mending import Mend, mended_name
from agentkit.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.plan import Plan
from agentkit.state import State, Step
from agentkit.wire import ChatResponse


def choose(plan: Plan, state: State) -> ToolChoice:
    """Ask the policy for a choice and settle it for the agent's tools.

    Where nothing is left to offer, the model can only answer; the tools stay in the request then, as under `none`.

    Raises:
        PolicyContradiction: If a call is asked for and that tool, or any, is not there to be called.
    """
    choice = plan.policy(state)
    names = plan.toolbox.names
    wanted = names if choice.tool is None else names & {choice.tool}
    if any(choice.offers(name) for name in wanted):
        return choice
    if choice.mode in ("required", "tool"):
        raise PolicyContradiction(
            f"{plan.policy!r} asks for a call of {choice.tool or 'some tool'} and does not offer it; "
            f"the agent's tools: {', '.join(sorted(names)) or 'none'}"
        )
    return ToolChoice("none") if names else choice


def held(reply: ChatResponse, choice: ToolChoice, plan: Plan, emit: Emit) -> Step:
    """Hold a reply against the choice.

    Args:
        reply: What the model said.
        choice: What it was allowed to do.
        plan: What the run goes by.
        emit: Is told where a call has another name than its tool, as `functions.search` has.

    Returns:
        The step. If the reply broke the choice, it says how, and has what answers it: each call answered as not run, or
        a note after a text.
    """
    message = reply.message
    if any(call.name not in plan.toolbox.names for call in message.tool_calls):
        message = _named(message, plan.toolbox.names, emit)
    violation = _violation(message, choice, plan.toolbox.names)
    correction: tuple[ToolMessage, ...] | tuple[UserMessage] = ()
    if violation and message.tool_calls:
        said = f"Not run: {violation}; {_asked(choice, plan.toolbox.names)}."
        correction = tuple([ToolMessage(call.id, said, "refused") for call in message.tool_calls])
    elif violation:
        said = f"This is not an answer yet: {_asked(choice, plan.toolbox.names)}."
        correction = (UserMessage(said, note=True),)
    usage = reply.usage
    return Step(
        message,
        choice,
        repr(plan.policy),
        violation,
        correction,
        reply.finish_reason,
        *((usage,) if usage is not None else ()),
    )


def check_obeyed(step: Step, plan: Plan, state: State) -> None:
    """End a run whose model keeps breaking the choice.

    Raises:
        ToolChoiceIgnored: If the step is one violation more than the run allows in a row.
    """
    if step.violation is None or state.violations < plan.corrections:
        return
    hint = ""
    if step.choice.withheld:
        hint = "If calls of a withheld tool may repeat, mark it @tool(repeatable=True) or set Agent(repeats=…). "
    times = f"{state.violations + 1} times in a row" if state.violations else "once"
    raise ToolChoiceIgnored(
        f"{plan.model.name} was asked {times} and broke the tool choice, last {str(step.choice)!r} by {step.policy}: "
        f"{step.violation}. {hint}If the endpoint does not support tool_choice, wrap the model: "
        "Prompted(model) makes it impossible to disobey; or use another model",
        step.message,
        step.choice,
        step.policy,
    )


def _named(message: AssistantMessage, names: frozenset[str], emit: Emit) -> AssistantMessage:
    """Give a reply in which each call has the name of the tool that it means."""
    calls = [replace(call, name=mended_name(call.name, names) or call.name) for call in message.tool_calls]
    for wrote, meant in zip(message.tool_calls, calls, strict=True):
        if wrote.name != meant.name:
            emit(CallMended(wrote, (Mend("name", f"{wrote.name!r} read as {meant.name!r}"),)))
    return replace(message, tool_calls=tuple(calls))


def _violation(message: AssistantMessage, choice: ToolChoice, names: frozenset[str]) -> str | None:
    """Say how a reply broke the choice, if it did."""
    called = [call.name for call in message.tool_calls]
    if choice.mode == "none":
        return "it called a tool where none may be called" if called else None
    if choice.mode == "tool" and called != [choice.tool]:
        if set(called) == {choice.tool}:
            return f"it called {choice.tool} {len(called)} times at once"
        did = f"called {', '.join(called)}" if called else "answered"
        return f"it {did} where {choice.tool} must be called"
    if choice.mode == "required" and not called:
        return "it answered where a tool must be called"
    hidden = [name for name in called if name in names and not choice.offers(name)]
    return f"it called {', '.join(hidden)}, which is not offered now" if hidden else None


def _asked(choice: ToolChoice, names: frozenset[str]) -> str:
    """Say what the model is to do under a choice."""
    if choice.mode == "none":
        return "answer without calling a tool, with what you have"
    if choice.mode == "tool":
        return f"call the tool {choice.tool}, once"
    answer = ", or answer" if choice.mode == "auto" else ""
    return f"call one of the tools {', '.join(sorted(name for name in names if choice.offers(name)))}{answer}"
