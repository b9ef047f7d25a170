"""A policy for one run, in place of the agent's own."""

from agentkit.agent.builder import governed
from agentkit.runs.plan import Plan
from agentkit.tool_choice import PolicyLike


def under(plan: Plan, tool_choice: PolicyLike | None) -> Plan:
    """Return the plan of a run under a policy of its own; `None` leaves the agent's."""
    if tool_choice is None:
        return plan
    toolbox, policy = governed(
        tool_choice, plan.toolbox, plan.stop_at, plan.output, plan.max_corrections, plan.max_repeats
    )
    return plan._replace(toolbox=toolbox, policy=policy)
