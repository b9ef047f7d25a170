"""The tools of a server as tools of an agent.

A session belongs to the event loop that opened it, and is closed by the task that opened it. Within that loop any
number of runs may call its tools at once.
"""

import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
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
from agentkit.core.errors import ConfigurationError, RunCancelled, ToolDefinitionError, ToolError
from agentkit.core.json import decode, object_of
from agentkit.core.messages import ImagePart
from agentkit.core.secrets import Secrets
from agentkit.tools.context import InjectedParameter, ToolContext
from agentkit.tools.options import ToolOptions
from agentkit.tools.results import result_text, unwrap_group
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

Ask: TypeAlias = bool | Literal["destructive"]
"""Which tools of a server wait for approval: all, none, or those that may destroy something."""

_CONTEXT = "the run's context"  # no parameter of a server's has this name
_LONGEST_NAME = 64
_PAGES = 1000
_CONNECT_SECONDS = 30.0
_BROKEN = (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT)


class ServerFailed(ToolError):
    """A server could not be started or reached, broke off, or did not answer in time.

    In a call it is what the model is told, and the run goes on.
    """


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that is started as a program and spoken to over its standard input and output.

    Attributes:
        command: The program.
        args: What it is called with.
        env: Variables for it, beside the few that every program needs. They do not show.
        cwd: The folder that it runs in.
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
        url: Its address. Its query does not show in errors.
        headers: Headers of every request, such as its key. They do not show.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)

    def __str__(self) -> str:
        return httpx2.URL(self.url).host


AnyServer: TypeAlias = StdioServer | HttpServer | Server[Any] | MCPServer
"""A server: how to start it, where it is, or one of the SDK in this process."""


@asynccontextmanager
async def mcp_tools(  # noqa: PLR0913 (each is an option that a reader sees beside the server)
    server: AnyServer,
    *,
    only: Collection[str] | None = None,
    rename: Mapping[str, str] | None = None,
    prefix: str = "",
    approval: Ask = False,
    once: bool = False,
    timeout: float | None = 60.0,  # noqa: ASYNC109 (of each call)
) -> AsyncGenerator[Toolbox]:
    """Open a server, and give its tools; it is closed at the end of the block.

    Args:
        server: The server.
        only: The tools that are wanted, by the server's names; all unless given.
        rename: Other names for some tools.
        prefix: What the names of the others begin with.
        approval: Which calls wait until someone allows them: `True` for all, `"destructive"` for those of every tool
            that does not say that it only reads, or only adds. What a server says of its tools is its own word.
        once: Whether a tool has `effect="once"` unless it says that it only reads, or may be called again.
        timeout: Seconds for each answer of the server.

    Yields:
        A toolbox: names, descriptions and schemas as the server has them, but that in a name what is no letter, digit,
        `_` or `-` becomes `_`, and what is beyond 64 characters is cut.

    Raises:
        ServerFailed: If it cannot be opened.
        ConfigurationError: If there is no tool of a name in `only` or `rename`, or two would have one name.
    """
    host = _Host(server, timeout)
    failed: Exception | None = None
    opened = False
    try:
        async with AsyncExitStack() as stack:
            host.client = await stack.enter_async_context(await host.entered(stack))
            found = {each.name: each for each in await _listed(host.client)}
            opened = True
            try:
                names = _names(found, only, dict(rename or {}), prefix)
                yield Toolbox([host.tool(found[each], name, approval, once=once) for each, name in names.items()])
            except Exception as error:  # noqa: BLE001 (raised once the server is closed: its tasks would make a group of it)
                failed = error
    except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
        failed = failed or host.failure(unwrap_group(error), "broke off" if opened else "could not be opened")
    if failed is not None:
        raise failed


async def _listed(client: Client) -> list[types.Tool]:
    found: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return found


def _names(
    found: Collection[str], only: Collection[str] | None, rename: Mapping[str, str], prefix: str
) -> dict[str, str]:
    """Give the names that the model knows the tools by, by those of the server."""
    for name in (*(only or ()), *rename):
        if name not in found:
            raise ConfigurationError(f"the server has no tool {name!r}; it has {', '.join(sorted(found)) or 'none'}")
    return {each: rename.get(each) or _name(prefix + each) for each in found if only is None or each in only}


def _name(name: str) -> str:
    sound = [each if each.isascii() and (each.isalnum() or each in "_-") else "_" for each in name]
    return "".join(sound)[:_LONGEST_NAME]


class _Host:
    """A session with a server, in the event loop that opened it."""

    client: Client

    def __init__(self, server: AnyServer, seconds: float | None) -> None:
        secret = (*server.env.values(),) if isinstance(server, StdioServer) else ()
        if isinstance(server, HttpServer):
            words = [word for value in server.headers.values() for word in (value, *value.split())]
            secret = (*words, httpx2.URL(server.url).query.decode())
        self._server = server
        self._name = str(server) if isinstance(server, StdioServer | HttpServer) else server.name
        self._seconds = seconds
        self._secrets = Secrets(secret)
        self._token = current_token()

    async def entered(self, stack: AsyncExitStack) -> Client:
        """Give a client for the server."""
        match self._server:
            case StdioServer(command, args, env, cwd):
                parameters = StdioServerParameters(command=command, args=list(args), env=dict(env), cwd=cwd)
                # The default is what stood for standard error at the SDK's import, which need not be a file.
                transport = stdio_client(parameters, cast("TextIO", sys.__stderr__))
                return Client(transport, read_timeout_seconds=self._seconds)
            case HttpServer(url, headers):
                # A stream may be silent for long; what waits for an answer has a time of its own.
                times = httpx2.Timeout(_CONNECT_SECONDS, read=None)
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=dict(headers), timeout=times))
                return Client(streamable_http_client(url, http_client=http), read_timeout_seconds=self._seconds)
            case _:
                return Client(self._server, read_timeout_seconds=self._seconds)

    def failure(self, error: BaseException, what: str) -> ServerFailed:
        """Say what went wrong with the server, without secrets and without what leads to them."""
        said = str(error) if isinstance(error, MCPError) else f"{type(error).__name__}: {error}"
        return ServerFailed(self._secrets.shown(f"the MCP server {self._name} {what}: {said}"))

    def tool(self, told: types.Tool, name: str, approval: Ask, *, once: bool) -> Tool:
        """Make a tool of what the server tells of it."""
        hints = told.annotations or types.ToolAnnotations()
        harmless = hints.read_only_hint is True or hints.destructive_hint is False
        again = hints.read_only_hint is True or hints.idempotent_hint is True
        options = ToolOptions(
            name=name,
            timeout=self._seconds,
            approval=not harmless if approval == "destructive" else approval,
            effect="once" if once and not again else None,
        )
        made = _sound(self._caller(told.name), name, told)
        made.arguments.injected = (InjectedParameter(_CONTEXT, None),)
        return replace(made, options=options)

    def _caller(self, name: str) -> AnyFunction:
        async def call(**given: object) -> str | list[str | ImagePart]:
            context = cast("ToolContext[object]", given.pop(_CONTEXT))
            return await self._call(name, given, context)

        return call

    async def _call(
        self, name: str, given: dict[str, object], context: ToolContext[object]
    ) -> str | list[str | ImagePart]:
        if current_token() != self._token:
            raise ServerFailed(
                f"the MCP server {self._name} was opened in another event loop; use its tools within the block that "
                "opened it: await agent.run(…)"
            )

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            told = {"progress": progress, "total": total, "message": message}
            try:
                context.progress({key: value for key, value in told.items() if value is not None})
            except RunCancelled:  # it came after the answer
                return

        failed: ToolError
        try:
            # The call's own time is up before this one.
            result = await self.client.call_tool(name, given, inf, tell)
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
            refused = isinstance(error, MCPError) and error.code not in _BROKEN
            failed = (
                ToolError(self._secrets.shown(str(error))) if refused else self.failure(unwrap_group(error), "failed")
            )
        else:
            if not result.is_error:
                return _returned(result)
            failed = ToolError(result_text(_returned(result)) or "the tool failed and does not say why")
        raise failed


def _sound(function: AnyFunction, name: str, told: types.Tool) -> Tool:
    """Make a tool. A schema that cannot be enforced here is told to the model as it is, and the server checks."""
    schema, description = told.input_schema, told.description or told.title or ""
    try:
        return Tool.from_schema(function, name=name, description=description, parameters=schema)
    except ToolDefinitionError:
        made = Tool.from_schema(function, name=name, description=description, parameters={"type": "object"})
        return replace(made, spec=ToolSpec(name, description, schema))


def _returned(result: types.CallToolResult) -> str | list[str | ImagePart]:
    parts = [_part(each) for each in result.content]
    images = [each for each in parts if isinstance(each, ImagePart)]
    texts = [each for each in parts if isinstance(each, str)]
    if result.structured_content is not None and not _says(texts, result.structured_content):
        texts.append(result_text(result.structured_content))
    text = "\n".join(texts)
    return [*([text] if text else []), *images] if images else text


def _says(texts: list[str], data: object) -> bool:
    """Tell whether texts say what structured content says: servers send both, and some wrap a plain value."""
    said = [_read(each) for each in texts]
    inside = object_of(data).get("result", data) if len(object_of(data)) == 1 else data
    return any(each in (data, inside) for each in (*said, said)) or result_text(inside) in texts


def _read(text: str) -> object:
    try:
        return decode(text)
    except ValueError:
        return text


def _part(content: types.ContentBlock) -> str | ImagePart:
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
            return _resource(embedded.resource)


def _resource(resource: types.TextResourceContents | types.BlobResourceContents) -> str | ImagePart:
    if isinstance(resource, types.TextResourceContents):
        return resource.text
    kind = resource.mime_type or "of no known type"
    if kind.startswith("image/"):
        return ImagePart(f"data:{kind};base64,{resource.blob}")
    return f"[a file that cannot be shown: {resource.uri}, {kind}]"
