import gc
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from agentkit.models.client.connections import _certificates
from agentkit.models.client.wire import TlsWire, Wire, _after, _send, connect
from tests.promises.scenario import Points, _Waiting
from tests.tls import trusted

pytestmark = pytest.mark.anyio

Last: TypeAlias = Callable[[ssl.SSLObject, ssl.MemoryBIO], object]

WRONG = b"\x17\x03\x03\x00\x05wrong"
RESET = struct.pack("ii", 1, 0)


@contextmanager
def connected() -> Generator[tuple[Wire, socket.socket]]:
    """Yield a connection, and the socket of its server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(socket.create_connection(listener.getsockname()))
        with closing(wire), listener.accept()[0] as server:
            yield wire, server


def wait_for(wire: Wire) -> None:
    """Wait until what the server did has arrived."""
    assert select.select([wire._socket], [], [], 30)[0]


async def test_bytes_go_and_come() -> None:
    with connected() as (wire, server):
        await wire.send([b"ask"])
        assert server.recv(10) == b"ask"
        server.sendall(b"answer")
        assert await wire.receive() == b"answer"
        server.close()
        assert [await wire.receive() for _ in range(2)] == [b"", b""]


async def test_what_the_server_does_not_take_yet_waits() -> None:
    received = bytearray()

    def take(server: socket.socket) -> None:
        while piece := server.recv(1_000_000):
            received.extend(piece)

    with connected() as (wire, server):
        with anyio.move_on_after(0.05):
            await wire.send([b"x" * 20_000_000])
            raise AssertionError("nobody took it")
    with connected() as (wire, server):
        thread = threading.Thread(target=take, args=(server,))
        thread.start()
        pieces = [b"%d" % (number % 10) * (number * 1000) for number in range(200)]
        await wire.send(pieces)
        wire.close()
        await anyio.to_thread.run_sync(thread.join)
    assert bytes(received) == b"".join(pieces)


async def test_where_nothing_fits_nothing_is_sent() -> None:
    with connected() as (wire, _):
        while sent := _send(wire._socket, [b"x" * 1_000_000]):
            assert sent <= 1_000_000
        assert _send(wire._socket, [b"x", b"y"]) == 0


class NoScatter:
    """A socket as Windows has it."""

    def __init__(self) -> None:
        self.received = b""

    def send(self, data: bytes) -> int:
        self.received += data[:2]
        return len(data[:2])


def test_without_sendmsg_pieces_are_sent_one_by_one() -> None:
    connected: Any = NoScatter()
    pieces: Sequence[bytes | memoryview] = [b"abc", b"", b"d", b"ef"]
    while pieces:
        pieces = _after(_send(connected, pieces), pieces)
    assert connected.received == b"abcdef"


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_false_alarm_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wait, alarms = anyio.wait_readable, [1, 2]

    async def alarm(connected: Any) -> None:
        if alarms:
            alarms.pop()
            server.sendall(b"answer")
        else:
            await wait(connected)

    monkeypatch.setattr(anyio, "wait_readable", alarm)
    with connected() as (wire, server):
        assert (await wire.receive())[:6] == b"answer"
    assert len(alarms) < 2


async def test_a_request_of_a_task_that_is_cancelled_is_not_sent() -> None:
    with connected() as (wire, server):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await wire.send([b"ask"])
        wire.close()
        assert (scope.cancelled_caught, server.recv(1)) == (True, b"")


async def test_a_connection_is_quiet_until_the_server_does_anything() -> None:
    def write(server: socket.socket) -> None:
        server.sendall(b"x")

    def reset(server: socket.socket) -> None:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        server.close()

    for do in (write, socket.socket.close, reset):
        with connected() as (wire, server):
            assert wire.is_quiet()
            do(server)
            wait_for(wire)
            assert not wire.is_quiet()


async def test_a_server_is_found_by_its_address_and_by_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for host in ("127.0.0.1", "localhost"):
            with closing(await connect(host, listener.getsockname()[1], None)) as wire, listener.accept()[0] as server:
                server.sendall(b"hello")
                assert await wire.receive() == b"hello"


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(OSError, match="connection attempts failed"):
            await connect(host, port, None)
    for host in ("::1", "nowhere.invalid"):
        with pytest.raises(OSError):  # noqa: PT011 (every system has its own words)
            await connect(host, port, None)


# TLS


class Server:
    """A server with TLS for one connection; it does what the test says."""

    def __init__(self, context: ssl.SSLContext, do: Callable[[ssl.SSLSocket], object]) -> None:
        self._context, self._do = context, do
        self.name: str | None = None

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        socket.create_connection(self._listener.getsockname()).close()  # in case that nobody has come
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        accepted = self._listener.accept()[0]
        with accepted, suppress(OSError), self._context.wrap_socket(accepted, server_side=True) as client:
            self._do(client)


@pytest.fixture
def server_context(tmp_path: Path) -> Generator[ssl.SSLContext]:
    with trusted(tmp_path, "127.0.0.1", "localhost") as context:
        yield context


async def secured(port: int, host: str = "127.0.0.1") -> TlsWire:
    wire = await connect(host, port, _certificates())
    assert isinstance(wire, TlsWire)
    return wire


async def test_tls_is_agreed_on_with_whom_it_may_be(server_context: ssl.SSLContext) -> None:
    agreed: list[str | None] = []

    def answer(client: ssl.SSLSocket) -> None:
        agreed.append(client.selected_alpn_protocol())
        while data := client.recv(100_000):
            client.sendall(data)

    for host in ("127.0.0.1", "localhost"):
        with Server(server_context, answer) as port, closing(await secured(port, host)) as wire:
            for data in (b"ask", b"x" * 100_000):
                await wire.send([data])
                received = b""
                while len(received) < len(data):
                    received += await wire.receive()
                assert received == data
                assert wire.is_quiet()
    assert agreed == ["http/1.1"] * 2


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


async def test_whoever_cannot_be_trusted_gets_no_connection(tmp_path: Path) -> None:
    wrong_name = pytest.raises(ssl.SSLCertVerificationError, match="127")
    with trusted(tmp_path, "other.example") as context, Server(context, bool) as port, wrong_name:
        await secured(port)
    with trusted(tmp_path) as context:
        pass
    with Server(context, bool) as port, pytest.raises(ssl.SSLCertVerificationError, match="issuer"):
        await secured(port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        with pytest.raises(OSError):  # noqa: PT011 (every system has its own words)
            await secured(listener.getsockname()[1])
        thread.join()


async def test_an_end_is_one_only_if_tls_says_so(server_context: ssl.SSLContext) -> None:
    def end(client: ssl.SSLSocket) -> None:
        client.sendall(b"all")
        client.unwrap().close()

    def cut(client: ssl.SSLSocket) -> None:
        client.sendall(b"all")
        client.shutdown(socket.SHUT_RDWR)

    with Server(server_context, end) as port, closing(await secured(port)) as wire:
        assert [await wire.receive() for _ in range(2)] == [b"all", b""]
    with Server(server_context, cut) as port, closing(await secured(port)) as wire:
        assert await wire.receive() == b"all"
        for _ in range(2):
            with pytest.raises(ssl.SSLError):
                await wire.receive()


async def test_with_tls_too_a_connection_is_quiet_until_the_server_does_anything(
    server_context: ssl.SSLContext,
) -> None:
    go = threading.Event()

    def after(*deeds: Callable[[ssl.SSLSocket], object]) -> Callable[[ssl.SSLSocket], None]:
        def do(client: ssl.SSLSocket) -> None:
            client.sendall(b"asked")
            go.wait()
            for deed in deeds:
                deed(client)
            client.close()

        return do

    def spoil(client: ssl.SSLSocket) -> None:
        socket.socket.sendall(client, WRONG)

    deeds: list[Callable[[ssl.SSLSocket], object]] = [
        lambda client: client.sendall(b"x"),
        ssl.SSLSocket.unwrap,
        spoil,
        bool,
    ]
    for deed in deeds:
        go.clear()
        with Server(server_context, after(deed)) as port, closing(await secured(port)) as wire:
            assert await wire.receive() == b"asked"
            assert wire.is_quiet()
            go.set()
            wait_for(wire)
            assert not wire.is_quiet()


async def answering(listener: socket.socket, context: ssl.SSLContext, last: Last) -> None:
    """Answer a connection, and then do something with TLS, in one packet: each `write` is a record of its own."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, to_send, server_side=True)
    client = (await anyio.to_thread.run_sync(listener.accept))[0]
    with client:
        for action in (tls.do_handshake, lambda: tls.read(1)):
            while True:
                try:
                    action()
                    break
                except ssl.SSLWantReadError:
                    client.sendall(to_send.read())
                    received.write(await anyio.to_thread.run_sync(client.recv, 65_536))
        tls.write(b"answer")
        with suppress(ssl.SSLError):
            last(tls, to_send)
        client.sendall(to_send.read())
        await anyio.to_thread.run_sync(client.recv, 1)


async def test_what_came_in_the_same_packet_is_not_overlooked(server_context: ssl.SSLContext) -> None:
    lasts: list[Last] = [
        lambda tls, _: tls.write(b"x"),
        lambda tls, _: tls.unwrap(),
        lambda _, to_send: to_send.write(WRONG),
    ]
    for last in lasts:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with anyio.create_task_group() as group:
                group.start_soon(answering, listener, server_context, last)
                with closing(await secured(listener.getsockname()[1])) as wire:
                    await wire.send([b"?"])
                    assert await wire.receive() == b"answer"
                    assert not wire.is_quiet()


def cancel(scope: anyio.CancelScope, _where: str) -> None:
    scope.cancel()


@pytest.mark.parametrize(
    ("host", "secure", "least"), [("127.0.0.1", False, 1), ("127.0.0.1", True, 2), ("localhost", False, 3)]
)
async def test_a_connection_that_is_cancelled_while_it_opens_is_closed(
    host: str, secure: bool, least: int, server_context: ssl.SSLContext
) -> None:
    """What is left to the garbage collector is a warning, and so an error."""
    number, reached = 0, True
    while reached:
        number += 1
        points = Points(("wait", number))
        with Server(server_context, bool) as port, anyio.CancelScope() as scope:
            points.act = partial(cancel, scope)
            wire: Wire = await _Waiting(connect(host, port, _certificates() if secure else None), points)
            wire.close()
        reached = points.reached
    assert number > least
    gc.collect()


async def test_a_connection_that_cannot_be_kept_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("too many open files")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "fromfd", full)
        with pytest.raises(OSError, match="too many"):
            await connect("localhost", listener.getsockname()[1], None)
    gc.collect()
