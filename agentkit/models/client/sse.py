"""Server-sent events: bytes in, the data of events out. No I/O.

The line rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream: a
line ends at CR, LF or CRLF and nowhere else.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class ErrorEvent(bytes):
    """The data of an event that is named `error`."""

    __slots__ = ()


class EventStream:
    """A decoder of one stream. Bytes may be cut anywhere."""

    __slots__ = ("_after_cr", "_begun", "_data", "_error", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._size = 0
        self._data: list[bytes] = []
        self._error = False
        self._after_cr = False
        self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """Take the next bytes.

        Args:
            received: What came.

        Returns:
            The data of each event that is now whole, in order.
        """
        if not received:
            return []
        if self._after_cr:
            received = received.removeprefix(b"\n")
        self._after_cr = received.endswith(b"\r")
        if b"\r" in received:
            lines = _LINE_END.split(self._after_rest(received))
        elif b"\n" in received:
            lines = self._after_rest(received).split(b"\n")
        else:
            self._rest += received
            return []
        self._rest += lines.pop()
        return self._events(lines)

    @property
    def held(self) -> int:
        """How many bytes are kept for an event that is not whole yet."""
        return len(self._rest) + self._size

    def close(self) -> list[bytes]:
        """Take the end of the stream.

        Returns:
            The data of a last event that was not followed by an empty line. The standard drops it; endpoints that end
            so mean it, and whether a reply is whole is told by what it says.
        """
        return self._events([self._after_rest(b""), b""])

    def _after_rest(self, received: bytes) -> bytes:
        """Put what came behind what was left of a line."""
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
                    self._data = []
                    self._size = 0
                self._error = False
            elif line == b"data":
                self._data.append(b"")
                self._size += len(line)
            elif line.startswith(b"event:"):
                self._error = line[6:].strip() == b"error"
        return events
