"""HTTP/1.1: a request as bytes, and the response to it, parsed as it arrives.

The parser is llhttp, that of Node.js, by way of httptools. A parser in Python was as quick, and let through bare CR and
control characters. llhttp only finds the parts of a message. What they mean for the connection is decided here: where a
body ends that the server ends by closing, which responses have none, and whether the connection can be used again.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from httptools import HttpResponseParser

from agentkit.models.client.wire import Wire

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST_WITHOUT_BODY = 100_000  # bytes in a row that are no part of the body: headers, trailers, sizes of chunks
_LEAST_STATUS, _FINAL = 100, 200
_SWITCHING_PROTOCOLS = 101
_BODILESS = (204, 304)


class LocalProtocolError(Exception):
    """A request cannot be sent."""


class RemoteProtocolError(Exception):
    """A response is malformed, or ends too early."""


def request_head(target: str, headers: Mapping[str, str]) -> str:
    """Return the head of a `POST` request without the length of its body. The headers' values must be printable."""
    for name in headers:
        if not _TOKEN.fullmatch(name) or name == "transfer-encoding":
            raise LocalProtocolError(f"the header {name!r} cannot be sent")
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name != "content-length"]
    return f"POST {target} HTTP/1.1\r\n{''.join(lines)}"


def request_bytes(head: str, body: Sequence[bytes]) -> list[bytes]:
    """Return a request in pieces, as its body is given, with the head from `request_head`."""
    first, *others = body
    return [f"{head}content-length: {sum(map(len, body))}\r\n\r\n".encode() + first, *others]


async def exchange(wire: Wire, request: Sequence[bytes], release: Callable[[bool], None]) -> "Response":
    """Send a request and return its response, of which the body is not read yet.

    Args:
        wire: The connection.
        request: The request, from `request_bytes`.
        release: Called at the end, also of one that fails, with whether the connection can be used again.
    """
    response = Response(wire, release)
    try:
        try:
            await wire.send(request)
            response.keeps_alive = True
        except OSError:  # the server may have answered before it had read all of it, and closed
            response.keeps_alive = False
        await response.read_head()
    except BaseException:
        await response.aclose()
        raise
    return response


class Response:
    """A response, with the attributes of httpx's that the client uses. Iterate over it for the body.

    Attributes:
        status_code: The status.
        headers: The headers, with their names in lower case; values of the same name are joined.
        is_closed: Whether the body was received to its end.
    """

    is_stream_consumed = False

    def __init__(self, wire: Wire, release: Callable[[bool], None]) -> None:
        self.status_code = 0
        self.headers: dict[str, str] = {}
        self.is_closed = False
        self.keeps_alive = False
        self._wire = wire
        self._release: Callable[[bool], None] | None = release
        self._head_ended = self._ends_by_closing = False
        self._body: list[bytes] = []  # what was received and not returned yet
        self.on_body = self._body.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._without_body = 0
        self._failure: RemoteProtocolError | None = None

    async def read_head(self) -> None:
        """Receive until the headers are complete."""
        while not self._head_ended:
            await self._receive()
            if self._failure is not None and not self._head_ended:
                raise self._failure

    def aiter_raw(self) -> "Response":
        """Return the body's bytes, decoded from chunks."""
        return self

    def __aiter__(self) -> "Response":
        return self

    async def __anext__(self) -> bytes:
        while not self._body:
            if self._failure is not None:
                raise self._failure
            if self.is_closed:
                raise StopAsyncIteration
            await self._receive()
        received = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        return received

    async def aclose(self) -> None:
        """Release the connection, to be used again if all of the response was received, and nothing after it."""
        release, self._release = self._release, None
        self._parser = None  # it refers to this response
        if release is not None:
            release(self.is_closed and self.keeps_alive)

    async def _receive(self) -> None:
        received = await self._wire.receive()
        if received:
            self._feed(received)
        elif self._ends_by_closing:
            self.is_closed = True
        else:
            self._failure = RemoteProtocolError(
                "the server closed the connection " + ("too early" if self._head_ended else "without a response")
            )

    def _feed(self, received: bytes) -> None:
        assert self._parser is not None  # noqa: S101 (nobody reads on after `aclose`)
        try:
            self._parser.feed_data(received)
        except Exception as error:  # noqa: BLE001 (coverage.py imports twice; the parser keeps its first error classes)
            self.keeps_alive = False
            if not self.is_closed:
                self._failure = RemoteProtocolError(f"the response is malformed: {error.__context__ or error}")
        if self._body:
            self._without_body = 0
        elif not self.is_closed:
            self._without_body += len(received)
            if self._without_body > _MOST_WITHOUT_BODY:
                self._failure = RemoteProtocolError("the response's headers are too large")

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.is_closed:
            raise RemoteProtocolError("something follows the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_ended:
            return  # a trailer, which nobody asks for
        key, text = name.decode("ascii").lower(), value.rstrip(b" \t").decode("latin-1")
        before = self.headers.get(key)
        self.headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # noqa: S101 (it calls)
        self.status_code = status = self._parser.get_status_code()
        coding = self.headers.get("transfer-encoding")
        if not self._parser.get_http_version().startswith("1.") or status < _LEAST_STATUS:
            raise RemoteProtocolError("it is not HTTP/1.1")
        if coding is not None and coding.lower() != "chunked":
            raise RemoteProtocolError("its transfer encoding is unknown")
        if status == _SWITCHING_PROTOCOLS:
            raise RemoteProtocolError("it switches to a protocol that nobody asked for")
        if status < _FINAL:
            self.headers.clear()
            return
        has_length = coding is not None or "content-length" in self.headers
        self._head_ended = True
        self.keeps_alive = self.keeps_alive and self._parser.should_keep_alive()
        self.is_closed = status in _BODILESS
        self._ends_by_closing = not self.is_closed and not has_length
        if self.is_closed and has_length:
            self.keeps_alive = False  # by whatever it has a length of

    def on_message_complete(self) -> None:
        self.is_closed = self._head_ended
