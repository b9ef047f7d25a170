"""Server-sent events: bytes in, the data of events out. No I/O.

The line rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream: a
line ends at CR, LF or CRLF and nowhere else.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventStream:
    """A decoder of one stream. Bytes may be cut anywhere."""

    __slots__ = ("_begun", "_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """Take the next bytes.

        Args:
            received: What came.

        Returns:
            The data of each event that is now whole, in order.
        """
        buffer = self._rest + received
        if not self._begun:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._rest = buffer
                return []
            buffer = buffer.removeprefix(_BOM)
            self._begun = True
        if b"\r" in buffer:
            # A CR at the very end may be the first half of a CRLF: it waits for what comes next.
            held = b"\r" if buffer.endswith(b"\r") else b""
            lines = _LINE_END.split(buffer.removesuffix(held))
            lines[-1] += held
        else:
            lines = buffer.split(b"\n")
        self._rest = lines.pop()
        return self._events(lines)

    def close(self) -> list[bytes]:
        """Take the end of the stream.

        Returns:
            The data of a last event that was not followed by an empty line. The standard drops it; endpoints that end
            so mean it, and whether a reply is whole is told by what it says.
        """
        rest = self._rest.removesuffix(b"\r")
        self._rest = b""
        return self._events([rest, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events
