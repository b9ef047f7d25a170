"""What a run goes by."""

from dataclasses import dataclass

from agentkit.choice import ToolChoice
from agentkit.limits import Limits
from agentkit.model import Model
from agentkit.state import State
from agentkit.threads import Threads
from agentkit.tool_choice import Policy
from agentkit.tools import Errors, Toolbox
from agentkit.wire import ChatRequest, Settings


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
        corrections: How often in a row a model that breaks the tool choice is asked again.
        streamed: Whether replies are streamed.
    """

    model: Model
    toolbox: Toolbox
    policy: Policy
    settings: Settings
    limits: Limits
    errors: Errors
    threads: Threads
    corrections: int
    streamed: bool = False

    def request(self, state: State, choice: ToolChoice) -> ChatRequest:
        """Make the request for the next step."""
        specs = self.toolbox.specs
        if choice.tools is not None or choice.withheld:
            specs = tuple([spec for spec in specs if choice.offers(spec.name)])
        return ChatRequest(state.messages, specs, choice, self.settings)
