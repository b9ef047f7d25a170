import asyncio
import copy
import json
import pickle
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
import httpx
import pytest
import trio

from agentkit import (
    AgentkitError,
    AssistantMessage,
    AuthenticationFailed,
    ChatChunk,
    ChatClient,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    ConnectionFailed,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelTimeout,
    Profile,
    RateLimited,
    RequestRefused,
    Settings,
    Usage,
    UserMessage,
)
from agentkit.testing import Raw
from tests.endpoint import Endpoint, body_of, calls, serving, stream_of, text

pytestmark = pytest.mark.anyio

KEY = "sk-canary-5f2b"
HELLO = ChatRequest((UserMessage("Hello"),))
SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
OnChunk: TypeAlias = Callable[[ChatChunk], None]


def client_at(endpoint: Endpoint, **options: Any) -> ChatClient:
    given: dict[str, Any] = {"api_key": KEY, "retries": 0, **options}
    return ChatClient("m", base_url=endpoint.url, **given)


def ignore(chunk: ChatChunk) -> None:
    """Have the reply streamed, and look at the whole alone."""


BOTH = pytest.mark.parametrize("on_chunk", [None, ignore], ids=["plain", "streamed"])


def events(*data: Any) -> bytes:
    return b"".join(
        b"data: " + (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n\n" for each in data
    )


def delta(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


class Held(list[bytes]):
    """Writes after which the server waits until it is let go."""

    def __init__(self, writes: Sequence[bytes] = ()) -> None:
        super().__init__(writes)
        self.released = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield from super().__iter__()
        self.released.wait(60)


@contextmanager
def holding(writes: Sequence[bytes] = (), **more: Any) -> Generator[Endpoint]:
    """Serve a reply that does not end before the test does."""
    held = Held(writes)
    with serving(Raw(held, **more)) as endpoint:
        try:
            yield endpoint
        finally:
            held.released.set()


@contextmanager
def resetting(answer: bytes) -> Generator[str]:
    """Serve the beginning of an answer and then reset the connection."""

    asked = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        while not asked.endswith(b"}"):
            asked.extend(connection.recv(65536))
        connection.sendall(answer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


# What is sent


async def test_a_plain_request() -> None:
    with serving(text("Hi.")) as endpoint:
        reply = await client_at(endpoint).complete(HELLO)
    assert reply.message == AssistantMessage("Hi.")
    assert (reply.id, reply.model, reply.usage, reply.finish_reason) == ("chatcmpl-1", "m", Usage(1, 10, 5), "stop")
    assert endpoint.bodies == [b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}']
    sent = endpoint.headers[0]
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["content-type"] == "application/json"


async def test_a_streamed_request() -> None:
    chunks: list[ChatChunk] = []
    with serving(text("Well, hello there.")) as endpoint:
        streamed = await client_at(endpoint).complete(HELLO, chunks.append)
        plain = await client_at(endpoint).complete(HELLO)
        await client_at(endpoint, profile=Profile(stream_usage=False)).complete(HELLO, ignore)
    assert streamed == plain
    assert "".join(chunk.text for chunk in chunks) == "Well, hello there."
    assert [request.get("stream") for request in endpoint.requests] == [True, None, True]
    assert [request.get("stream_options") for request in endpoint.requests] == [{"include_usage": True}, None, None]


async def test_calls_are_the_same_streamed_and_plain() -> None:
    script = calls(("get_weather", {"city": "Paris"}), ("now", {}), content="Let me look.")
    with serving(script) as endpoint:
        plain = await client_at(endpoint).complete(HELLO)
        assert await client_at(endpoint).complete(HELLO, ignore) == plain
    assert [call.name for call in plain.message.tool_calls] == ["get_weather", "now"]


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/a/b//", "/a/b/chat/completions"),
        ("/v1?api-version=2024-10-21", "/v1/chat/completions?api-version=2024-10-21"),
    ],
)
async def test_where_a_request_goes(base: str, path: str) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=body_of(text("Hi.")))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await ChatClient("m", base_url=f"https://a.b{base}", http=http).complete(HELLO)
    assert str(asked[0].url) == f"https://a.b{path}"
    assert asked[0].method == "POST"


@pytest.mark.parametrize("base", ["http://127.0.0.1:1/v1?key=hidden", "http://127.0.0.1:1/v1/?key=hidden"])
async def test_a_query_is_sent_and_not_shown(base: str) -> None:
    client = ChatClient("m", base_url=base, retries=0)
    assert client.base_url == "http://127.0.0.1:1/v1"
    assert "hidden" not in repr(client)
    with pytest.raises(ConnectionFailed, match=r"^http://127\.0\.0\.1:1/v1: ") as caught:
        await client.complete(HELLO)
    assert "hidden" not in str(caught.value)


async def test_headers_of_ones_own() -> None:
    with serving(text("Hi.")) as endpoint:
        await client_at(endpoint, headers={"OpenAI-Organization": "org", "X-Key": " k\n"}).complete(HELLO)
        await client_at(endpoint, headers={"Authorization": "Basic abc"}).complete(HELLO)
        await client_at(endpoint, headers={"Content-Type": "application/json; charset=utf-8"}).complete(HELLO)
    assert (
        endpoint.headers[0].items()
        >= {"openai-organization": "org", "x-key": "k", "authorization": f"Bearer {KEY}"}.items()
    )
    assert endpoint.headers[1]["authorization"] == "Basic abc"
    assert endpoint.headers[2]["content-type"] == "application/json; charset=utf-8"


async def test_settings_go_with_the_request() -> None:
    with serving(text("Hi.")) as endpoint:
        await client_at(endpoint).complete(
            ChatRequest((UserMessage("Hello"),), settings=Settings(n=2, stop="END", extra={"seed": 7}))
        )
    assert endpoint.requests[0].items() >= {"n": 2, "stop": "END", "seed": 7}.items()


# Where the address and the key come from


@pytest.mark.parametrize(
    ("environment", "options", "url", "key"),
    [
        ({"AGENTKIT_BASE_URL": "http://a/v1", "AGENTKIT_API_KEY": "ka"}, {}, "http://a/v1", "ka"),
        ({"OPENAI_BASE_URL": "http://o/v1", "OPENAI_API_KEY": "ko"}, {}, "http://o/v1", "ko"),
        (
            {
                "AGENTKIT_BASE_URL": "http://a/v1",
                "AGENTKIT_API_KEY": "ka",
                "OPENAI_BASE_URL": "http://o/v1",
                "OPENAI_API_KEY": "ko",
            },
            {},
            "http://a/v1",
            "ka",
        ),
        (
            {"AGENTKIT_BASE_URL": "http://a/v1", "AGENTKIT_API_KEY": "ka"},
            {"base_url": "http://b", "api_key": "kb"},
            "http://b",
            "kb",
        ),
        ({"OPENAI_API_KEY": "ko"}, {}, "https://api.openai.com/v1", "ko"),
        ({"AGENTKIT_BASE_URL": "http://a/v1"}, {}, "http://a/v1", None),
        ({}, {"base_url": "http://b", "api_key": ""}, "http://b", None),
        ({}, {"base_url": "http://b", "api_key": " kb\n"}, "http://b", "kb"),
    ],
)
async def test_the_address_and_the_key(
    environment: dict[str, str], options: dict[str, Any], url: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=body_of(text("Hi.")))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = ChatClient("m", http=http, **options)
        await client.complete(HELLO)
    assert client.base_url == url
    assert str(asked[0].url) == f"{url}/chat/completions"
    assert asked[0].headers.get("authorization") == (key and f"Bearer {key}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no endpoint: set AGENTKIT_BASE_URL"),
        ({"api_key": KEY}, "no endpoint: set AGENTKIT_BASE_URL"),
        *[
            ({"base_url": odd, "api_key": KEY}, "is not an address of the form https://host/v1")
            for odd in ("localhost:8080/v1", "a.b", "ftp://a.b", "https://", "/v1", "http://a.b:99999", "http://a.b:-1")
        ],
        ({"base_url": "http://ann:secret@a.b/v1"}, "has a name or a password in it"),
        ({"base_url": "http://a.b", "api_key": f"{KEY}\n{KEY}"}, "api_key has a character that a header cannot have"),
        ({"base_url": "http://a.b", "api_key": f"{KEY}é"}, "api_key has a character"),
        ({"base_url": "http://a.b", "headers": {"X-Key": f"{KEY}\r\nx: y"}}, "x-key has a character"),
    ],
)
def test_a_client_that_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        ChatClient("m", **options)
    assert_hidden(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("odd", ["http://a.b:port", "http://a.b/\n"])
def test_an_address_that_is_none_is_refused(odd: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address: "):
        ChatClient("m", base_url=odd)


# What comes back


@BOTH
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRefused),
        (401, AuthenticationFailed),
        (403, AuthenticationFailed),
        (404, RequestRefused),
        (422, RequestRefused),
        (429, RateLimited),
        (500, EndpointUnavailable),
        (503, EndpointUnavailable),
        (529, EndpointUnavailable),
    ],
)
async def test_each_status_is_its_error(status: int, kind: type[EndpointError], on_chunk: OnChunk | None) -> None:
    said = json.dumps({"error": {"message": "This is why.", "code": "c"}}).encode()
    with (
        serving(Raw([said], status, {**JSON, "x-request-id": "r1", "retry-after": "2"})) as endpoint,
        pytest.raises(EndpointError, match="This is why") as caught,
    ):
        await client_at(endpoint).complete(HELLO, on_chunk)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{endpoint.url}/chat/completions answered {status}: This is why.")
    assert (caught.value.status, caught.value.code, caught.value.request_id, caught.value.retry_after) == (
        status,
        "c",
        "r1",
        2.0,
    )
    assert caught.value.body == said.decode()


async def test_of_an_error_that_does_not_end_the_beginning_is_read() -> None:
    with holding([b"<html>" + b"x" * 20_000], status=502) as endpoint, pytest.raises(EndpointUnavailable) as caught:
        await client_at(endpoint).complete(HELLO)
    assert caught.value.body == "x" * 2000


@BOTH
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, on_chunk: OnChunk | None) -> None:
    with serving(text("Hi.")) as other:
        target = f"{other.url}/chat/completions"
        with (
            serving(Raw([], status, {"location": target})) as endpoint,
            pytest.raises(RequestRefused, match=f"a redirect to '{target}', which is not followed"),
        ):
            await client_at(endpoint).complete(HELLO, on_chunk)
    assert (len(endpoint.requests), other.requests) == (1, [])


@BOTH
async def test_no_server_is_no_connection(on_chunk: OnChunk | None) -> None:
    with pytest.raises(ConnectionFailed, match=r"^http://127\.0\.0\.1:1/v1: ") as caught:
        await ChatClient("m", base_url="http://127.0.0.1:1/v1", api_key=KEY, retries=0).complete(HELLO, on_chunk)
    assert_hidden(caught.value)


@BOTH
async def test_a_server_that_does_not_answer(on_chunk: OnChunk | None) -> None:
    released = threading.Event()

    def wait(request: object) -> Raw:
        released.wait(60)
        return Raw([])

    with serving(wait) as endpoint:
        start = time.monotonic()
        try:
            with pytest.raises(
                ModelTimeout, match=r"did not answer in time: the whole reply took more than 0\.2 s$"
            ) as caught:
                await client_at(endpoint, timeout=0.2).complete(HELLO, on_chunk)
        finally:
            released.set()
    assert caught.value.seconds == 0.2
    assert 0.15 < time.monotonic() - start < 30
    assert_hidden(caught.value)


@BOTH
async def test_a_server_that_stops_half_way(on_chunk: OnChunk | None) -> None:
    writes = [events(delta("Hel"))] if on_chunk else [b'{"choices": [']
    with holding(writes, headers=SSE if on_chunk else JSON) as endpoint, pytest.raises(ModelTimeout):
        await client_at(endpoint, timeout=0.2).complete(HELLO, on_chunk)


@BOTH
async def test_a_connection_that_is_reset(on_chunk: OnChunk | None) -> None:
    with (
        resetting(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + events(delta("Hel"))) as url,
        pytest.raises(ConnectionFailed) as caught,
    ):
        await ChatClient("m", base_url=url, api_key=KEY, retries=0).complete(HELLO, on_chunk)
    assert_hidden(caught.value)


@BOTH
async def test_a_body_that_is_shorter_than_announced(on_chunk: OnChunk | None) -> None:
    with (
        serving(Raw([events(delta("Hel"))], headers={**SSE, "content-length": "1000"})) as endpoint,
        pytest.raises(ConnectionFailed),
    ):
        await client_at(endpoint).complete(HELLO, on_chunk)


async def test_bytes_may_be_cut_anywhere() -> None:
    stream = (
        b"\xef\xbb\xbf: hi\r\n\r\n"
        + events(delta("é\u2028😀"), delta("!", "stop")).replace(b"\n", b"\r\n")
        + b"data: [DONE]\r\n\r\n"
    )
    cuts = [Raw([stream[:at], stream[at:]], headers=SSE) for at in range(len(stream))]
    with serving(*cuts) as endpoint:
        client = client_at(endpoint)
        for _ in cuts:
            reply = await client.complete(HELLO, ignore)
            assert reply == ChatResponse(reply.choices)
            assert (reply.message, reply.finish_reason) == (AssistantMessage("é\u2028😀!"), "stop")


async def test_no_prefix_of_a_stream_is_a_reply() -> None:
    stream = events(delta("Hel"), delta("lo"), delta(None, "stop"))
    end = stream.index(b'"stop"') + len(b'"stop"}]}')
    body = b""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body, headers=SSE)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, retries=0)
        for at in range(end):
            body = stream[:at]
            with pytest.raises(IncompleteReply) as caught:
                await client.complete(HELLO, ignore)
            assert "Hello".startswith(caught.value.text)
        for at in range(end, len(stream) + 1):
            body = stream[:at]
            assert (await client.complete(HELLO, ignore)).message.content == "Hello"


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE] "])
async def test_after_the_terminator_nothing_is_waited_for(done: bytes) -> None:
    start = time.monotonic()
    with holding([events(delta("Hello"), done)], headers=SSE) as endpoint:
        reply = await client_at(endpoint).complete(HELLO, ignore)
    assert (reply.message.content, reply.finish_reason) == ("Hello", None)
    assert time.monotonic() - start < 30


async def test_what_comes_after_the_terminator_is_not_read() -> None:
    with serving(Raw([events(delta("Hello"), b"[DONE]", b"what", delta("no"))], headers=SSE)) as endpoint:
        assert (await client_at(endpoint).complete(HELLO, ignore)).message.content == "Hello"


@pytest.mark.parametrize("headers", [SSE, JSON, {}, {"content-type": "text/plain"}])
async def test_a_stream_is_known_by_its_first_byte(headers: dict[str, str]) -> None:
    for begin in (b"", b": keep-alive\n\n", b"event: message\nid: 1\n", b"\n\nretry: 1\n", b"\xef\xbb\xbf"):
        with serving(Raw([b"", begin, events(delta("Hi.", "stop"), b"[DONE]")], headers=headers)) as endpoint:
            for on_chunk in (ignore, None):
                assert (await client_at(endpoint).complete(HELLO, on_chunk)).message.content == "Hi."


@pytest.mark.parametrize("headers", [SSE, JSON, {}])
async def test_a_plain_body_is_known_by_its_first_byte(headers: dict[str, str]) -> None:
    script = calls(("now", {}), content="One moment.")
    for begin in (b"", b"\n\n   \n", b"\xef\xbb\xbf"):
        chunks: list[ChatChunk] = []
        with serving(Raw([begin, json.dumps(body_of(script)).encode()], headers=headers)) as endpoint:
            streamed = await client_at(endpoint).complete(HELLO, chunks.append)
            assert streamed == await client_at(endpoint).complete(HELLO)
        assert [chunk.text for chunk in chunks] == ["One moment."]
        assert [call.name for call in streamed.message.tool_calls] == ["now"]


@BOTH
@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (HTML, {"content-type": "text/html"}, r"a web page \('Sign in'\); check the base URL"),
        (HTML, SSE, r"a web page \('Sign in'\); check the base URL"),
        (b"Unauthorized", {"content-type": "text/plain"}, "not JSON .*Unauthorized"),
        (b'{"id": "x", "choices": [{"message": {"content": "Hel', JSON, "not JSON .*Hel"),
        (b'{"a": NaN}', JSON, "not JSON"),
        (b"[1]", JSON, r"no JSON object: '\[1\]'"),
        (b'"Hi"', JSON, "no JSON object"),
        (b"{}", JSON, "no choices"),
        (b'{"choices": []}', JSON, "no choices"),
        (b'{"choices": "x"}', JSON, "choices is not an object"),
        (b"\xff\xff", JSON, "not JSON"),
        (
            events(delta("A"), b'{"choices": [{"delta": {"role": "adata: {}', delta("B", "stop")),
            SSE,
            "not JSON .*adata",
        ),
        (events([1]), SSE, "no JSON object"),
    ],
)
async def test_what_is_no_reply(body: bytes, headers: dict[str, str], said: str, on_chunk: OnChunk | None) -> None:
    with (
        serving(Raw([body], headers=headers)) as endpoint,
        pytest.raises(MalformedReply, match=said) as caught,
    ):
        await client_at(endpoint).complete(HELLO, on_chunk)
    assert caught.value.excerpt in body.decode("utf-8", "replace").strip() or said.startswith(("no choices", "choices"))


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (json.dumps({"error": {"message": "Busy.", "code": 429}}).encode(), RateLimited, "Busy."),
        (json.dumps({"error": "Busy."}).encode(), EndpointError, "Busy."),
        (events({"error": "Busy."}, b"[DONE]"), EndpointError, "Busy."),
        (events(delta("Hel"), {"error": {"message": "Broken.", "code": 500}}), EndpointUnavailable, "Broken."),
        (events(delta("Hel")) + b'event: error\ndata: {"message":"upstream died"}\n\n', EndpointError, "upstream died"),
        (
            events(delta("Hel")) + b"event: error\ndata: upstream died\n\n" + events(delta("lo", "stop")),
            EndpointError,
            "upstream died",
        ),
    ],
)
async def test_an_error_inside_an_answer(body: bytes, kind: type[EndpointError], said: str) -> None:
    with serving(Raw([body], headers=SSE)) as endpoint:
        for on_chunk in (ignore, None):
            with pytest.raises(EndpointError, match=f"^the endpoint answered with an error: {said}") as caught:
                await client_at(endpoint).complete(HELLO, on_chunk)
            assert type(caught.value) is kind


@pytest.mark.parametrize("raised", [ValueError("mine"), TimeoutError("mine"), MalformedReply("mine")])
async def test_what_a_listener_raises_comes_out(raised: Exception) -> None:
    def listen(chunk: ChatChunk) -> None:
        raise raised

    with serving(text("Well, hello there.")) as endpoint:
        client = client_at(endpoint)
        with pytest.raises(type(raised), match=r"^mine$") as caught:
            await client.complete(HELLO, listen)
        assert caught.value is raised
        assert (await client.complete(HELLO)).message.content == "Well, hello there."


async def test_a_chunk_comes_before_the_reply_is_whole() -> None:
    with holding([events(delta("Hel"))], headers=SSE) as endpoint, pytest.raises(RuntimeError, match=r"^Hel$"):
        await client_at(endpoint).complete(HELLO, stop)


def stop(chunk: ChatChunk) -> None:
    raise RuntimeError(chunk.text)


# Connections


async def test_an_http_client_of_ones_own_is_used_and_left_open() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        return httpx.Response(200, content=b"".join(stream_of(text("Hi."))), headers=SSE)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = ChatClient("m", base_url="http://a.b/v1", api_key=KEY, http=http)
        for _ in range(2):
            assert (await client.complete(HELLO, ignore)).message.content == "Hi."
        assert not http.is_closed


async def test_no_connection_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(self: object, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("", request=request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", connect)
    with pytest.raises(ModelTimeout, match="ConnectTimeout") as caught:
        await ChatClient("m", base_url="http://a.b", retries=0).complete(HELLO)
    assert caught.value.seconds == 10


@BOTH
async def test_a_connection_is_used_again(on_chunk: OnChunk | None) -> None:
    replies = [
        Raw([b'{"error": "no"}'], 500, JSON),
        Raw([events(delta("Hi.", "stop"), b"[DONE]")], headers=SSE),
        Raw([json.dumps(body_of(text("Hi."))).encode()], headers=JSON),
        Raw([b"what"], headers=JSON),
    ]
    with serving(*replies, *replies) as endpoint:
        client = client_at(endpoint)
        for at in range(8):
            if at % 4 in (1, 2):
                await client.complete(HELLO, on_chunk)
            else:
                with pytest.raises(AgentkitError):
                    await client.complete(HELLO, on_chunk)
    assert endpoint.connections == 1


async def test_a_request_that_is_cancelled_leaves_nothing_behind() -> None:
    with holding([events(delta("Hel"))], headers=SSE) as endpoint:
        client = client_at(endpoint)
        heard = anyio.Event()
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await client.complete(HELLO, lambda chunk: heard.set())

            group.start_soon(ask)
            await heard.wait()
            group.cancel_scope.cancel()
    with serving(text("Hi.")) as endpoint:
        assert (await client_at(endpoint).complete(HELLO)).message.content == "Hi."


def test_one_client_in_several_event_loops() -> None:
    with serving(text("Hi.")) as endpoint:
        client = client_at(endpoint)

        async def ask() -> str | None:
            return (await client.complete(HELLO, ignore)).message.content

        assert [asyncio.run(ask()), trio.run(ask), asyncio.run(ask())] == ["Hi."] * 3


# The key


def frames_of(error: traceback.TracebackException) -> Iterator[str]:
    """Give what a traceback shows of the frames that are not a test's own, causes and all."""
    yield str(error)
    for frame in error.stack:
        if "/tests/" not in frame.filename:
            yield f"{frame.filename} {frame.name} {frame.locals}"
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            yield from frames_of(other)


def assert_hidden(error: BaseException) -> None:
    """Look for the key in whatever an error shows: its text, its data, its traceback with all local variables."""
    shown = list(frames_of(traceback.TracebackException.from_exception(error, capture_locals=True)))
    assert len(shown) > 1
    for each in (*shown, repr(error), str(vars(error))):
        assert KEY not in each
    assert KEY.encode() not in pickle.dumps(error)


def test_the_key_is_not_shown_by_a_client() -> None:
    client = ChatClient("m", base_url="http://a.b/v1", api_key=KEY, headers={"X-Key": KEY})
    assert repr(client) == str(client) == "ChatClient('m', base_url='http://a.b/v1')"
    assert KEY not in "".join(repr(getattr(client, name)) for name in ChatClient.__slots__)
    for again in (copy.copy(client), copy.deepcopy(client)):
        assert repr(again) == repr(client)
    with pytest.raises(TypeError, match="a client holds a key and is not pickled"):
        pickle.dumps(client)


async def test_without_a_key_what_the_endpoint_says_is_left_as_it_is() -> None:
    with (
        serving(Raw([b"No key."], 401)) as endpoint,
        pytest.raises(AuthenticationFailed, match=r"answered 401: No key\.; check the key"),
    ):
        await client_at(endpoint, api_key=None).complete(HELLO)
    assert "authorization" not in endpoint.headers[0]


def sent_key(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], **options: Any) -> tuple[str, str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = ChatClient("m", **options)
    return client.base_url, client._headers.get("authorization", "").removeprefix("Bearer ")


OURS = "http://ours.test/v1"
THEIRS = "http://theirs.test/v1"
OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({"AGENTKIT_BASE_URL": OURS, "AGENTKIT_API_KEY": "a"}, {}, (OURS, "a")),
        ({"OPENAI_BASE_URL": THEIRS, "OPENAI_API_KEY": "o"}, {}, (THEIRS, "o")),
        ({"OPENAI_API_KEY": "o"}, {}, (OPENAI, "o")),
        ({"OPENAI_API_KEY": "o"}, {"base_url": OPENAI}, (OPENAI, "o")),
        ({"OPENAI_API_KEY": "o"}, {"base_url": OURS}, (OURS, "")),
        ({"OPENAI_API_KEY": "o", "AGENTKIT_BASE_URL": OURS}, {}, (OURS, "")),
        ({"OPENAI_API_KEY": "o", "AGENTKIT_API_KEY": "a", "AGENTKIT_BASE_URL": OURS}, {}, (OURS, "a")),
        ({"AGENTKIT_API_KEY": "a", "AGENTKIT_BASE_URL": OURS}, {"api_key": ""}, (OURS, "")),
        ({"AGENTKIT_API_KEY": "a", "AGENTKIT_BASE_URL": OURS}, {"api_key": "given"}, (OURS, "given")),
        ({"AGENTKIT_API_KEY": "a"}, {"base_url": THEIRS}, (THEIRS, "a")),
    ],
)
def test_a_key_goes_with_its_address(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], options: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert sent_key(monkeypatch, environment, **options) == expected
