"""Parameters that the model does not see: the run's context, and dependencies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from time import monotonic
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, NamedTuple, NoReturn, Self, TypeVar, Union, get_args, get_origin

from agentkit.core.errors import InvalidRequest, ToolDefinitionError
from agentkit.core.messages import Message, ToolCall, Usage, UserMessage
from agentkit.core.parts import Content
from agentkit.tools.schema.annotations import unwrap_annotation

DepsT = TypeVar("DepsT")


def _refuse_field(*_: object) -> NoReturn:
    """Refuse to be a part of a schema: the model would fill what it must not see."""
    raise ToolDefinitionError(
        "Depends(…) and ToolContext mark a whole parameter of a tool; they cannot be inside a list, a model or another "
        "type. Depends takes a function: Depends(get_user)"
    )


class _Hidden:
    """A field of this has no JSON schema: pydantic looks at the fields of a generic dataclass, not at a hook of it."""

    __get_pydantic_json_schema__ = _refuse_field


def _no_run(_: Content | UserMessage) -> NoReturn:
    raise InvalidRequest("this context belongs to no run, so nobody reads a message")


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
    _on_progress: Annotated[Callable[[object], None], _Hidden()] = field(repr=False, compare=False)
    _send: Callable[[Content | UserMessage], None] = field(default=_no_run, repr=False, compare=False)

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

    def send(self, message: Content | UserMessage) -> None:
        """Send a message to the run, which reads it before its next request, after the results of its calls.

        Args:
            message: A text, blocks, or a message, for the model to read as the user's. Whoever wrote what is in it
                speaks to the model so: do not pass on what a stranger wrote.

        Raises:
            InvalidRequest: If the run has ended.
        """
        self._send(message)

    @classmethod
    def of(cls, context: "ToolContext[Any]") -> Self:
        """Return the context as this class, for a parameter that is annotated with a subclass.

        Args:
            context: The context of the call.
        """
        if isinstance(context, cls):
            return context
        return cls(**{part.name: getattr(context, part.name) for part in fields(ToolContext)})


class Depends(NamedTuple):
    """Marks a parameter as a dependency, in `Annotated[T, Depends(function)]`: it receives the function's result.

    The annotation may be an alias, or optional; `Depends(function)` may also be the default of the parameter.

    The function may be sync or async, or a generator that yields once and cleans up at the end of the run, also behind
    a decorator such as `contextmanager`. If the run fails or is cancelled, its error is raised at the `yield`. It may
    take a `ToolContext` and other dependencies. It is called once in a run.

    Attributes:
        function: Returns or yields the value.
    """

    function: Callable[..., object]

    def __get_pydantic_core_schema__(self, *_: object) -> NoReturn:
        _refuse_field()


class InjectedParameter(NamedTuple):
    """A parameter that the model does not see: a dependency, or the run's context as `kind`."""

    name: str
    depends: Depends | None
    kind: type[ToolContext[Any]] = ToolContext


def injected_parameter(name: str, annotation: object, default: object = None) -> InjectedParameter | None:
    """Return a parameter that the model does not see; `None` for any other.

    A marker may stand behind a type alias or beside `None`, and `Depends(…)` may be the default. Of several, the
    nearest to the parameter counts.
    """
    bare, extras = unwrap_annotation(annotation)
    if isinstance(bare, Depends) or bare is Depends:
        _refuse_field()
    for extra in (default, *reversed(extras)):
        if extra is Depends:
            _refuse_field()
        if isinstance(extra, Depends):
            return InjectedParameter(name, extra)
    kind = get_origin(bare) or bare
    if isinstance(kind, type) and issubclass(kind, ToolContext):
        return InjectedParameter(name, None, kind)
    options = [option for option in get_args(bare) if option is not NoneType]
    if kind in (Union, UnionType) and len(options) == 1:
        return injected_parameter(name, options[0])
    return None
