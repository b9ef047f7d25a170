"""Reads a reply: bytes in as they arrive, a `ChatResponse` out. No I/O.

Endpoints send what was not asked for: a plain body for a stream, a stream for a plain request, blank lines before
either, an error or a web page instead, or a compressed body. The first byte decides how the body is read. All sizes are
bounded while the reply arrives.
"""

import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, delta_of
from agentkit.core.errors import EndpointError, IncompleteReply, MalformedReply, ReplyTooLarge
from agentkit.core.finish_reasons import ending_of
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import decode_piece, list_of, object_of
from agentkit.core.messages import Usage
from agentkit.core.model import OnChunk
from agentkit.core.plain_reply import plain_reply
from agentkit.core.reply_limits import ReplyLimits, values_in
from agentkit.models.client.endpoint_errors import error_event, error_inside
from agentkit.models.client.sse import LINE_FEED, ErrorEvent, EventStream
from agentkit.models.client.think_tags import ThinkTags

_BLANK = b"\xef\xbb\xbf \t\r\n"
_PLAIN = (b"{", b"[", b"<")
_SSE_FIELDS = (b":", b"d", b"e", b"i", b"r")
_EXCERPT = 2000
BYTES_PER_TOKEN = 4  # for estimates
_LONGEST_KIND = 80
_DECOMPRESSED_PIECE = 1_000_000
_MAX_HELD_CHUNKS = 1000
_MAX_HELD_BYTES = 100_000
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15
_ZLIB_HEADER = 2


class ReplyReader:
    """The reader of one reply.

    Chunks are handed over from the first one with content on, or after 1,000 chunks or 100 kB without any. Until then
    they are held back, so that a request that fails before can be retried.

    Attributes:
        streamed: Whether a chunk was handed over.
        done: Whether the reply has ended, well or badly: nothing after it matters.
        finished: Whether a stream gave every answer its finish reason, and nothing but usage is still to come. An
            endpoint that goes on with an answer after its finish reason is not believed.
        raised: Why it ended badly: it is no reply, or too large, or `on_chunk` raised.
        forced: Whether the request forces a call.
        data: Grows with data. Comments, blank lines and other keep-alives don't count.
    """

    def __init__(
        self,
        request: ChatRequest,
        reply_limits: ReplyLimits,
        on_chunk: OnChunk | None = None,
        origin: str | None = None,
        *,
        think_tags: bool = False,
    ) -> None:
        self._assembly: Assembly | None = None
        self._tools = request.tools
        self.streamed = self.done = self.finished = self._goes_on = False
        self.raised: Exception | None = None
        self.data = 0
        self._reply_limits = reply_limits
        self._answers = request.settings.n or 1
        self.forced = bool(request.tools) and request.tool_choice.mode in ("required", "tool")
        self._on_chunk = on_chunk
        self._think_tags = ThinkTags() if think_tags else None
        self._held: deque[ChatChunk] = deque()
        self._held_bytes = 0
        self._decompressor: Decompressor | None = None
        self._stream: EventStream | None = None
        self._origin, self._kind = origin, ""
        self._body = bytearray()
        self._begun = False
        self._received = 0

    @property
    def assembly(self) -> Assembly:
        """What was read so far; a plain body in its usual form needs none."""
        if self._assembly is None:
            names = frozenset([tool.name for tool in self._tools])
            self._assembly = Assembly(names, self._reply_limits, self._origin)
        return self._assembly

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take the response's headers."""
        self._kind = headers.get("content-type", "")
        if "event-stream" in self._kind:
            self._stream = EventStream()
        try:
            self._decompressor = decompressor_for(headers)
        except MalformedReply as error:
            self.raised, self.done = error, True

    def feed(self, received: bytes) -> Iterator[bool]:
        """Take the next bytes; after each decompressed megabyte, yield whether the reply has ended.

        A few compressed bytes may become many, so the caller gets to yield to other tasks in between.
        """
        try:
            for piece in (received,) if self._decompressor is None or self.done else self._decompressor(received):
                if not self.done:
                    self._feed_piece(piece)
                yield self.done
                if self.done:
                    return
        except Exception as error:  # noqa: BLE001 (raised by `end`)
            self.raised = None if self.finished and isinstance(error, MalformedReply | EndpointError) else error
            self.done = True
            yield True

    def _feed_piece(self, received: bytes) -> None:
        self._received += len(received)
        if self._received > self._reply_limits.body:
            raise self._reply_limits.too_large("body")
        if not self._begun:
            received = received.lstrip(_BLANK)
            self._begun = bool(received)
            if received.startswith(_PLAIN):
                self._stream = None
            elif received.startswith(_SSE_FIELDS):
                self._stream = EventStream()
        events: list[bytes] = []
        if self._stream is None:
            self._body += received
            self.data += len(received)
            largest = len(self._body)
        else:
            events = self._stream.feed(received)
            largest = max([self._stream.held, *map(len, events)])
        if largest > self._reply_limits.event:
            raise self._reply_limits.too_large("event")
        self._take_events(events)

    def is_whole(self) -> bool:
        """Whether nothing is missing, even if the body has no proper end: it was reset, cut, or is kept open."""
        if self.done or self.finished or self._stream is not None:
            return self.done or self.finished
        try:
            with suppress(EndpointError):  # which `end` raises
                self._decoded(bytes(self._body))
        except (MalformedReply, ReplyTooLarge):
            return False
        return True

    def end(self, sent: HttpRequest | None = None) -> ChatResponse:
        """Take the end, and return the reply. What `on_chunk` raised is raised here too."""
        if self.raised is not None:
            raise self.raised
        if self._stream is None and not self._body:
            raise IncompleteReply("the endpoint sent nothing")
        if self._stream is None:
            body = self._decoded(bytes(self._body))
            if (reply := self._plain_reply(body, sent)) is not None:
                return reply
            self._take_chunk(ChatChunk(body), len(self._body))
            self.assembly.terminated = True
        elif not self.done:
            # A truncated event is ignored, and after a finish reason an error too.
            with suppress(MalformedReply, *([EndpointError] if self.finished else [])):
                self._take_events(self._stream.close())
        rest = None if self._think_tags is None else self._think_tags.rest()
        if rest is not None:
            self._think_tags = None
            self._take_chunk(rest, 0)
        reply = self.assembly.response(sent)
        if ending_of(reply.finish_reason) == "failed":
            raise IncompleteReply(f"the endpoint failed within its answer ({reply.finish_reason!r})")
        if self._on_chunk is not None:
            self._hand_over_held(self._on_chunk)
        return reply

    def _plain_reply(self, body: dict[str, object], sent: HttpRequest | None) -> ChatResponse | None:
        """Return the reply in a body of the usual form, unless it is large, or somebody waits for chunks."""
        limits, size = self._reply_limits, len(self._body)
        if self._on_chunk is not None or self._think_tags is not None or size > min(limits.arguments, limits.values):
            return None
        return plain_reply(body, self._origin, limits.calls, sent)

    def spent(self, tokens: int) -> Usage:
        """Return what a reply that broke off cost: as reported, else estimated for a prompt of so many tokens."""
        text, calls = self.assembly.text, self.assembly.calls
        written = len(text) + sum([len(call.arguments) for call in calls])
        estimated = Usage(1, tokens, written // BYTES_PER_TOKEN) if text or calls else Usage()
        return self.assembly.usage or estimated

    def _take_events(self, events: list[bytes]) -> None:
        for data in events:
            said = data if data.startswith(b"{") and LINE_FEED not in data else _without_comments(data)
            if not self.done and said.strip():
                self._take_event(said)

    def _take_event(self, data: bytes) -> None:
        """Take one event of a stream, or a plain body, which is read like a single event."""
        self.data += 1
        if isinstance(data, ErrorEvent):
            self._check_values(data)
            raise error_event(data)
        if data.strip() == b"[DONE]":
            self.assembly.terminated = self.done = True
            return
        self._take_chunk(ChatChunk(self._decoded(data)), len(data))

    def _take_chunk(self, chunk: ChatChunk, size: int) -> None:
        if self._think_tags is not None:
            chunk = self._think_tags(chunk)
        assembly = self._assembly or self.assembly
        assembly.add(chunk)
        self._goes_on = self._goes_on or (self.finished and _has_content(chunk))
        self.finished = not self._goes_on and assembly.finished >= self._answers
        if self._on_chunk is not None and self.streamed:
            self._on_chunk(chunk)
        elif self._on_chunk is not None:
            self._held.append(chunk)
            self._held_bytes += size
            if _has_content(chunk) or len(self._held) > _MAX_HELD_CHUNKS or self._held_bytes > _MAX_HELD_BYTES:
                self._hand_over_held(self._on_chunk)

    def _decoded(self, data: bytes) -> dict[str, object]:
        if len(data) > self._reply_limits.values:
            self._check_values(data)
        try:
            return _decode_event(data)
        except _WebPage as error:
            where = f"{self._origin}/chat/completions" if self._origin else "the endpoint"
            kind = f" ({self._kind[:_LONGEST_KIND]})" if self._kind else ""
            message = f"{where} sent a web page{kind}{error}; check the base URL, which usually ends in /v1"
            raise MalformedReply(message, data[:_EXCERPT].decode("utf-8", "replace")) from None

    def _check_values(self, data: bytes) -> None:
        if values_in(data) > self._reply_limits.values:
            raise self._reply_limits.too_large("values")

    def _hand_over_held(self, on_chunk: OnChunk) -> None:
        self.streamed = True
        while self._held:
            on_chunk(self._held.popleft())


class _WebPage(Exception):
    """A page came in place of a reply; the text is its title, if it has one."""


class ErrorBodyReader:
    """Reads the beginning of an error's body."""

    def __init__(self, headers: Mapping[str, str], most: int) -> None:
        self.body = b""
        self._most = most
        self._full = False
        self._decompressor: Decompressor | None = None
        with suppress(MalformedReply):
            self._decompressor = decompressor_for(headers)

    def feed(self, received: bytes) -> bool:
        """Take the next bytes, and return whether that is enough."""
        try:
            for piece in [received] if self._decompressor is None else self._decompressor(received):
                if self._full:
                    break
                self.body = (self.body + piece)[: self._most]
                self._full = len(self.body) == self._most
        except MalformedReply:
            self._full = True
        return self._full


class Decompressor:
    """Decompresses a body piece by piece: a small one may become a thousand times its size.

    With `raw_deflate`, it may be a bare deflate stream. By RFC 9110, 8.4.1.2, `deflate` means a zlib stream; some
    servers send the data without it.
    """

    def __init__(self, *, raw_deflate: bool) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._head = b"" if raw_deflate else None  # what was received before the format is known

    def __call__(self, received: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes, at most 1 MB at a time."""
        full = False
        while received or full:  # the decompressor may hold more output without further input
            if received and self._zlib.eof:
                self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
            piece = self._decompress(received)
            yield piece
            received, full = self._zlib.unconsumed_tail or self._zlib.unused_data, len(piece) == _DECOMPRESSED_PIECE

    def _decompress(self, received: bytes) -> bytes:
        if self._head is not None:
            self._head += received
        try:
            piece = self._zlib.decompress(received, _DECOMPRESSED_PIECE)
        except zlib.error as error:
            if self._head is None:
                raise MalformedReply(f"the endpoint's reply cannot be decompressed: {error}") from None
            received, self._head, self._zlib = self._head, None, zlib.decompressobj(_RAW_DEFLATE)
            return self._decompress(received)
        if self._head is not None and len(self._head) >= _ZLIB_HEADER:
            self._head = None
        return piece


def decompressor_for(headers: Mapping[str, str]) -> Decompressor | None:
    """Return the decompressor for a response, or `None` if its body is not compressed."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedReply(f"the endpoint compressed its reply as {encoding[:40]!r}, which is not supported")
    return Decompressor(raw_deflate=encoding == "deflate")


def _without_comments(data: bytes) -> bytes:
    """Drop the comments that some proxies send as data, `data: : keep-alive`: no line of JSON begins with a colon."""
    if isinstance(data, ErrorEvent) or not (LINE_FEED in data or data.lstrip().startswith(b":")):
        return data
    return b"\n".join([line for line in data.split(b"\n") if not line.lstrip().startswith(b":")])


def _has_content(chunk: ChatChunk) -> bool:
    choices = [object_of(choice) for choice in list_of(chunk.data.get("choices"))]
    return any(value for choice in choices for key, value in delta_of(choice).items() if key != "role")


def _decode_event(data: bytes) -> dict[str, object]:
    try:
        event = decode_piece(data)
    except ValueError as error:
        text = data[:_EXCERPT].decode("utf-8", "replace")
        if text.lstrip().startswith("<"):
            title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
            raise _WebPage(f", titled {title[1].strip()!r}" if title else "") from None
        raise MalformedReply(f"the endpoint sent invalid JSON ({error})", text) from None
    if not isinstance(event, dict):
        raise MalformedReply("the endpoint sent no JSON object", data[:_EXCERPT].decode("utf-8", "replace"))
    fields = cast("dict[str, object]", event)
    if failure := error_inside(fields):
        raise failure
    return fields
