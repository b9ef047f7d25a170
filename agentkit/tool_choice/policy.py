"""What a policy is, what is taken for one, and how several hold together."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import Parameter, iscoroutinefunction, signature
from typing import Self, TypeAlias, Union, cast

from agentkit.core.choice import Mode, ToolChoice
from agentkit.core.errors import ConfigurationError, PolicyContradiction
from agentkit.core.state import CallRecord, State
from agentkit.tools.tool import AnyFunction, Tool, tool_name
from agentkit.tools.toolbox import Toolbox

PolicyLike: TypeAlias = Union[str, ToolChoice, Tool, "Policy", AnyFunction]
"""What is taken wherever a policy is: `"auto"`, `"none"`, `"required"`, a tool or its name, a policy, a choice, or a
function from the state to any of these."""

ToolLike: TypeAlias = str | Tool | AnyFunction
"""A tool, its function, or its name."""

# From the most restrictive to the least.
_RANK: tuple[Mode, ...] = ("none", "tool", "required", "auto")


@dataclass(frozen=True, repr=False)
class Policy:
    """The base of all policies: a frozen value that is called with the state of a run and gives a choice.

    A policy MUST be pure: no clock, no chance, no memory of its own. The same state always gives the same choice.
    """

    def __call__(self, state: State) -> ToolChoice:
        """Choose what the next request lets the model do."""
        raise NotImplementedError

    def __and__(self, other: PolicyLike) -> "Policy":
        """Hold both: the more restrictive choice wins, and a contradiction is an error that names both."""
        return both(self, other)

    def __rand__(self, other: PolicyLike) -> "Policy":
        return both(other, self)

    @property
    def parts(self) -> "tuple[Policy, ...]":
        """The policies that this one is made of."""
        values = [getattr(self, each.name) for each in fields(self)]
        return tuple([part for value in values for part in _policies_in(value)])

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools that it speaks of; an agent must have them all."""
        return frozenset[str]().union(*[part.tools for part in self.parts])

    @property
    def can_answer(self) -> bool:
        """Whether it can ever let the model answer. Under one that cannot, a run would call tools for ever.

        One that is made of others can if any of them can.
        """
        return not self.parts or any(part.can_answer for part in self.parts)

    @property
    def silences(self) -> bool:
        """Whether it can ever come to `none`, where the model must answer whatever else holds.

        One that is made of others can if any of them can; any other that can says so.
        """
        return any(part.silences for part in self.parts)

    def has(self, kind: "type[Policy]") -> bool:
        """Tell whether it is a policy of this kind, or has one among its parts."""
        return isinstance(self, kind) or any(part.has(kind) for part in self.parts)

    def bound(self, toolbox: Toolbox) -> "Policy":
        """Give the same policy with what it must know of the agent's tools."""
        return self._with(lambda part: part.bound(toolbox))

    def remark(self, calls: tuple[CallRecord, ...]) -> str | None:
        """Say what the model should be told along with the answer to the last of these calls, or `None`."""
        remarks = [remark for part in self.parts if (remark := part.remark(calls))]
        return " ".join(remarks) or None

    def _set(self, **values: object) -> None:
        """Set the fields of a frozen value that is being made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, change: "Callable[[Policy], Policy]") -> Self:
        """Copy with each part changed."""
        if not self.parts:
            return self
        copy = object.__new__(type(self))
        for each in fields(self):
            value: object = getattr(self, each.name)
            if isinstance(value, Policy):
                value = change(value)
            elif several := _policies_in(value):
                value = tuple([change(part) for part in several])
            object.__setattr__(copy, each.name, value)
        return copy


def _policies_in(value: object) -> list[Policy]:
    values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, Policy)]


def policy_of(value: PolicyLike) -> Policy:  # noqa: PLR0911 (one for each thing that stands for a policy)
    """Make a policy of what stands for one.

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
        case str():
            return force(value)
        case Tool():
            return force(value)
        case _ if tool_name(value) is not None:
            return force(value)
        case _ if not (isinstance(value, type) or iscoroutinefunction(value)) and callable(value):
            return rule(cast("Callable[[State], PolicyLike]", value))
        case _:  # pyright: ignore[reportUnnecessaryComparison] (not every caller is checked)
            raise ConfigurationError(
                "a policy is auto, none, required, a tool or its name, a policy, or a function (not async) of the "
                f"state, not {value!r}"
            )


def name_of_tool(tool: ToolLike) -> str:
    """Give a tool's name.

    Raises:
        ConfigurationError: If it is not a tool, nor a function or a name.
    """
    if isinstance(tool, str):
        return tool
    name = tool_name(tool) or getattr(tool, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{tool!r} is not a tool; give a tool, its function or its name")
    return name


@dataclass(frozen=True, repr=False)
class fixed(Policy):
    """Always the same choice.

    Raises:
        ConfigurationError: If it is not a choice: its mode is none of the four, `tool` does not go with the mode, or it
            contradicts itself.
    """

    choice: ToolChoice

    def __post_init__(self) -> None:
        choice = self.choice
        if str(choice.mode) not in _RANK or (choice.mode == "tool") == (choice.tool is None):
            raise ConfigurationError(f"mode is auto, required, none, or tool with the tool's name; not {choice!r}")
        if (choice.tool and not choice.offers(choice.tool)) or (choice.firm and choice.mode in ("auto", "none")):
            raise ConfigurationError(f"{choice!r} contradicts itself")

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        """Give the choice."""
        return self.choice

    def __repr__(self) -> str:
        return self.choice.mode if self.choice == ToolChoice(self.choice.mode) else f"fixed({self.choice!r})"

    @property
    def parts(self) -> tuple[Policy, ...]:
        """None."""
        return ()

    @property
    def tools(self) -> frozenset[str]:
        """Those that the choice names."""
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


@dataclass(frozen=True, repr=False, init=False)
class force(Policy):
    """The model must call this tool, in every step."""

    tool: str

    def __init__(self, tool: ToolLike) -> None:
        self._set(tool=name_of_tool(tool))

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        """Name the tool."""
        return ToolChoice("tool", self.tool)

    def __repr__(self) -> str:
        return f"force({self.tool!r})"

    @property
    def tools(self) -> frozenset[str]:
        """The one tool."""
        return frozenset({self.tool})

    @property
    def can_answer(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, repr=False)
class rule(Policy):
    """A function of your own as a policy: from the state to anything that stands for a policy."""

    function: Callable[[State], PolicyLike]

    def __call__(self, state: State) -> ToolChoice:
        """Ask the function."""
        return policy_of(self.function(state))(state)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"rule({name})"

    @property
    def silences(self) -> bool:
        """It may; nobody knows what a function does."""
        return True

    def bound(self, toolbox: Toolbox) -> Policy:
        """Read a function that is one of the agent's tools as that tool: calling it would not be asking it."""
        tools = [tool for tool in toolbox if tool.function == self.function]
        if not tools and not _takes_state(self.function):
            raise ConfigurationError(
                f"{self!r} is neither a tool of the agent nor a function of the state; add the function to the agent's "
                "tools, or name the tool"
            )
        return force(tools[0]) if tools else self


def _takes_state(function: AnyFunction) -> bool:
    """Tell whether a function can be called with a state alone, and does not ask for something else."""
    try:
        bound = signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    first = next(iter(bound.signature.parameters.values()))
    return first.annotation in (Parameter.empty, State, "State", object)


@dataclass(frozen=True, repr=False, init=False)
class both(Policy):
    """All of these policies at once. `a & b` is `both(a, b)`.

    Each part chooses; then, in this order:

    - The tools offered are those that every part offers.
    - `none` wins over `tool`, `tool` over `required`, `required` over `auto`.
    - Two tools forced at once, a forced tool that is not offered, or `none` where a part rules an answer out, are a
      contradiction.

    Args:
        policies: The parts. A `both` among them is taken apart, so how they are bracketed does not matter.

    Raises:
        ConfigurationError: If there are none.
    """

    policies: tuple[Policy, ...]

    def __init__(self, *policies: PolicyLike) -> None:
        if not policies:
            raise ConfigurationError("both() needs at least one policy")
        read = [policy_of(each) for each in policies]
        self._set(
            policies=tuple([part for each in read for part in (each.policies if isinstance(each, both) else (each,))])
        )

    def __call__(self, state: State) -> ToolChoice:
        """Give the most restrictive of the parts' choices.

        Raises:
            PolicyContradiction: If they cannot be had together.
        """
        return most_restrictive([(policy, policy(state)) for policy in self.policies])

    def __repr__(self) -> str:
        parts = [repr(each) for each in self.policies]
        return " & ".join(parts) if len(parts) > 1 else f"both({parts[0]})"

    @property
    def can_answer(self) -> bool:
        """If each part can, or one can come to `none`."""
        return all(each.can_answer for each in self.policies) or self.silences


def most_restrictive(chosen: list[tuple[Policy, ToolChoice]]) -> ToolChoice:
    """Give the choice that is held by all of these; see `both`.

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
        holds = next(policy for policy, each in chosen if each.firm)
        silent = next(policy for policy, each in chosen if each.mode == "none")
        raise PolicyContradiction(f"{silent!r} lets the model only answer, and {holds!r} rules an answer out")
    if choice.tool is not None and not choice.offers(choice.tool):
        holds = next(policy for policy, each in chosen if each.mode == "tool")
        hides = next(policy for policy, each in chosen if not each.offers(choice.tool))
        raise PolicyContradiction(f"{holds!r} forces {choice.tool!r}, which {hides!r} does not offer")
    return choice


def _forced(chosen: list[tuple[Policy, ToolChoice]]) -> str:
    forced = {cast("str", choice.tool): policy for policy, choice in chosen if choice.mode == "tool"}
    if len(forced) > 1:
        (one, first), (other, second) = list(forced.items())[:2]
        raise PolicyContradiction(f"{first!r} forces {one!r}, and {second!r} forces {other!r}")
    return next(iter(forced))
