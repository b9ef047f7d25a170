"""Connections that uvicorn serves, guarded: how many there are, from where, and how long a request may be in coming.

uvicorn has no such limits: clients that never finish their headers can hold every file descriptor. Its parser here is
h11, which bounds the size of headers; httptools, which it prefers, takes a header without an end, in quadratic time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, cast

from agentkit.server.limits import Bounds

_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
_NETWORK_BITS = 64  # of an IPv6 address: one client has all the addresses of a network


class Connections:
    """The open connections of a server. Where they are too many, the one goes that has waited longest for a request."""

    def __init__(self, bounds: Bounds) -> None:
        self.head_seconds = bounds.head
        self._most = bounds.connections or 2 * bounds.requests
        self._open: Counter[str] = Counter()
        self._waiting: dict[GuardedProtocol, None] = {}  # for the headers of a request, since the longest time first

    def protocol(self, inner: Callable[..., Any]) -> "Callable[..., GuardedProtocol]":
        """Return the guarded form of a protocol of uvicorn's, which `inner` makes."""

        def make(**options: Any) -> GuardedProtocol:
            return GuardedProtocol(self, inner(**options))

        return make

    def enter(self, client: str) -> bool:
        """Count a connection of a client, as `client_of` names it; return whether there is room for it."""
        most_here = max(1, self._most // 2) if client else self._most
        is_full_here = self._open[client] >= most_here
        if is_full_here or self._open.total() >= self._most:
            waiting = (other for other in self._waiting if other.client == client or not is_full_here)
            if (evicted := next(waiting, None)) is None:
                return False
            evicted.close()
        self._open[client] += 1
        return True

    def leave(self, connection: "GuardedProtocol") -> None:
        self._waiting.pop(connection, None)
        self._open[connection.client] -= 1
        if not self._open[connection.client]:
            del self._open[connection.client]

    def watch(self, connection: "GuardedProtocol", *, waiting: bool) -> None:
        if waiting:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)


class GuardedProtocol(asyncio.Protocol):
    """A connection: a protocol of uvicorn's, within the limits."""

    def __init__(self, connections: Connections, inner: Any) -> None:
        self.client = ""
        self._connections = connections
        self._inner = inner
        self._entered = self._counts = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.client = client_of(transport.get_extra_info("peername"))
        self._entered = self._counts = self._connections.enter(self.client)
        if self._entered:
            self._inner.connection_made(transport)
            self._watch()
        else:
            self._transport.write(_REFUSAL)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._counts:
            self._inner.data_received(data)
            self._watch()

    def eof_received(self) -> None:
        """Close the connection."""

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._entered:
            self._inner.connection_lost(exc)

    def close(self) -> None:
        """Close the connection at once."""
        self._leave()
        self._transport.abort()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counts:
            self._counts = False
            self._connections.leave(self)

    def _watch(self) -> None:
        """Close the connection if the headers of its next request are not complete in time."""
        cycle = self._inner.cycle
        waiting = cycle is None or cycle.response_complete
        self._connections.watch(self, waiting=waiting)
        if waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._connections.head_seconds, self.close)
        elif not waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def client_of(peer: object) -> str:
    """Return what counts as one client: its address, or an IPv6 network; `""` for this machine, as a proxy on it is."""
    host = str(cast("tuple[object, ...]", peer)[0]) if isinstance(peer, tuple) and peer else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""  # a Unix socket
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return ""
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)
