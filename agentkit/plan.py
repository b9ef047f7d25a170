"""What a run goes by."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from agentkit.approval import Ask
from agentkit.choice import ToolChoice
from agentkit.dependencies import Dependencies
from agentkit.limits import Limits
from agentkit.model import Model
from agentkit.options import Errors
from agentkit.outputs import Output
from agentkit.shortening import READ_RESULT, result_reader
from agentkit.state import State
from agentkit.threads import Threads
from agentkit.tool_choice import Policy
from agentkit.tools import AnyFunction, Toolbox
from agentkit.wire import ChatRequest, Settings

Cut: TypeAlias = Literal["error", "continue", "accept"]
"""What becomes of an answer that its length limit cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What belongs to one run alone.

    Attributes:
        run_id: Its id.
        deps: What it was given for its tools.
        dependencies: What functions make for its tools.
        ends: When it is out of time, by `time.monotonic`.
        ask: What is asked for a decision on a call that needs approval.
    """

    run_id: str
    deps: object
    dependencies: Dependencies
    ends: float
    ask: Ask


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
        corrections: How often in a row a model whose reply was not taken is asked again.
        cut: What becomes of an answer that its length limit cut.
        streamed: Whether replies are streamed.
        overrides: What stands in for functions that tools depend on.
        scope: What belongs to the run alone.
        output: What the answer is to be, if not a text.
        policy_text: The policy as code.
    """

    model: Model
    toolbox: Toolbox
    policy: Policy
    settings: Settings
    limits: Limits
    errors: Errors
    threads: Threads
    corrections: int
    cut: Cut = "error"
    streamed: bool = False
    overrides: Mapping[AnyFunction, AnyFunction] = field(default_factory=dict[AnyFunction, AnyFunction])
    scope: Scope | None = None
    output: Output[Any] | None = None
    policy_text: str = ""

    def __post_init__(self) -> None:
        if not self.policy_text:
            object.__setattr__(self, "policy_text", repr(self.policy))

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
