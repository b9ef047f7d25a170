"""The same bytes to this client and to httpx: responses in all framings, cut anywhere, whole and damaged.

Where the two differ, it is in `STRICTER` or in `LAXER`, with the reason. Whatever both take for a response is the same
response. The long form has 20,000 of them: `AGENTKIT_FUZZ=20000 pytest tests/models/client/test_http1_fuzz.py`.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import NamedTuple, cast

import httpcore
import httpx
import pytest

from agentkit.models.client.http1 import RemoteProtocolError, Response, exchange
from agentkit.models.client.wire import Wire
from tests.clients import ASYNCIO

pytestmark = pytest.mark.anyio

CASES = int(os.environ.get("AGENTKIT_FUZZ", "500"))


class Read(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Script:
    """A connection that plays pieces, and then ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.played = b""

    @property
    def wire(self) -> Wire:
        return cast("Wire", self)

    async def send(self, data: bytes) -> None:
        """Take a request."""

    async def receive(self) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        self.played += piece
        return piece


class Ours:
    """What this client makes of the pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.script = Script(list(pieces))
        self.read: Read | None = None
        self.released: list[bool] = []
        self.error = ""

    @property
    def reusable(self) -> bool:
        return self.released == [True]

    async def go(self) -> "Ours":
        response: Response | None = None
        try:
            response = await exchange(self.script.wire, [b""], self.released.append)
            body = b"".join([piece async for piece in response])
            headers = response.headers
            if "transfer-encoding" in headers:  # httpx has it in lower case
                headers["transfer-encoding"] = headers["transfer-encoding"].lower()
            self.read = Read(response.status_code, headers, body)
        except RemoteProtocolError as error:
            self.error = str(error)
        if response is not None:
            await response.aclose()
        return self


def by_httpx(pieces: list[bytes]) -> tuple[Read | None, str]:
    transport = httpx.HTTPTransport(verify=False, trust_env=False)
    transport._pool = httpcore.ConnectionPool(network_backend=httpcore.MockBackend(list(pieces)))
    try:
        response = transport.handle_request(httpx.Request("POST", "http://a.b/", content=b""))
        body = response.read()
    except httpx.TransportError as error:
        return None, str(error)
    headers: dict[str, str] = {}
    values: list[tuple[bytes, bytes]] = response.headers.raw
    for key, value in values:
        name, text = key.decode().lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return Read(response.status_code, headers, body), ""


# Responses


def cased(random: Random, name: str) -> str:
    return random.choice([name, name.title(), name.upper()])


def chunked(random: Random, body: bytes) -> bytes:
    whole = b""
    while body:
        size = random.randint(1, len(body))
        number = random.choice(["{:x}", "{:X}", "{:04x}"]).format(size).encode()
        whole += number + random.choice([b"", b"", b"", b";a=b", b';a="b c"', b";a"]) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = random.choice([b"", b"", b"x-sum: 1\r\n", b"x-sum: 1\r\nx-more: a, b\r\n"])
    return whole + random.choice([b"0", b"0", b"000", b"0;a=b"]) + b"\r\n" + trailers + b"\r\n"


def message(random: Random) -> bytes:
    early = [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nx-a: 1\r\n\r\n",
        b"HTTP/1.1 103 \r\nlink: a\r\n\r\n",
    ]
    status = random.choice(
        ["200 OK"] * 6 + ["201", "204 No Content", "304 Not Modified", "400 Bad", "429 x y z", "503 "]
    )
    version = random.choice(["1.1"] * 5 + ["1.0"])
    body = bytes(random.choices(b'{"a": 1}\r\n0;:HTTP/1.1 200 OK\x00\xff', k=random.choice([0, 1, 2, 10, 60, 300])))
    framing = random.choice(["length", "length", "chunked", "chunked", "close"])
    lines = random.choices(
        ["x-a: 1", "x-a:2", "X-B:  b c \t", "x-c:", "x-d: \xe9", "set-cookie: a=b; c", "date: today, 1"],
        k=random.randint(0, 4),
    )
    lines += random.choice(
        [[], [], [f"{cased(random, 'connection')}: {random.choice(['close', 'Keep-Alive', 'keep-alive, x'])}"]]
    )
    if status[:3] in ("204", "304"):
        body, framing = b"", "close"
    if framing == "length":
        lines.append(f"{cased(random, 'content-length')}: {len(body)}")
    elif framing == "chunked":
        lines.append(f"{cased(random, 'transfer-encoding')}: {cased(random, 'chunked')}")
        body = chunked(random, body)
    random.shuffle(lines)
    head = "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode("latin-1")
    return b"".join(random.choices(early, k=random.choice([0, 0, 0, 1, 2]))) + head + body


EXTRA = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\x00",
    b"\x01",
    b"0",
    b"f",
    b"-",
    b":",
    b",",
    b";",
    b"HTTP/1.1 200 OK\r\n",
]
LINES = [b"content-length: 5\r\n", b"content-length: 0\r\n", b"Content-Length: 3, 3\r\n", b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip, chunked\r\n", b"transfer-encoding: identity\r\n", b" folded\r\n", b"no colon\r\n", b"x y: z\r\n", b": z\r\n", b"connection: close\r\n", b"upgrade: x\r\nconnection: upgrade\r\n", b"content-length: +1\r\n", b"content-length: 99999999999999999999999\r\n", b"content-length:\r\n", b"x-bare: a\rb\r\n", b"x-null: a\x00b\r\n"]  # fmt: skip


def damaged(random: Random, raw: bytes) -> bytes:
    for _ in range(random.choice([0, 0, 1, 1, 1, 2, 3])):
        at = random.randint(0, len(raw))
        until = min(len(raw), at + random.randint(1, 8))
        how = random.choice(["cut", "byte", "delete", "double", "insert", "line", "after", "version"])
        if how == "cut":
            raw = raw[:at]
        elif how == "byte":
            raw = raw[:at] + bytes([random.randrange(256)]) + raw[at + 1 :]
        elif how == "delete":
            raw = raw[:at] + raw[until:]
        elif how == "double":
            raw = raw[:until] + raw[at:]
        elif how == "insert":
            raw = raw[:at] + random.choice(EXTRA) + raw[at:]
        elif how == "line":
            ends = [found.end() for found in re.finditer(rb"\r\n", raw)] or [0]
            at = random.choice(ends)
            raw = raw[:at] + random.choice(LINES) + raw[at:]
        elif how == "after":
            raw += random.choice([*EXTRA, message(random), message(random)])
        else:
            raw = raw.replace(
                b"HTTP/1.1",
                random.choice([b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"ICY", b"RTSP/1.0", b"HTTP/1.1 "]),
                1,
            )
    return raw


def pieces_of(random: Random, raw: bytes) -> list[bytes]:
    cuts = sorted(random.choices(range(len(raw) + 1), k=random.choice([0, 0, 1, 3, 10, len(raw)])))
    return [piece for piece in (raw[i:j] for i, j in zip([0, *cuts], [*cuts, len(raw)], strict=True)) if piece]


# What differs: the error here, and what httpx takes then
STRICTER = {
    "is not HTTP/1.1|Invalid HTTP version": "a version that does not exist, or is not spoken so",
    "Expected HTTP/|Invalid response status|Invalid status": "a status line that none is",
    "Missing expected (CR|LF)|Expected LF": "lines that end in a bare LF or go on after CR; allowed, but a way to smuggle (RFC 9112, 2.2)",
    "Unexpected whitespace after header value": "a folded header (RFC 9112, 5.2: refuse or replace)",
    "Invalid header (field char|token|value char)": "control characters, and names that are none",
    "Content-Length": "two lengths, even if they are the same, or one beside a coding (RFC 9112, 6.3: may be an attack)",
    "chunk (size|extension)": "blanks and control characters around the size of a chunk",
    "Data after `Connection: close`": "something after an interim response that said it is the last",
}
# The error of httpx, and what is taken here
LAXER = {
    "illegal status line: .*RTSP/1": "llhttp reads RTSP too; its responses have the same form",
    r"illegal status line: .*HTTP/1\.[01] \d\d\d": "control characters in the words behind the status, which nobody reads",
    "Transfer-Encoding|Content-Length": "one among the trailers, where it has no meaning",
    "no response line received|illegal request line": "empty lines before a response (RFC 9112, 2.2)",
}


def reason_in(table: Mapping[str, str], error: str) -> str | None:
    return next((reason for pattern, reason in table.items() if re.search(pattern, error)), None)


@ASYNCIO
async def test_what_both_read_is_the_same_and_each_difference_has_a_reason() -> None:
    met = Counter[str]()
    for number in range(CASES):
        random = Random(number)
        raw = damaged(random, message(random))
        pieces = pieces_of(random, raw)
        ours, (theirs, error) = await Ours(pieces).go(), by_httpx(pieces)
        if ours.read == theirs:
            met["neither" if theirs is None else "both"] += 1
            continue
        shown = f"case {number}: {raw!r}\n{ours.read} {ours.error}\n{theirs} {error}"
        assert ours.read is None or theirs is None, shown
        reason = reason_in(STRICTER, ours.error) if ours.read is None else reason_in(LAXER, error)
        assert reason is not None, shown
        met[reason] += 1
    assert min(met["both"], met["neither"]) > CASES / 4, met
    if CASES >= 20_000:
        assert met.keys() == {"both", "neither", *STRICTER.values(), *LAXER.values()}


@ASYNCIO
async def test_the_beginning_of_a_response_is_never_taken_for_all_of_it() -> None:
    for number in range(CASES):
        random = Random(number)
        whole = message(random)
        beginning = whole[: random.randrange(len(whole))]
        ours = await Ours(pieces_of(random, beginning)).go()
        if ours.read is not None:  # only its end would say how long it is
            assert not {"content-length", "transfer-encoding"} & ours.read.headers.keys(), (number, whole, beginning)
            assert beginning.endswith(b"\r\n\r\n" + ours.read.body)
            assert not ours.reusable


@ASYNCIO
async def test_a_connection_on_which_more_came_than_one_response_is_not_used_again() -> None:
    reused = 0
    for number in range(CASES):
        random = Random(number)
        first = message(random)
        more = random.choice([b"", message(random), b"HTTP/1.1 200 OK\r\n", b"H", b"x", b"\x00", b"\r\n", b"\r\n\r\nH"])
        ours = await Ours(pieces_of(random, first + more)).go()
        if ours.reusable:
            reused += 1
            assert ours.script.played.startswith(first), (number, first, more)
            assert ours.script.played[len(first) :].strip(b"\r\n") == b"", (number, first, more)
    assert reused > CASES / 10
