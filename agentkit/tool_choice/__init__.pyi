from agentkit.choice import ToolChoice
from agentkit.tool_choice.guards import before_answer, budget, only, prerequisite
from agentkit.tool_choice.phases import first, sequence, until_called, when
from agentkit.tool_choice.protocol import (
    Policy,
    PolicyLike,
    ToolLike,
    auto,
    both,
    fixed,
    force,
    none,
    policy_of,
    required,
    rule,
)
from agentkit.tool_choice.repetition import no_repeat

__all__ = [
    "Policy",
    "PolicyLike",
    "ToolChoice",
    "ToolLike",
    "auto",
    "before_answer",
    "both",
    "budget",
    "first",
    "fixed",
    "force",
    "no_repeat",
    "none",
    "only",
    "policy_of",
    "prerequisite",
    "required",
    "rule",
    "sequence",
    "until_called",
    "when",
]
