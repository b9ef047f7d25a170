"""Clients that attack a served agent, on real sockets: slow, greedy and with bombs of values.

`benchmarks/attacks.py` has the long form, with the server in a process of its own.
"""

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentkit import Agent
from agentkit.server import Bounds, ChatServer
from agentkit.server.connections import Connections
from tests.scripted import Scripted, said
from tests.server.served import COMPLETIONS, asking, served

BOUNDS = Bounds(connections=12, requests=4, head=30, body=3_000_000, values=50_000)
ANN, BOB = "sk-ann-attacks", "sk-bob-waits"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = ChatServer(Agent(Scripted(said("Hi"))), keys=[ANN, BOB], bounds=BOUNDS)
    http = Connections(BOUNDS).protocol(H11Protocol)
    with served(app, http=http, ws="none", h11_max_incomplete_event_size=65_536) as address:
        yield address


@contextmanager
def connected(url: str, count: int, data: bytes) -> Generator[list[socket.socket]]:
    """Open connections, and send the same on each."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=60))
            with suppress(OSError):
                opened[-1].sendall(data)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def ask(url: str, key: str = BOB, body: bytes | None = None) -> int:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if body is None:
        return httpx.post(f"{url}{COMPLETIONS}", json=asking(), headers=headers, timeout=60).status_code
    return httpx.post(f"{url}{COMPLETIONS}", content=body, headers=headers, timeout=60).status_code


def test_headers_that_never_end_keep_nobody_out(url: str) -> None:
    with connected(url, 3 * (BOUNDS.connections or 0), b"POST / HTTP/1.1\r\nx-slow: 1") as opened:
        assert ask(url) == 200
        with suppress(ConnectionError):
            assert opened[0].recv(100) == b""
    assert ask(url) == 200


def test_a_header_without_an_end_is_refused(url: str) -> None:
    with connected(url, 1, b"GET /healthz HTTP/1.1\r\nx-endless: ") as (client,):
        with suppress(OSError):
            for _ in range(1_000):
                client.sendall(b"x" * 10_000)
        with suppress(ConnectionError):
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert ask(url) == 200


def test_unfinished_uploads_of_one_key_keep_no_other_key_out(url: str) -> None:
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ANN}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
    with connected(url, BOUNDS.requests, head.encode()) as opened:
        while ask(url, ANN) != 429:  # until all of them have a place
            pass
        assert ask(url) == 200
        assert opened[0].recv(100).startswith(b"HTTP/1.1 429")
        assert ask(url) == 200


@pytest.mark.parametrize("bomb", [
    b'{"messages": [' + b"[]," * 900_000 + b"[]]}", b'{"a": ' + b'[{"":0},' * 300_000, b"[" * 2_900_000, b'{"n": [' + b"1," * 1_400_000 + b"1]}",
])  # fmt: skip
def test_a_bomb_of_values_is_refused(url: str, bomb: bytes) -> None:
    assert ask(url, body=bomb) == 413
    assert ask(url) == 200


def test_what_looks_like_values_within_a_text_is_none(url: str) -> None:
    text = b'{"model": "agent", "messages": [{"role": "user", "content": "' + b'[],{}: \\",' * 250_000 + b'"}]}'
    assert ask(url, body=text) == 200


def test_a_client_that_sends_too_much_reads_why(url: str) -> None:
    for length in (3_000_001, 20_000_000):
        assert ask(url, body=b'"' + b"x" * length + b'"') == 413
