"""Other clients on a real socket: an agent, an app in which the server is mounted, and clients that go away."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from agentkit import Agent, ChatClient, TextDelta, tool
from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.errors import EndpointError, RateLimited
from agentkit.core.messages import ToolMessage
from agentkit.core.model import OnChunk
from agentkit.server import Bounds, ChatServer
from tests.endpoint import calls, serving, text
from tests.scripted import Scripted, called, said
from tests.server.served import asking, search, served

pytestmark = pytest.mark.anyio


@tool
def ask_user(question: str) -> str:
    """Ask the user."""
    return f"{question} Yes."


def play(request: ChatRequest) -> Any:
    results = [message.content for message in request.messages if isinstance(message, ToolMessage)]
    both = called(("search", {"query": "y"}), ("ask_user", {"question": "Sure?"}))
    script = [called(("search", {"query": "x"})), both]
    return script[len(results)] if len(results) < len(script) else said(", ".join(results))


def breaking(request: ChatRequest) -> Any:
    if request.messages[-1].to_dict()["role"] == "tool":
        raise RuntimeError("no")
    return called(("search", {}))


class Waiting:
    """A model that never answers."""

    name = "waiting"

    def __init__(self) -> None:
        self.asked, self.stopped = threading.Event(), threading.Event()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        self.asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped.set()
        raise AssertionError


WAITING = Waiting()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    agents = {
        "agent": Agent(Scripted(play), tools=[search]),
        "waiting": Agent(WAITING),
        "busy": Agent(Scripted(RateLimited("no", status=429, retry_after=3))),
        "broken": Agent(Scripted(breaking), tools=[search]),
    }
    mounted = Starlette(routes=[Mount("/chat", app=ChatServer(agents, page=True, bounds=Bounds(alive=0.05)))])
    with served(mounted) as address:
        yield f"{address}/chat"


def client(url: str, model: str = "agent", **options: Any) -> ChatClient:
    return ChatClient(model, base_url=f"{url}/v1", api_key="sk-none", **options)


async def test_an_agent_that_streams(url: str) -> None:
    async with Agent(client(url), tools=[ask_user]).stream("Hello") as run:
        texts = [event.text async for event in run if isinstance(event, TextDelta)]
    assert "".join(texts) == run.result.output == "found x, found y, Sure? Yes."
    assert run.result.usage.total_tokens == 45
    assert [step.finish_reason for step in run.result.steps] == ["tool_calls", "stop"]
    assert (await Agent(client(url), tools=[ask_user]).run("Hello")).output == run.result.output


async def test_an_agent_gets_errors(url: str) -> None:
    with pytest.raises(RateLimited) as busy:
        await Agent(client(url, "busy", retries=0)).run("Hello")
    assert busy.value.retry_after == 3
    with pytest.raises(EndpointError) as caught:
        await Agent(client(url, "broken")).run("Hello")
    assert caught.value.attempts == 1  # tools had run, so it was not asked again


async def test_a_strict_endpoint_behind_the_server_takes_every_history() -> None:
    sure = {"question": "Sure?"}
    script = [
        calls(("search", {"query": "x"}), ids=["1"]),
        calls(("ask_user", sure), ("search", {"query": "y"}), ("ask_user", sure), ids=["1", "2", "3"]),
        calls(("ask_user", sure), ids=["1"]),
        text("Done."),
    ]
    with serving(*script) as endpoint:  # which is strict about calls and their answers
        upstream = ChatClient("m", base_url=endpoint.url, api_key="sk-none")
        with served(ChatServer(Agent(upstream, tools=[search]))) as address:
            result = await Agent(client(address), tools=[ask_user]).run("Hello")
    assert result.output == "Done."
    roles = ["user", *["assistant", "tool"], *["assistant", "tool", "tool", "tool"], *["assistant", "tool"]]
    assert [message["role"] for message in endpoint.requests[-1]["messages"]] == roles


def test_an_app_that_is_mounted_in_another(url: str) -> None:
    assert "<title>" in httpx.get(f"{url}/").text
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/v1/models/agent").json()["id"] == "agent"
    assert httpx.get(f"{url}/v1/nothing").status_code == 404


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_run_is_stopped_when_its_client_is_gone(url: str, stream: bool) -> None:
    WAITING.asked.clear()
    WAITING.stopped.clear()
    address = httpx.URL(url)
    body = json.dumps(asking(model="waiting", stream=stream)).encode()
    head = f"POST /chat/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(head.encode() + body)
        assert WAITING.asked.wait(60)
        if stream:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")  # begun, and kept alive by comments
    assert WAITING.stopped.wait(60)
