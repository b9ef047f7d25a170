"""Dependencies of tools: created once in a run, at first use, and cleaned up at its end."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self, TypeAlias, cast

import anyio

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError
from agentkit.core.signatures import signature_of
from agentkit.tools.context import InjectedParameter, ToolContext, injected_parameter
from agentkit.tools.schema.annotations import resolve_annotation
from agentkit.tools.schema.callables import callable_name, wraps_generator

_Function: TypeAlias = Callable[..., object]
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Dependencies:
    """The dependencies of the tools of one run.

    They are created and cleaned up in the run's own task, because a generator must be closed where it was opened.
    `overrides` replaces functions, as in tests.
    """

    def __init__(self, threads: Threads, overrides: Mapping[_Function, _Function]) -> None:
        self._threads = threads
        self._overrides = overrides
        self._values: dict[_Function, object] = {}
        self._exits: list[Callable[[BaseException | None], Awaitable[object]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Close what is open, the last first: each gets the run's error, also if another one handles it."""
        reason = error
        if self._exits:
            with anyio.CancelScope(shield=True):
                while self._exits:
                    try:
                        await self._exits.pop()(reason)
                    except BaseException as raised:  # noqa: BLE001 (raised below, when all are closed)
                        reason = raised
        if reason is not None and reason is not error:
            raise reason

    async def resolve(
        self, parameters: tuple[InjectedParameter, ...], context: ToolContext[Any], _within: tuple[_Function, ...] = ()
    ) -> dict[str, object]:
        """Return the values of the parameters that the model does not see, or raise what a dependency raises."""
        return {
            name: kind.of(context) if depends is None else await self._value(depends.function, context, _within)
            for name, depends, kind in parameters
        }

    async def _value(self, key: _Function, context: ToolContext[Any], within: tuple[_Function, ...]) -> object:
        if key in self._values:
            return self._values[key]
        if key in within:
            path = ", ".join(map(callable_name, within))
            raise ConfigurationError(f"{callable_name(key)} depends on itself, through {path}")
        function = self._overrides.get(key, key)
        arguments = await self.resolve(injected_parameters(function), context, (*within, key))
        self._values[key] = value = await self._call(function, arguments)
        return value

    async def _call(self, function: Any, arguments: dict[str, object]) -> object:
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            return await self._open(function(**arguments))
        if inspect.iscoroutinefunction(function):
            value = await function(**arguments)
        else:
            async with self._threads.entered():
                (value,) = await self._threads.run(lambda: (function(**arguments),))  # trio takes no bare awaitable
            value = await value if inspect.isawaitable(value) else value
        return await self._open(value) if wraps_generator(function) else value

    async def _open(self, value: Any) -> object:
        """Enter a generator or a context manager, and remember to close it; any other value stays as it is."""
        if inspect.isasyncgen(value):
            value = asynccontextmanager(lambda: cast("AsyncGenerator[object]", value))()
        elif inspect.isgenerator(value):
            value = contextmanager(lambda: cast("Generator[object]", value))()
        if hasattr(value, "__aexit__"):
            entered = await value.__aenter__()
            self._exits.append(lambda error: value.__aexit__(*_details(error)))
        elif hasattr(value, "__exit__"):
            entered = await self._threads.run(value.__enter__)
            self._exits.append(lambda error: self._threads.run(partial(value.__exit__, *_details(error))))
        else:
            entered = value
        return entered


def _details(error: BaseException | None) -> tuple[object, object, object]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def injected_parameters(function: _Function) -> tuple[InjectedParameter, ...]:
    """Return what a dependency itself depends on; `ConfigurationError` if nothing fills one of its parameters."""
    injected: list[InjectedParameter] = []
    try:
        parameters = signature_of(function).parameters.values()
    except ValueError:  # a builtin without a signature
        return ()
    for parameter in parameters:
        hidden = injected_parameter(parameter.name, resolve_annotation(function, parameter), parameter.default)
        if hidden is not None:
            injected.append(hidden)
        elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
            raise ConfigurationError(
                f"nothing fills the parameter {parameter.name!r} of the dependency {callable_name(function)}; annotate "
                "it with ToolContext or Annotated[…, Depends(…)], or give it a default"
            )
    return tuple(injected)
