"""Policies that change in the course of a run."""

from collections.abc import Callable

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import State
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, auto, force, policy_of


class first(Policy):
    """One policy for the first step, another after it: `first(force(search), then=auto)`.

    Args:
        policy: For the first step.
        then: For the steps after it.
    """

    policy: Part
    then: Part = Part(auto)

    def __call__(self, state: State) -> ToolChoice:
        return (self.policy if state.step == 0 else self.then)(state)


class sequence(Policy):
    """These tools, in this order, then another policy: `sequence(fetch, compute, send)`.

    A step counts when its call has succeeded, so a failed one is asked for again.

    Args:
        tools: The tools.
        then: For the steps after the last has succeeded.
    """

    names: tuple[str, ...]
    then: Part = Part(auto)

    def __init__(self, *tools: ToolLike, then: PolicyLike = auto) -> None:
        if not tools:
            raise ConfigurationError("sequence() needs at least one tool")
        self._set(names=tuple([name_of_tool(tool) for tool in tools]), then=policy_of(then))

    def __call__(self, state: State) -> ToolChoice:
        done = 0
        for record in state.calls:
            if done < len(self.names) and record.outcome == "ok" and record.call.name == self.names[done]:
                done += 1
        return ToolChoice("tool", self.names[done]) if done < len(self.names) else self.then(state)


class until_called(Policy):
    """One policy until a tool has succeeded, then `auto`: `until_called(submit, required)`.

    Args:
        tool: The tool.
        policy: Until then.
    """

    tool: ToolName
    policy: Part

    def __call__(self, state: State) -> ToolChoice:
        return (auto if state.succeeded(self.tool) else self.policy)(state)

    @property
    def can_answer(self) -> bool:
        """Unless it forces another tool for ever."""
        return not isinstance(self.policy, force) or self.policy.tool == self.tool


class when(Policy):
    """One policy or another, by a predicate on the state: `when(lambda state: state.step > 4, none)`.

    Args:
        predicate: Called with the state. It must be pure.
        policy: Where it is true.
        otherwise: Where it is false.
    """

    predicate: Callable[[State], bool]
    policy: Part
    otherwise: Part = Part(auto)

    def __call__(self, state: State) -> ToolChoice:
        return (self.policy if self.predicate(state) else self.otherwise)(state)
