"""What a client does when things go wrong: retries, timeouts, cancellation, sizes, and waiting for rate limits."""

import gzip
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any

import anyio
import httpx
import pytest

from agentkit import ChatClient, ChatRequest, Pacing, ReplyLimits, Retries, Settings, Timeouts, UserMessage
from agentkit.core import errors
from agentkit.core.messages import Usage
from agentkit.models.client import chat_client as client_file
from agentkit.models.client import reply_reader as reader_file
from agentkit.models.client import timeouts as timeouts_file
from agentkit.models.client.connections import connection_pool
from agentkit.models.client.reply_reader import ReplyReader
from agentkit.testing import Raw, Repeat, Reply, answer, bytewise, calling, chaos, cut, refuse, status
from agentkit.testing.replies import Then
from tests.clients import (
    ASYNCIO,
    BOTH,
    CHUNKED,
    DONE,
    HELLO,
    HI,
    JSON,
    QUICK,
    SSE,
    OnChunk,
    client_at,
    delta,
    event,
    failed,
    ignore,
)

pytestmark = pytest.mark.anyio

# Retries


@ASYNCIO
@BOTH
@pytest.mark.parametrize(("fault", "requests"), [
    *[(status(code), 3) for code in (408, 409, 429, 500, 529)],
    *[(status(code), 1) for code in (301, 400, 401, 413)],
    *[(refuse(then), 3) for then in ("close", "reset")],
    *[(cut(after_bytes=30, then=then), 3) for then in ("reset", "close", "end")],
    *[(Raw([b"what"]), 3), (Raw(), 3), (Raw([HI], headers={"content-encoding": "br"}), 3)],
    (Raw([b"<html><title>Sign in</title></html>"]), 1),
    (Raw([event({"error": {"message": "Busy.", "type": "overloaded_error"}})], headers=SSE), 3),
    (Raw([b"event: error\ndata: died\n\n"], headers=SSE), 1),
    (answer("", finish_reason="error"), 3),
    (status(503, {"x-should-retry": "false"}), 1),
    (status(429, {"x-ratelimit-remaining-requests": "0"}, {"error": {"code": "insufficient_quota"}}), 1),
    (status(429, {"retry-after": "121"}), 1),
    (status(429, {"retry-after-ms": "1"}), 3),
])  # fmt: skip
async def test_what_is_retried(fault: Reply, requests: int, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi."), faults={1: fault, 2: fault}) as endpoint:
        client = client_at(endpoint, retries=QUICK)
        if requests == 1:
            assert (await failed(client, on_chunk)).attempts == 1
        else:
            assert (await client.complete(HELLO, on_chunk)).message.content == "Hi."
    assert len(endpoint.requests) == requests
    assert len(set(endpoint.bodies)) == 1


@ASYNCIO
@pytest.mark.parametrize("retries", [Retries(attempts=1), Retries(attempts=4, base=0.001), 0, 1])
async def test_the_last_failure_is_raised_and_says_how_many_there_were(retries: Retries | int) -> None:
    attempts = retries + 1 if isinstance(retries, int) else retries.attempts
    faults = {at: status(503, {"retry-after-ms": "1"}, {"error": f"no {at}"}) for at in range(1, 5)}
    with chaos(answer("Hi."), faults=faults) as endpoint:
        error = await failed(client_at(endpoint, retries=retries))
    assert isinstance(error, errors.EndpointUnavailable)
    assert f"no {attempts}" in str(error)
    assert (error.attempts, len(endpoint.requests)) == (attempts, attempts)


async def test_a_retry_is_logged_and_waits_as_long_as_the_endpoint_asks(caplog: pytest.LogCaptureFixture) -> None:
    fault = status(429, {"retry-after": "0.1"})
    with chaos(answer("Hi."), faults={1: fault}) as endpoint, caplog.at_level(logging.INFO, "agentkit"):
        reply = await client_at(endpoint, retries=QUICK).complete(HELLO)
    assert endpoint.times[1] - endpoint.times[0] >= 0.1
    (retried,) = reply.retried
    assert retried.error.startswith("RateLimited: ")
    assert retried.after >= 0
    assert retried.delay >= 0.1
    assert ["attempt 2" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("then", ["reset", "close", "end"])
async def test_once_something_was_streamed_nothing_is_retried(then: Any) -> None:
    texts: list[str] = []
    with chaos(answer("Well, hello there."), faults={1: cut(after_chunks=3, then=then)}) as endpoint:
        error = await failed(client_at(endpoint, retries=QUICK), lambda chunk: texts.append(chunk.text))
    assert isinstance(error, errors.ConnectionFailed | errors.IncompleteReply)
    assert texts == ["", "Well,", " hello"]
    assert (error.text, error.attempts, len(endpoint.requests)) == ("Well, hello", 1, 1)


# https://github.com/maximhq/bifrost/issues/6784
@ASYNCIO
@pytest.mark.parametrize("then", ["end", "close", "reset", "stall"])
@pytest.mark.parametrize("rest", [
    [],
    [event({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}})],
    [delta(""), b": keep-alive\n\n"],
    [b"data: what\n\n"],
    [b"event: error\ndata: died\n\n"],
    [b'data: {"error": "died"}'],
    [b"data: {"],
])  # fmt: skip
async def test_after_the_finish_reason_a_reply_is_whole(
    rest: list[bytes], then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the connection ends after it (bifrost#6784)."""
    monkeypatch.setattr(timeouts_file, "_USAGE_SECONDS", 0.02)
    writes = [delta("Hi."), delta(None, "stop"), *rest]
    with chaos(cut(Raw([*writes, DONE], headers=SSE | CHUNKED), after_chunks=len(writes), then=then)) as endpoint:
        for on_chunk in (None, ignore):
            reply = await client_at(endpoint).complete(HELLO, on_chunk)
            assert (reply.message.content, reply.finish_reason) == ("Hi.", "stop")
            assert reply.usage == (Usage(1, 10, 5) if b"usage" in b"".join(rest) else None)


@ASYNCIO
@pytest.mark.parametrize("then", ["close", "reset", "stall"])
async def test_a_plain_body_that_is_whole_json_needs_no_end(then: Then) -> None:
    for body, kind in ((HI, None), (b'{"error": "died"}', errors.EndpointError), (HI[:-1], errors.ModelError)):
        with chaos(cut(Raw([body, b" "], headers=JSON | CHUNKED), after_chunks=1, then=then)) as endpoint:
            client = client_at(endpoint, timeout=Timeouts(idle=0.05))
            if kind is None:
                assert (await client.complete(HELLO)).message.content == "Hi."
            else:
                error = await failed(client)
                assert isinstance(error, kind)
                assert isinstance(error, errors.EndpointError) is (kind is errors.EndpointError)


@ASYNCIO
@pytest.mark.parametrize("writes", [
    [delta("H", "stop") + delta("i", "stop")],  # it writes a finish reason with each piece
    [event({"choices": [{"index": 1, "delta": {"content": "Hi."}, "finish_reason": "stop"}]})],  # one of two answers
])  # fmt: skip
async def test_a_finish_reason_that_is_not_the_last(writes: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts_file, "_USAGE_SECONDS", 0.01)
    request = ChatRequest(HELLO.messages, settings=Settings(n=1 if b'"index": 0' in writes[0] else 2))
    with chaos(Raw(writes, headers=SSE, then="stall")) as endpoint, pytest.raises(errors.ModelTimeout):
        await client_at(endpoint, timeout=Timeouts(idle=0.1)).complete(request, ignore)


async def test_a_reply_that_is_retried_is_streamed_once() -> None:
    texts: list[str] = []
    with chaos(answer("Well, hello."), faults={at: cut(after_chunks=at - 1) for at in (1, 2)}) as endpoint:
        reply = await client_at(endpoint, retries=QUICK).complete(HELLO, lambda chunk: texts.append(chunk.text))
    assert reply.message.content == "Well, hello."
    assert texts == ["", "Well,", " hello.", "", ""]
    assert len(endpoint.requests) == 3


async def test_a_delay_past_the_deadline_of_the_run_is_not_waited_for() -> None:
    with chaos(status(429, {"retry-after": "60"})) as endpoint, anyio.move_on_after(50) as scope:
        with anyio.fail_after(40, shield=True):
            assert isinstance(await failed(client_at(endpoint, retries=4)), errors.RateLimited)
    assert (len(endpoint.requests), scope.cancel_called) == (1, False)


@pytest.mark.no_cover
async def test_a_dead_endpoint_gets_no_retry_storm() -> None:
    attempts: list[int] = []
    with chaos(status(503)) as endpoint:
        client = client_at(endpoint, retries=Retries(base=0.001, max_delay=0.002, budget=50), concurrency=20)

        async def ask() -> None:
            attempts.append((await failed(client)).attempts)

        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(ask)
        assert len(endpoint.requests) == sum(attempts) == 200
        assert endpoint.connections <= 20
    with chaos(answer("Hi."), faults={1: status(503)}) as alive:
        other = client_at(alive, retries=QUICK)
        await other.complete(HELLO)
        assert other._retry_budget._left == 50


# Time


async def test_no_connection_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, chaos(answer("Hi.")) as endpoint:
        endpoint.url = f"https://127.0.0.1:{silent.getsockname()[1]}"  # it says nothing to a TLS greeting
        timeouts = Timeouts(connect=0.05)
        error = await failed(client_at(endpoint, timeout=timeouts, retries=Retries(attempts=2, base=0.001)))
    assert isinstance(error, errors.ModelTimeout)
    assert (error.phase, error.seconds, error.attempts) == ("connect", 0.05, 2)


def dripping(*writes: bytes | Repeat, headers: dict[str, str] = SSE) -> Raw:
    return Raw(writes, headers=headers | CHUNKED, pause=0.005)


KEEP_ALIVES = [Repeat(b": wait\n\n"), Repeat(b"\n"), Repeat(b"data:\n\n"), Repeat(b"event: x\n\n")]
TIMEOUTS = {
    "first_byte": Timeouts(first_byte=0.05, idle=0.03),
    "idle": Timeouts(idle=0.05),
    "total": Timeouts(idle=10, total=0.05),
}


@BOTH
@pytest.mark.parametrize(("reply", "phase"), [
    (refuse("stall"), "first_byte"),
    (Raw(headers=SSE, then="stall"), "first_byte"),
    (dripping(Repeat(b"\n"), headers=JSON), "first_byte"),
    (dripping(b"data: {", Repeat(b" ")), "first_byte"),
    (Raw([delta("Hel")], headers=SSE, then="stall"), "idle"),
    (Raw([b'{"choices"', b": [", b"]"], headers=JSON, then="stall"), "idle"),
    *[(dripping(delta("Hel"), more), "idle") for more in KEEP_ALIVES],
    (refuse("stall"), "total"),
    (dripping(Repeat(delta("a"))), "total"),
    (dripping(b'{"choices": [{"', Repeat(b"a"), headers=JSON), "total"),
])  # fmt: skip
async def test_no_data_in_time(reply: Reply, phase: str, on_chunk: OnChunk | None) -> None:
    with chaos(reply) as endpoint:
        error = await failed(client_at(endpoint, timeout=TIMEOUTS[phase]), on_chunk)
    assert isinstance(error, errors.ModelTimeout)
    assert (error.phase, error.seconds) == (phase, 0.05)
    assert error.text == ("Hel" if phase == "idle" and reply.raw({}).headers != JSON else error.text)


@BOTH
async def test_data_restarts_the_idle_time(on_chunk: OnChunk | None) -> None:
    reply = Raw([*[delta("a")] * 10, delta(None, "stop"), DONE], headers=SSE | CHUNKED, pause=0.1)
    with chaos(reply) as endpoint, anyio.fail_after(60):
        whole = await client_at(endpoint, timeout=Timeouts(first_byte=1, idle=1)).complete(HELLO, on_chunk)
    assert whole.message.content == "a" * 10
    with chaos(bytewise(answer("Hi."))) as endpoint:
        assert (await client_at(endpoint, timeout=Timeouts(idle=30)).complete(HELLO)).message.content == "Hi."


async def test_an_error_whose_words_do_not_come_is_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file, "_ERROR_SECONDS", 0.05)
    then: Any
    for code, then in ((401, "stall"), (503, "reset"), (503, "close")):
        with chaos(Raw([b'{"error": "so it'], code, {"content-length": "99"}, then)) as endpoint:
            error = await failed(client_at(endpoint))
        assert isinstance(error, errors.EndpointError)
        assert (error.status, error.body) == (code, '{"error": "so it')
    with chaos(Raw([b"x" * 20_000], 502, then="stall")) as endpoint:
        assert isinstance(error := await failed(client_at(endpoint)), errors.EndpointUnavailable)
        assert error.body == "x" * 2000


@pytest.mark.parametrize("reply", [
    refuse("stall"),
    Raw([delta("Hel")], headers=SSE, then="stall"),
    Raw([Repeat(delta("Hel"))], headers=SSE | CHUNKED, pause=0.001),
    Raw([b'{"a'], headers=JSON, then="stall"),
    Raw([b"no"], 500, then="stall"),
    status(429, {"retry-after": "60", "connection": "close"}),
])  # fmt: skip
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
            await anyio.sleep(0.02)
            start = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - start < 30
        assert not any((await connection_pool())._idle.values())
    assert len(endpoint.requests) == 1


# Size


@BOTH
@pytest.mark.parametrize(("limit", "reply_limits", "reply"), [
    ("event", ReplyLimits(event=50_000), Raw([b"data: ", Repeat(b"x" * 1000)], headers=SSE | CHUNKED)),
    ("body", ReplyLimits(body=50_000), Raw([Repeat(b"\n" * 1000)], headers=JSON | CHUNKED)),
    ("calls", ReplyLimits(calls=2), calling(("f", {}), ("f", {}), ("f", {}))),
])  # fmt: skip
async def test_what_is_too_large_is_refused_while_it_arrives(
    limit: str, reply_limits: ReplyLimits, reply: Reply, on_chunk: OnChunk | None
) -> None:
    with chaos(reply) as endpoint:
        error = await failed(client_at(endpoint, reply_limits=reply_limits, retries=QUICK), on_chunk)
    assert isinstance(error, errors.ReplyTooLarge)
    assert (error.limit, error.allowed, error.attempts) == (limit, getattr(reply_limits, limit), 1)


@ASYNCIO
async def test_a_compressed_reply_and_a_bomb() -> None:
    refusal = json.dumps({"error": {"message": "prompt is too long"}}).encode()
    bomb = b"{" + b" " * 70_000_000
    bodies = [(200, HI), (400, refusal), (200, bomb), (503, bomb)]
    headers = JSON | {"content-encoding": "gzip"}
    replies = [Raw([gzip.compress(body)], code, headers) for code, body in bodies]
    with chaos(*replies, Raw([b"what"], headers=headers)) as endpoint:
        client = client_at(endpoint)
        assert (await client.complete(HELLO)).message.content == "Hi."
        failures = [await failed(client) for _ in range(4)]
    kinds = [errors.ContextTooLong, errors.ReplyTooLarge, errors.EndpointUnavailable, errors.MalformedReply]
    assert [type(error) for error in failures] == kinds
    assert [getattr(failures[0], "body", ""), getattr(failures[1], "limit", "")] == [refusal.decode(), "event"]


async def test_what_a_reply_cost_that_broke_off_is_counted() -> None:
    """By what the endpoint reported, else by an estimate (openai-agents#1973)."""
    reported = event(
        {"choices": [{"delta": {"content": "Hel"}}], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}
    )
    for sent, least, most in ((reported, 120, 120), (delta("Hello, all of you."), 5, 60)):
        with chaos(Raw([sent], headers=SSE | CHUNKED, then="close")) as endpoint:
            error = await failed(client_at(endpoint), ignore)
        assert error.usage is not None
        assert error.usage.requests == 1
        assert least <= (error.usage.total_tokens or 0) <= most


async def test_decompressing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many seconds' worth of lines arrive in one read; the request times out long before they are looked at."""
    read: list[int] = []

    def feed_piece(reader: ReplyReader, received: bytes) -> None:
        read.append(len(received))
        whole(reader, received)

    whole = ReplyReader._feed_piece
    monkeypatch.setattr(ReplyReader, "_feed_piece", feed_piece)
    headers = SSE | {"content-encoding": "gzip"}
    with chaos(Raw([gzip.compress(b":\n" * 20_000_000, 1)], headers=headers, then="stall")) as endpoint:
        error = await failed(client_at(endpoint, timeout=0.2), ignore)
    assert sum(read) < 40_000_000
    assert isinstance(error, errors.ModelTimeout)
    assert error.phase == "total"


async def test_a_cancellation_while_decompressing_ends_it_whatever_arrives_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More of the body is there at once, and so is its end: neither is taken for what follows the lost part."""
    packed = gzip.compress(b":\n" * 2_000_000, 1)
    pulled: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for begin in range(0, len(packed), len(packed) // 4 + 1):
            pulled.append(begin)
            yield packed[begin : begin + len(packed) // 4 + 1]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=SSE | {"content-encoding": "gzip"}, content=body())

    def feed_piece(*_: object) -> None:
        scope.deadline = anyio.current_time()

    monkeypatch.setattr(ReplyReader, "_feed_piece", feed_piece)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key="k", http=http, retries=0)
        with anyio.CancelScope() as scope:
            await client.complete(HELLO, ignore)
    assert (scope.cancelled_caught, len(pulled)) == (True, 4)


async def test_a_reply_that_needs_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(data: object) -> object:
        raise MemoryError

    monkeypatch.setattr(reader_file, "decode_piece", exhausted)
    with chaos(answer("Hi.")) as endpoint:
        error = await failed(client_at(endpoint))
    assert isinstance(error, errors.ReplyTooLarge)
    assert error.limit == "memory"


# Pacing


async def test_the_next_request_waits_for_room() -> None:
    for pacing, limit, reset, least, most in ((None, "1", "60s", 0.0, 60.0), (Pacing(), "600", "100ms", 0.1, inf)):
        limits = {"limit": limit, "remaining": "0", "reset": reset}
        full = {f"x-ratelimit-{name}-requests": value for name, value in limits.items()}
        with chaos(Raw([HI], headers=full), answer("Hi.")) as endpoint:
            client = client_at(endpoint, pacing=pacing)
            for _ in range(2):
                await client.complete(HELLO)
        assert least <= endpoint.times[1] - endpoint.times[0] < most


class Booking(Pacing):
    """Pacing that never has room, and records what it is asked."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self.delay = delay
        self.asked: list[int] = []
        self.given_back: list[int] = []
        self.then: Callable[[], object] = bool

    def reserve(self, tokens: int, now: float) -> float:
        self.asked.append(tokens)
        self.then()
        return self.delay

    def give_back(self, tokens: int) -> None:
        self.given_back.append(tokens)


async def test_a_wait_that_is_cancelled_gives_its_booking_back() -> None:
    pacing = Booking(60.0)
    with chaos(answer("Hi.")) as endpoint:
        client = client_at(endpoint, pacing=pacing)
        with anyio.CancelScope() as scope:
            pacing.then = scope.cancel
            await client.complete(ChatRequest((UserMessage("x" * 4000),), settings=Settings(max_tokens=70)))
    assert scope.cancelled_caught
    assert endpoint.requests == []
    assert pacing.given_back == pacing.asked
    assert 1070 <= pacing.asked[0] < 1170


async def test_waiting_for_room_does_not_count_toward_the_timeout() -> None:
    with chaos(answer("Hi.")) as endpoint:
        client = client_at(endpoint, pacing=Booking(0.6), timeout=Timeouts(first_byte=0.5, total=0.55))
        assert (await client.complete(HELLO)).message.content == "Hi."
