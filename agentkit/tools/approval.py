"""Approval: calls that wait until someone allows them.

A decision is bound to the call's id, name and arguments. It comes from an approver or from whoever resumes the run,
never from text that a model or a tool produced.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TypeAlias

from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode
from agentkit.core.messages import ToolCall
from agentkit.core.printable import folded, format_call, printable


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on one call; `approve` and `deny` make one. It holds for this call only.

    Attributes:
        call: The call.
        approved: Whether it may run.
        arguments: Other arguments to run it with, as JSON; the model learns of the change.
        reason: Why it is denied; the model sees it.
    """

    call: ToolCall
    approved: bool
    arguments: str | None = None
    reason: str = ""


Approver: TypeAlias = Callable[[ToolCall], "bool | Decision | Awaitable[bool | Decision | None] | None"]
"""Decides on a call, sync (in a thread) or async: `True`, `False`, a decision, or `None` to pause the run."""

Ask: TypeAlias = Callable[[ToolCall], Awaitable[Decision | None]]
"""How a run asks for a decision."""

_LONG = 10  # lines of a question, after which its beginning may have left the screen


def approve(call: ToolCall, arguments: Mapping[str, object] | None = None) -> Decision:
    """Allow a call.

    Args:
        call: The call, one of `result.pending`.
        arguments: Other arguments to run it with, all of them.
    """
    return Decision(call, approved=True, arguments=None if arguments is None else encode(dict(arguments)).decode())


def deny(call: ToolCall, reason: str = "") -> Decision:
    """Deny a call.

    Args:
        call: The call, one of `result.pending`.
        reason: Why; the model sees it.
    """
    return Decision(call, approved=False, reason=reason)


def in_terminal(call: ToolCall) -> bool:
    """Ask the person at the terminal. An approver: `agent.run_sync(prompt, approver=in_terminal)`."""
    question = "\n".join(question_of(call, get_terminal_size().columns))
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def question_of(call: ToolCall, width: int) -> list[str]:
    """Return the lines that ask a person about a call: what they see is what runs, whatever the arguments are."""
    lines = folded(f"Run {format_call(call)}?", width - len(" [y/N] "))
    if len(lines) > _LONG:
        lines.append(f"These {len(lines)} lines are one call of {printable(call.name)}. Run it?")
    return lines


def as_decision(call: ToolCall, answer: object) -> Decision | None:
    """Return an approver's answer as a decision; `None` pauses the run."""
    match answer:
        case None:
            return None
        case bool():
            return Decision(call, approved=answer)
        case Decision() if answer.call == call:
            return answer
        case _:
            raise InvalidRequest(f"an approver returns True, False, None or a decision on its own call, not {answer!r}")


def match_decisions(decisions: Iterable[Decision], pending: Iterable[ToolCall]) -> Mapping[str, Decision]:
    """Return decisions by the ids of the pending calls, whose names and arguments must not have changed.

    Two decisions on one call must be the same.
    """
    waiting = {call.id: call for call in pending}
    matched: dict[str, Decision] = {}
    for decision in decisions:
        decided, call = decision.call, waiting.get(decision.call.id)
        if call is None:
            raise InvalidRequest(f"no call {decided.id!r} ({decided.name}) waits in this history")
        if (call.name, call.arguments) != (decided.name, decided.arguments):
            raise InvalidRequest(
                f"the decision on {decided.id!r} was made on {format_call(decided)}, but the call that "
                f"waits is {format_call(call)}; it must be decided again"
            )
        if matched.setdefault(call.id, decision) != decision:
            raise InvalidRequest(
                f"there are two decisions on {decided.id!r}, {decided.name}({decided.arguments}), and they contradict "
                "each other; nothing was run"
            )
    return matched
