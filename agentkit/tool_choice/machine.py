"""State machines of tools: phases with a policy each, and moves by the results of calls.

    machine(
        start="triage",
        triage=phase(force(classify), {"refund": "refund", "question": "answer"}),
        refund=phase(each(refund_order, "order", over=list_orders), "answer"),
        answer=phase(none),
    )

A machine keeps no state: the phase follows from the calls, so a stored history resumes in its phase.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

from agentkit.core.choice import ToolChoice, Verdict
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import decode, encode, list_of, object_of
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, Remembering, Scope, auto, policy_of

Moves: TypeAlias = Mapping[object, str] | str | None
"""Where a phase goes: by the result of a call, always to one phase, or nowhere."""


class each(Remembering):
    """One call for each item of an earlier result: `each(refund, "order", over=list_orders)`.

    The calls are made without asking the model, as `given` makes them. An item counts as done when its call succeeded.

    Args:
        tool: The tool to call.
        parameter: The parameter that takes the item.
        over: The tool whose last result is the list of items.
        then: The policy once every item is done.
        scope: What is remembered.
    """

    tool: ToolName
    parameter: str
    over: ToolName
    then: Part = Part(auto)

    def left(self, state: State) -> list[object]:
        """Return the items whose call has not succeeded yet."""
        items: list[object] = []
        done: list[object] = []
        for record in self.seen(state).calls:
            if record.outcome == "ok" and record.call.name == self.over:
                items, done = _items(record.result), []
            elif record.outcome == "ok" and record.call.name == self.tool:
                done.append(_argument(record, self.parameter))
        return [item for item in items if item not in done]

    def __call__(self, state: State) -> ToolChoice:
        left = self.left(state)
        if not left:
            return self.then(state)
        return ToolChoice("tool", self.tool, arguments=encode({self.parameter: left[0]}).decode())

    def judge(self, call: Call, state: State) -> Verdict:
        return (auto if self.left(state) else self.then).judge(call, state)

    def results(self, tool: str) -> frozenset[str]:
        return super().results(tool) | frozenset[str](("[]", '["an item"]') if tool == self.over else ())

    def memory(self, state: State) -> Hashable:
        left = self.left(state)
        return (repr(left), () if left else self.then.memory(state))


def _items(result: str) -> list[object]:
    try:
        return list_of(decode(result))
    except ValueError:
        return []


def _argument(record: CallRecord, parameter: str) -> object:
    try:
        return object_of(decode(record.call.arguments)).get(parameter)
    except ValueError:
        return None


class phase(Policy):
    """A phase of a `machine`: a policy, and where it goes.

    Args:
        policy: What the model may or must do in this phase.
        moves: The next phase by the result of `on`: `{"refund": "refund"}`; or one phase, for any result. Without
            moves, the phase is the last.
        on: The tool whose success moves on; unless given, the tool that the policy forces.
        key: Called with the result, decoded if it is JSON; returns what `moves` is asked for. Unless given, the result.
    """

    policy: Part
    moves: tuple[tuple[object, str], ...] | str
    on: str | None
    key: Callable[[Any], object] | None = None

    def __init__(
        self,
        policy: PolicyLike,
        moves: Moves = None,
        *,
        on: ToolLike | None = None,
        key: Callable[[Any], object] | None = None,
    ) -> None:
        held = policy_of(policy)
        tool = getattr(held, "tool", None) if on is None else name_of_tool(on)
        if moves and tool is None:
            raise ConfigurationError(f"phase({held!r}, …) moves after no tool in particular; say which: on=tool")
        fixed_moves = moves if isinstance(moves, str) else tuple((moves or {}).items())
        self._set(policy=held, moves=fixed_moves, on=tool, key=key)

    def active(self, state: State) -> Policy:  # noqa: ARG002 (whatever the state)
        return self.policy

    def memory(self, state: State) -> Hashable:
        return self.policy.memory(state)

    def results(self, tool: str) -> frozenset[str]:
        values = [value for value, _ in self.moves] if isinstance(self.moves, tuple) and tool == self.on else []
        return super().results(tool) | {value if isinstance(value, str) else encode(value).decode() for value in values}

    @cached_property
    def _code(self) -> str:
        moves = repr(self.moves if isinstance(self.moves, str) else dict(self.moves))
        shown = [repr(self.policy), *([moves] if self.moves else [])]
        shown += [f"on={self.on!r}"] if self.moves and self.on != getattr(self.policy, "tool", None) else []
        shown += [f"key={getattr(self.key, '__name__', repr(self.key))}"] if self.key is not None else []
        return f"phase({', '.join(shown)})"

    @property
    def targets(self) -> frozenset[str]:
        """The phases that this one can move to."""
        return frozenset([self.moves] if isinstance(self.moves, str) else [target for _, target in self.moves])

    def after(self, record: CallRecord, calls: tuple[CallRecord, ...]) -> str | None:
        """Return the next phase after a call, or `None` to stay.

        Args:
            record: The call.
            calls: All calls up to and with it.
        """
        if record.outcome != "ok" or record.call.name != self.on or not self.moves:
            return None
        if isinstance(self.policy, each) and self.policy.left(State((), calls=calls)):
            return None
        if isinstance(self.moves, str):
            return self.moves
        try:
            result: object = decode(record.result)
        except ValueError:
            result = record.result
        moves = list(self.moves)
        if self.key is not None and not any(value == result for value, _ in moves):
            result = self.key(result)
        return next((target for value, target in moves if value == result), None)


class machine(Remembering):
    """Phases with a policy each, and moves between them by the results of calls; see the module for an example.

    Args:
        start: The first phase.
        scope: What is remembered.
        phases: The phases by name. A policy without moves stands for a last phase.

    Raises:
        ConfigurationError: If a phase that is named is missing, or one can never be reached.
    """

    start: str
    phases: tuple[tuple[str, phase], ...]

    def __init__(self, start: str, *, scope: Scope = "turn", **phases: PolicyLike) -> None:
        held = {name: policy if isinstance(policy, phase) else phase(policy) for name, policy in phases.items()}
        named = {start}.union(*[part.targets for part in held.values()])
        if missing := sorted(named - held.keys()):
            raise ConfigurationError(f"the machine has no phase {', '.join(map(repr, missing))}; it has {sorted(held)}")
        reached = {start}
        while more := {target for name in reached for target in held[name].targets} - reached:
            reached |= more
        if lost := sorted(held.keys() - reached):
            raise ConfigurationError(f"no move leads to the phase {', '.join(map(repr, lost))}")
        self._set(start=start, phases=tuple(held.items()), scope=scope)
        self.__post_init__()

    def phase(self, state: State) -> str:
        """Return the name of the phase that a state is in."""
        name, calls, phases = self.start, self.seen(state).calls, dict(self.phases)
        for index, record in enumerate(calls, 1):
            name = phases[name].after(record, calls[:index]) or name
        return name

    def active(self, state: State) -> Policy:
        return dict(self.phases)[self.phase(state)].policy

    def memory(self, state: State) -> Hashable:
        return (self.phase(state), self.active(state).memory(state))

    @cached_property
    def parts(self) -> tuple[Policy, ...]:
        """The phases."""
        return tuple([part for _, part in self.phases])

    @cached_property
    def _code(self) -> str:
        scope = f", scope={self.scope!r}" if self.scope != "turn" else ""
        phases = "".join([f", {name}={part!r}" for name, part in self.phases])
        return f"machine({self.start!r}{scope}{phases})"
