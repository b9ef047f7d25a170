import asyncio
import socket
import struct
from collections.abc import Generator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from agentkit.models.client.asyncio_reader import SocketReader
from agentkit.models.client.wire import Wire
from tests.clients import ASYNCIO

pytestmark = [pytest.mark.anyio, ASYNCIO]

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def sockets() -> Generator[tuple[socket.socket, socket.socket]]:
    """Yield a client's socket, and that of its server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.settimeout(0)
        with client, listener.accept()[0] as server:
            yield client, server


def watches(client: socket.socket) -> bool:
    return asyncio.get_running_loop().remove_reader(client)


async def test_it_reads_what_comes_so_many_bytes_at_a_time(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    reader = SocketReader(client)
    asyncio.get_running_loop().call_soon(server.sendall, b"answer")
    assert [await reader.read(4), await reader.read(4)] == [b"answ", b"er"]
    server.close()
    assert [await reader.read(4) for _ in range(2)] == [b"", b""]


async def test_what_nobody_waits_for_stays_in_the_socket(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    reader = SocketReader(client)
    server.sendall(b"unasked")
    while reader._watches:
        await checkpoint()
    assert await reader.read(100) == b"unasked"
    assert watches(client)
    for _ in range(2):
        reader.stop()
        assert not watches(client)


async def test_a_cancelled_read_takes_nothing(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    reader = SocketReader(client)
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await reader.read(100)
    server.sendall(b"late")
    with anyio.move_on_after(0) as scope:
        await reader.read(100)
    assert scope.cancelled_caught
    assert await reader.read(100) == b"late"


async def test_a_broken_connection_is_an_error(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    reader = SocketReader(client)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    server.close()
    with pytest.raises(ConnectionResetError):
        await reader.read(100)


async def test_a_false_alarm_is_waited_out(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    reader = SocketReader(client)
    loop = asyncio.get_running_loop()
    loop.call_soon(reader._on_readable)
    loop.call_soon(server.sendall, b"answer")
    assert await reader.read(100) == b"answer"


async def test_a_loop_that_watches_no_sockets_is_waited_for_in_another_way(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    client, server = sockets
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        wire = Wire(client)
    server.sendall(b"answer")
    assert await wire.receive() == b"answer"
    wire.close()


async def test_a_loop_that_is_closed_watches_nothing(sockets: tuple[socket.socket, socket.socket]) -> None:
    async def make() -> SocketReader:
        return SocketReader(sockets[0])

    reader = await anyio.to_thread.run_sync(lambda: asyncio.run(make()))
    reader.stop()
    assert not reader._watches
