"""The server under test: served by uvicorn on a real socket, or asked in this process."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
import httpx
import uvicorn

from agentkit import tool
from agentkit.server import ChatServer

Json: TypeAlias = dict[str, Any]

KEY = "sk-server-canary-81c2"
COMPLETIONS = "/v1/chat/completions"
THEIRS = [{"type": "function", "function": {"name": "ask_user"}}]
"""The tools of a client."""


@tool
def search(query: str = "") -> str:
    """Search."""
    return f"found {query}"


@contextmanager
def served(app: Any, **options: Any) -> Generator[str, None, None]:
    """Serve an app in a thread, and end it cleanly."""
    options = {"port": 0, "log_level": "error", "lifespan": "on", "timeout_graceful_shutdown": 5, **options}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    ready = threading.Event()
    started = server.startup

    async def startup(*args: Any, **options: Any) -> None:
        await started(*args, **options)
        ready.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(60)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def client(app: Any, key: str | None = None) -> httpx.AsyncClient:
    """A client that asks the app in this process."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost", headers=headers)


def asking(text: str = "Hello", **fields: Any) -> Json:
    """The body of a request."""
    return {"model": "agent", "messages": [{"role": "user", "content": text}], **fields}


async def ask(app: ChatServer, body: Any = None, *, path: str = COMPLETIONS, **headers: str) -> httpx.Response:
    async with client(app) as http:
        return await http.post(path, json=asking() if body is None else body, headers=headers)


def events_of(text: str) -> list[Any]:
    """The events of a stream, the last of them `[DONE]` if it ended well."""
    data = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [event if event == "[DONE]" else json.loads(event) for event in data]


def message_of(events: list[Any], index: int = 0) -> Json:
    """The message that the chunks of one choice come to."""
    message: Json = {"content": None, "refusal": None, "tool_calls": [], "finish_reason": None}
    for event in events:
        choices: list[Json] = [] if event == "[DONE]" else event.get("choices", [])
        for choice in choices:
            if choice["index"] == index:
                delta: Json = choice["delta"]
                for name in ("content", "refusal"):
                    if delta.get(name):
                        message[name] = (message[name] or "") + delta[name]
                message["tool_calls"] += delta.get("tool_calls", [])
                message["finish_reason"] = choice["finish_reason"] or message["finish_reason"]
    return message


class Wire:
    """One request, spoken to the app as ASGI has it, so that each side can be seen and held up."""

    def __init__(self, app: Any, body: bytes = b"", **scope: Any) -> None:
        headers = {"host": "localhost", "content-type": "application/json", **scope.pop("headers", {})}
        self.scope: Json = {
            "type": "http",
            "method": "POST",
            "path": COMPLETIONS,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            **scope,
        }
        self.app = app
        self.body: list[Json] = [{"type": "http.request", "body": body}]
        self.sent: list[Json] = []
        self.begun, self.left, self.over = anyio.Event(), anyio.Event(), anyio.Event()

    async def receive(self) -> Json:
        if self.body:
            return self.body.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.begun.set()

    async def run(self) -> None:
        await self.app(self.scope, self.receive, self.send)
        self.over.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent[1:]).decode()
