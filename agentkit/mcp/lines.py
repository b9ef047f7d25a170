"""An encoding for the output of a program: UTF-8 that is decoded in whole lines.

The SDK searches all text that has no end of a line yet, at every piece of 64 kB. So a result of 30 MB took 13 seconds,
in which no other call got its answer. Text that comes in whole lines is searched once.
"""

import codecs

from typing_extensions import Buffer

LINES = "agentkit_mcp_lines"
_MAX_LINE = 64 * 2**20


class LineDecoder(codecs.IncrementalDecoder):
    """Keeps the bytes of a line until its end has come.

    Raises:
        ConnectionError: If a line is longer than 64 MB.
    """

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._parts: list[bytes] = []
        self._size = 0

    def decode(self, input: Buffer, final: bool = False) -> str:  # noqa: A002, ARG002, FBT001, FBT002 (the library's signature)
        lines, end, rest = bytes(input).rpartition(b"\n")
        text = ""
        if end:
            text = b"".join([*self._parts, lines, end]).decode("utf-8", self.errors)
            self._parts, self._size = [], 0
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > _MAX_LINE:
            raise ConnectionError(f"a line of more than {_MAX_LINE:,} bytes")
        return text


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name != LINES:
        return None
    utf8 = codecs.lookup("utf-8")
    return codecs.CodecInfo(utf8.encode, utf8.decode, incrementaldecoder=LineDecoder, name=LINES)


codecs.register(_find_codec)
