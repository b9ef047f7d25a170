from typing import Any, assert_type

from agentkit import ToolCall, ToolContext
from agentkit.tools.middleware import CallNext, ToolMiddleware
from agentkit.tools.results import ToolResult


async def guard(call: ToolCall, context: ToolContext[Any], call_next: CallNext) -> ToolResult:
    return await call_next(call)


def test_a_function_is_a_middleware() -> None:
    middleware: ToolMiddleware = guard
    assert middleware is guard
    assert_type(ToolResult("x").text, str)
