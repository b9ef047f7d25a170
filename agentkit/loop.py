"""The loop, once. Everything that a run does happens in these two functions; what it does is in the values that they are handed."""

from agentkit.events import Emit, StepFinished, StepStarted, TextDelta
from agentkit.execution import execute
from agentkit.messages import Usage
from agentkit.model import OnChunk
from agentkit.plan import Plan
from agentkit.state import State, Step
from agentkit.wire import ChatChunk


async def drive(plan: Plan, state: State, emit: Emit) -> State:
    """Run to the end: calls that are open are answered, else the model is asked.

    Args:
        plan: What the run goes by.
        state: Where it begins. A history that ends in open calls begins with those.
        emit: Takes the events.

    Returns:
        The state in which the last message is the model's answer.
    """
    while not state.finished:
        if calls := state.unanswered:
            state = state.answered(await execute(calls, plan, emit))
        else:
            state = state.heard(await ask(plan, state, emit))
    return state


async def ask(plan: Plan, state: State, emit: Emit) -> Step:
    """Ask the model once.

    Args:
        plan: What the run goes by.
        state: What it is asked about.
        emit: Takes the events.

    Returns:
        The request's outcome: what the model said, under which choice.
    """
    plan.limits.check(state)
    choice = plan.policy(state)
    emit(StepStarted(state.step, choice))
    reply = await plan.model.complete(plan.request(state, choice), _deltas(emit) if plan.streamed else None)
    usage = reply.usage or Usage(1)
    step = Step(reply.message, choice, repr(plan.policy), reply.finish_reason, usage)
    emit(StepFinished(step))
    return step


def _deltas(emit: Emit) -> OnChunk:
    def on_chunk(chunk: ChatChunk) -> None:
        if text := chunk.text:
            emit(TextDelta(text))

    return on_chunk
