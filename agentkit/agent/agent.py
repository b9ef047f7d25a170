"""The public class: an agent, and the ways to run it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, Never, NoReturn, Unpack, cast

from typing_extensions import TypeVar

from agentkit.agent.builder import (
    check_observers,
    check_options,
    fixed_and_dynamic,
    governing,
    model_of,
    prepared,
    selector_of,
    stops_of,
    tools_of,
    under,
    with_final,
)
from agentkit.agent.dry_run import first_request
from agentkit.agent.mistakes import check_arguments, limits_of, missing_attribute
from agentkit.agent.subagents import tool_of
from agentkit.core.chat import Settings, SettingsLike
from agentkit.core.concurrency import Threads
from agentkit.core.dicts import Prompt
from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import SystemMessage
from agentkit.core.model import Model
from agentkit.core.session import Session
from agentkit.core.usage import Price, Prices
from agentkit.runs.candidates import Selector
from agentkit.runs.dynamic import GivesTools, Instructions, RequestSettings, Tools
from agentkit.runs.events import Emit
from agentkit.runs.handle import Run, StreamedRun, run_blocking
from agentkit.runs.inbox import Inbox, with_unread
from agentkit.runs.lifecycle import perform
from agentkit.runs.limits import Limits
from agentkit.runs.options import OwnOptions, ResumeOptions, RunOptions
from agentkit.runs.output import Mode, OutputValidator, output_of
from agentkit.runs.plan import Hooks, InputGuardrail, OnTruncated, Plan, RequestMiddleware
from agentkit.runs.result import Result
from agentkit.tool_choice import Policy, PolicyLike, ToolLike, auto
from agentkit.tools.approval import Decision
from agentkit.tools.middleware import ToolMiddleware
from agentkit.tools.options import Errors
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from agentkit.runs.batch.batch import Batch, Inputs, MapOptions
    from agentkit.runs.batch.outcomes import Batched

DepsT = TypeVar("DepsT", default=None)
OutT = TypeVar("OutT", default=str)

_NO_SETTINGS = Settings()
_DEFAULT_LIMITS = Limits()
_NO_PRICES: Mapping[str, Price] = {}


class Agent(Generic[DepsT, OutT]):
    """A model with tools, a policy and limits. Agents are frozen values.

    One agent can run any number of times concurrently, in any event loop and thread.

    Args:
        model: A model's name, for the endpoint in `AGENTKIT_BASE_URL`, or with a provider, as in
            `"openai:gpt-5-mini"`; `"local"` or `"local:path/to/model.gguf"` for a model inside this process; or a
            model, such as `ChatClient(…)`.
        tools: Functions that the model may call; also tools and toolboxes. Or a function, sync or async, from the state
            to these, which is called before each request.
        instructions: The system prompt; also a function, sync or async, from the state to one, which is called before
            each request. `state.deps` has the dependencies. What it returns is sent, and not stored in the history.
        tool_choice: The policy that decides before every request which tools the model may or must call: `"auto"`,
            `"none"`, `"required"`, a tool, a policy from `agentkit.tool_choice`, or a function from the state to one of
            these.
        stop_at: One or more tools whose success ends the run; the tool's result is the output.
        max_repeats: How many times in a row the model may make the same call, or the same short cycle of calls: the
            policy is combined with `no_repeat(max_repeats)`, unless it has a `no_repeat` already. `None` is no limit.
        max_corrections: How many times in a row a reply may be rejected and the model asked again: because the reply
            broke the tool choice, had a truncated call, or was empty.
        on_truncated: What happens to an answer that is truncated by its length limit or a broken connection. `"error"`
            raises `IncompleteReply`. `"continue"` asks the model to continue, at most `max_corrections` times, and
            joins the pieces. `"accept"` takes an answer truncated by its length as it is.
        settings: Sampling settings, such as the temperature; also as a mapping, or a function as for `instructions`.
        limits: The limits of a run: steps, calls, tokens, cost, time.
        errors: What the model sees of an exception in a tool: `"show"` for its type and text, `"hide"` for an incident
            id, or a function from the exception to a text. The model always sees a `ToolError`. Events have the whole
            exception in any case.
        threads: How many sync tools run concurrently, over all runs.
        observers: Functions that get every event of every run.
        output: The type of the output, for structured output: a pydantic model, a dataclass, a TypedDict, a Literal, a
            list, a scalar.
        output_mode: `"tool"` lets the model call a final-answer tool, which works beside other tools and on any
            endpoint. `"format"` makes the endpoint restrict its text to a JSON schema (`response_format`).
        output_validators: Guardrails: functions, sync or async, that check the output, a text or a structured one. They
            raise `ModelRetry("…")` to ask the model again.
        input_guardrails: Functions, sync or async, that get the messages that a run is given, and raise an error if it
            must not begin. Nothing is sent or stored then.
        middleware: Functions around each call of a tool: `async def guard(call, context, call_next)`. One may change
            the arguments, which are validated and judged again, refuse with a `ToolError`, answer itself, retry, or
            change the result. The first is the outermost.
        request_middleware: Functions around each request: `async def log(request, call_next)`.
        deps_type: The type of the dependencies that a run passes to its tools with `run(…, deps=…)`, for type checkers.
        selector: Selects one of several answers, with `Settings(n=5)`: `first_valid` by default, `majority`, or a
            function.
        prices: The prices of models, for `Usage.cost` and `Limits(cost=…)`: one price, or prices by model name. By
            default those of known providers, with the extra `prices`.
        name: The agent's name in events and traces.

    Raises:
        ConfigurationError: If the arguments contradict each other; the text says what to change.

    Example:
        >>> agent = Agent("some-model", tools=[get_weather], instructions="Be brief.")
        >>> agent.run_sync("Is it raining in Paris?").output
    """

    __slots__ = ("_plan",)
    _plan: Plan

    def __init__(  # noqa: PLR0913 (each argument is one thing that an agent is made of)
        self,
        model: str | Model,
        *,
        tools: Tools | GivesTools = (),
        instructions: str | Instructions | None = None,
        tool_choice: PolicyLike = "auto",
        stop_at: ToolLike | Sequence[ToolLike] | None = None,
        max_repeats: int | None = 5,
        max_corrections: int = 2,
        on_truncated: OnTruncated = "error",
        settings: SettingsLike | RequestSettings = _NO_SETTINGS,
        limits: Limits = _DEFAULT_LIMITS,
        errors: Errors = "show",
        threads: int = 64,
        observers: Sequence[Emit] = (),
        output: type[OutT] = str,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
        output_mode: Mode = "tool",
        output_validators: Sequence[OutputValidator] = (),
        input_guardrails: Sequence[InputGuardrail] = (),
        middleware: Sequence[ToolMiddleware] = (),
        request_middleware: Sequence[RequestMiddleware] = (),
        deps_type: type[DepsT] = NoneType,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
        selector: Selector | None = None,
        prices: Prices = _NO_PRICES,
        name: str = "agent",
        **unknown: Never,
    ) -> None:
        check_arguments(unknown)
        toolbox, give = tools_of(tools)
        fixed, dynamic = fixed_and_dynamic(instructions, settings, give)
        check_options(instructions, errors, threads, max_corrections, observers, on_truncated)
        typed = output_of(output, output_mode, output_validators)
        toolbox, stops = with_final(toolbox, typed, stops_of(stop_at, toolbox))
        plan = Plan(
            model_of(model, on_truncated),
            toolbox,
            auto,
            fixed,
            limits_of(limits),
            errors,
            Threads(threads),
            max_corrections,
            on_truncated,
            output=typed,
            name=name,
            instructions=SystemMessage(instructions) if instructions and isinstance(instructions, str) else None,
            stop_at=stops,
            observers=tuple(observers),
            prices=prices,
            selector=selector_of(selector, fixed),
            deps_type=deps_type,
            max_repeats=max_repeats,
            dynamic=dynamic,
            hooks=Hooks.of(middleware, request_middleware, input_guardrails, () if typed else output_validators),
        )
        object.__setattr__(self, "_plan", governing(plan, tool_choice))

    def __repr__(self) -> str:
        return f"Agent({self._plan.model!r}, tools={self._plan.toolbox!r}, tool_choice={self._plan.policy!r})"

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_plan"):
            raise AttributeError(f"an agent is frozen: make another one to change its {name}")
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # checkers would take every name for an attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(name)

    @property
    def plan(self) -> Plan:
        """Everything that its runs use, for code that is built on top of agents."""
        return self._plan

    @property
    def name(self) -> str:
        """The agent's name in events and traces."""
        return self._plan.name

    @property
    def tools(self) -> Toolbox:
        """The tools.

        Raises:
            ConfigurationError: If a function of the state gives them.
        """
        if self._plan.gives_tools:
            raise ConfigurationError("a function gives the agent's tools for each request; name them to analyse them")
        return self._plan.toolbox

    @property
    def tool_choice(self) -> Policy:
        """The policy, with the guard against repetition."""
        return self._plan.policy

    @property
    def stop_at(self) -> frozenset[str]:
        """The names of the tools whose success ends a run."""
        return self._plan.stop_at

    def override(self, function: AnyFunction, stand_in: AnyFunction) -> "Agent[DepsT, OutT]":
        """Return an agent that uses another function for a dependency of its tools, for tests.

        Args:
            function: The function in `Depends(…)`.
            stand_in: The function to call instead.
        """
        return self._with(self._plan._replace(overrides={**self._plan.overrides, function: stand_in}))

    def with_model(self, model: str | Model) -> "Agent[DepsT, OutT]":
        """Return the same agent with another model, or a model's name.

        Raises:
            ConfigurationError: If there is no such model.
        """
        return self._with(self._plan._replace(model=model_of(model, self._plan.on_truncated)))

    def with_name(self, name: str) -> "Agent[DepsT, OutT]":
        """Return the same agent under another name."""
        return self._with(self._plan._replace(name=name))

    def with_observers(self, *observers: Emit) -> "Agent[DepsT, OutT]":
        """Return the same agent with more observers.

        Raises:
            ConfigurationError: If one is no plain function.
        """
        check_observers(observers)
        return self._with(self._plan._replace(observers=(*self._plan.observers, *observers)))

    async def run(self, prompt: Prompt | None = None, **options: "Unpack[RunOptions[DepsT]]") -> Result[OutT]:
        """Run until the model answers.

        Args:
            prompt: The user's text, a message, or a history of messages or dicts, as in a request. If the history ends
                in calls without results, the run begins with those. A history that endpoints would refuse, because a
                call lacks its result or a result its call, is repaired first; each repair is a `HistoryRepaired` event.
                Without a prompt, the conversation in the session continues where it stopped.
            **options: `deps`, `approver` and `session`, and what this run has in place of the agent's own: `model`,
                `tool_choice`, `settings`, `limits`; see `RunOptions`.

        Returns:
            The output, with the whole history.

        Raises:
            ConfigurationError: If an option is unknown or does not fit the agent.
            AgentkitError: If there is no answer; `partial` has the messages and the usage so far.

        Example:
            >>> await agent.run("Is it raining in Paris?", settings=Settings(temperature=0), limits=Limits(steps=3))
        """
        return await perform(*prepared(self._plan, prompt, options))

    async def resume(
        self, history: Prompt | Session, decisions: Iterable[Decision], **options: "Unpack[ResumeOptions[DepsT]]"
    ) -> Result[OutT]:
        """Resume a paused run, in this process or another one, now or days later.

        Args:
            history: The messages of the paused run, `result.messages`, also as dicts, and after them its unread ones;
                or its session.
            decisions: `approve(call)` or `deny(call)` for the calls in `result.pending`. For the others the run pauses
                again.
            **options: As for `run`, without a session and an approver.

        Raises:
            AgentkitError: As `run` does; `InvalidRequest` if a decided call does not wait, or with other arguments.
        """
        session = history if isinstance(history, Session) else None
        prompt = None if isinstance(history, Session) else history
        plan, given = prepared(self._plan, prompt, {"approver": None, "session": session, **options})
        messages, inbox = with_unread(given.messages)
        return await perform(plan, given._replace(messages=messages, decisions=tuple(decisions), inbox=inbox))

    def run_sync(self, prompt: Prompt | None = None, **options: "Unpack[RunOptions[DepsT]]") -> Result[OutT]:
        """Run as `run` does, from code that is not async: a script, a thread, or a notebook, whose loop waits."""
        return run_blocking(lambda: self.run(prompt, **options))

    def stream(
        self, prompt: Prompt | None = None, **options: "Unpack[RunOptions[DepsT]]"
    ) -> "AbstractAsyncContextManager[Run[OutT]]":
        """Run with streaming: events come as the model writes text and as tools start and finish.

        The arguments are those of `run`. Leaving the block early cancels the run; `run.send` and `run.stop` steer it.

        Returns:
            A context manager for the run: iterate over its events; after the last one, `run.result` is set.

        Example:
            >>> async with agent.stream("Plan a weekend in Rome") as run:
            ...     async for event in run: print(event)
        """
        plan, given = prepared(self._plan, prompt, options)

        async def run(emit: Emit, inbox: Inbox) -> Result[OutT]:
            return await perform(plan._replace(streamed=True), given._replace(emit=emit, inbox=inbox))

        return StreamedRun(run)

    def map(self, inputs: "Inputs[DepsT]", **options: "Unpack[MapOptions[DepsT]]") -> "Batch[OutT]":
        """Run many inputs concurrently: `await` the batch, or enter it and iterate over the outcomes as they come.

        One input that fails does not end the others. With a journal, run it again to resume.

        Args:
            inputs: Prompts, or `Input(prompt, …)` for one with options of its own: a list, an iterator, or an async
                iterator.
            options: `concurrency`, `journal` and so on; see `MapOptions`.

        Raises:
            ConfigurationError: If an option is out of range.
        """
        from agentkit.runs.batch.batch import Batch, MapOptions  # noqa: PLC0415

        plan = under(self._plan, options, frozenset(MapOptions.__annotations__))
        return Batch[OutT](plan, partial(prepared, plan), inputs, cast("MapOptions[Any]", options))

    def map_sync(self, inputs: "Inputs[DepsT]", **options: "Unpack[MapOptions[DepsT]]") -> "Batched[OutT]":
        """Run many inputs as `map` does, from code that is not async."""
        return self.map(inputs, **options).wait()

    def dry_run(self, prompt: Prompt, *, streamed: bool = False, **options: "Unpack[OwnOptions]") -> HttpRequest:
        """Return the first request of a run, and send nothing.

        Args:
            prompt: As for `run`.
            streamed: Whether to return the request of `stream`.
            **options: What this run would have in place of the agent's own, as for `run`.

        Returns:
            The exact request, to print or for its `url`, `headers` and `body`. API keys are hidden.

        Raises:
            InvalidRequest: If the run would not begin with a request: open calls, an answer, or a known first call.
            ConfigurationError: If the model is not reached over HTTP.
        """
        return first_request(under(self._plan, options), prompt, streamed=streamed)

    def as_tool(self, name: str, description: str, **options: "Unpack[OwnOptions]") -> Tool:
        """Return a tool that runs this agent as a sub-agent of another one.

        The run has a history of its own: it sees only the prompt that the calling model writes. The calling run passes
        on its `deps` and its approver, and counts the usage; a call without a decision does not run. The sub-agent's
        events come as `Nested`.

        Args:
            name: The tool's name.
            description: What the agent can do, and when to call it.
            **options: What these runs have in place of the agent's own, as for `run`.
        """
        return tool_of(under(self._plan, options), name, description)

    def _with(self, plan: Plan) -> "Agent[DepsT, OutT]":
        copy: Agent[DepsT, OutT] = object.__new__(type(self))
        object.__setattr__(copy, "_plan", plan)
        return copy
