"""The deadlines of one request, in one cancel scope."""

from math import inf
from time import monotonic
from types import TracebackType
from typing import Literal, TypeAlias

from anyio import CancelScope, current_time

from agentkit.errors import ModelTimeout
from agentkit.timeouts import Timeouts

Phase: TypeAlias = Literal["connect", "first", "idle", "total"]
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
        self.begin("first")
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, traceback)

    def begin(self, phase: Literal["first", "idle"]) -> None:
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
        what = {"first": "the first data", "idle": "more data"}.get(phase, "the whole reply")
        return ModelTimeout(f"{said}: {what} took more than {seconds:g} s", seconds, phase)
