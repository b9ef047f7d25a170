"""Reading a reply: the tools that it calls, how it ended, and the answer that a run ends with."""

from dataclasses import replace

from agentkit.core.chat import ChatResponse
from agentkit.core.errors import ContentFiltered, IncompleteReply
from agentkit.core.finish_reasons import ending_of
from agentkit.core.json import decode
from agentkit.core.messages import AssistantMessage
from agentkit.core.state import State, Stop
from agentkit.tools.argument_repair import match_tool_name


def with_tool_names(message: AssistantMessage, names: frozenset[str]) -> AssistantMessage:
    """Return a reply with each call under its tool's name, where the model wrote `functions.search`."""
    if all(call.name in names for call in message.tool_calls):
        return message
    calls = [replace(call, name=match_tool_name(call.name, names) or call.name) for call in message.tool_calls]
    return replace(message, tool_calls=tuple(calls))


def check_ended(reply: ChatResponse) -> None:
    """Raise for a reply from which no run can go on: `ContentFiltered`, or `IncompleteReply` if the endpoint failed."""
    ending = ending_of(reply.finish_reason)
    if ending not in ("filtered", "failed"):
        return
    text, calls = reply.message.content or "", reply.message.tool_calls
    if ending == "failed":
        raise IncompleteReply(f"the endpoint failed within its answer ({reply.finish_reason!r})", text, calls)
    filtered = ContentFiltered(f"the endpoint's filter stopped the answer ({reply.finish_reason!r})", text)
    filtered.calls = calls
    raise filtered


def cut_call(message: AssistantMessage, finish_reason: str | None) -> str | None:
    """Return the name of the tool whose call was truncated by the token limit, if one was."""
    if ending_of(finish_reason) != "cut":
        return None
    return next((call.name for call in message.tool_calls if not _is_json(call.arguments)), None)


def is_cut_answer(message: AssistantMessage, finish_reason: str | None) -> bool:
    """Whether a reply is a text answer that was truncated by the token limit."""
    return not message.tool_calls and ending_of(finish_reason) == "cut"


def is_empty(message: AssistantMessage) -> bool:
    """Whether a reply has no call, no text and no refusal."""
    return not (message.tool_calls or (message.content or "").strip() or message.refusal)


def end_of(state: State) -> tuple[str, Stop]:
    """Return the output of a run that ended with a message of the model's, and why it ended."""
    output = answer_of(state)
    if output.strip():
        cut = bool(state.steps) and is_cut_answer(state.steps[-1].message, state.steps[-1].finish_reason)
        return output, "cut" if cut else "answer"
    refusal = (state.open_reply or AssistantMessage()).refusal
    return (refusal, "refusal") if refusal else ("", "empty")


def answer_of(state: State) -> str:
    """Return the answer at the end of a run: the last text, after the truncated answers that it continues."""
    parts = [(state.open_reply or AssistantMessage()).content or ""]
    for step in reversed(state.steps[:-1]):
        if step.violation is None or step.violation.kind != "cut_answer":
            break
        parts.append(step.message.content or "")
    return "".join(reversed(parts))


def _is_json(arguments: str) -> bool:
    try:
        decode(arguments)
    except ValueError:
        return False
    return True
