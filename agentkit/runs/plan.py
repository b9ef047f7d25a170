"""What a run goes by."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from types import NoneType
from typing import Any, Literal, TypeAlias

from agentkit.core.chat import ChatRequest, ChatResponse, Settings
from agentkit.core.choice import ToolChoice
from agentkit.core.concurrency import Threads
from agentkit.core.errors import ConfigurationError
from agentkit.core.messages import SystemMessage, ToolCall, Usage
from agentkit.core.model import Model
from agentkit.core.state import State
from agentkit.core.usage import Price, Prices, priced
from agentkit.runs.candidates import Selector
from agentkit.runs.events import Emit
from agentkit.runs.limits import Budget, Limits
from agentkit.runs.output import Output
from agentkit.runs.recorder import Recorder
from agentkit.tool_choice import Policy
from agentkit.tools.approval import Ask
from agentkit.tools.dependencies import Dependencies
from agentkit.tools.options import Errors
from agentkit.tools.tool import AnyFunction
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import READ_RESULT, result_reader

OnTruncated: TypeAlias = Literal["error", "continue", "accept"]
"""What becomes of an answer that its length limit cut."""

_BYTES_PER_TOKEN = 4
_NO_PRICES: Mapping[str, Price] = {}


async def _nobody(_: ToolCall) -> None:
    """Decide on no call."""


def _unheard(_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What belongs to one run alone.

    Attributes:
        run_id: Its id.
        deps: What it was given for its tools.
        dependencies: What functions make for its tools.
        ends: When it is out of time, by `time.monotonic`.
        ask: What is asked for a decision on a call that needs approval.
        recorder: What writes down what it does.
        budget: What it has used up.
        emit: Takes its events.
    """

    run_id: str = ""
    deps: object = None
    dependencies: Dependencies | None = None
    ends: float = inf
    ask: Ask = _nobody
    recorder: Recorder = field(default_factory=Recorder)
    budget: Budget = field(default_factory=lambda: Budget(Limits()))
    emit: Emit = _unheard


IDLE = Scope()
"""That of an agent which does not run."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that a run is handed, as one frozen value.

    Attributes:
        model: Who is asked.
        toolbox: The tools.
        policy: What decides on the tool choice.
        settings: How the model is to answer.
        limits: What the run may use up.
        errors: What the model is told when a tool raises.
        threads: Where sync tools run.
        max_corrections: How often in a row a model whose reply was not taken is asked again.
        on_truncated: What becomes of an answer that its length limit cut.
        streamed: Whether replies are streamed.
        overrides: What stands in for functions that tools depend on.
        scope: What belongs to the run alone.
        output: What the answer is to be, if not a text.
        name: The agent's name.
        instructions: What the model is told first.
        stop_at: The tools whose success ends the run.
        observers: What is told every event.
        prices: What models cost.
        selector: What picks one of several answers.
        deps_type: The type of what the run is given for its tools.
    """

    model: Model
    toolbox: Toolbox
    policy: Policy
    settings: Settings
    limits: Limits
    errors: Errors
    threads: Threads
    max_corrections: int
    on_truncated: OnTruncated = "error"
    streamed: bool = False
    overrides: Mapping[AnyFunction, AnyFunction] = field(default_factory=dict[AnyFunction, AnyFunction])
    scope: Scope = field(default_factory=Scope)
    output: Output[Any] | None = None
    name: str = "agent"
    instructions: SystemMessage | None = None
    stop_at: frozenset[str] = frozenset()
    observers: tuple[Emit, ...] = ()
    prices: Prices = field(default_factory=lambda: _NO_PRICES)
    selector: Selector | None = None
    deps_type: type = NoneType

    @property
    def policy_text(self) -> str:
        """The policy as code."""
        return repr(self.policy)

    def at(self, state: State) -> "Plan":
        """Give the plan for a state: where a result was shortened, there is a tool that reads the rest."""
        if not state.shortened or READ_RESULT in self.toolbox:
            return self
        return replace(self, toolbox=Toolbox([*self.toolbox, result_reader(state.messages, self.limits.result)]))

    def request(self, state: State, choice: ToolChoice) -> ChatRequest:
        """Make the request for the next step."""
        specs = self.toolbox.specs
        form = None if self.output is None else self.output.response_format
        if choice.tools is not None or choice.withheld:
            specs = tuple([spec for spec in specs if choice.offers(spec.name)])
        return ChatRequest(state.messages, specs, choice, self.settings, form)

    def paid(self, request: ChatRequest, reply: ChatResponse) -> ChatResponse:
        """Count a reply in the budget. Tokens that the endpoint does not count are estimated for it.

        Returns:
            The reply, with its price in its usage.

        Raises:
            ConfigurationError: If there is a limit on the cost, and nobody knows what it cost.
        """
        budget, usage = self.scope.budget, reply.usage or Usage(1)
        counted = usage if usage.total_tokens is not None else _estimated(usage, request, reply)
        usage = replace(usage, cost=priced(counted, self.prices, reply.model, self.model.name).cost)
        budget.spend(usage, counted.total_tokens or 0)
        if usage.cost is None and budget.pays:
            raise ConfigurationError(
                f"Limits(cost=…) cannot be held: no price is known for {reply.model or self.model.name!r}, and the "
                "endpoint says none; give Agent(…, prices={…})"
            )
        return reply if usage == reply.usage else replace(reply, usage=usage)


def _estimated(usage: Usage, request: ChatRequest, reply: ChatResponse) -> Usage:
    read, written = [*request.messages, *request.tools], [each.message for each in reply.choices]
    return replace(
        usage,
        prompt_tokens=sum([len(each.encoded) for each in read]) // _BYTES_PER_TOKEN,
        completion_tokens=sum([len(each.encoded) for each in written]) // _BYTES_PER_TOKEN,
    )
