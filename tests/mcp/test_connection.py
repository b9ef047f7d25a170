"""Connections that break: servers that are killed, restarted, silent, or forget their sessions."""

import gc
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event, Thread
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread
from mcp import MCPError, types
from mcp.server import Server

from agentkit import Toolbox
from agentkit.mcp import HttpServer, ServerFailed, StdioServer, mcp_tools
from tests.mcp.plain_server import reply_to
from tests.mcp.test_client import ASYNCIO, listed, odd_server, result_of
from tests.programs import PATIENCE, free_port, started

pytestmark = pytest.mark.anyio
PROGRAM = str(Path(__file__).with_name("plain_server.py"))
STDIO = StdioServer(sys.executable, [PROGRAM])
SILENT = StdioServer("sh", ["-c", "cat > /dev/null"])


class Restarted:
    """A server over HTTP that is killed and started again on its port."""

    def __init__(self, stack: ExitStack, status: int) -> None:
        self.port, self._stack, self._status = free_port(), stack, status
        self.start()

    def start(self) -> None:
        command = [sys.executable, PROGRAM, str(self.port), str(self._status)]
        self.program: Popen[str] = self._stack.enter_context(started(command, stderr=PIPE))
        self.read()

    def read(self) -> str:
        assert self.program.stderr is not None
        return self.program.stderr.readline()

    def kill(self) -> None:
        self.program.kill()
        self.program.wait()


@asynccontextmanager
async def working() -> AsyncGenerator[None]:
    """Other work in the same task group, which is still going on at the end of the block."""
    asked, answered = anyio.Event(), anyio.Event()

    async def work() -> None:
        await asked.wait()
        answered.set()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        yield
        asked.set()
        await answered.wait()


async def pid_of(tools: Toolbox) -> int:
    result = await result_of(tools, "pid")
    assert result.outcome == "ok", result.content
    return int(result.content)


async def assert_fails(tools: Toolbox, name: str = "pid") -> None:
    result = await result_of(tools, name)
    assert (result.outcome, result.content.startswith("the MCP server ")) == ("error", True)


@pytest.mark.parametrize(("anyio_backend", "status"), [("trio", 404), ("asyncio", 400)])
async def test_an_http_server_is_killed_and_started_again(status: int) -> None:
    with ExitStack() as stack:
        server = Restarted(stack, status)
        async with mcp_tools(HttpServer(f"http://127.0.0.1:{server.port}/mcp")) as tools, working():
            assert await pid_of(tools) == server.program.pid
            server.kill()
            await assert_fails(tools)
            server.start()
            assert await pid_of(tools) == server.program.pid
            server.kill()
            server.start()  # between two calls: it knows no session, so it did not run the call
            assert await pid_of(tools) == server.program.pid
            async with anyio.create_task_group() as group:
                group.start_soon(assert_fails, tools, "hang")
                await to_thread.run_sync(server.read)
                server.kill()
            await assert_fails(tools)
            server.start()
            assert await pid_of(tools) == server.program.pid
            server.kill()


async def test_a_program_is_killed_and_started_again() -> None:
    async with mcp_tools(STDIO) as tools, working():
        os.kill(first := await pid_of(tools), 9)
        with anyio.fail_after(PATIENCE):
            while (second := await result_of(tools, "pid")).outcome == "error":
                pass
        assert int(second.content) != first
        await assert_fails(tools, "die")
        assert await pid_of(tools) not in (first, int(second.content))
        assert (await result_of(tools, "refuse")).content == "not on Sundays"


@ASYNCIO
async def test_a_session_that_is_lost_ends_after_its_last_call() -> None:
    with ExitStack() as stack:
        server = Restarted(stack, 404)
        async with mcp_tools(HttpServer(f"http://127.0.0.1:{server.port}/mcp")) as tools:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(assert_fails, tools, "hang")
                    await to_thread.run_sync(server.read)
                server.kill()
            server.start()
            pids: list[int] = []

            async def add_pid() -> None:
                pids.append(await pid_of(tools))

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(add_pid)
            assert pids == [server.program.pid] * 5


@contextmanager
def answering(reply: Callable[[BaseHTTPRequestHandler, dict[str, Any]], tuple[int, object]]) -> Generator[HttpServer]:
    """A server over HTTP that gives this status and this JSON, or no body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = reply(self, message)
            self.send_response(status)
            self.send_header("mcp-session-id", "one")
            self.send_header("content-type", "application/json" if body is not None else "text/html")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode() if body is not None else b"<p>")

        def do_DELETE(self) -> None:
            closing.wait()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (the library's name)
            pass

    closing = Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield HttpServer(f"http://127.0.0.1:{server.server_address[1]}/mcp", {"authorization": "Bearer sk-secret"})
        finally:
            closing.set()
            server.shutdown()
            thread.join()


@ASYNCIO
@pytest.mark.parametrize(("status", "body", "text"), [
    (401, None, "HTTP 401 Unauthorized"), (403, {"error": "no"}, "HTTP 403 Forbidden"), (500, None, "HTTP 500"),
    (503, {"error": {"code": -32000, "message": "too busy for sk-secret"}}, "HTTP 503 Service Unavailable: too busy for …"),
    (404, None, "HTTP 404 Not Found"), (400, {"error": {"code": -32600, "message": "not so"}}, "not so"),
    (200, None, "Unexpected content type"),
])  # fmt: skip
async def test_a_server_that_refuses_to_be_opened_says_why(
    status: int, body: object, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.mcp.connection._CLOSE_SECONDS", 0.01)  # the server is silent when it is closed

    def reply(_: object, message: dict[str, Any]) -> tuple[int, object]:
        return status, body and {"jsonrpc": "2.0", "id": message["id"], **cast("dict[str, object]", body)}

    with answering(reply) as server, pytest.raises(ServerFailed, match=re.escape(text)):
        async with mcp_tools(server):
            raise AssertionError


def legacy(call: Callable[[], tuple[int, object]]) -> Callable[[object, dict[str, Any]], tuple[int, object]]:
    def reply(_: object, message: dict[str, Any]) -> tuple[int, object]:
        if message["method"] == "tools/call":
            status, body = call()
            return status, {"jsonrpc": "2.0", "id": message["id"], "error": body} if body else None
        return 200 if "id" in message else 202, reply_to(message) if "id" in message else None

    return reply


@ASYNCIO
@pytest.mark.parametrize(("status", "error", "text", "calls"), [
    (400, {"code": types.INVALID_PARAMS, "message": "no such colour"}, "no such colour", 1),
    (400, {"code": -32000, "message": "no session"}, "the MCP server 127.0.0.1 failed: HTTP 400 Bad Request: no session", 2),
    (500, None, "the MCP server 127.0.0.1 failed: HTTP 500 Internal Server Error", 1),
])  # fmt: skip
async def test_a_call_is_made_again_only_if_the_session_was_refused(
    status: int, error: object, text: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.mcp.connection._CLOSE_SECONDS", 0.01)  # the server is silent when it is closed
    made: list[None] = []

    def call() -> tuple[int, object]:
        made.append(None)
        return status, error

    with answering(legacy(call)) as server:
        async with mcp_tools(server) as tools:
            assert (await result_of(tools, "pid")).content == text
    assert len(made) == calls


async def test_a_silent_program_fails_at_its_timeout() -> None:
    with pytest.raises(ServerFailed, match=r"no answer in 0\.5 s"):
        async with mcp_tools(SILENT, timeout=0.5):
            raise AssertionError


@ASYNCIO
@pytest.mark.parametrize("passes", range(12))
async def test_no_program_is_left_behind_wherever_its_start_is_cancelled(passes: int) -> None:
    """A cancelled start is the machine's: asyncio would leave the program and its pipes open, which is an error here."""
    opened: list[int] = []

    async def use() -> None:
        async with mcp_tools(SILENT, timeout=60):
            opened.append(passes)

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        for _ in range(passes):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    gc.collect()
    assert opened == []


@ASYNCIO
@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 5e-3])
async def test_no_program_is_left_behind_at_its_timeout(seconds: float) -> None:
    with pytest.raises(ServerFailed, match="no answer in"):
        async with mcp_tools(SILENT, timeout=seconds):
            raise AssertionError
    gc.collect()


@ASYNCIO
async def test_the_block_ends_while_a_server_is_opened_again() -> None:
    async with mcp_tools(STDIO) as tools, anyio.create_task_group() as group:
        await assert_fails(tools, "die")
        group.start_soon(result_of, tools, "pid")
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


@ASYNCIO
async def test_a_tool_that_is_gone_after_a_restart_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    there = [listed("look")]

    @asynccontextmanager
    async def breaking(_: object) -> AsyncGenerator[dict[str, Any]]:
        yield {}
        raise OSError("gone for good")

    async def list_tools(*_: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=there)

    async def call_tool(*_: object) -> types.CallToolResult:
        there.clear()
        raise MCPError(types.CONNECTION_CLOSED, "Connection closed")

    async def look_twice() -> None:
        async with mcp_tools(
            Server("odd", lifespan=breaking, on_list_tools=list_tools, on_call_tool=call_tool)
        ) as tools:
            await assert_fails(tools, "look")
            assert "no tool 'look' any more" in (await result_of(tools, "look")).content

    with pytest.raises(ServerFailed, match="gone for good"):
        await look_twice()
    assert "the MCP server odd broke off: OSError: gone for good" in caplog.text


@ASYNCIO
async def test_what_a_server_may_list() -> None:
    async with mcp_tools(odd_server(listed("a"), listed("b")), max_tools=2) as tools:
        assert tools.names == {"a", "b"}
    async with mcp_tools(STDIO) as tools:  # one more runs only as a task of the protocol
        assert tools.names == {"pid", "hang", "die", "refuse"}
    for refused in (["a", "a"], ["a", "b", "c"]):
        with pytest.raises(ServerFailed):
            async with mcp_tools(odd_server(*map(listed, refused)), max_tools=2):
                raise AssertionError
