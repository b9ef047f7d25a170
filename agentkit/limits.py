"""Limits: every run ends."""

from dataclasses import dataclass

from agentkit.errors import ConfigurationError, LimitReached
from agentkit.state import State
from agentkit.timeouts import check_seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use up.

    Attributes:
        steps: How many times the model may be asked.
        seconds: How long it may take as a whole: requests, retries, tools and all. `None` is no limit.
        result: Characters of the longest result of a tool that is sent whole; of a longer one the model gets head and
            tail, and reads the rest with a tool, `read_result`. `None` is no limit.
    """

    steps: int = 30
    seconds: float | None = 3600.0
    result: int | None = 40_000

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigurationError(f"a run needs at least 1 step; steps={self.steps!r} lets it do nothing")
        check_seconds("Limits(seconds=…)", self.seconds)
        if self.result is not None and self.result < 1:
            raise ConfigurationError(f"result must be a number of characters above 0, or None, not {self.result!r}")

    def check(self, state: State) -> None:
        """Hold a run against the limits before its next step.

        Raises:
            LimitReached: If the step would go over one.
        """
        if len(state.steps) >= self.steps:
            raise LimitReached(
                f"the model was asked {self.steps} times and has not answered; the history so far is in this error's "
                "`partial`. If the task needs more, allow it: Agent(…, limits=Limits(steps=…))",
                "steps",
                self.steps,
            )

    def out_of_time(self) -> LimitReached:
        """Make the error for a run that took too long."""
        return LimitReached(
            f"the run took more than {self.seconds:g} s; the history so far is in this error's `partial`. If the task "
            "needs more, allow it: Agent(…, limits=Limits(seconds=…))",
            "seconds",
            self.seconds or 0,
        )
