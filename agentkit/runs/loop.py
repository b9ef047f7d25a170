"""The loop. There is one, and it has no branches for features: those are values in the plan."""

from anyio.lowlevel import checkpoint

from agentkit.core.state import State, Step
from agentkit.runs.enforcement import choose, enforce_max_corrections, judge_reply, known_step, validate_output
from agentkit.runs.events import Emit, StepFinished, StepStarted
from agentkit.runs.plan import Plan
from agentkit.runs.streaming import DeltaEmitter
from agentkit.runs.tool_calls import execute


# --8<-- [start:drive]
async def drive(plan: Plan, state: State, emit: Emit) -> State:
    """Run to the end: run the open calls if there are any, else ask the model.

    Args:
        plan: The run's plan.
        state: Where the run begins. Open calls in its history run first.
        emit: Takes the events.

    Returns:
        The last state: the model answered, a tool ended the run, or calls wait.
    """
    while not state.finished:
        if calls := state.unanswered:
            state = state.with_results(await execute(calls, plan, state, emit))
        else:
            state = state.with_reply(await ask(plan, state, emit))
    return state


# --8<-- [end:drive]


async def ask(plan: Plan, state: State, emit: Emit) -> Step:
    """Ask the model once, and return its reply as a step; a rejected one has the violation and its correction.

    If the policy knows the call and its arguments, the step is that call, and the model is not asked.

    Raises:
        LeaveLoop: If something was sent to the run, which `lifecycle` reads.
    """
    plan.scope.inbox.check()
    plan = await plan.before_request(state)
    run_id = plan.scope.run_id
    choice = choose(plan, state)
    request = plan.request(state, choice) if choice.arguments is None else None
    emit(StepStarted(len(state.steps), choice, request, run_id=run_id))
    if request is None:
        await checkpoint()  # where a request would wait, so that known calls alone do not hold up a cancellation
        step = known_step(choice, plan, state)
    else:
        on_chunk = DeltaEmitter(plan, emit) if plan.streamed else None
        reply = await plan.complete(request, on_chunk)
        step = await validate_output(judge_reply(reply, choice, plan, state, emit), plan)
    await plan.scope.recorder.keep(step.message, *step.correction)
    emit(StepFinished(step, run_id=run_id))
    enforce_max_corrections(step, plan, state)
    return step
