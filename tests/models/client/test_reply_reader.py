import gzip
import itertools
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import (
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    IncompleteReply,
    MalformedReply,
    ModelError,
    RateLimited,
    ReplyTooLarge,
)
from agentkit.core.messages import ToolCall, UserMessage
from agentkit.core.reply_limits import ReplyLimits, values_in
from agentkit.models.client.reply_reader import _MAX_HELD_CHUNKS, ErrorBodyReader, ReplyReader, Decompressor
from tests.endpoint import body_of, calls, stream_of, text


def take(reader: ReplyReader | ErrorBodyReader, received: bytes) -> bool:
    """Have all of it taken at once."""
    if isinstance(reader, ErrorBodyReader):
        return reader.feed(received)
    return any([*reader.feed(received)])


REQUEST = ChatRequest((UserMessage("Hello"),))
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
GZIP = {"content-encoding": "gzip"}
SIZES = ReplyLimits()
DONE = b"data: [DONE]\n\n"


def delta(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def events(*data: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in data)


def read(
    *received: bytes,
    headers: dict[str, str] = JSON,
    reply_limits: ReplyLimits = SIZES,
    on_chunk: Callable[[ChatChunk], None] | None = None,
) -> ChatResponse:
    reading = ReplyReader(REQUEST, reply_limits, on_chunk)
    reading.begin(headers)
    for each in received:
        take(reading, each)
    return reading.end()


def fails(*received: bytes, headers: dict[str, str] = JSON, reply_limits: ReplyLimits = SIZES) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read(*received, headers=headers, reply_limits=reply_limits)
    return caught.value


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


PLAIN = json.dumps(body_of(text("Hi."))).encode()
STREAM = b"".join(stream_of(text("Hi.")))


# A stream or a plain body


@pytest.mark.parametrize("headers", [SSE, JSON, {}, {"content-type": "text/plain"}])
@pytest.mark.parametrize("body", [PLAIN, STREAM])
def test_the_first_byte_tells_which_it_is(headers: dict[str, str], body: bytes) -> None:
    for begin in (b"", b"\n\n  \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"):
        assert read(begin + body, headers=headers).message.content == "Hi."
        assert read(*bytewise(begin + body), headers=headers).message.content == "Hi."


@pytest.mark.parametrize("begin", [b": hello\n\n", b"event: message\n", b"id: 1\n", b"retry: 1\n\n", b"data:\n\n"])
def test_a_stream_may_begin_with_any_field(begin: bytes) -> None:
    for headers in (SSE, JSON, {}):
        assert read(begin + STREAM, headers=headers).message.content == "Hi."


def test_nothing_after_the_end_matters() -> None:
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin(SSE)
    assert not take(reading, events(delta("Hi.")))
    assert take(reading, DONE + b"data: what\n\n")
    assert take(reading, b"data: what\n\n")
    assert reading.done
    assert reading.end().message.content == "Hi."


def test_a_plain_body_goes_on_until_it_ends() -> None:
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin(JSON)
    assert not any(take(reading, each) for each in bytewise(PLAIN))
    assert reading.end().message.content == "Hi."


def test_what_counts_as_data() -> None:
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin(SSE)
    for silent in (b": a\n\n", b"\n\n", b"event: x\n\n", b"data:\n\n", b"data: \n\n", b"id: 1\n", b"data: {"):
        take(reading, silent)
        assert reading.data == 0
    take(reading, b'"choices": []}\n\n')
    assert reading.data == 1
    take(reading, events(delta("a"), delta("b")))
    assert reading.data == 3
    plain = ReplyReader(REQUEST, SIZES)
    plain.begin(JSON)
    take(plain, b"\n\n")
    assert plain.data == 0
    take(plain, b"{ ")
    assert plain.data == 2


# Who is told


def test_nothing_is_told_before_something_is_said() -> None:
    told: list[str] = []
    reading = ReplyReader(REQUEST, SIZES, lambda chunk: told.append(chunk.text))
    reading.begin(SSE)
    opening: dict[str, Any] = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
    for silent in (b'data: {"choices": []}\n\n', events(opening), events({"id": "x"})):
        take(reading, silent)
        assert (told, reading.streamed) == ([], False)
    take(reading, events(delta("Hi.")))
    assert (told, reading.streamed) == (["", "", "", "Hi."], True)
    take(reading, events({"choices": []}))
    assert told == ["", "", "", "Hi.", ""]


@pytest.mark.parametrize(
    "said",
    [
        {"content": "a"},
        {"reasoning_content": "a"},
        {"refusal": "a"},
        {"role": "assistant", "tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"role": "assistant", "x": {"y": 1}},
    ],
)
def test_what_says_something(said: dict[str, Any]) -> None:
    for kind in ("delta", "message"):
        reading = ReplyReader(REQUEST, SIZES, lambda chunk: None)
        reading.begin(SSE)
        take(reading, events({"choices": [{kind: said}]}))
        assert reading.streamed


def test_a_reply_that_says_nothing_is_told_at_its_end() -> None:
    told: list[ChatChunk] = []
    read(events(delta(None), delta(None, "stop")), DONE, headers=SSE, on_chunk=told.append)
    assert len(told) == 2


def test_not_more_than_so_many_silent_chunks_are_kept() -> None:
    told: list[ChatChunk] = []
    reading = ReplyReader(REQUEST, SIZES, told.append)
    reading.begin(SSE)
    for _ in range(_MAX_HELD_CHUNKS):
        take(reading, events({}))
    assert (told, reading.streamed) == ([], False)
    take(reading, events({}))
    assert (len(told), reading.streamed) == (_MAX_HELD_CHUNKS + 1, True)


def test_not_more_than_so_much_is_kept() -> None:
    told: list[ChatChunk] = []
    reading = ReplyReader(REQUEST, SIZES, told.append)
    reading.begin(SSE)
    take(reading, events({"x": "x" * 50_000}))
    assert (told, reading.streamed) == ([], False)
    take(reading, events({"x": "x" * 50_000}))
    assert (len(told), reading.streamed) == (2, True)


@pytest.mark.parametrize("raised", [ValueError("mine"), TimeoutError("mine"), MalformedReply("mine")])
def test_what_a_listener_raises_is_raised_at_the_end(raised: Exception) -> None:
    def listen(chunk: ChatChunk) -> None:
        raise raised

    for silent in (False, True):
        reading = ReplyReader(REQUEST, SIZES, listen)
        reading.begin(SSE)
        assert take(reading, events(delta(None if silent else "Hi.", "stop"))) is not silent
        with pytest.raises(type(raised), match=r"^mine$") as caught:
            reading.end()
        assert caught.value is raised
        assert reading.streamed


# How it ends


@pytest.mark.parametrize("body", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("headers", [JSON, {}])
def test_nothing_is_no_reply(body: bytes, headers: dict[str, str]) -> None:
    error = fails(body, headers=headers)
    assert type(error) is IncompleteReply
    assert str(error) == "the endpoint sent nothing"


@pytest.mark.parametrize(
    "body", [b"", b"\n", b": keep-alive\n\n", events(delta("Hel")), events(delta("Hel")) + b'data: {"choices": [{"del']
)
def test_a_stream_that_is_cut_is_incomplete(body: bytes) -> None:
    assert type(fails(body, headers=SSE)) is IncompleteReply


def test_the_last_event_may_lack_its_empty_line() -> None:
    body = events(delta("Hi.", "stop"))[:-2]
    assert read(body, headers=SSE).message.content == "Hi."
    assert read(events(delta("Hi.")) + DONE[:-2], headers=SSE).message.content == "Hi."


@pytest.mark.parametrize("reason", ["error", "ERROR", "network_error", "abort"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_endpoint_that_failed_within_its_answer(reason: str, streamed: bool) -> None:
    reply = text("Hel") | {"finish_reason": reason}
    body = b"".join(stream_of(reply)) if streamed else json.dumps(body_of(reply)).encode()
    error = fails(body)
    assert type(error) is IncompleteReply
    assert str(error) == f"the endpoint failed within its answer ({reason!r})"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"Unauthorized", r"^the endpoint sent what is not JSON \(.*\): 'Unauthorized'$"),
        (b'{"id": "x", "choices": [{"message": {"content": "Hel', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"\xff\xff", "not JSON"),
        (b"[1]", r"^the endpoint sent no JSON object: '\[1\]'$"),
        (b"7", "no JSON object"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": "x"}', "choices is not an object"),
        (events([1]), "no JSON object"),
        (b"data: what\n\n", "not JSON"),
    ],
)
def test_what_is_no_reply(body: bytes, said: str) -> None:
    with pytest.raises(MalformedReply, match=said) as caught:
        read(body)
    assert caught.value.excerpt in body.decode("utf-8", "replace") or said.startswith(("no choices", "choices"))


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<!DOCTYPE html><html><head><TITLE>\n Sign in </TITLE></head></html>", " ('Sign in')"),
        (b'<title lang="en">Sign in</title>', " ('Sign in')"),
        (b"<html><title></title></html>", ""),
        (b"<html>", ""),
        (b"\n\n<?xml version='1.0'?>", ""),
        (b"<html>" + b" " * 3000 + b"<title>Far</title>", ""),
    ],
)
@pytest.mark.parametrize("headers", [SSE, JSON, {"content-type": "text/html"}])
def test_a_web_page_says_its_title_and_the_way_out(page: bytes, title: str, headers: dict[str, str]) -> None:
    error = fails(page, headers=headers)
    assert isinstance(error, MalformedReply)
    assert str(error).startswith(
        f"the endpoint sent a web page{title}; check the base URL, which usually ends in /v1: "
    )
    assert error.excerpt.startswith("<")
    assert len(error.excerpt) <= 2000


def test_a_web_page_as_the_data_of_an_event() -> None:
    assert "a web page ('Oops')" in str(fails(b"data: <html><title>Oops</title>\n\n", headers=SSE))


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (json.dumps({"error": {"message": "Busy.", "code": 429}}).encode(), RateLimited, "Busy."),
        (json.dumps({"error": "Busy."}).encode(), EndpointError, "Busy."),
        (json.dumps({"object": "error", "message": "prompt is too long", "code": 400}).encode(), ContextTooLong, "pro"),
        (events({"error": "Busy."}) + DONE, EndpointError, "Busy."),
        (events(delta("Hel"), {"error": {"message": "Broken.", "code": 500}}), EndpointUnavailable, "Broken."),
        (events(delta("Hel")) + b'event: error\ndata: {"message":"died"}\n\n', EndpointError, "died"),
        (events(delta("Hel")) + b"event: error\ndata: died\n\n" + events(delta("lo", "stop")), EndpointError, "died"),
        (b"event: error\ndata: died", EndpointError, "died"),
    ],
)
def test_an_error_inside_an_answer(body: bytes, kind: type[EndpointError], said: str) -> None:
    for headers in (SSE, JSON):
        error = fails(body, headers=headers)
        assert type(error) is kind
        assert str(error).startswith(f"the endpoint answered with an error: {said}")


# How large it may be


def arguments(length: int) -> bytes:
    return json.dumps(body_of(calls(("f", "x" * length)))).encode()


@pytest.mark.parametrize(
    ("limit", "reply_limits", "fits", "more"),
    [
        ("body", ReplyLimits(body=len(PLAIN)), PLAIN, PLAIN + b" "),
        ("event", ReplyLimits(event=len(PLAIN)), PLAIN, PLAIN + b" "),
        ("values", ReplyLimits(values=values_in(PLAIN)), PLAIN, PLAIN[:-1] + b', "x": [1]}'),
        ("arguments", ReplyLimits(arguments=100), arguments(99), arguments(100)),
        (
            "calls",
            ReplyLimits(calls=2),
            json.dumps(body_of(calls(("f", {}), ("f", {})))).encode(),
            json.dumps(body_of(calls(("f", {}), ("f", {}), ("f", {})))).encode(),
        ),
        (
            "choices",
            ReplyLimits(choices=1),
            PLAIN,
            json.dumps({"choices": [{"index": at, "message": {}} for at in range(2)]}).encode(),
        ),
        ("body", ReplyLimits(body=len(STREAM)), STREAM, b": \n\n" + STREAM),
        ("event", ReplyLimits(event=500), STREAM, b"data: " + b" " * 490 + STREAM),
        ("event", ReplyLimits(event=500), STREAM, b":" + b" " * 501 + b"\n" + STREAM),
        ("event", ReplyLimits(event=500), STREAM, b"data: \n" * 100 + b"\n" + STREAM),
        ("values", ReplyLimits(values=40), STREAM, b"data: [" + b"[]," * 45 + b"0]\n\n" + STREAM),
    ],
)
def test_a_reply_may_be_so_large(limit: str, reply_limits: ReplyLimits, fits: bytes, more: bytes) -> None:
    assert read(fits, reply_limits=reply_limits).choices
    assert read(*bytewise(fits), reply_limits=reply_limits).choices
    error = fails(*bytewise(more), reply_limits=reply_limits)
    assert isinstance(error, ReplyTooLarge)
    assert (error.limit, error.allowed) == (limit, getattr(reply_limits, limit))


def zeros(megabytes: int, begin: bytes) -> bytes:
    """A bomb: so many megabytes of blanks after a beginning, packed."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return pack.compress(begin) + b"".join(pack.compress(b" " * 1_000_000) for _ in range(megabytes)) + pack.flush()


@pytest.mark.parametrize(("begin", "cut"), [(b"{", 64_000), (b"data: ", 1_000_000), (b"", 64_000), (b":", 64_000)])
def test_a_bomb_is_refused_while_it_is_unpacked(begin: bytes, cut: int) -> None:
    bomb = zeros(200, begin)
    assert len(bomb) < 250_000
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin(GZIP)
    tracemalloc.start()
    try:
        for at in range(0, len(bomb), cut):
            take(reading, bomb[at : at + cut])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with pytest.raises(ReplyTooLarge) as caught:
        reading.end()
    assert caught.value.limit == ("body" if not begin else "event")
    assert peak < 30_000_000


# Packed


def packed(body: bytes, bits: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, bits)
    return pack.compress(body) + pack.flush()


KINDS = [("gzip", 31), ("x-gzip", 31), (" GZip ", 31), ("gzip", 15), ("deflate", 15), ("deflate", -15), ("deflate", 31)]


@pytest.mark.parametrize(("encoding", "bits"), KINDS)
@pytest.mark.parametrize("body", [PLAIN, STREAM])
def test_a_packed_reply(encoding: str, bits: int, body: bytes) -> None:
    sent = packed(body, bits)
    for parts in ([sent], bytewise(sent), [sent[:1], sent[1:]], [b"", sent, b""]):
        assert read(*parts, headers={"content-encoding": encoding}).message.content == "Hi."


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_reply_that_is_not_packed(encoding: str) -> None:
    assert read(PLAIN, headers={"content-encoding": encoding}).message.content == "Hi."


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x" * 99])
def test_a_way_to_pack_that_is_not_known_is_refused(encoding: str) -> None:
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin({"content-encoding": encoding})
    assert reading.done
    assert take(reading, PLAIN)
    with pytest.raises(MalformedReply, match=r"^the endpoint packed its reply as '.{2,40}', which was not asked for$"):
        reading.end()


def test_a_packed_reply_in_several_members() -> None:
    members = b"".join(gzip.compress(PLAIN[at : at + 7]) for at in range(0, len(PLAIN), 7))
    assert read(members, headers=GZIP).message.content == "Hi."
    assert read(*bytewise(members), headers=GZIP).message.content == "Hi."


def test_a_packed_reply_that_is_cut() -> None:
    plain, stream = gzip.compress(PLAIN), gzip.compress(events(delta("Hel")) + STREAM)
    for body, content in ((plain, "Hi."), (stream, "HelHi.")):
        failed = 0
        for at in range(len(body)):
            try:
                whole = read(body[:at], headers=GZIP)
            except (IncompleteReply, MalformedReply):
                failed += 1
            else:
                assert whole.message.content == content  # only what tells the end was cut off
        assert failed > len(body) * 0.6


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [PLAIN, b"\xff" * 100, b"\x1f\x8b\xff" + b"\0" * 30])
def test_a_reply_that_is_not_packed_as_it_says(encoding: str, body: bytes) -> None:
    for parts in ([body], bytewise(body)):
        error = fails(*parts, headers={"content-encoding": encoding})
        assert isinstance(error, MalformedReply)
        assert "cannot be unpacked" in str(error)


def test_what_comes_packed_after_the_terminator_does_not_matter() -> None:
    assert read(gzip.compress(STREAM) + b"what", headers=GZIP).message.content == "Hi."


@pytest.mark.parametrize("bits", [-15, 15, 31])
@pytest.mark.parametrize("cut", [0, 1, 5, 9])
def test_nothing_is_left_in_the_unpacking(bits: int, cut: int) -> None:
    for size in (999_999, 1_000_000, 1_000_001, 1_000_129, 1_000_258, 2_000_001):
        sent = packed(b"x" * size, bits)
        unpack = Decompressor(raw_deflate=bits < 0)
        pieces = [len(piece) for part in (sent[: len(sent) - cut], sent[len(sent) - cut :]) for piece in unpack(part)]
        assert sum(pieces) == size
        assert max(pieces) <= 1_000_000


# The beginning of an error


@pytest.mark.parametrize("bits", [None, 31, -15])
def test_the_beginning_of_a_body(bits: int | None) -> None:
    body = b"Too many requests. " * 100
    headers = {} if bits is None else {"content-encoding": "gzip" if bits > 0 else "deflate"}
    sent = body if bits is None else packed(body, bits)
    for parts in ([sent], bytewise(sent)):
        whole, begun = ErrorBodyReader(headers, 10_000), ErrorBodyReader(headers, 50)
        assert not any(take(whole, each) for each in parts)
        assert whole.body == body
        assert [take(begun, each) for each in parts][-1]
        assert begun.body == body[:50]


def test_the_beginning_of_a_bomb_is_unpacked_no_further() -> None:
    bomb = zeros(200, b"Too many.")
    tracemalloc.start()
    try:
        begun = ErrorBodyReader(GZIP, 10_000)
        assert take(begun, bomb)
        assert take(begun, bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert begun.body == b"Too many.".ljust(10_000)
    assert peak < 5_000_000


def test_of_what_cannot_be_unpacked_nothing_is_read() -> None:
    begun = ErrorBodyReader(GZIP, 50)
    assert take(begun, b"what")
    assert begun.body == b""


def test_of_what_is_packed_in_an_unknown_way_the_bytes_are_read() -> None:
    begun = ErrorBodyReader({"content-encoding": "br"}, 50)
    assert not take(begun, b"what")
    assert begun.body == b"what"


# Laws

CALLS = calls(("f", {"a": [1, "é\u2028"]}), content="One moment.")
GOOD = [
    (PLAIN, JSON),
    (STREAM, SSE),
    (json.dumps(body_of(CALLS)).encode(), JSON),
    (b"".join(stream_of(CALLS)), SSE),
    (b"".join(stream_of(CALLS)).replace(b"\n", b"\r\n"), SSE),
    (gzip.compress(PLAIN), GZIP),
    (gzip.compress(STREAM), GZIP | SSE),
    (packed(PLAIN, -15), {"content-encoding": "deflate"}),
    (events(delta("Hel")) + b"event: error\ndata: died\n\n", SSE),
]
ODD = st.sampled_from(
    [
        b"\n\n",
        b"\r",
        b"data: ",
        b"data: [DONE]\n\n",
        b"event: error\n",
        b"{",
        b"}",
        b"[",
        b'"',
        b"null",
        b"9" * 400,
        b"<",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """Draw a reply of which parts are taken out, repeated, or replaced."""
    body, headers = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        end = at + draw(st.integers(0, 40))
        body = body[:at] + draw(st.binary(max_size=6) | ODD | st.just(body[at:end] * 2)) + body[end:]
    return body, draw(st.sampled_from([headers, headers, headers, SSE, JSON, GZIP]))


BYTES = st.tuples(st.binary(max_size=200), st.sampled_from([SSE, JSON, GZIP, {"content-encoding": "deflate"}]))


def outcome(
    parts: Sequence[bytes], headers: dict[str, str], reply_limits: ReplyLimits
) -> ChatResponse | tuple[object, ...]:
    told: list[ChatChunk] = []
    try:
        reply = read(*parts, headers=headers, reply_limits=reply_limits, on_chunk=told.append)
    except ModelError as error:
        return type(error), str(error), error.text, error.calls
    assert told
    return reply


@given(mutated() | BYTES, st.lists(st.integers(0, 600), max_size=8), st.sampled_from([SIZES, ReplyLimits(event=150)]))
def test_whatever_comes_it_is_a_reply_or_a_model_error(
    sent: tuple[bytes, dict[str, str]], cuts: list[int], reply_limits: ReplyLimits
) -> None:
    body, headers = sent
    edges = sorted({0, len(body), *[cut for cut in cuts if cut < len(body)]})
    parts = [body[start:end] for start, end in itertools.pairwise(edges)]
    found = outcome(parts, headers, reply_limits)
    if reply_limits is SIZES:  # where the limit of an event is found, other things may be wrong too
        assert outcome([body], headers, reply_limits) == found
    if not isinstance(found, ChatResponse):
        assert len(str(found[1])) < 1000


def long_stream(size: int) -> bytes:
    return events(*[delta("x" * 40)] * (size // 110)) + events(delta("", "stop"))


def long_event(size: int) -> bytes:
    return events(delta("x" * size, "stop"))


def long_body(size: int) -> bytes:
    return json.dumps(body_of(text("x" * size))).encode()


def long_comment(size: int) -> bytes:
    return b":" + b"x" * size + b"\n\n" + STREAM


def long_packed(size: int) -> bytes:
    return gzip.compress(b"data: {}\n\n" * (size // 50) + STREAM, 1)


def pieces_of(body: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


@pytest.mark.parametrize("made", [long_stream, long_event, long_body, long_comment, long_packed])
@pytest.mark.parametrize(("piece", "size"), [(1, 25_000), (100, 500_000), (64_000, 1_000_000)])
def test_reading_takes_linear_time(made: Callable[[int], bytes], piece: int, size: int) -> None:
    headers = GZIP if made is long_packed else {}

    def seconds(body: bytes) -> float:
        parts = list(pieces_of(body, piece))
        start = time.process_time()
        read(*parts, headers=headers, reply_limits=ReplyLimits(event=10_000_000))
        return time.process_time() - start

    short, long = made(size), made(8 * size)
    ratio = 0.0
    for _ in range(3):  # another process may take the processor for a while
        took = seconds(long)
        ratio = took / min(seconds(short) for _ in range(3))
        if ratio < 14 or took < 0.1:
            return
    raise AssertionError(f"eight times as much takes {ratio:.0f} times as long")


def test_what_came_is_there_however_it_ends() -> None:
    reading = ReplyReader(REQUEST, SIZES)
    reading.begin(SSE)
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}
    take(reading, events(delta("Hel"), {"choices": [{"delta": {"tool_calls": [call]}}]}))
    take(reading, b"data: what\n\n")
    with pytest.raises(MalformedReply):
        reading.end()
    assert (reading.assembly.text, reading.assembly.calls) == ("Hel", (ToolCall("c", "f", '{"a'),))
