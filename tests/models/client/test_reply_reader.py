import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from agentkit.core import errors
from agentkit.core.chat import ChatChunk, ChatResponse
from agentkit.core.messages import ToolCall
from agentkit.core.reply_limits import ReplyLimits, values_in
from agentkit.models.client.reply_reader import _MAX_HELD_CHUNKS, Decompressor, ErrorBodyReader, ReplyReader
from tests.clients import DONE, HELLO, HI, JSON, SSE, OnChunk, delta, event
from tests.endpoint import body_of, calls, stream_of, text

GZIP = {"content-encoding": "gzip"}
LIMITS = ReplyLimits()
STREAM = b"".join(stream_of(text("Hi.")))


def begun(headers: dict[str, str] = SSE, on_chunk: OnChunk | None = None, limits: ReplyLimits = LIMITS) -> ReplyReader:
    reader = ReplyReader(HELLO, limits, on_chunk)
    reader.begin(headers)
    return reader


def feed(reader: ReplyReader | ErrorBodyReader, received: bytes) -> bool:
    """Feed all of it at once; return whether the reply has ended."""
    return reader.feed(received) if isinstance(reader, ErrorBodyReader) else any([*reader.feed(received)])


def read(
    *received: bytes, headers: dict[str, str] = JSON, limits: ReplyLimits = LIMITS, on_chunk: OnChunk | None = None
) -> ChatResponse:
    reader = begun(headers, on_chunk, limits)
    for piece in received:
        feed(reader, piece)
    return reader.end()


def fails(*received: bytes, headers: dict[str, str] = JSON, limits: ReplyLimits = LIMITS) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        read(*received, headers=headers, limits=limits)
    return caught.value


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


# A stream or a plain body


@pytest.mark.parametrize("headers", [SSE, JSON, {}, {"content-type": "text/plain"}])
def test_the_first_byte_tells_a_stream_from_a_plain_body(headers: dict[str, str]) -> None:
    for body in (HI, STREAM):
        for begin in (b"", b"\n\n  \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"):
            assert read(begin + body, headers=headers).message.content == "Hi."
            assert read(*bytewise(begin + body), headers=headers).message.content == "Hi."
    for begin in (b": hello\n\n", b"event: message\n", b"id: 1\n", b"retry: 1\n\n", b"data:\n\n"):
        assert read(begin + STREAM, headers=headers).message.content == "Hi."


def test_nothing_after_the_end_matters() -> None:
    reader = begun()
    assert not feed(reader, delta("Hi."))
    assert feed(reader, DONE + b"data: what\n\n")
    assert feed(reader, b"data: what\n\n")
    assert reader.done
    assert reader.end().message.content == "Hi."
    assert read(gzip.compress(STREAM) + b"what", headers=GZIP).message.content == "Hi."


def test_what_counts_as_data() -> None:
    reader, plain = begun(), begun(JSON)
    for silent in (
        b": a\n\n",
        b"data: : keep-alive\n\n",
        b"data:: a\n\n",
        b"data::\n\n",
        b"\n\n",
        b"event: x\n\n",
        b"data:\n\n",
        b"data: \n\n",
        b"id: 1\n",
        b"data: {",
    ):
        feed(reader, silent)
        assert reader.data == 0
    for received, data in ((b'"choices": []}\n\n', 1), (delta("a") + delta("b"), 3)):
        feed(reader, received)
        assert reader.data == data
    for received, data in ((b"\n\n", 0), (b"{ ", 2)):
        assert not feed(plain, received)
        assert plain.data == data


@pytest.mark.parametrize("comment", [b"data: : keep-alive\n", b"data::\n", b"data:  : PROCESSING\n"])
def test_a_comment_that_came_as_data_is_skipped(comment: bytes) -> None:
    for body in (comment + b"\n" + STREAM, comment + STREAM, STREAM.replace(b"\n\n", b"\n" + comment + b"\n")):
        assert read(*bytewise(body), headers=SSE).message.content == "Hi."
    assert isinstance(fails(b"event: error\n" + comment + b"\n", headers=SSE), errors.EndpointError)


def test_a_web_page_names_the_address_and_the_type() -> None:
    for headers, kind in (({"content-type": "text/html; charset=utf-8"}, " (text/html; charset=utf-8)"), ({}, "")):
        reader = ReplyReader(HELLO, LIMITS, None, "https://a.b/v2")
        reader.begin(headers)
        feed(reader, b"<html></html>")
        with pytest.raises(errors.MalformedReply) as caught:
            reader.end()
        assert str(caught.value).startswith(f"https://a.b/v2/chat/completions sent a web page{kind}; check the base")


# When chunks are handed over


def test_chunks_are_held_back_until_one_has_content() -> None:
    texts: list[str] = []
    reader = begun(SSE, lambda chunk: texts.append(chunk.text))
    opening = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
    for silent in (b'data: {"choices": []}\n\n', opening, event({"id": "x"})):
        feed(reader, silent)
        assert (texts, reader.streamed) == ([], False)
    feed(reader, delta("Hi."))
    assert (texts, reader.streamed) == (["", "", "", "Hi."], True)
    feed(reader, event({"choices": []}))
    assert texts == ["", "", "", "Hi.", ""]
    # A reply without content is handed over at its end.
    read(delta(None) + delta(None, "stop"), DONE, headers=SSE, on_chunk=lambda chunk: texts.append(chunk.text))
    assert len(texts) == 7


def test_what_has_content() -> None:
    calls = [{"index": 0, "function": {"name": "f"}}]
    for content in ({"content": "a"}, {"refusal": "a"}, {"role": "a", "tool_calls": calls}, {"x": {"y": 1}}):
        for kind in ("delta", "message"):
            reader = begun(SSE, lambda chunk: None)
            feed(reader, event({"choices": [{kind: content}]}))
            assert reader.streamed


@pytest.mark.parametrize(("silent", "most"), [({}, _MAX_HELD_CHUNKS), ({"x": "x" * 50_000}, 1)])
def test_only_so_many_chunks_are_held(silent: dict[str, Any], most: int) -> None:
    chunks: list[ChatChunk] = []
    reader = begun(SSE, chunks.append)
    feed(reader, event(silent) * most)
    assert (chunks, reader.streamed) == ([], False)
    feed(reader, event(silent))
    assert (len(chunks), reader.streamed) == (most + 1, True)


def test_what_a_listener_raises_is_raised_at_the_end() -> None:
    raised = TimeoutError("mine")

    def listen(chunk: ChatChunk) -> None:
        raise raised

    for content in ("Hi.", None):
        reader = begun(SSE, listen)
        assert feed(reader, delta(content, "stop")) is (content is not None)
        with pytest.raises(TimeoutError) as caught:
            reader.end()
        assert caught.value is raised
        assert reader.streamed


# How it ends


def test_an_incomplete_reply() -> None:
    for body in (b"", b"\n\n \r\n", b"\xef\xbb\xbf"):
        for headers in (JSON, {}):
            assert type(fails(body, headers=headers)) is errors.IncompleteReply
    for body in (b"", b"\n", b": keep-alive\n\n", delta("Hel"), delta("Hel") + b'data: {"choices": [{"del'):
        assert type(fails(body, headers=SSE)) is errors.IncompleteReply
    for reason in ("error", "ERROR", "network_error", "abort"):
        reply = text("Hel") | {"finish_reason": reason}
        for body in (b"".join(stream_of(reply)), json.dumps(body_of(reply)).encode()):
            error = fails(body)
            assert type(error) is errors.IncompleteReply
            assert reason in str(error)
    # The last event may lack its empty line.
    assert read(delta("Hi.", "stop")[:-2], headers=SSE).message.content == "Hi."
    assert read(delta("Hi.") + DONE[:-2], headers=SSE).message.content == "Hi."


@pytest.mark.parametrize(("body", "word"), [
    (b"Unauthorized", "Unauthorized"),
    *[(body, "JSON") for body in (b'{"choices": [{"mess', b'{"a": NaN}', b"\xff\xff", b"data: what\n\n")],
    *[(body, "JSON object") for body in (b"[1]", b"7", event([1]))],
    *[(body, "choices") for body in (b"{}", b'{"choices": []}', b'{"choices": "x"}')],
])  # fmt: skip
def test_a_body_that_is_no_reply(body: bytes, word: str) -> None:
    error = fails(body)
    assert isinstance(error, errors.MalformedReply)
    assert word in str(error)
    assert word == "choices" or error.excerpt in body.decode("utf-8", "replace")


@pytest.mark.parametrize(("page", "title"), [
    (b'<!DOCTYPE html><html><head><TITLE lang="en">\n Sign in </TITLE></head></html>', ", titled 'Sign in'"),
    (b"<html><title></title></html>", ""),
    (b"\n\n<?xml version='1.0'?>", ""),
    (b"<html>" + b" " * 3000 + b"<title>Far</title>", ""),
    (b"data: <html><title>Oops</title>\n\n", ", titled 'Oops'"),
])  # fmt: skip
def test_a_web_page_says_its_title_and_the_way_out(page: bytes, title: str) -> None:
    error = fails(page, headers={"content-type": "text/html"})
    assert isinstance(error, errors.MalformedReply)
    assert f"the endpoint sent a web page (text/html){title}; check the base URL" in str(error)
    assert (error.excerpt[0], len(error.excerpt) <= 2000) == ("<", True)


@pytest.mark.parametrize(("body", "kind", "words"), [
    (json.dumps({"error": {"message": "Busy.", "code": 429}}).encode(), errors.RateLimited, "Busy."),
    (event({"error": "Busy."}) + DONE, errors.EndpointError, "Busy."),
    (delta("Hel") + event({"error": {"message": "Broken.", "code": 500}}), errors.EndpointUnavailable, "Broken."),
    (delta("Hel") + b"event: error\ndata: died\n\n" + delta("lo", "stop"), errors.EndpointError, "died"),
    (b"event: error\ndata: died", errors.EndpointError, "died"),
])  # fmt: skip
def test_an_error_inside_an_answer(body: bytes, kind: type[errors.EndpointError], words: str) -> None:
    for headers in (SSE, JSON):
        error = fails(body, headers=headers)
        assert type(error) is kind
        assert words in str(error)


def test_what_came_is_there_however_it_ends() -> None:
    reader = begun()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}
    feed(reader, delta("Hel") + event({"choices": [{"delta": {"tool_calls": [call]}}]}) + b"data: what\n\n")
    with pytest.raises(errors.MalformedReply):
        reader.end()
    assert (reader.assembly.text, reader.assembly.calls) == ("Hel", (ToolCall("c", "f", '{"a'),))


# How large it may be


def with_calls(*arguments: str) -> bytes:
    return json.dumps(body_of(calls(*[("f", text) for text in arguments]))).encode()


@pytest.mark.parametrize(("limit", "limits", "fits", "more"), [
    ("body", ReplyLimits(body=len(HI)), HI, HI + b" "),
    ("event", ReplyLimits(event=len(HI)), HI, HI + b" "),
    ("values", ReplyLimits(values=values_in(HI)), HI, HI[:-1] + b', "x": [1]}'),
    ("arguments", ReplyLimits(arguments=100), with_calls("x" * 99), with_calls("x" * 100)),
    ("calls", ReplyLimits(calls=2), with_calls("{}", "{}"), with_calls("{}", "{}", "{}")),
    ("choices", ReplyLimits(choices=1), HI, b'{"choices":[{"message":{}},{"index":1,"message":{}}]}'),
    ("body", ReplyLimits(body=len(STREAM)), STREAM, b": \n\n" + STREAM),
    ("event", ReplyLimits(event=500), STREAM, b"data: " + b" " * 490 + STREAM),
    ("event", ReplyLimits(event=500), STREAM, b":" + b" " * 501 + b"\n" + STREAM),
    ("event", ReplyLimits(event=500), STREAM, b"data: \n" * 100 + b"\n" + STREAM),
    ("values", ReplyLimits(values=40), STREAM, b"data: [" + b"[]," * 45 + b"0]\n\n" + STREAM),
])  # fmt: skip
def test_a_reply_may_be_so_large(limit: str, limits: ReplyLimits, fits: bytes, more: bytes) -> None:
    assert read(fits, limits=limits).choices
    assert read(*bytewise(fits), limits=limits).choices
    error = fails(*bytewise(more), limits=limits)
    assert isinstance(error, errors.ReplyTooLarge)
    assert (error.limit, error.allowed) == (limit, getattr(limits, limit))


def packed(body: bytes, bits: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, bits)
    return pack.compress(body) + pack.flush()


@pytest.mark.parametrize(("begin", "cut"), [(b"{", 7_000), (b"data: ", 1_000_000), (b"", 7_000)])
@pytest.mark.no_cover
def test_a_bomb_is_refused_while_it_is_decompressed(begin: bytes, cut: int) -> None:
    received = packed(begin + b" " * 70_000_000, 31)
    assert len(received) < 100_000
    reader = begun(GZIP)
    tracemalloc.start()
    for at in range(0, len(received), cut):
        feed(reader, received[at : at + cut])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with pytest.raises(errors.ReplyTooLarge) as caught:
        reader.end()
    assert caught.value.limit == ("body" if not begin else "event")
    assert peak < 30_000_000


# Compressed


@pytest.mark.parametrize(
    ("encoding", "bits"),
    [("gzip", 31), ("x-gzip", 31), (" GZip ", 31), ("gzip", 15), ("deflate", 15), ("deflate", -15), ("deflate", 31)],
)
def test_a_compressed_reply(encoding: str, bits: int) -> None:
    for body in (HI, STREAM):
        sent = packed(body, bits)
        for pieces in ([sent], bytewise(sent), [sent[:1], sent[1:]], [b"", sent, b""]):
            assert read(*pieces, headers={"content-encoding": encoding}).message.content == "Hi."


def test_an_encoding_that_is_not_supported_is_refused() -> None:
    for encoding in ("", "identity", " Identity "):
        assert read(HI, headers={"content-encoding": encoding}).message.content == "Hi."
    for encoding in ("br", "zstd", "gzip, gzip", "compress", "x" * 99):
        reader = begun({"content-encoding": encoding})
        assert reader.done
        assert feed(reader, HI)
        with pytest.raises(errors.MalformedReply, match=encoding[:40]):
            reader.end()


def test_a_compressed_reply_in_several_members_and_one_that_is_cut() -> None:
    members = b"".join(gzip.compress(HI[at : at + 7]) for at in range(0, len(HI), 7))
    assert read(members, headers=GZIP).message.content == "Hi."
    assert read(*bytewise(members), headers=GZIP).message.content == "Hi."
    for body, content in ((gzip.compress(HI), "Hi."), (gzip.compress(delta("Hel") + STREAM), "HelHi.")):
        failed = 0
        for at in range(len(body)):
            try:
                whole = read(body[:at], headers=GZIP)
            except (errors.IncompleteReply, errors.MalformedReply):
                failed += 1
            else:
                assert whole.message.content == content  # only what marks the end was cut off
        assert failed > len(body) * 0.6


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_reply_that_is_not_compressed_as_it_says(encoding: str) -> None:
    for body in (HI, b"\xff" * 100, b"\x1f\x8b\xff" + b"\0" * 30):
        for pieces in ([body], bytewise(body)):
            assert isinstance(fails(*pieces, headers={"content-encoding": encoding}), errors.MalformedReply)


@pytest.mark.parametrize("bits", [-15, 15, 31])
def test_nothing_is_left_in_the_decompressor(bits: int) -> None:
    for size in (999_999, 1_000_000, 1_000_001, 1_000_129, 1_000_258, 2_000_001):
        sent = packed(b"x" * size, bits)
        for cut in (0, 1, 5, 9):
            decompress = Decompressor(raw_deflate=bits < 0)
            halves = (sent[: len(sent) - cut], sent[len(sent) - cut :])
            pieces = [len(piece) for half in halves for piece in decompress(half)]
            assert sum(pieces) == size
            assert max(pieces) <= 1_000_000


# The beginning of an error


@pytest.mark.parametrize("bits", [None, 31, -15])
def test_the_beginning_of_a_body(bits: int | None) -> None:
    body = b"Too many requests. " * 100
    headers = {} if bits is None else {"content-encoding": "gzip" if bits > 0 else "deflate"}
    sent = body if bits is None else packed(body, bits)
    for pieces in ([sent], bytewise(sent)):
        whole, first = ErrorBodyReader(headers, 10_000), ErrorBodyReader(headers, 50)
        assert not any(feed(whole, piece) for piece in pieces)
        assert whole.body == body
        assert [feed(first, piece) for piece in pieces][-1]
        assert first.body == body[:50]


@pytest.mark.no_cover
def test_the_beginning_of_a_bomb_is_decompressed_no_further() -> None:
    received = packed(b"Too many." + b" " * 70_000_000, 31)
    tracemalloc.start()
    first = ErrorBodyReader(GZIP, 10_000)
    assert [feed(first, received) for _ in range(2)] == [True, True]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first.body == b"Too many.".ljust(10_000)
    assert peak < 5_000_000


@pytest.mark.parametrize(("encoding", "body"), [("gzip", b""), ("br", b"what")])
def test_of_an_unreadable_error_there_are_the_bytes_or_nothing(encoding: str, body: bytes) -> None:
    first = ErrorBodyReader({"content-encoding": encoding}, 50)
    assert feed(first, b"what") is (not body)
    assert first.body == body


# Time; that any bytes are a reply or a model error is proved in `promises/test_streams`


LONG: dict[str, Callable[[int], bytes]] = {
    "event": lambda size: delta("x" * size, "stop"),
    "body": lambda size: json.dumps(body_of(text("x" * size))).encode(),
    "comment": lambda size: b":" + b"x" * size + b"\n\n" + STREAM,
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.no_cover
def test_reading_takes_linear_time(kind: str) -> None:
    def seconds(pieces: list[bytes]) -> float:
        start = time.process_time()
        read(*pieces, headers={})
        return time.process_time() - start

    short, long = (min(seconds(bytewise(LONG[kind](size))) for _ in range(3)) for size in (2_000, 16_000))
    assert long < max(0.1, 16 * short)
