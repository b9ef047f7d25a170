"""Files that processes share: locks, and lines that are only ever appended.

One process at a time holds the lock of a file; the death of a process releases it. Each append is one write, because a
crash between two writes could leave the first. An append that fails is undone.
"""

import errno
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from time import monotonic, sleep
from typing import Any

_LOCKS: Any = import_module("fcntl" if os.name == "posix" else "msvcrt")
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_BEYOND = 2**31 - 2  # Windows locks single bytes, which nobody can read then: lock one that no file has
_PRIVATE = 0o600
_PAUSE = 0.002


def lock(fd: int) -> bool:
    """Lock an open file, unless another process, or another handle in this one, holds the lock; return whether."""
    try:
        if hasattr(_LOCKS, "flock"):
            _LOCKS.flock(fd, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
        else:
            os.lseek(fd, _BEYOND, os.SEEK_SET)
            _LOCKS.locking(fd, _LOCKS.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _LOCKED:
            return False
        raise
    return True


def unlock(fd: int) -> None:
    """Release the lock of an open file, on systems where closing the file does not do it at once."""
    if not hasattr(_LOCKS, "flock"):
        os.lseek(fd, _BEYOND, os.SEEK_SET)
        try:
            _LOCKS.locking(fd, _LOCKS.LK_UNLCK, 1)
        except OSError:  # it was not locked
            return


@contextmanager
def locked(path: str | os.PathLike[str], *, write: bool, patience: float = 0.0) -> Generator[int]:
    """Open a file and hold its lock until the block is left; `TimeoutError` if others hold it for `patience` seconds.

    If a file to write is missing, it is created, readable for its owner only.
    """
    mode = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
    fd = os.open(path, mode | getattr(os, "O_BINARY", 0), _PRIVATE)
    try:
        end = monotonic() + patience
        while not lock(fd):
            if monotonic() >= end:
                raise TimeoutError(errno.ETIMEDOUT, "the file is locked")
            sleep(_PAUSE)
        yield fd
    finally:
        unlock(fd)
        os.close(fd)


def is_object(line: bytes) -> bool:
    """Whether a line is a whole JSON object, even without a line break; the beginning of an object never is."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def append(fd: int, data: bytes, *, sync: bool = False) -> None:
    """Append to an open file, all or nothing; with `sync`, wait until it is on the disk and survives a power cut."""
    size = os.lseek(fd, 0, os.SEEK_END)
    try:
        written = os.write(fd, data)
        if sync and written == len(data):
            os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise
    if written < len(data):
        os.ftruncate(fd, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
