"""Enforcement: a choice is settled before each request, and each reply is held against the choice that was sent."""

from agentkit.choice import ToolChoice
from agentkit.errors import PolicyContradiction, ToolChoiceIgnored
from agentkit.mending import mended_name
from agentkit.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.plan import Plan
from agentkit.state import State, Step
from agentkit.wire import ChatResponse


def choose(plan: Plan, state: State) -> ToolChoice:
    """Ask the policy for a choice and settle it for the agent's tools.

    Where nothing is left to offer, the model can only answer; the tools stay in the request then, as under `none`.

    Raises:
        PolicyContradiction: If a call is asked for and there is nothing to call.
    """
    choice = plan.policy(state)
    names = plan.toolbox.names
    if not names or any(choice.offers(name) for name in names):
        return choice
    if choice.mode in ("required", "tool"):
        raise PolicyContradiction(
            f"{plan.policy!r} asks for a call and offers none of the tools ({', '.join(sorted(names))})"
        )
    return ToolChoice("none")


def held(reply: ChatResponse, choice: ToolChoice, plan: Plan) -> Step:
    """Hold a reply against the choice.

    Args:
        reply: What the model said.
        choice: What it was allowed to do.
        plan: What the run goes by.

    Returns:
        The step. If the reply broke the choice, it says how, and has what answers it: each call answered as not run, or
        a note after a text.
    """
    message = reply.message
    violation, asked = _violation(message, choice, plan)
    correction: tuple[ToolMessage, ...] | tuple[UserMessage] = ()
    if violation and message.tool_calls:
        said = f"Not run: {violation}; {asked}."
        correction = tuple([ToolMessage(call.id, said, "refused") for call in message.tool_calls])
    elif violation:
        correction = (UserMessage(f"This is not an answer yet: {asked}.", note=True),)
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
    raise ToolChoiceIgnored(
        f"{plan.model.name} was asked {state.violations + 1} times and broke the tool choice {str(step.choice)!r} of "
        f"{step.policy} each time: {step.violation}. If the endpoint does not support tool_choice, wrap the model: "
        "Prompted(model) makes it impossible to disobey; or use another model",
        step.message,
        step.choice,
        step.policy,
    )


def _violation(message: AssistantMessage, choice: ToolChoice, plan: Plan) -> tuple[str | None, str]:
    """Say how a reply broke the choice, if it did, and what to do instead."""
    names = plan.toolbox.names
    offered = sorted(name for name in names if choice.offers(name))
    called = [name if (name := call.name) in names else mended_name(name, names) or name for call in message.tool_calls]
    match choice.mode:
        case "none":
            asked = "answer without calling a tool, with what you have"
            return ("it called a tool where none may be called" if called else None), asked
        case "tool":
            asked = f"call the tool {choice.tool}, once"
            if not called:
                return f"it answered where {choice.tool} must be called", asked
            if any(name != choice.tool for name in called):
                return f"it called {', '.join(called)} where {choice.tool} must be called", asked
            return (f"it called {choice.tool} {len(called)} times at once" if len(called) > 1 else None), asked
        case _:
            asked = f"call one of the tools {', '.join(offered)}"
            if not called and choice.mode == "required":
                return "it answered where a tool must be called", asked
            hidden = [name for name in called if name in names and not choice.offers(name)]
            return (f"it called {', '.join(hidden)}, which is not offered now" if hidden else None), asked
