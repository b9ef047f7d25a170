"""What a policy is, what stands for one, and how several hold at once.

A policy is a class whose fields are its arguments:

    class until(Policy):
        tool: ToolName  # takes the tool, its function or its name; holds the name
        policy: Part    # takes whatever stands for a policy; holds the policy

        def __call__(self, state: State) -> ToolChoice:
            return ToolChoice("auto") if state.succeeded(self.tool) else self.policy(state)

`Policy` derives the rest from the fields: the constructor, equality, the `repr` that is the code to make it, the tools
that it names, and the policies that it is made of. A policy whose constructor takes `*tools` writes `__init__` itself
and sets its fields with `_set`. The methods are written once, here: a frozen dataclass would compile six for each
of the policies.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import cached_property
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any, ClassVar, Self, TypeAlias, Union, cast, dataclass_transform, get_args

from agentkit.core.choice import Mode, ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import CallRecord, State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.fields import Converted, ToolName
from agentkit.tools.tool import AnyFunction, Tool, tool_name
from agentkit.tools.toolbox import Toolbox

PolicyLike: TypeAlias = Union[str, ToolChoice, Tool, "Policy", AnyFunction]
"""What is accepted wherever a policy is: `"auto"`, `"none"`, `"required"`, a tool or its name, a policy, a choice, or a
function from the state to any of these."""


class Part(Converted[PolicyLike, "Policy"]):
    """The type of a policy's field that takes whatever stands for a policy, and holds the policy."""

    def convert(self, value: PolicyLike) -> "Policy":
        return policy_of(value)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Policy:
    """The base of all policies: a frozen value that is called with the state of a run and returns a choice.

    A policy MUST be pure: no clock, no randomness, no memory of its own. The same state always gives the same choice.
    A subclass needs only its fields and `__call__`.
    """

    _arguments: ClassVar[tuple[Field[object], ...]] = ()
    _defaults: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls) -> None:
        for name, kind in vars(cls).get("__annotations__", {}).items():
            if name not in vars(cls) and isinstance(kind, type) and issubclass(kind, Converted):
                converted = cast("Converted[object, object]", kind())
                converted.__set_name__(cls, name)
                setattr(cls, name, converted)
        cls._arguments = fields(cast("Any", dataclass(init=False, eq=False, repr=False)(cls)))
        cls._defaults = {argument.name: argument.default for argument in cls._arguments}

    def __init__(self, *args: object, **kwargs: object) -> None:
        given = dict(zip(self._defaults, args, strict=False)) | kwargs
        if len(given) != len(args) + len(kwargs) or not given.keys() <= self._defaults.keys():
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._defaults)}; not {args!r} and {kwargs!r}")
        for name, default in self._defaults.items():
            value = given.get(name, default)
            if value is MISSING:
                raise TypeError(f"{type(self).__name__}() needs {name}")
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; a subclass overrides this."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"a policy is a frozen value; make another one to change its {name}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"a policy is a frozen value; it keeps its {name}")

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Policy) and type(other) is type(self) else False

    def __hash__(self) -> int:
        return hash((type(self), self._values))

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

    @property
    def _given(self) -> tuple[tuple[Field[object], object], ...]:
        return tuple([(argument, getattr(self, argument.name)) for argument in self._arguments if argument.compare])

    @property
    def _values(self) -> tuple[object, ...]:
        return tuple([value for _, value in self._given])

    @cached_property  # every step of a run shows the code of its policy
    def _code(self) -> str:
        arguments: list[str] = []
        keyword = False
        for argument, value in self._given:
            if isinstance(value, tuple):  # what `*tools` took; what follows is given by name
                arguments += [_as_code(item) for item in cast("tuple[object, ...]", value)]
                keyword = True
            elif argument.default is MISSING or value != argument.default:
                keyword = keyword or argument.default is not MISSING
                arguments.append(f"{argument.name}={_as_code(value)}" if keyword else _as_code(value))
        return f"{type(self).__name__}({', '.join(arguments)})"

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

    def _set(self, **values: object) -> None:
        """Set the fields, from an `__init__` that a subclass writes itself."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, change: "Callable[[Policy], Policy]") -> Self:
        """Return a copy with each part changed."""
        if not self.parts:
            return self
        copy = object.__new__(type(self))
        for argument in self._arguments:
            object.__setattr__(copy, argument.name, _changed(getattr(self, argument.name), change))
        return copy


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
        if str(choice.mode) not in get_args(Mode) or (choice.mode == "tool") == (choice.tool is None):
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
