import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from agentkit import Agent, ToolContext, tool
from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError, EndpointUnavailable
from agentkit.core.messages import AssistantMessage, ToolMessage
from agentkit.core.model import OnChunk
from agentkit.server import Bounds, ChatServer
from agentkit.tool_choice import before_answer, budget
from tests.scripted import Scripted, called, said
from tests.server.served import KEY, THEIRS, Json, Wire, ask, asking, client, events_of, message_of, search

pytestmark = pytest.mark.anyio

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Where nothing is concurrent, one backend is enough."""
BODY = json.dumps(asking()).encode()


class Held:
    """A model that answers once it is set free."""

    name = "held"

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.free = anyio.Event()
        self.stopped = False

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        self.asked.set()
        try:
            await self.free.wait()
        except BaseException:
            self.stopped = True
            raise
        return await Scripted(said("At last.")).complete(request, on_chunk)


def server(*plays: Any, **options: Any) -> ChatServer:
    return ChatServer(Agent(Scripted(*(plays or (said("Hi"),))), tools=[search]), **options)


def error_in(response: httpx.Response) -> Json:
    error: Json = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def results_in(request: ChatRequest) -> list[str]:
    return [message.content for message in request.messages if isinstance(message, ToolMessage)]


@ASYNCIO
@pytest.mark.parametrize(("method", "path", "status", "allow"), [
    ("GET", "/healthz", 200, None), ("HEAD", "/healthz", 200, None), ("GET", "/v1/models", 200, None), ("GET", "/v1/models/", 200, None),
    ("GET", "/v1/models/agent", 200, None), ("GET", "/v1/models/agent/", 200, None),
    ("GET", "/v1/models/other", 404, None), ("GET", "/v1/other", 404, None), ("GET", "/", 404, None), ("POST", "/other", 404, None),
    ("GET", "/v1/chat/completions", 405, "POST"), ("OPTIONS", "/v1/chat/completions", 405, "POST"),
    ("POST", "/v1/models", 405, "GET, HEAD"), ("DELETE", "/v1/models/agent", 405, "GET, HEAD"), ("POST", "/healthz", 405, "GET, HEAD"),
])  # fmt: skip
async def test_routes(method: str, path: str, status: int, allow: str | None) -> None:
    async with client(server()) as http:
        response = await http.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)
    if status != 200:
        error_in(response)


@ASYNCIO
async def test_the_models_are_the_agents() -> None:
    app = ChatServer({"org/one": Agent(Scripted(said("1"))), "two": Agent(Scripted(said("2")))})
    async with client(app) as http:
        models = (await http.get("/v1/models")).json()["data"]
        assert models[0] == (await http.get("/v1/models/org/one")).json()
    assert [model["id"] for model in models] == ["org/one", "two"]
    assert (await ask(app, asking(model="two"))).json()["choices"][0]["message"]["content"] == "2"
    missing = await ask(app, asking(model="three"))
    error = error_in(missing)
    assert (missing.status_code, error["param"], error["code"]) == (404, "model", "model_not_found")
    assert repr(app) == "ChatServer(org/one, two)"
    with pytest.raises(ConfigurationError):
        ChatServer({})


@ASYNCIO
@pytest.mark.parametrize(("body", "headers", "status"), [
    (BODY, {"content-type": "text/plain"}, 415), (BODY, {"content-type": ""}, 415), (BODY, {"content-encoding": "gzip"}, 415),
    (BODY, {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"}, 200),
    (b"{", {}, 400), (b"[" * 100_000, {}, 400), (b"\xff", {}, 400), (b'{"model": NaN}', {}, 400), (b"x" * 2001, {}, 413),
])  # fmt: skip
async def test_bodies(body: bytes, headers: dict[str, str], status: int) -> None:
    async with client(server(bounds=Bounds(body=2000 if status == 413 else 1_000_000))) as http:
        sent = {"content-type": "application/json", **headers}
        response = await http.post("/v1/chat/completions/", content=body, headers=sent)
    assert response.status_code == status
    if status != 200:
        error_in(response)


@ASYNCIO
async def test_a_large_request_and_one_of_many_values() -> None:
    commas = json.dumps(asking('[],{}: "' * 20_000)).encode()
    headers = {"content-type": "application/json"}
    for body, values, status in ((commas, 20, 200), (commas[:-1], 20, 400), (BODY, 10, 200), (BODY, 9, 413)):
        async with client(server(bounds=Bounds(values=values))) as http:
            response = await http.post("/v1/chat/completions", content=body, headers=headers)
        assert response.status_code == status
        assert status == 200 or error_in(response)["code"] == (None if status == 400 else "request_too_large")


async def test_a_key_is_needed_before_anything_is_read() -> None:
    app = server(keys=[KEY], page=True)
    async with client(app) as http:
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/agent"), ("POST", "/v1/chat/completions")):
            response = await http.request(method, path, content=b"{", headers={"authorization": "Bearer no"})
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert error_in(response)["code"] == "invalid_api_key"
        assert (await http.get("/healthz")).status_code == 200
        page = await http.get("/")
    assert (page.status_code, "<title>" in page.text) == (200, True)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    async with client(app, KEY) as http:
        assert (await http.post("/v1/chat/completions", json=asking())).status_code == 200
    assert (await ask(server(), host="evil.example")).status_code == 403
    assert (await ask(server(hosts=["chat.lan"]), host="chat.lan:80")).status_code == 200


@ASYNCIO
async def test_events_are_sent_only_where_the_server_does_that() -> None:
    for allowed in (False, True):
        app = server(called(("search", {})), said("Hi"), events=allowed)
        response = await ask(app, asking(stream=True, stream_options={"include_events": True}))
        assert ('"tool_started"' in response.text) is allowed


async def test_an_error_is_the_last_event_of_a_stream_and_after_tools_had_run_the_client_is_asked_not_to_retry() -> (
    None
):
    broken = EndpointUnavailable("sk-upstream", status=500)
    app = server(AssistantMessage("Wait.", called(("search", {})).tool_calls), broken)
    response = await ask(app, asking(stream=True))
    *events, last = events_of(response.text)
    assert (response.status_code, message_of(events)["content"]) == (200, "Wait.")
    assert last["error"]["code"] == "upstream_error"
    assert (await ask(server(called(("search", {})), broken))).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in (await ask(server(broken))).headers
    assert (await ask(server(broken), asking(n=2))).headers["x-should-retry"] == "false"  # another of the runs may have


@ASYNCIO
async def test_its_own_errors_are_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("sk-internal")

    monkeypatch.setattr("agentkit.server.app.parse_request", broken)
    with caplog.at_level(logging.ERROR, "agentkit.server"):
        response = await ask(server())
    assert response.status_code == 500
    assert "sk-internal" not in response.text
    assert error_in(response)["message"].split()[-1].rstrip(")") in caplog.text


async def result_of(app: ChatServer, body: Json, message: Json, **headers: str) -> Json:
    """Send the client's result of a call, and return the next message."""
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "yes"}
    response = await ask(app, {**body, "messages": [*body["messages"], message, result]}, **headers)
    return dict(response.json()["choices"][0]["message"])


@ASYNCIO
async def test_calls_belong_to_a_key() -> None:
    model = Scripted(called(("search", {"query": "x"})), called(("ask_user", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search]), keys=[KEY, "sk-2"])
    body = asking(tools=THEIRS)
    message = (await ask(app, body, authorization=f"Bearer {KEY}")).json()["choices"][0]["message"]
    for key, results in (("sk-2", ["yes"]), (KEY, ["found x", "yes"])):
        await result_of(app, body, message, authorization=f"Bearer {key}")
        assert results_in(model.requests[-1]) == results


@ASYNCIO
@pytest.mark.parametrize("parallel", [True, False])
async def test_one_call_at_a_time(parallel: bool) -> None:
    app = server(called(("ask_user", {}), ("ask_user", {"more": 1})))
    message = (await ask(app, asking(tools=THEIRS, parallel_tool_calls=parallel))).json()["choices"][0]["message"]
    assert len(message["tool_calls"]) == (2 if parallel else 1)


@ASYNCIO
async def test_the_agents_policy_judges_its_calls_also_beside_the_clients_tools() -> None:
    model = Scripted(called(("search", {"query": "x"}), ("search", {"query": "y"})), said("Done."))
    app = ChatServer(Agent(model, tools=[search], tool_choice=budget(1)))
    await ask(app, asking(tools=THEIRS))
    found, denied = results_in(model.requests[-1])
    assert found.startswith("found x")
    assert denied.startswith("Not run")


@ASYNCIO
async def test_only_some_of_the_clients_tools() -> None:
    model = Scripted(said("Done."))
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": THEIRS}}
    other = {"type": "function", "function": {"name": "open_page"}}
    await ask(ChatServer(Agent(model, tools=[search])), asking(tools=[*THEIRS, other], tool_choice=some))
    assert [tool.name for tool in model.requests[0].tools] == ["search", "ask_user"]


@ASYNCIO
async def test_the_agents_policy_remembers_the_steps_before_the_clients_calls() -> None:
    model = Scripted(called(("search", {})), called(("ask_user", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search], tool_choice=before_answer(search) & budget(2)))
    body = asking(tools=THEIRS)
    message = (await ask(app, body)).json()["choices"][0]["message"]
    await result_of(app, body, message)
    # After two calls, the agent's own tools are withheld, and the client's are not.
    choices = [(request.tool_choice.mode, request.tool_choice.tools) for request in model.requests]
    assert choices == [("required", None), ("auto", None), ("auto", frozenset({"ask_user"}))]


@ASYNCIO
async def test_dependencies_and_the_approver() -> None:
    @tool(approval=True)
    def whose(ctx: ToolContext[str]) -> str:
        return ctx.deps

    model = Scripted(called(("whose", {})), said("Done."))
    agent = Agent(model, tools=[whose], deps_type=str)
    with pytest.raises(ConfigurationError, match="deps"):
        ChatServer(agent)
    await ask(ChatServer(agent, deps="mine", approver=lambda _: True))
    assert results_in(model.requests[-1]) == ["mine"]


@ASYNCIO
async def test_fields_that_are_passed_on() -> None:
    model = Scripted(said("Hi"))
    app = ChatServer(Agent(model), passed=["top_k"])
    await ask(app, asking(top_k=3, seed=4, other=5, temperature=0))
    assert json.loads(b"{" + model.requests[0].settings.encoded + b"}") == {
        "temperature": 0, "seed": 4, "top_k": 3,
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="temperature"):
        ChatServer(Agent(model), passed=["temperature"])


async def test_one_more_than_there_are_places() -> None:
    model = Held()
    app = ChatServer(Agent(model), bounds=Bounds(requests=1))
    wire = Wire(app, BODY)
    async with anyio.create_task_group() as group:
        group.start_soon(wire.run)
        await model.asked.wait()
        full = await ask(app)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert error_in(full)["code"] == "server_busy"
        model.free.set()
    assert wire.status == 200
    assert (await ask(app)).status_code == 200


async def test_a_client_that_goes_away_is_not_answered_and_a_websocket_is_closed() -> None:
    wire = Wire(server())
    wire.body = []
    wire.left.set()
    await wire.run()
    assert wire.sent == []
    socket = Wire(server(), type="websocket")
    await socket.run()
    assert socket.sent == [{"type": "websocket.close", "code": 1000}]


async def test_a_run_ends_when_its_client_goes_away() -> None:
    model = Held()
    wire = Wire(ChatServer(Agent(model)), BODY)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(wire.run)
            await model.asked.wait()
            wire.left.set()
    assert (wire.sent, model.stopped) == ([], True)


async def test_a_stream_is_kept_alive_while_nothing_is_said() -> None:
    model = Held()
    wire = Wire(ChatServer(Agent(model), bounds=Bounds(alive=0.01)), json.dumps(asking(stream=True)).encode())
    async with anyio.create_task_group() as group:
        group.start_soon(wire.run)
        await wire.begun.wait()
        model.free.set()
    assert ": still at work\n\n" in wire.text
    assert message_of(events_of(wire.text))["content"] == "At last."


async def live(app: ChatServer, stop: anyio.Event, sent: list[str]) -> None:
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Json:
        if len(messages) == 1:
            await stop.wait()
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)


async def test_a_server_that_stops_lets_requests_end() -> None:
    model, stop = Held(), anyio.Event()
    app = ChatServer(Agent(model))
    wire, sent = Wire(app, BODY), list[str]()
    async with anyio.create_task_group() as group:
        group.start_soon(live, app, stop, sent)
        group.start_soon(wire.run)
        await model.asked.wait()
        assert sent == ["lifespan.startup.complete"]
        stop.set()
        await anyio.wait_all_tasks_blocked()
        refused = await ask(app)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        async with client(app) as http:
            assert (await http.get("/healthz")).status_code == 503
        model.free.set()
    assert (wire.status, sent[-1]) == (200, "lifespan.shutdown.complete")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_stops_does_not_wait_for_ever(stream: bool) -> None:
    model = Held()
    app = ChatServer(Agent(model), bounds=Bounds(grace=0.05, alive=0.01))
    wire = Wire(app, json.dumps(asking(stream=stream)).encode())
    async with anyio.create_task_group() as group:
        group.start_soon(wire.run)
        await (wire.begun.wait() if stream else model.asked.wait())
        await app.drain()
    assert model.stopped
    assert wire.status == (200 if stream else 503)
    assert '"stopping"' in wire.text


async def test_a_server_that_began_anew_takes_requests() -> None:
    app, stop, sent = server(), anyio.Event(), list[str]()
    await app.drain()
    assert (await ask(app)).status_code == 503
    async with anyio.create_task_group() as group:
        group.start_soon(live, app, stop, sent)
        await anyio.wait_all_tasks_blocked()
        assert sent == ["lifespan.startup.complete"]
        assert (await ask(app)).status_code == 200
        stop.set()


async def test_an_agent_is_opened_in_the_lifespan_of_the_server() -> None:
    held: list[str] = []

    @asynccontextmanager
    async def opens() -> AsyncGenerator[Agent]:
        held.append("open")
        yield Agent(Scripted(said("Hi"), said("Hi")), tools=[search])
        held.append("closed")

    app, stop = ChatServer({"agent": opens}), anyio.Event()
    assert repr(app) == "ChatServer(agent)"
    assert (await ask(app)).status_code == 503
    for _ in range(2):
        stop, sent = anyio.Event(), list[str]()
        async with anyio.create_task_group() as group:
            group.start_soon(live, app, stop, sent)
            await anyio.wait_all_tasks_blocked()
            assert (await ask(app)).status_code == 200
            stop.set()
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert held == ["open", "closed"] * 2


@ASYNCIO
async def test_a_server_does_not_start_if_an_agent_cannot_be_opened() -> None:
    def fails() -> AbstractAsyncContextManager[Agent]:
        raise OSError("no such server")

    @asynccontextmanager
    async def needy() -> AsyncGenerator[Agent[Any]]:
        yield Agent(Scripted(said("Hi")), deps_type=dict)

    for opens in (fails, needy):
        sent: list[str] = []
        await live(ChatServer({"agent": opens}), anyio.Event(), sent)
        assert sent == ["lifespan.startup.failed"]


async def test_a_client_that_reads_nothing_does_not_hold_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.server.app._SPARE", 0.0)
    monkeypatch.setattr("agentkit.server.asgi._ERROR_SECONDS", 0.01)
    app = server(bounds=Bounds(seconds=0.5))
    wire = Wire(app, json.dumps(asking(stream=True)).encode())

    async def send(_: Any) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(60):
        await app(wire.scope, wire.receive, send)
    assert (await ask(app)).status_code == 200
