"""Limits: every run ends. `Limits` are the configuration, a `Budget` is what one run has used up."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from agentkit.core.checks import check_number, check_one_of, check_seconds
from agentkit.core.errors import LimitReached
from agentkit.core.messages import Usage

AtEnd: TypeAlias = Literal["error", "answer"]
"""What a run does at a limit."""

_WHOLE = ("steps", "requests", "calls", "tokens", "result", "depth")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run. `None` is no limit.

    Requests, calls, tokens and cost of sub-agents count in the run that called them too.

    Attributes:
        steps: How many times the run may ask the model.
        seconds: Time limit of the whole run, with requests, retries and tools.
        result: Characters of the longest tool result that is sent whole. Of a longer one the model gets head and tail,
            and reads the rest with the tool `read_result`.
        requests: How many requests models may answer, with those of wrappers and sub-agents.
        calls: How many calls of tools may run. The policy `budget(n, of=tool)` limits those of one tool.
        tokens: How many tokens models may read and write together. If an endpoint does not count them, 4 bytes are
            taken for one token.
        cost: The highest cost, in the unit of `Agent(prices=…)` or of the endpoint.
        depth: How deep agents may call agents.
        at_end: At a limit, `"error"` raises `LimitReached`; `"answer"` asks the model for a last answer, without tools.
        grace: Seconds for that answer if the time is up.
    """

    steps: int = 30
    seconds: float | None = 3600.0
    result: int | None = 40_000
    requests: int | None = 300
    calls: int | None = 300
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
        check_one_of("Limits(at_end=…)", self.at_end, get_args(AtEnd))


class Reached(NamedTuple):
    """A limit that was reached: the name of the field of `Limits`, its value, and what happened, for people."""

    limit: str
    allowed: float
    text: str

    def error(self) -> LimitReached:
        return LimitReached(
            f"{self.text}; the history so far is in this error's `partial`. If the task needs more, allow it: "
            f"Agent(…, limits=Limits({self.limit}=…))",
            self.limit,
            self.allowed,
        )


class Budget:
    """What a run has used up. A nested run's budget counts in its parents' budgets too.

    Calls of the final-answer tool, `answer`, are not limited. `limits_cost` is whether this run or a parent has a limit
    on the cost.
    """

    __slots__ = ("answer", "calls", "last_words", "limits", "limits_cost", "parents", "reached", "tokens", "usage")

    def __init__(self, limits: Limits, parent: "Budget | None" = None, answer: str | None = None) -> None:
        self.limits = limits
        self.answer = answer
        self.usage = Usage()
        self.reached: Reached | None = None
        self.last_words = 0
        self.tokens = 0
        self.calls = 0
        self.parents: tuple[Budget, ...] = () if parent is None else (parent, *parent.parents)
        self.limits_cost: bool = limits.cost is not None or (parent is not None and parent.limits_cost)

    def _with_parents(self) -> "tuple[Budget, ...]":
        return self, *self.parents

    def check_depth(self) -> Reached | None:
        """Return the limit that forbids a run nested in this one, or `None`."""
        for depth, budget in enumerate(self._with_parents(), 1):
            if depth > (deepest := budget.limits.depth):
                return Reached("depth", deepest, f"agents are nested {deepest} deep already")
        return None

    def spend(self, usage: Usage, tokens: int) -> None:
        """Count a request and its tokens, which may be estimated."""
        for budget in self._with_parents():
            budget.usage += usage
            budget.tokens += tokens

    def take(self, tool: str) -> Reached | None:
        """Count a call that is about to run, or return the limit that forbids it."""
        if tool == self.answer:
            return None
        budgets = self._with_parents()
        for budget in budgets:
            most = budget.limits.calls
            if most is not None and budget.calls >= most:
                budget.reached = self.reached = Reached(
                    "calls", most, f"{most} tools were run, and one more was called"
                )
                return self.reached
        for budget in budgets:
            budget.calls += 1
        return None

    def check(self, steps: int) -> Reached | None:
        """Return the limit that forbids another step after so many, or `None`."""
        if steps >= self.limits.steps and self.reached is None:
            text = f"the model was asked {self.limits.steps} times and has not answered"
            self.reached = Reached("steps", self.limits.steps, text)
        for budget in self._with_parents():
            self.reached = self.reached or budget.reached or budget.used_up()
        return self.reached

    def take_last_word(self, corrections: int) -> bool:
        """Count a request for a last answer, and return whether it may be sent: the first, and so many corrections."""
        self.last_words += 1
        return self.limits.at_end == "answer" and self.last_words <= corrections + 1

    def out_of_time(self) -> Reached:
        seconds = self.limits.seconds or 0
        self.reached = Reached("seconds", seconds, f"the run took more than {seconds:g} s")
        return self.reached

    def used_up(self) -> Reached | None:
        """Return the limit of this run alone that forbids a request, or `None`."""
        limits = self.limits
        if limits.requests is not None and self.usage.requests >= limits.requests:
            return Reached("requests", limits.requests, f"models have answered {self.usage.requests} requests")
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return Reached("tokens", limits.tokens, f"{self.tokens:,} tokens were used")
        if limits.cost is not None and (self.usage.cost or 0) >= limits.cost:
            return Reached("cost", limits.cost, f"the run has cost {self.usage.cost:g}")
        return None
