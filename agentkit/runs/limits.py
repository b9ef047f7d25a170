"""Limits: every run ends."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from agentkit.core.checks import check_number, check_one_of, check_seconds
from agentkit.core.errors import ConfigurationError, LimitReached
from agentkit.core.messages import Usage

AtEnd: TypeAlias = Literal["error", "answer"]
"""What becomes of a run at a limit."""

_WHOLE = ("steps", "requests", "calls", "tokens", "result", "depth")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use up. `None` is no limit.

    Requests, calls, tokens and cost of agents that run as tools count for the run that called them too.

    Attributes:
        steps: How many times the model may be asked.
        seconds: How long it may take as a whole: requests, retries, tools and all.
        result: Characters of the longest result of a tool that is sent whole; of a longer one the model gets head and
            tail, and reads the rest with a tool, `read_result`.
        requests: How many requests models may answer, with those that wrappers make beside and those of sub-agents.
        calls: How many tools may be run.
        calls_of: How many times single tools may be run, by name.
        tokens: How many tokens models may read and write together. Where an endpoint does not count them, a token is
            taken for 4 bytes.
        cost: What it may cost, in the unit of `Agent(prices=…)` or of the endpoint.
        depth: How deep agents may call agents.
        at_end: `"error"` ends the run with `LimitReached`; `"answer"` has the model answer once more, without tools and
            with what it has.
        grace: Seconds for that answer where the time is up.
    """

    steps: int = 30
    seconds: float | None = 3600.0
    result: int | None = 40_000
    requests: int | None = 300
    calls: int | None = 300
    calls_of: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    tokens: int | None = 5_000_000
    cost: float | None = None
    depth: int = 5
    at_end: AtEnd = "error"
    grace: float = 60.0

    def __post_init__(self) -> None:
        check_seconds("Limits(seconds=…)", self.seconds)
        check_seconds("Limits(grace=…)", self.grace, optional=False)
        for name in _WHOLE:
            optional = name not in ("steps", "depth")
            check_number(f"Limits({name}=…)", getattr(self, name), least=1, whole=True, optional=optional)
        check_number("Limits(cost=…)", self.cost, above=0, optional=True)
        if not _counts(self.calls_of):
            raise ConfigurationError(
                f"Limits(calls_of=…) takes whole numbers by the names of tools, not {self.calls_of!r}"
            )
        check_one_of("Limits(at_end=…)", self.at_end, get_args(AtEnd))


def _counts(value: object) -> bool:
    """Tell whether a value has whole numbers by names."""
    if not isinstance(value, Mapping):
        return False
    return all(
        isinstance(name, str) and type(most) is int and most >= 0
        for name, most in cast("Mapping[object, object]", value).items()
    )


class Reached(NamedTuple):
    """A limit that was reached.

    Attributes:
        limit: Its name, a field of `Limits`.
        allowed: Its value.
        text: What happened, for people.
    """

    limit: str
    allowed: float
    text: str

    def error(self) -> LimitReached:
        """Make the error for a run that ends by it."""
        return LimitReached(
            f"{self.text}; the history so far is in this error's `partial`. If the task needs more, allow it: "
            f"Agent(…, limits=Limits({self.limit}=…))",
            self.limit,
            self.allowed,
        )


class Budget:
    """What a run has used up. Runs that are tools of another one count there too.

    Args:
        limits: What it may use up.
        parent: That of the run in which this one is a tool.
        answer: The name of the tool whose call is the answer, if there is one. It is always to be had.
    """

    __slots__ = ("answer", "calls", "last_words", "limits", "parent", "reached", "tokens", "usage")

    def __init__(self, limits: Limits, parent: "Budget | None" = None, answer: str | None = None) -> None:
        self.limits = limits
        self.answer = answer
        self.usage = Usage()
        self.reached: Reached | None = None
        self.last_words = 0
        self.tokens = 0
        self.calls: Counter[str] = Counter()
        self.parent = parent

    @property
    def pays(self) -> bool:
        """Whether there is a limit on what it costs."""
        return any(each.limits.cost is not None for each in (self, *self._around()))

    def nest(self) -> Reached | None:
        """Say which limit does not allow a run within this one, if one does not."""
        for depth, each in enumerate((self, *self._around()), 1):
            if depth > (deepest := each.limits.depth):
                return Reached("depth", deepest, f"agents are nested {deepest} deep already")
        return None

    def spend(self, usage: Usage, tokens: int) -> None:
        """Count a request.

        Args:
            usage: What it cost.
            tokens: How many tokens it took, estimated if nobody counted them.
        """
        for each in (self, *self._around()):
            each.usage += usage
            each.tokens += tokens

    def take(self, tool: str) -> Reached | None:
        """Count a call that is to be run.

        Returns:
            The limit that does not allow it, if one does not. Then it is not counted.
        """
        if tool == self.answer:
            return None
        chain = (self, *self._around())
        for each in chain:
            if reached := each.no_room(tool):
                each.reached = self.reached = reached
                return reached
        for each in chain:
            each.calls[tool] += 1
        return None

    def check(self, steps: int) -> Reached | None:
        """Hold the run against the limits before its next step.

        Args:
            steps: How many there were.

        Returns:
            The limit that does not allow another, if one does not.
        """
        if steps >= self.limits.steps and self.reached is None:
            said = f"the model was asked {self.limits.steps} times and has not answered"
            self.reached = Reached("steps", self.limits.steps, said)
        for each in (self, *self._around()):
            self.reached = self.reached or each.reached or each.used_up()
        return self.reached

    def last_word(self, corrections: int) -> bool:
        """Tell whether the model may be asked for a last answer.

        Args:
            corrections: How often it is asked again for one that is not taken.
        """
        self.last_words += 1
        return self.limits.at_end == "answer" and self.last_words <= corrections + 1

    def out_of_time(self) -> Reached:
        """Note that the run took too long."""
        seconds = self.limits.seconds or 0
        self.reached = Reached("seconds", seconds, f"the run took more than {seconds:g} s")
        return self.reached

    def _around(self) -> "Iterator[Budget]":
        each = self.parent
        while each is not None:
            yield each
            each = each.parent

    def no_room(self, tool: str) -> Reached | None:
        """Say which limit of this run does not allow a call, if one does not."""
        most, limits = self.limits.calls_of.get(tool), self.limits
        if most is not None and self.calls[tool] >= most:
            return Reached("calls_of", most, f"{tool} was run {most} times, and called once more")
        if limits.calls is not None and self.calls.total() >= limits.calls:
            return Reached("calls", limits.calls, f"{limits.calls} tools were run, and one more was called")
        return None

    def used_up(self) -> Reached | None:
        """Say which limit of this run does not allow a request, if one does not."""
        limits = self.limits
        if limits.requests is not None and self.usage.requests >= limits.requests:
            return Reached("requests", limits.requests, f"models have answered {self.usage.requests} requests")
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return Reached("tokens", limits.tokens, f"{self.tokens:,} tokens were used")
        if limits.cost is not None and (self.usage.cost or 0) >= limits.cost:
            return Reached("cost", limits.cost, f"the run has cost {self.usage.cost:g}")
        return None
