"""Reading a reply: bytes as they come, packed or not, a stream or a plain body, into a reply. No I/O.

Endpoints send what was not asked for: a plain body for a stream, a stream for a plain request, blank lines before
either, an error or a web page instead. The first byte tells which it is. Everything is bounded while it arrives.
"""

import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, said_in
from agentkit.core.errors import IncompleteReply, MalformedReply
from agentkit.core.finish_reasons import ending_of
from agentkit.core.json import decode_piece, list_of, object_of
from agentkit.core.model import OnChunk
from agentkit.core.reply_limits import ReplyLimits, values_in
from agentkit.models.client.endpoint_errors import error_event, error_inside
from agentkit.models.client.sse import ErrorEvent, EventStream

_BLANK = b"\xef\xbb\xbf \t\r\n"
_PLAIN = (b"{", b"[", b"<")
_FIELDS = (b":", b"d", b"e", b"i", b"r")
_EXCERPT = 2000
_PIECE = 1_000_000
_UNHEARD = 100_000
_GZIP_OR_ZLIB, _BARE_DEFLATE = 47, -15
_HEADER = 2
_MOST_SILENT = 1000


class ReplyReader:
    """A reply that is being read.

    Attributes:
        assembly: What has come so far.
        told: Whether a chunk that says something was handed on.
        done: Whether the end has come, good or bad: nothing after it matters.
        raised: What was wrong with what came: it is no reply, or too large, or who is told of chunks failed.
        data: Grows with what comes. Comments, blank lines and the like do not count.

    Args:
        request: What is answered.
        reply_limits: How large it may be.
        on_chunk: Takes each chunk. The first is told when one says something, or a thousand said nothing, so that a
            request which fails before that can be sent again.
        origin: The endpoint, to be noted on the message.
    """

    def __init__(
        self,
        request: ChatRequest,
        reply_limits: ReplyLimits,
        on_chunk: OnChunk | None = None,
        origin: str | None = None,
    ) -> None:
        self.assembly = Assembly(frozenset([tool.name for tool in request.tools]), reply_limits, origin)
        self.told = False
        self.done = False
        self.raised: Exception | None = None
        self.data = 0
        self._reply_limits = reply_limits
        self._on_chunk = on_chunk
        self._silent: deque[ChatChunk] = deque()
        self._unheard = 0
        self._unpacked: Unpacking | None = None
        self._stream: EventStream | None = None
        self._body = bytearray()
        self._begun = False
        self._received = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take the response's headers."""
        if "event-stream" in headers.get("content-type", ""):
            self._stream = EventStream()
        try:
            self._unpacked = unpacking(headers)
        except MalformedReply as error:
            self.raised, self.done = error, True

    def take(self, received: bytes) -> Iterator[bool]:
        """Take the next bytes; after each megabyte of them tell whether nothing after it matters.

        What little comes packed may be much, so whoever reads has the time to do something else in between.
        """
        try:
            for piece in (received,) if self._unpacked is None or self.done else self._unpacked(received):
                if not self.done:
                    self._take(piece)
                yield self.done
                if self.done:
                    return
        except Exception as error:  # noqa: BLE001 (raised where the reading is ended)
            self.raised, self.done = error, True
            yield True

    def _take(self, received: bytes) -> None:
        self._received += len(received)
        if self._received > self._reply_limits.body:
            raise self._reply_limits.too_large("body")
        if not self._begun:
            received = received.lstrip(_BLANK)
            self._begun = bool(received)
            if received.startswith(_PLAIN):
                self._stream = None
            elif received.startswith(_FIELDS):
                self._stream = EventStream()
        events: list[bytes] = []
        if self._stream is None:
            self._body += received
            self.data += len(received)
            held = len(self._body)
        else:
            events = self._stream.feed(received)
            held = max([self._stream.held, *map(len, events)])
        if held > self._reply_limits.event:
            raise self._reply_limits.too_large("event")
        self._take_events(events)

    def end(self) -> ChatResponse:
        """Take the end, and give the reply.

        Raises:
            ModelError: If it is not one, or not a whole one.
            Exception: What who is told of chunks raised.
        """
        if self.raised is not None:
            raise self.raised
        if self._stream is None and not self._body:
            raise IncompleteReply("the endpoint sent nothing")
        if self._stream is None:
            self._take_event(bytes(self._body))
            self.assembly.terminated = True
        elif not self.done:
            with suppress(MalformedReply):  # an event that was cut is none
                self._take_events(self._stream.close())
        reply = self.assembly.response()
        if ending_of(reply.finish_reason) == "failed":
            raise IncompleteReply(f"the endpoint failed within its answer ({reply.finish_reason!r})")
        if self._on_chunk is not None:
            self.told = True
            self._tell(self._on_chunk)
        return reply

    def _take_events(self, events: list[bytes]) -> None:
        for data in events:
            if not self.done and data.strip():
                self._take_event(data)

    def _take_event(self, data: bytes) -> None:
        """Take one event of a stream, or a plain body, which is one that says it all."""
        self.data += 1
        if len(data) > self._reply_limits.values and values_in(data) > self._reply_limits.values:
            raise self._reply_limits.too_large("values")
        if isinstance(data, ErrorEvent):
            raise error_event(data)
        if data.strip() == b"[DONE]":
            self.assembly.terminated = self.done = True
            return
        chunk = ChatChunk(_object(data))
        self.assembly.add(chunk)
        if self._on_chunk is not None and self.told:
            self._on_chunk(chunk)
        elif self._on_chunk is not None:
            self._silent.append(chunk)
            self._unheard += len(data)
            if _speaks(chunk) or len(self._silent) > _MOST_SILENT or self._unheard > _UNHEARD:
                self.told = True
                self._tell(self._on_chunk)

    def _tell(self, on_chunk: OnChunk) -> None:
        while self._silent:
            on_chunk(self._silent.popleft())


class Beginning:
    """The beginning of a body that is read for its words: an error's.

    Args:
        headers: The response's.
        most: How many bytes are kept.
    """

    def __init__(self, headers: Mapping[str, str], most: int) -> None:
        self.body = b""
        self._most = most
        self._full = False
        self._unpacked: Unpacking | None = None
        with suppress(MalformedReply):
            self._unpacked = unpacking(headers)

    def take(self, received: bytes) -> bool:
        """Take the next bytes, and tell whether that was enough."""
        try:
            for piece in [received] if self._unpacked is None else self._unpacked(received):
                if self._full:
                    break
                self.body = (self.body + piece)[: self._most]
                self._full = len(self.body) == self._most
        except MalformedReply:
            self._full = True
        return self._full


class Unpacking:
    """Unpacks a body piece by piece: a small body may unpack to a thousand times its size.

    Args:
        bare: Whether it may be a bare deflate stream. RFC 9110, 8.4.1.2, has `deflate` in a zlib stream; some send it
            without.
    """

    def __init__(self, *, bare: bool) -> None:
        self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._head = b"" if bare else None  # what came, as long as it is not known which it is

    def __call__(self, received: bytes) -> Iterator[bytes]:
        """Give what the bytes unpack to, at most 1 MB at a time.

        Raises:
            MalformedReply: If they are not packed so.
        """
        full = False
        while received or full:  # what is unpacked may wait in there without a byte more
            if received and self._unpack.eof:
                self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
            piece = self._piece(received)
            yield piece
            received, full = self._unpack.unconsumed_tail or self._unpack.unused_data, len(piece) == _PIECE

    def _piece(self, received: bytes) -> bytes:
        if self._head is not None:
            self._head += received
        try:
            piece = self._unpack.decompress(received, _PIECE)
        except zlib.error as error:
            if self._head is None:
                raise MalformedReply(f"the endpoint's reply cannot be unpacked: {error}") from None
            received, self._head, self._unpack = self._head, None, zlib.decompressobj(_BARE_DEFLATE)
            return self._piece(received)
        if self._head is not None and len(self._head) >= _HEADER:
            self._head = None
        return piece


def unpacking(headers: Mapping[str, str]) -> Unpacking | None:
    """Give what unpacks a body, or `None` if it is not packed.

    Args:
        headers: The response's.

    Raises:
        MalformedReply: If it is packed in a way that was not asked for and is not known here.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedReply(f"the endpoint packed its reply as {encoding[:40]!r}, which was not asked for")
    return Unpacking(bare=encoding == "deflate")


def _speaks(chunk: ChatChunk) -> bool:
    """Tell whether a chunk says anything of an answer."""
    choices = [object_of(each) for each in list_of(chunk.data.get("choices"))]
    return any(value for each in choices for key, value in said_in(each).items() if key != "role")


def _object(data: bytes) -> dict[str, object]:
    try:
        found = decode_piece(data)
    except ValueError as error:
        text = data[:_EXCERPT].decode("utf-8", "replace")
        if text.lstrip().startswith("<"):
            raise MalformedReply(
                f"the endpoint sent a web page{_title(text)}; check the base URL, which usually ends in /v1", text
            ) from None
        raise MalformedReply(f"the endpoint sent what is not JSON ({error})", text) from None
    if not isinstance(found, dict):
        raise MalformedReply("the endpoint sent no JSON object", data[:_EXCERPT].decode("utf-8", "replace"))
    said = cast("dict[str, object]", found)
    if inside := error_inside(said):
        raise inside
    return said


def _title(page: str) -> str:
    found = re.search(r"<title[^>]*>([^<]{1,200})", page, re.IGNORECASE)
    return f" ({found[1].strip()!r})" if found else ""
