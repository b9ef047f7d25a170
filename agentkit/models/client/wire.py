"""A connection to a server: bytes out, bytes in, under asyncio and trio alike, with TLS or without.

anyio connects and waits for the socket; this file reads and writes it. Under asyncio, a `SocketReader` waits, which
takes less time, and an IP address is connected to without anyio: 0.3 ms instead of 0.7. Why not anyio's own streams:
under asyncio, they read ahead into a queue that nobody else can look into, so a response that came unasked would be
taken for the answer to the next request. They also take a third longer. And closing a socket takes no `await`, so no
cancellation can come between a connection and its end.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from ipaddress import ip_address
from ssl import MemoryBIO, SSLContext, SSLWantReadError
from typing import TYPE_CHECKING, TypeVar

import anyio
import sniffio
from anyio.lowlevel import checkpoint_if_cancelled

if TYPE_CHECKING:
    from agentkit.models.client.asyncio_reader import SocketReader

T = TypeVar("T")

_MOST_READ = 65_536
_MOST_PIECES = 512  # systems limit how many a call may have


class Wire:
    """A TCP connection, for one task at a time."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(0)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._reader = _reader_of(connected)

    async def receive(self) -> bytes:
        """Wait for the next bytes; return none once the server has closed the connection.

        Raises:
            OSError: If the connection is broken.
        """
        if self._reader is not None:
            return await self._reader.read(_MOST_READ)
        while True:
            await anyio.wait_readable(self._socket)
            with suppress(BlockingIOError):
                return self._socket.recv(_MOST_READ)

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Send all of these; raise `OSError` if the connection is broken."""
        await checkpoint_if_cancelled()
        rest: Sequence[bytes | memoryview] = pieces
        while rest := _after(_send(self._socket, rest), rest):
            await anyio.wait_writable(self._socket)

    def is_quiet(self) -> bool:
        """Whether the server has neither closed the connection nor sent anything that was not read."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        if self._reader is not None:
            self._reader.stop()
        self._socket.close()


def _send(connected: socket.socket, pieces: Sequence[bytes | memoryview]) -> int:
    """Send what fits now, and return how many bytes that was. Windows has no `sendmsg`."""
    try:
        if len(pieces) == 1 or not hasattr(connected, "sendmsg"):
            return connected.send(pieces[0])
        return connected.sendmsg(pieces[:_MOST_PIECES])
    except BlockingIOError:
        return 0


def _after(sent: int, pieces: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return what is left of pieces once so many bytes were sent."""
    for at, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[at + 1 :]]
        sent -= len(piece)
    return []


def _reader_of(connected: socket.socket) -> "SocketReader | None":
    """Return the reader of a socket under asyncio, unless its loop watches no sockets, as that of Windows."""
    if sniffio.current_async_library() != "asyncio":
        return None
    from agentkit.models.client.asyncio_reader import SocketReader  # noqa: PLC0415

    try:
        return SocketReader(connected)
    except NotImplementedError:
        return None


class TlsWire(Wire):
    """A TCP connection with TLS. An end of the connection without one of TLS is an `OSError`: it may be an attack."""

    def __init__(self, connected: socket.socket, host: str, certificates: SSLContext) -> None:
        super().__init__(connected)
        self._received, self._to_send = MemoryBIO(), MemoryBIO()
        self._tls = certificates.wrap_bio(self._received, self._to_send, server_hostname=host)

    async def shake_hands(self) -> None:
        """Begin TLS; raise `ssl.SSLError` if the server cannot be trusted."""
        await self._perform(self._tls.do_handshake)

    async def receive(self) -> bytes:
        return await self._perform(lambda: self._tls.read(_MOST_READ))

    async def send(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            await self._perform(partial(self._tls.write, piece))

    def is_quiet(self) -> bool:
        try:
            self._tls.read(1)
        except SSLWantReadError:
            return super().is_quiet()
        except OSError:
            return False
        return False

    async def _perform(self, action: Callable[[], T]) -> T:
        """Have TLS do something, and move the bytes that it has to send or needs for it."""
        while True:
            try:
                result = action()
            except SSLWantReadError:
                await self._flush()
                received = await super().receive()
                if received:
                    self._received.write(received)
                else:
                    self._received.write_eof()
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self._to_send.pending:
            await super().send([self._to_send.read()])


@lru_cache
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def connect(host: str, port: int, certificates: SSLContext | None) -> Wire:
    """Open a connection, with TLS if there are certificates to trust; raise `OSError` if there is none to be had."""
    with ExitStack() as undo:
        if _is_address(host) and sniffio.current_async_library() == "asyncio":
            from agentkit.models.client.asyncio_reader import connected_to  # noqa: PLC0415

            connected = undo.enter_context(await connected_to(host, port))
        else:
            async with await anyio.connect_tcp(host, port) as stream:
                opened = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 (nothing of Django's)
                # The stream closes its own descriptor of the connection, and this one stays.
                connected = undo.enter_context(socket.fromfd(opened.fileno(), opened.family, opened.type))
        wire = Wire(connected) if certificates is None else TlsWire(connected, host, certificates)
        undo.callback(wire.close)
        if isinstance(wire, TlsWire):
            await wire.shake_hands()
        undo.pop_all()
        return wire
