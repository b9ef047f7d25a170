"""The tools of a server as tools of an agent.

A session belongs to the event loop that opened it, and the task that opened it closes it. Within that loop any number
of runs may call its tools concurrently.
"""

import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias, cast

import httpx2
from anyio.lowlevel import current_token
from mcp import Client, MCPError, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.server.mcpserver import MCPServer

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ConfigurationError, RunCancelled, ToolError
from agentkit.core.messages import ImagePart
from agentkit.core.secrets import Secrets
from agentkit.tools.context import InjectedParameter, ToolContext
from agentkit.tools.options import ToolOptions
from agentkit.tools.results import result_text, unwrap_group
from agentkit.tools.schema.json_schema import lenient_arguments
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

McpApproval: TypeAlias = bool | Literal["destructive"]
"""Which tools of a server need approval: all, none, or those that may destroy something."""

ResultValue: TypeAlias = str | list[str | ImagePart]
"""What a call returns: text, or text and images."""

_CONTEXT = "the run's context"  # no parameter of a server's tool has this name
_INJECTED = (InjectedParameter(_CONTEXT, None),)
_MAX_NAME = 64
_MAX_PAGES = 1000
_CONNECT_SECONDS = 30.0
_SESSION_BROKEN = (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT)


class ServerFailed(ToolError):
    """A server could not be started or reached, disconnected, or did not answer in time.

    In a tool call, the model sees the text and the run continues.
    """


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that is started as a program and speaks over its standard input and output.

    Attributes:
        command: The program.
        args: Its arguments.
        env: Its environment variables, besides the few that every program needs. Not shown in `repr` or errors.
        cwd: Its working directory.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)
    cwd: str | Path | None = None

    def __str__(self) -> str:
        return Path(self.command).name


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that is reached over streamable HTTP.

    Attributes:
        url: Its address. The query is hidden in errors.
        headers: Headers of every request, such as its API key. Not shown in `repr` or errors.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)

    def __str__(self) -> str:
        return httpx2.URL(self.url).host


AnyServer: TypeAlias = StdioServer | HttpServer | Server[Any] | MCPServer
"""A server: how to start it, where it is, or a server of the SDK in this process."""


@asynccontextmanager
async def mcp_tools(  # noqa: PLR0913 (each is an option of its own)
    server: AnyServer,
    *,
    only: Collection[str] | None = None,
    rename: Mapping[str, str] | None = None,
    prefix: str = "",
    approval: McpApproval = False,
    once: bool = False,
    timeout: float | None = 60.0,  # noqa: ASYNC109 (of each call)
) -> AsyncGenerator[Toolbox]:
    """Connect to a server and return its tools; the end of the block disconnects.

        async with mcp_tools(StdioServer("my-server")) as tools:
            await Agent("gpt-4o", tools=[tools]).run("…")

    Args:
        server: The server.
        only: The names of the server's tools to take; all by default.
        rename: New names for some tools, by the server's names.
        prefix: A prefix for the names of the other tools. In these, a character that endpoints refuse becomes `_`.
        approval: Which calls need approval: `True` for all, `"destructive"` for those of every tool that does not claim
            to be read-only or non-destructive. agentkit cannot verify what a server claims.
        once: Whether a tool has `effect="once"` unless it claims to be read-only or idempotent.
        timeout: Seconds per call, and per request while connecting; `None` for no limit.

    Raises:
        ServerFailed: If the server cannot be opened, or the session breaks; the text hides the server's secrets.
        ConfigurationError: If `only` or `rename` names a tool that is not there, or two tools have one name.
    """
    session = _Session(server, timeout)
    failed: Exception | None = None
    opened = False
    try:
        async with AsyncExitStack() as stack:
            session.client = await stack.enter_async_context(await session.connect(stack))
            listed = {tool.name: tool for tool in await _list_tools(session.client)}
            opened = True
            try:
                names = _choose_names(listed, only, dict(rename or {}), prefix)
                yield Toolbox([session.tool(listed[own], name, approval, once=once) for own, name in names.items()])
            except Exception as error:  # noqa: BLE001 (raised below, as the SDK's task groups would wrap it in a group)
                failed = error
    except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
        failed = failed or session.failure(unwrap_group(error), "broke off" if opened else "could not be opened")
    if failed is not None:
        raise failed


async def _list_tools(client: Client) -> list[types.Tool]:
    # The SDK would hold each result against the server's own schema, whose patterns may take for ever.
    setattr(client.session, "validate_tool_result", _accept)  # noqa: B010 (a method)
    tools: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return tools


async def _accept(_name: str, _result: types.CallToolResult) -> None:
    """Accept any result."""


def _choose_names(
    listed: Collection[str], only: Collection[str] | None, rename: Mapping[str, str], prefix: str
) -> dict[str, str]:
    """Return the names that the model sees, by the server's names."""
    for name in (*(only or ()), *rename):
        if name not in listed:
            raise ConfigurationError(f"the server has no tool {name!r}; it has {', '.join(sorted(listed)) or 'none'}")
    return {name: rename.get(name) or _valid_name(prefix + name) for name in listed if only is None or name in only}


def _valid_name(name: str) -> str:
    valid = [char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name]
    return "".join(valid)[:_MAX_NAME]


class _Session:
    """A session with a server, in the event loop that opened it."""

    client: Client

    def __init__(self, server: AnyServer, seconds: float | None) -> None:
        secrets = (*server.env.values(),) if isinstance(server, StdioServer) else ()
        if isinstance(server, HttpServer):
            words = [word for value in server.headers.values() for word in (value, *value.split())]
            secrets = (*words, httpx2.URL(server.url).query.decode())
        self._server = server
        self._name = str(server) if isinstance(server, StdioServer | HttpServer) else server.name
        self._seconds = seconds
        self._secrets = Secrets(secrets)
        self._token = current_token()

    async def connect(self, stack: AsyncExitStack) -> Client:
        match self._server:
            case StdioServer(command, args, env, cwd):
                parameters = StdioServerParameters(command=command, args=list(args), env=dict(env), cwd=cwd)
                # The SDK's default is `sys.stderr` as it was when the SDK was imported, which may not be a file.
                transport = stdio_client(parameters, cast("TextIO", sys.__stderr__))
                return Client(transport, read_timeout_seconds=self._seconds)
            case HttpServer(url, headers):
                # A stream may be silent for long; each request has a time limit of its own.
                timeouts = httpx2.Timeout(_CONNECT_SECONDS, read=None)
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=dict(headers), timeout=timeouts))
                return Client(streamable_http_client(url, http_client=http), read_timeout_seconds=self._seconds)
            case _:
                return Client(self._server, read_timeout_seconds=self._seconds)

    def failure(self, error: BaseException, what: str) -> ServerFailed:
        """Return the error for a failure of the server, without its secrets."""
        text = str(error) if isinstance(error, MCPError) else f"{type(error).__name__}: {error}"
        return ServerFailed(self._secrets.shown(f"the MCP server {self._name} {what}: {text}"))

    def tool(self, listed: types.Tool, name: str, approval: McpApproval, *, once: bool) -> Tool:
        """Make a tool of a server's. If its schema cannot be enforced here, only the server checks the arguments."""
        hints = listed.annotations or types.ToolAnnotations()
        harmless = hints.read_only_hint is True or hints.destructive_hint is False
        repeatable = hints.read_only_hint is True or hints.idempotent_hint is True
        options = ToolOptions(
            name=listed.name,
            timeout=self._seconds,
            approval=not harmless if approval == "destructive" else approval,
            effect="once" if once and not repeatable else None,
        )
        arguments = lenient_arguments(name, listed.input_schema, _INJECTED)

        async def call(**given: object) -> ResultValue:
            context = cast("ToolContext[object]", given.pop(_CONTEXT))
            return await self._call(listed.name, given, context)

        spec = ToolSpec(listed.name, listed.description or listed.title or "", arguments.schema)
        return Tool.of(Tool(call, options, spec, arguments, "async"), name=name)

    async def _call(self, name: str, arguments: dict[str, object], context: ToolContext[object]) -> ResultValue:
        if current_token() != self._token:
            raise ServerFailed(
                f"the MCP server {self._name} was opened in another event loop; use its tools within the block that "
                "opened it: await agent.run(…)"
            )

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            fields = {"progress": progress, "total": total, "message": message}
            try:
                context.progress({key: value for key, value in fields.items() if value is not None})
            except RunCancelled:  # it came after the result
                return

        failed: ToolError
        try:
            # The tool's own timeout ends the call, so the SDK has none.
            result = await self.client.call_tool(name, arguments, inf, on_progress)
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
            if isinstance(error, MCPError) and error.code not in _SESSION_BROKEN:
                failed = ToolError(self._secrets.shown(str(error)))
            else:
                failed = self.failure(unwrap_group(error), "failed")
        else:
            if not result.is_error:
                return _result_value(result)
            failed = ToolError(result_text(_result_value(result)) or "the tool failed without an error message")
        raise failed


def _result_value(result: types.CallToolResult) -> ResultValue:
    """Return the content of a result; its structured content, which mostly repeats it, if that says nothing."""
    parts = [_content_part(content) for content in result.content]
    images = [part for part in parts if isinstance(part, ImagePart)]
    texts = [part for part in parts if isinstance(part, str)]
    if result.structured_content is not None and not images and not "".join(texts).strip():
        texts = [result_text(result.structured_content)]
    text = "\n".join(texts)
    return [*([text] if text else []), *images] if images else text


def _content_part(content: types.ContentBlock) -> str | ImagePart:
    match content:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(data=data, mime_type=kind):
            return ImagePart(f"data:{kind};base64,{data}")
        case types.AudioContent(mime_type=kind):
            return f"[audio that cannot be shown: {kind}]"
        case types.ResourceLink(uri=uri, name=name, description=description):
            return f"[{name}: {uri}]" + (f" {description}" if description else "")
        case embedded:
            return _resource_part(embedded.resource)


def _resource_part(resource: types.TextResourceContents | types.BlobResourceContents) -> str | ImagePart:
    if isinstance(resource, types.TextResourceContents):
        return resource.text
    kind = resource.mime_type or "unknown type"
    if kind.startswith("image/"):
        return ImagePart(f"data:{kind};base64,{resource.blob}")
    return f"[a file that cannot be shown: {resource.uri}, {kind}]"
