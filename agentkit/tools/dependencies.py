"""Dependencies of tools: created once in a run, at first use, and cleaned up at its end."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self, TypeAlias

import anyio

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError
from agentkit.tools.context import InjectedParameter, ToolContext, injected_parameter
from agentkit.tools.schema.annotations import resolve_annotation
from agentkit.tools.schema.callables import annotated_function, callable_name

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
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._values:
            # Generators are closed in the same way however the run ended, so none needs a `finally`.
            with anyio.CancelScope(shield=True):
                await self._stack.aclose()

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
        if inspect.isasyncgenfunction(function):
            return await self._stack.enter_async_context(asynccontextmanager(function)(**arguments))
        if inspect.isgeneratorfunction(function):
            manager = contextmanager(function)(**arguments)
            value: object = await self._threads.run(manager.__enter__)
            self._stack.push_async_callback(self._threads.run, partial(manager.__exit__, None, None, None))
            return value
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        async with self._threads.here():
            (value,) = await self._threads.run(lambda: (function(**arguments),))  # trio takes no bare awaitable
        return await value if inspect.isawaitable(value) else value


def injected_parameters(function: _Function) -> tuple[InjectedParameter, ...]:
    """Return what a dependency itself depends on; `ConfigurationError` if nothing fills one of its parameters."""
    injected: list[InjectedParameter] = []
    target = annotated_function(function)
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin without a signature
        return ()
    for parameter in parameters:
        hidden = injected_parameter(parameter.name, resolve_annotation(target, parameter), parameter.default)
        if hidden is not None:
            injected.append(hidden)
        elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
            raise ConfigurationError(
                f"nothing fills the parameter {parameter.name!r} of the dependency {callable_name(function)}; annotate "
                "it with ToolContext or Annotated[…, Depends(…)], or give it a default"
            )
    return tuple(injected)
