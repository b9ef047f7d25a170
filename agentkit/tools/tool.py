"""Tools: functions that a model may call.

`@tool` returns the function itself and leaves a mark on it, which holds the options and the finished `Tool`. A function
may be wrapped, copied, bound or pickled after that, and its attributes go along; so a mark counts only for its own
function.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar, Unpack, cast, overload

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.options import DEFAULTS, ToolOptions, ToolOptionsDict
from agentkit.tools.schema.annotations import JsonSchema, UnresolvedName
from agentkit.tools.schema.callables import (
    Flavour,
    callable_name,
    docstring_of,
    flavour_of,
    inner_function,
    is_unbound_method,
    short_name,
)
from agentkit.tools.schema.signature import Arguments, arguments_from_signature
from agentkit.tools.schema.strict import NotStrict, strict_schema

AnyFunction: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=AnyFunction)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MARK = "__agentkit_tool__"


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function, ready to be offered to a model. `Tool.of` makes one.

    Attributes:
        function: What runs.
        options: How it is offered and run.
        spec: What the model sees, encoded.
        arguments: The schema and the validator of its arguments.
        flavour: How the function is run.
        unbound: Whether it is a method that still needs its object.
        hands_over: Whether it is a `handoff`, which runs once in a reply, after the other calls.
    """

    function: AnyFunction
    options: ToolOptions
    spec: ToolSpec
    arguments: Arguments
    flavour: Flavour
    unbound: bool = False
    hands_over: bool = False

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        return self.spec.name

    @classmethod
    def of(cls, function: "AnyFunction | Tool", *, name: str | None = None, description: str | None = None) -> "Tool":
        """Make a tool of a callable, which is not changed.

        Args:
            function: A function, a method, a callable object, a `functools.partial`, or a tool.
            name: Another name for it.
            description: Another description for it.

        Raises:
            ToolDefinitionError: If it cannot be a tool.
        """
        if name is description is None and (own := marked_tool(function)):
            return own
        if isinstance(function, Mapping):
            raise ToolDefinitionError(
                "a schema alone cannot run: write Tool.from_schema(function, name=…, description=…, parameters=…)"
            )
        options: dict[str, Any] = {"name": name, "description": description}
        changes = {option: value for option, value in options.items() if value is not None}
        if isinstance(function, Tool):
            return _with_changes(function, changes) if changes else function
        if is_unbound_method(function):
            raise ToolDefinitionError(
                f"{callable_name(function)} is a method; pass that of an object: `obj.{short_name(function)}`"
            )
        mark = _mark_of(function)
        if mark is None or changes or not mark.belongs_to(function):
            return _make(function, replace(mark.options if mark else DEFAULTS, **changes))
        mark.tool = mark.tool or _make(mark.function, mark.options, unbound=True)
        return replace(mark.tool, function=function, unbound=False)  # a bound method

    @classmethod
    def from_schema(
        cls, function: AnyFunction, *, name: str, description: str, parameters: Mapping[str, object]
    ) -> "Tool":
        """Make a tool from a JSON schema instead of a signature.

        Args:
            function: Called with the arguments as keywords, as plain data.
            name: The name that the model calls it by.
            description: What it does.
            parameters: The JSON schema of its arguments, of type `object`. It is sent as it is, and arguments are
                validated against it. A warning names what cannot be enforced, such as references to other documents;
                so does `tool.arguments.unenforced`.

        Raises:
            ToolDefinitionError: If the name or the schema cannot be used.
        """
        from agentkit.tools.schema.json_schema import arguments_from_schema  # noqa: PLC0415 (only for foreign schemas)

        _check_name(function, name)
        arguments = arguments_from_schema(name, parameters)
        spec = ToolSpec(name, description, arguments.schema)
        return cls(function, ToolOptions(name=name), spec, arguments, flavour_of(function))


@dataclass(slots=True, eq=False, repr=False)
class _Mark:
    """What `@tool` leaves on a function. Its tool is made at once, or at first use if a type is not defined yet."""

    function: AnyFunction
    options: ToolOptions
    unbound: bool
    tool: Tool | None

    def belongs_to(self, function: AnyFunction) -> bool:
        """Whether the mark was made for this function: `functools.wraps` and `copy` pass it on to others."""
        return self.function is (getattr(function, "__func__", None) if self.unbound else function)

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A callable object is pickled with its mark; its tool is made again where it is used.
        return None, {"function": self.function, "options": self.options, "unbound": self.unbound, "tool": None}


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(**options: Unpack[ToolOptionsDict]) -> Callable[[F], F]: ...
def tool(function: F | None = None, /, **options: Unpack[ToolOptionsDict]) -> F | Callable[[F], F]:
    """Mark a function as a tool. It stays the same function.

    Use it bare or with options; `ToolOptionsDict` describes them:

        @tool(timeout=5)
        def get_weather(city: str) -> str: ...

    The model sees the function's name, its docstring without the sections, and a JSON schema made from its signature.
    Arguments arrive as the annotated types.

    Args:
        function: The function.
        **options: The options, such as `name`, `timeout`, `approval` and `effect`.

    Returns:
        The same function, or the decorator that returns it.

    Raises:
        ToolDefinitionError: If the function cannot be a tool; the text says why and what to do.
    """
    if isinstance(function, str):
        raise ToolDefinitionError(f"a tool's name is an option: write @tool(name={function!r})")
    checked = ToolOptions(**options)
    return partial(_attach_mark, options=checked) if function is None else _attach_mark(function, checked)


def _attach_mark(function: F, options: ToolOptions) -> F:
    target: Any = getattr(function, "__func__", None) if type(function) in {staticmethod, classmethod} else function
    mark = getattr(target, _MARK, None)
    marked = mark if isinstance(mark, _Mark) and mark.function is target else None
    if marked is not None and marked.options == options:
        return function
    if marked is not None or isinstance(target, Tool):
        raise ToolDefinitionError(f"{callable_name(target)} is a tool already; Tool.of(it, name=…) makes another of it")
    unbound = type(function) is not staticmethod and is_unbound_method(target)
    try:
        finished = _make(target, options, unbound=unbound)
    except UnresolvedName:
        finished = None
    try:
        setattr(target, _MARK, _Mark(target, options, unbound, finished))
    except AttributeError as error:
        raise ToolDefinitionError(
            f"{callable_name(target)} cannot be marked; pass Tool.of(it, name=…) to the agent instead"
        ) from error
    return function


def _mark_of(function: object) -> _Mark | None:
    mark = getattr(function, _MARK, None) or getattr(inner_function(function), _MARK, None)
    return mark if isinstance(mark, _Mark) else None


def marked_tool(function: object) -> Tool | None:
    """Return the tool that `@tool` made of a function; `None` for anything else."""
    mark = getattr(function, _MARK, None)
    if not isinstance(mark, _Mark) or mark.function is not function or mark.unbound:
        return None
    if mark.tool is None:
        mark.tool = _make(mark.function, mark.options)
    return mark.tool


def tool_name(function: object) -> str | None:
    """Return the name of a tool, or of a function that is marked as one; `None` for anything else."""
    if isinstance(function, Tool):
        return function.name
    mark = _mark_of(function)
    return None if mark is None else mark.options.name or short_name(function)


def _make(function: AnyFunction, options: ToolOptions, *, unbound: bool = False) -> Tool:
    if isinstance(function, type):
        raise ToolDefinitionError(
            f"{function.__qualname__} is a class; pass a function that returns one, or an object's method"
        )
    name = short_name(function) if options.name is None else options.name
    _check_name(function, name)
    from agentkit.tools.schema import docstrings  # noqa: PLC0415

    docstring = docstrings.parse(docstring_of(function))
    arguments = arguments_from_signature(function, docstring.parameters, unbound=unbound)
    schema = arguments.schema
    for option, key in (("repeat_key", options.repeat_key), ("key", options.key)):
        names = (key,) if isinstance(key, str) else () if key is None or callable(key) else key
        if unknown := [name for name in names if name not in cast("JsonSchema", schema["properties"])]:
            raise ToolDefinitionError(
                f"{callable_name(function)}: {option} names {unknown[0]!r}, which is not a parameter"
            )
    flavour = flavour_of(function) if options.isolate is None else _process_flavour(function, arguments)
    if options.strict:
        try:
            schema = strict_schema(schema)
        except NotStrict as reason:
            raise ToolDefinitionError(f"{callable_name(function)} cannot be strict: {reason}") from reason
    description = docstring.description if options.description is None else options.description
    spec = ToolSpec(name, description, schema, options.strict)
    return Tool(function, options, spec, arguments, flavour, unbound)


def _with_changes(tool: Tool, changes: dict[str, Any]) -> Tool:
    _check_name(tool.function, changes.get("name", tool.name))
    return replace(tool, options=replace(tool.options, **changes), spec=replace(tool.spec, **changes))


def _check_name(function: object, name: str) -> None:
    if not callable(function):
        raise ToolDefinitionError(f"{function!r} is not callable; a tool is a function")
    if not _NAME.fullmatch(name):
        raise ToolDefinitionError(
            f"{callable_name(function)}: {name!r} cannot be a tool's name; use 1 to 64 letters, digits, _ and -: "
            "tool(name=…) or Tool.of(it, name=…)"
        )


def _process_flavour(function: AnyFunction, arguments: Arguments) -> Flavour:
    """Check that a function can run in another process."""
    if arguments.injected:
        raise ToolDefinitionError(
            f"{callable_name(function)}: {arguments.injected[0].name!r} belongs to this process, and "
            'isolate="process" runs the function in another; pass what it needs as arguments'
        )
    if flavour_of(function) != "sync" or "<" in getattr(inner_function(function), "__qualname__", ""):
        raise ToolDefinitionError(
            f'{callable_name(function)}: isolate="process" takes a sync function at the top level of a module, where '
            "another process finds it"
        )
    return "process"
