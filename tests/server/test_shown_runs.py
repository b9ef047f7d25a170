"""The runs of all clients, as a reader with a key gets them."""

import json
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from agentkit import Agent, ChatChunk, ChatRequest, ChatResponse, Event, ReasoningDelta, RunFinished, RunStarted, Usage
from agentkit.core.model import OnChunk
from agentkit.server import ChatServer, shown_runs
from agentkit.server.asgi import HttpExchange
from agentkit.server.shown_runs import ShownRuns
from tests.scripted import Scripted, called, said
from tests.server.served import COMPLETIONS, KEY, Json, Wire, asking, search, served

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
HEADERS = {"authorization": f"Bearer {KEY}"}
SECRET = "sk-" + "a1b2" * 8


class Held(Scripted):
    """A model that waits before its second reply, after it has written some of it."""

    def __init__(self) -> None:
        super().__init__(called(("search", {"query": SECRET})), said("It rains in Paris."))
        self.begun, self.free = threading.Event(), threading.Event()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if self.requests and on_chunk is not None:
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": "It rains"}}]}))
            self.begun.set()
            await anyio.to_thread.run_sync(self.free.wait)
        return await super().complete(request)


@pytest.fixture
def model() -> Held:
    return Held()


@pytest.fixture
def url(model: Held) -> Generator[str]:
    agent = Agent(model, tools=[search], name="agent", instructions="Be brief.")
    with served(ChatServer(agent, keys=[KEY, "sk-other"], show_runs=True)) as address:
        yield address


def runs(url: str, after: object = 0) -> Json:
    body: Json = httpx.get(f"{url}/v1/runs", params={"after": str(after)}, headers=HEADERS).json()
    return body


def test_a_run_is_seen_while_it_goes_on(url: str, model: Held) -> None:
    assert runs(url).keys() == {"object", "version", "ids", "data"}
    assert (runs(url)["ids"], runs(url)["data"]) == ([], [])
    body = {**asking("Rain?"), "stream": True}
    asked = threading.Thread(
        target=httpx.post,
        args=(url + COMPLETIONS,),
        kwargs={"json": body, "headers": {"authorization": "Bearer sk-other"}, "timeout": 60},
    )
    asked.start()
    assert model.begun.wait(60)
    during = runs(url)
    (run,) = during["data"]
    assert (run["kind"], [run["id"]], run["agent"]) == ("run", during["ids"], "agent")
    system, user, step, opened = run["items"]
    assert (system["parts"], user["parts"]) == ([{"text": "Be brief."}], [{"text": "Rain?"}])
    assert step["calls"][0]["outcome"] == "ok"
    assert (opened["open"], opened["number"], opened["text"], opened["choice"]) == (True, 2, "It rains", "auto")
    assert "stop" not in run
    assert SECRET not in json.dumps(during)
    assert runs(url, during["version"])["data"] == []
    assert runs(url)["data"] == [run]
    model.free.set()
    asked.join()
    after = runs(url, during["version"])
    (run,) = after["data"]
    assert (run["stop"], after["ids"]) == ("answer", during["ids"])
    assert [item.get("open") for item in run["items"]] == [None] * 4
    for wrong in ("x", "9" * 5000, "-1"):
        assert len(runs(url, wrong)["data"]) == 1


def test_only_a_key_sees_them_and_only_where_it_was_asked_for(url: str) -> None:
    assert httpx.get(f"{url}/v1/runs").status_code == 401
    assert httpx.post(f"{url}/v1/runs", headers=HEADERS).headers["allow"] == "GET"
    with served(ChatServer(Agent(Scripted(said("Hi"))))) as plain:
        assert httpx.get(f"{plain}/v1/runs").status_code == 404
    with served(ChatServer(Agent(Scripted(said("Hi"))), show_runs=True)) as plain:
        assert httpx.get(f"{plain}/v1/runs", headers={"host": "evil.example"}).status_code == 403


END = RunFinished("answer", Usage(1))


def begun(shown: ShownRuns, id_: str, agent: str = "") -> Callable[[Event], None]:
    emit = shown.showing(lambda _: None)
    emit(RunStarted(agent, "m", run_id=id_))
    return lambda event: emit(replace(event, run_id=id_))


async def asked(shown: ShownRuns) -> Json:
    wire = Wire(None, method="GET", path="/v1/runs")
    await shown.send(HttpExchange(wire.scope, wire.receive, wire.send))
    body: Json = json.loads(wire.text)
    return body


@pytest.mark.anyio
@ASYNCIO
async def test_few_of_those_that_ended_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_runs, "_RUNS", 2)
    shown = ShownRuns()
    first = begun(shown, "0")
    for at in "123":
        begun(shown, at)(END)
    assert (await asked(shown))["ids"] == ["0", "2", "3"]
    first(ReasoningDelta("Hm."))
    first(END)
    assert (await asked(shown))["ids"] == ["0", "3"]
    begun(shown, "4", "x" * 2000)(END)
    monkeypatch.setattr(shown_runs, "_BYTES", 2000)
    begun(shown, "5")(END)
    assert (await asked(shown))["ids"] == ["5"]
    begun(shown, "6", "x" * 2000)(END)  # larger than all that is kept
    assert (await asked(shown))["ids"] == []


@pytest.mark.anyio
@ASYNCIO
async def test_a_run_that_ends_while_it_is_read_has_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = ShownRuns()
    emit, encoded = begun(shown, "0"), shown_runs._encoded

    def late(*args: Any) -> bytes:
        monkeypatch.setattr(shown_runs, "_encoded", encoded)
        made = encoded(*args)
        emit(END)
        return made

    monkeypatch.setattr(shown_runs, "_encoded", late)
    assert (await asked(shown))["data"][0]["stop"] == "answer"


def test_a_slow_reader_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_runs, "_READERS", 1)
    monkeypatch.setattr(shown_runs, "_SECONDS", 0.5)
    app = ChatServer(Agent(Scripted(said("x" * 12_000_000))), keys=KEY, show_runs=True)
    with served(app, log_level="critical") as url, socket.create_connection(("127.0.0.1", int(url[-5:]))) as slow:
        httpx.post(url + COMPLETIONS, json=asking(), headers=HEADERS, timeout=60)
        slow.sendall(f"GET /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        assert len(runs(url, 10**19 - 1)["ids"]) == 1  # the only place for a reader is free again
        size = 0
        while data := slow.recv(1_000_000):
            size += len(data)
        assert size < 12_000_000
