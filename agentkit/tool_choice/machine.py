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

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias, cast

from agentkit.core.choice import ToolChoice, Verdict
from agentkit.core.errors import ConfigurationError, PolicyError
from agentkit.core.growing import GrowingTuple, folded, grown
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
        self.left: OrderedDict[bytes, object] = OrderedDict()  # the first of a `dict` is far behind those that are gone

    def add(self, *records: CallRecord) -> None:
        for record in records:
            if record.outcome != "ok":
                continue
            if record.call.name == self.loop.over:
                self.source, self._items = record, {as_json(item): item for item in list_of(read_result(record.result))}
                self.left = OrderedDict(self._items)
            elif record.call.name == self.loop.tool:
                arguments = object_of(read_result(record.call.arguments))
                self.left.pop(as_json(arguments.get(self.loop.parameter)), None)

    def begin(self) -> None:
        """Begin anew, as a phase does."""
        if self.loop.scope == "turn":
            self.left = OrderedDict(self._items)


class each(Remembering):
    """One call per item of an earlier result: `each(refund, "order", over=list_orders)`.

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
        return list(self._work(state).left.values())

    def _work(self, state: State) -> _Work:
        def with_calls(work: _Work | None, new: Iterable[CallRecord]) -> _Work:
            if work is None:
                work = _Work(self)
                work.add(*[record for record in state.sources if record.call.name == self.over])
            work.add(*new)
            return work

        return cast("_Work", folded(self.seen(state).calls, self, None, with_calls))

    def active(self, state: State) -> Policy:
        left = self._work(state).left
        if not left:
            return self.then
        item = next(iter(left.values()))
        return fixed(ToolChoice("tool", self.tool, arguments=encode({self.parameter: item}).decode()))

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
        if isinstance(self.moves, str) and isinstance(self.policy, each) and self.on == self.policy.tool:
            done = work[0].source and not any(loop.left for loop in work)  # also where the list has no items
            return self.moves if done else None
        if record.outcome != "ok" or record.call.name != self.on or any(loop.left for loop in work):
            return None
        if isinstance(self.moves, str):
            return self.moves or None
        result = read_result(record.result) if self.moves else None
        if (target := self._targets.get(as_json(result))) is None and self.moves and self.key is not None:
            target = self._targets.get(as_json(result_of(self, self.key, result)))
        return target

    @cached_property
    def _targets(self) -> dict[bytes, str]:
        """The next phases by the JSON of a result."""
        return {as_json(wanted): target for wanted, target in self.moves} if isinstance(self.moves, tuple) else {}


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


_Phases: TypeAlias = dict[str, phase]


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
        return self._course(state).name

    def _course(self, state: State) -> "_Course":
        seen = self.seen(state)

        def with_calls(course: "_Course | None", new: Iterable[CallRecord]) -> _Course:
            course = _Course(self, seen) if course is None else course
            for record in new:
                course.add(record)
            return course

        return cast("_Course", folded(seen.calls, self, None, with_calls))

    def _inside(self, state: State) -> tuple[Policy, State]:
        """Return the policy of the phase that a state is in, and the state as that one sees it."""
        course = self._course(state)
        return self.named[course.name].policy, course.within(self.seen(state))

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
        course, seen = self._course(state), self.seen(state)
        # What a phase will find that begins, or begins again, after this or in another turn.
        later = [self.named[other].memory(course.anew(other, seen)) for other in self._recalled[course.name]]
        return (course.name, self.named[course.name].memory(course.within(seen)), *later)

    @cached_property
    def named(self) -> "_Phases":
        """The phases by name."""
        return dict(self.phases)

    @cached_property
    def _recalled(self) -> dict[str, list[str]]:
        """By phase: those to come that read what was before them."""
        phases = self.named
        turns = {name for name, part in self.phases if part.remembers_turns}
        takers = {name for name, part in self.phases if part.sources}
        return {name: sorted(turns | (takers & _after(name, phases))) for name in phases}

    @cached_property
    def _code(self) -> str:
        scope = f", scope={self.scope!r}" if self.scope != "turn" else ""
        phases = "".join([f", {name}={part!r}" for name, part in self.phases])
        return f"machine({self.start!r}{scope}{phases})"


class _Course:
    """Where a machine has come to, followed call by call: its phase, and the calls in that phase and before it."""

    def __init__(self, whole: machine, seen: State) -> None:
        self.name = whole.start
        self._whole, self._began = whole, False
        self._work = {name: [_Work(loop) for loop in part.loops] for name, part in whole.phases}
        self._every = [work for works in self._work.values() for work in works]
        for work in self._every:
            if work.loop.scope == "conversation":
                work.add(*seen.earlier)
            else:
                work.add(*[record for record in seen.sources if record.call.name == work.loop.over])
        self._before: Sequence[CallRecord] = seen.earlier
        self._calls: Sequence[CallRecord] = GrowingTuple()
        self._new: list[CallRecord] = []  # those that are not in `_calls` yet
        self._given: Sequence[CallRecord] = seen.sources
        self._taken: dict[str, list[CallRecord]] = {name: [] for name in whole.sources}
        self._sources = self._given

    def add(self, record: CallRecord) -> None:
        for work in self._every:
            work.add(record)
        self._new.append(record)
        if record.outcome == "ok" and record.call.name in self._taken:
            self._taken[record.call.name].append(record)
        moves, phases = 0, self._whole.named
        while moves < len(phases) and (target := phases[self.name].after(record, self._work[self.name])):
            self.name, moves = target, moves + 1
            for work in self._work[target]:
                work.begin()
            if not isinstance(phases[target].policy, each):  # only a loop over an empty list is left at once
                break
        if moves:
            self._before, self._began = grown(self._before, (*self._calls, *self._new)), True
            self._calls, self._new, self._sources = GrowingTuple(), [], self._sources_of(self.name)

    def within(self, seen: State) -> State:
        """Return a state as the policy of the phase sees it.

        It begins with the phase, and has the results from before it which the policy takes values from.
        """
        if not self._began:
            return seen
        if self._new:
            self._calls, self._new = grown(self._calls, self._new), []
        return changed(seen, calls=self._calls, earlier=self._before, sources=self._sources)

    def anew(self, name: str, seen: State) -> State:
        """Return a state as the policy of a phase would see it that begins now."""
        before = (*self._before, *self._calls, *self._new)
        return changed(seen, calls=(), earlier=before, sources=self._sources_of(name))

    def _sources_of(self, name: str) -> Sequence[CallRecord]:
        taken = [record for tool in sorted(self._whole.named[name].sources) for record in self._taken[tool]]
        return GrowingTuple([*self._given, *taken])
