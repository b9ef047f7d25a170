"""The types of a policy's fields: what they accept, and what they hold.

Type checkers read both from `__set__` and `__get__`, so that `force(search)` is accepted and `policy.tool` is a `str`.
"""

from typing import Generic, Self, TypeAlias, TypeVar, cast, overload

from agentkit.core.errors import ConfigurationError
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
    if isinstance(tool, str):
        return tool
    name = tool_name(tool) or getattr(tool, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{tool!r} is not a tool; give a tool, its function or its name")
    return name
