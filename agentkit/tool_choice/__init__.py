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

from importlib import import_module
from typing import TYPE_CHECKING

from agentkit.core.choice import ToolChoice, Verdict, allow, ask, deny
from agentkit.core.state import Call
from agentkit.tool_choice.arguments import from_results, given, permitted, where
from agentkit.tool_choice.fields import ToolLike, ToolName
from agentkit.tool_choice.guards import (
    all_of,
    any_of,
    before_answer,
    cooldown,
    fallback,
    must_follow,
    never_after,
    only,
    prerequisite,
)
from agentkit.tool_choice.limits import budget, one_at_a_time
from agentkit.tool_choice.machine import each, machine, phase
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
from agentkit.tool_choice.relevant import relevant
from agentkit.tool_choice.repetition import no_repeat

if TYPE_CHECKING:
    from agentkit.tool_choice.analysis import analyse
    from agentkit.tool_choice.report import Report

__all__ = [
    "Call",
    "Part",
    "Policy",
    "PolicyLike",
    "Report",
    "ToolChoice",
    "ToolLike",
    "ToolName",
    "Verdict",
    "all_of",
    "allow",
    "analyse",
    "any_of",
    "ask",
    "auto",
    "before_answer",
    "both",
    "budget",
    "cooldown",
    "deny",
    "each",
    "fallback",
    "first",
    "fixed",
    "force",
    "from_results",
    "given",
    "machine",
    "must_follow",
    "never_after",
    "no_repeat",
    "none",
    "one_at_a_time",
    "only",
    "permitted",
    "phase",
    "policy_of",
    "prerequisite",
    "relevant",
    "required",
    "rule",
    "sequence",
    "until_called",
    "when",
    "where",
]

_LATER = {"Report": "agentkit.tool_choice.report", "analyse": "agentkit.tool_choice.analysis"}
"""What few programs need, loaded when it is first asked for."""

# To a type checker, a module with `__getattr__` has every name.
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LATER[name]), name)
