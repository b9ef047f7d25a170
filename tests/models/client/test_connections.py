import ssl

import anyio
import anyio.lowlevel
import httpx
import pytest

from agentkit import ConnectionFailed
from agentkit.models.client import connections as connections_file
from agentkit.models.client.connections import ConnectionPool, RequestBody, connection_pool
from agentkit.testing import Chaos, Raw, answer, chaos
from tests.clients import HELLO, HI, JSON, QUICK, client_at, failed

pytestmark = pytest.mark.anyio


async def ask(endpoint: Chaos) -> str | None:
    return (await client_at(endpoint).complete(HELLO)).message.content


def idle_in(pool: ConnectionPool) -> int:
    return sum(map(len, pool._idle.values()))


def post(endpoint: Chaos) -> httpx.Request:
    body = b'{"messages":[]}'
    headers = {"host": "127.0.0.1", "content-length": str(len(body))}
    return httpx.Request("POST", f"{endpoint.url}/x", headers=headers, stream=RequestBody(body))


async def fetch(pool: ConnectionPool, endpoint: Chaos) -> None:
    response = await pool.handle_async_request(post(endpoint))
    await response.aread()
    await response.stream.aclose()  # type: ignore[union-attr]  # pyright: ignore[reportUnknownMemberType,reportAttributeAccessIssue]


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
    connections_file._certificates.cache_clear()
    with chaos(answer("Hi.")) as endpoint:
        assert await ask(endpoint) == "Hi."
        assert loaded == []
    endpoint.url = "https://127.0.0.1:1"
    assert [type(await failed(client_at(endpoint))) for _ in range(2)] == [ConnectionFailed] * 2
    assert len(loaded) == 1
    connections_file._certificates.cache_clear()
    context = connections_file._certificates("http")
    assert (context.verify_mode, context.get_ca_certs()) == (ssl.CERT_REQUIRED, [])


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
    monkeypatch.setattr(anyio, "current_time", lambda: now)
    monkeypatch.setattr(connections_file, "_MAX_IDLE", 2)
    pool = ConnectionPool()
    with chaos(answer("Hi.")) as endpoint:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(fetch, pool, endpoint)
        before = idle_in(pool)
        assert before <= 2
        now += 31
        await fetch(pool, endpoint)
        assert idle_in(pool) == max(1, before - 1)
        await pool.aclose()
    assert idle_in(pool) == 0


class Failing(httpx.AsyncByteStream):
    async def aclose(self) -> None:
        raise RuntimeError("cannot be closed")


async def test_a_connection_that_fails_or_whose_response_cannot_be_closed_is_closed() -> None:
    pool = ConnectionPool()
    with pytest.raises(httpx.ConnectError):
        await pool.handle_async_request(httpx.Request("POST", "http://127.0.0.1:1/"))
    assert idle_in(pool) == 0
    with chaos(answer("Hi.")) as endpoint:
        response = await pool.handle_async_request(post(endpoint))
        assert isinstance(response.stream, connections_file._ResponseBody)
        response.stream._stream = Failing()
        with pytest.raises(RuntimeError, match="cannot be closed"):
            await response.aclose()
    assert idle_in(pool) == 0
