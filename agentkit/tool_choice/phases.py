"""Policies that change in the course of a run."""

from collections.abc import Callable, Hashable

from agentkit.core.choice import ToolChoice, Verdict, allow, deny
from agentkit.core.state import Call, State
from agentkit.tool_choice.fields import ToolLike, ToolName, names_of
from agentkit.tool_choice.functions import check_functions, result_of
from agentkit.tool_choice.policy import (
    Part,
    Policy,
    PolicyLike,
    Remembering,
    Scope,
    auto,
    force,
    policy_of,
)


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
        return (self._begun(state), self.active(state).memory(state))


class sequence(Remembering):
    """These tools, in this order, then another policy: `sequence(fetch, compute, send)`.

    A step counts when its call has succeeded, so a failed one is asked for again. In one reply only the tool whose turn
    it is runs, as often as it is called; a call of the next tool is denied until the one before it has succeeded.

    Args:
        tools: The tools.
        then: For the steps after the last has succeeded.
        scope: What is remembered.
    """

    names: tuple[str, ...]
    then: Part = Part(auto)

    def __init__(self, *tools: ToolLike, then: PolicyLike = auto, scope: Scope = "turn") -> None:
        self._set(names=names_of(tools, 1, "sequence", again=True), then=policy_of(then), scope=scope)

    def _done(self, state: State) -> int:
        done = 0
        for record in self.seen(state).calls:
            if done < len(self.names) and record.outcome == "ok" and record.call.name == self.names[done]:
                done += 1
        return done

    def __call__(self, state: State) -> ToolChoice:
        done = self._done(state)
        return ToolChoice("tool", self.names[done]) if done < len(self.names) else self.then(state)

    def judge(self, call: Call, state: State) -> Verdict:
        done = self._done(state)
        if done == len(self.names):
            return self.then.judge(call, state)
        return allow if call.name == self.names[done] else deny(f"{self.names[done]} must succeed before {call.name}")

    def memory(self, state: State) -> Hashable:
        done = self._done(state)
        return (done, self.then.memory(state) if done == len(self.names) else ())


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
        active = self.active(state)
        return (active is auto, active.memory(state))

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
