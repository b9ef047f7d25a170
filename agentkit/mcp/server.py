"""Your own tools as a server."""

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from importlib.metadata import version as package_version
from typing import Any, TypeAlias, cast
from urllib.parse import quote

from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from agentkit.agent.agent import Agent
from agentkit.core.chat import ChatRequest, ChatResponse, Choice
from agentkit.core.json import decode, encode
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.core.parts import AudioPart, ImagePart, Media
from agentkit.runs.events import ToolFinished, ToolProgress
from agentkit.runs.limits import Limits
from agentkit.tools.approval import Approver
from agentkit.tools.options import Errors
from agentkit.tools.results import result_text
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

Context: TypeAlias = ServerRequestContext[Any]

_NO_LIMIT = Limits(result=None, seconds=None)


def mcp_server(  # noqa: PLR0913 (each is an option of its own)
    tools: Iterable[AnyFunction | Tool | Toolbox] | Toolbox,
    *,
    name: str = "agentkit",
    version: str | None = None,
    instructions: str | None = None,
    errors: Errors = "show",
    approver: Approver | None = None,
    deps: object = None,
) -> Server[Any]:
    """Make a server of tools.

    Each call is a run of its own, which calls the tool as an agent would: arguments are validated, sync functions run
    in threads, timeouts and injected parameters work, and progress is reported.

    Args:
        tools: Functions, tools and toolboxes; `agent.as_tool(…)` makes a tool of an agent.
        name: The server's name.
        version: The server's version; agentkit's by default.
        instructions: What the server tells clients about its tools.
        errors: What a client sees when a tool raises, as for an agent.
        approver: Decides on calls that need approval. Without one, these are not run.
        deps: The tools' dependencies.

    Returns:
        A server of the SDK. Its `streamable_http_app()` serves HTTP; `serve_mcp` serves stdio.
    """
    toolbox = tools if isinstance(tools, Toolbox) else Toolbox(tools)
    names = list(toolbox.names)
    agent: Agent[Any, str] = Agent(
        _CallModel(), tools=toolbox, stop_at=names, max_repeats=None, errors=errors, limits=_NO_LIMIT, name=name
    )
    listed = [
        types.Tool(name=tool.name, description=tool.spec.description, input_schema=tool.arguments.schema)
        for tool in toolbox
    ]

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in toolbox:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}")
        prompt = encode([params.name, params.arguments or {}]).decode()
        result, count = ToolMessage("", "Not run: nobody was there to allow this call.", "refused"), 0
        async with agent.stream(prompt, deps=deps, approver=approver) as run:
            async for event in run:
                if isinstance(event, ToolProgress):
                    count += 1
                    await context.session.report_progress(count, message=result_text(event.value))
                elif isinstance(event, ToolFinished):
                    result = event.message
        return _protocol_result(result)

    version = version or package_version("agentkit-tools")
    return Server(name, version=version, instructions=instructions, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_mcp(  # noqa: PLR0913 (as above)
    tools: Iterable[AnyFunction | Tool | Toolbox] | Toolbox,
    *,
    name: str = "agentkit",
    version: str | None = None,
    instructions: str | None = None,
    errors: Errors = "show",
    approver: Approver | None = None,
    deps: object = None,
) -> None:
    """Serve tools over standard input and output until the client disconnects; the arguments are those of `mcp_server`.

    Meanwhile, what a tool prints goes to standard error.
    """
    server = mcp_server(
        tools, name=name, version=version, instructions=instructions, errors=errors, approver=approver, deps=deps
    )
    printed = sys.stdout
    # Within this block, file descriptor 1 is standard error. At its end it is the protocol's output again, so that
    # nothing may be left in a buffer by then.
    async with stdio_server() as (read, write):
        try:
            printed.flush()
            with redirect_stdout(sys.stderr):
                await server.run(read, write, server.create_initialization_options())
        finally:
            printed.flush()


class _CallModel:
    """A model that makes the call in its prompt, and ends the run at the result."""

    name = "mcp"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:  # noqa: ARG002 (a model's signature)
        last = request.messages[-1]
        if not isinstance(last, UserMessage) or last.note:
            return ChatResponse((Choice(AssistantMessage("done"), "stop"),))
        name, arguments = cast("tuple[str, object]", decode(cast("str", last.content)))
        call = ToolCall("call", name, encode(arguments).decode())
        return ChatResponse((Choice(AssistantMessage(tool_calls=(call,)), "tool_calls"),))


def _protocol_result(result: ToolMessage) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(text=result.full or result.content)]
    return types.CallToolResult(content=[*content, *map(_media_block, result.images)], is_error=result.outcome != "ok")


def _media_block(part: Media) -> types.ContentBlock:
    """Return an image, a recording or a file as its bytes, or as a link if it has a URL."""
    match part:
        case ImagePart():
            return _image_block(part)
        case AudioPart():
            return types.AudioContent(data=part.data, mime_type=f"audio/{part.format}")
        case _:
            head, _, data = (part.file_data or "").partition(";base64,")
            uri = f"file:///{quote(part.filename or part.file_id or 'file')}"
            if not data:
                return types.ResourceLink(name="file", uri=uri)
            blob = types.BlobResourceContents(uri=uri, mime_type=head.removeprefix("data:"), blob=data)
            return types.EmbeddedResource(resource=blob)


def _image_block(image: ImagePart) -> types.ContentBlock:
    head, _, data = image.url.partition(";base64,")
    if not head.startswith("data:") or not data:
        return types.ResourceLink(name="image", uri=image.url)
    return types.ImageContent(data=data, mime_type=head.removeprefix("data:"))
