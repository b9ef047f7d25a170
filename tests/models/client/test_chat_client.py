"""What a client sends, and what it makes of replies. Retries, timeouts, sizes and pacing are in `test_dependable`."""

import asyncio
import contextlib
import copy
import gc
import gzip
import pickle
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import httpx2
import pytest
import trio

from agentkit import ChatChunk, ChatClient, ChatRequest, Profile, Settings, Timeouts
from agentkit.core import errors
from agentkit.core.messages import AssistantMessage, Usage, UserMessage
from agentkit.models.client import chat_client as client_file
from agentkit.models.client.timeouts import Deadlines
from agentkit.testing import Raw, Repeat, answer, chaos, cut, refuse, status
from agentkit.testing.replies import Then
from tests.clients import (
    ASYNCIO,
    BOTH,
    CHUNKED,
    DONE,
    HELLO,
    HI,
    JSON,
    KEY,
    QUICK,
    SSE,
    OnChunk,
    assert_hidden,
    client_at,
    delta,
    failed,
    ignore,
)

pytestmark = pytest.mark.anyio


# What is sent


async def test_a_request_and_its_reply() -> None:
    chunks: list[ChatChunk] = []
    with chaos(answer("Well, hello there.")) as endpoint:
        plain = await client_at(endpoint).complete(HELLO)
        streamed = await client_at(endpoint).complete(HELLO, chunks.append)
        await client_at(endpoint, profile=Profile(stream_usage=False)).complete(HELLO, ignore)
    assert plain.message == AssistantMessage("Well, hello there.")
    assert (plain.id, plain.model, plain.usage, plain.finish_reason) == ("chatcmpl-1", "m", Usage(1, 10, 5), "stop")
    assert streamed == plain
    assert "".join(chunk.text for chunk in chunks) == "Well, hello there."
    assert endpoint.bodies[0] == b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'
    assert [request.get("stream") for request in endpoint.requests] == [None, True, True]
    assert [request.get("stream_options") for request in endpoint.requests] == [None, {"include_usage": True}, None]
    sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "accept-encoding": "identity"}
    assert endpoint.headers[0].items() >= sent.items()


async def test_headers_and_settings_go_with_the_request() -> None:
    request = ChatRequest((UserMessage("Hello"),), settings=Settings(n=2, stop="END", seed=7))
    with chaos(answer("Hi.")) as endpoint:
        await client_at(endpoint, headers={"OpenAI-Organization": "org", "X-Key": " k\n"}).complete(request)
        await client_at(endpoint, headers={"Authorization": "Basic abc", "Content-Type": "a/b"}).complete(HELLO)
        await client_at(endpoint, api_key="").complete(HELLO)
    assert endpoint.requests[0].items() >= {"n": 2, "stop": "END", "seed": 7}.items()
    own = {"openai-organization": "org", "x-key": "k", "authorization": f"Bearer {KEY}"}
    assert endpoint.headers[0].items() >= own.items()
    assert endpoint.headers[1].items() >= {"authorization": "Basic abc", "content-type": "a/b"}.items()
    assert "authorization" not in endpoint.headers[2]


async def test_a_query_is_sent_and_not_shown() -> None:
    with chaos(answer("Hi.")) as endpoint:
        address = endpoint.url
        endpoint.url += "/?key=hidden"
        client = client_at(endpoint)
        await client.complete(HELLO)
    assert endpoint.targets == ["/v1/chat/completions?key=hidden"]
    assert client.base_url == address
    assert "hidden" not in repr(client)
    error = await failed(client)
    assert str(error).startswith(f"{address}: ")
    assert_hidden(error, "hidden")


# What comes back


@BOTH
@pytest.mark.parametrize("library", [None, httpx, httpx2])
async def test_a_redirect_is_not_followed(library: Any, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi.")) as other, chaos(status(307, {"location": other.url})) as endpoint:
        async with library.AsyncClient(follow_redirects=True) if library else contextlib.nullcontext() as http:
            error = await failed(client_at(endpoint, http=http), on_chunk)
    assert isinstance(error, errors.RequestRefused)
    assert other.url in str(error)
    assert (len(endpoint.requests), other.requests) == (1, [])


async def test_of_a_long_error_only_the_beginning_is_read() -> None:
    with chaos(Raw([b"x" * 20_000, Repeat(b"x" * 1000)], 500, CHUNKED)) as endpoint:
        error = await failed(client_at(endpoint, retries=0))
    assert isinstance(error, errors.EndpointUnavailable)
    assert 0 < len(error.body) <= 10_000


async def test_what_follows_the_terminator_is_read_so_that_the_connection_is_used_again() -> None:
    late = Raw([delta("Hi."), DONE, b": one", b": two"], headers=SSE | CHUNKED, pause=0.02)
    with chaos(late, late) as endpoint:
        for _ in range(2):
            assert (await client_at(endpoint).complete(HELLO, ignore)).message.content == "Hi."
        assert endpoint.connections == 1


@pytest.mark.parametrize("then", ["end", "reset", "close", "stall"])
async def test_after_the_terminator_nothing_is_waited_for(then: Then) -> None:
    rest = b"what" if then == "end" else b""
    with chaos(Raw([delta("Hi."), b"data:  [DONE] \n\n" + rest], headers=SSE | CHUNKED, then=then)) as endpoint:
        reply = await client_at(endpoint, timeout=Timeouts(idle=10)).complete(HELLO, ignore)
    assert (reply.message.content, reply.finish_reason) == ("Hi.", None)


@pytest.mark.parametrize("raised", [TimeoutError("mine"), errors.MalformedReply("mine")])
async def test_what_a_listener_raises_comes_out_before_the_reply_is_whole(raised: Exception) -> None:
    def listen(chunk: ChatChunk) -> None:
        raise raised

    with chaos(Raw([delta("Hel")], headers=SSE, then="stall"), answer("Hi.")) as endpoint:
        client = client_at(endpoint)
        with pytest.raises(type(raised)) as caught:
            await client.complete(HELLO, listen)
        assert caught.value is raised
        assert (await client.complete(HELLO)).message.content == "Hi."


# Connections


@BOTH
async def test_a_connection_is_used_again(on_chunk: OnChunk | None) -> None:
    replies = [status(500), Raw([delta("Hi.", "stop"), DONE], headers=SSE), Raw([HI]), Raw([b"what"], headers=JSON)]
    with chaos(*replies, *replies) as endpoint:
        for at in range(8):
            with contextlib.nullcontext() if at % 4 in (1, 2) else pytest.raises(errors.AgentkitError):
                await client_at(endpoint).complete(HELLO, on_chunk)
    assert endpoint.connections == 1


def test_one_client_in_several_event_loops() -> None:
    with chaos(answer("Hi.")) as endpoint:
        client = client_at(endpoint)

        async def ask() -> str | None:
            return (await client.complete(HELLO, ignore)).message.content

        assert [asyncio.run(ask()), trio.run(ask), asyncio.run(ask())] == ["Hi."] * 3


def test_a_client_shows_no_key_and_is_not_pickled() -> None:
    client = ChatClient("m", base_url="http://a.b/v1", api_key=KEY, headers={"X-Key": KEY})
    assert repr(client) == str(client) == "ChatClient('m', base_url='http://a.b/v1')"
    assert KEY not in repr(vars(client))
    assert copy.copy(client) is copy.deepcopy(client) is client
    with pytest.raises(TypeError):
        pickle.dumps(client)


# An HTTP client of the caller's

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2])


@LIBRARIES
@BOTH
async def test_an_http_client_of_ones_own(library: Any, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi."), faults={1: status(503), 2: refuse("reset"), 3: refuse()}) as endpoint:
        async with library.AsyncClient() as http:
            client = client_at(endpoint, http=http, retries=QUICK)
            assert (await client.complete(HELLO, on_chunk)).message.content == "Hi."
            assert not http.is_closed
    sent = {"authorization": f"Bearer {KEY}", "accept-encoding": "identity"}
    assert endpoint.headers[3].items() >= sent.items()
    assert len(endpoint.requests) == 4


@LIBRARIES
async def test_its_failures_are_ours(library: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with library.AsyncClient() as http:
            address = f"https://127.0.0.1:{silent.getsockname()[1]}"
            client = ChatClient("m", base_url=address, http=http, timeout=Timeouts(connect=0.05), retries=0)
            unconnected = await failed(client)
    with chaos(refuse("stall")) as endpoint:
        async with library.AsyncClient() as http:
            stalled = await failed(client_at(endpoint, http=http, timeout=Timeouts(first_byte=0.05)))
    with chaos(refuse(), cut(answer("Hi."), after_bytes=9, then="close")) as endpoint:
        async with library.AsyncClient() as http:
            broken = [await failed(client_at(endpoint, http=http)) for _ in range(2)]
    for error, phase in ((unconnected, "connect"), (stalled, "first_byte")):
        assert isinstance(error, errors.ModelTimeout)
        assert (error.phase, error.seconds) == (phase, 0.05)
    assert [type(error) for error in broken] == [errors.ConnectionFailed] * 2
    for error in (unconnected, stalled, *broken):
        assert_hidden(error)


@LIBRARIES
async def test_its_own_timeout_is_overridden_but_converted(library: Any) -> None:
    def slow(request: Any) -> Any:
        raise library.ReadTimeout("", request=request)

    async with library.AsyncClient(transport=library.MockTransport(slow)) as http:
        error = await failed(ChatClient("m", base_url="http://a.b", http=http, timeout=7, retries=0))
    assert isinstance(error, errors.ModelTimeout)
    assert (error.phase, error.seconds) == ("idle", 7)
    with chaos(Raw([b"\n", b"\n", HI], pause=0.03)) as endpoint:
        async with library.AsyncClient(timeout=0.01) as http:
            assert (await client_at(endpoint, http=http).complete(HELLO)).message.content == "Hi."


@LIBRARIES
@ASYNCIO
async def test_a_response_that_is_read_already(library: Any) -> None:
    packed = {"content-encoding": "gzip"}
    plain = dict[str, str]()
    replies = [(200, HI, plain), (200, gzip.compress(HI), packed), (429, gzip.compress(b"Slowly."), packed)]

    def play(request: object) -> Any:
        code, content, headers = replies.pop(0)  # an error if there is none
        return library.Response(code, content=content, headers=headers)

    async with library.AsyncClient(transport=library.MockTransport(play)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, retries=0)
        assert [(await client.complete(HELLO)).message.content for _ in range(2)] == ["Hi.", "Hi."]
        assert "answered 429: Slowly." in str(await failed(client))
        with pytest.raises(IndexError):  # what a transport raises otherwise comes out
            await client.complete(HELLO)


class Endless(httpx.AsyncByteStream):
    """A body that begins, and never ends."""

    def __init__(self, begin: bytes) -> None:
        self.begin = begin
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.begin
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("begin", [delta("Hi.") + DONE, delta("Hi."), b"<"])
async def test_a_response_is_closed_however_it_ends(code: int, begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file, "_DRAIN_SECONDS", 0.02)
    body = Endless(begin)

    def play(request: httpx.Request) -> httpx.Response:
        return httpx.Response(code, headers=SSE, stream=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(play)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, timeout=0.05, retries=0)
        with contextlib.suppress(errors.ModelError):
            await client.complete(HELLO, ignore)
    assert body.closed


async def spoil(ask: Callable[[], Any], ticks: range) -> None:
    """Cancel 200 requests that were begun so many ticks ago."""
    for tick in ticks:
        async with anyio.create_task_group() as group:
            for _ in range(200 // len(ticks)):
                group.start_soon(ask)
            for _ in range(tick):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


@pytest.mark.parametrize(("limit", "ticks"), [(1, range(10)), (5, range(1)), (5, range(1, 2))])
@LIBRARIES
# In trio, httpx leaves the bodies of requests open that were cancelled while they were sent.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_two_hundred_cancelled_requests_leave_a_pool_that_works(library: Any, limit: int, ticks: range) -> None:
    with chaos(answer("Hi.")) as endpoint:
        async with library.AsyncClient(limits=library.Limits(max_connections=limit)) as http:
            client = client_at(endpoint, http=http, concurrency=limit)
            await spoil(lambda: client.complete(HELLO), ticks)
            with anyio.fail_after(60):
                assert (await client.complete(HELLO)).message.content == "Hi."
    gc.collect()


async def test_concurrency_is_limited() -> None:
    under_way: list[int] = []
    inside = 0

    async def play(request: httpx.Request) -> httpx.Response:
        nonlocal inside
        inside += 1
        under_way.append(inside)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        inside -= 1
        return httpx.Response(200, json={"choices": [{"message": {}}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(play)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, concurrency=3)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.complete, HELLO)
    assert (len(under_way), max(under_way)) == (10, 3)


async def test_a_cancelled_decompression_ends_at_its_next_piece() -> None:
    fed: list[bytes] = []

    class Body:
        async def __anext__(self) -> bytes:
            if fed:
                await anyio.sleep_forever()
            return b"small"

    class Growing:
        done, data = False, 0

        def begin(self, headers: object) -> None:
            pass

        def feed(self, received: bytes) -> Iterator[bool]:
            for _ in range(9):
                fed.append(received)
                scope.cancel()
                yield False

    response = SimpleNamespace(headers={}, is_stream_consumed=False, is_closed=False, aiter_raw=Body)
    with anyio.CancelScope() as scope:
        await client_file._read_reply(response, cast("Any", Growing()), Deadlines(Timeouts()))
    assert scope.cancelled_caught
    assert fed == [b"small"] * 2


@ASYNCIO
@pytest.mark.parametrize(("scheme", "sent", "hint"), [
    ("https", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "with http://"),
    ("http", b"\x15\x03\x01\x00\x02\x02\x46", "with https://"),  # an alert of TLS
    ("http", b"", "with https://"),  # some servers just close the connection
])  # fmt: skip
async def test_an_address_with_the_wrong_scheme_says_so(scheme: str, sent: bytes, hint: str) -> None:
    async def answer_so(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(sent)

    error: errors.ModelError | None = None
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer_so)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 (nothing of Django's)
        error = await failed(ChatClient("m", base_url=f"{scheme}://127.0.0.1:{port}/v1", api_key=KEY, retries=0))
        group.cancel_scope.cancel()
    assert isinstance(error, errors.ConnectionFailed)
    assert str(error).endswith(f"begin the base URL {hint}")


async def test_an_endpoint_that_is_down_or_behind_a_proxy_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        client = ChatClient("m", base_url=url, api_key="", retries=0)
        down = await failed(client)
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        behind = await failed(client)
    assert (url in str(down), "start the server" in str(down), "HTTPS_PROXY" in str(down)) == (True, True, False)
    assert "HTTPS_PROXY" in str(behind)
