"""Tools: functions that a model may call."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal, TypeAlias, TypeVar, cast, overload

from agentkit import _docstrings
from agentkit.errors import ToolDefinitionError
from agentkit.raw_schema import raw_arguments
from agentkit.schema import Arguments, UnresolvedName, arguments_of, inner, name_of
from agentkit.strict import NotStrict, strict_schema
from agentkit.wire import ToolSpec

AnyFunction: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=AnyFunction)

Errors: TypeAlias = Literal["show", "hide"] | Callable[[Exception], str]
"""What a model is told of an exception: its type and text, an incident id only, or what a function makes of it."""

Flavour: TypeAlias = Literal["sync", "async", "generator", "async generator"]

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_MARK = "__agentkit_tool__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOptions:
    """How a function is offered and run.

    Attributes:
        name: The name that the model calls it by; the function's own unless given.
        description: What it does; the docstring's text unless given.
        strict: Send the schema in the strict form and ask the endpoint to hold the model to it.
        timeout: Seconds after which the call is answered as timed out; `None` waits as long as the run does.
        sequential: Run it alone: after the calls before it in the same reply, and before those after it.
        errors: What the model is told when it raises; the agent's own rule unless given.
    """

    name: str | None = None
    description: str | None = None
    strict: bool = False
    timeout: float | None = None
    sequential: bool = False
    errors: Errors | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:
            raise ToolDefinitionError(f"timeout must be a number of seconds above 0, not {self.timeout!r}")


DEFAULTS = ToolOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function, ready to be offered to a model. `Tool.of` makes one.

    Attributes:
        function: What runs.
        options: How it is offered and run.
        spec: What the model is told, encoded.
        arguments: What it takes: the schema and the validator.
        flavour: How it is run.
        unbound: Whether it is a method that waits for its object.
    """

    function: AnyFunction
    options: ToolOptions
    spec: ToolSpec
    arguments: Arguments
    flavour: Flavour
    unbound: bool = False

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        return self.spec.name

    @classmethod
    def of(
        cls,
        function: "AnyFunction | Tool",
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> "Tool":
        """Make a tool of a callable, which stays as it is.

        Args:
            function: A function, a method, a callable object, a `functools.partial`, or a tool.
            name: Another name than its own.
            description: Another description than its own.

        Raises:
            ToolDefinitionError: If it cannot be a tool as it stands.
        """
        given = {key: value for key, value in (("name", name), ("description", description)) if value is not None}
        if isinstance(function, Tool):
            return _make(function.function, replace(function.options, **given), unbound=False) if given else function
        mark = _mark_of(function)
        if mark is None or given or isinstance(function, partial):
            options = mark.options if mark else DEFAULTS
            return _make(function, replace(options, **given), unbound=False)
        made = mark.tool or _make(function, mark.options, unbound=mark.unbound)
        if not inspect.ismethod(function):
            if mark.unbound:
                raise ToolDefinitionError(f"{name_of(function)} is a method; give the method of an object: `obj.{made.name}`")
            mark.tool = made
            return made
        return replace(made, function=function, unbound=False)

    @classmethod
    def from_schema(
        cls, function: AnyFunction, *, name: str, description: str, parameters: Mapping[str, object]
    ) -> "Tool":
        """Make a tool from a JSON schema instead of a signature.

        Args:
            function: Called with the arguments as keywords, as plain data.
            name: The name that the model calls it by.
            description: What it does.
            parameters: The JSON schema of its arguments, of type `object`. It is sent as it is, and arguments are held to it.

        Raises:
            ToolDefinitionError: If the name or the schema cannot be used.
        """
        _check_name(name, function)
        spec = ToolSpec(name, description, dict(parameters))
        return cls(function, ToolOptions(name=name), spec, raw_arguments(name, parameters), _flavour(function))


class _Mark:
    """What `@tool` leaves on a function. The tool is made at once, or at first use if a type is not defined yet."""

    __slots__ = ("options", "tool", "unbound")

    def __init__(self, options: ToolOptions, made: Tool | None, *, unbound: bool) -> None:
        self.options = options
        self.tool = made
        self.unbound = unbound


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    timeout: float | None = None,
    sequential: bool = False,
    errors: Errors | None = None,
) -> Callable[[F], F]: ...
def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    timeout: float | None = None,
    sequential: bool = False,
    errors: Errors | None = None,
) -> F | Callable[[F], F]:
    """Mark a function as a tool. It stays the function that it was.

    Used bare (`@tool`) or with arguments (`@tool(timeout=5)`). The model is told the function's name, its docstring
    without the sections, and a JSON schema made from its signature; arguments arrive as the annotated types.

    Args:
        function: The function.
        name: The name that the model calls it by; the function's own unless given.
        description: What it does; the docstring's text unless given.
        strict: Send the schema in the strict form (every object closed, every property required; null stands for a default) and
            ask the endpoint to hold the model to it.
        timeout: Seconds after which a call is answered as timed out. A sync function runs on in its thread and is not waited for.
        sequential: Run it alone: after the calls before it in the same reply, and before those after it.
        errors: What the model is told when it raises: `"show"` for the exception's type and text, `"hide"` for an incident id,
            or a function from the exception to a text. The agent's own rule unless given.

    Returns:
        The same function, or the decorator that gives it back.

    Raises:
        ToolDefinitionError: If the function cannot be a tool as it stands; the text says why and what to do.
    """
    options = ToolOptions(
        name=name, description=description, strict=strict, timeout=timeout, sequential=sequential, errors=errors
    )
    return partial(_marked, options=options) if function is None else _marked(function, options)


def _marked(function: F, options: ToolOptions) -> F:
    target = cast("AnyFunction", function.__func__ if isinstance(function, staticmethod | classmethod) else function)
    if isinstance(target, Tool):
        raise ToolDefinitionError(f"{target.name} is a tool already; Tool.of(it, name=…) makes another of it")
    if getattr(target, _MARK, None) is not None:
        raise ToolDefinitionError(f"{name_of(target)} is a tool already; Tool.of(it, name=…) makes another of it")
    unbound = not isinstance(function, staticmethod) and _is_method(target)
    try:
        made = _make(target, options, unbound=unbound)
    except UnresolvedName:
        made = None
    try:
        setattr(target, _MARK, _Mark(options, made, unbound=unbound))
    except AttributeError as error:
        raise ToolDefinitionError(f"{name_of(target)} cannot be marked; hand Tool.of(it, name=…) to the agent instead") from error
    return function


def _is_method(function: object) -> bool:
    """Tell whether a function is being defined in a class, by its name and its first parameter."""
    scope = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not scope or scope.endswith("<locals>") or inspect.ismethod(function):
        return False
    code = getattr(function, "__code__", None)
    return code is not None and code.co_varnames[:1] in (("self",), ("cls",))


def _mark_of(function: object) -> _Mark | None:
    mark = getattr(function, _MARK, None) or getattr(inner(function), _MARK, None)
    return mark if isinstance(mark, _Mark) else None


def _make(function: AnyFunction, options: ToolOptions, *, unbound: bool) -> Tool:
    if not callable(function):
        raise ToolDefinitionError(f"{function!r} is not callable; a tool is a function")
    if isinstance(function, type):
        raise ToolDefinitionError(f"{function.__qualname__} is a class; give a function that returns one, or an object's method")
    name = options.name or _own_name(function)
    _check_name(name, function)
    described = _docstrings.parse(_docstring(function))
    arguments = arguments_of(function, described.parameters, unbound=unbound)
    schema = arguments.schema
    if options.strict:
        try:
            schema = strict_schema(schema)
        except NotStrict as reason:
            raise ToolDefinitionError(f"{name_of(function)} cannot be strict: {reason}") from reason
    description = described.description if options.description is None else options.description
    spec = ToolSpec(name, description, schema, options.strict)
    return Tool(function, options, spec, arguments, _flavour(function), unbound)


def _own_name(function: object) -> str:
    own = inner(function)
    named = getattr(own, "__name__", "")
    return type(function).__name__ if named == "__call__" or not named else named


def _docstring(function: object) -> str:
    """Give the docstring of what runs; a callable object's class may have it instead."""
    own = inner(function)
    if getattr(own, "__name__", "") == "__call__":
        return inspect.cleandoc(own.__doc__ or type(function).__doc__ or "")
    return inspect.getdoc(own) or ""


def _check_name(name: str, function: object) -> None:
    if not _NAME.match(name):
        raise ToolDefinitionError(
            f"{name_of(function)}: {name!r} cannot be a tool's name; give one of 1 to 64 letters, digits, _ and -: tool(name=…) or Tool.of(it, name=…)"
        )


def _flavour(function: object) -> Flavour:
    own = inner(function)
    if inspect.isasyncgenfunction(own):
        return "async generator"
    if inspect.isgeneratorfunction(own):
        return "generator"
    return "async" if inspect.iscoroutinefunction(own) else "sync"


class Toolbox:
    """Tools by name. A frozen value.

    Args:
        tools: Functions, tools, and other toolboxes, whose tools are taken one by one.

    Raises:
        ToolDefinitionError: If one cannot be a tool, or two have one name.
    """

    __slots__ = ("_tools", "names", "specs")

    def __init__(self, tools: "Iterable[AnyFunction | Tool | Toolbox]" = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for each in tools:
            for made in each if isinstance(each, Toolbox) else (Tool.of(each),):
                if (other := self._tools.setdefault(made.name, made)) is not made:
                    raise ToolDefinitionError(
                        f"two tools have the name {made.name!r}: {name_of(other.function)} and {name_of(made.function)}; "
                        "rename one with tool(name=…) or Tool.of(it, name=…)"
                    )
        self.specs: tuple[ToolSpec, ...] = tuple([made.spec for made in self._tools.values()])
        self.names: frozenset[str] = frozenset(self._tools)

    def get(self, name: str) -> Tool | None:
        """Give the tool of that name, or `None`."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"Toolbox({', '.join(self._tools)})"
