"""How long a request may take: `Timeouts` are the options, `Deadlines` enforce them on one request.

A timeout per read would never cut off a server that sends a byte now and then. So there is one cancel scope around
the whole request, and one timer. Its deadline moves as phases begin, and never beyond the total. Only
the connect timeout is not part of it: it has a scope of its own while a connection opens.

Once every answer has its finish reason, usage and `[DONE]` have 2 seconds left to come: some endpoints keep the
connection open without them. The reply is whole then, so it is no error if this phase takes too long.
"""

from dataclasses import dataclass, fields
from math import inf
from time import monotonic
from types import TracebackType
from typing import Literal, TypeAlias

import anyio

from agentkit.core.checks import check_seconds
from agentkit.core.errors import ModelTimeout

_WAITED_FOR = {"first_byte": "the first data", "idle": "more data", "total": "the whole reply"}
_USAGE_SECONDS = 2.0
_Phase: TypeAlias = Literal["first_byte", "idle", "usage"]
_REARM_SHARE = 16  # a deadline moves once a sixteenth of its time is over: a fast stream has thousands of chunks


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of one request, in seconds; `None` means no limit. For a whole run, see `Limits(seconds=…)`.

    Attributes:
        connect: Until the connection is open.
        first_byte: Until the first data of the reply, connecting included.
        idle: Between data. Comments, blank lines and other keep-alives don't count as data.
        total: For the whole request. Nothing extends it.
    """

    connect: float | None = 10.0
    first_byte: float | None = None
    idle: float | None = 120.0
    total: float | None = 600.0

    def __post_init__(self) -> None:
        for timeout in fields(self):
            check_seconds(f"Timeouts({timeout.name}=…)", getattr(self, timeout.name))

    @classmethod
    def of(cls, value: "float | Timeouts | None") -> "Timeouts":
        """Return the timeouts for an option's value: a number is the total."""
        if isinstance(value, cls):
            return value
        check_seconds("timeout", value)
        return cls(total=value)  # type: ignore[arg-type]


class Deadlines:
    """A context for one request, cancelled when a phase or the whole takes too long."""

    __slots__ = ("_begun", "_end", "_phase", "_scope", "_timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._phase: _Phase = "first_byte"
        self._begun = -inf
        now = anyio.current_time()
        self._end = now + (timeouts.total or inf)
        self._scope = anyio.CancelScope(deadline=min(now + (timeouts.first_byte or inf), self._end))

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, traceback)

    def begin(self, phase: Literal["idle", "usage"]) -> None:
        """Begin a phase, or restart its time."""
        now = monotonic()  # asking the event loop takes longer
        seconds = self._timeouts.idle or inf
        if phase == "usage":
            seconds = min(seconds, _USAGE_SECONDS)
        if phase == self._phase and now - self._begun < seconds / _REARM_SHARE:
            return
        self._phase, self._begun = phase, now
        self._scope.deadline = min(anyio.current_time() + seconds, self._end)

    @property
    def passed(self) -> bool:
        """Whether a deadline ended the context."""
        return self._scope.cancelled_caught

    def error(self, url: str) -> ModelTimeout:
        """Return the error for the deadline that passed."""
        phase = "total" if self._scope.deadline >= self._end or self._phase == "usage" else self._phase
        seconds: float = getattr(self._timeouts, phase)
        return ModelTimeout(
            f"{url} did not answer in time: {_WAITED_FOR[phase]} took more than {seconds:g} s; to allow more, use "
            f"ChatClient(…, timeout=Timeouts({phase}=…))",
            seconds,
            phase,
        )
