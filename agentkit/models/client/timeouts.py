"""How long a request may take."""

from dataclasses import dataclass, fields
from math import inf
from time import monotonic
from types import TracebackType
from typing import Literal, TypeAlias

from anyio import CancelScope, current_time

from agentkit.core.checks import check_seconds
from agentkit.core.errors import ModelTimeout


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for one request; `None` is no limit. A run as a whole has `Limits(seconds=…)`.

    Attributes:
        connect: Until there is a connection.
        first_byte: Until the first data of the reply; the connection is part of that.
        idle: Between data. Comments, blank lines and other signs of life are no data.
        total: For the whole request; nothing prolongs it.
    """

    connect: float | None = 10.0
    first_byte: float | None = None
    idle: float | None = 120.0
    total: float | None = 600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_seconds(f"Timeouts({each.name}=…)", getattr(self, each.name))

    @classmethod
    def of(cls, value: "float | Timeouts | None") -> "Timeouts":
        """Read a timeout: a number is the total."""
        if isinstance(value, cls):
            return value
        check_seconds("timeout", value)
        return cls(total=value)  # type: ignore[arg-type]


Phase: TypeAlias = Literal["connect", "first_byte", "idle", "total"]
_SELDOM = 16
"""A deadline is put off once a sixteenth of its time is over: a fast stream would else do it thousands of times."""


class Deadlines:
    """A context that is left when a phase, or the whole, takes too long.

    Args:
        timeouts: How long each may take.
    """

    __slots__ = ("_begun", "_end", "_phase", "_scope", "_timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._scope = CancelScope()
        self._phase: Phase = "total"
        self._begun = -inf
        self._end = inf

    def __enter__(self) -> None:
        self._end = current_time() + (self._timeouts.total or inf)
        self.begin("first_byte")
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, traceback)

    def begin(self, phase: Literal["first_byte", "idle"]) -> None:
        """Begin a phase, or begin it anew."""
        now = monotonic()  # to ask the event loop takes longer
        seconds: float = getattr(self._timeouts, phase) or inf
        if phase == self._phase and now - self._begun < seconds / _SELDOM:
            return
        self._phase, self._begun = phase, now
        self._scope.deadline = min(current_time() + seconds, self._end)

    @property
    def passed(self) -> bool:
        """Whether the context was left because of a deadline."""
        return self._scope.cancelled_caught

    def error(self, said: str) -> ModelTimeout:
        """Make the error for the deadline that passed.

        Args:
            said: What did not come.
        """
        phase: Phase = "total" if self._scope.deadline >= self._end else self._phase
        seconds: float = getattr(self._timeouts, phase)
        what = {"first_byte": "the first data", "idle": "more data"}.get(phase, "the whole reply")
        return ModelTimeout(f"{said}: {what} took more than {seconds:g} s", seconds, phase)
