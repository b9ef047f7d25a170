"""The plan of a run: its configuration, and what belongs to the one run."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from types import NoneType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from agentkit.core.chat import ChatRequest, ChatResponse, Settings
from agentkit.core.choice import ToolChoice
from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError, ModelError
from agentkit.core.messages import Message, SystemMessage, ToolCall, Usage
from agentkit.core.model import Model, OnChunk
from agentkit.core.state import State
from agentkit.core.usage import Price, Prices, priced
from agentkit.runs.candidates import Selector
from agentkit.runs.dynamic import Dynamic, given_tools, instructed
from agentkit.runs.events import Emit
from agentkit.runs.governing import governed
from agentkit.runs.inbox import Inbox
from agentkit.runs.known_prices import has_prices, known_cost, load_prices
from agentkit.runs.limits import Budget, Limits
from agentkit.runs.output import Output, OutputValidator
from agentkit.runs.recorder import Recorder
from agentkit.tool_choice import Policy
from agentkit.tools.approval import Ask
from agentkit.tools.context import DepsT, ToolContext
from agentkit.tools.dependencies import Dependencies
from agentkit.tools.middleware import ToolMiddleware
from agentkit.tools.options import Errors
from agentkit.tools.tool import AnyFunction
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import READ_RESULT, result_reader

InputGuardrail: TypeAlias = Callable[[tuple[Message, ...]], object]
"""Gets the messages that a run is given, sync or async, and raises if the run must not begin."""

SendNext: TypeAlias = Callable[[ChatRequest], Awaitable[ChatResponse]]
"""Sends the request: the next middleware, or the model."""


class RequestMiddleware(Protocol):
    """A function around each request.

    async def logged(request, call_next):
        print(len(request.messages))
        return await call_next(request)
    """

    async def __call__(self, request: ChatRequest, call_next: SendNext) -> ChatResponse:
        """Return the reply: that of `call_next`, for this request or another one."""
        ...


OnTruncated: TypeAlias = Literal["error", "continue", "accept"]
"""What the run does with an answer that was truncated."""

_BYTES_PER_TOKEN = 4
_NO_PRICES: Mapping[str, Price] = {}
_NO_OVERRIDES: Mapping[AnyFunction, AnyFunction] = {}
_NO_DEPENDENCIES = Dependencies(Threads(1), {})
_NO_RECORD = Recorder()
_NO_BUDGET = Budget(Limits())
_NOTHING_SENT = Inbox()


async def _no_decision(_: ToolCall) -> None:
    return None


def _ignore(_: object) -> None:
    return None


class Scope(NamedTuple):
    """What belongs to one run alone."""

    run_id: str = ""
    deps: object = None  # the object that the caller passes to its tools
    dependencies: Dependencies = _NO_DEPENDENCIES
    ends: float = inf  # when its time is up, by `time.monotonic`
    ask: Ask = _no_decision
    recorder: Recorder = _NO_RECORD
    budget: Budget = _NO_BUDGET
    emit: Emit = _ignore
    inbox: Inbox = _NOTHING_SENT
    given: dict[int, tuple[Toolbox, Policy]] | None = None  # by a function, for the reply at this place in the history


_NO_RUN = Scope()


class Hooks(NamedTuple):
    """Functions of the caller's around what a run does."""

    middleware: tuple[ToolMiddleware, ...] = ()
    request_middleware: tuple[RequestMiddleware, ...] = ()
    input_guardrails: tuple[InputGuardrail, ...] = ()
    text_validators: tuple[OutputValidator, ...] = ()  # of a plain text; those of a typed answer are in its `Output`

    @classmethod
    def of(
        cls,
        middleware: Iterable[ToolMiddleware],
        request_middleware: Iterable[RequestMiddleware],
        input_guardrails: Iterable[InputGuardrail],
        text_validators: Iterable[OutputValidator],
    ) -> "Hooks":
        return cls(tuple(middleware), tuple(request_middleware), tuple(input_guardrails), tuple(text_validators))


_NO_HOOKS = Hooks()


class Plan(NamedTuple):
    """Everything that a run needs, as one frozen value: the options of `Agent`, and the scope of the run."""

    model: Model
    toolbox: Toolbox
    policy: Policy
    settings: Settings
    limits: Limits
    errors: Errors
    threads: Threads
    max_corrections: int
    on_truncated: OnTruncated = "error"
    output: Output[Any] | None = None
    name: str = "agent"
    instructions: SystemMessage | None = None
    stop_at: frozenset[str] = frozenset()
    observers: tuple[Emit, ...] = ()
    prices: Prices = _NO_PRICES
    selector: Selector | None = None
    deps_type: type = NoneType
    max_repeats: int | None = None
    streamed: bool = False
    overrides: Mapping[AnyFunction, AnyFunction] = _NO_OVERRIDES
    dynamic: Dynamic | None = None
    told: SystemMessage | None = None  # by a function, for the next request
    hooks: Hooks = _NO_HOOKS
    scope: Scope = _NO_RUN  # each run has one of its own

    @property
    def policy_text(self) -> str:
        """The policy as code."""
        return repr(self.policy)

    @property
    def gives_tools(self) -> bool:
        """Whether a function gives the tools, so that they are not known before a request."""
        return self.dynamic is not None and self.dynamic.tools is not None

    async def before_request(self, state: State) -> "Plan":
        """Return the plan for the next request of a state: `equipped`, with what functions give for it."""
        if (dynamic := self.dynamic) is None:
            return self.at(state)
        plan = await self.equipped(state)
        return plan._replace(told=await dynamic.instruct(state), settings=await dynamic.settle(state, plan.settings))

    async def equipped(self, state: State) -> "Plan":
        """Return the plan with the tools for a state: `at`, with those that a function gives.

        The calls of a reply have the tools that its request had. The function is asked for them once, unless the run
        begins with open calls.
        """
        if self.dynamic is None or self.dynamic.tools is None:
            return self.at(state)
        known = {} if self.scope.given is None else self.scope.given
        place = len(state.messages) - (1 + state.answered if state.unanswered else 0)
        if place not in known:
            toolbox = await given_tools(self.dynamic.tools, state, self.toolbox, self.stop_at)
            known.clear()
            known[place] = governed(
                self.policy,
                toolbox,
                self.stop_at,
                self.output,
                self.max_corrections,
                self.max_repeats,
                varying=True,
            )
        toolbox, policy = known[place]
        return self._replace(toolbox=toolbox, policy=policy).at(state)

    def at(self, state: State) -> "Plan":
        """Return the plan for a state: once a result was truncated, there is a tool that reads the rest."""
        if not state.shortened or READ_RESULT in self.toolbox:
            return self
        return self._replace(toolbox=Toolbox([*self.toolbox, result_reader(state.messages, self.limits.result)]))

    def request(self, state: State, choice: ToolChoice) -> ChatRequest:
        """Return the request for the next step."""
        specs = offered = self.toolbox.specs
        form = None if self.output is None else self.output.response_format
        if choice.values:
            specs = offered = tuple([spec.limited(choice.values) for spec in specs])
        if choice.tools is not None or choice.withheld:
            offered = tuple([spec for spec in specs if choice.offers(spec.name)])
        messages = state.messages if self.told is None else instructed(self.told, tuple(state.messages))
        return ChatRequest(messages, offered, choice, self.settings, form, specs)

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None) -> ChatResponse:
        """Ask the model, and count what it costs, also of a reply that breaks off."""
        try:
            reply = await self._sending(on_chunk)(request)
        except ModelError as error:
            if lost := error.usage:
                origin = None if error.sent is None else error.sent.url
                if not self.prices and has_prices(origin):
                    await load_prices()
                cost = self._cost(lost, origin, self.model.name)
                self.scope.budget.spend(replace(lost, cost=cost), lost.total_tokens or 0)
            raise
        if not self.prices and has_prices(reply.message.origin):
            await load_prices()
        return self.paid(request, reply)

    def _sending(self, on_chunk: OnChunk | None) -> SendNext:
        """Return the function that asks the model, through the middleware."""
        send_next: SendNext = partial(_ask, self.model, on_chunk)
        for layer in reversed(self.hooks.request_middleware):
            send_next = partial(layer, call_next=send_next)
        return send_next

    def paid(self, request: ChatRequest, reply: ChatResponse) -> ChatResponse:
        """Count a reply in the budget, and return it with its cost.

        Tokens that the endpoint did not count are estimated. A limited cost must be known: `ConfigurationError`.
        """
        budget, usage = self.scope.budget, reply.usage or Usage(1)
        counted = usage if usage.total_tokens is not None else _estimated(usage, request, reply)
        cost = self._cost(counted, reply.message.origin, reply.model, self.model.name)
        usage = usage if cost == usage.cost else replace(usage, cost=cost)
        budget.spend(usage, counted.total_tokens or 0)
        if usage.cost is None and budget.limits_cost:
            raise ConfigurationError(
                f"Limits(cost=…) needs prices: no price is known for {reply.model or self.model.name!r}, and the "
                "endpoint sent none; give Agent(…, prices={…}), or for those of providers install the extra `prices`"
            )
        return reply if usage is reply.usage else replace(reply, usage=usage)

    def _cost(self, usage: Usage, origin: str | None, *models: str | None) -> float | None:
        """Return what a request cost: as the endpoint says, by the agent's prices, or else by those of its provider."""
        cost = priced(usage, self.prices, *models).cost
        return known_cost(usage, origin, *models) if cost is None and not self.prices else cost


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunContext(ToolContext[DepsT]):
    """The context of a tool in a run, which also has the run's plan: an agent that is a tool runs within it."""

    plan: Plan = field(repr=False)


def _ask(model: Model, on_chunk: OnChunk | None, request: ChatRequest) -> Awaitable[ChatResponse]:
    return model.complete(request, on_chunk)


def _estimated(usage: Usage, request: ChatRequest, reply: ChatResponse) -> Usage:
    prompt, completion = [*request.messages, *request.tools], [choice.message for choice in reply.choices]
    return replace(
        usage,
        prompt_tokens=sum([len(part.encoded) for part in prompt]) // _BYTES_PER_TOKEN,
        completion_tokens=sum([len(message.encoded) for message in completion]) // _BYTES_PER_TOKEN,
    )
