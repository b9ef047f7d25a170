"""Parameters that the model does not see: the run's context, and dependencies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar, cast, get_args, get_origin

from agentkit.core.messages import Message, ToolCall, Usage

DepsT = TypeVar("DepsT")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToolContext(Generic[DepsT]):
    """What a tool knows of the run that calls it.

    A parameter annotated `ToolContext[Deps]` receives it; the parameter is not in the schema.

    Attributes:
        deps: The dependencies of the run: `agent.run(prompt, deps=…)`.
        run_id: The id of the run.
        call: The call: its id, the tool's name, and the arguments as the model wrote them.
        step: The number of the step; the first is 0.
        messages: The history up to and including the reply with the call.
        usage: The run's usage so far.
        ends: When the run's time is over, by `time.monotonic`.
        key: The idempotency key of this call, for a tool with `effect="once"`. It stays the same when the call runs
            again after the program was stopped. Pass it to a service that takes one.
    """

    deps: DepsT
    run_id: str
    call: ToolCall
    step: int
    messages: Sequence[Message]
    usage: Usage = field(default_factory=Usage)
    ends: float = inf
    key: str = ""
    _on_progress: Callable[[object], None] = field(repr=False, compare=False)

    @property
    def remaining(self) -> float:
        """The seconds that the run has left; infinite if it has no limit."""
        return max(0.0, self.ends - monotonic())

    def progress(self, value: object) -> None:
        """Report progress to whoever watches the run, as a `ToolProgress` event.

        Args:
            value: Anything.
        """
        self._on_progress(value)


class Depends(NamedTuple):
    """Marks a parameter as a dependency, in `Annotated[T, Depends(function)]`: it receives the function's result.

    The function may be sync or async, or a generator that yields once and cleans up at the end of the run. It may take
    a `ToolContext` and other dependencies. It is called once in a run.

    Attributes:
        function: Returns or yields the value.
    """

    function: Callable[..., object]


class InjectedParameter(NamedTuple):
    """A parameter that the model does not see; `depends` is `None` for the run's context."""

    name: str
    depends: Depends | None


def injected_parameter(name: str, annotation: object) -> InjectedParameter | None:
    """Return a parameter that the model does not see; `None` for any other."""
    for extra in cast("tuple[Any, ...]", getattr(annotation, "__metadata__", ())):
        if isinstance(extra, Depends):
            return InjectedParameter(name, extra)
    bare = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return InjectedParameter(name, None) if ToolContext in (bare, get_origin(bare)) else None
