"""The tools of servers as tools of agents: a server of someone else's, our own, and odd ones."""

import logging
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
    ToolFinished,
    ToolMessage,
    ToolProgress,
)
from agentkit.mcp import HttpServer, ServerFailed, StdioServer, mcp_server, mcp_tools
from tests.mcp_script import LAMP, TOOLS, add, count, wait
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
SCRIPT = StdioServer(sys.executable, ("-m", "tests.mcp_script"), {"MCP_SCRIPT_KEY": "sk-very-secret"}, ROOT)
SAID = "the Model Context Protocol needs its SDK, the extra `mcp`: pip install 'mcp>=2.3'"
CLOCK = StdioServer(sys.executable, ("-m", "mcp_server_time", "--local-timezone", "Europe/Rome"))


def agent(tools: Toolbox, *plays: AssistantMessage, **options: Any) -> Agent[None, str]:
    return Agent(Scripted(*plays, said("done")), tools=[tools], **options)


def answers(result: Result[str]) -> list[ToolMessage]:
    return [each for each in result.new_messages if isinstance(each, ToolMessage)]


async def answer(tools: Toolbox, name: str, arguments: object = None) -> ToolMessage:
    (only,) = answers(await agent(tools, called((name, arguments or {}))).run("Go."))
    return only


Given = dict[str, Any] | None


def odd_server(
    *tools: types.Tool, call: Callable[[str, Given], types.CallToolResult] | None = None, page: int = 100
) -> Server[Any]:
    """A server of the SDK whose tools are told as they are, so many on a page."""

    async def list_tools(_: object, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        begin = int((params and params.cursor) or 0)
        end = begin + page
        return types.ListToolsResult(tools=list(tools[begin:end]), next_cursor=str(end) if end < len(tools) else None)

    async def call_tool(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        assert call is not None
        return call(params.name, params.arguments)

    return Server("odd", on_list_tools=list_tools, on_call_tool=call_tool)


def told(name: str = "look", **more: Any) -> types.Tool:
    return types.Tool(name=name, input_schema=more.pop("schema", {"type": "object"}), **more)


async def returned(*content: types.ContentBlock, **more: Any) -> ToolMessage:
    def call(_: str, __: Given) -> types.CallToolResult:
        return types.CallToolResult(content=list(content), **more)

    server = odd_server(told(), call=call)
    async with mcp_tools(server) as tools:
        return await answer(tools, "look")


async def test_a_server_of_someone_else_is_a_toolbox() -> None:
    async with mcp_tools(CLOCK, prefix="time_") as tools:
        assert tools.names == {"time_get_current_time", "time_convert_time"}
        convert = tools.get("time_convert_time")
        assert convert is not None
        assert convert.spec.description == "Convert time between timezones"
        assert convert.spec.parameters["required"] == ["source_timezone", "time", "target_timezone"]
        noon = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"}
        result = await agent(
            tools,
            called(("time_convert_time", noon), ("time_get_current_time", {"timezone": "Mars"})),
            called(("time_get_current_time", {})),
        ).run("What time is it?")
    converted, no_such_zone, incomplete = answers(result)
    assert '"time_difference": "-3.5h"' in converted.content
    assert converted.content.count("time_difference") == 1
    assert (no_such_zone.outcome, "No time zone found with key Mars" in no_such_zone.content) == ("error", True)
    assert "timezone: Field required" in incomplete.content
    assert result.output == "done"


async def test_our_own_server_goes_there_and_back() -> None:
    async with mcp_tools(SCRIPT) as tools:
        ours = Toolbox(TOOLS)
        assert [(each.name, each.spec.parameters) for each in tools if each.name != "ask_poet"] == [
            (each.name, each.spec.parameters) for each in ours
        ]
        result = await agent(
            tools,
            called(
                ("add", {"left": 2, "right": 3}),
                ("photograph", {"where": "lamp"}),
                ("fail", {"how": "told"}),
                ("pay", {"amount": 3}),
                ("ask_poet", {"prompt": "A line."}),
                ("whoami", {}),
            ),
        ).run("Go.")
    added, photo, failed, paid, line, who = answers(result)
    assert (added.content, added.outcome) == ("5", "ok")
    assert photo.content == "the lamp\n[image: https://example.com/lamp.png]"
    assert photo.images == (ImagePart(LAMP),)
    assert (failed.content, failed.outcome) == ("told", "error")
    assert (paid.content, paid.outcome) == ("Not run: nobody was there to allow this call.", "error")
    assert line.content == "Roses are red."
    assert who.content == "Ann sk-very-secret"


async def test_many_runs_call_at_once_and_one_that_stops_is_stopped_at_the_server() -> None:
    async with mcp_tools(SCRIPT) as tools:
        found: dict[int, list[str]] = {}

        async def one(number: int) -> None:
            calls = called(*[("add", {"left": number, "right": at}) for at in range(5)])
            found[number] = [each.content for each in answers(await agent(tools, calls).run("Go."))]

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, number)
        assert found == {number: [str(number + at) for at in range(5)] for number in range(10)}
        async with agent(tools, called(("wait", {}))).stream("Go.") as run:
            async for event in run:
                if isinstance(event, ToolProgress):
                    break
        assert (await answer(tools, "was_stopped")).content == '["wait"]'


async def test_progress_is_told() -> None:
    events: list[Event] = []
    async with mcp_tools(mcp_server([count])) as tools:
        await agent(tools, called(("count", {"to": 2})), observers=[events.append]).run("Go.")
    values = [each.value for each in events if isinstance(each, ToolProgress)]
    assert values == [{"progress": 1.0, "message": "1 of 2"}, {"progress": 2.0, "message": "2 of 2"}]


async def test_progress_that_comes_after_the_answer_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Callable[[float, float, str], Awaitable[None]]] = []

    async def call_tool(_: object, __: str, ___: object, ____: float, tell: Any) -> types.CallToolResult:
        later.append(tell)
        return types.CallToolResult(content=[TEXT])

    monkeypatch.setattr(Client, "call_tool", call_tool)
    async with mcp_tools(mcp_server([count])) as tools:
        assert (await answer(tools, "count", {"to": 2})).content == "a"
        await later[0](1.0, 2.0, "late")


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with mcp_tools(mcp_server([wait]), timeout=1) as tools:
        late = await answer(tools, "wait")
    assert (late.content, late.outcome) == ("wait did not finish in 1 s", "error")


async def test_a_server_that_ends_in_a_call() -> None:
    events: list[Event] = []
    async with mcp_tools(SCRIPT) as tools:
        plays = called(("die", {})), called(("add", {"left": 1, "right": 2}))
        result = await agent(tools, *plays, observers=[events.append]).run("Go.")
    assert result.output == "done"
    name = Path(sys.executable).name
    assert [each.content for each in answers(result)] == [f"the MCP server {name} failed: Connection closed"] * 2
    assert all(isinstance(each.error, ServerFailed) for each in events if isinstance(each, ToolFinished))


async def test_a_server_that_cannot_be_started() -> None:
    with pytest.raises(ServerFailed, match="the MCP server no-such-program could not be opened: FileNotFoundError"):
        async with mcp_tools(StdioServer("no-such-program")):
            raise AssertionError


async def test_a_program_that_is_no_server() -> None:
    with pytest.raises(ServerFailed, match="could not be opened: Connection closed"):
        async with mcp_tools(StdioServer(sys.executable, ["-c", ""])):
            raise AssertionError


async def test_what_is_raised_in_the_block_is_raised_as_it_is() -> None:
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as raised:
        async with mcp_tools(odd_server(told())):
            raise boom
    assert raised.value is boom


async def test_a_session_that_breaks_off_ends_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def breaking(_: object) -> AsyncGenerator[dict[str, Any]]:
        yield {}
        raise OSError("gone")

    server = odd_server(told())
    server.lifespan = breaking
    with pytest.raises(ServerFailed, match="the MCP server odd broke off: OSError: gone"):
        async with mcp_tools(server):
            pass


async def test_a_closed_session_is_told() -> None:
    async with mcp_tools(mcp_server([add])) as tools:
        pass
    assert (await answer(tools, "add", {"left": 1, "right": 2})).content.startswith("the MCP server agentkit failed:")


async def test_another_event_loop_is_told_where_the_tools_belong() -> None:
    async with mcp_tools(mcp_server([add])) as tools:
        plays = called(("add", {"left": 1, "right": 2}))
        result = await anyio.to_thread.run_sync(lambda: agent(tools, plays).run_sync("Go."))
    assert "was opened in another event loop" in answers(result)[0].content


async def test_names_are_chosen_prefixed_and_changed() -> None:
    server = odd_server(told("a"), told("b"), told("c"))
    async with mcp_tools(server, only=["b", "c"], rename={"c": "see"}, prefix="x_") as tools:
        assert [each.name for each in tools] == ["x_b", "see"]
    for wrong in ({"only": ["d"]}, {"rename": {"d": "e"}}):
        with pytest.raises(ConfigurationError, match="the server has no tool 'd'; it has a, b, c"):
            async with mcp_tools(server, **wrong):  # pyright: ignore[reportArgumentType]
                raise AssertionError
    with pytest.raises(ConfigurationError, match="two tools have the name"):
        async with mcp_tools(server, rename={"a": "b"}):
            raise AssertionError
    with pytest.raises(ConfigurationError, match="it has none"):
        async with mcp_tools(odd_server(), only=["a"]):
            raise AssertionError


async def test_names_that_endpoints_refuse_are_made_sound() -> None:
    names = "files/read.text", "é" + "x" * 100

    def call(name: str, _: Given) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=name)])

    async with mcp_tools(odd_server(*map(told, names), call=call)) as tools:
        assert [each.name for each in tools] == ["files_read_text", "_" + "x" * 63]
        assert (await answer(tools, "files_read_text")).content == "files/read.text"


async def test_every_page_is_read() -> None:
    server = odd_server(*[told(f"t{at}") for at in range(7)], page=3)
    async with mcp_tools(server) as tools:
        assert len(tools) == 7


async def test_pages_without_end_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.mcp.client._PAGES", 3)
    async with mcp_tools(odd_server(*[told(f"t{at}") for at in range(100)], page=1)) as tools:
        assert len(tools) == 3


@pytest.mark.parametrize(
    ("schema", "given", "refused"),
    [
        ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, {}, "n: Field required"),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            {"n": "x"},
            "n: Input should be a valid integer",
        ),
        ({"type": "object", "properties": {"n": {"type": "colour"}}}, {"n": 1}, ""),
        ({"type": "object", "properties": {"n": {"type": "string", "pattern": "("}}}, {"n": 1}, ""),
    ],
)
async def test_arguments_are_held_to_schemas_that_can_be_enforced(schema: Any, given: Any, refused: str) -> None:
    asked: list[Given] = []

    def call(_: str, arguments: Given) -> types.CallToolResult:
        asked.append(arguments)
        return types.CallToolResult(content=[])

    async with mcp_tools(odd_server(told(schema=schema), call=call)) as tools:
        (only,) = tools
        assert only.spec.parameters == schema
        content = (await answer(tools, "look", given)).content
    assert refused in content
    assert asked == ([] if refused else [given])


async def test_what_a_tool_is_told_by() -> None:
    async with mcp_tools(odd_server(told("a", description="Look."), told("b", title="A look"), told("c"))) as tools:
        assert [each.spec.description for each in tools] == ["Look.", "A look", ""]


TEXT = types.TextContent(text="a")
BLOB = types.BlobResourceContents(uri="file:///a", blob="AAAA")


@pytest.mark.parametrize(
    ("content", "read", "images"),
    [
        ([], "", 0),
        ([TEXT, TEXT], "a\na", 0),
        ([types.ImageContent(data="AAAA", mime_type="image/png")], "The image is shown after the results.", 1),
        ([TEXT, types.ImageContent(data="AAAA", mime_type="image/png")], "a", 1),
        ([types.AudioContent(data="AAAA", mime_type="audio/wav")], "[audio that cannot be shown: audio/wav]", 0),
        ([types.ResourceLink(name="log", uri="file:///log")], "[log: file:///log]", 0),
        ([types.ResourceLink(name="log", uri="file:///log", description="Today's.")], "[log: file:///log] Today's.", 0),
        ([types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///a", text="inside"))], "inside", 0),
        ([types.EmbeddedResource(resource=BLOB)], "[a file that cannot be shown: file:///a, of no known type]", 0),
        ([types.EmbeddedResource(resource=BLOB.model_copy(update={"mime_type": "image/gif"})), TEXT], "a", 1),
    ],
)
async def test_content_is_read(content: Any, read: str, images: int) -> None:
    answer = await returned(*content)
    assert (answer.content, len(answer.images), answer.outcome) == (read, images, "ok")


@pytest.mark.parametrize(
    ("texts", "structured", "read"),
    [
        ([], {"a": 1}, '{"a":1}'),
        (['{ "a": 1 }'], {"a": 1}, '{ "a": 1 }'),
        (["5"], {"result": 5}, "5"),
        (["five"], {"result": "five"}, "five"),
        (["1", "2"], {"result": [1, 2]}, "1\n2"),
        (["one thing found"], {"things": [1]}, 'one thing found\n{"things":[1]}'),
    ],
)
async def test_structured_content_is_read_once(texts: list[str], structured: Any, read: str) -> None:
    answer = await returned(*[types.TextContent(text=each) for each in texts], structured_content=structured)
    assert answer.content == read


async def test_an_error_is_told_as_what_the_tool_said() -> None:
    failed = await returned(TEXT, is_error=True)
    assert (failed.content, failed.outcome) == ("a", "error")
    assert (await returned(is_error=True)).content == "the tool failed and does not say why"


async def test_an_error_of_the_protocol_is_told_by_its_text() -> None:
    def call(*_: object) -> types.CallToolResult:
        raise MCPError(types.INVALID_PARAMS, "no such colour")

    async with mcp_tools(odd_server(told(), call=call)) as tools:
        assert (await answer(tools, "look")).content == "no such colour"


HINTS = {
    "silent": None,
    "reads": types.ToolAnnotations(read_only_hint=True),
    "adds": types.ToolAnnotations(destructive_hint=False),
    "adds_once": types.ToolAnnotations(destructive_hint=False, idempotent_hint=True),
    "removes": types.ToolAnnotations(destructive_hint=True, idempotent_hint=True),
}


@pytest.mark.parametrize(
    ("approval", "waiting"),
    [(False, set[str]()), (True, set(HINTS)), ("destructive", {"silent", "removes"})],
)
async def test_tools_that_may_destroy_wait_for_approval(approval: Any, waiting: set[str]) -> None:
    server = odd_server(*[told(name, annotations=hints) for name, hints in HINTS.items()])
    async with mcp_tools(server, approval=approval) as tools:
        assert {each.name for each in tools if each.options.approval} == waiting
        paused = await agent(tools, called(*[(name, "{}") for name in waiting] or [("none", "{}")])).run("Go.")
        assert {call.name for call in paused.pending} == waiting


async def test_effects_that_must_not_happen_twice() -> None:
    server = odd_server(*[told(name, annotations=hints) for name, hints in HINTS.items()])
    async with mcp_tools(server, once=True) as tools:
        assert {each.name for each in tools if each.options.effect == "once"} == {"silent", "adds"}
    async with mcp_tools(server) as tools:
        assert not any(each.options.effect for each in tools)


def test_secrets_do_not_show() -> None:
    http = HttpServer("https://example.com/mcp?key=sk-in-the-query", {"Authorization": "Bearer sk-very-secret"})
    for shown in (repr(SCRIPT), repr(http), str(http), f"{SCRIPT}"):
        assert "sk-" not in shown


async def test_a_secret_that_is_said_back_does_not_show() -> None:
    loud = StdioServer("/no/such/sk-very-secret", (), {"KEY": "/no/such/sk-very-secret"})
    with pytest.raises(ServerFailed, match=r"could not be opened: .*'…'") as raised:
        async with mcp_tools(loud):
            raise AssertionError
    assert raised.value.__context__ is None


@contextmanager
def over_http(server: Server[Any]) -> Generator[tuple[str, list[dict[str, str]]]]:
    """Serve over streamable HTTP: the address, and the headers that come."""
    heard: list[dict[str, str]] = []

    def factory() -> Callable[[Any, Any, Any], Awaitable[None]]:
        app = server.streamable_http_app()  # it takes locks of the event loop that it is made in

        async def listening(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                heard.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await app(scope, receive, send)

        return listening

    config = uvicorn.Config(factory, factory=True, port=0, log_level=logging.CRITICAL, ws="none")
    served = uvicorn.Server(config)
    with config.bind_socket() as listener:
        listener.listen()
        thread = Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", heard
        finally:
            served.should_exit = True
            thread.join()


# On trio the SDK leaves the streams of answers to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
async def test_a_server_over_http() -> None:
    headers = {"Authorization": "Bearer sk-very-secret"}
    with over_http(mcp_server([add, count])) as (url, heard):
        async with mcp_tools(HttpServer(url, headers)) as tools:
            result = await agent(tools, called(("add", {"left": 1, "right": 2}), ("count", {"to": 2}))).run("Go.")
    assert [each.content for each in answers(result)] == ["3", "2 of 2"]
    assert all(each["authorization"] == "Bearer sk-very-secret" for each in heard)


async def test_a_server_over_http_that_is_gone() -> None:
    with over_http(mcp_server([add])) as (url, _):
        pass
    with pytest.raises(ServerFailed, match=r"the MCP server 127\.0\.0\.1 could not be opened") as raised:
        async with mcp_tools(HttpServer(url, {"Authorization": "Bearer sk-very-secret"})):
            raise AssertionError
    assert "sk-" not in str(raised.value)


def test_without_the_package_the_extra_is_named() -> None:
    blocked = "import sys; sys.modules['mcp'] = None\n"
    tried = "import agentkit\ntry:\n    import agentkit.mcp\nexcept agentkit.MissingExtra as error:\n    print(error)"
    child = [sys.executable, "-c", blocked + tried]
    printed = subprocess.run(child, capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603 (the tests' own code)
    assert printed == f"{SAID}\n"


def test_the_extra_is_named_where_the_package_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentkit.mcp.client", None)
    with pytest.raises(MissingExtra, match="the extra `mcp`"):
        runpy.run_path(agentkit.mcp.__file__)


def test_nothing_else_imports_it() -> None:
    code = "import agentkit, agentkit.testing, sys; print([each for each in sys.modules if 'mcp' in each])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603 (as above)
    assert printed == "[]\n"
