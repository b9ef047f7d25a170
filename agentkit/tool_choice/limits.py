"""Policies that count calls: how many in all, and how many at once."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property

from agentkit.core.checks import check_number
from agentkit.core.choice import ToolChoice, Verdict, allow, deny
from agentkit.core.errors import ConfigurationError
from agentkit.core.growing import folded
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.fields import ToolLike, name_of_tool, names_of
from agentkit.tool_choice.policy import Policy
from agentkit.tool_choice.remembering import Remembering, Scope


class one_at_a_time(Policy):
    """Only the first call of each reply runs; the others are answered as not run: `one_at_a_time()`.

    `parallel_tool_calls: false` is sent where the endpoint's profile knows it.
    """

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return ToolChoice(once=True)

    def judge(self, call: Call, state: State) -> Verdict:  # noqa: ARG002 (any call)
        return deny("only one call of a reply runs; make it in the next") if state.pending else allow

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (whatever the state)
        return ()


class budget(Remembering):
    """At most so many calls, also within one reply: `budget(8)`, `budget(2, of=search)`.

    Once a whole budget is spent, the choice is `none`: the model must answer with what it has. Once the budget of one
    tool is spent, that tool is withheld. A refused call does not count; one that failed does. The result of a call that
    leaves 1 or nothing tells the model so.

    Args:
        calls: How many, 0 or more.
        of: The one tool whose calls count; otherwise all do.
        weights: What a call of a tool counts, `budget(10, weights={scrape: 3})`; 1 unless given.
        scope: What is remembered.

    Raises:
        ConfigurationError: If a number is not whole or below 0, a tool has two weights, or `of` and `weights` are given
            together.
    """

    calls: int
    of: str | None = None
    weights: tuple[tuple[str, int], ...] = ()

    def __init__(
        self,
        calls: int,
        of: ToolLike | None = None,
        weights: Mapping[ToolLike, int] | None = None,
        *,
        scope: Scope = "turn",
    ) -> None:
        names = names_of(tuple(weights or ()), 0, "budget(weights=…)")
        named = tuple(sorted(zip(names, (weights or {}).values(), strict=True)))
        for what, number in (("budget(calls)", calls), *((f"the weight of {name}", weight) for name, weight in named)):
            check_number(what, number, least=0, whole=True)
        if of is not None and named:
            raise ConfigurationError("budget(…, of=tool) counts one tool, so weights= says nothing; use one of them")
        self._set(calls=calls, of=None if of is None else name_of_tool(of), weights=named, scope=scope)

    def _cost(self, tool: str) -> int:
        if self.of is not None:
            return int(tool == self.of)
        return dict(self.weights).get(tool, 1) if self.weights else 1

    def _left(self, calls: Sequence[CallRecord]) -> int:
        return self.calls - folded(calls, self, 0, self._spent)

    def _spent(self, before: int, new: Iterable[CallRecord]) -> int:
        return before + sum(self._cost(record.call.name) for record in new if record.outcome != "refused")

    def _claimed(self, before: int, new: Iterable[Call]) -> int:
        return before + sum(self._cost(call.name) for call in new)

    def __call__(self, state: State) -> ToolChoice:
        left = self._left(self.seen(state).calls)
        if self.of is not None:
            return ToolChoice(withheld=frozenset({self.of} if left <= 0 else ()))
        too_dear = frozenset([tool for tool, weight in self.weights if weight > left])
        return ToolChoice("none") if left <= 0 else ToolChoice(withheld=too_dear)

    def judge(self, call: Call, state: State) -> Verdict:
        cost = self._cost(call.name)
        left = self._left(self.seen(state).calls) - folded(state.pending, self, 0, self._claimed)
        if cost == 0 or cost <= left:
            return allow
        what = f"calls of {self.of}" if self.of else "calls"
        return deny(f"the budget of {self.calls} {what} has {max(left, 0)} left")

    def remark(self, state: State) -> str | None:
        """Return what is left, after a call that counted."""
        if not state.calls or state.calls[-1].outcome == "refused" or not self._cost(state.calls[-1].call.name):
            return None
        left = max(self._left(self.seen(state).calls), 0)
        what = f"of {self.of} " if self.of else ""
        return f"Note: after this, {left} more call{'s' * (left != 1)} {what}may be made." if left in (0, 1) else None

    def memory(self, state: State) -> Hashable:
        return max(self._left(self.seen(state).calls), 0)

    @cached_property
    def _code(self) -> str:
        of = f", of={self.of!r}" if self.of else ""
        weights = f", weights={dict(self.weights)!r}" if self.weights else ""
        scope = f", scope={self.scope!r}" if self.scope != "turn" else ""
        return f"budget({self.calls}{of}{weights}{scope})"

    @property
    def tools(self) -> frozenset[str]:
        """The tools that are counted by name."""
        return frozenset([tool for tool, _ in self.weights] + ([self.of] if self.of else []))

    @property
    def silences(self) -> bool:
        """A budget of all calls does, once they are spent."""
        return self.of is None
