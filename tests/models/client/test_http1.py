"""What a response is and what becomes of its connection; `test_http1_fuzz` compares both with httpx."""

import socket
import threading
from collections.abc import Mapping

import anyio
import pytest

from agentkit import ChatClient, ChatRequest, EndpointError, UserMessage
from agentkit.models.client.connections import connection_pool
from agentkit.models.client.http1 import LocalProtocolError, RemoteProtocolError, exchange, request_bytes, request_head
from agentkit.testing import Raw, answer, chaos
from tests.clients import ASYNCIO, HELLO, HI, JSON, client_at, failed
from tests.models.client.test_http1_fuzz import Ours, Script

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
HUGE = b"x" * 200_000


def test_a_request() -> None:
    head = request_head("/v1/x?a=b", {"host": "a.b", "x-key": "k", "content-length": "99"})
    expected = b"POST /v1/x?a=b HTTP/1.1\r\nhost: a.b\r\nx-key: k\r\ncontent-length: 2\r\n\r\n{}"
    assert request_bytes(head, [b"{}"]) == [expected]
    assert request_bytes(head, [b"{", b"}"]) == [expected[:-1], b"}"]


@pytest.mark.parametrize("name", ["", "x key", "x:", "x\r\ny", "é", "transfer-encoding"])
def test_a_header_that_cannot_be_sent(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        request_head("/", {"host": "a.b", name: "x"})


@ASYNCIO
@pytest.mark.parametrize(("raw", "status", "body", "reusable"), [
    (OK + b"content-length: 2\r\n\r\nhi", 200, b"hi", True),
    (OK + b"content-length: 0\r\n\r\n", 200, b"", True),
    (OK + b"content-length: 2\r\nconnection: close\r\n\r\nhi", 200, b"hi", False),
    (OK + CHUNKED + b"1\r\nh\r\n1;a=b\r\ni\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"hi", True),
    (OK + b"\r\nhi", 200, b"hi", False),
    (OK + b"connection: keep-alive\r\n\r\nhi", 200, b"hi", False),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", False),
    (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", 204, b"", False),
    (b"HTTP/1.1 204 No Content\r\n\r\nhi", 204, b"", False),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b"", True),
    (EARLY * 2 + OK + b"content-length: 2\r\n\r\nhi", 200, b"hi", True),
    (OK + b"content-length: 2\r\n\r\nhi" + OK, 200, b"hi", False),
    (OK + b"content-length: 2\r\n\r\nhi" + OK + b"content-length: 2\r\n\r\nno", 200, b"hi", False),
    (OK + b"content-length: 2\r\nconnection: close\r\n\r\nhi" + OK, 200, b"hi", False),
    (OK + CHUNKED + b"2\r\nhi\r\n0\r\n\r\nx", 200, b"hi", False),
])  # fmt: skip
async def test_a_response_and_its_connection(raw: bytes, status: int, body: bytes, reusable: bool) -> None:
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        ours = await Ours(pieces).go()
        assert ours.read is not None, ours.error
        assert (ours.read.status, ours.read.body) == (status, body)
        assert ours.reusable is reusable or ours.script.pieces  # the pool sees what was not read


@ASYNCIO
@pytest.mark.parametrize(("raw", "word"), [
    (b"", "without a response"),
    (EARLY, "without a response"),
    (OK, "without a response"),
    (OK + b"content-length: 3\r\n\r\nhi", "too early"),
    (OK + CHUNKED + b"2\r\nhi\r\n", "too early"),
    (OK + CHUNKED + b"2\r\nhi\r\n0\r\n", "too early"),
    (OK + CHUNKED + b"2\r\nhi\r\nx\r\n", "chunk size"),
    (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi", "Content-Length"),
    (OK + b"content-length: 2\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", "Content-Length"),
    (OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer encoding"),
    (OK + b"transfer-encoding: identity\r\n\r\nhi", "transfer encoding"),
    (OK + b"x y: z\r\ncontent-length: 2\r\n\r\nhi", "header"),
    (OK + b"x: a\x00b\r\ncontent-length: 2\r\n\r\nhi", "header"),
    (b"HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\nhi", "not HTTP/1.1"),
    (b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "not HTTP/1.1"),
    (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "nobody asked"),
    (b"SSH-2.0-x\r\n", "malformed"),
    (OK + b"x: " + HUGE, "too large"),
    (OK + b"x: y\r\n" * 50_000, "too large"),
    (EARLY * 10_000, "too large"),
    (OK + CHUNKED + b"0\r\n" + b"x: y\r\n" * 50_000, "too large"),
    (OK + CHUNKED + b"1;" + HUGE, "too large"),
])  # fmt: skip
async def test_what_is_no_response(raw: bytes, word: str) -> None:
    ours = await Ours([raw[at : at + 60_000] for at in range(0, len(raw), 60_000)]).go()
    assert ours.read is None
    assert word in ours.error
    assert ours.released == [False]


@ASYNCIO
async def test_what_came_before_the_damage_is_read_first() -> None:
    response = await exchange(Script([OK + CHUNKED + b"2\r\nhi\r\nwhat"]).wire, [b""], list[bool]().append)
    assert await anext(response) == b"hi"
    with pytest.raises(RemoteProtocolError):
        await anext(response)


@ASYNCIO
async def test_headers_have_one_form() -> None:
    ours = await Ours([OK + b"X-A: 1\r\nx-a:  2 \t\r\nX-B: \xe9\r\nx-c:\r\ncontent-length: 0\r\n\r\n"]).go()
    assert ours.read is not None
    expected: Mapping[str, str] = {"x-a": "1, 2", "x-b": "é", "x-c": "", "content-length": "0"}
    assert ours.read.headers == expected


@ASYNCIO
async def test_a_response_that_is_closed_early_or_twice_is_released_once() -> None:
    released: list[bool] = []
    response = await exchange(Script([OK + b"content-length: 9\r\n\r\nhi"]).wire, [b""], released.append)
    assert await anext(response) == b"hi"
    for _ in range(2):
        await response.aclose()
    assert released == [False]


async def test_an_answer_that_comes_while_the_request_is_sent_is_read() -> None:
    """The server refuses a request without reading all of it."""

    def refuse() -> None:
        with listener.accept()[0] as client:
            client.recv(1000)
            client.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        client = ChatClient("m", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", api_key="", retries=0)
        with anyio.fail_after(60), pytest.raises(EndpointError) as caught:
            await client.complete(ChatRequest((UserMessage("x" * 20_000_000),)))
        await anyio.to_thread.run_sync(thread.join)
    assert (caught.value.status, caught.value.body) == (413, "large")
    assert not any((await connection_pool())._idle.values())


async def test_an_unfinished_body_is_no_reply() -> None:
    cut = Raw([HI[:-1]], headers=JSON | {"content-length": str(len(HI))}, then="close")
    with chaos(cut, answer("Hi.")) as endpoint:
        assert "too early" in str(await failed(client_at(endpoint)))
        assert (await client_at(endpoint).complete(HELLO)).message.content == "Hi."
