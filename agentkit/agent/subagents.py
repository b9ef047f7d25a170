"""Agents as tools of other agents: a run nested in the run of the calling agent."""

from dataclasses import replace
from types import NoneType
from typing import Any

from agentkit.core.errors import ConfigurationError, InvalidRequest, ToolError
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.runs.events import Event, Nested
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.plan import Plan, RunContext
from agentkit.runs.result import Result
from agentkit.tools.approval import Decision, deny
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool


async def run_nested(context: ToolContext[Any], plan: Plan, messages: tuple[Message, ...]) -> Result[Any]:
    """Run an agent within the run of another one. `ToolError` says that it is nested too deep, or was stopped."""
    if not isinstance(context, RunContext):
        raise ConfigurationError(f"{plan.name} is an agent as a tool, so it runs only within the run of another agent")
    outer = context.plan
    scope = outer.scope
    if reached := scope.budget.check_depth():
        raise ToolError(f"{reached.text}, which is the limit")
    if context.deps is None and plan.deps_type is not NoneType:
        raise InvalidRequest(f"the tools of {plan.name} need a {plan.deps_type.__name__}, and the run has none")

    async def approver(call: ToolCall) -> Decision:
        return await scope.ask(call) or deny(call, "nobody was there to allow it")

    def emit(event: Event) -> None:
        scope.emit(Nested(context.call, event, run_id=scope.run_id))

    turn = sum([isinstance(message, AssistantMessage) for message in context.messages])
    recorder = scope.recorder.nested(context.call, turn)
    given = RunInput(messages, context.deps, approver, parent=outer, emit=emit, recorder=recorder)
    result = await perform(plan._replace(streamed=outer.streamed, prices=plan.prices or outer.prices), given)
    if result.stop == "stopped":
        raise ToolError(f"{plan.name} was stopped before it had an answer")
    return result


def tool_of(plan: Plan, name: str, description: str) -> Tool:
    """Return a tool that runs an agent."""

    async def ask(prompt: str, ctx: ToolContext[Any]) -> object:
        """Run the agent.

        Args:
            prompt: The task, with everything needed to do it: the agent sees nothing else of the conversation.
            ctx: The context of the call.
        """
        return (await run_nested(ctx, plan, (UserMessage(prompt),))).output

    return Tool.of(ask, name=name, description=description)


def conversation_before(context: ToolContext[Any]) -> tuple[Message, ...]:
    """Return the conversation before this call, with the other calls of its reply, without the instructions."""
    replies = [at for at, message in enumerate(context.messages) if isinstance(message, AssistantMessage)]
    before, reply = tuple(context.messages[: replies[-1]]), context.messages[replies[-1]]
    results = tuple([message for message in context.messages[replies[-1] :] if isinstance(message, ToolMessage)])
    if results and isinstance(reply, AssistantMessage):
        answered = {result.tool_call_id for result in results}
        calls = tuple([call for call in reply.tool_calls if call.id in answered])
        before = (*before, replace(reply, tool_calls=calls), *results)
    return before[1:] if before and isinstance(before[0], SystemMessage | DeveloperMessage) else before
