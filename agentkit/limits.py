"""Limits: every run ends."""

from dataclasses import dataclass

from agentkit.errors import ConfigurationError, LimitReached
from agentkit.state import State


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use up.

    Attributes:
        steps: How many times the model may be asked.
    """

    steps: int = 30

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigurationError(f"a run needs at least 1 step; steps={self.steps!r} lets it do nothing")

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
