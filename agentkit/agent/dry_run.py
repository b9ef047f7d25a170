"""The first request of a run, without the run."""

from functools import partial

from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.model import preview
from agentkit.core.repair import repaired
from agentkit.runs.enforcement import choose
from agentkit.runs.handle import run_blocking
from agentkit.runs.lifecycle import beginning
from agentkit.runs.limits import Budget
from agentkit.runs.plan import Plan, Scope


def first_request(plan: Plan, prompt: Prompt, *, streamed: bool) -> HttpRequest:
    """Return the first request that a run with this prompt would send; see `Agent.dry_run`."""
    state = beginning(plan, repaired(messages_of(prompt)).messages)
    plan = plan._replace(scope=Scope(budget=Budget(plan.limits)))
    plan = plan.at(state) if plan.dynamic is None else run_blocking(partial(plan.before_request, state))
    if state.unanswered or state.finished:
        raise InvalidRequest("the history ends in calls or in an answer, so a run would not begin with a request")
    choice = choose(plan, state)
    if choice.arguments is not None:
        raise InvalidRequest(f"the policy knows the first call, {choice.tool}, so a run would not begin with a request")
    return preview(plan.model, plan.request(state, choice), streamed=streamed)
