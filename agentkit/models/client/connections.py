"""The connection pool of an event loop.

Why not httpx's own: it searches all its connections for every request, and requests that are cancelled while they wait
in it can block it for good (https://github.com/encode/httpcore/pull/1099). So here each connection is a transport of
its own, limited to one connection, and taking one costs the same however many there are.

- **Owner.** Each event loop has one pool for all clients; it holds no keys. A connection belongs to the pool, as idle,
  or to one request until its response is closed. A request that finds none idle opens one, and never waits.
- **Reuse.** The connection that was used last is taken first. Its transport opens a new one if the server has closed
  it, if 30 seconds have passed, or if its last response was not read to its end.
- **Closing.** A connection is closed at once if its request failed or was cancelled, or if closing the response failed.
  When one comes back, the oldest idle one is closed if there are over 100 for the server or it waited over 30 seconds.
  The rest are closed when the event loop ends. Closing is shielded from cancellation, so that no socket leaks.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cache
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TypeAlias

import anyio
import httpx
from anyio.lowlevel import RunVar

_IDLE_SECONDS = 30.0
_MAX_IDLE = 100
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)

_Origin: TypeAlias = tuple[bytes, bytes, int | None]
_Idle: TypeAlias = deque[tuple[httpx.AsyncHTTPTransport, float]]  # and since when


class ConnectionPool(httpx.AsyncBaseTransport):
    """Connections to any number of servers, opened as needed and used again."""

    def __init__(self) -> None:
        self._idle: dict[_Origin, _Idle] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response, its body not read yet."""
        url = request.url
        idle = self._idle.setdefault((url.raw_scheme, url.raw_host, url.port), deque())
        transport = idle.pop()[0] if idle else _transport(url.scheme)
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await _close(transport)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (it is, from an async transport)
        response.stream = _ResponseBody(response.stream, transport, idle)
        return response

    async def aclose(self) -> None:
        """Close the idle connections. Each of the others is closed with its response."""
        for idle in self._idle.values():
            while idle:
                await _close(idle.pop()[0])


class RequestBody(httpx.AsyncByteStream):
    """The body of a request, in one piece. Unlike httpx's own, it leaves no generator open if sending is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = False  # authentication of the caller's client may send it again
        return self

    async def __anext__(self) -> bytes:
        if self._sent:
            raise StopAsyncIteration
        self._sent = True
        return self._body


class _ResponseBody(httpx.AsyncByteStream):
    """The body of a response. Closing it returns the connection to the pool."""

    def __init__(self, stream: httpx.AsyncByteStream, transport: httpx.AsyncHTTPTransport, idle: _Idle) -> None:
        self._stream, self._transport, self._idle = stream, transport, idle
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        except BaseException:
            await _close(self._transport)
            raise
        now = anyio.current_time()
        self._idle.append((self._transport, now))
        if len(self._idle) > _MAX_IDLE or now - self._idle[0][1] > _IDLE_SECONDS:
            await _close(self._idle.popleft()[0])


async def connection_pool() -> ConnectionPool:
    """Return the running event loop's pool."""
    try:
        return _pools.get()[0]
    except LookupError:
        pool = ConnectionPool()
        # An event loop finishes its open generators before it ends, so this one closes the connections in time.
        lifetime = _lifetime(pool)
        _pools.set((pool, lifetime))
        await anext(lifetime)
        return pool


_pools: RunVar[tuple[ConnectionPool, AsyncGenerator[None, None]]] = RunVar("agentkit_connections")


async def _lifetime(pool: ConnectionPool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pool.aclose()


def _transport(scheme: str) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=_certificates(scheme), limits=_ONE, trust_env=False)


@cache
def _certificates(scheme: str) -> SSLContext:
    """Load the trusted certificates, which takes longer than a turn of the loop; plain HTTP needs none."""
    if scheme == "http":
        return SSLContext(PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context()  # this reads SSL_CERT_FILE and SSL_CERT_DIR


async def _close(transport: httpx.AsyncHTTPTransport) -> None:
    with anyio.CancelScope(shield=True):
        await transport.aclose()
