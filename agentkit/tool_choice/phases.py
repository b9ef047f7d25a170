"""Policies that change in the course of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy, PolicyLike, ToolLike, auto, force, name_of_tool, policy_of


@dataclass(frozen=True, repr=False, init=False)
class first(Policy):
    """One policy for the first step, another after it: `first(force(search), then=auto)`.

    Args:
        policy: For the first step.
        then: For the steps after it.
    """

    policy: Policy
    then: Policy

    def __init__(self, policy: PolicyLike, then: PolicyLike = auto) -> None:
        self._set(policy=policy_of(policy), then=policy_of(then))

    def __call__(self, state: State) -> ToolChoice:
        """Choose by the number of the step."""
        return (self.policy if state.step == 0 else self.then)(state)

    def __repr__(self) -> str:
        return f"first({self.policy!r}, then={self.then!r})"


@dataclass(frozen=True, repr=False, init=False)
class sequence(Policy):
    """These tools, in this order, then another policy: `sequence(fetch, compute, send)`.

    A step counts when its call has succeeded, so one that failed is asked for again.

    Args:
        tools: The tools.
        then: For the steps after the last has succeeded.
    """

    names: tuple[str, ...]
    then: Policy

    def __init__(self, *tools: ToolLike, then: PolicyLike = auto) -> None:
        if not tools:
            raise ConfigurationError("sequence() needs at least one tool")
        self._set(names=tuple([name_of_tool(each) for each in tools]), then=policy_of(then))

    def __call__(self, state: State) -> ToolChoice:
        """Force the first tool that has not had its turn."""
        done = 0
        for record in state.calls:
            if done < len(self.names) and record.outcome == "ok" and record.call.name == self.names[done]:
                done += 1
        return ToolChoice("tool", self.names[done]) if done < len(self.names) else self.then(state)

    def __repr__(self) -> str:
        return f"sequence({', '.join(map(repr, self.names))}, then={self.then!r})"

    @property
    def tools(self) -> frozenset[str]:
        """Those of the sequence, and those that `then` speaks of."""
        return self.then.tools.union(self.names)


@dataclass(frozen=True, repr=False, init=False)
class until_called(Policy):
    """Hold a policy until a tool has succeeded: `until_called(submit, required)`.

    Args:
        tool: The tool.
        policy: Until then; afterwards the model decides.
    """

    tool: str
    policy: Policy

    def __init__(self, tool: ToolLike, policy: PolicyLike) -> None:
        self._set(tool=name_of_tool(tool), policy=policy_of(policy))

    def __call__(self, state: State) -> ToolChoice:
        """Choose by whether the tool has succeeded."""
        return (auto if state.succeeded(self.tool) else self.policy)(state)

    def __repr__(self) -> str:
        return f"until_called({self.tool!r}, {self.policy!r})"

    @property
    def tools(self) -> frozenset[str]:
        """The tool, and those that the policy speaks of."""
        return self.policy.tools | {self.tool}

    @property
    def can_answer(self) -> bool:
        """Unless it is held by forcing another tool for ever."""
        return not isinstance(self.policy, force) or self.policy.tool == self.tool


@dataclass(frozen=True, repr=False, init=False)
class when(Policy):
    """One policy or another, by a predicate on the state: `when(lambda state: state.step > 4, none, auto)`.

    Args:
        predicate: Told the state. It must be pure.
        policy: Where it holds.
        otherwise: Where it does not.
    """

    predicate: Callable[[State], bool]
    policy: Policy
    otherwise: Policy

    def __init__(self, predicate: Callable[[State], bool], policy: PolicyLike, otherwise: PolicyLike = auto) -> None:
        self._set(predicate=predicate, policy=policy_of(policy), otherwise=policy_of(otherwise))

    def __call__(self, state: State) -> ToolChoice:
        """Choose by the predicate."""
        return (self.policy if self.predicate(state) else self.otherwise)(state)

    def __repr__(self) -> str:
        name = getattr(self.predicate, "__name__", repr(self.predicate))
        return f"when({name}, {self.policy!r}, {self.otherwise!r})"
