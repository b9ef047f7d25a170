"""tool_choice as policy: what decides, before every request, which tools the model may or must call.

A policy is a function from the state of a run to a choice. It is pure: what it needs to know, it reads from the state.
So policies can be combined, compared, printed and tested without a model, and a resumed run continues under the same
policy.

    first(force(search), then=auto)                      # search once, then the model decides
    sequence(fetch_orders, compute_total, send)          # a scripted automation
    before_answer(verify) & budget(8) & no_repeat(3)
    lambda state: "none" if state.step > 4 else "auto"   # one of your own

May import `core` and `tools`. A new policy is one class in the file of its kind and one line here.
"""

from agentkit.core.choice import ToolChoice
from agentkit.tool_choice.fields import ToolLike, ToolName
from agentkit.tool_choice.guards import before_answer, budget, cooldown, only, prerequisite
from agentkit.tool_choice.phases import first, sequence, until_called, when
from agentkit.tool_choice.policy import (
    Part,
    Policy,
    PolicyLike,
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
    "Part",
    "Policy",
    "PolicyLike",
    "ToolChoice",
    "ToolLike",
    "ToolName",
    "auto",
    "before_answer",
    "both",
    "budget",
    "cooldown",
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
