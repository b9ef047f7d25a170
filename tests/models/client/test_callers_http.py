"""`test_chat_client` tests what an HTTP client of the caller's is asked."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.abc
import httpx
import httpx2
import pytest

from agentkit import ChatClient, ConfigurationError, ConnectionFailed
from agentkit.models.client.callers_http import RequestBody
from agentkit.testing import answer, chaos
from tests.clients import ASYNCIO, HELLO, HI, KEY, failed

pytestmark = pytest.mark.anyio


@ASYNCIO
async def test_a_body_can_be_sent_again() -> None:
    body = RequestBody(b"all of it")
    assert [[piece async for piece in body] for _ in range(2)] == [[b"all of it"]] * 2


@ASYNCIO
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_key_in_the_query_is_in_no_log(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with chaos(answer("Hi.")) as endpoint:
        url = endpoint.url
        async with library.AsyncClient() as http:
            client = ChatClient("m", base_url=f"{url}?code=sk-in-the-query&v=1", api_key=KEY, http=http)
            assert (await client.complete(HELLO)).message.content == "Hi."
            await http.get(f"{url}/models?page=7")
    logged = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert f"{url}/chat/completions?code=…&v=…" in logged
    assert "sk-in-the-query" not in logged
    assert "page=7" in logged  # what others ask is theirs


class Proxy:
    """A proxy for plain HTTP that answers by itself, and keeps what it was asked and how many connections are open."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self.port = 0

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: who=ann\r\ncontent-length: "
        async with stream:
            while True:
                received = b""
                while not received.endswith(b"}"):
                    try:
                        received += await stream.receive()
                    except anyio.EndOfStream:
                        self.connections -= 1
                        return
                self.asked.append(received.decode())
                await stream.send(head + b"%d\r\n\r\n" % len(HI) + HI)


@asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Proxy]:
    proxy = Proxy()
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(partial(listener.serve, proxy.serve))
        proxy.port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 (nothing of Django's)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        yield proxy
        group.cancel_scope.cancel()


@pytest.mark.agentkit_allow_network
async def test_the_proxies_of_the_environment_are_used_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint's name exists nowhere, so only the proxy can answer. What one key was told goes with no other."""
    url = "http://endpoint.invalid/v1"
    async with proxied(monkeypatch) as proxy:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for key in (KEY, "sk-another"):
            client = ChatClient("m", base_url=url, api_key=key, trust_env=True, retries=0)
            assert (await client.complete(HELLO)).message.content == "Hi."
        with chaos(answer("directly")) as endpoint:
            client = ChatClient("m", base_url=endpoint.url, api_key=KEY, trust_env=True)
            assert (await client.complete(HELLO)).message.content == "directly"
        unreachable = await failed(ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key=KEY, retries=0))
    assert [asked.split(" ")[1] for asked in proxy.asked] == ["http://endpoint.invalid/v1/chat/completions"] * 2
    assert [f"Bearer {key}" in asked for key, asked in zip((KEY, "sk-another"), proxy.asked, strict=True)] == [
        True,
        True,
    ]
    assert "cookie" not in proxy.asked[1]
    assert isinstance(unreachable, ConnectionFailed)
    assert "HTTP_PROXY is set" in str(unreachable)
    assert "only with trust_env=True" in str(unreachable)


@pytest.mark.agentkit_allow_network
async def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch) as proxy:
        pass
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    client = ChatClient("m", base_url="http://endpoint.invalid/v1", api_key="", trust_env=True, retries=0)
    error = await failed(client)
    assert isinstance(error, ConnectionFailed)
    assert "HTTP_PROXY is set, which trust_env=True uses" in str(error)


def test_a_client_of_the_callers_knows_its_proxies_itself() -> None:
    with pytest.raises(ConfigurationError, match="trust_env"):
        ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key="", trust_env=True, http=httpx.AsyncClient())
