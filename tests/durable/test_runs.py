"""Where durable runs are kept, and which there are."""

import runpy
import sys
from pathlib import Path

import psycopg
import pytest
from dbos import DBOS

from agentkit import (
    Agent,
    ChatClient,
    ConfigurationError,
    InvalidRequest,
    MissingExtra,
    SessionError,
    UserMessage,
    durable,
)
from agentkit.durable import Runs, workflows
from agentkit.durable.runs import recorded
from tests.durable.conftest import ADDER, NOBODYS
from tests.sessions import modes

pytestmark = pytest.mark.anyio


def test_a_place_is_a_file_or_postgres(tmp_path: Path) -> None:
    assert Runs(tmp_path / "a.db").url == f"sqlite:///{tmp_path}/a.db"
    assert Runs("postgresql://ann:secret@host/db").url == "postgresql://ann:secret@host/db"
    assert repr(Runs("postgresql://ann:secret@host/db")) == "Runs('postgresql://ann:***@host/db')"
    with pytest.raises(ConfigurationError):
        Runs("mysql://host/db")


async def test_only_what_can_be_run_is_submitted(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "a.db")
    with pytest.raises(InvalidRequest):
        await runs.submit(ADDER, [])
    for name in ("", " ", "a#2"):
        with pytest.raises(InvalidRequest):
            await runs.submit(ADDER, "Hello", id=name)
    runs.close()  # which was not needed


async def test_what_is_recorded_is_read_without_the_agent(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "a.db")
    await runs.submit(ADDER, "Hello", id="one")
    info, prompt, records = await recorded(runs, "one")
    assert (info.state, prompt, records) == ("queued", (UserMessage("Hello"),), ())
    with pytest.raises(InvalidRequest):
        await recorded(runs, "two")
    runs.close()


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "a.db")
    await runs.submit(ADDER, "Hello")
    assert set(modes(tmp_path).values()) == {0o600}
    runs.close()


async def test_runs_wait_for_a_worker(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "a.db")
    await runs.submit(NOBODYS, "One", id="one")
    await runs.submit(ADDER, [UserMessage("Two")], id="two#x")
    assert [(info.id, info.agent, info.state, info.attempts) for info in await runs.list()] == [
        ("two#x", "adder", "queued", 0),
        ("one", "nobodys", "queued", 0),
    ]
    assert [info.id for info in await runs.list("queued", agent="adder")] == ["two#x"]
    assert await runs.list("done") == ()
    assert [info.id for info in await runs.list(limit=1)] == ["two#x"]
    assert await runs.list("failed", limit=1) == ()
    with pytest.raises(InvalidRequest):
        await runs.list(limit=0)
    runs.close()
    assert len(await runs.list()) == 2  # which opens it again
    runs.close()


async def test_lists_are_read_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(tmp_path / "a.db")
    names = [(await runs.submit((ADDER, NOBODYS)[at % 2], "Hello", id=str(at))).id for at in range(7)]
    for size in (1, 2, 3, 7, 8):
        monkeypatch.setattr(workflows, "_PAGE", size)
        assert [info.id for info in await runs.list()] == names[::-1]
        assert [info.id for info in await runs.list("queued", limit=5)] == names[:1:-1]
        assert [info.id for info in await runs.list(agent="adder")] == ["6", "4", "2", "0"]
    runs.close()


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentkit.durable.submitted", None)
    with pytest.raises(MissingExtra, match="durable"):
        runpy.run_path(durable.__file__)


def test_postgres_is_asked_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Client:
        def __init__(self, system_database_url: str, **_: object) -> None:
            asked.append(system_database_url)

    monkeypatch.setattr("agentkit.durable.runs.DBOSClient", Client)
    monkeypatch.setattr(DBOS, "migrate", asked.append)
    Runs("postgresql://host/db").client()
    assert asked == ["postgresql://host/db"] * 2


async def test_a_database_that_is_away_at_the_first_use_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.durable.runs._FIRST_PAUSE", 0)
    migrate, attempts = DBOS.migrate, list[str]()

    def fails_twice(url: str) -> None:
        attempts.append(url)
        if len(attempts) % 3:
            raise psycopg.OperationalError("connection failed: Connection refused")
        migrate(url)

    monkeypatch.setattr(DBOS, "migrate", fails_twice)
    runs = Runs(tmp_path / "a.db")
    assert await runs.list() == ()
    runs.close()
    runs.wait_for(runs.client)
    runs.close()
    assert len(attempts) == 6


async def test_a_database_that_refuses_is_an_error_of_agentkits(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "no such folder" / "a.db")
    with pytest.raises(SessionError, match="unable to open"):
        await runs.list()
    with pytest.raises(SessionError, match="unable to open"):
        runs.wait_for(runs.client)


@pytest.mark.parametrize("id", ["a\0b", "\ud800", ""])
async def test_an_id_is_refused_alike_on_all_stores(id: str) -> None:  # noqa: A002 (the field's word)
    agent = ADDER.with_name("a\0b")
    with pytest.raises(InvalidRequest, match="cannot be the id"):
        Runs("a.db").run(id, agent)
    with pytest.raises(InvalidRequest, match="has a NUL"):
        await Runs("a.db").submit(agent, "Hello")


async def test_no_secret_is_stored(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "a.db")
    agent = Agent(ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key="sk-secret"), name="keyed")
    await runs.submit(agent, "Hello there")
    runs.close()
    stored = b"".join([path.read_bytes() for path in tmp_path.iterdir()])  # noqa: ASYNC240 (nothing else is going on)
    assert b"Hello there" in stored
    assert b"secret" not in stored
    assert b"127.0.0.1" not in stored
