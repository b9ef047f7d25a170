import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.client.sse import ErrorEvent, EventStream


def events_of(*received: bytes) -> list[bytes]:
    stream = EventStream()
    return [event for part in received for event in stream.feed(part)] + stream.close()


@pytest.mark.parametrize(("received", "events"), [
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
    (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
    (b"data: a\ndata:b\n\n", [b"a\nb"]),
    (b"data\n\ndata:\n\ndata\ndata\n\n", [b"", b"", b"\n"]),
    (b": comment\n\n:\n\ndata: a\n: comment\ndata: b\n\n", [b"a\nb"]),
    (b"event: message\nid: 7\nretry: 3000\nfoo: bar\nfoo\ndata: a\n\n", [b"a"]),
    (b"datum: a\n\n data: b\n\nDATA: c\n\n", []),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"b"]),
    ("data: a\u2028b\u2029c\u0085d\x0b\x0c\x1ce\n\n".encode(), ["a\u2028b\u2029c\u0085d\x0b\x0c\x1ce".encode()]),
    (b"data: a", [b"a"]),
    (b"data: a\r", [b"a"]),
    (b"data: a\n\ndata: b\ndata: c", [b"a", b"b\nc"]),
    (b"\n\r\n\r", []),
    (b"", []),
])  # fmt: skip
def test_the_rules_of_lines_and_events(received: bytes, events: list[bytes]) -> None:
    assert events_of(received) == events
    assert events_of(*[received[at : at + 1] for at in range(len(received))]) == events


def test_an_event_comes_as_soon_as_it_is_whole() -> None:
    stream = EventStream()
    assert stream.feed(b"data: a\r") == []
    assert stream.feed(b"\n\r") == [b"a"]
    assert stream.feed(b"\ndata: b\n") == []
    assert stream.feed(b"\n") == [b"b"]
    assert stream.close() == []


def test_an_event_named_error_says_so() -> None:
    events = events_of(b'event: error\ndata: {"message":"no"}\n\nevent: error\n\ndata: a\n\nevent: errors\ndata: b\n\n')
    assert events == [b'{"message":"no"}', b"a", b"b"]
    assert [isinstance(event, ErrorEvent) for event in events] == [True, False, False]


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"", b"", b": c", b"event: error", "data: é\u2028".encode(), b"\xef\xbb\xbf"]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12)


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_however_the_bytes_are_cut_the_events_are_the_same(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    received = b"".join(line + end for line, end in lines)
    edges = sorted({0, len(received), *[cut for cut in cuts if cut < len(received)]})
    parts = [received[start:end] for start, end in itertools.pairwise(edges)]
    assert events_of(*parts) == events_of(received)
