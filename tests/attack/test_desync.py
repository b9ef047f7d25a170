"""Servers that send more than they were asked for, in one packet: no client may take it for the answer to its request."""

import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random

import anyio
import pytest

from agentkit import ChatClient, ModelError
from tests.clients import ASYNCIO, HELLO, HI, SSE, delta, ignore
from tests.tls import trusted

pytestmark = [pytest.mark.anyio, ASYNCIO]

STOLEN = HI.replace(b"Hi.", b"stolen")
STREAM = delta("Hi.", "stop") + b"data: [DONE]\n\n"


def response(body: bytes, *more: str, kind: str = "application/json", chunked: bool = False) -> bytes:
    framing = ["transfer-encoding: chunked"] if chunked else [f"content-length: {len(body)}"]
    head = "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {kind}", *framing, *more])
    content = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if chunked else body
    return f"{head}\r\n\r\n".encode() + content


SECOND = response(STOLEN)
FIRST = [
    response(HI),
    response(HI, chunked=True),
    response(STREAM, kind=SSE["content-type"]),
    response(STREAM, chunked=True, kind=SSE["content-type"]),
]
EXTRA = [
    *(SECOND, b"\r\n" + SECOND, b"\r\n\r\n" + SECOND, b"HTTP/1.1 100 Continue\r\n\r\n" + SECOND, SECOND[:20], b"H", b"x", b"\x00"),
    *(SECOND * 3, response(b"") + SECOND, b"0\r\n\r\n" + SECOND, b"HTTP/1.0 200 OK\r\n\r\n" + STOLEN, b"HTTP/1.1 204 No Content\r\n\r\n" + SECOND),
]  # fmt: skip
BOTH_LENGTHS = [
    response(HI, "transfer-encoding: chunked") + SECOND, response(HI, f"content-length: {len(HI) + len(SECOND)}") + SECOND,
    response(HI, "content-length: 0", chunked=True) + SECOND, response(HI, "transfer-encoding: identity") + SECOND,
    response(HI, "transfer-encoding: chunked, identity") + SECOND,
]  # fmt: skip


class Greedy:
    """A server that sends one packet for the first request of a connection, and the honest answer for each further one."""

    def __init__(self, packet: bytes, later: bytes, context: ssl.SSLContext | None = None) -> None:
        self.packet, self.later, self.context = packet, later, context
        self.connections = 0

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self.talk, args=(connection, self.connections), daemon=True).start()

    def talk(self, connection: socket.socket, number: int) -> None:
        with (
            suppress(OSError, ssl.SSLError),
            closing(self.context.wrap_socket(connection, server_side=True) if self.context else connection) as wire,
        ):
            wire.settimeout(30)
            asked = 0
            while request := wire.recv(65_536):
                while b"\r\n\r\n" not in request or not request.endswith(b"}"):
                    request += wire.recv(65_536)
                asked += 1
                own = response(HI.replace(b"Hi.", b"own answer"))
                wire.sendall((self.packet if asked == 1 else self.later + own) if number == 1 else own)


@contextmanager
def greedy(packet: bytes, later: bytes = b"", context: ssl.SSLContext | None = None) -> Generator[tuple[str, Greedy]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Greedy(packet, later, context)
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{listener.getsockname()[1]}/v1", server
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


async def check(url: str, server: Greedy) -> None:
    """Ask by two clients, each with a key of its own; the second gets the answer to its own request."""
    with anyio.fail_after(60):
        first, second = (
            ChatClient("m", base_url=url, api_key=key, retries=0) for key in ("sk-of-ann-1", "sk-of-bob-2")
        )
        with suppress(ModelError):
            assert (await first.complete(HELLO, ignore)).message.content == "Hi."
        assert (await second.complete(HELLO, ignore)).message.content == "own answer"
    assert server.connections == 2


def attacks() -> list[bytes]:
    """Each packet: a whole response with something behind it, or one with two lengths."""
    return [*[first + extra for first in FIRST for extra in EXTRA], *BOTH_LENGTHS]


async def test_what_follows_a_response_answers_nobody() -> None:
    for packet in attacks():
        with greedy(packet) as (url, server):
            await check(url, server)


async def test_half_of_it_now_and_half_with_the_next_request() -> None:
    draw = Random(16)
    for first in FIRST:
        for cut in draw.sample(range(1, len(SECOND)), 3):
            with greedy(first + SECOND[:cut], SECOND[cut:]) as (url, server):
                await check(url, server)


async def test_over_tls(tmp_path: Path) -> None:
    with trusted(tmp_path) as context:
        for packet in [FIRST[0] + EXTRA[0], FIRST[3] + EXTRA[1], FIRST[1] + EXTRA[4], *BOTH_LENGTHS[:2]]:
            with greedy(packet, context=context) as (url, server):
                await check(url, server)
