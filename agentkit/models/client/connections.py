"""The connection pool of an event loop.

- **Owner.** Each event loop has one pool for all clients; it holds no keys. A connection belongs to the pool, as idle,
  or to one request until its response is closed. A request that finds none idle opens one, and never waits.
- **Reuse.** The connection that was used last is taken first, which costs the same however many there are. It is closed
  instead if its server has closed it or sent anything since, or if 30 seconds have passed. A connection comes back only
  if its last response was read to its end and nothing followed.
- **Closing.** A connection is closed at once if its request failed or was cancelled. When one comes back, those that
  waited over 30 seconds are closed, and the oldest if there are over 2,000 for the server. The rest are closed when the
  event loop ends. Closing takes no `await`, so that no cancellation leaves a socket open.
"""

import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from functools import cache, partial
from time import monotonic
from typing import NamedTuple, TypeAlias

import anyio
from anyio.lowlevel import RunVar

from agentkit.models.client.http1 import Response, exchange
from agentkit.models.client.wire import Wire, connect

_IDLE_SECONDS = 30.0
_MAX_IDLE = 2000  # more than a wave of 1,000 runs needs

_Idle: TypeAlias = deque[tuple[Wire, float]]  # and since when


class Origin(NamedTuple):
    """What connections lead to."""

    scheme: str
    host: str
    port: int


class ConnectTimeout(Exception):
    """A connection was not open in time."""


class ConnectionPool:
    """Connections to any number of servers, opened as needed and used again."""

    def __init__(self) -> None:
        self._idle: dict[Origin, _Idle] = {}

    async def send(self, origin: Origin, request: Sequence[bytes], connect_seconds: float | None) -> Response:
        """Send a request and return the response, its body not read yet.

        Raises:
            ConnectTimeout: If no connection is open after so many seconds.
            RemoteProtocolError: If the response is malformed, or ends too early.
            OSError: If there is no connection, or it breaks.
        """
        idle = self._idle.setdefault(origin, deque())
        wire = _usable(idle) or await _connected(origin, connect_seconds)
        return await exchange(wire, request, partial(_release, wire, idle))

    def close(self) -> None:
        """Close the idle connections. Each of the others is closed with its response."""
        for idle in self._idle.values():
            while idle:
                idle.pop()[0].close()


def _usable(idle: _Idle) -> Wire | None:
    """Take the connection that was used last and can be used again."""
    oldest = monotonic() - _IDLE_SECONDS
    while idle:
        wire, since = idle.pop()
        if since > oldest and wire.is_quiet():
            return wire
        wire.close()
    return None


def _release(wire: Wire, idle: _Idle, reusable: bool) -> None:  # noqa: FBT001 (its caller has one argument)
    """Take a connection back from its response."""
    if not reusable:
        wire.close()
        return
    now = monotonic()
    idle.append((wire, now))
    while len(idle) > _MAX_IDLE or idle[0][1] < now - _IDLE_SECONDS:
        idle.popleft()[0].close()


async def _connected(origin: Origin, seconds: float | None) -> Wire:
    certificates = _certificates() if origin.scheme == "https" else None
    if seconds is None:
        return await connect(origin.host, origin.port, certificates)
    with anyio.move_on_after(seconds):
        return await connect(origin.host, origin.port, certificates)
    raise ConnectTimeout(f"no connection after {seconds:g} s")


@cache
def _certificates() -> ssl.SSLContext:
    """Load the trusted certificates, which takes longer than a turn of the loop."""
    import httpx  # noqa: PLC0415 (httpx takes long to import)

    context = httpx.create_ssl_context()  # this reads SSL_CERT_FILE and SSL_CERT_DIR
    context.set_alpn_protocols(["http/1.1"])
    # By default, Python takes the end of a connection for an end of TLS, and so a body that was cut for a whole one.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


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
        pool.close()
