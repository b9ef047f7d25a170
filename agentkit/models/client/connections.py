"""The connections of an event loop.

httpx's own pool looks through all its connections for every request, and requests that are cancelled while they wait in
it can block it for good. So each connection here is a transport of its own, with one request at a time: finding one
takes the same time however many there are, and one whose request did not end well is thrown away.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import cache
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import NamedTuple, TypeAlias

import httpx
from anyio import CancelScope, current_time
from anyio.lowlevel import RunVar

_IDLE_SECONDS = 30.0
_MOST_IDLE = 100
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)

Origin: TypeAlias = tuple[bytes, bytes, int | None]


class _Idle(NamedTuple):
    """A connection that waits for its next request."""

    transport: httpx.AsyncHTTPTransport
    since: float


class Connections(httpx.AsyncBaseTransport):
    """Connections to any number of servers, made as they are needed and used again.

    A server that closes the connection between two requests is noticed; the request goes over a new one. Of those that
    are not used, at most 100 for each server wait for a next request, for at most 30 seconds as long as there are
    others.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[_Idle]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the response, its body not read yet."""
        url = request.url
        idle = self._idle.setdefault((url.raw_scheme, url.raw_host, url.port), deque())
        transport = idle.pop().transport if idle else _transport(url.scheme)
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await _close(transport)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (it is, from an async transport)
        response.stream = _Body(response.stream, transport, lambda: self._take_back(idle, transport))
        return response

    async def aclose(self) -> None:
        """Close what is idle. What is in use is closed by those who use it."""
        for idle in self._idle.values():
            while idle:
                await _close(idle.pop().transport)

    def _take_back(self, idle: deque[_Idle], transport: httpx.AsyncHTTPTransport) -> httpx.AsyncHTTPTransport | None:
        """Keep a connection for the next request; give back one that has waited too long, to be closed."""
        now = current_time()
        idle.append(_Idle(transport, now))
        oldest = idle[0]
        return idle.popleft().transport if len(idle) > _MOST_IDLE or now - oldest.since > _IDLE_SECONDS else None


class Sent(httpx.AsyncByteStream):
    """The body of a request, in one piece. Unlike httpx's own it leaves nothing open where sending is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        body, self._body = self._body, None
        if body is None:
            raise StopAsyncIteration
        return body


class _Body(httpx.AsyncByteStream):
    """The body of a response; with its end the connection is free."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        transport: httpx.AsyncHTTPTransport,
        take_back: Callable[[], httpx.AsyncHTTPTransport | None],
    ) -> None:
        self._stream = stream
        self._transport = transport
        self._take_back = take_back
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            await self._stream.aclose()
        except BaseException:
            await _close(self._transport)
            raise
        if (spent := self._take_back()) is not None:
            await _close(spent)


async def connections() -> Connections:
    """Give the running event loop's connections, which all clients in it share; they carry no key."""
    try:
        return _kept.get()[0]
    except LookupError:
        made = Connections()
        # An event loop finishes its open generators before it ends, so this one closes the connections in time.
        lifetime = _lifetime(made)
        _kept.set((made, lifetime))
        await anext(lifetime)
        return made


_kept: RunVar[tuple[Connections, AsyncGenerator[None, None]]] = RunVar("agentkit_connections")


async def _lifetime(made: Connections) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await made.aclose()


def _transport(scheme: str) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=_certificates(scheme), limits=_ONE, trust_env=False)


@cache
def _certificates(scheme: str) -> SSLContext:
    """Load those that are trusted, which takes longer than a turn of the loop; without TLS nobody asks for them."""
    if scheme == "http":
        return SSLContext(PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context()  # it does look at SSL_CERT_FILE and SSL_CERT_DIR


async def _close(transport: httpx.AsyncHTTPTransport) -> None:
    """Close a connection, also where the run that used it is being cancelled."""
    with CancelScope(shield=True):
        await transport.aclose()
