import json
import logging
from typing import Any

import anyio
import httpx
import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    EndpointUnavailable,
    Limits,
    RateLimited,
    ToolContext,
    ToolMessage,
    tool,
)
from agentkit.core.model import OnChunk
from agentkit.server import Bounds, ChatServer
from agentkit.tool_choice import before_answer, budget
from tests.scripted import Scripted, called, said
from tests.server.served import KEY, Json, Wire, ask, asking, client, events_of, told_in

pytestmark = pytest.mark.anyio

THEIRS = [{"type": "function", "function": {"name": "ask_user"}}]
BODY = json.dumps(asking()).encode()


@tool
def search(query: str = "") -> str:
    """Search."""
    return f"found {query}"


class Held:
    """A model that answers when it is let."""

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


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/healthz", 200, None),
        ("HEAD", "/healthz", 200, None),
        ("GET", "/v1/models", 200, None),
        ("GET", "/v1/models/", 200, None),
        ("GET", "/v1/models/agent", 200, None),
        ("GET", "/v1/models/agent/", 200, None),
        ("GET", "/v1/models/other", 404, None),
        ("GET", "/v1/other", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/other", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("OPTIONS", "/v1/chat/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("DELETE", "/v1/models/agent", 405, "GET, HEAD"),
        ("POST", "/healthz", 405, "GET, HEAD"),
    ],
)
async def test_routes(method: str, path: str, status: int, allow: str | None) -> None:
    async with client(server()) as http:
        response = await http.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)
    if status != 200:
        error_in(response)


async def test_the_models_are_the_agents() -> None:
    app = ChatServer({"org/one": Agent(Scripted(said("1"))), "two": Agent(Scripted(said("2")))})
    async with client(app) as http:
        listed = (await http.get("/v1/models")).json()
        one = (await http.get("/v1/models/org/one")).json()
    assert [each["id"] for each in listed["data"]] == ["org/one", "two"]
    assert listed["data"][0] == one
    assert (await ask(app, asking(model="two"))).json()["choices"][0]["message"]["content"] == "2"
    missing = await ask(app, asking(model="three"))
    assert missing.status_code == 404
    assert error_in(missing) | {"message": ""} == {
        "message": "", "type": "invalid_request_error", "param": "model", "code": "model_not_found",
    }  # fmt: skip
    assert repr(app) == "ChatServer(org/one, two)"


async def test_a_trailing_slash() -> None:
    assert (await ask(server(), path="/v1/chat/completions/")).status_code == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (BODY, {"content-type": "text/plain"}, 415),
        (BODY, {"content-type": ""}, 415),
        (BODY, {"content-encoding": "gzip"}, 415),
        (BODY, {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"}, 200),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"\xff", {}, 400),
        (b'{"model": NaN}', {}, 400),
        (b"x" * 2001, {}, 413),
    ],
)
async def test_bodies(body: bytes, headers: dict[str, str], status: int) -> None:
    async with client(server(bounds=Bounds(body=2000 if status == 413 else 1_000_000))) as http:
        given = {"content-type": "application/json", **headers}
        response = await http.post("/v1/chat/completions", content=body, headers=given)
    assert response.status_code == status
    if status != 200:
        error_in(response)


async def test_a_key_is_needed_before_anything_is_read() -> None:
    app = server(keys=[KEY])
    async with client(app) as http:
        for response in (
            await http.get("/v1/models"),
            await http.get("/v1/models/agent"),
            await http.post("/v1/chat/completions", content=b"{"),
            await http.post("/v1/chat/completions", content=b"{", headers={"authorization": "Bearer no"}),
        ):
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert error_in(response)["code"] == "invalid_api_key"
        assert (await http.get("/healthz")).status_code == 200
    async with client(app, KEY) as http:
        assert (await http.post("/v1/chat/completions", json=asking())).status_code == 200


async def test_without_keys_only_this_machine_may_ask() -> None:
    assert (await ask(server(), host="evil.example")).status_code == 403
    assert (await ask(server(hosts=["chat.lan"]), host="chat.lan:80")).status_code == 200


async def test_the_page_is_there_if_it_is_wanted() -> None:
    async with client(server(page=True, keys=[KEY])) as http:
        response = await http.get("/")
    assert response.status_code == 200
    assert "<title>" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_n_answers_are_n_runs_at_once() -> None:
    model = Scripted(said("a"), said("b"), said("c"))
    app = ChatServer(Agent(model))
    body = (await ask(app, asking(n=3))).json()
    assert [each["index"] for each in body["choices"]] == [0, 1, 2]
    assert sorted(each["message"]["content"] for each in body["choices"]) == ["a", "b", "c"]
    assert body["usage"]["total_tokens"] == 45
    model.requests.clear()
    events = events_of((await ask(app, asking(n=3, stream=True))).text)
    assert sorted(told_in(events, at)["content"] for at in range(3)) == ["a", "b", "c"]
    assert [told_in(events, at)["finish_reason"] for at in range(3)] == ["stop"] * 3


async def test_events_are_told_only_where_the_server_does_that() -> None:
    for allowed in (False, True):
        app = server(called(("search", {})), said("Hi"), events=allowed)
        response = await ask(app, asking(stream=True, stream_options={"include_events": True}))
        assert ('"tool_started"' in response.text) is allowed


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RateLimited("sk-upstream", status=429, retry_after=7), 429, "upstream_busy"),
        (EndpointUnavailable("sk-upstream", status=500), 502, "upstream_error"),
        (RuntimeError("sk-upstream"), 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_before_the_first_word_have_a_status(
    error: Exception, status: int, code: str, stream: bool
) -> None:
    response = await ask(server(error), asking(stream=stream))
    assert response.status_code == status
    assert error_in(response)["code"] == code
    assert "sk-upstream" not in response.text
    assert response.headers.get("retry-after") == ("7" if status == 429 else None)


async def test_an_error_within_a_stream_is_its_last_event() -> None:
    broken = EndpointUnavailable("sk-upstream", status=500)
    app = server(AssistantMessage("Wait.", called(("search", {})).tool_calls), broken)
    response = await ask(app, asking(stream=True))
    assert response.status_code == 200
    *events, last = events_of(response.text)
    assert told_in(events)["content"] == "Wait."
    assert last["error"]["code"] == "upstream_error"


async def test_who_acted_asks_not_to_be_asked_again() -> None:
    broken = EndpointUnavailable("no", status=500)
    assert (await ask(server(called(("search", {})), broken))).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in (await ask(server(broken))).headers
    assert (await ask(server(broken), asking(n=2))).headers["x-should-retry"] == "false"  # another of the runs may have


async def test_a_limit_of_the_run() -> None:
    agent = Agent(Scripted(called(("search", {}))), tools=[search], limits=Limits(steps=2))
    response = await ask(ChatServer(agent))
    assert response.status_code == 500
    assert error_in(response)["code"] == "limit_reached"
    assert response.headers["x-should-retry"] == "false"


async def test_a_run_has_so_many_seconds() -> None:
    response = await ask(ChatServer(Agent(Held()), bounds=Bounds(seconds=0.05)))
    assert response.status_code == 504
    assert error_in(response)["code"] == "limit_reached"


async def test_an_error_of_the_servers_own_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("sk-internal")

    monkeypatch.setattr("agentkit.server.app.parse_request", broken)
    with caplog.at_level(logging.ERROR, "agentkit.server"):
        response = await ask(server())
    assert response.status_code == 500
    assert "sk-internal" not in response.text
    assert error_in(response)["message"].split()[-1].rstrip(")") in caplog.text


async def test_a_tool_of_the_clients_is_handed_over_and_the_conversation_goes_on() -> None:
    model = Scripted(called(("search", {"query": "x"})), called(("ask_user", {}), ("search", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search]))
    body = asking(tools=THEIRS)
    for stream in (False, True):
        model.requests.clear()
        response = await ask(app, {**body, "stream": stream})
        message = told_in(events_of(response.text)) if stream else response.json()["choices"][0]["message"]
        (call,) = message["tool_calls"]
        assert call["function"]["name"] == "ask_user"
        spoken = {"role": "assistant", "content": message["content"], "tool_calls": [call]}
        answer = {"role": "tool", "tool_call_id": call["id"], "content": "yes"}
        more = await ask(app, {**body, "messages": [*body["messages"], spoken, answer]})
        assert more.json()["choices"][0]["message"]["content"] == "Done."
        said_ = [each.content for each in model.requests[-1].messages if isinstance(each, ToolMessage)]
        assert said_ == ["found x", "yes", "found "]


async def test_a_hand_over_that_is_forgotten_goes_on_with_what_the_client_has() -> None:
    model = Scripted(called(("search", {"query": "x"})), called(("ask_user", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search]), bounds=Bounds(kept_bytes=1))
    body = asking(tools=THEIRS)
    message = (await ask(app, body)).json()["choices"][0]["message"]
    answer = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "yes"}
    more = await ask(app, {**body, "messages": [*body["messages"], message, answer]})
    assert more.json()["choices"][0]["message"]["content"] == "Done."
    assert [each.content for each in model.requests[-1].messages if isinstance(each, ToolMessage)] == ["yes"]


async def test_a_hand_over_belongs_to_its_key() -> None:
    model = Scripted(called(("search", {"query": "x"})), called(("ask_user", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search]), keys=[KEY, "sk-2"])
    body = asking(tools=THEIRS)
    message = (await ask(app, body, authorization=f"Bearer {KEY}")).json()["choices"][0]["message"]
    answer = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "yes"}
    seen: list[list[str]] = []
    for key in ("sk-2", KEY):
        await ask(app, {**body, "messages": [*body["messages"], message, answer]}, authorization=f"Bearer {key}")
        seen.append([each.content for each in model.requests[-1].messages if isinstance(each, ToolMessage)])
    assert seen == [["yes"], ["found x", "yes"]]


async def test_one_call_at_a_time() -> None:
    for parallel in (True, False):
        app = server(called(("ask_user", {}), ("ask_user", {"more": 1})))
        body = asking(tools=THEIRS, parallel_tool_calls=parallel)
        message = (await ask(app, body)).json()["choices"][0]["message"]
        assert len(message["tool_calls"]) == (2 if parallel else 1)


async def test_the_agents_policy_remembers_across_a_hand_over() -> None:
    model = Scripted(called(("search", {})), called(("ask_user", {})), said("Done."))
    app = ChatServer(Agent(model, tools=[search], tool_choice=before_answer(search) & budget(2)))
    body = asking(tools=THEIRS)
    message = (await ask(app, body)).json()["choices"][0]["message"]
    answer = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "yes"}
    await ask(app, {**body, "messages": [*body["messages"], message, answer]})
    # After two calls, the agent's own tools are not to be had, and the client's still are.
    assert [(each.tool_choice.mode, each.tool_choice.tools) for each in model.requests] == [
        ("required", None),
        ("auto", None),
        ("auto", frozenset({"ask_user"})),
    ]


async def test_a_client_cannot_have_the_agents_tools_run() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    history = [*asking()["messages"], {"role": "assistant", "content": None, "tool_calls": [call]}]
    response = await ask(server(), asking(messages=history))
    assert (response.status_code, error_in(response)["param"]) == (400, "messages[1].tool_calls")


async def test_what_tools_ask_for_and_who_allows_them() -> None:
    @tool(approval=True)
    def whose(ctx: ToolContext[str]) -> str:
        """Tell."""
        return ctx.deps

    model = Scripted(called(("whose", {})), said("Done."))
    agent = Agent(model, tools=[whose], deps_type=str)
    with pytest.raises(ConfigurationError, match="ask for a str"):
        ChatServer(agent)
    await ask(ChatServer(agent, deps="mine", approver=lambda _: True))
    assert [each.content for each in model.requests[-1].messages if isinstance(each, ToolMessage)] == ["mine"]


async def test_fields_that_are_passed_on() -> None:
    model = Scripted(said("Hi"))
    app = ChatServer(Agent(model), passed=["top_k"])
    await ask(app, asking(top_k=3, seed=4, other=5, temperature=0))
    assert json.loads(b"{" + model.requests[0].settings.encoded + b"}") == {"temperature": 0, "top_k": 3}
    with pytest.raises(ConfigurationError, match="passed names a field that is known"):
        ChatServer(Agent(model), passed=["temperature"])
    with pytest.raises(ConfigurationError, match="at least one agent"):
        ChatServer({})


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


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_ends_its_run(stream: bool) -> None:
    model = Held()
    app = ChatServer(Agent(model))
    wire = Wire(app, json.dumps(asking(stream=stream)).encode())
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(wire.run)
            await model.asked.wait()
            wire.left.set()
    assert model.stopped
    assert wire.sent == []


async def test_a_client_that_goes_away_while_it_sends_is_not_answered() -> None:
    wire = Wire(server())
    wire.body = []
    wire.left.set()
    await wire.run()
    assert wire.sent == []


async def test_a_stream_is_kept_alive_while_nothing_is_said() -> None:
    model = Held()
    wire = Wire(ChatServer(Agent(model), bounds=Bounds(alive=0.01)), json.dumps(asking(stream=True)).encode())
    async with anyio.create_task_group() as group:
        group.start_soon(wire.run)
        await wire.begun.wait()
        model.free.set()
    assert ": still at work\n\n" in wire.text
    assert told_in(events_of(wire.text))["content"] == "At last."


async def live(app: ChatServer, stop: anyio.Event, said_: list[str]) -> None:
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Json:
        if len(messages) == 1:
            await stop.wait()
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        said_.append(message["type"])

    await app({"type": "lifespan"}, receive, send)


async def test_a_server_that_stops_lets_requests_end() -> None:
    model, stop = Held(), anyio.Event()
    app = ChatServer(Agent(model))
    wire, told = Wire(app, BODY), list[str]()
    async with anyio.create_task_group() as group:
        group.start_soon(live, app, stop, told)
        group.start_soon(wire.run)
        await model.asked.wait()
        assert told == ["lifespan.startup.complete"]
        stop.set()
        await anyio.wait_all_tasks_blocked()
        refused = await ask(app)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        async with client(app) as http:
            assert (await http.get("/healthz")).status_code == 503
        model.free.set()
    assert wire.status == 200
    assert told[-1] == "lifespan.shutdown.complete"


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
    app, stop, told = server(), anyio.Event(), list[str]()
    await app.drain()
    assert (await ask(app)).status_code == 503
    async with anyio.create_task_group() as group:
        group.start_soon(live, app, stop, told)
        await anyio.wait_all_tasks_blocked()
        assert told == ["lifespan.startup.complete"]
        assert (await ask(app)).status_code == 200
        stop.set()


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


async def test_what_is_no_http_is_closed() -> None:
    wire = Wire(server(), type="websocket")
    await wire.run()
    assert wire.sent == [{"type": "websocket.close", "code": 1000}]
