"""Locks on files: one process at a time. The death of a process lets others in."""

import errno
import os
from importlib import import_module
from typing import Any

_LOCKS: Any = import_module("fcntl" if os.name == "posix" else "msvcrt")
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_BEYOND = 2**31 - 2  # the byte that stands for the whole file where only bytes are locked, and a locked one is not read


def lock(fd: int) -> bool:
    """Try to keep others out of a file.

    Args:
        fd: The open file.

    Returns:
        Whether that could be done: `False` if others are in.

    Raises:
        OSError: If the disk has no locks.
    """
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
    """Let others in again, where closing the file does not do it at once.

    Args:
        fd: The open file.
    """
    if not hasattr(_LOCKS, "flock"):
        os.lseek(fd, _BEYOND, os.SEEK_SET)
        try:
            _LOCKS.locking(fd, _LOCKS.LK_UNLCK, 1)
        except OSError:  # it was not locked
            return
