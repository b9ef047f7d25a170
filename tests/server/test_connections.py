"""The limits of connections, with a protocol and transports that play their parts; `tests/attack` has real ones."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from agentkit.server import Bounds
from agentkit.server.connections import Connections, GuardedProtocol, client_of

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

QUICK = 0.01


class Inner:
    """A protocol of uvicorn's. A request is complete with the first data that ends in `!`."""

    def __init__(self) -> None:
        self.cycle: Any = None
        self.called: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.called.append(data.decode())
        if data.endswith(b"!"):
            self.cycle = SimpleNamespace(response_complete=False)

    def __getattr__(self, name: str) -> Any:
        def note(*_: object) -> None:
            self.called.append(name)

        return note


class Transport:
    def __init__(self, host: str) -> None:
        self.host = host
        self.written, self.ended = b"", ""
        self.over = anyio.Event()

    def get_extra_info(self, name: str) -> Any:
        assert name == "peername"
        return (self.host, 1234)

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"
        self.over.set()


def opened(connections: Connections, host: str = "192.0.2.1") -> tuple[GuardedProtocol, Transport, Inner]:
    inner, transport = Inner(), Transport(host)

    def make(**_: object) -> Inner:
        return inner

    connection = connections.protocol(make)(config=1)
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport, inner


async def test_what_is_within_the_limits_is_passed_on() -> None:
    connection, transport, inner = opened(Connections(Bounds()))
    connection.data_received(b"GET !")
    connection.pause_writing()
    connection.resume_writing()
    connection.eof_received()
    connection.connection_lost(None)
    assert inner.called == ["connection_made", "GET !", "pause_writing", "resume_writing", "connection_lost"]
    assert (transport.written, transport.ended) == (b"", "")


async def test_headers_that_do_not_end_in_time() -> None:
    connections = Connections(Bounds(head=QUICK))
    slow, done, between = (opened(connections) for _ in range(3))
    slow[0].data_received(b"GET")
    done[0].data_received(b"GET !")
    between[0].data_received(b"GET !")
    between[2].cycle.response_complete = True
    between[0].data_received(b"GET")
    with anyio.fail_after(60):
        await slow[1].over.wait()
        await between[1].over.wait()
    assert (slow[1].ended, done[1].ended, between[1].ended) == ("aborted", "", "aborted")
    slow[0].data_received(b"late")
    slow[0].connection_lost(None)
    assert slow[2].called == ["connection_made", "GET", "connection_lost"]


async def test_beyond_the_limit_the_longest_wait_ends_and_requests_stay() -> None:
    connections = Connections(Bounds(connections=4))
    served = [opened(connections, f"192.0.2.{number}") for number in range(2)]
    for connection, _, _ in served:
        connection.data_received(b"GET !")
    first, second, third = (opened(connections, f"192.0.2.{number}") for number in range(2, 5))
    assert (first[1].ended, second[1].ended, third[1].ended) == ("aborted", "", "")
    for waiting in (second, third):
        waiting[0].data_received(b"GET !")
    refused, transport, inner = opened(connections, "192.0.2.9")
    assert (transport.written[:12], transport.ended, inner.called) == (b"HTTP/1.1 503", "closed", [])
    refused.data_received(b"GET !")
    refused.connection_lost(None)
    assert inner.called == []
    served[0][0].connection_lost(None)
    assert opened(connections)[1].ended == ""


async def test_an_address_has_half_of_them_and_this_machine_all() -> None:
    connections = Connections(Bounds(requests=2))
    mine = [opened(connections) for _ in range(3)]
    assert [transport.ended for _, transport, _ in mine] == ["aborted", "", ""]
    others = opened(connections, "192.0.2.2")
    others[0].data_received(b"GET !")
    for connection, _, _ in mine[1:]:
        connection.data_received(b"GET !")
    assert opened(connections)[1].written
    assert others[1].ended == ""
    here = [opened(Connections(Bounds(requests=2)), "127.0.0.1") for _ in range(4)]
    assert all(transport.ended == "" for _, transport, _ in here)


@pytest.mark.parametrize(("peer", "client"), [
    (("192.0.2.1", 1), "192.0.2.1"), (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"), (("2001:db8:1:2:3::4", 1, 0, 0), "2001:db8:1:2::"),
    (("fe80::1%eth0", 1, 0, 0), "fe80::"), (("127.0.0.1", 1), ""), (("::1", 1, 0, 0), ""), ("/run/socket", ""), ("", ""), (None, ""), ((), ""),
])  # fmt: skip
async def test_what_is_one_client(peer: Any, client: str) -> None:
    assert client_of(peer) == client
