"""Middleware: functions around each call of a tool."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from agentkit.core.messages import ToolCall
from agentkit.tools.context import ToolContext
from agentkit.tools.results import ToolResult

CallNext: TypeAlias = Callable[[ToolCall], Awaitable[ToolResult]]
"""Runs the call: the next middleware, or the tool. It raises what the tool raises."""

ToolMiddleware: TypeAlias = Callable[[ToolCall, ToolContext[Any], CallNext], Awaitable[object]]
"""Gets a call that may run, its context, and `call_next`; what it returns is the result.

    async def timed(call, context, call_next):
        began = perf_counter()
        result = await call_next(call)
        print(call.name, perf_counter() - began)
        return result
"""
