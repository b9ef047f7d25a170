"""The agent: a model, its tools, and how it is to use them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import NoneType
from typing import Any, Generic, Unpack, cast, get_args

from typing_extensions import TypeVar

from agentkit.agent.builder import check_limits, check_options, model_of, policy_for, selector_of, stops_of, with_final
from agentkit.agent.subagents import performed_within
from agentkit.core.chat import Settings
from agentkit.core.checks import check_one_of
from agentkit.core.concurrency import Threads
from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import Message, SystemMessage, UserMessage
from agentkit.core.model import Model, preview
from agentkit.core.repair import repaired
from agentkit.core.session import Session
from agentkit.core.usage import Price, Prices
from agentkit.runs.batch.batch import Batch, Inputs, MapOptions
from agentkit.runs.batch.outcomes import Batched
from agentkit.runs.candidates import Selector
from agentkit.runs.enforcement import choose
from agentkit.runs.events import Emit
from agentkit.runs.handle import Run, blocking, watched
from agentkit.runs.lifecycle import RunInput, beginning, perform
from agentkit.runs.limits import Limits
from agentkit.runs.output import FINAL_ANSWER, Mode, OutputValidator, answering, output_of
from agentkit.runs.plan import IDLE, OnTruncated, Plan, Scope
from agentkit.runs.result import Result
from agentkit.tool_choice import Policy, PolicyLike, ToolLike, no_repeat
from agentkit.tools.approval import Approver, Decision
from agentkit.tools.context import ToolContext
from agentkit.tools.options import Errors
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

DepsT = TypeVar("DepsT", default=None)
OutT = TypeVar("OutT", default=str)

NOTHING: Any = None
"""What a run is given unless something is: the type says whether that will do."""
_ON_TRUNCATED = get_args(OnTruncated)
_NO_SETTINGS = Settings()
_DEFAULT_LIMITS = Limits()
_NO_PRICES: Mapping[str, Price] = {}


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
        max_repeats: How often the same call, or the same short cycle of calls, may come in a row: the policy is held
            together with `no_repeat(max_repeats)`, unless it has a `no_repeat` of its own. `None` switches that off.
        max_corrections: How often in a row a model is told that its reply was not taken, and asked again: because it broke
            the tool choice, had a call that was cut, or said nothing.
        on_truncated: What becomes of an answer that its length limit cut: `"error"` ends the run with `IncompleteReply`,
            `"continue"` asks the model to go on, at most `max_corrections` times, and joins what it says, also where a
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
        output_validators: Functions, sync or async, that look at a typed answer and raise `Retry("…")` where the model is to try
            again.
        deps_type: The type of what a run is given for its tools, `run(…, deps=…)`; type checkers hold it to that.
        selector: Picks one of several answers, `Settings(n=5)`: `first_valid` unless given, `majority`, or a function.
        prices: What models cost, for `Usage.cost` and `Limits(cost=…)`: a price, or prices by the names of models.
        name: What it is called in events and traces.

    Raises:
        ConfigurationError: If it cannot work so; the text says what to change.
    """

    __slots__ = ("_plan",)
    _plan: Plan

    def __init__(  # noqa: PLR0913 (each argument is one thing that an agent is made of)
        self,
        model: str | Model,
        *,
        tools: Iterable[AnyFunction | Tool | Toolbox] = (),
        instructions: str | None = None,
        tool_choice: PolicyLike = "auto",
        stop_at: ToolLike | Sequence[ToolLike] | None = None,
        max_repeats: int | None = 5,
        max_corrections: int = 2,
        on_truncated: OnTruncated = "error",
        settings: Settings = _NO_SETTINGS,
        limits: Limits = _DEFAULT_LIMITS,
        errors: Errors = "show",
        threads: int = 64,
        observers: Sequence[Emit] = (),
        output: type[OutT] = str,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
        output_mode: Mode = "tool",
        output_validators: Sequence[OutputValidator] = (),
        deps_type: type[DepsT] = NoneType,  # type: ignore[assignment]  # pyright: ignore[reportArgumentType] (its default)
        selector: Selector | None = None,
        prices: Prices = _NO_PRICES,
        name: str = "agent",
    ) -> None:
        check_options(tools, errors, threads, max_corrections, observers)
        check_one_of("on_truncated", on_truncated, _ON_TRUNCATED)
        toolbox = tools if isinstance(tools, Toolbox) else Toolbox(tools)
        check_limits(limits, toolbox)
        typed = output_of(output, output_mode, output_validators)
        stops = stops_of(stop_at, toolbox)
        toolbox, stops = with_final(toolbox, typed, stops)
        policy = policy_for(tool_choice, toolbox, stops)
        if typed is not None and typed.final is not None:
            policy = answering(policy, FINAL_ANSWER, max_corrections)
        if max_repeats is not None and not policy.has(no_repeat):
            policy = policy & no_repeat(max_repeats).bound(toolbox)
        plan = Plan(
            model_of(model, on_truncated),
            toolbox,
            policy,
            settings,
            limits,
            errors,
            Threads(threads),
            max_corrections,
            on_truncated,
            output=typed,
            name=name,
            instructions=SystemMessage(instructions) if instructions else None,
            stop_at=stops,
            observers=tuple(observers),
            prices=prices,
            selector=selector_of(selector, settings),
            deps_type=deps_type,
            scope=IDLE,
        )
        object.__setattr__(self, "_plan", plan)

    def __repr__(self) -> str:
        return f"Agent({self._plan.model!r}, tools={self._plan.toolbox!r}, tool_choice={self._plan.policy!r})"

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_plan"):
            raise AttributeError(f"an agent is a frozen value; make another one to change its {name}")
        object.__setattr__(self, name, value)

    @property
    def plan(self) -> Plan:
        """Everything that its runs are handed; for what is built on top of agents."""
        return self._plan

    @property
    def name(self) -> str:
        """What it is called in events and traces."""
        return self._plan.name

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
        return self._with(replace(self._plan, overrides={**self._plan.overrides, function: stand_in}))

    def with_model(self, model: str | Model) -> "Agent[DepsT, OutT]":
        """Give an agent that is the same, but asks another model.

        Args:
            model: A model's name, or a model, as for the agent itself.

        Raises:
            ConfigurationError: If it cannot be asked.
        """
        return self._with(replace(self._plan, model=model_of(model, self._plan.on_truncated)))

    def with_name(self, name: str) -> "Agent[DepsT, OutT]":
        """Give an agent that is the same, under another name.

        Args:
            name: What it is called in events and traces, and by what is built on top of agents.
        """
        return self._with(replace(self._plan, name=name))

    async def run(
        self,
        prompt: Prompt | None = None,
        *,
        deps: DepsT = NOTHING,
        approver: Approver | None = None,
        session: Session | None = None,
    ) -> Result[OutT]:
        """Run until the model answers.

        Args:
            prompt: What the user says, a message, or a history (messages, or plain dicts as the wire has them). A
                history that ends in calls without answers begins with those. One that endpoints would refuse, because a
                call has no answer or an answer no call, is mended first; each change is a `HistoryRepaired` event.
                Without one, the conversation in the session goes on where it stopped.
            deps: What its tools may ask for, as `ToolContext.deps`.
            approver: Decides on calls of tools that need approval: a function from the call to `True`, `False`, a
                decision, or `None`. Without a decision the run ends paused: `result.pending` has the calls.
            session: Where the conversation is kept. What it has comes before the prompt; the prompt, each reply and
                each answer are added as they come. One run at a time belongs to a conversation.

        Returns:
            The answer, with the whole history.

        Raises:
            AgentkitError: If there is no answer; `partial` has what the run had done.
        """
        return await perform(self._plan, self._given(prompt, deps, approver, session))

    async def resume(
        self, history: Prompt | Session, decisions: Iterable[Decision], *, deps: DepsT = NOTHING
    ) -> Result[OutT]:
        """Go on with a run that was paused, here or in another process, now or days later.

        Args:
            history: Its messages, `result.messages`, or what was stored of them; or the session that it was kept in.
            decisions: `approve(call)` or `deny(call)` for the calls in `result.pending`. On what is not decided the run
                pauses again.
            deps: As for `run`.

        Raises:
            InvalidRequest: If a decision was made on a call that does not wait, or waits with other arguments.
            AgentkitError: As `run` does.
        """
        session = history if isinstance(history, Session) else None
        given = self._given(None if isinstance(history, Session) else history, deps, None, session)
        return await perform(self._plan, replace(given, decisions=tuple(decisions)))

    def run_sync(
        self,
        prompt: Prompt | None = None,
        *,
        deps: DepsT = NOTHING,
        approver: Approver | None = None,
        session: Session | None = None,
    ) -> Result[OutT]:
        """Run from code that is not async: a script, a thread, or a notebook, whose event loop waits meanwhile.

        See `run` for what goes in and comes out.
        """
        return blocking(lambda: self.run(prompt, deps=deps, approver=approver, session=session))

    def stream(
        self,
        prompt: Prompt | None = None,
        *,
        deps: DepsT = NOTHING,
        approver: Approver | None = None,
        session: Session | None = None,
    ) -> "AbstractAsyncContextManager[Run[OutT]]":
        """Run and watch: text as it is written, tools as they start and finish.

        Leaving the block before the run's end stops the run.

        Args:
            prompt: As for `run`.
            deps: As for `run`.
            approver: As for `run`.
            session: As for `run`.

        Returns:
            A context manager for the run: iterate it for its events; after the last, `result` is there.
        """
        plan, given = replace(self._plan, streamed=True), self._given(prompt, deps, approver, session)

        async def performance(emit: Emit) -> Result[OutT]:
            return await perform(plan, replace(given, emit=emit))

        return watched(performance)

    def map(self, inputs: "Inputs[DepsT]", **options: "Unpack[MapOptions[DepsT]]") -> "Batch[OutT]":
        """Run over many inputs, some at once: `await` it, or enter it and iterate for each outcome as it comes.

        An input that fails does not end the others.

        Args:
            inputs: Prompts, or `Input(prompt, …)` with what is an input's own: a list, an iterator, an async iterator.
            options: How: `concurrency`, `journal` and so on; see `MapOptions`.

        Raises:
            ConfigurationError: If it cannot be done so.
        """
        return Batch[OutT](self._plan, self._given, inputs, cast("MapOptions[Any]", options))

    def map_sync(self, inputs: "Inputs[DepsT]", **options: "Unpack[MapOptions[DepsT]]") -> "Batched[OutT]":
        """Run over many inputs, from code that is not async; see `map`."""
        return self.map(inputs, **options).wait()

    def dry_run(self, prompt: Prompt, *, streamed: bool = False) -> HttpRequest:
        """Give the request that a run would begin with, and send nothing.

        Args:
            prompt: As for `run`.
            streamed: Whether it would be that of `stream`.

        Returns:
            The exact request; `print` it, or look at its `url`, `headers` and `body`. Keys do not show.

        Raises:
            InvalidRequest: If the history ends in calls, which would be run first, or in an answer.
            ConfigurationError: If the model is none that is reached over HTTP.
        """
        state = beginning(self._plan, repaired(messages_of(prompt)).messages)
        plan = replace(self._plan, scope=Scope()).at(state)
        if state.unanswered or state.finished:
            raise InvalidRequest("the history ends in calls or in an answer, so a run would not begin with a request")
        return preview(self._plan.model, plan.request(state, choose(plan, state)), streamed=streamed)

    def as_tool(self, name: str, description: str) -> Tool:
        """Give a tool that asks this agent; another agent may have it.

        The run is one of its own: it sees nothing of the conversation but the prompt. What it uses up counts for the
        run that called it, its events come as `Nested` ones, the `deps` are the same, and that run's approver decides
        on its calls; where nobody does, they are not run.

        Args:
            name: The name that the model calls it by.
            description: What it can do, and when to ask it.
        """

        async def ask(prompt: str, ctx: ToolContext[Any]) -> object:
            """Ask an agent.

            Args:
                prompt: The task, with all that is needed to do it: nothing else of the conversation is seen.
                ctx: The run that asks.
            """
            return (await performed_within(ctx, self._plan, (UserMessage(prompt),))).output

        return Tool.of(ask, name=name, description=description)

    def _with(self, plan: Plan) -> "Agent[DepsT, OutT]":
        """Give an agent with another plan."""
        copy: Agent[DepsT, OutT] = object.__new__(type(self))
        object.__setattr__(copy, "_plan", plan)
        return copy

    def _given(
        self, prompt: Prompt | None, deps: DepsT, approver: Approver | None, session: Session | None
    ) -> "RunInput":
        if deps is None and self._plan.deps_type is not NoneType:
            wanted = self._plan.deps_type.__name__
            raise InvalidRequest(f"the agent's tools ask for a {wanted}, and the run has none: run(…, deps=…)")
        messages: tuple[Message, ...] = () if prompt is None else messages_of(prompt)
        if not messages and (prompt is not None or session is None):
            raise InvalidRequest("a run needs at least one message")
        return RunInput(messages, deps, approver, session)
