"""The options of `@tool`: how a function is offered to a model and run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias, TypedDict, get_args

from agentkit.core.checks import check_number
from agentkit.core.errors import ToolDefinitionError

Errors: TypeAlias = Literal["show", "hide"] | Callable[[Exception], str]
"""What the model sees of an exception: its type and text, only an incident id, or the text that a function returns."""

CallKey: TypeAlias = str | tuple[str, ...] | Callable[[dict[str, object]], object]
"""What identifies a call of a tool: one argument, several, or a value that a function computes from all of them."""

Middleware: TypeAlias = Callable[..., Awaitable[object]]
"""A function around each call, as `ToolMiddleware` describes it."""

Approval: TypeAlias = bool | Callable[[dict[str, object]], bool]
"""Whether calls wait for approval: always, never, or depending on their arguments."""

Isolation: TypeAlias = Literal["process"]
"""Where a sync function runs, if not in a thread."""

Effect: TypeAlias = Literal["once"]
"""Marks a side effect that must not happen twice."""

OnInterrupted: TypeAlias = Literal["ask", "done", "again"]
"""What happens to a call that had started when the program stopped: ask someone, count as done, or run again."""


class ToolOptionsDict(TypedDict, total=False):
    """The options of `@tool`, all optional.

    Attributes:
        name: The name that the model calls it by. Default: the function's name.
        description: What it does. Default: the docstring without its sections.
        strict: Send the schema in the strict form (every object closed, every property required; null stands for a
            default) and ask the endpoint to enforce it.
        timeout: Seconds after which the call gets a timeout error as its result. A sync function keeps running in its
            thread, and agentkit does not wait for it. Waiting for a free thread does not count.
        isolate: `"process"` runs a sync function in a separate process, which is killed at the timeout or when the run
            is cancelled. The function must be at the top level of a module; arguments and result must be picklable.
        sequential: Run it alone: after the calls before it in the same reply, and before those after it.
        errors: What the model sees of an exception: `"show"` for its type and text, `"hide"` for an incident id, or a
            function from the exception to a text. Default: the agent's `errors`.
        repeatable: The same call may be repeated any number of times, as in polling; no guard counts it.
        repeat_key: What identifies a repeated call, if not all the arguments: a parameter, several, or a function of
            the arguments.
        max_retries: How many times in a row the model may call it again after it failed, with a `ModelRetry`, another
            exception or wrong arguments. One more failure ends the run with `StepFailed`. Calls of one reply count
            once. Default: no count of its own.
        max_result: Characters of the longest result that is sent whole. A longer one is truncated in the middle, and
            the model reads the rest with `read_result`. Default: `Limits(result=…)`.
        approval: Whether a call waits for approval (`run(…, approver=…)`, `resume`), or a function of the arguments
            that decides it.
        effect: `"once"` for a side effect that must not happen twice. With a session, a call is recorded before it runs
            and after it ends. A successful call never runs again, wherever the conversation continues.
        key: The idempotency key of an effect: a parameter, several, or a function of the arguments. Another call with
            the same key gets the result of the first. Default: every call has its own key.
        on_interrupted: What happens to a call that had started when the program stopped, so that its outcome is
            unknown: `"ask"` waits for a decision, as with `approval`; `"done"` counts it as done; `"again"` runs it
            again, with the same `ToolContext.key`.
        middleware: Functions around each call; those of the agent are outside of them. See `ToolMiddleware`.
        ends: Its success ends the run, and its result is the output, as with `Agent(stop_at=…)`.
    """

    name: str | None
    description: str | None
    strict: bool
    timeout: float | None
    isolate: Isolation | None
    sequential: bool
    errors: Errors | None
    repeatable: bool
    repeat_key: CallKey | None
    max_retries: int | None
    max_result: int | None
    approval: Approval
    effect: Effect | None
    key: CallKey | None
    on_interrupted: OnInterrupted
    middleware: Sequence[Middleware]
    ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOptions:
    """The options of one tool, with their defaults and checked. `ToolOptionsDict` documents them."""

    name: str | None = None
    description: str | None = None
    strict: bool = False
    timeout: float | None = None
    isolate: Isolation | None = None
    sequential: bool = False
    errors: Errors | None = None
    repeatable: bool = False
    repeat_key: CallKey | None = None
    max_retries: int | None = None
    max_result: int | None = None
    approval: Approval = False
    effect: Effect | None = None
    key: CallKey | None = None
    on_interrupted: OnInterrupted = "ask"
    middleware: Sequence[Middleware] = ()
    ends: bool = False

    def __post_init__(self) -> None:
        if self.timeout != inf:
            check_number("timeout (in seconds)", self.timeout, above=0, optional=True, error=ToolDefinitionError)
        check_number("max_retries", self.max_retries, least=0, whole=True, optional=True, error=ToolDefinitionError)
        check_number("max_result", self.max_result, least=1, whole=True, optional=True, error=ToolDefinitionError)
        for option, allowed in _WORDS.items():
            if (value := getattr(self, option)) not in allowed:
                raise ToolDefinitionError(f"{option} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
        if self.effect is None and (self.key is not None or self.on_interrupted != "ask"):
            raise ToolDefinitionError('key and on_interrupted belong to a tool with effect="once"')

    @property
    def recorded(self) -> bool:
        """Whether the session records a call before it runs."""
        return self.effect is not None or self.approval is not False


_WORDS = {
    "isolate": (None, *get_args(Isolation)),
    "effect": (None, *get_args(Effect)),
    "on_interrupted": get_args(OnInterrupted),
}
DEFAULTS = ToolOptions()
