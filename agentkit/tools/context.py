"""What a tool may ask for and the model never sees: the run's context, and what other functions make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar, cast, get_args, get_origin

from agentkit.core.messages import Message, ToolCall, Usage

DepsT = TypeVar("DepsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext(Generic[DepsT]):
    """What a tool may know of the run that it is called in.

    A parameter that is annotated `ToolContext[Deps]` gets it; it is not in the schema.

    Attributes:
        deps: What the run was given: `agent.run(prompt, deps=…)`.
        run_id: The run's own id.
        call: The call: its id, the tool's name, and the arguments as the model wrote them.
        step: The number of the step; the first is 0.
        messages: The history so far, up to the reply that has the call.
        usage: What the run has cost so far.
        ends: When the run is out of time, by `time.monotonic`.
        key: What tells the effect of this call from others, for a tool with `effect="once"`: the same when the call is
            run again after the program was stopped. Hand it to a service that takes an idempotency key.
        plan: What the run goes by; for agents that are tools.
    """

    deps: DepsT
    run_id: str
    call: ToolCall
    step: int
    messages: tuple[Message, ...]
    usage: Usage = field(default_factory=Usage)
    ends: float = inf
    key: str = ""
    _tell: Callable[[object], None] = field(repr=False, compare=False)
    plan: object = field(default=None, repr=False, compare=False)

    @property
    def remaining(self) -> float:
        """How many seconds the run has left; infinite if it has no limit."""
        return max(0.0, self.ends - monotonic())

    def progress(self, value: object) -> None:
        """Tell whoever watches the run how far the tool is.

        Args:
            value: Anything; it comes as a `ToolProgress` event.
        """
        self._tell(value)


@dataclass(frozen=True, slots=True)
class Depends:
    """Stands in `Annotated[T, Depends(function)]`: the parameter gets what the function gives.

    The function may be sync or async, or a generator that yields once and cleans up at the run's end. It may ask for a
    `ToolContext` and for what other functions give. Within a run it is called once.

    Attributes:
        function: What gives the value.
    """

    function: Callable[..., object]


class InjectedParameter(NamedTuple):
    """A parameter that the model does not see.

    Attributes:
        name: The parameter.
        depends: What gives its value; `None` for the run's context.
    """

    name: str
    depends: Depends | None


def injected_parameter(name: str, annotation: object) -> InjectedParameter | None:
    """Tell whether a parameter is one that the model does not see."""
    for extra in cast("tuple[Any, ...]", getattr(annotation, "__metadata__", ())):
        if isinstance(extra, Depends):
            return InjectedParameter(name, extra)
    bare = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return InjectedParameter(name, None) if ToolContext in (bare, get_origin(bare)) else None
