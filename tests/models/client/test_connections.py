import socket
import ssl
import threading
from pathlib import Path
from typing import Self

import anyio
import anyio.lowlevel
import httpx
import pytest

from agentkit import ChatClient, ConnectionFailed, MalformedReply, ModelTimeout, Timeouts
from agentkit.models.client import connections as file
from agentkit.models.client.connections import ConnectionPool, Origin, connection_pool
from agentkit.models.client.http1 import request_bytes, request_head
from agentkit.testing import Chaos, Raw, Reply, answer, chaos
from tests.clients import CHUNKED, DONE, HELLO, HI, JSON, QUICK, SSE, client_at, delta, failed, ignore
from tests.tls import with_tls

pytestmark = pytest.mark.anyio


async def ask(endpoint: Chaos) -> str | None:
    return (await client_at(endpoint).complete(HELLO)).message.content


def idle_in(pool: ConnectionPool) -> int:
    return sum(map(len, pool._idle.values()))


async def fetch(pool: ConnectionPool, endpoint: Chaos) -> None:
    address = httpx.URL(endpoint.url)
    request = request_bytes(request_head("/v1/chat/completions", {"host": "127.0.0.1"}), [b'{"messages":[]}'])
    response = await pool.send(Origin("http", address.host, address.port or 0), request, None)
    async for _ in response:
        pass
    await response.aclose()


async def test_all_clients_of_an_event_loop_share_connections() -> None:
    assert await connection_pool() is await connection_pool()
    with chaos(answer("Hi.")) as endpoint:
        assert [await ask(endpoint) for _ in range(5)] == ["Hi."] * 5
    assert endpoint.connections == 1


async def test_certificates_are_loaded_once_and_only_for_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ssl.SSLContext] = []

    def load() -> ssl.SSLContext:
        loaded.append(ssl.create_default_context())
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", load)
    file._certificates.cache_clear()
    with chaos(answer("Hi.")) as endpoint:
        assert await ask(endpoint) == "Hi."
        assert loaded == []
    endpoint.url = "https://127.0.0.1:1"
    assert [type(await failed(client_at(endpoint))) for _ in range(2)] == [ConnectionFailed] * 2
    assert [context.verify_mode for context in loaded] == [ssl.CERT_REQUIRED]
    file._certificates.cache_clear()


async def test_concurrent_requests_have_a_connection_each_and_leave_it_for_the_next() -> None:
    with chaos(answer("Hi.")) as endpoint:
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, endpoint)
    assert len(endpoint.requests) == 40
    assert endpoint.connections <= 20


async def test_two_hundred_cancelled_requests_leave_a_client_that_works() -> None:
    with chaos(answer("Hi.")) as endpoint:
        for ticks in range(10):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, endpoint)
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        with anyio.fail_after(60):
            assert await ask(endpoint) == "Hi."


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    closing = Raw([HI], headers=JSON | {"content-length": str(len(HI))}, then="close")
    with chaos(closing, answer("Ho.")) as endpoint:
        client = client_at(endpoint, retries=QUICK)  # a request may also meet the close halfway, which is retried
        replies = [await client.complete(HELLO) for _ in range(2)]
    assert [reply.message.content for reply in replies] == ["Hi.", "Ho."]
    assert endpoint.connections == 2


async def test_idle_connections_are_bounded_in_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(file, "monotonic", lambda: now)
    monkeypatch.setattr(file, "_MAX_IDLE", 3)
    pool = ConnectionPool()

    async def fetch_at_once(count: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(fetch, pool, endpoint)

    with chaos(answer("Hi.")) as endpoint:
        await fetch_at_once(5)
        assert idle_in(pool) == 3
        now += 20
        await fetch(pool, endpoint)
        assert (idle_in(pool), endpoint.connections) == (3, 5)
        now += 20  # two have waited for too long
        await fetch(pool, endpoint)
        assert (idle_in(pool), endpoint.connections) == (1, 5)
        now += 31
        await fetch(pool, endpoint)
        assert (idle_in(pool), endpoint.connections) == (1, 6)
        pool.close()
    assert idle_in(pool) == 0


async def test_a_connection_in_time_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(file, "connect", connect)
    client = ChatClient("m", base_url="http://127.0.0.1:1", api_key="", timeout=Timeouts(connect=0.01), retries=0)
    error = await failed(client)
    assert isinstance(error, ModelTimeout)
    assert (error.phase, error.seconds) == ("connect", 0.01)
    client = ChatClient(
        "m", base_url="http://127.0.0.1:1", api_key="", timeout=Timeouts(connect=None, total=0.01), retries=0
    )
    error = await failed(client)
    assert isinstance(error, ModelTimeout)
    assert error.phase == "total"


# What nobody asked for

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


def response_of(content: str) -> bytes:
    body = HI.replace(b"Hi.", content.encode())
    return RESPONSE % (len(body), body)


class Unasked:
    """A server that answers the first request of each connection with a response, and with more, at once or later."""

    def __init__(self, more: bytes, *, later: bool) -> None:
        self.more, self.later = more, later
        self.connections = 0
        self.sent = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        clients: list[socket.socket] = []
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                break
            clients.append(client)
            self.connections += 1
            client.recv(100_000)
            first, second = response_of(f"answer {self.connections}"), self.more
            client.sendall(first if self.later else first + second)
            if self.later:
                self.go.acquire()
                client.sendall(second)
            self.sent.release()
        for client in clients:
            client.close()


@pytest.mark.parametrize("more", [response_of("not asked for"), b"HTTP/1.1 200 OK\r\n", b"x"])
@pytest.mark.parametrize("later", [False, True])
async def test_a_response_that_nobody_asked_for_is_no_answer(later: bool, more: bytes) -> None:
    with Unasked(more, later=later) as server:
        client = ChatClient("m", base_url=server.url, api_key="", retries=0)
        for number in range(1, 4):
            assert (await client.complete(HELLO)).message.content == f"answer {number}"
            server.go.release()
            await anyio.to_thread.run_sync(server.sent.acquire)
    assert server.connections == 3


# TLS


@pytest.mark.parametrize("polite", [True, False])
async def test_with_tls_connections_are_used_again(polite: bool, tmp_path: Path) -> None:
    replies: list[Reply] = [
        Raw([delta("Hi.", "stop"), DONE], headers=SSE | CHUNKED),
        answer("Hi."),
        answer("Hi."),
        Raw([HI], headers=JSON, then="close"),
        answer("Hi."),
    ]
    with chaos(*replies) as endpoint, with_tls(endpoint, tmp_path, polite=polite) as front:
        client = client_at(endpoint, retries=QUICK)
        for form in (ignore, None, ignore, None, None):
            assert (await client.complete(HELLO, form)).message.content == "Hi."
        (await connection_pool()).close()
    assert front.protocols == ["http/1.1"] * 2


async def test_with_tls_a_body_that_was_cut_is_no_reply(tmp_path: Path) -> None:
    """Only the end of the connection says how long it is, and TLS says whether that was the server's."""
    for polite, kind in ((True, MalformedReply), (False, ConnectionFailed)):
        cut = Raw([HI[:-1]], headers=JSON, then="close")
        with chaos(cut) as endpoint, with_tls(endpoint, tmp_path, polite=polite):
            assert type(await failed(client_at(endpoint))) is kind
