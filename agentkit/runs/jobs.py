"""Jobs: calls with a known tool and valid arguments, and the middleware that they run through."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from pydantic_core import ValidationError

from agentkit.core.choice import Verdict
from agentkit.core.errors import ToolError
from agentkit.core.messages import ToolCall
from agentkit.core.state import Call
from agentkit.runs.invoke import Progress, Raised
from agentkit.runs.recorder import Effect
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.middleware import CallNext, ToolMiddleware
from agentkit.tools.results import ToolResult, invalid_arguments_text, to_tool_result
from agentkit.tools.schema.signature import Bound
from agentkit.tools.tool import Tool

_EFFECT_CHANGED = "Not run: a call with an effect keeps its arguments, which were recorded."


class Job(NamedTuple):
    """A call with a known tool and valid arguments."""

    call: ToolCall
    tool: Tool
    bound: Bound  # the arguments as the function takes them
    values: dict[str, Any]  # the validated arguments by name
    arguments: str  # the arguments as JSON: the model's, or as the approver edited them
    progress: Progress
    asks: Verdict | None = None  # why a person must approve the call, if one must
    note: str = ""  # what the model reads before the result
    effect: Effect | None = None  # with `effect="once"`

    @property
    def by(self) -> str:
        """The policy that had a person asked."""
        return "" if self.asks is None else self.asks.by

    @property
    def asks_after_interruption(self) -> bool:
        """Whether nobody knows if an earlier start of the call took effect, and someone is to decide."""
        effect, options = self.effect, self.tool.options
        return effect is not None and effect.standing == "started" and options.on_interrupted == "ask"

    @property
    def call_as_it_runs(self) -> ToolCall:
        """The call with the arguments that it has now."""
        return self.call if self.arguments == self.call.arguments else replace(self.call, arguments=self.arguments)

    def with_arguments(self, arguments: str, judge: Callable[[Call], Verdict]) -> "Job":
        """Return the job with arguments that a middleware changed, which are validated and judged again.

        Raises:
            ToolError: If they are invalid or not allowed.
        """
        if self.effect is not None:
            raise ToolError(_EFFECT_CHANGED)
        signature = self.tool.arguments
        try:
            values, _ = parse_arguments(signature, arguments)
        except ValidationError as error:
            raise ToolError(invalid_arguments_text(error, self.tool.name)) from error
        verdict = judge(Call(self.call.name, signature.complete(values), self.call))
        if verdict.kind != "allow":
            raise ToolError(f"Not run: {verdict.reason}.")
        args, kwargs = signature.bind(values)
        injected = {parameter.name: self.bound.kwargs[parameter.name] for parameter in signature.injected}
        return self._replace(bound=Bound(args, {**kwargs, **injected}), values=values, arguments=arguments)


async def run_through(
    middleware: Sequence[ToolMiddleware],
    call: ToolCall,
    context: ToolContext[Any],
    attempt: Callable[[ToolCall], Awaitable[ToolResult | Raised]],
) -> ToolResult | Raised:
    """Run a call through middleware, the first of which is the outermost, and return the result or what was raised."""

    async def innermost(call: ToolCall) -> ToolResult:
        returned = await attempt(call)
        if isinstance(returned, Raised):
            raise returned.error
        return returned

    call_next: CallNext = innermost
    for layer in reversed(middleware):
        call_next = partial(_through, layer, context, call_next)
    try:
        return await call_next(call)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (what a middleware raises is the result, as a tool's)
        return Raised(error)


async def _through(layer: ToolMiddleware, context: ToolContext[Any], call_next: CallNext, call: ToolCall) -> ToolResult:
    returned = await layer(call, context, call_next)
    return returned if isinstance(returned, ToolResult) else to_tool_result(returned)
