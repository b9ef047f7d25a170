"""A database that is away: what that looks like, and one line in the log when it begins and when it ends.

DBOS retries whatever a worker or a handle does, and logs each attempt of each of its threads. Those lines are dropped.
"""

import logging
import re
import sqlite3
from math import inf
from threading import Lock
from time import monotonic

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agentkit.core.errors import SessionError

_log = logging.getLogger("agentkit.durable")
_MAY_COME_BACK = ("starting up", "shutting down", "recovery", "too many clients", "connection slots", "terminating")
_CODES = ("08", "53", "57P")  # of connections, resources, and a server that is shut down
_ATTEMPT = re.compile(
    r"connection failed|OperationalError|server closed the connection|connection is (?:closed|lost)|AdminShutdown"
    r"|terminating connection|pool exhausted"
)
_QUIET = 5.0  # seconds
_NO_NEWS = "to verify existence of"  # comes before the error of the first connection


def is_away(error: BaseException) -> bool:
    """Whether a database does not answer now but may do so later. One that refuses the login is not away."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause)
    if isinstance(cause, psycopg.OperationalError):
        if cause.sqlstate is not None:
            return cause.sqlstate.startswith(_CODES)
        return "FATAL" not in text or any(words in text for words in _MAY_COME_BACK)
    return isinstance(cause, sqlite3.OperationalError) and "locked" in text


def typed(error: Exception) -> Exception:
    """Return the error of agentkit's for an error of the database; any other error as it is."""
    if not isinstance(error, SQLAlchemyError | psycopg.Error | sqlite3.Error):
        return error
    cause = error.orig if isinstance(error, DBAPIError) else error
    return SessionError(f"the store of the durable runs failed: {type(cause).__name__}: {cause}")


class Outage(logging.Filter):
    """Whether the database is away, as far as this process knows."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._away = False
        self._failed = -inf

    def begins(self, error: object) -> None:
        with self._lock:
            begins, self._away, self._failed = not self._away, True, monotonic()
        if begins:
            first_line = str(error).strip().partition("\n")[0]
            _log.warning("the database of the durable runs is away; waiting until it is back: %s", first_line)

    def ends(self) -> None:
        """Note that the database answers. The outage is over if no attempt failed for some seconds."""
        with self._lock:
            ends = self._away and monotonic() - self._failed >= _QUIET
            self._away = self._away and not ends
        if ends:
            _log.warning("the database of the durable runs is back")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line of DBOS's is shown: not if it is about one more attempt."""
        text = record.getMessage() + (str(record.exc_info[1]) if record.exc_info else "")
        if _ATTEMPT.search(text) is None:
            return _NO_NEWS not in text
        self.begins(text)
        return False


OUTAGE = Outage()
logging.getLogger("dbos").addFilter(OUTAGE)
