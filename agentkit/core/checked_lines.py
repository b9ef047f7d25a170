"""Lines of JSON that show damage: each has its number, and a checksum over itself and all lines before it.

    {"agentkit":"session","stored":"0000000002 5c4eb1a0"}
    {"role":"user","content":"Hi","check":"1 9f3ab2c1"}
    {"role":"assistant","content":"Hello.","check":"2 5c4eb1a0"}

So a line that was changed, moved, doubled, or taken out is an error. What is missing at the end is one, too: the first
line of a file has the check of the last line that is known to be on the disk. It is written in place, after the lines
themselves, so a crash leaves more lines than it says, never fewer.

Older files have lines without checks. They are read as they are; the checksum of the first line that is added to them
covers them. Whoever takes all checks and the first line out of a file has such a file. The checksum protects against
accidents, not against someone who wants to change a file.
"""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, cast
from zlib import crc32

from agentkit.core.files import append, is_object

MEND = "restore the file from a backup, or accept what is left (the documentation says how, under Damaged files)"

_END = 40  # bytes at the end of a line that have its check
_BLOCK = 65_536
_CHECK = re.compile(rb',"check":"(\d{1,18}) ([0-9a-f]{8})"\}')
_AT_END = re.compile(_CHECK.pattern + rb"\Z")
_REST_OF_CHECK = re.compile(rb'"\d{1,18} [0-9a-f]{8}"|"check":"')  # of one that was damaged
_OLDER = (
    b'{"role"',
    b'{"started"',
    b'{"batch"',
)  # how an older file begins, of which a crash may have cut the first line
_HEADER = re.compile(rb'\{"agentkit":"(\w+)","stored":"(\d{10,18}) ([0-9a-f]{8})"\}')


class Check(NamedTuple):
    """The number of a line, and the checksum of all lines up to it."""

    number: int = 0
    checksum: int = 0

    def __str__(self) -> str:
        return f"{self.number} {self.checksum:08x}"

    @classmethod
    def at_end(cls, line: bytes) -> "Check | None":
        """Return what the check of a line says."""
        match = _AT_END.search(line, max(0, len(line) - _END))
        return None if match is None else cls(int(match[1]), int(match[2], 16))

    def plus(self, line: bytes) -> "Check":
        """Return the check of the next line, without its own check."""
        return Check(self.number + 1, crc32(line, self.checksum))


def with_check(line: bytes, before: Check) -> tuple[bytes, Check]:
    """Add a check to a JSON object; return it, and the check."""
    check = before.plus(line[:-1])
    return b'%b,"check":"%b"}' % (line[:-1], str(check).encode()), check


def without_check(line: bytes) -> bytes:
    """Return a line as it was before it got its check, if it has one."""
    match = _AT_END.search(line, max(0, len(line) - _END))
    return line if match is None else line[: match.start()] + b"}"


class Chain:
    """Verifies lines, one after the other.

    Attributes:
        number: The number of the last line.
        checksum: Its checksum.
        is_checked: Whether a line had a check.
    """

    def __init__(self, first: Check = Check()) -> None:  # noqa: B008 (it is frozen)
        self.number, self.checksum = first
        self.is_checked = False

    @property
    def last(self) -> Check:
        """The check of the last line."""
        return Check(self.number, self.checksum)

    def verify(self, line: bytes) -> bytes:
        """Verify the next line, and return it without its check; `ValueError` says what is wrong with it."""
        end = line.rfind(b',"check":"')
        bare, number = line[:end], self.number + 1
        checksum = crc32(bare, self.checksum)
        if line[end:] != b',"check":"%d %08x"}' % (number, checksum):
            return self._explain(line)
        self.number, self.checksum, self.is_checked = number, checksum, True
        return bare + b"}"

    def _explain(self, line: bytes) -> bytes:
        """Return a line that has no check, as in an older file, or say what is wrong with the line."""
        match = _AT_END.search(line, max(0, len(line) - _END))
        if match is None:
            if self.is_checked or _REST_OF_CHECK.search(line, max(0, len(line) - _END)):
                raise ValueError("it has no whole check, so it is damaged")
            self.number, self.checksum = self.last.plus(line)
            return line
        if int(match[1]) != self.number + 1:
            raise ValueError(f"it is entry {int(match[1])}, where entry {self.number + 1} belongs")
        raise ValueError("its checksum is another one, so it is damaged, or an entry before it")


class Damaged(ValueError):
    """A line is not what was written.

    Attributes:
        line: The number of the line in its file.
    """

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


class CheckedFile:
    """A file of checked lines, which is open and locked.

    Args:
        fd: The open file.
        kind: What it is a file of, in one word.
    """

    def __init__(self, fd: int, kind: str) -> None:
        self._fd = fd
        self._kind = kind
        self._last: Check | None = None
        self._end = 0  # of the last whole line
        self._missing = b""  # the line break of the last line
        self._has_header = False

    def read(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield each line, without its check, with its number in the file and where it begins; or raise `Damaged`.

        A last line that a crash cut is left out. The header is no line.
        """
        chain, header, read = Chain(), Check(), 0
        self._end, self._missing = 0, b""
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                text = line.removesuffix(b"\n")
                is_open = len(text) == len(line)
                if is_open and _is_cut(text, number):
                    break
                if number == 1 and (found := self._header_of(text)):
                    header = found
                elif text.strip():
                    if number == 1 and Check.at_end(text):
                        raise Damaged(1, "the line that begins the file is missing before it")
                    try:
                        bare = chain.verify(text)
                    except ValueError as error:
                        raise Damaged(number, str(error)) from None
                    yield number, self._end, bare
                if chain.number == header.number and chain.checksum != header.checksum:
                    raise Damaged(1, f"it has another checksum for entry {header.number} than that entry")
                self._end += len(line)
                self._missing = b"\n" if is_open else b""
                read = number
        if chain.number < header.number:
            raise Damaged(read + 1, f"entries {chain.number + 1} to {header.number} are missing")
        self._last = chain.last

    def _header_of(self, text: bytes) -> Check | None:
        """Return the check in the header, if the first line is one."""
        match = _HEADER.fullmatch(text)
        if match is None:
            return None
        if match[1].decode() != self._kind:
            raise Damaged(1, f"it begins a file of another kind, {match[1].decode()!r}")
        self._has_header = True
        return Check(int(match[2]), int(match[3], 16))

    @property
    def last(self) -> Check:
        """The check of the last line. Only if that has none, as in older files, all lines are read."""
        if self._last is None:
            size = os.lseek(self._fd, 0, os.SEEK_END)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._header_of(os.read(self._fd, len(self._header(Check()))).removesuffix(b"\n"))
            os.lseek(self._fd, max(0, size - _END), os.SEEK_SET)
            end = os.read(self._fd, _END)
            self._end, self._last = size, Check.at_end(end[:-1]) if end.endswith(b"\n") else None
        if self._last is None:
            deque(self.read(), maxlen=0)
        return cast("Check", self._last)

    def since(self, number: int) -> list[bytes]:
        """Return the lines after the one with this number; they are read from the end of the file, if they are few."""
        many = self.last.number - number
        if many <= 0:
            return []
        os.lseek(self._fd, max(0, self._end - _BLOCK), os.SEEK_SET)
        *others, end = os.read(self._fd, _BLOCK).split(b"\n")
        before = Check.at_end(others[-many - 1]) if len(others) > many + 1 and not end else None
        if before is not None:
            chain = Chain(before)
            with suppress(ValueError):  # reading all lines says where they are damaged
                return [chain.verify(line) for line in others[-many:]]
        return [line for _, _, line in islice(self.read(), number, None)]

    def append(self, lines: Iterable[bytes], *, sync: bool) -> None:
        """Append JSON objects, all or nothing; a last line that a crash cut is removed.

        With `sync`, wait until they are on the disk and survive a power cut.
        """
        last = self.last
        data = [self._missing]
        if not self._end:
            data = [self._header(Check())]
            self._has_header = True
        for line in lines:
            checked, last = with_check(line, last)
            data += checked, b"\n"
        if os.lseek(self._fd, 0, os.SEEK_END) > self._end:
            os.ftruncate(self._fd, self._end)
        append(self._fd, b"".join(data), sync=sync)
        self._last, self._end, self._missing = last, os.lseek(self._fd, 0, os.SEEK_END), b""
        if sync and self._has_header:
            with suppress(OSError):  # the lines are on the disk; only that they are is not known there
                os.lseek(self._fd, 0, os.SEEK_SET)
                os.write(self._fd, self._header(last))

    def _header(self, stored: Check) -> bytes:
        return b'{"agentkit":"%b","stored":"%010d %08x"}\n' % (self._kind.encode(), *stored)


def _is_cut(line: bytes, number: int) -> bool:
    """Whether a crash cut a last line without a line break. `Damaged` if no crash leaves such a line."""
    if Check.at_end(line) or is_object(line):
        return False
    if _CHECK.search(line):
        raise Damaged(number, "there is more behind its end")
    if number == 1 and not line.startswith(_OLDER):
        raise Damaged(1, "it is cut. If it is all that the file has had so far, remove the file")
    return True
