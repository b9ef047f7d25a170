import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentkit.core import files as file_locks
from agentkit.core.files import lock, unlock

OTHER = "import os, sys; from agentkit.core.files import lock; print(lock(os.open(sys.argv[1], os.O_RDWR)))"


def other(path: Path) -> str:
    """Whether another process gets the lock."""
    command = [sys.executable, "-c", OTHER, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    assert lock(fd)
    assert other(path) == "False"
    unlock(fd)
    os.close(fd)
    assert other(path) == "True"


def test_a_disk_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(file_locks, "_LOCKS", SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0))
    with pytest.raises(OSError, match="No locks"):
        lock(0)


def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[int] = []

    def locking(fd: int, how: int, count: int) -> None:
        assert (count, os.lseek(fd, 0, os.SEEK_CUR)) == (1, 2**31 - 2)
        if how == bool(locked):
            raise OSError(errno.EACCES, "Permission denied")
        locked[:] = [fd] if how else []

    monkeypatch.setattr(file_locks, "_LOCKS", SimpleNamespace(locking=locking, LK_NBLCK=1, LK_UNLCK=0))
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDWR)
    assert lock(fd)
    assert not lock(fd)
    unlock(fd)
    unlock(fd)
    assert lock(fd)
    os.close(fd)
