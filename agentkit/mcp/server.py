"""Tools of one's own as a server."""

from collections.abc import Iterable
from typing import Any, cast

from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from agentkit.agent.agent import Agent
from agentkit.core.chat import ChatRequest, ChatResponse, Choice
from agentkit.core.json import decode, encode
from agentkit.core.messages import AssistantMessage, ImagePart, ToolCall, ToolMessage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.runs.events import ToolFinished, ToolProgress
from agentkit.runs.limits import Limits
from agentkit.tools.approval import Approver
from agentkit.tools.options import Errors
from agentkit.tools.results import result_text
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

_NO_LIMIT = Limits(result=None, seconds=None)


def mcp_server(  # noqa: PLR0913 (each is an option that a reader sees beside the tools)
    tools: Iterable[AnyFunction | Tool | Toolbox] | Toolbox,
    *,
    name: str = "agentkit",
    instructions: str | None = None,
    errors: Errors = "show",
    approver: Approver | None = None,
    deps: object = None,
) -> Server[Any]:
    """Make a server of tools.

    Each call is a run of its own, in which the tool is called as an agent would call it: arguments are validated, sync
    functions run in threads, timeouts hold, what a tool asks for is given, and progress is told.

    Args:
        tools: The tools: functions, tools, toolboxes; an agent is one by `agent.as_tool(…)`.
        name: The server's name.
        instructions: What it tells a client about its tools.
        errors: What a client is told when a tool raises, as for an agent.
        approver: Decides on calls of tools that need approval. Without one they are not run.
        deps: What the tools may ask for.

    Returns:
        A server of the SDK: `streamable_http_app()` of it serves HTTP, and `serve_mcp` makes one for stdio.
    """
    toolbox = tools if isinstance(tools, Toolbox) else Toolbox(tools)
    names = list(toolbox.names)
    agent: Agent[Any, str] = Agent(
        _Caller(), tools=toolbox, stop_at=names, max_repeats=None, errors=errors, limits=_NO_LIMIT, name=name
    )
    listed = [
        types.Tool(name=each.name, description=each.spec.description, input_schema=each.arguments.schema)
        for each in toolbox
    ]

    async def list_tools(
        _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in toolbox:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}")
        asked = encode([params.name, params.arguments or {}]).decode()
        answer, count = ToolMessage("", "Not run: nobody was there to allow this call.", "refused"), 0
        async with agent.stream(asked, deps=deps, approver=approver) as run:
            async for event in run:
                if isinstance(event, ToolProgress):
                    count += 1
                    await context.session.report_progress(count, message=result_text(event.value))
                elif isinstance(event, ToolFinished):
                    answer = event.message
        return _answered(answer)

    return Server(name, instructions=instructions, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_mcp(  # noqa: PLR0913 (as above)
    tools: Iterable[AnyFunction | Tool | Toolbox] | Toolbox,
    *,
    name: str = "agentkit",
    instructions: str | None = None,
    errors: Errors = "show",
    approver: Approver | None = None,
    deps: object = None,
) -> None:
    """Serve tools over standard input and output, until the client is gone; for the arguments see `mcp_server`.

    What a tool prints goes to standard error meanwhile.
    """
    server = mcp_server(tools, name=name, instructions=instructions, errors=errors, approver=approver, deps=deps)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


class _Caller:
    """A model that makes the one call that it is asked for."""

    name = "mcp"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:  # noqa: ARG002 (a model's signature)
        """Call; once the call is answered, end the run."""
        last = request.messages[-1]
        if not isinstance(last, UserMessage) or last.note:
            return ChatResponse((Choice(AssistantMessage("done"), "stop"),))
        name, arguments = cast("tuple[str, object]", decode(cast("str", last.content)))
        call = ToolCall("call", name, encode(arguments).decode())
        return ChatResponse((Choice(AssistantMessage(tool_calls=(call,)), "tool_calls"),))


def _answered(answer: ToolMessage) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(text=answer.full or answer.content)]
    return types.CallToolResult(content=[*content, *map(_image, answer.images)], is_error=answer.outcome != "ok")


def _image(image: ImagePart) -> types.ContentBlock:
    """Give an image by its bytes, or by where it is."""
    head, _, data = image.url.partition(";base64,")
    if not head.startswith("data:") or not data:
        return types.ResourceLink(name="image", uri=image.url)
    return types.ImageContent(data=data, mime_type=head.removeprefix("data:"))
