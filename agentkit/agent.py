"""The agent: a model, its tools, and how it is to use them."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from inspect import iscoroutinefunction
from types import NoneType
from typing import Any, Generic, get_args

from typing_extensions import TypeVar

from agentkit.approval import Approver, Decision, decided
from agentkit.client import ChatClient
from agentkit.errors import ConfigurationError, InvalidRequest
from agentkit.events import Emit, Event
from agentkit.history import Prompt, messages_of
from agentkit.limits import Limits
from agentkit.local import LocalModel
from agentkit.messages import DeveloperMessage, Message, SystemMessage, ToolCall
from agentkit.model import Model
from agentkit.models import Continuing
from agentkit.options import Errors
from agentkit.outputs import FINAL_ANSWER, Check, Mode, answering, output_of
from agentkit.plan import Cut, Plan
from agentkit.repair import Repair, repaired
from agentkit.results import Result
from agentkit.runs import Given, Run, blocking, perform, watched
from agentkit.state import State
from agentkit.threads import Threads
from agentkit.tool_choice import Policy, PolicyLike, ToolLike, no_repeat, policy_of
from agentkit.tool_choice.protocol import name_of_tool
from agentkit.tools import AnyFunction, Tool, Toolbox
from agentkit.wire import Settings

DepsT = TypeVar("DepsT", default=None)
OutT = TypeVar("OutT", default=str)

NOTHING: Any = None
"""What a run is given unless something is: the type says whether that will do."""
_NO_SETTINGS = Settings()
_DEFAULT_LIMITS = Limits()


class Agent(Generic[DepsT, OutT]):
    """A model with tools. A frozen value: one agent may serve any number of runs at once, in any event loop and thread.

    Args:
        model: A model's name, for the endpoint in `AGENTKIT_BASE_URL`; `"local"` or `"local:path/to/model.gguf"`, for
            one inside this process; or a model, such as `ChatClient(…)`.
        tools: Functions that the model may call; also tools and toolboxes.
        instructions: What the model is told first, as the system message.
        tool_choice: The policy that decides, before every request, which tools the model may or must call: `"auto"`,
            `"none"`, `"required"`, a tool, a policy from `agentkit.tool_choice`, or a function from the state to any of
            these.
        stop_at: A tool, or several, whose success ends the run; its result is the output.
        repeats: How often the same call, or the same short cycle of calls, may come in a row: the policy is held
            together with `no_repeat(repeats)`, unless it has a `no_repeat` of its own. `None` switches that off.
        corrections: How often in a row a model is told that its reply was not taken, and asked again: because it broke
            the tool choice, had a call that was cut, or said nothing.
        cut: What becomes of an answer that its length limit cut: `"error"` ends the run with `IncompleteReply`,
            `"continue"` asks the model to go on, at most `corrections` times, and joins what it says, also where a
            connection broke; `"accept"` takes it as it is.
        settings: How the model is to answer: temperature and the like.
        limits: What a run may use up.
        errors: What the model is told when a tool raises: `"show"` for the exception's type and text, `"hide"` for an
            incident id, or a function from the exception to a text. A `ToolError` is always told. Events have the whole
            exception in any case.
        threads: How many sync tools may run at once, over all runs.
        observers: Functions that get every event of every run.
        output: The type of the answer: a pydantic model, a dataclass, a TypedDict, a Literal, a list, a scalar.
        output_mode: `"tool"` has the model call a final-answer tool, beside other tools and on any endpoint; `"format"`
            has the endpoint hold its text to a JSON schema (`response_format`).
        checks: Functions, sync or async, that look at a typed answer and raise `Retry("…")` where the model is to try
            again.
        deps_type: The type of what a run is given for its tools, `run(…, deps=…)`; type checkers hold it to that.

    Raises:
        ConfigurationError: If it cannot work so; the text says what to change.
    """

    __slots__ = ("_deps_type", "_instructions", "_observers", "_plan", "_stop_at")

    def __init__(  # noqa: PLR0913 (each argument is one thing that an agent is made of)
        self,
        model: str | Model,
        *,
        tools: Iterable[AnyFunction | Tool | Toolbox] = (),
        instructions: str | None = None,
        tool_choice: PolicyLike = "auto",
        stop_at: ToolLike | Sequence[ToolLike] | None = None,
        repeats: int | None = 5,
        corrections: int = 2,
        cut: Cut = "error",
        settings: Settings = _NO_SETTINGS,
        limits: Limits = _DEFAULT_LIMITS,
        errors: Errors = "show",
        threads: int = 64,
        observers: Sequence[Emit] = (),
        output: type[OutT] = str,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
        output_mode: Mode = "tool",
        checks: Sequence[Check] = (),
        deps_type: type[DepsT] = NoneType,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
    ) -> None:
        _check_options(tools, errors, threads, corrections, observers)
        if cut not in get_args(Cut):
            raise ConfigurationError(f'cut is "error", "continue" or "accept", not {cut!r}')
        toolbox = tools if isinstance(tools, Toolbox) else Toolbox(tools)
        ends = (stop_at,) if isinstance(stop_at, str | Tool) or callable(stop_at) else stop_at or ()
        self._stop_at = frozenset([name_of_tool(each) for each in ends])
        typed = output_of(output, output_mode, checks)
        final = None if typed is None else typed.final
        if final is not None:
            if ends:
                raise ConfigurationError("a typed answer ends the run, so stop_at has no place beside output")
            toolbox, self._stop_at = Toolbox([*toolbox, final]), frozenset({FINAL_ANSWER})
        policy = _checked(policy_of(tool_choice).bound(toolbox), toolbox, self._stop_at)
        policy = policy if final is None else answering(policy, FINAL_ANSWER, corrections)
        if repeats is not None and not policy.has(no_repeat):
            policy = policy & no_repeat(repeats).bound(toolbox)
        self._instructions = SystemMessage(instructions) if instructions else None
        self._observers = tuple(observers)
        self._deps_type: type = deps_type
        asked = Continuing(_model_of(model)) if cut == "continue" else _model_of(model)
        self._plan = Plan(
            asked, toolbox, policy, settings, limits, errors, Threads(threads), corrections, cut, output=typed
        )

    def __repr__(self) -> str:
        return f"Agent({self._plan.model!r}, tools={self._plan.toolbox!r}, tool_choice={self._plan.policy!r})"

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_plan"):
            raise AttributeError(f"an agent is a frozen value; make another one to change its {name}")
        object.__setattr__(self, name, value)

    @property
    def tools(self) -> Toolbox:
        """The tools, by name."""
        return self._plan.toolbox

    @property
    def tool_choice(self) -> Policy:
        """The policy that decides on the tool choice, with the guard against repetition."""
        return self._plan.policy

    def override(self, function: AnyFunction, stand_in: AnyFunction) -> "Agent[DepsT, OutT]":
        """Give an agent in which another function stands in for one that tools depend on, as for tests.

        Args:
            function: What stands in `Depends(…)`.
            stand_in: What is called instead.
        """
        copy: Agent[DepsT, OutT] = object.__new__(type(self))
        for name in Agent.__slots__:
            if name != "_plan":
                object.__setattr__(copy, name, getattr(self, name))
        overrides = {**self._plan.overrides, function: stand_in}
        object.__setattr__(copy, "_plan", replace(self._plan, overrides=overrides))
        return copy

    async def run(self, prompt: Prompt, *, deps: DepsT = NOTHING, approver: Approver | None = None) -> Result[OutT]:
        """Run until the model answers.

        Args:
            prompt: What the user says, a message, or a history (messages, or plain dicts as the wire has them). A
                history that ends in calls without answers begins with those. One that endpoints would refuse, because a
                call has no answer or an answer no call, is mended first; each change is a `HistoryRepaired` event.
            deps: What its tools may ask for, as `ToolContext.deps`.
            approver: Decides on calls of tools that need approval: a function from the call to `True`, `False`, a
                decision, or `None`. Without a decision the run ends paused: `result.pending` has the calls.

        Returns:
            The answer, with the whole history.

        Raises:
            AgentkitError: If there is no answer; `partial` has what the run had done.
        """
        state, repairs = self._begin(prompt, deps)
        return await perform(self._plan, state, self._told, Given(repairs, deps, approver))

    async def resume(self, history: Prompt, decisions: Iterable[Decision], *, deps: DepsT = NOTHING) -> Result[OutT]:
        """Go on with a run that was paused, here or in another process, now or days later.

        Args:
            history: Its messages, `result.messages`, or what was stored of them.
            decisions: `approve(call)` or `deny(call)` for the calls in `result.pending`. On what is not decided the run
                pauses again.
            deps: As for `run`.

        Raises:
            InvalidRequest: If a decision was made on a call that does not wait, or waits with other arguments.
            AgentkitError: As `run` does.
        """
        state, repairs = self._begin(history, deps)
        found = decided(decisions, state.unanswered)

        async def approver(call: ToolCall) -> Decision | None:
            return found.get(call.id)

        return await perform(self._plan, state, self._told, Given(repairs, deps, approver))

    def run_sync(self, prompt: Prompt, *, deps: DepsT = NOTHING, approver: Approver | None = None) -> Result[OutT]:
        """Run from code that is not async: a script, a thread, or a notebook, whose event loop waits meanwhile.

        See `run` for what goes in and comes out.
        """
        return blocking(lambda: self.run(prompt, deps=deps, approver=approver))

    def stream(
        self, prompt: Prompt, *, deps: DepsT = NOTHING, approver: Approver | None = None
    ) -> AbstractAsyncContextManager[Run[OutT]]:
        """Run and watch: text as it is written, tools as they start and finish.

        Leaving the block before the run's end stops the run.

        Args:
            prompt: As for `run`.
            deps: As for `run`.
            approver: As for `run`.

        Returns:
            A context manager for the run: iterate it for its events; after the last, `result` is there.
        """
        plan, (state, repairs) = replace(self._plan, streamed=True), self._begin(prompt, deps)

        async def performance(emit: Emit) -> Result[OutT]:
            def both(event: Event) -> None:
                self._told(event)
                emit(event)

            return await perform(plan, state, both, Given(repairs, deps, approver))

        return watched(performance)

    def _begin(self, prompt: Prompt, deps: DepsT) -> tuple[State, tuple[Repair, ...]]:
        if deps is None and self._deps_type is not NoneType:
            raise InvalidRequest(
                f"the agent's tools ask for a {self._deps_type.__name__}, and the run has none: run(…, deps=…)"
            )
        messages, repairs = repaired(messages_of(prompt))
        if not messages:
            raise InvalidRequest("a run needs at least one message")
        if self._instructions is not None and not _instructed(messages):
            messages = (self._instructions, *messages)
        return State.of(messages, self._stop_at), repairs

    def _told(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)


def _check_options(tools: object, errors: object, threads: int, corrections: int, observers: Sequence[object]) -> None:
    if not isinstance(tools, Iterable):
        raise ConfigurationError(f"tools takes a list of functions, not {tools!r}")
    if errors not in ("show", "hide") and not callable(errors):
        raise ConfigurationError(f'errors is "show", "hide" or a function, not {errors!r}')
    if threads < 1:
        raise ConfigurationError(f"sync tools need at least 1 thread, not {threads}")
    if corrections < 0:
        raise ConfigurationError(f"corrections is how often the model is asked again, 0 or more, not {corrections}")
    for observer in observers:
        if iscoroutinefunction(observer):
            raise ConfigurationError(f"{observer!r} is async; an observer is an ordinary function that does not block")


def _instructed(messages: tuple[Message, ...]) -> bool:
    return isinstance(messages[0], SystemMessage | DeveloperMessage)


def _checked(policy: Policy, toolbox: Toolbox, stop_at: frozenset[str]) -> Policy:
    for name in sorted((policy.tools | stop_at) - toolbox.names):
        where = repr(policy) if name in policy.tools else "stop_at"
        known = ", ".join(sorted(toolbox.names)) or "none"
        raise ConfigurationError(f"{where} names {name!r}, which is not a tool of the agent; those are: {known}")
    if not policy.can_answer and not stop_at:
        raise ConfigurationError(
            f"under {policy!r} the model could never answer, so a run would call tools until a limit ends it. "
            f"Release it: first({policy!r}, then=auto), until_called(tool, {policy!r}) or {policy!r} & budget(8); or "
            "end the run with a tool: Agent(…, stop_at=tool)"
        )
    return policy


def _model_of(model: str | Model) -> Model:
    if not isinstance(model, str):
        return model
    kind, colon, path = model.partition(":")
    if kind == "local":
        return LocalModel(path if colon else None)
    return ChatClient(model)
