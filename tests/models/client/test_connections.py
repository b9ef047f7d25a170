import ssl

import anyio
import anyio.lowlevel
import httpx
import pytest

from agentkit import ChatClient, ChatRequest, ConnectionFailed, UserMessage
from agentkit.models.client import connections as connections_file
from agentkit.models.client.connections import ConnectionPool, RequestBody, connection_pool
from agentkit.testing import Raw
from tests.endpoint import Endpoint, serving, text

pytestmark = pytest.mark.anyio

GO = ChatRequest((UserMessage("go"),))


async def ask(endpoint: Endpoint) -> str | None:
    return (await ChatClient("m", base_url=endpoint.url).complete(GO)).message.content


def waiting(made: ConnectionPool) -> int:
    return sum(map(len, made._idle.values()))


async def test_a_connection_is_used_again() -> None:
    with serving(text("hi")) as endpoint:
        assert [await ask(endpoint) for _ in range(5)] == ["hi"] * 5
    assert endpoint.connections == 1


async def test_certificates_are_not_loaded_for_an_address_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ssl.SSLContext] = []

    def load() -> ssl.SSLContext:
        loaded.append(ssl.create_default_context())
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", load)
    connections_file._certificates.cache_clear()
    with serving(text("hi")) as endpoint:
        assert await ask(endpoint) == "hi"
        assert loaded == []
        with pytest.raises(ConnectionFailed):
            await ChatClient("m", base_url=endpoint.url.replace("http:", "https:"), retries=0).complete(GO)
    assert len(loaded) == 1
    connections_file._certificates.cache_clear()


async def test_without_them_nobody_is_trusted() -> None:
    context = connections_file._certificates("http")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.get_ca_certs() == []


async def test_all_clients_of_an_event_loop_share_them() -> None:
    assert await connection_pool() is await connection_pool()


async def test_many_at_once_have_one_each_and_leave_them_for_the_next() -> None:
    with serving(text("hi")) as endpoint:
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, endpoint)
    assert len(endpoint.requests) == 40
    assert endpoint.connections <= 20


async def test_two_hundred_cancelled_requests_leave_a_client_that_works() -> None:
    with serving(text("hi")) as endpoint:
        for ticks in range(10):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, endpoint)
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        with anyio.fail_after(60):
            assert await ask(endpoint) == "hi"


async def test_a_connection_that_the_server_closed_is_noticed() -> None:
    closing = Raw([b'{"choices":[{"message":{"content":"bye"},"finish_reason":"stop"}]}'])
    with serving(closing, text("hi")) as endpoint:
        assert [await ask(endpoint), await ask(endpoint)] == ["bye", "hi"]
    assert endpoint.connections == 2


async def test_a_connection_whose_request_failed_is_not_used_again() -> None:
    made = ConnectionPool()
    with pytest.raises(httpx.ConnectError):
        await made.handle_async_request(httpx.Request("POST", "http://127.0.0.1:1/"))
    assert waiting(made) == 0


def post(endpoint: Endpoint) -> httpx.Request:
    body = b'{"messages":[]}'
    headers = {"host": "127.0.0.1", "content-length": str(len(body))}
    return httpx.Request("POST", f"{endpoint.url}/x", headers=headers, stream=RequestBody(body))


async def fetch(made: ConnectionPool, endpoint: Endpoint) -> None:
    response = await made.handle_async_request(post(endpoint))
    await response.aread()
    await response.stream.aclose()  # type: ignore[union-attr]  # pyright: ignore[reportUnknownMemberType,reportAttributeAccessIssue]


async def test_not_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_file, "_MAX_IDLE", 2)
    made = ConnectionPool()
    with serving(text("hi")) as endpoint:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(fetch, made, endpoint)
        assert waiting(made) <= 2
        await made.aclose()
    assert waiting(made) == 0


async def test_one_that_has_waited_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(connections_file, "current_time", lambda: now[0])
    made = ConnectionPool()
    with serving(text("hi")) as endpoint:
        async with anyio.create_task_group() as group:
            group.start_soon(fetch, made, endpoint)
            group.start_soon(fetch, made, endpoint)
        before = waiting(made)
        now[0] += 31
        await fetch(made, endpoint)
        assert waiting(made) == max(1, before - 1)
        await made.aclose()


class Failing(httpx.AsyncByteStream):
    async def aclose(self) -> None:
        raise RuntimeError("cannot be closed")


async def test_one_that_cannot_be_ended_well_is_thrown_away() -> None:
    made = ConnectionPool()
    with serving(text("hi")) as endpoint:
        response = await made.handle_async_request(post(endpoint))
        assert isinstance(response.stream, connections_file._ResponseBody)
        response.stream._stream = Failing()
        with pytest.raises(RuntimeError, match="cannot be closed"):
            await response.aclose()
    assert waiting(made) == 0
