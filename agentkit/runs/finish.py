"""How a reply ended, and what becomes of one that is cut or empty."""

from agentkit.core.chat import ChatResponse
from agentkit.core.errors import ContentFiltered, IncompleteReply
from agentkit.core.finish_reasons import ending_of
from agentkit.core.json import decode
from agentkit.core.messages import AssistantMessage
from agentkit.core.state import State, Stop

CUT_ANSWER = "its answer was cut by its length limit"
"""Why such an answer is not taken. What follows it continues it."""


def check_ended(reply: ChatResponse) -> None:
    """Refuse a reply that no one could go on from.

    Raises:
        ContentFiltered: If a filter stopped it.
        IncompleteReply: If the endpoint failed within it.
    """
    text, calls = reply.message.content or "", reply.message.tool_calls
    match ending_of(reply.finish_reason):
        case "filtered":
            filtered = ContentFiltered(f"the endpoint's filter stopped the answer ({reply.finish_reason!r})", text)
            filtered.calls = calls
            raise filtered
        case "failed":
            raise IncompleteReply(f"the endpoint failed within its answer ({reply.finish_reason!r})", text, calls)
        case _:
            pass


def cut_call(message: AssistantMessage, finish_reason: str | None) -> str | None:
    """Give the name of a call that was cut by the reply's length limit, if one was."""
    if ending_of(finish_reason) != "cut":
        return None
    return next((call.name for call in message.tool_calls if not _is_whole(call.arguments)), None)


def is_cut_answer(message: AssistantMessage, finish_reason: str | None) -> bool:
    """Tell whether a reply is an answer that its length limit cut."""
    return not message.tool_calls and ending_of(finish_reason) == "cut"


def is_empty(message: AssistantMessage) -> bool:
    """Tell whether a reply says nothing at all."""
    return not (message.tool_calls or (message.content or "").strip() or message.refusal)


def end_of(state: State) -> tuple[str, Stop]:
    """Give what a run came to that ends with what the model said, and why it ended."""
    output = answer_of(state)
    if output.strip():
        cut = bool(state.steps) and is_cut_answer(state.steps[-1].message, state.steps[-1].finish_reason)
        return output, "cut" if cut else "answer"
    refusal = (state.open_reply or AssistantMessage()).refusal
    return (refusal, "refusal") if refusal else ("", "empty")


def answer_of(state: State) -> str:
    """Give the answer at the end of a run: the last text, and before it what it continues."""
    parts = [(state.open_reply or AssistantMessage()).content or ""]
    for step in reversed(state.steps[:-1]):
        if step.violation != CUT_ANSWER:
            break
        parts.append(step.message.content or "")
    return "".join(reversed(parts))


def _is_whole(arguments: str) -> bool:
    try:
        decode(arguments)
    except ValueError:
        return False
    return True
