"""Locks and appends; tests/sessions and tests/runs/batch cover the rest through the stores that use them."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentkit.core import files
from agentkit.core.files import append, lock, locked, unlock


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with locked(path, write=True) as fd:
        unlock(fd)
        assert lock(fd)
        with pytest.raises(TimeoutError), locked(path, write=False):
            pass
    with locked(path, write=False):
        pass
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_LOCKS", SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0))
    with pytest.raises(OSError, match="No locks"):
        lock(0)


def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def locking(fd: int, how: int, count: int) -> None:
        assert (count, os.lseek(fd, 0, os.SEEK_CUR)) == (1, 2**31 - 2)
        if how == bool(held):
            raise OSError(errno.EACCES, "Permission denied")
        held[:] = [fd] if how else []

    monkeypatch.setattr(files, "_LOCKS", SimpleNamespace(locking=locking, LK_NBLCK=1, LK_UNLCK=0))
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    with locked(tmp_path / "file", write=True) as fd:
        assert not lock(fd)
        append(fd, b"a")
        unlock(fd)
        unlock(fd)
        assert lock(fd)
    assert held == []
    assert (tmp_path / "file").read_bytes() == b"a"


def short(fd: int, data: bytes) -> int:
    return WRITE(fd, data[:1])


def broken(_fd: int, _data: bytes) -> int:
    raise OSError(errno.EIO, "Input/output error")


WRITE = os.write


@pytest.mark.parametrize("write", [short, broken])
def test_an_append_that_fails_is_undone(write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path / "file", write=True) as fd:
        append(fd, b"{}\n")
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OSError, match=r"No space|Input"):
            append(fd, b"{}\n")
    assert (tmp_path / "file").read_bytes() == b"{}\n"
