import contextlib
import gc
import gzip
import json
import logging
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from agentkit import (
    ChatChunk,
    ChatClient,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    ConnectionFailed,
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelError,
    ModelTimeout,
    Pacing,
    QuotaExceeded,
    RateLimited,
    ReplyLimits,
    ReplyTooLarge,
    RequestRefused,
    Retries,
    Settings,
    Timeouts,
    UserMessage,
)
from agentkit.models.client import chat_client as client_file
from agentkit.models.client import reply_reader as reading_file
from agentkit.models.client.connections import connection_pool
from agentkit.testing import Raw, Repeat, Reply, answer, bytewise, calling, chaos, cut, refuse, status
from agentkit.testing.replies import Then
from tests.clients import (
    BOTH,
    CHUNKED,
    DONE,
    HELLO,
    JSON,
    KEY,
    QUICK,
    SSE,
    OnChunk,
    client_at,
    delta,
    event,
    failed,
    ignore,
)
from tests.models.client.test_secrets import assert_hidden

pytestmark = pytest.mark.anyio

# Retries

PAGE = Raw([b"<html><title>Sign in</title></html>"], headers={"content-type": "text/html"})
STREAMED_ERROR = Raw([event({"error": {"message": "Busy.", "type": "overloaded_error"}})], headers=SSE)


@BOTH
@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        *[(status(code), 3) for code in (408, 409, 429, 500, 502, 503, 529)],
        *[(status(code), 1) for code in (301, 400, 401, 402, 403, 404, 413, 422)],
        (refuse(), 3),
        (refuse("reset"), 3),
        (cut(after_bytes=30), 3),
        (cut(after_bytes=0, then="close"), 3),
        (cut(after_bytes=30, then="end"), 3),
        (Raw([b"what"]), 3),
        (Raw(), 3),
        (PAGE, 1),
        (STREAMED_ERROR, 3),
        (Raw([b"event: error\ndata: died\n\n"], headers=SSE), 1),
        (Raw([b'{"error": {"code": 401}}']), 1),
        (answer("", finish_reason="error"), 3),
        (status(503, {"x-should-retry": "false"}), 1),
        (status(429, {}, {"error": {"code": "insufficient_quota"}}), 1),
        (status(429, {"retry-after": "121"}), 1),
        (status(429, {"retry-after-ms": "1"}), 3),
    ],
)
async def test_what_is_asked_again(fault: Reply, requests: int, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi."), faults={1: fault, 2: fault}) as endpoint:
        client = client_at(endpoint, retries=QUICK)
        if requests == 1:
            assert (await failed(client, on_chunk)).attempts == 1
        else:
            assert (await client.complete(HELLO, on_chunk)).message.content == "Hi."
    assert len(endpoint.requests) == requests
    assert len(set(endpoint.bodies)) == 1


@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_the_last_failure_is_raised_and_says_how_many_there_were(attempts: int) -> None:
    faults = {at: status(503, {}, {"error": f"no {at}"}) for at in range(1, 5)}
    with chaos(answer("Hi."), faults=faults) as endpoint:
        error = await failed(client_at(endpoint, retries=Retries(attempts=attempts, base=0.001)))
    assert isinstance(error, EndpointUnavailable)
    assert f"no {attempts}" in str(error)
    assert (error.attempts, len(endpoint.requests)) == (attempts, attempts)


async def test_a_number_of_retries() -> None:
    with chaos(status(503, {"retry-after-ms": "1"})) as endpoint:
        client = client_at(endpoint, retries=1)
        client._retries = Retries(attempts=client._retries.attempts, base=0.001)
        assert (await failed(client)).attempts == 2
    with pytest.raises(ConfigurationError, match="attempts="):
        ChatClient("m", base_url="http://a.b", retries=-1)


async def test_a_request_that_is_sent_again_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with chaos(answer("Hi."), faults={1: status(503)}) as endpoint, caplog.at_level(logging.INFO, "agentkit"):
        await client_at(endpoint, retries=QUICK).complete(HELLO)
    assert [each.getMessage().partition("; asking again in 0.00 s, attempt 2")[1:] for each in caplog.records] == [
        ("; asking again in 0.00 s, attempt 2", "")
    ]


async def test_the_wait_that_the_endpoint_asks_for_is_kept() -> None:
    with chaos(answer("Hi."), faults={1: status(429, {"retry-after": "0.2"})}) as endpoint:
        await client_at(endpoint, retries=QUICK).complete(HELLO)
    assert endpoint.times[1] - endpoint.times[0] >= 0.2


@pytest.mark.parametrize(
    "fault", [cut(after_chunks=3), cut(after_chunks=3, then="close"), cut(after_chunks=3, then="end")]
)
async def test_once_something_was_told_nothing_is_asked_again(fault: Reply) -> None:
    told: list[str] = []
    with chaos(answer("Well, hello there."), faults={1: fault}) as endpoint:
        error = await failed(client_at(endpoint, retries=QUICK), lambda chunk: told.append(chunk.text))
    assert isinstance(error, ConnectionFailed | IncompleteReply)
    assert told == ["", "Well,", " hello"]
    assert (error.text, error.attempts, len(endpoint.requests)) == ("Well, hello", 1, 1)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_reply_that_is_asked_for_again_is_told_once(after: int) -> None:
    told: list[str] = []
    with chaos(answer("Well, hello."), faults={at: cut(after_chunks=after) for at in (1, 2)}) as endpoint:
        reply = await client_at(endpoint, retries=QUICK).complete(HELLO, lambda chunk: told.append(chunk.text))
    assert reply.message.content == "".join(told) == "Well, hello."
    assert told == ["", "Well,", " hello.", "", ""]
    assert len(endpoint.requests) == 3


async def test_a_wait_past_the_deadline_of_the_run_is_not_waited_for() -> None:
    with chaos(status(429, {"retry-after": "60"})) as endpoint:
        errors: list[ModelError] = []
        start = time.monotonic()
        with anyio.move_on_after(50):
            errors.append(await failed(client_at(endpoint, retries=4)))
        assert time.monotonic() - start < 40
    [error] = errors
    assert isinstance(error, RateLimited)
    assert len(endpoint.requests) == 1


async def test_a_thousand_requests_to_a_dead_endpoint_are_no_storm() -> None:
    errors: list[ModelError] = []
    with chaos(status(503)) as endpoint:
        client = client_at(endpoint, retries=Retries(base=0.001, max_delay=0.002, budget=50), concurrency=20)

        async def ask() -> None:
            errors.append(await failed(client))

        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(ask)
        assert len(endpoint.requests) == 1050
        assert sum(error.attempts for error in errors) == 1050
        assert endpoint.connections <= 20
    with chaos(answer("Hi."), faults={1: status(503)}) as alive:
        other = client_at(alive, retries=QUICK)
        await other.complete(HELLO)
        assert other._retry_budget._left == 50


async def test_a_quota_is_not_asked_again_and_says_so() -> None:
    with chaos(
        status(429, {"x-ratelimit-remaining-requests": "0"}, {"error": {"type": "insufficient_quota"}})
    ) as endpoint:
        assert type(await failed(client_at(endpoint, retries=QUICK))) is QuotaExceeded
    assert len(endpoint.requests) == 1


# Time


async def test_no_connection_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it says nothing to a TLS greeting
        client = ChatClient(
            "m",
            base_url=f"https://127.0.0.1:{silent.getsockname()[1]}",
            timeout=Timeouts(connect=0.1),
            retries=Retries(attempts=2, base=0.001),
        )
        error = await failed(client)
    assert isinstance(error, ModelTimeout)
    assert (error.phase, error.seconds, error.attempts) == ("connect", 0.1, 2)


@BOTH
async def test_no_first_data_in_time(on_chunk: OnChunk | None) -> None:
    for reply in (
        refuse("stall"),
        Raw(headers=SSE, then="stall"),
        Raw([Repeat(b"\n")], headers=JSON | CHUNKED, pause=0.01),
        Raw([Repeat(b": wait\n\n")], headers=SSE | CHUNKED, pause=0.01),
        Raw([b"data: {", Repeat(b" ")], headers=SSE | CHUNKED, pause=0.01),
    ):
        with chaos(reply) as endpoint:
            error = await failed(client_at(endpoint, timeout=Timeouts(first_byte=0.1, idle=0.05)), on_chunk)
        assert isinstance(error, ModelTimeout)
        assert (error.phase, error.seconds) == ("first_byte", 0.1)
        assert str(error) == f"{endpoint.url} did not answer in time: the first data took more than 0.1 s"


@BOTH
async def test_no_more_data_in_time(on_chunk: OnChunk | None) -> None:
    for reply in (
        Raw([delta("Hel")], headers=SSE, then="stall"),
        *[
            Raw([delta("Hel"), Repeat(more)], headers=SSE | CHUNKED, pause=0.01)
            for more in (b": wait\n\n", b"\n", b"data:\n\n", b"event: x\n\n")
        ],
    ):
        with chaos(reply) as endpoint:
            error = await failed(client_at(endpoint, timeout=Timeouts(idle=0.1)), on_chunk)
        assert isinstance(error, ModelTimeout)
        assert (error.phase, error.seconds, error.text) == ("idle", 0.1, "Hel")


@BOTH
async def test_data_puts_the_idle_time_off(on_chunk: OnChunk | None) -> None:
    reply = Raw([*[delta("a")] * 10, delta(None, "stop"), DONE], headers=SSE | CHUNKED, pause=0.2)
    with chaos(reply) as endpoint:
        start = time.monotonic()
        whole = await client_at(endpoint, timeout=Timeouts(first_byte=2, idle=2)).complete(HELLO, on_chunk)
        assert time.monotonic() - start > 2.2
    assert whole.message.content == "a" * 10


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        refuse("stall"),
        Raw([Repeat(b": wait\n\n")], headers=SSE | CHUNKED, pause=0.005),
        Raw([Repeat(delta("a"))], headers=SSE | CHUNKED, pause=0.005),
        Raw([b'{"choices": [{"message": {"content": "', Repeat(b"a")], headers=JSON | CHUNKED, pause=0.005),
    ],
)
async def test_nothing_puts_the_whole_time_off(reply: Reply, on_chunk: OnChunk | None) -> None:
    with chaos(reply) as endpoint:
        start = time.monotonic()
        client = client_at(endpoint, timeout=Timeouts(idle=10, first_byte=None, total=0.2), retries=QUICK)
        error = await failed(client, on_chunk)
        assert 0.19 < time.monotonic() - start < 30
    assert isinstance(error, ModelTimeout)
    assert (error.phase, error.seconds, error.attempts) == ("total", 0.2, 1)


async def test_a_plain_body_that_drips_comes_as_long_as_it_drips() -> None:
    with chaos(bytewise(answer("Hi."))) as endpoint:
        client = client_at(endpoint, timeout=Timeouts(idle=30))
        assert (await client.complete(HELLO)).message.content == "Hi."
    with chaos(Raw([b'{"choices"', b": [", b"]"], headers=JSON, then="stall", pause=0.01)) as endpoint:
        error = await failed(client_at(endpoint, timeout=Timeouts(idle=0.1)))
    assert isinstance(error, ModelTimeout)
    assert (error.phase, error.seconds) == ("idle", 0.1)


@pytest.mark.parametrize("code", [401, 503])
async def test_an_error_whose_words_do_not_come_is_that_error(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file, "_ERROR_SECONDS", 0.1)
    for then in ("stall", "reset", "close"):
        reply = Raw([b'{"error": "so it'], code, {"content-length": "99"}, then)
        with chaos(reply) as endpoint:
            error = await failed(client_at(endpoint))
        assert isinstance(error, EndpointError)
        assert (error.status, error.body) == (code, '{"error": "so it')


@pytest.mark.parametrize(
    "reply",
    [
        refuse("stall"),
        Raw([delta("Hel")], headers=SSE, then="stall"),
        Raw([Repeat(delta("Hel"))], headers=SSE | CHUNKED, pause=0.001),
        Raw([b'{"a'], headers=JSON, then="stall"),
        Raw([b"no"], 500, then="stall"),
        status(429, {"retry-after": "60", "connection": "close"}),
    ],
)
async def test_cancelling_is_prompt_and_leaves_no_connection(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file, "_DRAIN_SECONDS", 60)
    monkeypatch.setattr(client_file, "_ERROR_SECONDS", 60)
    with chaos(reply) as endpoint:
        start = 0.0
        async with anyio.create_task_group() as group:
            group.start_soon(client_at(endpoint, retries=4).complete, HELLO, ignore)
            with anyio.fail_after(60):
                while not endpoint.requests:  # noqa: ASYNC110 (another thread has it)
                    await anyio.sleep(0.001)
            await anyio.sleep(0.03)
            start = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - start < 30
        kept = [each for idle in (await connection_pool())._idle.values() for each in idle]
        assert [each.transport._pool.connections for each in kept] in ([], [[]])
    assert len(endpoint.requests) == 1


# Size


@BOTH
@pytest.mark.parametrize(
    ("limit", "reply_limits", "reply"),
    [
        ("event", ReplyLimits(event=50), answer("x" * 60)),
        ("event", ReplyLimits(event=50_000), Raw([b"data: ", Repeat(b"x" * 1000)], headers=SSE | CHUNKED)),
        ("event", ReplyLimits(event=50_000), Raw([b":", Repeat(b"x" * 1000)], headers=SSE | CHUNKED)),
        ("event", ReplyLimits(event=50_000), Raw([b"{", Repeat(b" " * 1000)], headers=JSON | CHUNKED)),
        ("body", ReplyLimits(body=50_000), Raw([Repeat(delta("x" * 100))], headers=SSE | CHUNKED)),
        ("body", ReplyLimits(body=50_000), Raw([Repeat(b"\n" * 1000)], headers=JSON | CHUNKED)),
        ("arguments", ReplyLimits(arguments=50), calling(("f", "x" * 60))),
        ("calls", ReplyLimits(calls=2), calling(("f", {}), ("f", {}), ("f", {}))),
        ("choices", ReplyLimits(choices=1), Raw([json.dumps({"choices": [{}, {"index": 1}]}).encode()])),
    ],
)
async def test_what_is_too_large_is_refused_while_it_comes(
    limit: str, reply_limits: ReplyLimits, reply: Reply, on_chunk: OnChunk | None
) -> None:
    with chaos(reply) as endpoint:
        error = await failed(client_at(endpoint, reply_limits=reply_limits, retries=QUICK), on_chunk)
    assert isinstance(error, ReplyTooLarge)
    assert (error.limit, error.allowed, error.attempts) == (limit, getattr(reply_limits, limit), 1)


def packed(body: bytes, bits: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, bits)
    return pack.compress(body) + pack.flush()


async def test_a_bomb_is_refused() -> None:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = pack.compress(b"{") + b"".join(pack.compress(b" " * 1_000_000) for _ in range(200)) + pack.flush()
    assert len(bomb) < 200_000
    with chaos(Raw([bomb], headers=JSON | {"content-encoding": "gzip"}), status(500)) as endpoint:
        error = await failed(client_at(endpoint))
    assert isinstance(error, ReplyTooLarge)
    assert error.limit == "event"
    with chaos(Raw([bomb], 503, JSON | {"content-encoding": "gzip"})) as endpoint:
        error = await failed(client_at(endpoint))
    assert isinstance(error, EndpointUnavailable)


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
async def test_a_packed_reply(encoding: str, bits: int) -> None:
    body = b'{"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}'
    refused = json.dumps({"error": {"message": "prompt is too long"}}).encode()
    headers = JSON | {"content-encoding": encoding}
    script = [Raw([packed(body, bits)], headers=headers), Raw([packed(refused, bits)], 400, headers)]
    with chaos(*script) as endpoint:
        client = client_at(endpoint)
        assert (await client.complete(HELLO)).message.content == "Hi."
        assert isinstance(error := await failed(client), ContextTooLong)
        assert error.body == refused.decode()
    assert endpoint.headers[0]["accept-encoding"] == "identity"


async def test_what_is_much_when_unpacked_holds_nobody_up() -> None:
    """Half a minute's worth of lines comes in one read; the time of the request is over long before they are looked at."""
    much = Raw(
        [gzip.compress(b":\n" * 30_000_000, 1)],
        headers={"content-type": "text/event-stream", "content-encoding": "gzip"},
        then="stall",
    )
    with chaos(much) as endpoint:
        client = client_at(endpoint, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(ModelTimeout) as caught:
            await client.complete(HELLO, ignore)
        assert time.monotonic() - began < 10
    assert caught.value.phase == "total"


async def test_a_packed_reply_that_is_none() -> None:
    body = gzip.compress(b'{"choices": []}')
    for encoding, sent, said in (
        ("gzip", b"what", "cannot be unpacked"),
        ("gzip", body[:-12], "not JSON"),
        ("br", body, "packed its reply as 'br', which was not asked for"),
    ):
        with chaos(Raw([sent], headers=JSON | {"content-encoding": encoding})) as endpoint:
            error = await failed(client_at(endpoint))
        assert isinstance(error, MalformedReply)
        assert said in str(error)


async def test_what_needs_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(data: object) -> ChatChunk:
        raise MemoryError

    monkeypatch.setattr(reading_file, "ChatChunk", exhausted)
    with chaos(answer("Hi.")) as endpoint:
        error = await failed(client_at(endpoint))
    assert isinstance(error, ReplyTooLarge)
    assert error.limit == "memory"


# How it ends


@BOTH
@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (PAGE, MalformedReply, "a web page ('Sign in'); check the base URL, which usually ends in /v1"),
        (Raw(headers=JSON), IncompleteReply, "the endpoint sent nothing"),
        (Raw(headers=SSE), IncompleteReply, "the stream ended before the answer did"),
        (answer("Hel", finish_reason="error"), IncompleteReply, "the endpoint failed within its answer ('error')"),
        (Raw([b'{"error": {"message": "Busy.", "code": 429}}']), RateLimited, "answered with an error: Busy."),
        (
            Raw([delta("Hel"), event({"error": "Broken."})], headers=SSE),
            EndpointError,
            "answered with an error: Broken.",
        ),
        (Raw([b"event: error\ndata: died\n\n"], headers=SSE), EndpointError, "answered with an error: died"),
        (Raw([delta("Hel")], headers=SSE), IncompleteReply, "the stream ended before the answer did"),
        (cut(answer("Hello there."), after_bytes=20), ConnectionFailed, ""),
    ],
)
async def test_an_end_that_is_none(reply: Reply, kind: type[ModelError], said: str, on_chunk: OnChunk | None) -> None:
    with chaos(reply) as endpoint:
        error = await failed(client_at(endpoint), on_chunk)
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize("on_chunk", [ignore, None])
async def test_a_plain_body_for_a_stream_and_the_other_way_round(on_chunk: OnChunk | None) -> None:
    made = answer("Well, hello.")
    other = made.raw({} if on_chunk else {"stream": True})
    with chaos(other) as endpoint:
        assert (await client_at(endpoint).complete(HELLO, on_chunk)).message.content == "Well, hello."


@pytest.mark.parametrize("then", ["reset", "close", "stall"])
async def test_what_becomes_of_the_connection_after_the_end_does_not_matter(then: Then) -> None:
    with chaos(Raw([delta("Hi.", "stop"), DONE], headers=SSE | CHUNKED, then=then)) as endpoint:
        client = client_at(endpoint, timeout=Timeouts(idle=10))
        assert (await client.complete(HELLO, ignore)).message.content == "Hi."
    assert len(endpoint.requests) == 1


class Endless(httpx.AsyncByteStream):
    """A body that begins, and never ends."""

    def __init__(self, begin: bytes) -> None:
        self.begin: bytes | None = begin
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        begin, self.begin = self.begin, None
        if begin is None:
            await anyio.sleep_forever()
        return begin or b""

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("begin", [delta("Hi.") + DONE, delta("Hi."), b"<"])
async def test_a_response_is_closed_however_it_ends(code: int, begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file, "_DRAIN_SECONDS", 0.05)
    body = Endless(begin)

    def answer_it(request: httpx.Request) -> httpx.Response:
        return httpx.Response(code, headers=SSE, stream=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer_it)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, timeout=0.1, retries=0)
        with contextlib.suppress(ModelError):
            await client.complete(HELLO, ignore)
    assert body.closed


# An HTTP client of a caller's own


LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2])


@LIBRARIES
@BOTH
async def test_an_http_client_of_ones_own(library: Any, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi."), faults={1: status(503), 2: refuse("reset"), 3: refuse()}) as endpoint:
        async with library.AsyncClient() as http:
            reply = await client_at(endpoint, http=http, retries=QUICK).complete(HELLO, on_chunk)
    assert reply.message.content == "Hi."
    assert endpoint.headers[3]["authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[3]["accept-encoding"] == "identity"
    assert len(endpoint.requests) == 4


@LIBRARIES
async def test_its_failures_are_ours(library: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with library.AsyncClient() as http:
            address = f"https://127.0.0.1:{silent.getsockname()[1]}"
            client = ChatClient("m", base_url=address, http=http, timeout=Timeouts(connect=0.1), retries=0)
            error = await failed(client)
    assert isinstance(error, ModelTimeout)
    assert (error.phase, error.seconds) == ("connect", 0.1)
    with chaos(refuse("stall"), refuse(), cut(answer("Hi."), after_bytes=9, then="close")) as endpoint:
        async with library.AsyncClient() as http:
            stalled = await failed(client_at(endpoint, http=http, timeout=Timeouts(first_byte=0.1)))
            closed, broken = [await failed(client_at(endpoint, http=http)) for _ in range(2)]
    assert isinstance(stalled, ModelTimeout)
    assert (stalled.phase, stalled.seconds) == ("first_byte", 0.1)
    assert isinstance(closed, ConnectionFailed)
    assert isinstance(broken, ConnectionFailed)
    for each in (error, stalled, closed, broken):
        assert_hidden(each)


@LIBRARIES
async def test_a_time_of_its_own_is_not_kept_but_its_failure_is_ours(library: Any) -> None:
    def slow(request: Any) -> Any:
        raise library.ReadTimeout("", request=request)

    async with library.AsyncClient(transport=library.MockTransport(slow)) as http:
        error = await failed(ChatClient("m", base_url="http://a.b", http=http, timeout=7, retries=0))
    assert isinstance(error, ModelTimeout)
    assert str(error) == "http://a.b: ReadTimeout"
    assert (error.phase, error.seconds) == ("idle", 7)
    with chaos(Raw([*[b"\n"] * 3, b'{"choices": [{"message": {"content": "Hi."}}]}'], pause=0.05)) as endpoint:
        async with library.AsyncClient(timeout=0.02) as http:
            assert (await client_at(endpoint, http=http).complete(HELLO)).message.content == "Hi."


@LIBRARIES
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_it_follows_no_redirect(library: Any, code: int) -> None:
    with chaos(answer("Hi.")) as other, chaos(status(code, {"location": f"{other.url}/chat/completions"})) as endpoint:
        async with library.AsyncClient(follow_redirects=True) as http:
            error = await failed(client_at(endpoint, http=http))
    assert isinstance(error, RequestRefused)
    assert f"a redirect to '{other.url}/chat/completions', which is not followed" in str(error)
    assert (len(endpoint.requests), other.requests) == (1, [])


@LIBRARIES
async def test_a_reply_that_is_read_already(library: Any) -> None:
    body = b'{"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}'
    replies = iter(
        [
            library.Response(200, content=body),
            library.Response(200, content=gzip.compress(body), headers={"content-encoding": "gzip"}),
            library.Response(429, content=gzip.compress(b"Slowly."), headers={"content-encoding": "gzip"}),
        ]
    )

    def answer_next(request: Any) -> Any:
        return next(replies)

    async with library.AsyncClient(transport=library.MockTransport(answer_next)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, retries=0)
        assert [(await client.complete(HELLO)).message.content for _ in range(2)] == ["Hi.", "Hi."]
        assert "answered 429: Slowly." in str(await failed(client))


async def test_what_another_transport_raises_comes_out() -> None:
    error = ValueError("mine")

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as http:
        with pytest.raises(ValueError, match=r"^mine$") as caught:
            await ChatClient("m", base_url="http://a.b", http=http).complete(HELLO)
    assert caught.value is error


async def spoil(ask: Callable[[], Any], ticks: range) -> None:
    """Have 200 requests cancelled that were begun so many ticks ago."""
    for tick in ticks:
        async with anyio.create_task_group() as group:
            for _ in range(200 // len(ticks)):
                group.start_soon(ask)
            for _ in range(tick):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


# In trio, httpx leaves the bodies of requests open that were cancelled while they were sent.
LEAVING = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TICKS = [range(1), range(1, 2), range(10)]


@pytest.mark.parametrize("ticks", TICKS)
@pytest.mark.parametrize("limit", [1, 5])
@LIBRARIES
@LEAVING
async def test_two_hundred_cancelled_requests_leave_a_pool_that_works(library: Any, limit: int, ticks: range) -> None:
    with chaos(answer("Hi.")) as endpoint:
        async with library.AsyncClient(limits=library.Limits(max_connections=limit)) as http:
            client = client_at(endpoint, http=http, concurrency=limit)
            await spoil(lambda: client.complete(HELLO), ticks)
            with anyio.fail_after(60):
                assert (await client.complete(HELLO)).message.content == "Hi."
    gc.collect()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio runs tasks in an order by chance, so it may not happen
async def test_without_the_limiter_they_do_not() -> None:
    """It is httpx's fault; if this fails, the limiter may go. See https://github.com/encode/httpcore/pull/1099."""
    with chaos(answer("Hi.")) as endpoint:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=5), timeout=None) as http:  # noqa: S113

            async def ask() -> int:
                return (await http.post(f"{endpoint.url}/chat/completions", json={})).status_code

            await spoil(ask, range(1))
            with anyio.move_on_after(0.3) as scope:
                await ask()
    gc.collect()
    assert scope.cancelled_caught


async def test_only_so_many_requests_are_under_way() -> None:
    under_way: list[int] = []
    inside = 0

    async def reply(request: httpx.Request) -> httpx.Response:
        nonlocal inside
        inside += 1
        under_way.append(inside)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        inside -= 1
        return httpx.Response(200, json={"choices": [{"message": {}}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(reply)) as http:
        client = ChatClient("m", base_url="http://a.b", http=http, concurrency=3)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.complete, HELLO)
    assert (len(under_way), max(under_way)) == (10, 3)


@pytest.mark.parametrize("odd", [0, -1, 1.5, True])
def test_a_concurrency_that_cannot_be(odd: Any) -> None:
    with pytest.raises(ConfigurationError, match="concurrency must be a whole number above 0, not "):
        ChatClient("m", base_url="http://a.b", concurrency=odd)


# Pacing


async def test_the_next_request_waits_for_room() -> None:
    for pacing, limit, reset, least, most in ((None, "1", "60s", 0.0, 60.0), (Pacing(), "600", "100ms", 0.1, inf)):
        full = {
            "x-ratelimit-limit-requests": limit,
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": reset,
        }
        with chaos(Raw([b'{"choices": [{"message": {"content": "Hi."}}]}'], headers=full), answer("Hi.")) as endpoint:
            client = client_at(endpoint, pacing=pacing)
            for _ in range(2):
                await client.complete(HELLO)
        assert least <= endpoint.times[1] - endpoint.times[0] < most


async def test_after_a_refusal_nobody_is_sent_before_its_time() -> None:
    with chaos(answer("Hi."), faults={1: status(429, {"retry-after": "0.2"})}) as endpoint:
        client = client_at(endpoint, pacing=Pacing())
        assert isinstance(await failed(client), RateLimited)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client.complete, HELLO)
    assert endpoint.times[1] - endpoint.times[0] >= 0.19


class Booking(Pacing):
    """Pacing that never has room, and keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.given: list[int] = []
        self.then: Callable[[], object] = bool

    def reserve(self, tokens: int, now: float) -> float:
        self.asked.append(tokens)
        self.then()
        return 60.0

    def give_back(self, tokens: int) -> None:
        self.given.append(tokens)


async def test_a_wait_that_is_cancelled_gives_its_booking_back() -> None:
    pacing = Booking()
    with chaos(answer("Hi.")) as endpoint:
        client = client_at(endpoint, pacing=pacing)
        with anyio.CancelScope() as scope:
            pacing.then = scope.cancel
            await client.complete(ChatRequest((UserMessage("x" * 4000),), settings=Settings(max_tokens=70)))
    assert scope.cancelled_caught
    assert endpoint.requests == []
    assert pacing.given == pacing.asked
    assert 1070 <= pacing.asked[0] < 1170


async def test_the_wait_for_room_is_no_time_of_the_request() -> None:
    pacing = Booking()
    pacing.reserve = lambda tokens, now: 1.0  # type: ignore[method-assign]
    with chaos(answer("Hi.")) as endpoint:
        client = client_at(endpoint, pacing=pacing, timeout=Timeouts(first_byte=0.9, total=0.95))
        assert isinstance(await client.complete(HELLO), ChatResponse)
