"""Policies that change in the course of a run."""

from collections.abc import Callable, Hashable, Iterable
from functools import cached_property

from agentkit.core.choice import Verdict, allow, deny
from agentkit.core.errors import ConfigurationError
from agentkit.core.growing import folded
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.arguments import given
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool
from agentkit.tool_choice.functions import check_functions, result_of
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, auto, force, policy_of
from agentkit.tool_choice.remembering import Remembering, Scope


class first(Policy):
    """One policy for the first step, another after it: `first(force(search), then=auto)`.

    A step counts when a call of it was not refused.

    Args:
        policy: For the first step.
        then: For the steps after it.
    """

    policy: Part
    then: Part = Part(auto)

    def active(self, state: State) -> Policy:
        return self.then if self._begun(state) else self.policy

    def _begun(self, state: State) -> bool:
        return any(record.outcome != "refused" for record in state.calls)

    def memory(self, state: State) -> Hashable:
        begun = self._begun(state)
        # In the next turn the first policy holds again, and may remember this one.
        first = () if begun and not self.policy.remembers_turns else self.policy.memory(state)
        return (begun, first, self.then.memory(state))


class sequence(Remembering):
    """These tools, in this order, then another policy: `sequence(fetch, compute, send)`.

    A step counts when its call has succeeded, so a failed one is asked for again. In one reply only the tool whose turn
    it is runs, as often as it is called; a call of the next tool is denied until the one before it has succeeded.

    Args:
        steps: The tools, or `given(tool, …)` where the arguments are known.
        then: For the steps after the last has succeeded.
        scope: What is remembered.

    Raises:
        ConfigurationError: If there are no steps.
    """

    steps: tuple[str | given, ...]
    then: Part = Part(auto)

    def __init__(self, *steps: ToolLike | given, then: PolicyLike = auto, scope: Scope = "turn") -> None:
        if not steps:
            raise ConfigurationError("sequence() needs at least one tool")
        named = tuple([step if isinstance(step, given) else name_of_tool(step) for step in steps])
        self._set(steps=named, then=policy_of(then), scope=scope)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The tools of the steps."""
        return tuple([step if isinstance(step, str) else step.tool for step in self.steps])

    @property
    def tools(self) -> frozenset[str]:
        """The tools of the steps, and those of the policy after them."""
        return self.then.tools.union(self.names)

    def _done(self, state: State) -> int:
        return folded(self.seen(state).calls, self, 0, self._with_calls)

    def _with_calls(self, done: int, new: Iterable[CallRecord]) -> int:
        for record in new:
            if done < len(self.names) and record.outcome == "ok" and record.call.name == self.names[done]:
                done += 1
        return done

    def active(self, state: State) -> Policy:
        done = self._done(state)
        if done == len(self.steps):
            return self.then
        step = self.steps[done]
        return force(step) if isinstance(step, str) else step

    def judge(self, call: Call, state: State) -> Verdict:
        done = self._done(state)
        if done == len(self.names):
            return self.then.judge(call, state)
        return allow if call.name == self.names[done] else deny(f"{self.names[done]} must succeed before {call.name}")

    def memory(self, state: State) -> Hashable:
        return (self._done(state), self.then.memory(state))


class until_called(Remembering):
    """One policy until a tool has succeeded, then `auto`: `until_called(submit, required)`.

    Args:
        tool: The tool.
        policy: Until then.
        scope: What is remembered.
    """

    tool: ToolName
    policy: Part

    def active(self, state: State) -> Policy:
        return auto if self.seen(state).succeeded(self.tool) else self.policy

    def memory(self, state: State) -> Hashable:
        done = self.seen(state).succeeded(self.tool)
        return (done, () if done and not self.policy.remembers_turns else self.policy.memory(state))

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

    def __post_init__(self) -> None:
        check_functions(self, self.predicate)

    def active(self, state: State) -> Policy:
        return self.policy if result_of(self, self.predicate, state) else self.otherwise
