"""Who is alive: a lock that ends with its process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agentkit.durable.presence import FileLocks, PostgresLocks, presence_at

HOLD = "from agentkit.durable.presence import FileLocks; from pathlib import Path; import sys\nlocks = FileLocks(Path(sys.argv[1])); print(locks.take('a'), flush=True); sys.stdin.read()"


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(  # noqa: S603 (this very library)
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        mine = FileLocks(tmp_path)
        assert mine.take("b")
        assert not mine.take("a")
        other.kill()
        other.wait()
        assert mine.take("a")
        mine.release("a")
        assert [each.name for each in tmp_path.iterdir()] == ["b.lock"]
        mine.close()
        assert [*tmp_path.iterdir()] == []


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
        self.server, self.closed, self.row = server, False, (True,)

    def execute(self, statement: str, values: tuple[int]) -> "Connection":
        (number,) = values
        assert -(2**63) <= number < 2**63
        if "unlock" in statement:
            assert self.server.held.pop(number) is self
        else:
            self.row = (self.server.held.setdefault(number, self) is self,)
        return self

    def fetchone(self) -> tuple[bool]:
        return self.row

    def close(self) -> None:
        self.closed = True
        self.server.held = {number: each for number, each in self.server.held.items() if each is not self}


def test_one_of_postgres_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(psycopg, "connect", server.connect)
    mine, other = PostgresLocks("postgresql://ann:secret@host/db"), PostgresLocks("postgresql://host/db")
    assert server.urls[0].startswith("postgresql://ann:secret@host/db?")
    assert "keepalives_idle=5" in server.urls[0]
    assert mine.take("a")
    assert other.take("b")
    assert not mine.take("b")
    connection: Any = mine._connection
    connection.close()  # as when the network goes
    assert mine.take("c")
    assert not other.take("a")  # it was taken again with a new connection
    mine.release("c")
    assert other.take("c")
    other.close()
    assert mine.take("b")
    mine.close()
    assert server.held == {}


def test_the_locks_are_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg, "connect", Server().connect)
    assert isinstance(presence_at("postgresql://host/db"), PostgresLocks)
    assert isinstance(presence_at(f"sqlite:///{tmp_path}/runs.db"), FileLocks)
    assert (tmp_path / "runs.db.workers").is_dir()
