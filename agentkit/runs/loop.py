"""The loop, once. What a run does is in the values that these two functions are handed."""

from agentkit.core.state import State, Step
from agentkit.runs.enforcement import choose, enforce_max_corrections, judge_reply, validate_output
from agentkit.runs.events import Emit, StepFinished, StepStarted
from agentkit.runs.plan import Plan
from agentkit.runs.streaming import Telling
from agentkit.runs.tool_calls import execute


async def drive(plan: Plan, state: State, emit: Emit) -> State:
    """Run to the end: calls that are open are answered, else the model is asked.

    Args:
        plan: What the run goes by.
        state: Where it begins. A history that ends in open calls begins with those.
        emit: Takes the events.

    Returns:
        The state in which the last message is the model's answer, or that of a tool that ends the run.
    """
    while not state.finished:
        if calls := state.unanswered:
            state = state.with_results(await execute(calls, plan, state, emit))
        else:
            state = state.with_reply(await ask(plan, state, emit))
    return state


async def ask(plan: Plan, state: State, emit: Emit) -> Step:
    """Ask the model once.

    Args:
        plan: What the run goes by.
        state: What it is asked about.
        emit: Takes the events.

    Returns:
        What the model said, under which choice, and what was answered if it was not taken.

    Raises:
        LimitReached: If the run has used up what it may.
        ToolChoiceIgnored: If the model has broken the choice too often.
        IncompleteReply: If its answer was cut.
        AnswerInvalid: If its answer kept being of another type than is wanted.
        ModelError: If there is no reply.
    """
    plan = plan.at(state)
    choice = choose(plan, state)
    request = plan.request(state, choice)
    emit(StepStarted(len(state.steps), choice, request))
    telling = Telling(plan, emit) if plan.streamed else None
    reply = plan.paid(request, await plan.model.complete(request, telling))
    step = await validate_output(judge_reply(reply, choice, plan, state, emit), plan)
    await plan.scope.recorder.keep(step.message, *step.correction)
    emit(StepFinished(step))
    enforce_max_corrections(step, plan, state)
    return step
