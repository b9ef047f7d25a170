"""What a policy is, what stands for one, and how several hold at once.

A policy is a class whose fields are its arguments:

    class until(Policy):
        tool: ToolName  # takes the tool, its function or its name; holds the name
        policy: Part    # takes whatever stands for a policy; holds the policy

        def active(self, state: State) -> Policy:
            return auto if state.succeeded(self.tool) else self.policy

`Value` derives the constructor, equality and the `repr` from the fields, and `Policy` the tools that it names and the
policies that it is made of. A policy whose constructor takes `*tools` writes `__init__` itself and sets its fields with
`_set`.

A policy answers two questions, both purely. Before a request, `policy(state)`: what may the model do? For each call of
the reply, `policy.judge(call, state)`: may it run? A policy that chooses among others answers both by `active(state)`.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields
from functools import cached_property
from inspect import Parameter, iscoroutinefunction, signature
from typing import Self, TypeAlias, TypeVar, Union, cast, get_args

from agentkit.core.choice import AUTO, Mode, ToolChoice, Verdict, allow, deny
from agentkit.core.errors import AgentkitError, ConfigurationError
from agentkit.core.state import Call, State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.fields import Converted, ToolLike, ToolName, Value
from agentkit.tool_choice.functions import result_of
from agentkit.tools.tool import AnyFunction, Tool, tool_name
from agentkit.tools.toolbox import Toolbox

PolicyLike: TypeAlias = Union[str, ToolChoice, Tool, "Policy", AnyFunction, Mapping[str, object]]
"""What is accepted wherever a policy is: `"auto"`, `"none"`, `"required"`, a tool or its name, a policy, a choice, a
function from the state to any of these, or `{"type": "function", "function": {"name": "search"}}`."""

PolicyT = TypeVar("PolicyT", bound="Policy")

_MODES = frozenset(get_args(Mode))

ANY_RESULT = "<any result>"
"""What analysis takes for a result whose content is not known."""


class Part(Converted[PolicyLike, "Policy"]):
    """The type of a policy's field that takes whatever stands for a policy, and holds the policy."""

    def convert(self, value: PolicyLike) -> "Policy":
        return policy_of(value)


class Policy(Value):
    """The base of all policies: a frozen value that is asked what the model may do, and which calls may run.

    A policy MUST be pure: no clock, no randomness, no memory of its own. The same state always gives the same choice.
    A subclass needs only its fields and `__call__`, `judge` or `active`.
    """

    def active(self, state: State) -> "Policy":  # noqa: ARG002 (a policy that is not made of others is always itself)
        """Return the policy that holds in this state; a policy that chooses among others overrides this."""
        return self

    def __call__(self, state: State) -> ToolChoice:
        """Return what the next request lets the model do; `auto` unless a policy says more."""
        active = self.active(state)
        return AUTO if active is self else active(state)

    def judge(self, call: Call, state: State) -> Verdict:
        """Return whether a call of the reply may run; allow it unless a policy says otherwise.

        Args:
            call: The call, with its validated arguments.
            state: The state in which the model made the call; `state.pending` has the calls before it in the same
                reply that may run.
        """
        active = self.active(state)
        return allow if active is self else active.judge(call, state)

    def memory(self, state: State) -> Hashable:
        """Return all that the policy reads from the state, so that analysis can merge states that are equal to it.

        A policy that does not say so is taken to remember every call.
        """
        calls = state.conversation.calls
        return tuple([(record.call.name, record.outcome, record.step, record.result) for record in calls])

    def results(self, tool: str) -> frozenset[str]:
        """Return the results of a tool that make a difference to the policy, for analysis."""
        return frozenset[str]().union(*[part.results(tool) for part in self.parts])

    def __and__(self, other: PolicyLike) -> "Policy":
        """Hold both: the more restrictive choice wins, and a contradiction is an error that names both."""
        return both(self, other)

    def __rand__(self, other: PolicyLike) -> "Policy":
        return both(other, self)

    @cached_property
    def parts(self) -> "tuple[Policy, ...]":
        """The policies that this one is made of."""
        return tuple([part for value in self._values for part in _policies_in(value)])

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools that this policy and its parts speak of; an agent must have them all."""
        own: list[str] = []
        for argument, value in self._given:
            if argument.type is ToolName:
                own.append(cast("str", value))
            elif argument.type == tuple[str, ...]:
                own += cast("tuple[str, ...]", value)
        return frozenset(own).union(*[part.tools for part in self.parts])

    @property
    def can_answer(self) -> bool:
        """Whether the policy, or any of its parts, can ever let the model answer; else a run would never end."""
        return not self.parts or any(part.can_answer for part in self.parts)

    @property
    def remembers_turns(self) -> bool:
        """Whether the policy, or any of its parts, remembers what was before the user last spoke."""
        return any(part.remembers_turns for part in self.parts)

    @cached_property
    def sources(self) -> frozenset[str]:
        """The tools whose results the policy takes values from; a phase of a machine has those from before it, too."""
        return frozenset[str]().union(*[part.sources for part in self.parts])

    @property
    def silences(self) -> bool:
        """Whether the policy can ever choose `none`, where the model must answer whatever else holds.

        A policy that is made of others can if any of them can; any other that can overrides this.
        """
        return any(part.silences for part in self.parts)

    def every(self, kind: type[PolicyT]) -> list[PolicyT]:
        """Return this policy and its parts, as far as they are of this kind."""
        own = [self] if isinstance(self, kind) else []
        return own + [found for part in self.parts for found in part.every(kind)]

    def bound(self, toolbox: Toolbox) -> "Policy":
        """Return the same policy with what it must know of the agent's tools."""
        return self._with(lambda part: part.bound(toolbox))

    def provided(self, toolbox: Toolbox) -> tuple[Tool, ...]:
        """Return the tools that an agent gets with this policy, besides its own."""
        return tuple([tool for part in self.parts for tool in part.provided(toolbox)]) if self.parts else ()

    def knowing(self, named: frozenset[str]) -> "Policy":
        """Return the same policy with the names of all tools that the whole policy speaks of."""
        return self._with(lambda part: part.knowing(named))

    def remark(self, state: State) -> str | None:
        """Return what to tell the model along with the result of the last call of a state, or `None`."""
        try:
            active = self.active(state)
        except AgentkitError:  # the next request raises it; no result is lost for it
            return None
        if active is not self:
            return active.remark(state)
        remarks = [remark for part in self.parts if (remark := part.remark(state))]
        return " ".join(remarks) or None

    def _with(self, change: "Callable[[Policy], Policy]") -> Self:
        """Return a copy with each part changed; itself if no part was."""
        if not self.parts or all(change(part) is part for part in self.parts):
            return self
        copy = object.__new__(type(self))
        for argument in self._arguments:
            object.__setattr__(copy, argument.name, _changed(getattr(self, argument.name), change))
        return copy


def _policies_in(value: object) -> list[Policy]:
    """Return the policies in the value of a field, also in tuples of tuples: the phases of a machine have names."""
    if isinstance(value, tuple):
        return [part for item in cast("tuple[object, ...]", value) for part in _policies_in(item)]
    return [value] if isinstance(value, Policy) else []


def _changed(value: object, change: Callable[[Policy], Policy]) -> object:
    if isinstance(value, tuple):
        return tuple([_changed(item, change) for item in cast("tuple[object, ...]", value)])
    return change(value) if isinstance(value, Policy) else value


def policy_of(value: PolicyLike) -> Policy:
    """Return the policy that a value stands for.

    Args:
        value: `"auto"`, `"none"`, `"required"`, a tool (its function, or its name), a choice, a policy, a function
            from the state to any of these, or OpenAI's object `{"type": "function", "function": {"name": …}}`.

    Raises:
        ConfigurationError: If it is none of these.
    """
    match value:
        case Policy():
            return value
        case ToolChoice():
            return fixed(value)
        case "auto" | "none" | "required":
            return _MODE_POLICIES[value]
        case {"type": "function", "function": {"name": str(name)}}:
            return force(name)
        case _ if isinstance(value, str | Tool) or tool_name(value) is not None:
            return force(cast("ToolLike", value))
        case _ if not (isinstance(value, type) or iscoroutinefunction(value)) and callable(value):
            return rule(cast("Callable[[State], PolicyLike]", value))
        case _:  # pyright: ignore[reportUnnecessaryComparison] (not every caller is checked)
            raise ConfigurationError(
                "a policy is auto, none, required, a tool or its name, a policy, or a function (not async) of the "
                f"state, not {value!r}"
            )


class fixed(Policy):
    """The same choice for every request.

    Raises:
        ConfigurationError: If it is no choice, contradicts itself, or is called without a state, as in `auto()`.
    """

    choice: ToolChoice

    def __post_init__(self) -> None:
        choice = self.choice
        if str(choice.mode) not in _MODES or (choice.mode == "tool") == (choice.tool is None):
            raise ConfigurationError(f"mode is auto, required, none, or tool with the tool's name; not {choice!r}")
        if (choice.tool and not choice.offers(choice.tool)) or (choice.firm and choice.mode in ("auto", "none")):
            raise ConfigurationError(f"{choice!r} contradicts itself")

    def __call__(self, state: State | None = None) -> ToolChoice:
        if not isinstance(state, State):
            raise ConfigurationError(f"{self!r} is a policy already; leave out the parentheses after it")
        return self.choice

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (whatever the state)
        return ()

    def __repr__(self) -> str:
        choice = self.choice
        if choice == ToolChoice(choice.mode):
            return choice.mode
        given = [(argument.name, getattr(choice, argument.name)) for argument in fields(choice) if argument.compare]
        other = [f"{name}={_sorted(value)}" for name, value in given if value != getattr(AUTO, name)]
        return f"fixed(ToolChoice({', '.join(other)}))"

    @property
    def tools(self) -> frozenset[str]:
        """The tools that the choice names."""
        one = frozenset({self.choice.tool}) if self.choice.tool else frozenset[str]()
        return one.union(self.choice.tools or (), self.choice.withheld)

    @property
    def can_answer(self) -> bool:
        """Only `auto` and `none` let the model answer."""
        return self.choice.mode in ("auto", "none")

    @property
    def silences(self) -> bool:
        """Only `none` does."""
        return self.choice.mode == "none"


def _sorted(value: object) -> str:
    """Return a value as code that is the same in every process, whatever the order of a set."""
    if isinstance(value, frozenset):
        return f"frozenset({sorted(cast('frozenset[str]', value))!r})"
    return repr(value)


auto = fixed(AUTO)
none = fixed(ToolChoice("none"))
required = fixed(ToolChoice("required"))
_MODE_POLICIES = {"auto": auto, "none": none, "required": required}


class force(Policy):
    """The model must call this tool, in every step: `force(search)`. Several calls of it in one reply all run.

    Args:
        tool: The tool.
        once: Whether only the first of several calls in one reply runs.
    """

    tool: ToolName
    once: bool = False

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return ToolChoice("tool", self.tool, once=self.once)

    def judge(self, call: Call, state: State) -> Verdict:
        again = self.once and any(pending.name == call.name for pending in state.pending)
        return deny(f"only the first call of {self.tool} in a reply runs") if again else allow

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (whatever the state)
        return ()

    @property
    def can_answer(self) -> bool:
        """Never."""
        return False


class rule(Policy):
    """A function of your own as a policy: from the state to anything that stands for a policy."""

    function: Callable[[State], PolicyLike]

    def active(self, state: State) -> Policy:
        return policy_of(result_of(self, self.function, state))

    def __repr__(self) -> str:
        return f"rule({getattr(self.function, '__name__', type(self.function).__name__)})"

    @property
    def silences(self) -> bool:
        """It may: what a function chooses is not known before it is called."""
        return True

    def bound(self, toolbox: Toolbox) -> Policy:
        """Return `force` for a function that is one of the agent's tools."""
        tools = [tool for tool in toolbox if tool.function == self.function]
        if not tools and not takes_state(self.function):
            raise ConfigurationError(
                f"{self!r} is neither a tool of the agent nor a function of the state; add the function to the agent's "
                "tools, or name the tool"
            )
        return force(tools[0]) if tools else self


def takes_state(function: AnyFunction) -> bool:
    """Whether a function can be called with a state alone, and does not ask for something else."""
    try:
        bound = signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    first = next(iter(bound.signature.parameters.values()))
    return first.annotation in (Parameter.empty, State, "State", object)


class both(Policy):
    """All of these policies at once. `a & b` is `both(a, b)`.

    Each part chooses; then, in this order:

    - The tools offered are those that every part offers.
    - `none` wins over `tool`, `tool` over `required`, `required` over `auto`.
    - Two tools forced at once, a forced tool that is not offered, or `none` where a part rules an answer out, are a
      contradiction.

    Each part judges every call: the strictest verdict holds, with the reasons of all that gave it.

    Args:
        policies: The parts. A `both` among them is taken apart, so brackets do not matter.

    Raises:
        ConfigurationError: If there are none.
    """

    policies: tuple[Policy, ...]

    def __init__(self, *policies: PolicyLike) -> None:
        if not policies:
            raise ConfigurationError("both() needs at least one policy")
        parts = [part.policies if isinstance(part, both) else (part,) for part in map(policy_of, policies)]
        self._set(policies=tuple([part for some in parts for part in some]))

    def __call__(self, state: State) -> ToolChoice:
        """Return the most restrictive of the parts' choices.

        Raises:
            PolicyContradiction: If they cannot be had together.
        """
        return most_restrictive([(policy, policy(state)) for policy in self.policies])

    def judge(self, call: Call, state: State) -> Verdict:
        verdict = allow
        for policy in self.policies:
            said = policy.judge(call, state)
            if said is not allow:
                verdict &= said.blamed(policy)
        return verdict

    def memory(self, state: State) -> Hashable:
        return tuple([policy.memory(state) for policy in self.policies])

    @cached_property
    def _code(self) -> str:
        parts = [repr(policy) for policy in self.policies]
        return " & ".join(parts) if len(parts) > 1 else f"both({parts[0]})"

    @property
    def can_answer(self) -> bool:
        """Whether each part can, or one can choose `none`."""
        return all(policy.can_answer for policy in self.policies) or self.silences
