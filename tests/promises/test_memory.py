"""Whatever an endpoint sends, memory stays bounded: a process that has little of it comes to an end of its own."""

import gc
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from agentkit import ChatClient, ChatRequest, MalformedReply, UserMessage
from agentkit.models.client.reply_reader import ReplyReader
from agentkit.testing import Raw, Repeat, chaos
from tests.programs import PATIENCE
from tests.promises.confined import MEGABYTE

ROOT = Path(__file__).parent.parent.parent
MEGABYTES, MOST_USED = 400, 300
"""What the process may have, and what it may use of that."""

CHUNKED = {"transfer-encoding": "chunked"}
JSON = {"content-type": "application/json", **CHUNKED}
SSE = {"content-type": "text/event-stream", **CHUNKED}
PACKED = {"content-encoding": "gzip"}
X = b"x" * MEGABYTE
BLOCK = b"x" * 65_536
SEPARATORS = (b",", b":", b"{", b"[")
VALUES = 990_000

ANSWER = b'"message":{"content":"x"},"finish_reason":"stop"'
TOP = b'{"choices":[{%b}],"u":MANY}' % ANSWER
CHOICE = b'{"choices":[{%b,"u":MANY}]}' % ANSWER
MESSAGE = b'{"choices":[{"message":{"content":"x","u":MANY}}]}'
BESIDE = b'{"choices":[{"index":NUMBER,"delta":{"u":1},"message":{"content":"x","u":MANY}}]}'
CALL = b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"a"},"u":MANY}]}}]}'
ARGUMENTS = b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"a","arguments":MANY}}]}}]}'
CONTENT = b'{"choices":[{"message":{"content":MANY}}]}'
CALLS = b'{"choices":[{"message":{"tool_calls":MANY}}]}'
CHOICES = b'{"choices":MANY}'
USAGE = b'{"choices":[{%b}],"usage":{"prompt_tokens":MANY}}' % ANSWER
ERROR = b'{"error":{"message":MANY}}'
DEEP = b"[" * MEGABYTE + b"]" * MEGABYTE
DIGITS = b"9" * MEGABYTE

Make: TypeAlias = Callable[[], Raw]


def plain(*writes: bytes | Repeat) -> Raw:
    return Raw(writes, headers=JSON)


def stream(*writes: bytes | Repeat) -> Raw:
    return Raw([*writes, b"data: [DONE]\n\n"], headers=SSE)


@cache
def packed_data(data: bytes) -> list[bytes]:
    """Return 200 MB, packed in some hundred kB."""
    packing = zlib.compressobj(1, zlib.DEFLATED, 31)
    writes = [packing.compress(data) for _ in range(200 * MEGABYTE // len(data))]
    return [*filter(None, writes), packing.flush()]


def packed(data: bytes, headers: Mapping[str, str], status: int = 200) -> Raw:
    return Raw(packed_data(data), status, {**headers, **CHUNKED, **PACKED})


def of(where: bytes, what: bytes) -> Raw:
    return plain(where.replace(b"MANY", what))


def many(where: bytes, value: bytes, count: int | None = None) -> bytes:
    """Put a list of small values into a reply, by default as many as one event may have."""
    item = value + b","
    times = count or VALUES // sum(map(item.count, SEPARATORS))
    return where.replace(b"MANY", b"[" + item * times + value + b"]")


def of_many(where: bytes, value: bytes, count: int | None = None) -> Raw:
    return plain(many(where, value, count))


def again(where: bytes, value: bytes) -> Raw:
    event = many(where, value)
    return stream(*[b"data:" + event.replace(b"NUMBER", b"%d" % number) + b"\n\n" for number in range(2)])


def tiny(*pieces: bytes) -> Raw:
    """Return a stream of small choices, some hundred in each event."""
    event = b"data:" + CHOICES.replace(b"MANY", b"[" + b",".join([*pieces] * 170) + b"]") + b"\n\n"
    return stream(*[event * (MEGABYTE // len(event))] * 32)


def counted(event: bytes) -> Raw:
    """Return events that are numbered, a million of them, if anyone takes that many."""
    data = b"data:" + event + b"\n\n"
    return stream(b"".join([data.replace(b"%d", b"%d" % at) for at in range(3000)]), Repeat(data, 997_000))


# What comes of each: the kind of error, with the name of the limit
REPLIES: dict[str, tuple[str, Make]] = {
    "a line without end": ("ReplyTooLarge event", lambda: stream(b"data: ", Repeat(BLOCK))),
    "a comment without end": ("ReplyTooLarge event", lambda: stream(b":", Repeat(BLOCK))),
    "an event of endless lines": ("ReplyTooLarge event", lambda: stream(Repeat(b"data:xy\n" * 9000))),
    "endless blank lines": ("ReplyTooLarge body", lambda: stream(Repeat(b"\n" * 65_536))),
    "endless comments": ("ModelTimeout", lambda: Raw([Repeat(b": ping\n\n")], headers=SSE, pause=0.01)),
    "a plain body of 200 MB": ("ReplyTooLarge event", lambda: plain(*[X] * 200)),
    "endless spaces": ("ReplyTooLarge body", lambda: plain(Repeat(b" " * 65_536))),
    "a packed body": ("ReplyTooLarge event", lambda: packed(X, JSON)),
    "packed comments": ("ReplyTooLarge body", lambda: packed(b":%b\n" % (b"x" * 998) * 1000, SSE)),
    "a million calls": ("ReplyTooLarge calls", lambda: counted(b'{"choices":[{"delta":{"tool_calls":[{"index":%d,"id":"c%d"}]}}]}')),
    "a million choices": ("ReplyTooLarge choices", lambda: counted(b'{"choices":[{"index":%d,"delta":{"content":"x"}}]}')),
    "a million calls at once": ("ReplyTooLarge calls", partial(of_many, CALLS, b'{"function":{"name":"a"}}')),
    "long arguments": ("ReplyTooLarge arguments", lambda: of(ARGUMENTS, b'"%b"' % (X * 7))),
    "arguments of 10 MB": ("ReplyTooLarge event", lambda: of(ARGUMENTS, b'"%b"' % (X * 10))),
    "arguments in a million pieces": ("ReplyTooLarge arguments", lambda: stream(*[b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"123456789 "}}]}}]}\n\n' * 1000] * 1000)),
    "deep nesting": ("ReplyTooLarge values", lambda: plain(DEEP)),
    "deep nesting, not quite as deep": ("MalformedReply", lambda: of(TOP, b"[" * 900_000 + b"]" * 900_000)),
    "deep nesting in arguments": ("LimitReached steps", lambda: of(ARGUMENTS, b'"%b"' % (b"[" * 900_000))),
    "a long number": ("MalformedReply", lambda: of(TOP, DIGITS)),
    "a long number as an index": ("answer", lambda: plain(b'{"choices":[{"index":"%b",%b}]}' % (DIGITS, ANSWER))),
    "an endless error": ("EndpointUnavailable", lambda: Raw([Repeat(BLOCK)], 500, CHUNKED)),
    "an endless packed error": ("EndpointUnavailable", lambda: packed(X, {}, 500)),
    "many headers": ("ConnectionFailed", lambda: Raw([b"{}"], headers={f"x-{at}": "x" for at in range(100_000)})),
    "a long header": ("ConnectionFailed", lambda: Raw([b"{}"], headers={"x": "x" * 10 * MEGABYTE})),
    "7.9 MB of empty objects": ("ReplyTooLarge values", partial(of_many, TOP, b"{}", 2_630_000)),
    "7.9 MB of empty objects in a named error": ("ReplyTooLarge values", lambda: stream(b"event: error\ndata:", many(ERROR, b"{}", 2_630_000), b"\n\n")),
    "a long text": ("answer", lambda: of(CONTENT, b'"%b"' % (X * 7))),
    "many objects in call": ("LimitReached steps", partial(of_many, CALL, b'{"":1}')),
    "a stream of tiny objects, texts and calls": ("ReplyTooLarge values", partial(tiny, *[b'{"delta":{"%b}}' % rest for rest in (b'u":{"":1}', b'u":"xy"', b'tool_calls":[{"id":"1","u":{"":1}}]')])),
    "whole messages beside deltas": ("ReplyTooLarge values", partial(again, BESIDE, b'{"":1}')),
    "many choices": ("answer", partial(of_many, CHOICES, b'{"":1}', 60_000)),
    "tiny events": ("answer", lambda: stream(*[b'data:{"u":1}\n\n' * 75_000, b'data:{"choices":[{%b}]}\n\n' % ANSWER])),
}  # fmt: skip
AGAIN = {
    "answer": (TOP, CONTENT, USAGE),
    "ReplyTooLarge values": (CHOICE, MESSAGE, CALL),
    "EndpointError": (ERROR,),
}
for ends, places in AGAIN.items():
    REPLIES.update({f"again {where.decode()}": (ends, partial(again, where, b'{"":1}')) for where in places})


class Hostile:
    def raw(self, request: Mapping[str, Any]) -> Raw:
        return REPLIES[request["model"]][1]()


def test_a_process_with_little_memory_comes_to_an_end_of_its_own() -> None:
    asked = [f"streamed {name}" for name in REPLIES]
    asked += [f"plain {name}" for name in ("a packed body", "many objects in call", f"again {TOP.decode()}")]
    with chaos(Hostile()) as endpoint:
        child = [sys.executable, "-m", "tests.promises.confined", endpoint.url, str(MEGABYTES)]
        report = subprocess.run(  # noqa: S603 (this very test suite)
            child, cwd=ROOT, input="\n".join(asked), stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
        )
    *ends, peak = report.stdout.splitlines()
    expected = {name: REPLIES[name.partition(" ")[2]][0] for name in asked}
    assert dict(zip(asked, ends, strict=False)) == expected
    assert int(peak) < MOST_USED * 1000


@pytest.mark.anyio
async def test_an_error_does_not_hold_what_was_dropped() -> None:
    """Not even until the garbage is collected: each reply may have taken a hundred megabytes."""
    with chaos(Raw([b"{" * 100])) as endpoint:
        client = ChatClient("m", base_url=endpoint.url, api_key="", retries=0)
        gc.collect()
        before = {id(reader) for reader in gc.get_objects() if isinstance(reader, ReplyReader)}  # of other tests
        gc.disable()
        try:
            with pytest.raises(MalformedReply):
                await client.complete(ChatRequest((UserMessage("Hello"),)))
            readers = [reader for reader in gc.get_objects() if isinstance(reader, ReplyReader)]
            assert [reader for reader in readers if id(reader) not in before] == []
        finally:
            gc.enable()
