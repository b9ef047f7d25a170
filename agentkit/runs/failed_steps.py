"""Steps that cannot be taken: a tool failed more often than it may, or the policy asks for one that keeps failing.

Without this, a run whose policy asks for such a tool would ask again until a limit ends it, or end when `no_repeat`
withholds the tool that another part of the policy forces: as a contradiction, which never names the failure. So the run
ends here, with the tool's name, how often it failed, and its last error.
"""

from itertools import takewhile
from typing import Literal

from pydantic_core import ValidationError

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import StepFailed
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.state import State
from agentkit.runs.plan import Plan
from agentkit.tool_choice import no_repeat
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.tool import Tool

_LONGEST = 300
_DID = {
    "error": "failed",
    "invalid": "was called with invalid arguments",
    "refused": "was called and not allowed to run",
    "repeated": "was called in the same way",
}


def out_of_retries(plan: Plan, state: State) -> StepFailed | None:
    """Return the error of a tool that failed in the last step, and more times in a row than `max_retries` allows."""
    step: int | None = None
    for record in reversed(state.calls):
        if step is not None and record.step != step:
            break
        step = record.step
        tool = plan.toolbox.get(record.call.name) if record.outcome == "error" else None
        most = None if tool is None else tool.options.max_retries
        if tool is not None and most is not None and (times := _failed_steps(tool, state)) > most:
            what = f"{tool.name} failed {times} times in a row, more than @tool(max_retries={most}) allows. Last:"
            return _error(record.call, times, record.result, _kind_of(tool, record.call), what)
    return None


def _failed_steps(tool: Tool, state: State) -> int:
    """Return in how many steps the tool has failed since it last succeeded."""
    own = [record for record in reversed(state.calls) if record.call.name == tool.name]
    failed = takewhile(lambda record: record.outcome != "ok", own)
    return len({record.step for record in failed if record.outcome == "error"})


def failed_step(choice: ToolChoice, plan: Plan, state: State) -> StepFailed | None:
    """Return the error of a step that can only call one tool, which failed more than `max_repeats` times in a row."""
    rejected = bool(state.steps) and state.steps[-1].violation is not None
    if rejected or not state.calls or state.calls[-1].outcome == "ok":
        return None
    demanded = [name for name in plan.toolbox.names if choice.permits(name)]
    tool = plan.toolbox.get(demanded[0]) if len(demanded) == 1 else None
    if tool is None or (plan.output is not None and plan.output.tool is tool):  # invalid answers are counted there
        return None
    failures, most = _failures(tool, state), _most(tool, plan)
    return _failure_of(tool, failures) if len(failures) > most else None


def repeated_tools(plan: Plan, state: State) -> frozenset[str]:
    """Return the tools that are withheld because their calls were repeated, also where no other tool is left."""
    guards = plan.policy.every(no_repeat)
    return frozenset([record.call.name for guard in guards for record in guard.repeated(state)[1]])


def repeated_step(tools: tuple[str, ...], plan: Plan, state: State) -> StepFailed | None:
    """Return the error of a step that asks for these tools, if they are withheld because their calls were repeated."""
    for guard in plan.policy.every(no_repeat):
        times, calls = guard.repeated(state)
        for record in reversed(calls):
            tool = plan.toolbox.get(record.call.name) if record.call.name in tools else None
            if tool is None:
                continue
            if len(failures := _failures(tool, state)) >= times:
                return _failure_of(tool, failures)
            ran = [call.result for call in state.calls if call.call.name == tool.name and call.outcome == "ok"]
            return _error(record.call, times, ran[-1] if ran else record.result, "repeated")
    return None


def _most(tool: Tool, plan: Plan) -> int:
    """Return how many times in a row a tool may fail."""
    guards = plan.policy.every(no_repeat)
    return plan.limits.steps if tool.options.repeatable or not guards else min(guard.times for guard in guards)


def _failures(tool: Tool, state: State) -> list[tuple[ToolCall, ToolMessage]]:
    """Return a failed call of each of the last replies in a row that called a tool in vain, the last reply first."""
    failures: list[tuple[ToolCall, ToolMessage]] = []
    results: dict[str, ToolMessage] = {}
    for message in reversed(state.messages):
        match message:
            case ToolMessage():
                results[message.tool_call_id] = message
            case AssistantMessage():
                ended = [(call, results[call.id]) for call in message.tool_calls if call.id in results]
                results.clear()
                if any(result.outcome == "ok" for _, result in ended):
                    break
                own = [pair for pair in ended if pair[0].name == tool.name]
                # Of several calls in one reply, one that ran says more than one that was refused.
                failures += sorted(own, key=lambda pair: pair[1].outcome == "refused")[:1]
            case UserMessage(note=False):
                break
            case _:
                pass
    return failures


def _failure_of(tool: Tool, failures: list[tuple[ToolCall, ToolMessage]]) -> StepFailed:
    # The guard against repetition refuses the last of equal calls; why those before it failed says more.
    call, result = next((failure for failure in failures if failure[1].outcome != "refused"), failures[0])
    if result.outcome == "refused":
        return _error(call, len(failures), result.result, "refused")
    return _error(call, len(failures), result.result, _kind_of(tool, call))


def _kind_of(tool: Tool, call: ToolCall) -> Literal["error", "invalid"]:
    """Return why a call failed: its arguments were invalid, or the tool raised."""
    try:
        parse_arguments(tool.arguments, call.arguments)
    except ValidationError:
        return "invalid"
    return "error"


def _error(
    call: ToolCall, times: int, last: str, kind: Literal["error", "invalid", "refused", "repeated"], what: str = ""
) -> StepFailed:
    what = what or (
        f"the policy asks for a call of {call.name}, which {_DID[kind]} {times} times in a row. To allow more: "
        "Agent(max_repeats=…) or @tool(repeatable=True). The last call was"
    )
    text = f"{what} {call.name}({call.arguments[:_LONGEST]}), and its result: {last[:_LONGEST]}"
    return StepFailed(text, call.name, times, last, kind)
