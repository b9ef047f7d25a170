import logging
import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from agentkit import InvalidRequest, SessionError
from agentkit.durable.outages import Outage, is_away, typed

REFUSED = 'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'


def wrapped(error: Exception) -> Exception:
    return OperationalError("SELECT 1", None, error)


@pytest.mark.parametrize(("error", "away"), [
    (psycopg.OperationalError(REFUSED), True), (wrapped(psycopg.OperationalError(REFUSED)), True),
    (psycopg.OperationalError("FATAL:  the database system is starting up"), True),
    (psycopg.OperationalError('FATAL:  password authentication failed for user "ann"'), False),
    (psycopg.errors.AdminShutdown("terminating connection"), True), (psycopg.errors.TooManyConnections("too many"), True),
    (psycopg.errors.QueryCanceled("timeout"), False), (psycopg.errors.UndefinedTable("no table"), False),
    (wrapped(sqlite3.OperationalError("database is locked")), True),
    (sqlite3.OperationalError("unable to open database file"), False), (OSError("gone"), False),
])  # fmt: skip
def test_a_database_is_away_if_it_may_come_back(error: Exception, away: bool) -> None:
    assert is_away(error) is away


def test_errors_of_the_database_have_a_type() -> None:
    for error in (
        wrapped(sqlite3.OperationalError("no")),
        SQLAlchemyError("no"),
        psycopg.DataError("no"),
    ):
        assert isinstance(typed(error), SessionError)
    for error in (InvalidRequest("no"), OSError("no")):
        assert typed(error) is error


def test_an_outage_is_told_once_and_its_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    outage = Outage()
    outage.ends()
    attempt = logging.makeLogRecord({"msg": f"Database connection failed: {REFUSED}. Retrying in 1s"})
    trace = (OSError, psycopg.OperationalError("server closed the connection unexpectedly"), None)
    shown = [
        logging.makeLogRecord({"msg": "something else"}),
        logging.makeLogRecord({"msg": "x", "exc_info": (None,) * 3}),
    ]
    hidden = [attempt, attempt, logging.makeLogRecord({"msg": "poll", "exc_info": trace})]
    hidden.append(logging.makeLogRecord({"msg": "Could not connect to postgres database to verify existence of x."}))
    for _ in range(2):
        assert [outage.filter(record) for record in (*shown, *hidden)] == [True] * 2 + [False] * 4
        outage.ends()  # too soon: other threads may still fail
        with monkeypatch.context() as patched:
            patched.setattr("agentkit.durable.outages._QUIET", 0.0)
            outage.ends()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    away, back = (
        "the database of the durable runs is away; waiting until it is back",
        "the database of the durable runs is back",
    )
    assert told == [away, back] * 2
