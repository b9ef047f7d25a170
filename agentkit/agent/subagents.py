"""Agents that are tools of other agents: a run within a run."""

from dataclasses import replace
from types import NoneType
from typing import Any

from agentkit.core.errors import ConfigurationError, InvalidRequest, ToolError
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, ToolCall
from agentkit.runs.events import Event, Nested
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.plan import Plan, RunContext
from agentkit.runs.result import Result
from agentkit.tools.approval import Decision, deny
from agentkit.tools.context import ToolContext


async def performed_within(context: ToolContext[Any], plan: Plan, messages: tuple[Message, ...]) -> Result[Any]:
    """Run an agent within the run of another.

    Args:
        context: That of the call.
        plan: What the inner run goes by.
        messages: What it begins with.

    Raises:
        ToolError: If agents are nested too deep.
        InvalidRequest: If the inner run's tools ask for what the outer one was not given.
        AgentkitError: If the run ends without an answer.
    """
    if not isinstance(context, RunContext):
        raise ConfigurationError(f"{plan.name} is an agent as a tool, so it runs only within the run of another agent")
    around = context.plan
    scope = around.scope
    if reached := scope.budget.nest():
        raise ToolError(f"{reached.text}, which is all that is allowed")
    if context.deps is None and plan.deps_type is not NoneType:
        raise InvalidRequest(f"the tools of {plan.name} ask for a {plan.deps_type.__name__}, and the run has none")

    async def approver(call: ToolCall) -> Decision:
        return await scope.ask(call) or deny(call, "nobody was there to allow it")

    def emit(event: Event) -> None:
        scope.emit(Nested(context.call, event, run_id=scope.run_id))

    given = RunInput(messages, context.deps, approver, parent=around, emit=emit)
    return await perform(replace(plan, streamed=around.streamed, prices=plan.prices or around.prices), given)


def conversation(context: ToolContext[Any]) -> tuple[Message, ...]:
    """Give what was said up to the reply that has the call, without the instructions."""
    replies = [at for at, each in enumerate(context.messages) if isinstance(each, AssistantMessage)]
    said = context.messages[: replies[-1]]
    instructed = bool(said) and isinstance(said[0], SystemMessage | DeveloperMessage)
    return said[1:] if instructed else said
