"""The tools of servers as tools of agents: a server of someone else's, our own, and odd ones."""

import logging
import re
import runpy
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import pytest
import uvicorn
from mcp import Client, MCPError, types
from mcp.server import Server

import agentkit.mcp
from agentkit import (
    Agent,
    AssistantMessage,
    ConfigurationError,
    Event,
    ImagePart,
    MissingExtra,
    Result,
    Toolbox,
    ToolDefinitionError,
    ToolFinished,
    ToolMessage,
    ToolProgress,
)
from agentkit.mcp import HttpServer, ServerFailed, StdioServer, mcp_server, mcp_tools
from tests.mcp_script import LAMP, TOOLS, add, count, wait
from tests.programs import PATIENCE
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Where neither processes nor sockets nor cancellation matter, one backend is enough."""
ROOT = Path(__file__).parents[2]
SCRIPT = StdioServer(sys.executable, ("-m", "tests.mcp_script"), {"MCP_SCRIPT_KEY": "sk-very-secret"}, ROOT)
CLOCK = StdioServer(sys.executable, ("-m", "mcp_server_time", "--local-timezone", "Europe/Rome"))


def agent(tools: Toolbox, *plays: AssistantMessage, **options: Any) -> Agent[None, str]:
    return Agent(Scripted(*plays, said("done")), tools=[tools], **options)


def results_of(result: Result[str]) -> list[ToolMessage]:
    return [message for message in result.new_messages if isinstance(message, ToolMessage)]


async def result_of(tools: Toolbox, name: str, arguments: object = None) -> ToolMessage:
    (result,) = results_of(await agent(tools, called((name, arguments or {}))).run("Go."))
    return result


Arguments = dict[str, Any] | None


def odd_server(
    *tools: types.Tool, call: Callable[[str, Arguments], types.CallToolResult] | None = None, page: int = 100
) -> Server[Any]:
    """A server of the SDK that lists these tools, so many on a page."""

    async def list_tools(_: object, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        begin = int((params and params.cursor) or 0)
        end = begin + page
        return types.ListToolsResult(tools=list(tools[begin:end]), next_cursor=str(end) if end < len(tools) else None)

    async def call_tool(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        assert call is not None
        return call(params.name, params.arguments)

    return Server("odd", on_list_tools=list_tools, on_call_tool=call_tool)


def listed(name: str = "look", **fields: Any) -> types.Tool:
    return types.Tool(name=name, input_schema=fields.pop("schema", {"type": "object"}), **fields)


async def returned(*content: types.ContentBlock, **fields: Any) -> ToolMessage:
    """What the model sees of such a result of a call."""

    def call(*_: object) -> types.CallToolResult:
        return types.CallToolResult(content=list(content), **fields)

    server = odd_server(listed(), call=call)
    async with mcp_tools(server) as tools:
        return await result_of(tools, "look")


@ASYNCIO
async def test_a_server_of_someone_else_is_a_toolbox() -> None:
    async with mcp_tools(CLOCK, prefix="time_") as tools:
        assert tools.names == {"time_get_current_time", "time_convert_time"}
        assert "Convert time between timezones" in [tool.spec.description for tool in tools]
        noon = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"}
        two = called(("time_convert_time", noon), ("time_get_current_time", {"timezone": "Mars"}))
        result = await agent(tools, two, called(("time_get_current_time", {}))).run("What time is it?")
    converted, no_such_zone, incomplete = results_of(result)
    assert '"time_difference": "-3.5h"' in converted.content
    assert (no_such_zone.outcome, "No time zone found with key Mars" in no_such_zone.content) == ("error", True)
    assert "timezone: Field required" in incomplete.content
    assert result.output == "done"


async def test_our_own_server_goes_there_and_back() -> None:
    async with mcp_tools(SCRIPT) as tools:
        parameters = {tool.name: tool.spec.parameters for tool in tools if tool.name != "ask_poet"}
        assert parameters == {tool.name: tool.spec.parameters for tool in Toolbox(TOOLS)}
        calls = called(
            ("add", {"left": 2, "right": 3}), ("photograph", {"where": "lamp"}), ("fail", {"how": "told"}), ("pay", {"amount": 3}),
            ("ask_poet", {"prompt": "A line."}), ("whoami", {}),
        )  # fmt: skip
        result = await agent(tools, calls).run("Go.")
    added, photo, failed, paid, line, who = results_of(result)
    assert (added.content, added.outcome) == ("5", "ok")
    assert photo.content == "the lamp\n[image: https://example.com/lamp.png]"
    assert photo.images == (ImagePart(LAMP),)
    assert (failed.content, failed.outcome) == ("told", "error")
    assert (paid.content.startswith("Not run"), paid.outcome) == (True, "error")
    assert line.content == "Roses are red."
    assert who.content == "Ann sk-very-secret"


@ASYNCIO
async def test_many_runs_call_at_once_and_one_that_stops_is_stopped_at_the_server() -> None:
    async with mcp_tools(SCRIPT) as tools:
        sums: dict[int, list[str]] = {}

        async def one(number: int) -> None:
            calls = called(*[("add", {"left": number, "right": right}) for right in range(5)])
            sums[number] = [result.content for result in results_of(await agent(tools, calls).run("Go."))]

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, number)
        assert sums == {number: [str(number + right) for right in range(5)] for number in range(10)}
        async with agent(tools, called(("wait", {}))).stream("Go.") as run:
            async for event in run:
                if isinstance(event, ToolProgress):
                    break
        with anyio.fail_after(PATIENCE):  # it is told to stop, and does so soon
            while (await result_of(tools, "was_stopped")).content != '["wait"]':
                pass


@ASYNCIO
async def test_progress_is_reported() -> None:
    events: list[Event] = []
    async with mcp_tools(mcp_server([count])) as tools:
        await agent(tools, called(("count", {"to": 2})), observers=[events.append]).run("Go.")
    values = [event.value for event in events if isinstance(event, ToolProgress)]
    assert values == [{"progress": 1.0, "message": "1 of 2"}, {"progress": 2.0, "message": "2 of 2"}]


@ASYNCIO
async def test_progress_that_comes_after_the_result_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Callable[[float, float, str], Awaitable[None]]] = []

    async def call_tool(_: object, __: str, ___: object, ____: float, on_progress: Any) -> types.CallToolResult:
        later.append(on_progress)
        return types.CallToolResult(content=[TEXT])

    monkeypatch.setattr(Client, "call_tool", call_tool)
    async with mcp_tools(mcp_server([count])) as tools:
        assert (await result_of(tools, "count", {"to": 2})).content == "a"
        await later[0](1.0, 2.0, "late")


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with mcp_tools(mcp_server([wait]), timeout=1) as tools:
        late = await result_of(tools, "wait")
    assert ("1 s" in late.content, late.outcome) == (True, "error")


@ASYNCIO
async def test_a_server_that_ends_in_a_call_is_started_again_for_the_next() -> None:
    events: list[Event] = []
    async with mcp_tools(SCRIPT) as tools:
        plays = called(("die", {})), called(("add", {"left": 1, "right": 2}))
        result = await agent(tools, *plays, observers=[events.append]).run("Go.")
    assert result.output == "done"
    died, added = results_of(result)
    assert Path(sys.executable).name in died.content
    assert added.content == "3"
    assert [type(event.error) for event in events if isinstance(event, ToolFinished)] == [ServerFailed, type(None)]


@pytest.mark.parametrize(("server", "cause"), [
    (StdioServer("no-such-program"), "FileNotFoundError"), (StdioServer(sys.executable, ["-c", ""]), "Connection closed"),
    (HttpServer("http://127.0.0.1:9/mcp", {"Authorization": "Bearer sk-very-secret"}), r"127\.0\.0\.1"),
])  # fmt: skip
async def test_a_server_that_cannot_be_opened(server: StdioServer | HttpServer, cause: str) -> None:
    with pytest.raises(ServerFailed, match=cause) as raised:
        async with mcp_tools(server):
            raise AssertionError
    assert "sk-" not in str(raised.value)


async def test_an_exception_of_the_block_is_raised_as_it_is() -> None:
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as raised:
        async with mcp_tools(odd_server(listed())):
            raise boom
    assert raised.value is boom


async def test_a_session_that_breaks_off_ends_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def breaking(_: object) -> AsyncGenerator[dict[str, Any]]:
        yield {}
        raise OSError("gone")

    server = odd_server(listed())
    server.lifespan = breaking
    with pytest.raises(ServerFailed, match="odd broke off"):
        async with mcp_tools(server):
            pass


async def test_tools_belong_to_their_session_and_its_event_loop() -> None:
    plays = called(("add", {"left": 1, "right": 2}))
    async with mcp_tools(mcp_server([add])) as tools:
        result = await anyio.to_thread.run_sync(lambda: agent(tools, plays).run_sync("Go."))
        assert "was opened in another event loop" in results_of(result)[0].content
    (closed,) = results_of(await agent(tools, plays).run("Go."))
    assert "the MCP server agentkit" in closed.content


@ASYNCIO
async def test_names_are_chosen_prefixed_and_changed() -> None:
    server = odd_server(listed("a", description="Look."), listed("b", title="A look"), listed("c"))
    async with mcp_tools(server) as tools:
        assert [tool.spec.description for tool in tools] == ["Look.", "A look", ""]
    async with mcp_tools(server, only=["b", "c"], rename={"c": "see"}, prefix="x_") as tools:
        assert [tool.name for tool in tools] == ["x_b", "see"]
    wrong: Any
    for wrong in ({"only": ["d"]}, {"rename": {"d": "e"}}, {"rename": {"a": "b"}}):
        with pytest.raises(ConfigurationError):
            async with mcp_tools(server, **wrong):
                raise AssertionError
    with pytest.raises(ConfigurationError, match="none"):
        async with mcp_tools(odd_server(), only=["a"]):
            raise AssertionError
    with pytest.raises(ToolDefinitionError):
        async with mcp_tools(server, rename={"a": "not a name"}):
            raise AssertionError
    for refused in (["a/b", "a.b"], ["read_result"], ["find_tools"], ["final_answer"]):
        with pytest.raises(ConfigurationError, match="use rename or prefix"):
            async with mcp_tools(odd_server(*map(listed, refused))):
                raise AssertionError
        async with mcp_tools(odd_server(listed(refused[0])), prefix="x_") as tools:
            assert len(tools) == 1


@ASYNCIO
async def test_names_that_endpoints_refuse_are_changed() -> None:
    names = "files/read.text", "é" + "x" * 100

    def call(name: str, _: Arguments) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=name)])

    async with mcp_tools(odd_server(*map(listed, names), call=call)) as tools:
        assert [tool.name for tool in tools] == ["files_read_text", "_" + "x" * 63]
        assert (await result_of(tools, "files_read_text")).content == "files/read.text"


@ASYNCIO
async def test_every_page_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    server = odd_server(*[listed(f"t{number}") for number in range(7)], page=3)
    for limit, length in ((1000, 7), (2, 6)):
        monkeypatch.setattr("agentkit.mcp.connection._MAX_PAGES", limit)
        async with mcp_tools(server) as tools:
            assert len(tools) == length


@ASYNCIO
@pytest.mark.parametrize(("schema", "arguments", "refused"), [
    ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, {}, "n: Field required"),
    ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": "x"}, "n: Input should be a valid integer"),
])  # fmt: skip
async def test_arguments_are_checked(schema: Any, arguments: Any, refused: str) -> None:
    await arguments_are(schema, arguments, refused)


@ASYNCIO
@pytest.mark.parametrize("schema", [
    {"type": "object", "properties": {"n": {"type": "colour"}}},
    {"type": "object", "properties": {"n": {"type": "string", "pattern": "("}}},
    {"type": "object", "properties": {"n": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
])  # fmt: skip
async def test_arguments_are_not_checked_if_the_schema_cannot_be_enforced(schema: Any) -> None:
    with pytest.warns(UserWarning, match="offered without enforcement: look"):
        await arguments_are(schema, {"n": 1}, "")


async def arguments_are(schema: Any, arguments: Any, refused: str) -> None:
    sent: list[Arguments] = []

    def call(_: str, arguments: Arguments) -> types.CallToolResult:
        sent.append(arguments)
        return types.CallToolResult(content=[])

    async with mcp_tools(odd_server(listed(schema=schema), call=call)) as tools:
        (only,) = tools
        assert only.spec.parameters == schema
        content = (await result_of(tools, "look", arguments)).content
    assert refused in content
    assert sent == ([] if refused else [arguments])


TEXT = types.TextContent(text="a")
BLOB = types.BlobResourceContents(uri="file:///a", blob="AAAA")


@ASYNCIO
@pytest.mark.parametrize(("content", "read", "images"), [
    ([], "", 0), ([TEXT, TEXT], "a\na", 0),
    ([types.ImageContent(data="AAAA", mime_type="image/png")], "The image is shown after the results.", 1),
    ([TEXT, types.ImageContent(data="AAAA", mime_type="image/png")], "a", 1),
    ([types.AudioContent(data="AAAA", mime_type="audio/wav")], "[audio that cannot be shown: audio/wav]", 0),
    ([types.ResourceLink(name="log", uri="file:///log")], "[log: file:///log]", 0),
    ([types.ResourceLink(name="log", uri="file:///log", description="Today's.")], "[log: file:///log] Today's.", 0),
    ([types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///a", text="inside"))], "inside", 0),
    ([types.EmbeddedResource(resource=BLOB)], "[a file that cannot be shown: file:///a, unknown type]", 0),
    ([types.EmbeddedResource(resource=BLOB.model_copy(update={"mime_type": "image/gif"})), TEXT], "a", 1),
])  # fmt: skip
async def test_content_is_read(content: Any, read: str, images: int) -> None:
    result = await returned(*content)
    assert (result.content, len(result.images), result.outcome) == (read, images, "ok")


@ASYNCIO
@pytest.mark.parametrize(("texts", "structured", "read"), [
    ([], {"a": 1}, '{"a":1}'), (['{ "a": 1 }'], {"a": 1}, '{ "a": 1 }'), (["5"], {"result": 5}, "5"), (["five"], {"result": "five"}, "five"),
    (["1", "2"], {"result": [1, 2]}, "1\n2"), (["one thing found"], {"things": [1]}, "one thing found"),
    ([" "], {"a": 1}, '{"a":1}'), ([""], None, ""),
])  # fmt: skip
async def test_structured_content_is_read_once(texts: list[str], structured: Any, read: str) -> None:
    result = await returned(*[types.TextContent(text=text) for text in texts], structured_content=structured)
    assert result.content == read


@ASYNCIO
async def test_an_image_is_not_read_as_structured_content_too() -> None:
    image = types.ImageContent(data="AAAA" * 1_000, mime_type="image/png")
    result = await returned(image, structured_content={"result": image.model_dump()})
    assert (result.content, len(result.images)) == ("The image is shown after the results.", 1)


@ASYNCIO
async def test_the_schema_of_results_is_not_checked() -> None:
    """It may have a pattern that takes for ever, or be wrong."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}, "required": ["b"]}

    def call(*_: object) -> types.CallToolResult:
        return types.CallToolResult(content=[], structured_content={"a": "a" * 40 + "!"})

    async with mcp_tools(odd_server(listed(output_schema=schema), call=call)) as tools:
        assert (await result_of(tools, "look")).outcome == "ok"


@ASYNCIO
async def test_errors_of_a_tool_and_of_the_protocol() -> None:
    for content in ([TEXT], []):
        failed = await returned(*content, is_error=True)
        assert (failed.content != "", failed.outcome) == (True, "error")

    def call(*_: object) -> types.CallToolResult:
        raise MCPError(types.INVALID_PARAMS, "no such colour")

    async with mcp_tools(odd_server(listed(), call=call)) as tools:
        assert (await result_of(tools, "look")).content == "no such colour"


HINTS = {
    "silent": None,
    "reads": types.ToolAnnotations(read_only_hint=True),
    "adds": types.ToolAnnotations(destructive_hint=False),
    "adds_once": types.ToolAnnotations(destructive_hint=False, idempotent_hint=True),
    "removes": types.ToolAnnotations(destructive_hint=True, idempotent_hint=True),
}


@ASYNCIO
@pytest.mark.parametrize(("approval", "waiting"), [
    (False, set[str]()), (True, set(HINTS)), ("destructive", {"silent", "removes"}),
])  # fmt: skip
async def test_hints_decide_what_waits_for_approval_and_what_must_not_happen_twice(
    approval: Any, waiting: set[str]
) -> None:
    server = odd_server(*[listed(name, annotations=hints) for name, hints in HINTS.items()])
    async with mcp_tools(server, approval=approval) as tools:
        assert {tool.name for tool in tools if tool.options.approval} == waiting
        assert not any(tool.options.effect for tool in tools)
        paused = await agent(tools, called(*[(name, "{}") for name in waiting] or [("none", "{}")])).run("Go.")
        assert {call.name for call in paused.pending} == waiting
    async with mcp_tools(server, once=True) as tools:
        assert {tool.name for tool in tools if tool.options.effect == "once"} == {"silent", "adds"}


async def test_secrets_do_not_show() -> None:
    http = HttpServer("https://example.com/mcp?key=sk-in-the-query", {"Authorization": "Bearer sk-very-secret"})
    assert "sk-" not in f"{SCRIPT} {SCRIPT!r} {http} {http!r}"
    loud = StdioServer("/no/such/sk-very-secret", (), {"KEY": "/no/such/sk-very-secret"})
    with pytest.raises(ServerFailed, match="'…'") as raised:
        async with mcp_tools(loud):
            raise AssertionError
    assert raised.value.__context__ is None


@contextmanager
def over_http(server: Server[Any]) -> Generator[tuple[str, list[dict[str, str]]]]:
    """Serve over streamable HTTP, and yield the address and the headers that come."""
    received: list[dict[str, str]] = []

    def factory() -> Callable[[Any, Any, Any], Awaitable[None]]:
        app = server.streamable_http_app()  # it takes locks of the event loop that it is made in

        async def listening(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                received.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await app(scope, receive, send)

        return listening

    config = uvicorn.Config(factory, factory=True, port=0, log_level=logging.CRITICAL, ws="none")
    served = uvicorn.Server(config)
    with config.bind_socket() as listener:
        listener.listen()
        thread = Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", received
        finally:
            served.should_exit = True
            thread.join()


# On trio the SDK leaves the streams of answers to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
async def test_a_server_over_http() -> None:
    headers = {"Authorization": "Bearer sk-very-secret"}
    with over_http(mcp_server([add, count])) as (url, received):
        async with mcp_tools(HttpServer(url, headers)) as tools:
            result = await agent(tools, called(("add", {"left": 1, "right": 2}), ("count", {"to": 2}))).run("Go.")
    assert [message.content for message in results_of(result)] == ["3", "2 of 2"]
    assert all(headers["authorization"] == "Bearer sk-very-secret" for headers in received)


def test_without_the_package_the_extra_is_named_and_nothing_else_imports_it() -> None:
    code = """
import sys, agentkit, agentkit.testing
print([name for name in sys.modules if "mcp" in name])
sys.modules["mcp"] = None
try:
    import agentkit.mcp
except agentkit.MissingExtra as error:
    print(error)
"""
    child = [sys.executable, "-c", code]
    printed = subprocess.run(child, capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603 (the tests' own code)
    assert re.fullmatch(r"\[\]\n.*`mcp`.*\n", printed)


def test_the_extra_is_named_where_the_package_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentkit.mcp.client", None)
    with pytest.raises(MissingExtra):
        runpy.run_path(agentkit.mcp.__file__)
