"""The fields of a policy: what they accept, what they hold, and the frozen value that they make.

Type checkers read both from `__set__` and `__get__`, so that `force(search)` is accepted and `policy.tool` is a `str`.
"""

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar, cast, dataclass_transform, overload

from agentkit.core.errors import ConfigurationError
from agentkit.core.signatures import annotations_of
from agentkit.tools.tool import AnyFunction, Tool, tool_name

ToolLike: TypeAlias = str | Tool | AnyFunction
"""A tool, its function, or its name."""

AcceptedT = TypeVar("AcceptedT")
HeldT = TypeVar("HeldT")


class Converted(Generic[AcceptedT, HeldT]):
    """A field that accepts one type and holds another."""

    def __init__(self, *default: HeldT) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, policy: None, owner: type) -> Self: ...
    @overload
    def __get__(self, policy: object, owner: type) -> HeldT: ...
    def __get__(self, policy: object | None, owner: type) -> Self | HeldT:
        if policy is not None:
            return cast("HeldT", vars(policy)[self._name])
        if not self._default:
            raise AttributeError(self._name)  # which tells `dataclass` that there is no default
        return self._default[0]

    def __set__(self, policy: object, value: AcceptedT) -> None:
        vars(policy)[self._name] = self.convert(value)

    def convert(self, value: AcceptedT) -> HeldT:
        raise NotImplementedError


class ToolName(Converted[ToolLike, str]):
    """The type of a policy's field that takes a tool, its function or its name, and holds the name."""

    def convert(self, value: ToolLike) -> str:
        return name_of_tool(value)


def name_of_tool(tool: ToolLike) -> str:
    """Return a tool's name.

    Raises:
        ConfigurationError: If the value is not a tool, a function or a name.
    """
    if isinstance(tool, str) and tool:
        return tool
    name = tool_name(tool) or getattr(tool, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{tool!r} is not a tool; give a tool, its function or its name")
    return name


def names_of(tools: tuple[ToolLike, ...], least: int, what: str) -> tuple[str, ...]:
    """Return the names of tools.

    Raises:
        ConfigurationError: If there are fewer than `least`, or one comes twice.
    """
    if len(tools) < least:
        raise ConfigurationError(f"{what}() needs at least {least} tool{'s' * (least > 1)}")
    names = tuple([name_of_tool(tool) for tool in tools])
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{what}() names a tool twice: {', '.join(names)}")
    return names


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value:
    """A frozen value whose fields are the arguments of its constructor, and whose `repr` is the code to make it.

    The methods are written once, here: a frozen dataclass would compile six per policy.
    """

    _arguments: ClassVar[tuple[Field[object], ...]] = ()
    _positional: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls) -> None:
        for name, kind in annotations_of(cls).items():
            if name not in vars(cls) and isinstance(kind, type) and issubclass(kind, Converted):
                converted = cast("Converted[object, object]", kind())
                converted.__set_name__(cls, name)
                setattr(cls, name, converted)
        declared = fields(cast("Any", dataclass(init=False, eq=False, repr=False)(cls)))
        cls._arguments = tuple(sorted(declared, key=lambda argument: bool(argument.kw_only)))
        cls._positional = tuple([argument.name for argument in cls._arguments if not argument.kw_only])
        cls._defaults = {argument.name: argument.default for argument in cls._arguments}

    def __init__(self, *args: object, **kwargs: object) -> None:
        given = dict(zip(self._positional, args, strict=False))
        given.update(kwargs)
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
        raise FrozenInstanceError(f"a policy is frozen; make another one to change its {name}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"a policy is frozen; it keeps its {name}")

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Value) and type(other) is type(self) else False

    def __hash__(self) -> int:
        return self._hash

    @cached_property  # an agent that is made looks its policy up
    def _hash(self) -> int:
        return hash((type(self), self._values))

    def __getstate__(self) -> dict[str, object]:
        """Leave out the hash: it differs in another process."""
        return {name: value for name, value in vars(self).items() if name != "_hash"}

    def __repr__(self) -> str:
        """Return the code that makes this value; arguments that have their default are left out."""
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

    def _set(self, **values: object) -> None:
        """Set the fields and check them, from an `__init__` that a subclass writes itself."""
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self.__post_init__()


def _as_code(value: object) -> str:
    """Return an argument as code; a function by its name."""
    return getattr(value, "__name__", repr(value)) if callable(value) and not isinstance(value, Value) else repr(value)
