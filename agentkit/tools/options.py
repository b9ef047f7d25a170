"""How a function is offered to a model and run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from agentkit.core.errors import ToolDefinitionError

Errors: TypeAlias = Literal["show", "hide"] | Callable[[Exception], str]
"""What a model is told of an exception: its type and text, an incident id only, or what a function makes of it."""

CallKey: TypeAlias = str | tuple[str, ...] | Callable[[dict[str, object]], object]
"""What tells the calls of a tool apart: one argument, several, or what a function makes of them all."""

Approval: TypeAlias = bool | Callable[[dict[str, object]], bool]
"""Whether calls wait until someone allows them: always, never, or by their arguments."""

Isolation: TypeAlias = Literal["process"]
"""Where a sync function runs, if not in a thread."""

Effect: TypeAlias = Literal["once"]
"""What a call does to the world: something that must not happen twice."""

OnInterrupted: TypeAlias = Literal["ask", "done", "again"]
"""What becomes of a call that had started when the program was stopped: someone decides, it is taken as done, or it is
run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOptions:
    """How a function is offered and run.

    Attributes:
        name: The name that the model calls it by; the function's own unless given.
        description: What it does; the docstring's text unless given.
        strict: Send the schema in the strict form and ask the endpoint to hold the model to it.
        timeout: Seconds after which the call is answered as timed out; `None` waits as long as the run does.
        isolate: Run it in a process of its own, which is killed where a thread would be left behind.
        sequential: Run it alone: after the calls before it in the same reply, and before those after it.
        errors: What the model is told when it raises; the agent's own rule unless given.
        repeatable: The same call may come again and again, as in polling.
        repeat_key: What tells its calls apart, if not all the arguments: a parameter, several, or a function of them.
        max_result: Characters of the longest result that is sent whole; `Limits(result=…)` unless given.
        approval: Whether a call waits until someone allows it, or a function of its arguments that says so.
        effect: `"once"` for what must not happen twice.
        key: What tells an effect from others: a parameter, several, or a function of the arguments.
        on_interrupted: What becomes of a call that had started when the program was stopped.
        ends: Its success ends the run.
    """

    name: str | None = None
    description: str | None = None
    strict: bool = False
    timeout: float | None = None
    isolate: Isolation | None = None
    sequential: bool = False
    errors: Errors | None = None
    repeatable: bool = False
    repeat_key: CallKey | None = None
    max_result: int | None = None
    approval: Approval = False
    effect: Effect | None = None
    key: CallKey | None = None
    on_interrupted: OnInterrupted = "ask"
    ends: bool = False

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:
            raise ToolDefinitionError(f"timeout must be a number of seconds above 0, not {self.timeout!r}")
        if self.isolate not in (None, "process"):
            raise ToolDefinitionError(f'isolate must be "process" or None, not {self.isolate!r}')
        if self.max_result is not None and self.max_result < 1:
            raise ToolDefinitionError(f"max_result must be a number of characters above 0, not {self.max_result!r}")
        if self.effect not in (None, "once"):
            raise ToolDefinitionError(f'effect must be "once" or None, not {self.effect!r}')
        if self.on_interrupted not in get_args(OnInterrupted):
            raise ToolDefinitionError(f'on_interrupted must be "ask", "done" or "again", not {self.on_interrupted!r}')
        if self.effect is None and (self.key is not None or self.on_interrupted != "ask"):
            raise ToolDefinitionError('key and on_interrupted belong to a tool with effect="once"')

    @property
    def recorded(self) -> bool:
        """Whether a session is told before a call runs."""
        return self.effect is not None or self.approval is not False


DEFAULTS = ToolOptions()
