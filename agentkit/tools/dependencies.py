"""What tools ask for: made once in a run, where it is first wanted, and cleaned up at the run's end."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from types import TracebackType
from typing import Any, Self

from anyio import CancelScope

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError
from agentkit.tools.context import InjectedParameter, ToolContext, injected_parameter
from agentkit.tools.schema.signature import annotated, annotation_of, callable_name


class Dependencies:
    """What the tools of one run ask for.

    All is made and cleaned up in the run's own task, because what a generator opens must be closed where it was opened.

    Args:
        threads: Where sync functions run.
        overrides: What stands in for a function, as in tests.
    """

    def __init__(self, threads: Threads, overrides: Mapping[Callable[..., object], Callable[..., object]]) -> None:
        self._threads = threads
        self._overrides = overrides
        self._made: dict[Callable[..., object], object] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._made:
            return
        # However the run ended, what is open is closed in the same way: no generator needs a `finally` for that.
        with CancelScope(shield=True):
            await self._stack.aclose()

    async def give(self, hidden: tuple[InjectedParameter, ...], context: ToolContext[Any]) -> dict[str, object]:
        """Give the arguments that the model does not see.

        Args:
            hidden: The parameters.
            context: The context of the call.

        Raises:
            Exception: What a function raised.
        """
        return {
            each.name: context if each.depends is None else await self._make(each.depends.function, context, ())
            for each in hidden
        }

    async def _make(
        self, wanted: Callable[..., object], context: ToolContext[Any], under: tuple[Callable[..., object], ...]
    ) -> object:
        if wanted in self._made:
            return self._made[wanted]
        if wanted in under:
            raise ConfigurationError(
                f"{callable_name(wanted)} depends on itself, through {', '.join(map(callable_name, under))}"
            )
        function = self._overrides.get(wanted, wanted)
        arguments: dict[str, object] = {}
        for each in parameters_of(function):
            made = (
                context if each.depends is None else await self._make(each.depends.function, context, (*under, wanted))
            )
            arguments[each.name] = made
        self._made[wanted] = value = await self._call(function, arguments)
        return value

    async def _call(self, function: Any, arguments: dict[str, object]) -> object:
        if inspect.isasyncgenfunction(function):
            opened: AbstractAsyncContextManager[object] = asynccontextmanager(function)(**arguments)
            return await self._stack.enter_async_context(opened)
        if inspect.isgeneratorfunction(function):
            return await self._stack.enter_async_context(
                _InThread(contextmanager(function)(**arguments), self._threads)
            )
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        async with self._threads.here():
            (value,) = await self._threads.run(lambda: (function(**arguments),))  # trio takes no bare awaitable
        return await value if inspect.isawaitable(value) else value


class _InThread(AbstractAsyncContextManager[object]):
    """A sync context manager whose two ends run in a thread."""

    def __init__(self, inner: AbstractContextManager[object], threads: Threads) -> None:
        self._inner = inner
        self._threads = threads

    async def __aenter__(self) -> object:
        return await self._threads.run(self._inner.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._threads.run(lambda: self._inner.__exit__(kind, error, traceback))


def parameters_of(function: Callable[..., object]) -> tuple[InjectedParameter, ...]:
    """Read what a function that gives something asks for itself.

    Raises:
        ConfigurationError: If it has a parameter that nothing fills.
    """
    found: list[InjectedParameter] = []
    target = annotated(function)
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # one that is built in, and says nothing of what it takes
        return ()
    for each in parameters:
        hidden = injected_parameter(each.name, annotation_of(target, each))
        if hidden is not None:
            found.append(hidden)
        elif each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise ConfigurationError(
                f"{callable_name(function)} gives a value to tools, and nothing fills its parameter {each.name!r}; annotate "
                "it with ToolContext or Annotated[…, Depends(…)], or give it a default"
            )
    return tuple(found)
