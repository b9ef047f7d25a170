"""Tools: functions that a model may call."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.options import DEFAULTS, Approval, CallKey, Effect, Errors, Isolation, OnInterrupted, ToolOptions
from agentkit.tools.schema import docstrings as _docstrings
from agentkit.tools.schema.json_schema import arguments_from_schema
from agentkit.tools.schema.signature import (
    Arguments,
    UnresolvedName,
    arguments_from_signature,
    callable_name,
    inner,
    unpartial,
)
from agentkit.tools.schema.strict import NotStrict, strict_schema

AnyFunction: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=AnyFunction)

Flavour: TypeAlias = Literal["sync", "async", "generator", "async generator", "process"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MARK = "__agentkit_tool__"


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
        mark = getattr(function, _MARK, None)
        if (
            isinstance(mark, _Mark)
            and (mark.function is function and not mark.unbound)
            and (mark.tool is not None and name is description is None)
        ):
            return mark.tool  # as with nearly every tool of an agent
        given: dict[str, Any] = {}
        if name is not None:
            given["name"] = name
        if description is not None:
            given["description"] = description
        if isinstance(function, Tool):
            return _renamed(function, given) if given else function
        if _is_method(function):
            raise ToolDefinitionError(
                f"{callable_name(function)} is a method; give that of an object: `obj.{_own_name(function)}`"
            )
        mark = _mark_of(function)
        if mark is None or given or not mark.belongs_to(function):
            return _make(function, replace(mark.options if mark else DEFAULTS, **given))
        mark.tool = made = mark.tool or _make(mark.function, mark.options, unbound=mark.unbound)
        return replace(made, function=function, unbound=False) if mark.unbound else made

    @classmethod
    def from_schema(
        cls, function: AnyFunction, *, name: str, description: str, parameters: Mapping[str, object]
    ) -> "Tool":
        """Make a tool from a JSON schema instead of a signature.

        Args:
            function: Called with the arguments as keywords, as plain data.
            name: The name that the model calls it by.
            description: What it does.
            parameters: The JSON schema of its arguments, of type `object`; sent as it is, and arguments are held to it.

        Raises:
            ToolDefinitionError: If the name or the schema cannot be used.
        """
        _check(function, name)
        spec = ToolSpec(name, description, dict(parameters))
        return cls(function, ToolOptions(name=name), spec, arguments_from_schema(name, parameters), _flavour(function))


class _Mark:
    """What `@tool` leaves on a function. The tool is made at once, or at first use if a type is not defined yet."""

    __slots__ = ("function", "options", "tool", "unbound")

    def __init__(self, function: AnyFunction, options: ToolOptions, made: Tool | None, *, unbound: bool) -> None:
        self.function = function
        self.options = options
        self.tool = made
        self.unbound = unbound

    def belongs_to(self, function: AnyFunction) -> bool:
        """Tell whether the mark was made for this function: `functools.wraps` and `copy` carry it on to others."""
        return self.function is (getattr(function, "__func__", None) if self.unbound else function)

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A callable object takes its mark along when it is pickled; the tool is made anew where it is used.
        return None, {"function": self.function, "options": self.options, "tool": None, "unbound": self.unbound}


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    timeout: float | None = None,
    isolate: Isolation | None = None,
    sequential: bool = False,
    errors: Errors | None = None,
    repeatable: bool = False,
    repeat_key: CallKey | None = None,
    max_result: int | None = None,
    approval: Approval = False,
    effect: Effect | None = None,
    key: CallKey | None = None,
    on_interrupted: OnInterrupted = "ask",
    ends: bool = False,
) -> Callable[[F], F]: ...
def tool(  # noqa: PLR0913 (each is an option that a reader sees beside the function)
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    timeout: float | None = None,
    isolate: Isolation | None = None,
    sequential: bool = False,
    errors: Errors | None = None,
    repeatable: bool = False,
    repeat_key: CallKey | None = None,
    max_result: int | None = None,
    approval: Approval = False,
    effect: Effect | None = None,
    key: CallKey | None = None,
    on_interrupted: OnInterrupted = "ask",
    ends: bool = False,
) -> F | Callable[[F], F]:
    """Mark a function as a tool. It stays the function that it was.

    Used bare (`@tool`) or with arguments (`@tool(timeout=5)`). The model is told the function's name, its docstring
    without the sections, and a JSON schema made from its signature; arguments arrive as the annotated types.

    Args:
        function: The function.
        name: The name that the model calls it by; the function's own unless given.
        description: What it does; the docstring's text unless given.
        strict: Send the schema in the strict form (every object closed, every property required; null stands for a
            default) and ask the endpoint to hold the model to it.
        timeout: Seconds after which a call is answered as timed out. A sync function runs on in its thread and is not
            waited for. Waiting for a thread does not count.
        isolate: `"process"` runs a sync function in a process of its own, which is killed at its timeout or when the
            run is cancelled. The function must stand at the top of a module, and what goes in and out be picklable.
        sequential: Run it alone: after the calls before it in the same reply, and before those after it.
        errors: What the model is told when it raises: `"show"` for the exception's type and text, `"hide"` for an
            incident id, or a function from the exception to a text. The agent's own rule unless given.
        repeatable: The same call may come again and again, as in polling; no guard counts it.
        repeat_key: What tells its calls apart, if not all the arguments: a parameter, several, or a function of them.
        max_result: Characters of the longest result that is sent whole; of a longer one the model gets head and tail,
            and reads the rest with `read_result`. `Limits(result=…)` unless given.
        approval: Whether a call waits until someone allows it (`run(…, approver=…)`, `resume`), or a function of its
            arguments that says so.
        effect: `"once"` for what must not happen twice. With a session, a call is written down before it runs and after
            it ends; a call that ended well is never run again, wherever the conversation goes on.
        key: What tells an effect from others: a parameter, several, or a function of the arguments. Another call with
            the same key gets the answer of the first. Unless given, each call has an effect of its own.
        on_interrupted: What becomes of a call that had started when the program was stopped, so that nobody knows whether
            it took effect: `"ask"` has someone decide, as with `approval`; `"done"` takes it as done; `"again"` runs it
            again, with the same `ToolContext.key`.
        ends: Its success ends the run, and its result is the output, as with `Agent(stop_at=…)`.

    Returns:
        The same function, or the decorator that gives it back.

    Raises:
        ToolDefinitionError: If the function cannot be a tool as it stands; the text says why and what to do.
    """
    options = ToolOptions(
        name=name,
        description=description,
        strict=strict,
        timeout=timeout,
        isolate=isolate,
        sequential=sequential,
        errors=errors,
        repeatable=repeatable,
        repeat_key=repeat_key,
        max_result=max_result,
        approval=approval,
        effect=effect,
        key=key,
        on_interrupted=on_interrupted,
        ends=ends,
    )
    return partial(_marked, options=options) if function is None else _marked(function, options)


def _marked(function: F, options: ToolOptions) -> F:
    target: Any = function
    if _is_wrapper(function):
        target = target.__func__
    mark = getattr(target, _MARK, None)
    marked = mark if isinstance(mark, _Mark) and mark.function is target else None
    if marked is not None and marked.options == options:
        return function
    if marked is not None or isinstance(target, Tool):
        raise ToolDefinitionError(f"{callable_name(target)} is a tool already; Tool.of(it, name=…) makes another of it")
    unbound = type(function) is not staticmethod and _is_method(target)
    try:
        made = _make(target, options, unbound=unbound)
    except UnresolvedName:
        made = None
    try:
        setattr(target, _MARK, _Mark(target, options, made, unbound=unbound))
    except AttributeError as error:
        raise ToolDefinitionError(
            f"{callable_name(target)} cannot be marked; hand Tool.of(it, name=…) to the agent instead"
        ) from error
    return function


def _is_wrapper(function: object) -> bool:
    return isinstance(function, staticmethod | classmethod)


def _is_method(function: object) -> bool:
    """Tell whether a function is defined in a class and waits for its object, by its name and its first parameter."""
    scope = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not scope or scope.endswith("<locals>") or inspect.ismethod(function):
        return False
    code = getattr(inspect.unwrap(cast("AnyFunction", function)), "__code__", None)
    return code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls")


def _mark_of(function: object) -> _Mark | None:
    mark = getattr(function, _MARK, None) or getattr(inner(function), _MARK, None)
    return mark if isinstance(mark, _Mark) else None


def _make(function: AnyFunction, options: ToolOptions, *, unbound: bool = False) -> Tool:
    if isinstance(function, type):
        raise ToolDefinitionError(
            f"{function.__qualname__} is a class; give a function that returns one, or an object's method"
        )
    name = _own_name(function) if options.name is None else options.name
    _check(function, name)
    described = _docstrings.parse(_docstring(function))
    arguments = arguments_from_signature(function, described.parameters, unbound=unbound)
    if options.isolate is not None and arguments.injected:
        raise ToolDefinitionError(
            f'{callable_name(function)}: {arguments.injected[0].name!r} belongs to this process, and isolate="process" runs '
            "the function in another; hand over what it needs as arguments"
        )
    schema = arguments.schema
    _check_key("repeat_key", options.repeat_key, schema, function)
    _check_key("key", options.key, schema, function)
    if options.strict:
        try:
            schema = strict_schema(schema)
        except NotStrict as reason:
            raise ToolDefinitionError(f"{callable_name(function)} cannot be strict: {reason}") from reason
    description = described.description if options.description is None else options.description
    spec = ToolSpec(name, description, schema, options.strict)
    return Tool(function, options, spec, arguments, _flavour_of(function, options), unbound)


def _renamed(made: Tool, given: dict[str, Any]) -> Tool:
    _check(made.function, given.get("name", made.name))
    return replace(made, options=replace(made.options, **given), spec=replace(made.spec, **given))


def _check_key(option: str, key: CallKey | None, schema: Mapping[str, Any], function: object) -> None:
    if key is None or callable(key):
        return
    for name in (key,) if isinstance(key, str) else key:
        if name not in schema["properties"]:
            raise ToolDefinitionError(
                f"{callable_name(function)}: {option} names {name!r}, which is not one of its parameters"
            )


def _own_name(function: object) -> str:
    named = getattr(inner(function), "__name__", "__call__")
    return type(_object_of(function)).__name__ if named == "__call__" else named


def _object_of(function: object) -> object:
    """Give the object that is called, where it is one: through partials and its bound `__call__`."""
    function = unpartial(function)
    return getattr(function, "__self__", function)


def _docstring(function: object) -> str:
    """Give the docstring of what runs; a callable object's class may have it instead."""
    own = inner(function)
    if isinstance(own, type):
        return inspect.cleandoc(own.__doc__ or "")
    if getattr(own, "__name__", "__call__") == "__call__":
        return inspect.cleandoc(own.__doc__ or type(_object_of(function)).__doc__ or "")
    return inspect.getdoc(own) or ""


def _check(function: object, name: str) -> None:
    if not callable(function):
        raise ToolDefinitionError(f"{function!r} is not callable; a tool is a function")
    if not _NAME.fullmatch(name):
        raise ToolDefinitionError(
            f"{callable_name(function)}: {name!r} cannot be a tool's name; give one of 1 to 64 letters, digits, _ and -: "
            "tool(name=…) or Tool.of(it, name=…)"
        )


def _flavour(function: object) -> Flavour:
    own = inner(function)
    if inspect.isasyncgenfunction(own):
        return "async generator"
    if inspect.isgeneratorfunction(own):
        return "generator"
    return "async" if inspect.iscoroutinefunction(own) else "sync"


def _flavour_of(function: AnyFunction, options: ToolOptions) -> Flavour:
    flavour = _flavour(function)
    if options.isolate is None:
        return flavour
    if flavour != "sync" or "<" in getattr(inner(function), "__qualname__", ""):
        raise ToolDefinitionError(
            f'{callable_name(function)}: isolate="process" takes a sync function that stands at the top of a module, where '
            "another process finds it"
        )
    return "process"


def tool_name(function: object) -> str | None:
    """Give the name of a tool, or of a function that is marked as one; `None` for anything else."""
    if isinstance(function, Tool):
        return function.name
    mark = _mark_of(function)
    return None if mark is None else mark.options.name or _own_name(function)
