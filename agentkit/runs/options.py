"""What a run may have of its own, in place of what its agent has."""

from typing import Generic, TypedDict

from typing_extensions import TypeVar

from agentkit.core.chat import SettingsLike
from agentkit.core.model import Model
from agentkit.core.session import Session
from agentkit.runs.limits import Limits
from agentkit.tool_choice import PolicyLike
from agentkit.tools.approval import Approver

DepsT = TypeVar("DepsT", default=None)


class OwnOptions(TypedDict, total=False):
    """The options of an agent that one run may have of its own. What is left out, or `None`, is the agent's.

    Attributes:
        model: Another model, or a model's name.
        tool_choice: Another policy.
        settings: Sampling settings. Only the fields that are set replace those of the agent.
        limits: Other limits.
    """

    model: str | Model | None
    tool_choice: PolicyLike | None
    settings: SettingsLike | None
    limits: Limits | None


class ResumeOptions(OwnOptions, Generic[DepsT], total=False):
    """The options of `Agent.resume`: those of `OwnOptions`, and the dependencies.

    Attributes:
        deps: The dependencies of its tools, as `ToolContext.deps`.
    """

    deps: DepsT


class RunOptions(ResumeOptions[DepsT], total=False):
    """The options of `Agent.run`: those of `OwnOptions`, and what belongs to the run.

    Attributes:
        deps: The dependencies of its tools, as `ToolContext.deps`.
        approver: Human in the loop: a function from a call that needs approval to `True`, `False`, a decision, or
            `None`. Without a decision the run ends paused, and `result.pending` has the calls.
        session: Where the conversation is stored. Its messages come before the prompt; the prompt, each reply and each
            result are added as they come. A conversation can have one run at a time.
    """

    approver: Approver | None
    session: Session | None
