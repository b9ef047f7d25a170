"""Tools as a server: driven by the SDK's own client, in this process and over stdio."""

import json
import os
import subprocess
import sys
from importlib import metadata
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, MCPError, StdioServerParameters, types

from agentkit import AudioPart, FilePart, Toolbox, ToolCall, tool
from agentkit.mcp import mcp_server, serve_mcp
from tests.mcp_script import LAMP, TOOLS, add, fail, poet
from tests.programs import PATIENCE, started

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]  # the client's tests use both
ROOT = Path(__file__).parents[2]

CLIENT = {
    "protocolVersion": types.LATEST_PROTOCOL_VERSION,
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
HELLO = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
)


def texts(result: types.CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


async def called(name: str, arguments: dict[str, Any] | None = None, **options: Any) -> types.CallToolResult:
    async with Client(mcp_server([*TOOLS, poet], **options)) as client:
        return await client.call_tool(name, arguments)


async def test_tools_are_listed_with_our_schemas() -> None:
    toolbox = Toolbox([add, fail])
    async with Client(mcp_server(toolbox, name="sums", instructions="Add up.")) as client:
        listed = (await client.list_tools()).tools
        assert client.instructions == "Add up."
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("sums", metadata.version("agentkit-tools"))
    assert [(entry.name, entry.description, entry.input_schema) for entry in listed] == [
        (tool.name, tool.spec.description, tool.spec.parameters) for tool in toolbox
    ]


async def test_a_strict_tool_is_listed_by_what_may_be_left_out() -> None:
    @tool(strict=True)
    def greet(name: str = "you") -> str:
        return f"hello {name}"

    async with Client(mcp_server([greet], version="2.1")) as client:
        assert client.server_info is not None
        assert client.server_info.version == "2.1"
        (listed,) = (await client.list_tools()).tools
        assert "required" not in listed.input_schema
        assert texts(await client.call_tool("greet", {})) == ["hello you"]


async def test_a_call_is_validated_and_runs_in_a_thread() -> None:
    assert texts(await called("add", {"left": 2, "right": "3"})) == ["5"]
    refused = await called("add", {"left": "many"})
    assert refused.is_error
    assert "left: Input should be a valid integer" in texts(refused)[0]


async def test_what_a_tool_raises_is_shown_as_agents_show_it() -> None:
    shown = await called("fail", {"how": "broken"})
    assert shown.is_error
    assert texts(shown) == ["RuntimeError: broken"]
    assert "incident" in texts(await called("fail", {"how": "broken"}, errors="hide"))[0]
    assert texts(await called("fail", {"how": "told"}, errors="hide")) == ["told"]


async def test_a_tool_that_is_not_there_is_an_error_of_the_protocol() -> None:
    async with Client(mcp_server([add])) as client:
        with pytest.raises(MCPError, match="subtract") as raised:
            await client.call_tool("subtract", {})
    assert raised.value.code == types.INVALID_PARAMS


async def test_images_are_bytes_or_links() -> None:
    text, image, link = (await called("photograph", {"where": "lamp"})).content
    assert text == types.TextContent(text="the lamp")
    assert image == types.ImageContent(data=LAMP.partition(",")[2], mime_type="image/png")
    assert isinstance(link, types.ResourceLink)
    assert link.uri == "https://example.com/lamp.png"


async def test_a_long_result_is_whole() -> None:
    @tool(max_result=100)
    def recite() -> str:
        return "lorem " * 20_000

    async with Client(mcp_server([recite])) as client:
        assert texts(await client.call_tool("recite", {})) == ["lorem " * 20_000]


async def test_a_call_that_needs_approval_is_not_run_without_an_approver() -> None:
    def only_pay(call: ToolCall) -> bool:
        return call.name == "pay"

    refused = await called("pay", {"amount": 5})
    assert refused.is_error
    assert texts(refused)[0].startswith("Not run")
    assert texts(await called("pay", {"amount": 5}, approver=only_pay)) == ["paid 5"]


async def test_a_tool_whose_effect_happens_once_runs_at_once() -> None:
    @tool(effect="once")
    def send(text: str) -> str:
        return f"sent {text}"

    async with Client(mcp_server([send])) as client:
        assert texts(await client.call_tool("send", {"text": "hello"})) == ["sent hello"]
        assert texts(await client.call_tool("send", {"text": "hello"})) == ["sent hello"]


async def test_the_client_of_the_sdk_drives_a_server_over_stdio() -> None:
    command, key = ["-m", "tests.mcp_script"], {"MCP_SCRIPT_KEY": "k"}
    async with Client(StdioServerParameters(command=sys.executable, args=command, cwd=ROOT, env=key)) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == [*(function.__name__ for function in TOOLS), "ask_poet"]
        assert texts(await client.call_tool("add", {"left": 2, "right": 3})) == ["5"]
        assert texts(await client.call_tool("whoami", {})) == ["Ann k"]


PRINTING = """
import logging, os, sys
from logging import StreamHandler
import anyio
from agentkit import tool
from agentkit.mcp import serve_mcp

print("before")
stdout = sys.stdout
handler = StreamHandler(stdout)

@tool
def speak() -> str:
    print("printed")
    print("flushed", flush=True)
    handler.handle(logging.makeLogRecord({"msg": "logged"}))
    stdout.write("kept in the buffer\\n")
    print("printed last")
    os.write(1, b"written\\n")
    os.system("echo from a program")
    return "spoken"

anyio.run(serve_mcp, [speak])
"""


@pytest.mark.parametrize("buffering", ["", "1"])
async def test_what_a_tool_prints_never_reaches_the_output_of_the_protocol(buffering: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PRINTING.replace('print("before")', "") if buffering else PRINTING)
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "speak"}}
    done = await anyio.to_thread.run_sync(lambda: converse(program, call, {"PYTHONUNBUFFERED": buffering}))
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2]
    said = ["printed", "flushed", "kept in the buffer", "printed last", "logged", "written", "from a program"]
    assert sorted(done.stderr.splitlines()) == sorted(said if buffering else ["before", *said])


def converse(program: Path, call: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a program that serves over stdio, make a call, and hang up once it is answered."""
    command = [sys.executable, str(program)]
    with started(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, **env}) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join([json.dumps(line) + "\n" for line in (*HELLO, call)]))
        server.stdin.flush()
        answers = server.stdout.readline() + server.stdout.readline()
        rest, errors = server.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(command, server.returncode, answers + rest, errors)


async def test_what_comes_on_standard_input_is_answered_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [*HELLO, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}]
    reading, writing = os.pipe()

    class Written(BytesIO):
        """Hangs up once both requests are answered."""

        def write(self, data: Any) -> int:
            size = super().write(data)
            if self.getvalue().count(b"\n") == 2:
                os.close(writing)
            return size

    written = Written()
    os.write(writing, "".join([json.dumps(line) + "\n" for line in lines]).encode())
    monkeypatch.setattr(sys, "stdin", open(reading))  # noqa: ASYNC230, PTH123, SIM115 (closed below)
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written))
    await serve_mcp([add], name="sums", instructions="Add up.")
    sys.stdin.close()
    first, second = map(json.loads, written.getvalue().splitlines())
    assert (first["result"]["serverInfo"]["name"], first["result"]["instructions"]) == ("sums", "Add up.")
    assert [tool["name"] for tool in second["result"]["tools"]] == ["add"]


async def test_recordings_and_files_are_bytes_or_links() -> None:
    media = [AudioPart("UklG", "mp3"), FilePart("data:application/pdf;base64,JVBE", "a b.pdf"), FilePart(file_id="f1")]

    def record() -> list[object]:
        return [*media]

    async with Client(mcp_server([record])) as client:
        _, audio, file, link = (await client.call_tool("record", {})).content
    assert audio == types.AudioContent(data="UklG", mime_type="audio/mp3")
    assert isinstance(file, types.EmbeddedResource)
    assert isinstance(file.resource, types.BlobResourceContents)
    assert (file.resource.uri, file.resource.blob) == ("file:///a%20b.pdf", "JVBE")
    assert isinstance(link, types.ResourceLink)
    assert link.uri == "file:///f1"
