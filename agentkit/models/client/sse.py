"""Server-sent events: bytes in, the data of events out. No I/O.

Lines end as https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream says: at CR, LF or
CRLF and nowhere else.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_RETURN, LINE_FEED = b"\r\n"  # as numbers: to look for bytes in bytes takes ten times as long


class ErrorEvent(bytes):
    """The data of an event named `error`."""


class EventStream:
    """A decoder for one stream. The bytes may be split anywhere."""

    __slots__ = ("_after_cr", "_begun", "_data", "_error", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._size = 0
        self._data: list[bytes] = []
        self._error = self._after_cr = self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """Take the next bytes, and return the data of each event that is now complete."""
        if not received:
            return []
        if self._after_cr:
            received = received.removeprefix(b"\n")
        self._after_cr = received.endswith(b"\r")
        if _RETURN in received:
            lines = _LINE_END.split(self._after_rest(received))
        elif LINE_FEED in received:
            lines = self._after_rest(received).split(b"\n")
        else:
            self._rest += received
            return []
        self._rest += lines.pop()
        return self._events(lines)

    @property
    def held(self) -> int:
        """The number of bytes kept for an event that is not complete."""
        return len(self._rest) + self._size

    def close(self) -> list[bytes]:
        """End the stream, and return the data of a last event without an empty line after it.

        The standard drops such an event, but endpoints that end so mean it.
        """
        return self._events([self._after_rest(b""), b""])

    def _after_rest(self, received: bytes) -> bytes:
        """Return the rest of the last line and what was received after it."""
        if self._rest:
            received = bytes(self._rest) + received
            self._rest.clear()
        if not self._begun:
            self._begun = True
            return received.removeprefix(_BOM)
        return received

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif not line:
                if self._data:
                    data = b"\n".join(self._data)
                    events.append(ErrorEvent(data) if self._error else data)
                    self._data, self._size = [], 0
                self._error = False
            elif line == b"data":
                self._data.append(b"")
                self._size += len(line)
            elif line.startswith(b"event:"):
                self._error = line[6:].strip() == b"error"
        return events
