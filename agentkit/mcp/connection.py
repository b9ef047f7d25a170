"""A connection to a server that outlives the server.

The SDK runs a session in the task that opened it, and cancels that task if the transport fails. So each session has a
task of its own here. Calls go through the session that is open; if it broke, the next call opens another one.
"""

import logging
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, TextIO, TypeAlias, cast

import httpx2
from anyio import (
    BrokenResourceError,
    CancelScope,
    Event,
    create_memory_object_stream,
    create_task_group,
    current_time,
    fail_after,
)
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp import Client, MCPError, StdioServerParameters, stdio_client, types
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.message import SessionMessage

from agentkit.core.errors import ToolError
from agentkit.core.json import decode, object_of
from agentkit.core.secrets import Secrets
from agentkit.mcp.lines import LINES
from agentkit.tools.results import unwrap_group

_CONNECT_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_MAX_PAGES = 1000
_MAX_EVENT = 64 * 2**20  # bytes of a result over HTTP
_BAD_REQUEST, _NOT_FOUND = 400, 404
_OF_THE_PROTOCOL = (_BAD_REQUEST, _NOT_FOUND)  # errors of the protocol have these, and so has a forgotten session
_NOT_ALLOWED = 405  # the SDK gives up the request without a warning
_ABOUT_THE_CALL = (types.INVALID_PARAMS, types.METHOD_NOT_FOUND)
_FAILED, _REFUSED = "agentkit: failed", "agentkit: session refused"  # data of the errors that `_HttpClient` makes
_SDK_LOST = ("Connection closed", "SSE stream ")  # servers use the code of these for errors of their own
_log = logging.getLogger("agentkit.mcp")


class ServerFailed(ToolError):
    """A server could not be started or reached, disconnected, or did not answer in time.

    In a tool call, the model sees the text and the run continues. The next call connects again.
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

_Messages: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]


class _Session:
    """A session with a server, in a task of its own.

    Attributes:
        over: Set if it has ended, or is to end.
        ready: Set once it is open, or could not be opened.
        calls: How many calls go through it.
        retired: Whether it gets no more calls, because one was lost. It ends after those that it has.
    """

    def __init__(self, seconds: float | None) -> None:
        self.over, self.ready = Event(), Event()
        self.scope = CancelScope(shield=True)
        self._seconds = inf if seconds is None else seconds
        self.client: Client | None = None
        self.tools: Mapping[str, types.Tool] = {}
        self.error: BaseException | None = None
        self.calls = 0
        self.retired = False

    @property
    def usable(self) -> bool:
        return not (self.retired or self.over.is_set())

    def begin(self) -> None:
        # Not before its program runs: asyncio would leave a program behind whose start is cancelled.
        self.scope.deadline = min(self.scope.deadline, current_time() + self._seconds)
        self.scope.shield = False

    def end(self) -> None:
        """End it; if it is being opened, soon."""
        self.over.set()
        self.scope.deadline = min(self.scope.deadline, current_time() + _CLOSE_SECONDS)

    async def call(self, name: str, arguments: dict[str, object], on_progress: ProgressFnT) -> types.CallToolResult:
        self.calls += 1
        try:
            # The tool's own timeout ends the call, so the SDK has none.
            return await cast("Client", self.client).call_tool(name, arguments, inf, on_progress)
        except MCPError as error:
            self.retired = self.retired or _is_failure(error)
            raise
        finally:
            self.calls -= 1
            if self.retired and not self.calls:
                self.over.set()


class Connection:
    """A connection to a server, in the event loop that opened it. Any number of tasks may call concurrently.

    Args:
        server: The server.
        seconds: The time limit of connecting.
        max_tools: How many tools the server may have.
    """

    def __init__(self, server: AnyServer, seconds: float | None, max_tools: int) -> None:
        secrets = (*server.env.values(),) if isinstance(server, StdioServer) else ()
        if isinstance(server, HttpServer):
            words = [word for value in server.headers.values() for word in (value, *value.split())]
            secrets = (*words, httpx2.URL(server.url).query.decode())
        self.name = str(server) if isinstance(server, StdioServer | HttpServer) else server.name
        self._server = server
        self._seconds = seconds
        self._max_tools = max_tools
        self._secrets = Secrets(secrets)
        self._token = current_token()
        self._group: TaskGroup
        self._sessions: list[_Session] = []  # those that have not ended; calls go through the last one
        self._closed = False
        self._closing_error: BaseException | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Mapping[str, types.Tool]]:
        """Connect, and yield the server's tools by name; the end of the block disconnects.

        Raises:
            ServerFailed: If the server cannot be opened, or fails as it is closed.
        """
        failed: Exception | None = None
        async with create_task_group() as self._group:
            try:
                session = await self._open_session()
                yield session.tools
            except Exception as error:  # noqa: BLE001 (raised below, as the task group would wrap it in a group)
                failed = error
            finally:
                self._closed = True
                for session in self._sessions:
                    session.end()
        if failed is None and self._closing_error is not None:
            failed = self._failure(self._closing_error, "broke off")
        if failed is not None:
            raise failed

    async def call(self, name: str, arguments: dict[str, object], on_progress: ProgressFnT) -> types.CallToolResult:
        """Call a tool. If the server forgot the session, it did not run the call, so that is made again in a new one.

        Raises:
            ServerFailed: If the server cannot be reached, or the connection is lost before the result.
            ToolError: If the server answers with an error of the protocol.
        """
        if current_token() != self._token:
            raise ServerFailed(
                f"the MCP server {self.name} was opened in another event loop; use its tools within the block that "
                "opened it: await agent.run(…)"
            )
        result = await self._try_to_call(name, arguments, on_progress)
        if isinstance(result, MCPError) and result.data == _REFUSED:
            result = await self._try_to_call(name, arguments, on_progress)
        if not isinstance(result, Exception):
            return result
        if isinstance(result, MCPError) and not _is_failure(result):
            raise ToolError(self._shown(result))
        raise self._failure(result, "failed")

    async def _try_to_call(
        self, name: str, arguments: dict[str, object], on_progress: ProgressFnT
    ) -> types.CallToolResult | Exception:
        session = await self._open_session()
        if name not in session.tools:
            raise ToolError(f"the MCP server {self.name} has no tool {name!r} any more")
        try:
            return await session.call(name, arguments, on_progress)
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
            return error

    async def _open_session(self) -> _Session:
        """Return a session that is open; open another one if the last one broke."""
        if self._closed:
            raise ServerFailed(f"the MCP server {self.name} was closed; use its tools within the block that opened it")
        if not self._sessions or not self._sessions[-1].usable:
            self._sessions.append(_Session(self._seconds))
            self._group.start_soon(self._keep_open, self._sessions[-1])
        session = self._sessions[-1]
        await session.ready.wait()
        if session.error is not None:
            raise self._failure(session.error, "could not be opened")
        return session

    async def _keep_open(self, session: _Session) -> None:
        opened = False
        try:
            with session.scope as scope:
                async with AsyncExitStack() as stack:
                    session.client = await stack.enter_async_context(await self._connect(session, stack))
                    session.tools = await _list_tools(session.client, self._max_tools)
                    opened, scope.deadline = True, inf
                    session.ready.set()
                    await session.over.wait()
                    scope.deadline = inf  # what is closed here takes the time that it needs, and `_HttpClient` little
            if not opened:
                session.error = TimeoutError(f"no answer in {self._seconds} s")
        except Exception as error:  # noqa: BLE001 (whatever the SDK raises)
            if not opened:
                session.error = unwrap_group(error)
            elif self._closed:
                self._closing_error = unwrap_group(error)
            else:
                _log.warning("%s", self._failure(error, "broke off"))
        finally:
            self._sessions.remove(session)
            session.over.set()
            session.ready.set()

    async def _connect(self, session: _Session, stack: AsyncExitStack) -> Client:
        if not isinstance(self._server, StdioServer):
            session.begin()
        match self._server:
            case StdioServer(command, args, env, cwd):
                parameters = StdioServerParameters(
                    command=command, args=list(args), env=dict(env), cwd=cwd, encoding=LINES
                )
                # The SDK's default is `sys.stderr` as it was when the SDK was imported, which may not be a file.
                transport = stdio_client(parameters, cast("TextIO", sys.__stderr__))
                return Client(_until_its_end(transport, session), read_timeout_seconds=self._seconds)
            case HttpServer(url, headers):
                # A stream may be silent for long; each request has a time limit of its own.
                timeouts = httpx2.Timeout(_CONNECT_SECONDS, read=None)
                http = await stack.enter_async_context(_HttpClient(headers=dict(headers), timeout=timeouts))
                streams = streamable_http_client(url, http_client=http, max_sse_event_size=_MAX_EVENT)
                return Client(streams, read_timeout_seconds=self._seconds)
            case _:
                return Client(self._server, read_timeout_seconds=self._seconds)

    def _failure(self, error: BaseException, what: str) -> ServerFailed:
        """Return the error for a failure of the server, without its secrets."""
        error = unwrap_group(error)
        text = str(error) if isinstance(error, MCPError | ToolError) else f"{type(error).__name__}: {error}"
        return ServerFailed(self._shown(f"the MCP server {self.name} {what}: {text}"))

    def _shown(self, text: object) -> str:
        return self._secrets.shown(str(text))


class _HttpClient(httpx2.AsyncClient):
    """Turns a failed request into an error of the protocol, which the SDK hands to the call that it belongs to.

    At an error of the network, the SDK would end the session and with it all calls; and it does not tell statuses.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        patience = _CLOSE_SECONDS if request.method == "DELETE" else None
        try:
            with fail_after(patience):
                response = await super().send(request, **options)
                if _is_json(response):
                    await response.aread()
        except (httpx2.RequestError, TimeoutError) as error:
            return _error_response(request, _NOT_ALLOWED, f"{type(error).__name__}: {error}")
        status = response.status_code
        if status < _BAD_REQUEST or request.method == "GET":
            return response
        if request.method == "DELETE":
            response.status_code = _NOT_ALLOWED
            return response
        code, message = _protocol_error(response)
        forgotten = "mcp-session-id" in request.headers and code not in _ABOUT_THE_CALL
        if code is not None and not forgotten and status in _OF_THE_PROTOCOL:
            return response
        await response.aclose()
        text = ": ".join(filter(None, (f"HTTP {status} {response.reason_phrase}".rstrip(), message)))
        return _error_response(request, status, text, _REFUSED if forgotten and status in _OF_THE_PROTOCOL else _FAILED)


def _is_json(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").lower().startswith("application/json")


def _protocol_error(response: httpx2.Response) -> tuple[object, str]:
    """Return the code and the text of an error of the protocol, if the response has one."""
    try:
        error = object_of(object_of(decode(response.content)).get("error")) if _is_json(response) else {}
    except ValueError:
        error = {}
    return error.get("code"), str(error.get("message", ""))


def _error_response(request: httpx2.Request, status: int, text: str, data: str = _FAILED) -> httpx2.Response:
    error = {"code": types.CONNECTION_CLOSED, "message": text, "data": data}
    return httpx2.Response(status, request=request, json={"jsonrpc": "2.0", "id": None, "error": error})


def _is_failure(error: MCPError) -> bool:
    """Whether the SDK or `_HttpClient` made the error, because the server or the connection failed."""
    lost = error.code == types.CONNECTION_CLOSED and error.message.startswith(_SDK_LOST)
    return lost or error.data in (_FAILED, _REFUSED)


@asynccontextmanager
async def _until_its_end(transport: Transport, session: _Session) -> AsyncGenerator[tuple[_Messages, Any]]:
    """Pass on the streams of a program; the session begins once it runs, and is over once it says no more."""
    async with transport as (read, write), create_task_group() as group:
        session.begin()
        sender, receiver = create_memory_object_stream[SessionMessage | Exception]()

        async def pass_on() -> None:
            with suppress(BrokenResourceError):  # the session is gone
                async with sender:
                    async for message in read:
                        await sender.send(message)
            session.over.set()

        group.start_soon(pass_on)
        yield receiver, write
        group.cancel_scope.cancel()


async def _list_tools(client: Client, most: int) -> dict[str, types.Tool]:
    """Return the server's tools by name, without those that only run as tasks of the protocol."""
    # The SDK would hold each result against the server's own schema, whose patterns may take for ever.
    setattr(client.session, "validate_tool_result", _accept)  # noqa: B010 (a method)
    tools: dict[str, types.Tool] = {}
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            if tools.setdefault(tool.name, tool) is not tool:
                raise ServerFailed(f"it lists two tools with the name {tool.name!r}")
            if len(tools) > most:
                raise ServerFailed(f"it lists more than {most} tools; to take more, pass max_tools=…")
        cursor = page.next_cursor
        if not cursor:
            break
    return {name: tool for name, tool in tools.items() if not _needs_a_task(tool)}


async def _accept(_name: str, _result: types.CallToolResult) -> None:
    """Accept any result."""


def _needs_a_task(tool: types.Tool) -> bool:
    return tool.execution is not None and tool.execution.task_support == "required"
