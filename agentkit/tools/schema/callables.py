"""What a callable really is, through partials, bound methods and callable objects: its name, docstring and flavour."""

import inspect
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, Literal, TypeAlias, cast

Flavour: TypeAlias = Literal["sync", "async", "generator", "async generator", "process"]
"""How a tool's function is run."""


def callable_name(function: object) -> str:
    """Return a callable's qualified name, for error messages."""
    return getattr(inner_function(function), "__qualname__", None) or type(function).__qualname__


def short_name(function: object) -> str:
    """Return a function's own name; for a callable object, the name of its class."""
    name: str = getattr(inner_function(function), "__name__", "__call__")
    return type(_called_object(function)).__name__ if name == "__call__" else name


def strip_partial(function: object) -> tuple[object, frozenset[str]]:
    """Return what a `functools.partial` calls, and the keywords that it binds; any other callable as it is.

    Arguments that are bound by position need no care: `inspect.signature` leaves them out.
    """
    keywords: frozenset[str] = frozenset()
    while isinstance(function, partial):
        keywords |= function.keywords.keys()
        function = cast("object", function.func)
    return function, keywords


def inner_function(function: object) -> object:
    """Return the function that runs: that of a partial, a bound method, or a callable object's class."""
    function, _ = strip_partial(function)
    if inspect.ismethod(function) or isinstance(function, staticmethod | classmethod):
        return cast("Any", function).__func__
    if isinstance(function, FunctionType | type) or inspect.isbuiltin(function):
        return function
    call = inspect.getattr_static(type(function), "__call__", None)
    return call if isinstance(call, FunctionType) else function


def wraps_generator(function: object) -> bool:
    """Whether a function is a generator, or wraps one, as `contextmanager` and most decorators do."""
    inner = inspect.unwrap(cast("Callable[..., object]", inner_function(function)))
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def annotated_function(function: object) -> object:
    """Return the function that has the annotations."""
    target = inspect.unwrap(cast("Callable[..., object]", inner_function(function)))
    return cast("Any", target).__init__ if isinstance(target, type) else target


def docstring_of(function: object) -> str:
    """Return the docstring of what runs. For a callable object it may stand at the class."""
    own = inner_function(function)
    if isinstance(own, type):
        return inspect.cleandoc(own.__doc__ or "")
    if getattr(own, "__name__", "__call__") == "__call__":
        return inspect.cleandoc(own.__doc__ or type(_called_object(function)).__doc__ or "")
    return inspect.getdoc(own) or ""


def is_unbound_method(function: object) -> bool:
    """Whether a function is defined in a class and still needs its object, by its name and its first parameter."""
    scope = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not scope or scope.endswith("<locals>") or inspect.ismethod(function):
        return False
    code = getattr(inspect.unwrap(cast("Callable[..., object]", function)), "__code__", None)
    return code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls")


def flavour_of(function: object) -> Flavour:
    own = inner_function(function)
    if inspect.isasyncgenfunction(own):
        return "async generator"
    if inspect.isgeneratorfunction(own):
        return "generator"
    return "async" if inspect.iscoroutinefunction(own) else "sync"


def _called_object(function: object) -> object:
    target, _ = strip_partial(function)
    return getattr(target, "__self__", target)
