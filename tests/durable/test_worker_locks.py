"""A lock that ends with its process tells whether a worker is alive."""

import os
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psycopg
import pytest

from agentkit.durable import Runs, worker_locks
from agentkit.durable.worker_locks import Alive, FileLocks, PostgresLocks, locks_for
from tests.programs import started

HOLD = """
import os, sys
from pathlib import Path
from agentkit.durable.worker_locks import FileLocks
folder = Path(sys.argv[1])
acquired, data, parent = FileLocks(folder).acquire("a"), (folder / "a.lock").read_bytes(), bool(os.fork())
os.write(1, f"{acquired} {data} {parent}\\n".encode())
sys.stdin.read()
"""


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Neither with who reads its file in that process, nor only with a child that was forked from it."""
    with started([sys.executable, "-c", HOLD, str(tmp_path)], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout is not None
        lines = {other.stdout.readline().strip() for _ in range(2)}
        assert lines == {"True b'' True", "True b'' False"}
        locks = FileLocks(tmp_path)
        assert locks.acquire("b")
        assert not locks.acquire("a")
        other.kill()
        other.wait()
        assert locks.acquire("a")
        assert locks.acquire("a")
        locks.release("a")
        assert [path.name for path in tmp_path.iterdir()] == ["b.lock"]
        locks.close()
        assert [*tmp_path.iterdir()] == []


def test_a_forked_child_closes_the_locks_of_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(tmp_path / "a.lock", os.O_CREAT)
    monkeypatch.setattr(worker_locks, "_lock_files", {fd})
    worker_locks._close_inherited()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


class Server:
    """The locks of a Postgres server, by the connections that hold them."""

    def __init__(self) -> None:
        self.held: dict[int, Connection] = {}
        self.urls: list[str] = []

    def connect(self, url: str, *, autocommit: bool) -> "Connection":
        assert autocommit
        self.urls.append(url)
        return Connection(self)


class Connection:
    def __init__(self, server: Server) -> None:
        self.server, self.closed, self.cut, self.row = server, False, False, (True,)
        self.settings: dict[str, str] = {}

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> "Connection":
        if self.cut:
            self.close()
            raise psycopg.OperationalError("the connection is lost")
        match values:
            case (name, value):
                self.settings[name] = value
            case (number,):
                assert -(2**63) <= number < 2**63
                if "unlock" in statement:
                    assert self.server.held.pop(number) is self
                else:
                    self.row = (self.server.held.setdefault(number, self) is self,)
            case _:
                assert statement == "SELECT 1"
        return self

    def fetchone(self) -> tuple[bool]:
        return self.row

    def lose(self) -> None:
        """Be lost, as when the server was started again: it is noticed when something is asked."""
        self.close()
        self.closed, self.cut = False, True

    def close(self) -> None:
        self.closed = True
        self.server.held = {number: holder for number, holder in self.server.held.items() if holder is not self}


def test_a_postgres_lock_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(psycopg, "connect", server.connect)
    mine, other = PostgresLocks("postgresql://ann:secret@host/db"), PostgresLocks("postgresql://host/db")
    assert server.urls[0].startswith("postgresql://ann:secret@host/db?")
    assert "keepalives_idle=5" in server.urls[0]
    connection: Any = mine._connection
    assert (connection.settings["tcp_keepalives_idle"], connection.settings["tcp_user_timeout"]) == ("5", "11000")
    assert mine.acquire("a")
    assert other.acquire("b")
    assert not mine.acquire("b")
    mine.release("a")
    assert other.acquire("a")
    other.close()
    assert mine.acquire("b")
    mine.close()
    assert server.held == {}


def test_a_lock_that_was_lost_with_the_connection_is_acquired_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(psycopg, "connect", server.connect)
    mine, other = PostgresLocks("postgresql://host/db"), PostgresLocks("postgresql://host/db")
    assert mine.acquire("mine")
    connection: Any = mine._connection
    connection.lose()
    assert other.acquire("mine")  # as the lock of a dead worker
    with pytest.raises(psycopg.OperationalError):
        mine.acquire("mine")
    assert not mine.acquire("mine")
    other.release("mine")
    assert mine.acquire("mine")
    assert mine.acquire("mine")
    assert not other.acquire("mine")


def test_the_locks_are_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg, "connect", Server().connect)
    assert isinstance(locks_for("postgresql://host/db"), PostgresLocks)
    assert isinstance(locks_for(f"sqlite:///{tmp_path}/runs.db"), FileLocks)
    assert (tmp_path / "runs.db.workers").is_dir()


def test_a_link_to_the_database_leads_to_the_same_locks(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs.db").symlink_to(tmp_path / "folder" / "runs.db")
    mine, other = (locks_for(Runs(tmp_path / name).url) for name in ("runs.db", "folder/runs.db"))
    assert mine.acquire("a")
    assert not other.acquire("a")
    mine.close()


def test_which_workers_are_alive(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    Alive(url).close()  # nobody was asked for
    locks = locks_for(url)
    assert locks.acquire("alive")
    alive = Alive(url)
    assert [alive(name) for name in ("alive", "dead", "dead")] == [True, False, False]
    alive.close()
    assert [file.name for file in (tmp_path / "runs.db.workers").iterdir()] == ["alive.lock"]
    locks.close()
