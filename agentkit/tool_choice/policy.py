"""What a policy is, what stands for one, and how several hold at once.

A policy is a class whose fields are its arguments:

    class until(Policy):
        tool: ToolName  # takes the tool, its function or its name; holds the name
        policy: Part    # takes whatever stands for a policy; holds the policy

        def __call__(self, state: State) -> ToolChoice:
            return ToolChoice("auto") if state.succeeded(self.tool) else self.policy(state)

`Policy` makes it a frozen dataclass and derives the rest from the fields: the constructor, equality, the `repr` that is
the code to make it, the tools that it names, and the policies that it is made of. A policy whose constructor takes
`*tools` writes `__init__` itself and sets its fields with `_set`.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from functools import cached_property
from inspect import Parameter, iscoroutinefunction, signature
from typing import Self, TypeAlias, Union, cast, dataclass_transform

from agentkit.core.choice import Mode, ToolChoice
from agentkit.core.errors import ConfigurationError, PolicyContradiction
from agentkit.core.state import CallRecord, State
from agentkit.tool_choice.fields import Converted, ToolName
from agentkit.tools.tool import AnyFunction, Tool, tool_name
from agentkit.tools.toolbox import Toolbox

PolicyLike: TypeAlias = Union[str, ToolChoice, Tool, "Policy", AnyFunction]
"""What is accepted wherever a policy is: `"auto"`, `"none"`, `"required"`, a tool or its name, a policy, a choice, or a
function from the state to any of these."""

# From the most restrictive to the least.
_RANK: tuple[Mode, ...] = ("none", "tool", "required", "auto")


class Part(Converted[PolicyLike, "Policy"]):
    """The type of a policy's field that takes whatever stands for a policy, and holds the policy."""

    def convert(self, value: PolicyLike) -> "Policy":
        return policy_of(value)


@dataclass_transform(frozen_default=True)
class Policy:
    """The base of all policies: a frozen value that is called with the state of a run and returns a choice.

    A policy MUST be pure: no clock, no randomness, no memory of its own. The same state always gives the same choice.
    A subclass needs only its fields and `__call__`; it becomes a frozen dataclass.
    """

    def __init_subclass__(cls) -> None:
        for name, kind in vars(cls).get("__annotations__", {}).items():
            if name not in vars(cls) and isinstance(kind, type) and issubclass(kind, Converted):
                converted = cast("Converted[object, object]", kind())
                converted.__set_name__(cls, name)
                setattr(cls, name, converted)
        dataclass(frozen=True, repr=False)(cls)

    def __call__(self, state: State) -> ToolChoice:
        """Return what the next request lets the model do."""
        raise NotImplementedError

    def __and__(self, other: PolicyLike) -> "Policy":
        """Hold both: the more restrictive choice wins, and a contradiction is an error that names both."""
        return both(self, other)

    def __rand__(self, other: PolicyLike) -> "Policy":
        return both(other, self)

    def __repr__(self) -> str:
        """Return the code that makes this policy; arguments that have their default are left out."""
        return self._code

    @cached_property  # every step of a run shows the code of its policy
    def _code(self) -> str:
        arguments: list[str] = []
        keyword = False
        for field in self._fields():
            value: object = getattr(self, field.name)
            if isinstance(value, tuple):  # what `*tools` took; what follows is given by name
                arguments += [_as_code(item) for item in cast("tuple[object, ...]", value)]
                keyword = True
            elif field.default is MISSING or value != field.default:
                keyword = keyword or field.default is not MISSING
                arguments.append(f"{field.name}={_as_code(value)}" if keyword else _as_code(value))
        return f"{type(self).__name__}({', '.join(arguments)})"

    @cached_property
    def parts(self) -> "tuple[Policy, ...]":
        """The policies that this one is made of."""
        values = [getattr(self, field.name) for field in self._fields()]
        return tuple([part for value in values for part in _policies_in(value)])

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools that this policy and its parts speak of; an agent must have them all."""
        own: list[str] = []
        for field in self._fields():
            if field.type is ToolName:
                own.append(getattr(self, field.name))
            elif field.type == tuple[str, ...]:
                own += getattr(self, field.name)
        return frozenset(own).union(*[part.tools for part in self.parts])

    @property
    def can_answer(self) -> bool:
        """Whether the policy can ever let the model answer; under one that cannot, a run would never end.

        A policy that is made of others can if any of them can.
        """
        return not self.parts or any(part.can_answer for part in self.parts)

    @property
    def silences(self) -> bool:
        """Whether the policy can ever choose `none`, where the model must answer whatever else holds.

        A policy that is made of others can if any of them can; any other that can overrides this.
        """
        return any(part.silences for part in self.parts)

    def has(self, kind: "type[Policy]") -> bool:
        """Whether this policy, or one of its parts, is of this kind."""
        return isinstance(self, kind) or any(part.has(kind) for part in self.parts)

    def bound(self, toolbox: Toolbox) -> "Policy":
        """Return the same policy with what it must know of the agent's tools."""
        return self._with(lambda part: part.bound(toolbox))

    def remark(self, calls: tuple[CallRecord, ...]) -> str | None:
        """Return what to tell the model along with the result of the last of these calls, or `None`."""
        remarks = [remark for part in self.parts if (remark := part.remark(calls))]
        return " ".join(remarks) or None

    def _fields(self) -> list["Field[object]"]:
        return [field for field in fields(cast("_Dataclass", self)) if field.compare]

    def _set(self, **values: object) -> None:
        """Set the fields, from an `__init__` that a subclass writes itself."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, change: "Callable[[Policy], Policy]") -> Self:
        """Return a copy with each part changed."""
        if not self.parts:
            return self
        copy = object.__new__(type(self))
        for field in fields(cast("_Dataclass", self)):
            object.__setattr__(copy, field.name, _changed(getattr(self, field.name), change))
        return copy


@dataclass
class _Dataclass:
    """What `dataclasses.fields` takes, for type checkers."""


def _policies_in(value: object) -> list[Policy]:
    values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [item for item in values if isinstance(item, Policy)]


def _changed(value: object, change: Callable[[Policy], Policy]) -> object:
    if isinstance(value, Policy):
        return change(value)
    parts = _policies_in(value)
    return tuple([change(part) for part in parts]) if parts else value


def _as_code(value: object) -> str:
    """Return an argument as code; a function by its name."""
    return getattr(value, "__name__", repr(value)) if callable(value) and not isinstance(value, Policy) else repr(value)


def policy_of(value: PolicyLike) -> Policy:
    """Return the policy that a value stands for.

    Args:
        value: `"auto"`, `"none"`, `"required"`, a tool (its function, or its name), a choice, a policy, or a function
            from the state to any of these.

    Raises:
        ConfigurationError: If it is none of these.
    """
    match value:
        case Policy():
            return value
        case ToolChoice():
            return fixed(value)
        case "auto" | "none" | "required":
            return {"auto": auto, "none": none, "required": required}[value]
        case _ if isinstance(value, str | Tool) or tool_name(value) is not None:
            return force(value)
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
        ConfigurationError: If the mode is none of the four, `tool` does not go with the mode, or the choice contradicts
            itself.
    """

    choice: ToolChoice

    def __post_init__(self) -> None:
        choice = self.choice
        if str(choice.mode) not in _RANK or (choice.mode == "tool") == (choice.tool is None):
            raise ConfigurationError(f"mode is auto, required, none, or tool with the tool's name; not {choice!r}")
        if (choice.tool and not choice.offers(choice.tool)) or (choice.firm and choice.mode in ("auto", "none")):
            raise ConfigurationError(f"{choice!r} contradicts itself")

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return self.choice

    def __repr__(self) -> str:
        return self.choice.mode if self.choice == ToolChoice(self.choice.mode) else f"fixed({self.choice!r})"

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


auto = fixed(ToolChoice("auto"))
none = fixed(ToolChoice("none"))
required = fixed(ToolChoice("required"))


class force(Policy):
    """The model must call this tool, in every step."""

    tool: ToolName

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return ToolChoice("tool", self.tool)

    @property
    def can_answer(self) -> bool:
        """Never."""
        return False


class rule(Policy):
    """A function of your own as a policy: from the state to anything that stands for a policy."""

    function: Callable[[State], PolicyLike]

    def __call__(self, state: State) -> ToolChoice:
        return policy_of(self.function(state))(state)

    def __repr__(self) -> str:
        return f"rule({getattr(self.function, '__name__', type(self.function).__name__)})"

    @property
    def silences(self) -> bool:
        """It may: what a function chooses is not known before it is called."""
        return True

    def bound(self, toolbox: Toolbox) -> Policy:
        """Return `force` for a function that is one of the agent's tools."""
        tools = [tool for tool in toolbox if tool.function == self.function]
        if not tools and not _takes_state(self.function):
            raise ConfigurationError(
                f"{self!r} is neither a tool of the agent nor a function of the state; add the function to the agent's "
                "tools, or name the tool"
            )
        return force(tools[0]) if tools else self


def _takes_state(function: AnyFunction) -> bool:
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

    Args:
        policies: The parts. A `both` among them is taken apart, so brackets do not matter.

    Raises:
        ConfigurationError: If there are none.
    """

    policies: tuple[Policy, ...]

    def __init__(self, *policies: PolicyLike) -> None:
        if not policies:
            raise ConfigurationError("both() needs at least one policy")
        read = [policy_of(policy) for policy in policies]
        self._set(policies=tuple([part for policy in read for part in _parts_of(policy)]))

    def __call__(self, state: State) -> ToolChoice:
        """Return the most restrictive of the parts' choices.

        Raises:
            PolicyContradiction: If they cannot be had together.
        """
        return most_restrictive([(policy, policy(state)) for policy in self.policies])

    @cached_property
    def _code(self) -> str:
        parts = [repr(policy) for policy in self.policies]
        return " & ".join(parts) if len(parts) > 1 else f"both({parts[0]})"

    @property
    def can_answer(self) -> bool:
        """Whether each part can, or one can choose `none`."""
        return all(policy.can_answer for policy in self.policies) or self.silences


def _parts_of(policy: Policy) -> tuple[Policy, ...]:
    return policy.policies if isinstance(policy, both) else (policy,)


def most_restrictive(chosen: list[tuple[Policy, ToolChoice]]) -> ToolChoice:
    """Return the choice that satisfies all of these; see `both`.

    Args:
        chosen: The choices, each with the policy that made it.

    Raises:
        PolicyContradiction: If they cannot be had together; the text names two policies that are at odds.
    """
    offers = [choice.tools for _, choice in chosen if choice.tools is not None]
    tools = offers[0].intersection(*offers[1:]) if offers else None
    withheld = frozenset[str]().union(*[choice.withheld for _, choice in chosen])
    firm = any(choice.firm for _, choice in chosen)
    mode: Mode = next(mode for mode in _RANK if any(choice.mode == mode for _, choice in chosen))
    choice = ToolChoice(mode, _forced(chosen) if mode == "tool" else None, tools, withheld, firm)
    if firm and mode == "none":
        holds = next(policy for policy, part in chosen if part.firm)
        silent = next(policy for policy, part in chosen if part.mode == "none")
        raise PolicyContradiction(f"{silent!r} lets the model only answer, and {holds!r} rules an answer out")
    if choice.tool is not None and not choice.offers(choice.tool):
        holds = next(policy for policy, part in chosen if part.mode == "tool")
        hides = next(policy for policy, part in chosen if not part.offers(choice.tool))
        raise PolicyContradiction(f"{holds!r} forces {choice.tool!r}, which {hides!r} does not offer")
    return choice


def _forced(chosen: list[tuple[Policy, ToolChoice]]) -> str:
    forced = {cast("str", choice.tool): policy for policy, choice in chosen if choice.mode == "tool"}
    if len(forced) > 1:
        (one, first), (other, second) = list(forced.items())[:2]
        raise PolicyContradiction(f"{first!r} forces {one!r}, and {second!r} forces {other!r}")
    return next(iter(forced))
