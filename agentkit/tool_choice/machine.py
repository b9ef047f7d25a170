"""State machines of tools: phases with a policy each, and moves by the results of calls.

    machine(
        start="triage",
        triage=phase(force(classify), {"refund": "refund", "question": "answer"}),
        refund=phase(each(refund_order, "order", over=list_orders), "answer"),
        answer=phase(none),
    )

A machine keeps no state: the phase follows from the calls, so a stored history resumes in its phase. What a policy in a
phase remembers begins with the phase, so a phase that is entered again begins anew: its `sequence` with the first tool,
its `budget` in full. With `scope="conversation"` it remembers what was before the phase, too. Whatever their scope,
`each` and `from_results` find the results there that they take values from.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

from agentkit.core.choice import ToolChoice, Verdict
from agentkit.core.errors import ConfigurationError, PolicyError
from agentkit.core.json import encode, list_of, object_of
from agentkit.core.state import Call, CallRecord, State, changed
from agentkit.tool_choice.arguments import given
from agentkit.tool_choice.choices import as_json
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool
from agentkit.tool_choice.functions import check_functions, check_parameters, read_result, result_of
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, auto, fixed, force, policy_of
from agentkit.tool_choice.remembering import Remembering, Scope
from agentkit.tools.toolbox import Toolbox

Moves: TypeAlias = Mapping[object, str] | str | None
"""Where a phase goes: by the result of a call, always to one phase, or nowhere."""


class _Work:
    """What an `each` has to do, followed call by call."""

    def __init__(self, loop: "each") -> None:
        self.loop = loop
        self.source: CallRecord | None = None  # the call whose result is the list
        self._items: dict[bytes, object] = {}
        self.left: dict[bytes, object] = {}

    def add(self, record: CallRecord) -> None:
        name = record.call.name
        if record.outcome != "ok":
            return
        if name == self.loop.over:
            self.source, self._items = record, {as_json(item): item for item in list_of(read_result(record.result))}
            self.left = dict(self._items)
        elif name == self.loop.tool:
            arguments = object_of(read_result(record.call.arguments))
            self.left.pop(as_json(arguments.get(self.loop.parameter)), None)

    def begin(self) -> None:
        """Begin anew, as a phase does."""
        if self.loop.scope == "turn":
            self.left = dict(self._items)


class each(Remembering):
    """One call for each item of an earlier result: `each(refund, "order", over=list_orders)`.

    The calls are made without asking the model, as `given` makes them. An item counts as done when its call succeeded;
    items that are equal are one. In a phase of a machine, the result may be from before the phase, and the items are
    done anew each time the phase begins, unless `scope="conversation"`.

    Args:
        tool: The tool to call.
        parameter: The parameter that takes the item.
        over: The tool whose last result is the list of items.
        then: The policy once every item is done.
        scope: What is remembered.

    Raises:
        ConfigurationError: If the parameter is empty, or both tools are the same.
    """

    tool: ToolName
    parameter: str
    over: ToolName
    then: Part = Part(auto)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parameter or self.tool == self.over:
            raise ConfigurationError("each(tool, parameter, over=other) needs a parameter and two tools")

    def left(self, state: State) -> list[object]:
        """Return the items whose call has not succeeded yet."""
        work = _Work(self)
        for record in state.sources:
            if record.call.name == self.over:
                work.add(record)
        for record in self.seen(state).calls:
            work.add(record)
        return list(work.left.values())

    def active(self, state: State) -> Policy:
        left = self.left(state)
        if not left:
            return self.then
        return fixed(ToolChoice("tool", self.tool, arguments=encode({self.parameter: left[0]}).decode()))

    def bound(self, toolbox: Toolbox) -> Policy:
        """Return the policy, checked against the parameters of its tool."""
        check_parameters(self, toolbox, self.tool, [self.parameter])
        return super().bound(toolbox)

    def results(self, tool: str) -> frozenset[str]:
        return super().results(tool) | frozenset[str](("[]", '["an item"]') if tool == self.over else ())

    def memory(self, state: State) -> Hashable:
        left = self.left(state)
        return (tuple(map(as_json, left)), self.then.memory(state))

    @cached_property
    def sources(self) -> frozenset[str]:
        """The tool whose result is the list, and those of the policy after the items."""
        return self.then.sources | frozenset[str]({self.over} if self.scope == "turn" else ())


class phase(Policy):
    """A phase of a `machine`: a policy, and where it goes.

    Args:
        policy: What the model may or must do in this phase.
        moves: The next phase by the result of `on`: `{"refund": "refund"}`; or one phase, for any result. Without
            moves, the phase is the last.
        on: The tool whose success moves on; unless given, the tool that the policy forces. Where the policy has an
            `each`, its last item must be done too.
        key: Called with the result, decoded if it is JSON; returns what `moves` is asked for. Unless given, the result.

    Raises:
        ConfigurationError: If there are moves, and the policy does not plainly force one tool; or `key` is no function.
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
        tool = _forced_by(held) if on is None else name_of_tool(on)
        if moves and tool is None:
            raise ConfigurationError(f"phase({held!r}, …) forces no tool in particular; say what moves on: on=tool")
        if key is not None:
            check_functions(self, key)
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
        shown += [f"on={self.on!r}"] if self.moves and self.on != _forced_by(self.policy) else []
        shown += [f"key={getattr(self.key, '__name__', repr(self.key))}"] if self.key is not None else []
        return f"phase({', '.join(shown)})"

    @property
    def targets(self) -> frozenset[str]:
        """The phases that this one can move to."""
        return frozenset([self.moves] if isinstance(self.moves, str) else [target for _, target in self.moves])

    @cached_property
    def loops(self) -> "tuple[each, ...]":
        """Each `each` in the policy."""
        return tuple(self.policy.every(each))

    def after(self, record: CallRecord, work: "list[_Work]") -> str | None:
        """Return the next phase after a call, or `None` to stay."""
        if any(loop.left for loop in work):
            return None
        if isinstance(self.moves, str) and isinstance(self.policy, each) and self.on == self.policy.tool:
            return self.moves if work[0].source else None  # also where the list has no items
        if record.outcome != "ok" or record.call.name != self.on or not self.moves:
            return None
        if isinstance(self.moves, str):
            return self.moves
        result = read_result(record.result)
        moves = {as_json(wanted): target for wanted, target in self.moves}
        if as_json(result) not in moves and self.key is not None:
            result = result_of(self, self.key, result)
        return moves.get(as_json(result))


def _forced_by(policy: Policy) -> str | None:
    """Return the tool that a policy forces in every state, if there is one."""
    if isinstance(policy, force | given | each):
        return policy.tool
    return policy.choice.tool if isinstance(policy, fixed) else None


def _after(name: str, phases: Mapping[str, phase]) -> set[str]:
    """Return the phases that some moves lead to from a phase."""
    reached: set[str] = set()
    while more := {target for near in (name, *reached) for target in phases[near].targets} - reached:
        reached |= more
    return reached


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
        if lost := sorted(held.keys() - {start} - _after(start, held)):
            raise ConfigurationError(f"no move leads to the phase {', '.join(map(repr, lost))}")
        self._set(start=start, phases=tuple(held.items()), scope=scope)
        self.__post_init__()

    def phase(self, state: State) -> str:
        """Return the name of the phase that a state is in."""
        return self._reached(state)[0]

    def _reached(self, state: State) -> tuple[str, int]:
        """Return the phase that a state is in, and how many calls were before it."""
        seen, phases, name, began = self.seen(state), dict(self.phases), self.start, 0
        work = {name: [_Work(loop) for loop in part.loops] for name, part in self.phases}
        every = [loop for loops in work.values() for loop in loops]
        for loop in every:
            for record in seen.earlier if loop.loop.scope == "conversation" else seen.sources:
                if loop.loop.scope == "conversation" or record.call.name == loop.loop.over:
                    loop.add(record)
        for index, record in enumerate(seen.calls, 1):
            for loop in every:
                loop.add(record)
            moves = 0
            while moves < len(phases) and (target := phases[name].after(record, work[name])):
                name, began, moves = target, index, moves + 1
                for loop in work[name]:
                    loop.begin()
                if not isinstance(phases[name].policy, each):  # only a loop over an empty list is left at once
                    break
        return name, began

    def _within(self, name: str, began: int, state: State) -> State:
        """Return a state as the policy of a phase sees it that began after so many calls.

        It begins with the phase, and has the results from before it which the policy takes values from.
        """
        seen = self.seen(state)
        if not began:
            return seen
        before, named = tuple(seen.calls[:began]), dict(self.phases)[name].sources
        sources = [record for record in before if record.outcome == "ok" and record.call.name in named]
        return changed(
            seen,
            calls=tuple(seen.calls[began:]),
            earlier=(*seen.earlier, *before),
            sources=(*seen.sources, *sources),
        )

    def _inside(self, state: State) -> tuple[Policy, State]:
        """Return the policy of the phase that a state is in, and the state as that one sees it."""
        name, began = self._reached(state)
        return dict(self.phases)[name].policy, self._within(name, began, state)

    def __call__(self, state: State) -> ToolChoice:
        policy, inside = self._inside(state)
        return policy(inside)

    def judge(self, call: Call, state: State) -> Verdict:
        policy, inside = self._inside(state)
        return policy.judge(call, inside)

    def remark(self, state: State) -> str | None:
        try:
            policy, inside = self._inside(state)
        except PolicyError:  # the next request raises it; no result is lost for it
            return None
        return policy.remark(inside)

    def memory(self, state: State) -> Hashable:
        name, began = self._reached(state)
        phases, made = dict(self.phases), len(self.seen(state).calls)
        # What a phase will find that begins, or begins again, after this or in another turn.
        later = [phases[other].memory(self._within(other, made, state)) for other in self._recalled[name]]
        return (name, phases[name].memory(self._within(name, began, state)), *later)

    @cached_property
    def _recalled(self) -> dict[str, list[str]]:
        """For each phase, those to come that read what was before them."""
        phases = dict(self.phases)
        turns = {name for name, part in self.phases if part.remembers_turns}
        takers = {name for name, part in self.phases if part.sources}
        return {name: sorted(turns | (takers & _after(name, phases))) for name in phases}

    @cached_property
    def _code(self) -> str:
        scope = f", scope={self.scope!r}" if self.scope != "turn" else ""
        phases = "".join([f", {name}={part!r}" for name, part in self.phases])
        return f"machine({self.start!r}{scope}{phases})"
